//! The driver: a device's primary context, which is ONNX Runtime's too, memory in the order of a stream, and launches.
//!
//! Nothing here waits for the device or copies from or to it.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::ptr;

use libloading::Library;

use super::CudaError;
use super::nvrtc::symbol;

type Status = c_int;
type Handle = *mut c_void;

/// A pointer to memory of a device.
pub type DevicePointer = u64;

const CAPABILITY_MAJOR: c_int = 75;
const CAPABILITY_MINOR: c_int = 76;
const SHARED_MEMORY_OF_BLOCK: c_int = 97;
const HAS_MEMORY_POOLS: c_int = 115;
const DYNAMIC_SHARED_MEMORY: c_int = 8;
const RELEASE_THRESHOLD: c_int = 4;

/// `CUmemPoolProps`: pinned memory of one device, no handles, and zeros for what later releases have added.
#[repr(C)]
struct PoolProperties {
    allocation: c_int,
    handles: c_int,
    location: c_int,
    device: c_int,
    rest: [u64; 9],
}

/// The driver's functions.
pub struct Driver {
    /// The release of CUDA that it is for, such as 12.
    pub release: u32,
    error_name: unsafe extern "C" fn(Status, *mut *const c_char) -> Status,
    device_get: unsafe extern "C" fn(*mut c_int, c_int) -> Status,
    device_attribute: unsafe extern "C" fn(*mut c_int, c_int, c_int) -> Status,
    retain: unsafe extern "C" fn(*mut Handle, c_int) -> Status,
    push: unsafe extern "C" fn(Handle) -> Status,
    pop: unsafe extern "C" fn(*mut Handle) -> Status,
    load: unsafe extern "C" fn(*mut Handle, *const c_void) -> Status,
    function: unsafe extern "C" fn(*mut Handle, Handle, *const c_char) -> Status,
    function_set: unsafe extern "C" fn(Handle, c_int, c_int) -> Status,
    launch: Launch,
    pool_create: unsafe extern "C" fn(*mut Handle, *const PoolProperties) -> Status,
    pool_set: unsafe extern "C" fn(Handle, c_int, *mut c_void) -> Status,
    allocate: unsafe extern "C" fn(*mut DevicePointer, usize, Handle, Handle) -> Status,
    free: unsafe extern "C" fn(DevicePointer, Handle) -> Status,
    /// Keeps the functions where they are.
    _library: Library,
}

type Launch = unsafe extern "C" fn(
    Handle,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    c_uint,
    Handle,
    *mut *mut c_void,
    *mut *mut c_void,
) -> Status;

impl Driver {
    /// Takes the functions from the library, and initialises the driver.
    ///
    /// # Errors
    /// It is for a release of CUDA before `oldest`, lacks a function, or finds no device.
    pub fn new(library: Library, oldest: u32) -> Result<Self, CudaError> {
        // SAFETY: the types are those of the driver's interface, under the names of these versions of its functions.
        unsafe {
            let release = release(&library)?;
            if release < oldest {
                return Err(CudaError(format!(
                    "NVIDIA's driver is for CUDA {release}, and the fused operator needs one for CUDA {oldest} or newer; update \
                     the driver, or run without the operator library"
                )));
            }
            let initialise: unsafe extern "C" fn(c_uint) -> Status = symbol(&library, "cuInit")?;
            let driver = Self {
                release,
                error_name: symbol(&library, "cuGetErrorName")?,
                device_get: symbol(&library, "cuDeviceGet")?,
                device_attribute: symbol(&library, "cuDeviceGetAttribute")?,
                retain: symbol(&library, "cuDevicePrimaryCtxRetain")?,
                push: symbol(&library, "cuCtxPushCurrent_v2")?,
                pop: symbol(&library, "cuCtxPopCurrent_v2")?,
                load: symbol(&library, "cuModuleLoadData")?,
                function: symbol(&library, "cuModuleGetFunction")?,
                function_set: symbol(&library, "cuFuncSetAttribute")?,
                launch: symbol(&library, "cuLaunchKernel")?,
                pool_create: symbol(&library, "cuMemPoolCreate")?,
                pool_set: symbol(&library, "cuMemPoolSetAttribute")?,
                allocate: symbol(&library, "cuMemAllocFromPoolAsync")?,
                free: symbol(&library, "cuMemFreeAsync")?,
                _library: library,
            };
            driver.check(initialise(0), "cuInit")?;
            Ok(driver)
        }
    }

    fn check(&self, status: Status, what: &str) -> Result<(), CudaError> {
        if status == 0 {
            return Ok(());
        }
        let mut name = ptr::null();
        // SAFETY: a place to write; a name lives as long as the library.
        let name = unsafe {
            let known = (self.error_name)(status, &mut name) == 0 && !name.is_null();
            if known { CStr::from_ptr(name).to_string_lossy().into_owned() } else { status.to_string() }
        };
        Err(CudaError(format!("the driver of CUDA failed ({what}): {name}")))
    }
}

/// # Safety
/// The library is the driver's.
unsafe fn release(library: &Library) -> Result<u32, CudaError> {
    let mut version = 0;
    // SAFETY: the caller's promise, and a place to write; no other function need be called before it.
    let status = unsafe {
        let get: unsafe extern "C" fn(*mut c_int) -> Status = symbol(library, "cuDriverGetVersion")?;
        get(&mut version)
    };
    match u32::try_from(version / 1000) {
        Ok(release) if status == 0 => Ok(release),
        _ => Err(CudaError(format!("the driver of CUDA failed (cuDriverGetVersion): {status}"))),
    }
}

/// A device with its primary context, kept until the process ends.
pub struct Device {
    driver: &'static Driver,
    context: Handle,
    /// Memory that a stream takes and gives back in its own order; what is given back stays here for the next run.
    pool: Handle,
    /// Compute capability, such as 80.
    pub capability: u32,
    /// Bytes of shared memory that a block can ask for.
    pub shared_memory: usize,
}

// SAFETY: contexts and pools are used by any thread; all else is numbers.
unsafe impl Send for Device {}
// SAFETY: as above.
unsafe impl Sync for Device {}

impl Device {
    /// The device of a number, as ONNX Runtime counts.
    ///
    /// # Errors
    /// What the driver says, or the device has no memory in the order of streams.
    pub fn new(driver: &'static Driver, ordinal: c_int) -> Result<Self, CudaError> {
        let (mut handle, mut context, mut pool) = (0, ptr::null_mut(), ptr::null_mut());
        // SAFETY: places to write; properties of the driver's layout.
        unsafe {
            driver.check((driver.device_get)(&mut handle, ordinal), "cuDeviceGet")?;
            let attribute = |which: c_int| {
                let mut value = 0;
                driver.check((driver.device_attribute)(&mut value, which, handle), "cuDeviceGetAttribute")?;
                Ok::<u32, CudaError>(u32::try_from(value).unwrap_or(0))
            };
            if attribute(HAS_MEMORY_POOLS)? == 0 {
                return Err(CudaError(
                    "the fused operator needs a device with memory pools, which this one has not; run without the operator \
                     library"
                        .into(),
                ));
            }
            let capability = attribute(CAPABILITY_MAJOR)? * 10 + attribute(CAPABILITY_MINOR)?;
            let shared_memory = attribute(SHARED_MEMORY_OF_BLOCK)? as usize;
            driver.check((driver.retain)(&mut context, handle), "cuDevicePrimaryCtxRetain")?;
            let properties =
                PoolProperties { allocation: 1, handles: 0, location: 1, device: handle, rest: [0; 9] };
            driver.check((driver.pool_create)(&mut pool, &properties), "cuMemPoolCreate")?;
            let mut all = u64::MAX;
            let threshold = (&raw mut all).cast();
            driver.check((driver.pool_set)(pool, RELEASE_THRESHOLD, threshold), "cuMemPoolSetAttribute")?;
            Ok(Self { driver, context, pool, capability, shared_memory })
        }
    }

    /// Makes the device's context the thread's, until what is returned is dropped.
    ///
    /// # Errors
    /// What the driver says.
    pub fn enter(&self) -> Result<Entered<'_>, CudaError> {
        // SAFETY: a context that is kept.
        self.driver.check(unsafe { (self.driver.push)(self.context) }, "cuCtxPushCurrent")?;
        Ok(Entered { device: self })
    }
}

/// A device whose context is the thread's.
pub struct Entered<'a> {
    device: &'a Device,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut context = ptr::null_mut();
        // SAFETY: what `enter` pushed. A failure has no consequence that could be told.
        unsafe { (self.device.driver.pop)(&mut context) };
    }
}

/// A kernel of a module, which is never unloaded.
#[derive(Debug, Clone, Copy)]
pub struct Function(Handle);

// SAFETY: functions are used by any thread.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}

/// What a launch is made of.
#[derive(Debug, Clone, Copy)]
pub struct Grid {
    /// Blocks, at least 1.
    pub blocks: u32,
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of shared memory of a block, besides the kernel's own.
    pub shared: u32,
}

impl Entered<'_> {
    /// Loads code and finds its functions; `shared` bytes of shared memory are allowed to each.
    ///
    /// # Errors
    /// What the driver says.
    pub fn load<const K: usize>(
        &self,
        code: &[u8],
        names: [&str; K],
        shared: u32,
    ) -> Result<[Function; K], CudaError> {
        let driver = self.device.driver;
        // PTX is text, and ends with 0; a 0 after a device's code is not read.
        let image = [code, &[0]].concat();
        let (mut module, mut functions) = (ptr::null_mut(), [Function(ptr::null_mut()); K]);
        // SAFETY: an image that knows its size or ends with 0, places to write, strings that end with 0.
        unsafe {
            driver.check((driver.load)(&mut module, image.as_ptr().cast()), "cuModuleLoadData")?;
            for (function, name) in functions.iter_mut().zip(names) {
                let name = CString::new(name).unwrap_or_default();
                let found = (driver.function)(&mut function.0, module, name.as_ptr());
                driver.check(found, "cuModuleGetFunction")?;
                let bytes = c_int::try_from(shared).unwrap_or(c_int::MAX);
                let set = (driver.function_set)(function.0, DYNAMIC_SHARED_MEMORY, bytes);
                driver.check(set, "cuFuncSetAttribute")?;
            }
        }
        Ok(functions)
    }

    /// Takes memory, in the order of the stream; also while the stream is captured into a graph.
    ///
    /// # Errors
    /// There is not enough.
    ///
    /// # Safety
    /// `stream` is a stream of this device.
    pub unsafe fn allocate(&self, bytes: usize, stream: *mut c_void) -> Result<Workspace<'_>, CudaError> {
        let driver = self.device.driver;
        let mut place = 0;
        // SAFETY: the caller's promise; a pool that is kept.
        let status = unsafe { (driver.allocate)(&mut place, bytes, self.device.pool, stream) };
        driver.check(status, "cuMemAllocFromPoolAsync")?;
        Ok(Workspace { driver, place, stream })
    }

    /// Starts a kernel on the stream, with one argument.
    ///
    /// # Errors
    /// What the driver says.
    ///
    /// # Safety
    /// `stream` is a stream of this device, and `argument` what the kernel takes: its pointers stay good until it has run.
    pub unsafe fn launch(
        &self,
        function: Function,
        grid: Grid,
        argument: &[u64],
        stream: *mut c_void,
    ) -> Result<(), CudaError> {
        let driver = self.device.driver;
        let mut arguments = [argument.as_ptr().cast_mut().cast::<c_void>()];
        let Grid { blocks, threads, shared } = grid;
        // SAFETY: the caller's promise; the driver copies the argument before it returns.
        let status = unsafe {
            let (list, none) = (arguments.as_mut_ptr(), ptr::null_mut());
            (driver.launch)(function.0, blocks, 1, 1, threads, 1, 1, shared, stream, list, none)
        };
        driver.check(status, "cuLaunchKernel")
    }
}

/// Memory of a stream, given back in the stream's order when this is dropped.
pub struct Workspace<'a> {
    driver: &'a Driver,
    /// Where it is.
    pub place: DevicePointer,
    stream: *mut c_void,
}

impl Drop for Workspace<'_> {
    fn drop(&mut self) {
        // SAFETY: what `allocate` took, on its stream. A failure means that the device is lost, which the next call tells.
        unsafe { (self.driver.free)(self.place, self.stream) };
    }
}
