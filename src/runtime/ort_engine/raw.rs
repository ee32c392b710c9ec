//! The calls into ONNX Runtime that `ort` does not wrap: the library's version, and node placement. All unsafe code
//! of the runtime is here.

use std::error::Error;
use std::ffi::{CStr, c_char};
use std::path::Path;
use std::{ptr, slice};

use ort::AsPointer;
use ort::session::Session;
use ort::sys;

use crate::runtime::NodePlacement;

/// Loads the library at `path`, for good, and returns the version it states, such as `1.32.0`. The error says why the
/// file is not an ONNX Runtime that can be loaded here.
pub(super) fn version_of(path: &Path) -> Result<String, String> {
    // SAFETY: loading runs the library's initializers. That the file is the ONNX Runtime that the user chose, and
    // whole, is as much as can be known before (`process::check_files`).
    let library = unsafe { libloading::Library::new(path) }.map_err(loader_message)?;
    // Unloading would run its destructors, for no gain: this library is either used next or the process is about done.
    let library = Box::leak(Box::new(library));
    // SAFETY: the C API declares this symbol with exactly this signature, and has since its first release.
    let base = unsafe {
        library
            .get::<unsafe extern "system" fn() -> *const sys::OrtApiBase>(b"OrtGetApiBase\0")
            .map(|get_base| get_base())
    }
    .map_err(|_| "it exports no `OrtGetApiBase`, so it is not ONNX Runtime".to_owned())?;
    // SAFETY: a non-null base points to a constant of the library, which is never unloaded.
    let base = unsafe { base.as_ref() }.ok_or("`OrtGetApiBase` returned nothing")?;
    // SAFETY: the function pointer is the library's own; it returns null or a static C string.
    let version = unsafe { text((base.GetVersionString)()) };
    // SAFETY: as above. Null is the documented answer to an API version that the library does not have.
    let has_api = unsafe { !(base.GetApi)(sys::ORT_API_VERSION).is_null() };
    match crate::runtime::library::is_supported(&version) {
        Some(true) if !has_api => {
            Err(format!("version {version} does not have the C API {}", sys::ORT_API_VERSION))
        }
        _ => Ok(version),
    }
}

/// The loader's own words, which stand in the source of libloading's error.
fn loader_message(error: libloading::Error) -> String {
    match error.source() {
        Some(source) => source.to_string(),
        None => error.to_string(),
    }
}

/// Which provider each node of the optimized graph was assigned to.
///
/// The session must have been created with `session.record_ep_graph_assignment_info` set to 1. ONNX Runtime records
/// the assignment when it partitions the graph, which is before it inserts its copy nodes (`MemcpyToHost`,
/// `MemcpyFromHost`) and before most fusions: those are not in the answer. [`super::written`] finds the copies.
pub(super) fn placements(session: &Session) -> ort::Result<Vec<NodePlacement>> {
    let api = ort::api();
    let mut placements = Vec::new();
    let mut subgraphs = ptr::null();
    let mut count = 0;
    // SAFETY: the session is alive, both out-pointers are valid for writing; the arrays and strings that this and the
    // calls below return belong to the session, and are copied before it can be dropped.
    let subgraphs = unsafe {
        check((api.Session_GetEpGraphAssignmentInfo)(session.ptr(), &mut subgraphs, &mut count))?;
        array(subgraphs, count)
    };
    for &subgraph in subgraphs {
        let mut nodes = ptr::null();
        let mut count = 0;
        // SAFETY: `subgraph` comes from the call above, which returned no null entries; see there for lifetimes.
        let (provider, nodes) = unsafe {
            let provider = get_text(api.EpAssignedSubgraph_GetEpName, subgraph)?;
            check((api.EpAssignedSubgraph_GetNodes)(subgraph, &mut nodes, &mut count))?;
            (provider, array(nodes, count))
        };
        for &node in nodes {
            // SAFETY: `node` comes from the call above; see there for lifetimes.
            placements.push(unsafe {
                NodePlacement {
                    provider: provider.clone(),
                    node: get_text(api.EpAssignedNode_GetName, node)?,
                    op_type: get_text(api.EpAssignedNode_GetOperatorType, node)?,
                    domain: get_text(api.EpAssignedNode_GetDomain, node)?,
                }
            });
        }
    }
    Ok(placements)
}

/// Calls one of the API's string getters.
///
/// # Safety
/// `object` must be alive and of the kind that `getter` takes.
unsafe fn get_text<T>(
    getter: unsafe extern "system" fn(*const T, *mut *const c_char) -> sys::OrtStatusPtr,
    object: *const T,
) -> ort::Result<String> {
    let mut out = ptr::null();
    // SAFETY: by this function's contract, and `out` is valid for writing.
    unsafe {
        check(getter(object, &mut out))?;
        Ok(text(out))
    }
}

/// # Safety
/// `status` must come from an API call, whose ownership of it this takes.
unsafe fn check(status: sys::OrtStatusPtr) -> ort::Result<()> {
    // SAFETY: by this function's contract.
    unsafe { ort::Error::result_from_status(status) }
}

/// An array of the API as a slice; empty where the API gives null.
///
/// # Safety
/// A non-null `start` must point to `count` elements that live as long as `'a`.
unsafe fn array<'a, T>(start: *const T, count: usize) -> &'a [T] {
    if start.is_null() {
        return &[];
    }
    // SAFETY: by this function's contract.
    unsafe { slice::from_raw_parts(start, count) }
}

/// A copy of a C string; empty for null.
///
/// # Safety
/// A non-null `start` must point to a string that ends with a zero byte.
unsafe fn text(start: *const c_char) -> String {
    if start.is_null() {
        return String::new();
    }
    // SAFETY: by this function's contract.
    unsafe { CStr::from_ptr(start) }.to_string_lossy().into_owned()
}
