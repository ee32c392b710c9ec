//! Fetches one pinned package with pip.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::{Outcome, run};
use super::wheels::Wheel;
use super::{install_error, io_error};
use crate::runtime::error::RuntimeError;
use crate::runtime::manifest::sha256_of;

/// How many of pip's last lines an error shows.
const LAST_LINES: usize = 6;

/// Fetches `wheel` into a new directory of `temporary` and returns the archive's path. pip compares its SHA-256 with
/// the pinned one, and so does this function.
pub(super) fn download(wheel: &Wheel, python: &Path, temporary: &Path) -> Result<PathBuf, RuntimeError> {
    let requirements = temporary.join("requirements.txt");
    let Wheel { package, version, sha256, .. } = wheel;
    let line = format!("{package}=={version} --hash=sha256:{sha256}\n");
    fs::write(&requirements, line).map_err(|error| io_error("write", &requirements, &error))?;
    let target = temporary.join("download");
    let mut command = Command::new(python);
    command
        .args(["-m", "pip", "download", "--quiet", "--no-input"])
        .args(["--disable-pip-version-check", "--no-deps"])
        .args(["--only-binary=:all:", "--require-hashes"])
        .args(["--implementation", "cp", "--python-version", wheels_python()])
        .args(["--abi", wheel.abi, "--platform", wheel.platform])
        .arg("--dest")
        .arg(&target)
        .arg("--requirement")
        .arg(&requirements);
    match run(command, None) {
        Ok(Outcome::Exited { status, .. }) if status.success() => arrived(wheel, &target),
        Ok(Outcome::Exited { stdout, stderr, .. }) => Err(failure(python, &stdout, &stderr)),
        Ok(Outcome::TimedOut) => Err(install_error("pip did not end".to_owned())),
        Err(error) => Err(install_error(format!(
            "cannot start {}: {error}; install Python 3 with pip, or name another with `--python PATH`",
            python.display()
        ))),
    }
}

/// The version that the pinned files are for; the local Python's own does not matter to them.
fn wheels_python() -> &'static str {
    super::wheels::PYTHON_VERSION
}

/// The one file that pip fetched, which must be the pinned one.
fn arrived(wheel: &Wheel, target: &Path) -> Result<PathBuf, RuntimeError> {
    let read = |error| io_error("read", target, &error);
    let mut files = fs::read_dir(target).map_err(read)?;
    let file = match files.next() {
        Some(file) => file.map_err(read)?.path(),
        None => return Err(install_error("pip fetched nothing".to_owned())),
    };
    let actual = sha256_of(&file).map_err(|error| io_error("read", &file, &error))?;
    if actual == wheel.sha256 {
        return Ok(file);
    }
    Err(install_error(format!(
        "pip fetched another {} than the pinned one: SHA-256 {actual}, not {}",
        wheel.package, wheel.sha256
    )))
}

/// An error from what pip wrote.
fn failure(python: &Path, stdout: &str, stderr: &str) -> RuntimeError {
    if stderr.contains("No module named pip") {
        return install_error(format!(
            "{} has no pip; run `{0} -m ensurepip`, install your system's python3-pip, or name another Python with \
             `--python PATH`",
            python.display()
        ));
    }
    let lines: Vec<&str> = stdout.lines().chain(stderr.lines()).collect();
    let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n  ");
    install_error(format!(
        "pip could not fetch the package (is this machine offline, or behind a mirror that lacks it?); its last lines:\n  \
         {last}"
    ))
}
