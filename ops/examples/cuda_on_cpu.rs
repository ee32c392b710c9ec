//! A library for ONNX Runtime that gives the operator's kernel for CUDA to the CPU provider, for tests without a device: all
//! of its way from a node to a launch runs, with a driver that is none (`tests/python/fake_cuda`). It opens the operator
//! library that IBGRAPH_OPS_ON_CPU names, and closes it before it opens it again, as ONNX Runtime does between sessions that
//! follow one another. IBGRAPH_OPS is its own file, which stays open: tables outlive the sessions. CUDA_ON_CPU_DEVICE is the
//! number of the device that the provider would have.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::{Mutex, OnceLock, PoisonError};

use libloading::Library;
use ort_sys::{
    OrtApi, OrtApiBase, OrtCustomOp, OrtCustomOpDomain, OrtErrorCode, OrtKernelContext, OrtMemoryInfo,
    OrtSessionOptions, OrtStatusPtr,
};

type Register = unsafe extern "system" fn(*mut OrtSessionOptions, *const OrtApiBase) -> OrtStatusPtr;

/// ONNX Runtime's own table, and that with the functions below.
struct Tables {
    real: &'static OrtApi,
    changed: OrtApi,
    base: OrtApiBase,
}

// SAFETY: tables of functions, which nobody writes.
unsafe impl Send for Tables {}
// SAFETY: as above.
unsafe impl Sync for Tables {}

static TABLES: OnceLock<Tables> = OnceLock::new();
/// The operator library.
static OPEN: Mutex<Option<Library>> = Mutex::new(None);
/// Where streams begin; the fake driver knows them by it.
const STREAMS: usize = 0x5000;

/// Registers the kernel for CUDA as one of the CPU.
///
/// # Safety
/// The arguments are those of ONNX Runtime.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn RegisterCustomOps(
    options: *mut OrtSessionOptions,
    base: *const OrtApiBase,
) -> OrtStatusPtr {
    // SAFETY: ONNX Runtime's own base, whose tables live as long as the process; the library stays open.
    unsafe {
        let tables = TABLES.get_or_init(|| {
            let real = &*((*base).GetApi)(18);
            let mut changed: OrtApi = std::ptr::read(real);
            changed.CustomOpDomain_Add = add;
            changed.KernelContext_GetGPUComputeStream = stream;
            changed.MemoryInfoGetId = id;
            std::mem::forget(Library::new(std::env::var_os("IBGRAPH_OPS").unwrap_or_default()));
            Tables {
                real,
                changed,
                base: OrtApiBase { GetApi: table, GetVersionString: (*base).GetVersionString },
            }
        });
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        drop(open.take());
        let path = std::env::var_os("IBGRAPH_OPS_ON_CPU").unwrap_or_default();
        *open = Library::new(path).ok();
        match open.as_ref().map(|library| library.get::<Register>("RegisterCustomOps")) {
            Some(Ok(register)) => register(options, &tables.base),
            _ => {
                let why = c"IBGRAPH_OPS_ON_CPU names no operator library";
                (tables.real.CreateStatus)(OrtErrorCode::ORT_INVALID_ARGUMENT, why.as_ptr())
            }
        }
    }
}

fn device() -> c_int {
    std::env::var("CUDA_ON_CPU_DEVICE").ok().and_then(|number| number.parse().ok()).unwrap_or(0)
}

unsafe extern "system" fn table(_: u32) -> *const OrtApi {
    TABLES.get().map_or(std::ptr::null(), |tables| &raw const tables.changed)
}

unsafe extern "system" fn add(domain: *mut OrtCustomOpDomain, op: *const OrtCustomOp) -> OrtStatusPtr {
    // SAFETY: an operator of the library, whose functions do not look at what they are of.
    unsafe {
        let of = (*op).GetExecutionProviderType.map(|provider| CStr::from_ptr(provider(op)));
        if of != Some(c"CUDAExecutionProvider") {
            return OrtStatusPtr(std::ptr::null_mut());
        }
        let mut on_cpu: OrtCustomOp = std::ptr::read(op);
        on_cpu.GetExecutionProviderType = Some(cpu);
        let (real, on_cpu) = (TABLES.get().map(|tables| tables.real), Box::leak(Box::new(on_cpu)));
        real.map_or(OrtStatusPtr(std::ptr::null_mut()), |real| (real.CustomOpDomain_Add)(domain, on_cpu))
    }
}

unsafe extern "system" fn cpu(_: *const OrtCustomOp) -> *const c_char {
    c"CPUExecutionProvider".as_ptr()
}

unsafe extern "system" fn stream(_: *const OrtKernelContext, stream: *mut *mut c_void) -> OrtStatusPtr {
    // SAFETY: a place to write.
    unsafe { *stream = std::ptr::without_provenance_mut(STREAMS + device() as usize) };
    OrtStatusPtr(std::ptr::null_mut())
}

unsafe extern "system" fn id(_: *const OrtMemoryInfo, id: *mut c_int) -> OrtStatusPtr {
    // SAFETY: a place to write.
    unsafe { *id = device() };
    OrtStatusPtr(std::ptr::null_mut())
}
