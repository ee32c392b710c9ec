//! `RegisterCustomOps`, by which ONNX Runtime loads the library.

use std::sync::Mutex;

use ort_sys::{OrtApiBase, OrtCustomOp, OrtCustomOpDomain, OrtSessionOptions, OrtStatusPtr};

use super::api::{Failure, api, check, guarded, initialize};
use super::kernel::Kernel;
use super::operator;

/// The domain, made once and never freed: session options refer to it for as long as anyone uses them.
struct Domain(*mut OrtCustomOpDomain);

// SAFETY: ONNX Runtime only reads a domain once it is made.
unsafe impl Send for Domain {}

static DOMAIN: Mutex<Option<Domain>> = Mutex::new(None);

/// Registers the operators of this library with a session's options.
///
/// # Safety
/// The arguments are those of ONNX Runtime.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn RegisterCustomOps(
    options: *mut OrtSessionOptions,
    base: *const OrtApiBase,
) -> OrtStatusPtr {
    guarded(|| {
        // SAFETY: the caller's promise.
        unsafe {
            initialize(base)?;
            let mut made = DOMAIN.lock().map_err(|_| "an earlier registration failed")?;
            let domain = match &*made {
                Some(domain) => domain.0,
                None => made.insert(Domain(domain()?)).0,
            };
            check((api().AddCustomOpDomain)(options, domain))
        }
    })
}

/// Makes the domain with its operators: one for each provider that has a kernel. Where ONNX Runtime lacks a provider, no
/// node is given to it, so its kernel is never made; CUDA's libraries are looked for only then.
unsafe fn domain() -> Result<*mut OrtCustomOpDomain, Failure> {
    let mut domain = std::ptr::null_mut();
    let operators = [operator::of::<Kernel>(), operator::of::<super::cuda::CudaKernel>()];
    // SAFETY: a name that ends with 0; the operators are never freed.
    unsafe {
        check((api().CreateCustomOpDomain)(c"ai.ibgraph".as_ptr(), &mut domain))?;
        for operator in operators {
            let operator: &'static OrtCustomOp = Box::leak(Box::new(operator));
            check((api().CustomOpDomain_Add)(domain, operator))?;
        }
    }
    Ok(domain)
}
