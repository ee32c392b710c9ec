//! A loss's kernels on a device, and their runs on a stream.

use std::collections::HashMap;
use std::ffi::c_void;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::cache::Key;
use super::driver::{Device, DevicePointer, Driver, Entered, Function, Grid};
use super::nvrtc::{Nvrtc, Target};
use super::{CudaError, Plan, Shape, Slot, Types, libraries};
use crate::descriptor::Descriptor;

/// Threads of the kernels `batch` and `total`.
const REDUCING: u32 = 1024;
/// Bytes of a block's shared memory that stay for the kernel's own variables, of which it has 1.3 kB.
const OWN_SHARED: usize = 4096;
/// Most bytes of a kernel's arguments, on every device.
const MOST_ARGUMENTS: usize = 4096;
/// Most elements of a row: what its lanes count in 32 bits goes past its end by less than a block's threads.
const MOST_OF_ROW: usize = i32::MAX as usize - 1024;
const VECTOR: usize = 16;

/// What was found of CUDA; once a process, so that an error is the same for every session.
struct Found {
    driver: Driver,
    nvrtc: Nvrtc,
}

static FOUND: OnceLock<Result<Found, CudaError>> = OnceLock::new();

fn found() -> Result<&'static Found, CudaError> {
    let find = || {
        let driver = Driver::new(libraries::open_driver(libraries::DRIVER)?, libraries::OLDEST_RELEASE)?;
        let places = libraries::places_of(&libraries::loaded_files());
        let nvrtc = Nvrtc::new(libraries::open_nvrtc(driver.release, &places)?)?;
        libraries::stay();
        Ok(Found { driver, nvrtc })
    };
    FOUND.get_or_init(find).as_ref().map_err(Clone::clone)
}

/// The device of a number, as ONNX Runtime counts them; the same each time, and kept until the process ends.
///
/// # Errors
/// No driver, no NVRTC, no such device, or one that is not able.
pub fn device(ordinal: i32) -> Result<&'static Device, CudaError> {
    static DEVICES: Mutex<Vec<(i32, &'static Device)>> = Mutex::new(Vec::new());
    let found = found()?;
    let mut devices = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, device)) = devices.iter().find(|(number, _)| *number == ordinal) {
        return Ok(device);
    }
    let device: &'static Device = Box::leak(Box::new(Device::new(&found.driver, ordinal)?));
    devices.push((ordinal, device));
    Ok(device)
}

/// The functions of a module.
#[derive(Debug, Clone, Copy)]
struct Functions {
    batch: Function,
    rows: Function,
    total: Function,
}

/// A loss's kernels on a device.
pub struct Kernels {
    device: &'static Device,
    functions: Functions,
    plan: Plan,
    /// Vectors of a row that shared memory has room for.
    cached: usize,
    slots: Vec<Slot>,
    needs_batch: bool,
    has_total: bool,
}

/// A run: where inputs and outputs are, and sizes.
#[derive(Debug, Clone, Copy)]
pub struct Launch {
    /// N
    pub rows: usize,
    /// D, or 0
    pub width: usize,
    /// A stream of the device.
    pub stream: *mut c_void,
}

impl Kernels {
    /// Compiles a loss's kernels, or finds them compiled, and loads them; `dir` is where compiled code is kept, if it is.
    ///
    /// # Errors
    /// What the compiler or the driver says, and a loss with too many parameters and entries for a kernel.
    pub fn new(
        device: &'static Device,
        loss: &Descriptor,
        types: &Types,
        dir: Option<PathBuf>,
    ) -> Result<Self, CudaError> {
        let slots = super::arguments(loss);
        if slots.len() * size_of::<u64>() > MOST_ARGUMENTS {
            return Err(CudaError(
                "the loss has too many parameters and row entries for a kernel of CUDA".into(),
            ));
        }
        if loss.classes > MOST_OF_ROW {
            return Err(CudaError(format!("{} classes are more than a kernel of CUDA counts", loss.classes)));
        }
        let plan = Plan::new(loss.classes, types.element);
        let nvrtc = &found()?.nvrtc;
        let target = Target::choose(device.capability, &nvrtc.architectures()?)?;
        let source = super::source(loss, types, &plan);
        let (key, code) = super::code(nvrtc, &source, target, dir.as_deref())?;
        let room = device.shared_memory.saturating_sub(OWN_SHARED) / VECTOR;
        let vectors = (loss.classes * types.element.size()) / VECTOR;
        let cached = if plan.shape == Shape::Streamed { room.min(vectors) } else { 0 };
        let functions = load(device, key, &code, cached * VECTOR)?;
        let (needs_batch, has_total) = (super::needs_batch(loss), super::has_total(loss));
        Ok(Self { device, functions, plan, cached, slots, needs_batch, has_total })
    }

    /// Starts the kernels on the run's stream. Nothing is waited for, and nothing is copied; `place` tells where inputs and
    /// outputs are on the device, and 0 for what there is not.
    ///
    /// # Errors
    /// Sizes that no launch has, and what the driver says.
    ///
    /// # Safety
    /// The stream is the device's, and the places have the types and sizes that the kernels were made for, until the
    /// stream has run them.
    pub unsafe fn run(&self, run: &Launch, place: impl Fn(Slot) -> DevicePointer) -> Result<(), CudaError> {
        let blocks = blocks(&self.plan, run.rows, run.width)?;
        let device = self.device.enter()?;
        let shares = if self.has_total { blocks as usize } else { 0 };
        let works = self.needs_batch || self.has_total;
        // SAFETY: the caller's promise.
        let take = || unsafe { device.allocate((2 + shares) * size_of::<f64>(), run.stream) };
        let work = works.then(take).transpose()?;
        let word = |slot: &Slot| match slot {
            Slot::Work => work.as_ref().map_or(0, |work| work.place),
            Slot::Rows => run.rows as u64,
            Slot::Width => run.width as u64,
            Slot::Blocks => u64::from(blocks),
            Slot::Cached => self.cached as u64,
            other => place(*other),
        };
        let arguments: Vec<u64> = self.slots.iter().map(word).collect();
        // SAFETY: the caller's promise; `arguments` is what the source was written for.
        unsafe { self.start(&device, &arguments, blocks, run.stream) }
    }

    unsafe fn start(
        &self,
        device: &Entered<'_>,
        arguments: &[u64],
        blocks: u32,
        stream: *mut c_void,
    ) -> Result<(), CudaError> {
        let one = Grid { blocks: 1, threads: REDUCING, shared: 0 };
        let all = Grid { blocks, threads: self.plan.threads, shared: (self.cached * VECTOR) as u32 };
        let steps = [
            (self.needs_batch, self.functions.batch, one),
            (blocks > 0, self.functions.rows, all),
            (self.has_total, self.functions.total, one),
        ];
        for (_, function, grid) in steps.into_iter().filter(|(wanted, _, _)| *wanted) {
            // SAFETY: the caller's promise.
            unsafe { device.launch(function, grid, arguments, stream)? };
        }
        Ok(())
    }
}

/// Blocks of the kernel `rows`, of which a launch has at most 2^31 - 1.
fn blocks(plan: &Plan, rows: usize, width: usize) -> Result<u32, CudaError> {
    let blocks = rows.div_ceil(plan.rows() as usize);
    match i32::try_from(blocks) {
        Ok(_) if width <= MOST_OF_ROW => Ok(blocks as u32),
        _ => Err(CudaError(format!("{rows} rows of {width} features are more than one launch has"))),
    }
}

/// Loads code into a device, once a process. It stays loaded: a graph of CUDA may run it after its session has ended.
fn load(device: &'static Device, key: Key, code: &[u8], shared: usize) -> Result<Functions, CudaError> {
    static LOADED: Mutex<Option<HashMap<(usize, Key), Functions>>> = Mutex::new(None);
    let place = (std::ptr::from_ref(device).addr(), key);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let loaded = loaded.get_or_insert_default();
    if let Some(functions) = loaded.get(&place) {
        return Ok(*functions);
    }
    let [batch, rows, total] = device.enter()?.load(code, ["batch", "rows", "total"], shared as u32)?;
    let functions = Functions { batch, rows, total };
    loaded.insert(place, functions);
    Ok(functions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::Kind;

    #[test]
    fn a_launch_has_as_many_blocks_as_rows_need_and_no_more_than_a_device_runs() {
        let (warp, block) = (Plan::new(1000, Kind::F32), Plan::new(100_000, Kind::F32));
        assert_eq!([0, 1, 4, 5].map(|rows| blocks(&warp, rows, 0)), [0, 1, 1, 2].map(Ok));
        let most = i32::MAX as usize;
        assert_eq!(blocks(&warp, 4 * most, MOST_OF_ROW), Ok(i32::MAX as u32));
        assert_eq!(blocks(&block, most, MOST_OF_ROW), Ok(i32::MAX as u32));
        for (plan, rows, width) in
            [(warp, 4 * most + 1, 0), (block, most + 1, 0), (block, 1, MOST_OF_ROW + 1)]
        {
            let error = blocks(&plan, rows, width).unwrap_err().to_string();
            assert!(error.contains(&format!("{rows} rows of {width} features")), "{error}");
        }
    }

    #[test]
    fn lanes_count_in_32_bits_to_the_end_of_the_longest_row() {
        for element in [Kind::F32, Kind::F64, Kind::F16, Kind::BF16] {
            let plan = Plan::new(MOST_OF_ROW, element);
            assert!(i32::try_from(MOST_OF_ROW + plan.lanes() as usize).is_ok());
            // Vectors, of which the kernel for streamed rows asks for four at a time.
            assert!(MOST_OF_ROW / (VECTOR / element.size()) + 4 * (plan.lanes() as usize) < MOST_OF_ROW);
        }
    }
}
