//! Library files before they are loaded: what they are called, and whether they are whole.
//!
//! Loading a truncated library kills the process with SIGBUS, so nothing here loads anything; a file that passes is
//! of the right kind and as long as its own headers say it is. Bytes damaged in place are not seen here: for that an
//! installation has its manifest.

use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::Path;

use super::error::RuntimeError;

mod elf;

/// The oldest ONNX Runtime that this crate drives: its C API version 24 is the first to tell node placement.
pub const MIN_ORT_VERSION: &str = "1.24";

/// The minor version in [`MIN_ORT_VERSION`], which is also the version of the C API.
pub(crate) const MIN_ORT_MINOR: u32 = 24;

/// Checks that `path` is a regular file that looks like a whole shared library (ELF, Mach-O or PE). Does not load it.
///
/// # Errors
/// [`RuntimeError::LibraryMissing`] when there is no such file, [`RuntimeError::LibraryBroken`] when it is empty, not
/// a shared library, or shorter than its own headers say.
pub fn check_library(path: &Path) -> Result<(), RuntimeError> {
    let missing = |why: String| RuntimeError::LibraryMissing { path: path.to_owned(), why };
    let broken = |why: String| RuntimeError::LibraryBroken { path: path.to_owned(), why };
    let metadata = fs::metadata(path).map_err(|error| missing(error.to_string()))?;
    if !metadata.is_file() {
        return Err(missing("not a regular file".to_owned()));
    }
    let mut file = File::open(path).map_err(|error| broken(error.to_string()))?;
    check_contents(&mut file, metadata.len()).map_err(broken)
}

/// The kind of file by its first bytes, and for ELF its headers against `len`, the length of the file.
fn check_contents(file: &mut (impl Read + Seek), len: u64) -> Result<(), String> {
    if len == 0 {
        return Err("the file is empty".to_owned());
    }
    let mut magic = [0u8; 4];
    file.read_exact(&mut magic).map_err(|_| format!("{len} bytes are no shared library"))?;
    match magic {
        [0x7f, b'E', b'L', b'F'] => elf::check(file, len),
        [b'M', b'Z', _, _] => Ok(()),
        // Mach-O of 64 bits, in either byte order, and the universal binaries of 32- and 64-bit offsets.
        [0xcf, 0xfa, 0xed, 0xfe] | [0xfe, 0xed, 0xfa, 0xcf] => Ok(()),
        [0xca, 0xfe, 0xba, 0xbe | 0xbf] => Ok(()),
        _ => Err("not a shared library (neither ELF, Mach-O nor PE)".to_owned()),
    }
}

/// Whether a file of this name is an ONNX Runtime library: `libonnxruntime.so`, `libonnxruntime.so.1.32.0`,
/// `libonnxruntime.1.32.0.dylib`, `libonnxruntime.dylib`, `onnxruntime.dll`. Providers' libraries are not.
pub(crate) fn is_ort_name(name: &str) -> bool {
    name == "onnxruntime.dll" || unix_suffix(name).is_some()
}

/// The version in a library's file name; `None` when it has none.
pub(crate) fn version_in_name(name: &str) -> Option<String> {
    let version = unix_suffix(name)?;
    (!version.is_empty()).then(|| version.to_owned())
}

/// What stands where a Unix library's name has its version: `1.32.0`, or nothing.
fn unix_suffix(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("libonnxruntime.")?;
    let version = match rest.strip_suffix("dylib") {
        Some(version) => version.trim_end_matches('.'),
        None => rest.strip_prefix("so")?.trim_start_matches('.'),
    };
    version.chars().all(|c| c.is_ascii_digit() || c == '.').then_some(version)
}

/// Whether a version such as `1.32.0` or `1.24.0.dev2` is one this crate can drive; `None` when it is no version.
pub(crate) fn is_supported(version: &str) -> Option<bool> {
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().ok());
    let (major, minor) = (numbers.next()??, numbers.next()??);
    Some((major, minor) >= (1, MIN_ORT_MINOR))
}

/// File name of a provider's library beside ONNX Runtime's own on this platform, such as
/// `libonnxruntime_providers_cuda.so` for `cuda`.
pub(crate) fn provider_library_name(provider: &str) -> String {
    format!(
        "{}onnxruntime_providers_{provider}{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    )
}

#[cfg(test)]
mod tests;
