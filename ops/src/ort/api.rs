//! ONNX Runtime's table of functions, and failures.

use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use ort_sys::{OrtApi, OrtApiBase, OrtErrorCode, OrtStatusPtr};

/// Version of the table that is asked for. It is also that of ONNX Runtime 1.18, the first that has all that is used
/// here. Asked for by number, not by `ort_sys::ORT_API_VERSION`, which other crates of a build can raise.
pub(super) const API_VERSION: u32 = 18;

static API: AtomicPtr<OrtApi> = AtomicPtr::new(ptr::null_mut());

/// The table. Only called by ONNX Runtime's calls into this library, which come after [`initialize`].
pub(super) fn api() -> &'static OrtApi {
    let table = API.load(Ordering::Acquire);
    assert!(!table.is_null(), "ONNX Runtime calls kernels only after it registered the library");
    // SAFETY: not null, and ONNX Runtime's tables live as long as the process.
    unsafe { &*table }
}

/// Takes the table from ONNX Runtime.
///
/// # Safety
/// `base` is what ONNX Runtime passed to `RegisterCustomOps`.
pub(super) unsafe fn initialize(base: *const OrtApiBase) -> Result<(), Failure> {
    // SAFETY: the caller's promise; version 1 is in every ONNX Runtime, and can make a status.
    let (table, oldest) = unsafe { (((*base).GetApi)(API_VERSION), ((*base).GetApi)(1)) };
    let found = if table.is_null() { oldest } else { table };
    API.store(found.cast_mut(), Ordering::Release);
    if table.is_null() {
        return Err(Failure::from("the operator library of ibgraph needs ONNX Runtime 1.18 or newer"));
    }
    Ok(())
}

/// Why a call from ONNX Runtime fails.
pub(super) enum Failure {
    /// ONNX Runtime's own.
    Status(OrtStatusPtr),
    /// Ours.
    Message(String),
}

impl From<&str> for Failure {
    fn from(message: &str) -> Self {
        Failure::Message(message.to_owned())
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Failure::Message(message)
    }
}

/// A status of ONNX Runtime as a result.
pub(super) fn check(status: OrtStatusPtr) -> Result<(), Failure> {
    if status.0.is_null() { Ok(()) } else { Err(Failure::Status(status)) }
}

/// Runs `work` and turns its outcome, or its panic, into a status.
pub(super) fn guarded(work: impl FnOnce() -> Result<(), Failure>) -> OrtStatusPtr {
    // Unwind safety: what `work` borrowed is dropped or, as a kernel's output after an error, not used.
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => OrtStatusPtr(ptr::null_mut()),
        Ok(Err(Failure::Status(status))) => status,
        Ok(Err(Failure::Message(message))) => status(&message),
        Err(_) => status("internal panic; this is a defect of the operator library of ibgraph"),
    }
}

fn status(message: &str) -> OrtStatusPtr {
    let text = CString::new(message.replace('\0', "?")).unwrap_or_default();
    // SAFETY: a code and a string that ends with 0, which ONNX Runtime copies.
    unsafe { (api().CreateStatus)(OrtErrorCode::ORT_INVALID_ARGUMENT, text.as_ptr()) }
}
