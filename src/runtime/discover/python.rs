//! Asks a Python interpreter where its `onnxruntime` package lies, without importing it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::runtime::install::process::{Outcome, run};

/// An interpreter that has not answered by then is killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Prints the package's directory and its version, a line each. `find_spec` of a top-level package imports nothing.
const QUESTION: &str = "
import importlib.util, importlib.metadata, sys
spec = importlib.util.find_spec('onnxruntime')
if spec is None or not spec.submodule_search_locations: sys.exit(3)
version = ''
for name in ('onnxruntime-gpu', 'onnxruntime'):
    try: version = importlib.metadata.version(name); break
    except importlib.metadata.PackageNotFoundError: pass
sys.stdout.buffer.write((list(spec.submodule_search_locations)[0] + '\\n' + version + '\\n').encode('utf-8'))
";

/// A Python package `onnxruntime`.
pub(super) struct Package {
    /// Its directory, `…/site-packages/onnxruntime`.
    pub(super) dir: PathBuf,
    /// Its version by its metadata.
    pub(super) version: Option<String>,
}

/// The package that `interpreter` would import; `None` when there is none, or it does not answer in five seconds.
pub(super) fn onnxruntime_of(interpreter: &Path) -> Option<Package> {
    let mut command = Command::new(interpreter);
    // -I: neither the working directory nor PYTHON* variables lead to another package than the interpreter's own.
    command.args(["-I", "-c", QUESTION]);
    let Ok(Outcome::Exited { status, stdout, .. }) = run(command, Some(PATIENCE)) else {
        return None;
    };
    if !status.success() {
        return None;
    }
    let mut lines = stdout.lines();
    let dir = PathBuf::from(lines.next().filter(|line| !line.is_empty())?);
    let version = lines.next().filter(|line| !line.is_empty()).map(str::to_owned);
    Some(Package { dir, version })
}
