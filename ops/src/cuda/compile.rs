//! A source to code: from this process, from the disk, or from the compiler.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::CudaError;
use super::cache::{self, Key};
use super::nvrtc::{Nvrtc, Target};

/// Options of every compilation, besides the architecture.
const OPTIONS: [&str; 1] = ["--std=c++17"];

type Slot = Arc<Mutex<Option<Arc<Vec<u8>>>>>;

/// Code that this process has compiled or read. Each is made once: who asks for it meanwhile waits.
static SLOTS: Mutex<Option<HashMap<Key, Slot>>> = Mutex::new(None);

/// The code of a source; `dir` is where compiled code is kept, if it is.
///
/// # Errors
/// What the compiler says. Errors are not remembered.
pub fn code(
    nvrtc: &Nvrtc,
    source: &str,
    target: Target,
    dir: Option<&Path>,
) -> Result<(Key, Arc<Vec<u8>>), CudaError> {
    let (major, minor) = nvrtc.version()?;
    let version = format!("NVRTC {major}.{minor}");
    let parts = [version.as_str(), OPTIONS[0], &target.option(), source];
    let key = cache::key(&parts.map(str::as_bytes));
    let slot = {
        let mut slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
        slots.get_or_insert_default().entry(key).or_default().clone()
    };
    // What a panic left behind is no code, or whole code.
    let mut made = slot.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(code) = &*made {
        return Ok((key, code.clone()));
    }
    let code = match dir.and_then(|dir| cache::read(dir, &key)) {
        Some(code) => code,
        None => {
            let code = nvrtc.compile(source, target, &OPTIONS)?;
            if let Some(dir) = dir {
                cache::write(dir, &key, &code);
            }
            code
        }
    };
    let code = made.insert(Arc::new(code)).clone();
    Ok((key, code))
}
