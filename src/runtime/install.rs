//! Installs ONNX Runtime from its Python package: pinned versions with pinned hashes, fetched by the user's own pip
//! (which knows mirrors, proxies and credentials), unpacked without Python.
//!
//! An installation is whole or not there: everything happens in a temporary directory beside its place, which is
//! renamed as the last step. What an interrupted one left behind is removed by the next.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::discover::{Found, installed};
use super::error::RuntimeError;
use super::manifest::{Manifest, verify_installed};

mod pip;
pub(super) mod process;
mod unpack;
mod wheels;

use wheels::Wheel;

/// Start of the name of a directory that an installation is being built in.
const TEMPORARY: &str = ".tmp-";

/// The file in the cache directory that an installation locks.
const LOCK: &str = ".lock";

/// What to install, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallOptions {
    /// Directory that holds the installations, one subdirectory each; made if need be.
    pub cache_dir: PathBuf,
    /// The package with CUDA instead of the one for the CPU. CUDA itself is not in it.
    pub cuda: bool,
    /// A Python interpreter that has pip.
    pub python: PathBuf,
    /// Install again what is there already.
    pub force: bool,
}

/// What [`install`] is about to do, for a person who waits.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// The installation is there already and its files are as they were installed.
    AlreadyThere,
    /// pip starts to fetch this package, such as `onnxruntime` `1.32.0`: so many bytes, unless it has them cached.
    Downloading {
        /// Name on the package index.
        package: &'static str,
        /// Its version.
        version: &'static str,
        /// Size of the package.
        bytes: u64,
    },
    /// The package has arrived and is being unpacked.
    Unpacking,
}

/// Installs ONNX Runtime for this machine. An installation of the same version that verifies is kept, unless
/// `options.force`.
///
/// # Errors
/// [`RuntimeError::Install`]: no package for this platform, no Python or pip, pip's own failure (with its last
/// lines), a package that is not the pinned one, or a file that cannot be written.
pub fn install(options: &InstallOptions, progress: &mut dyn FnMut(Progress)) -> Result<Found, RuntimeError> {
    let wheel = wheels::for_this_machine(options.cuda)?;
    let place = options.cache_dir.join(wheel.directory());
    if !options.force && verify_installed(&place).is_ok() {
        progress(Progress::AlreadyThere);
        return found(&options.cache_dir, &place);
    }
    create_dir(&options.cache_dir)?;
    let _lock = lock(&options.cache_dir)?;
    remove_leftovers(&options.cache_dir);
    let temporary = tempfile::Builder::new()
        .prefix(TEMPORARY)
        .tempdir_in(&options.cache_dir)
        .map_err(|error| io_error("make a directory in", &options.cache_dir, &error))?;
    let finished = build(wheel, &options.python, temporary.path(), progress)?;
    put_in_place(&finished, &place, temporary.path())?;
    found(&options.cache_dir, &place)
}

/// Fetches and unpacks `wheel` within `temporary`; the directory that is the finished installation.
fn build(
    wheel: &Wheel,
    python: &Path,
    temporary: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, RuntimeError> {
    progress(Progress::Downloading { package: wheel.package, version: wheel.version, bytes: wheel.bytes });
    let archive = pip::download(wheel, python, temporary)?;
    progress(Progress::Unpacking);
    let finished = temporary.join("finished");
    create_dir(&finished)?;
    unpack::unpack(&archive, &finished)?;
    let library = wheel.library();
    if !finished.join(&library).is_file() {
        let package = wheel.package;
        return Err(install_error(format!("{package} does not hold {library}")));
    }
    Manifest::of_dir(&finished, wheel.package, wheel.version, &library)
        .and_then(|manifest| manifest.write(&finished))
        .map_err(|error| io_error("describe", &finished, &error))?;
    Ok(finished)
}

/// Moves the finished directory to `place`; an older one goes into the temporary directory, to vanish with it.
fn put_in_place(finished: &Path, place: &Path, temporary: &Path) -> Result<(), RuntimeError> {
    let replaced = temporary.join("replaced");
    if place.exists() {
        fs::rename(place, &replaced).map_err(|error| io_error("replace", place, &error))?;
    }
    fs::rename(finished, place).map_err(|error| {
        // Whatever stood there before is better than nothing; if this fails too, the first error tells more.
        let _ = fs::rename(&replaced, place);
        io_error("write", place, &error)
    })
}

/// Keeps other installations out of `cache_dir` for as long as the file lives; the system lets go of it even when
/// this process is killed.
fn lock(cache_dir: &Path) -> Result<File, RuntimeError> {
    let path = cache_dir.join(LOCK);
    let file = File::create(&path).map_err(|error| io_error("write", &path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(install_error("another installation is under way; try again when it has ended".to_owned()))
        }
        Err(TryLockError::Error(error)) => Err(io_error("lock", &path, &error)),
    }
}

/// Removes what interrupted installations left. Nothing depends on its success.
fn remove_leftovers(cache_dir: &Path) {
    for entry in fs::read_dir(cache_dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn found(cache_dir: &Path, place: &Path) -> Result<Found, RuntimeError> {
    installed(cache_dir)
        .into_iter()
        .find(|entry| entry.library.parent() == Some(place))
        .ok_or_else(|| install_error(format!("{} vanished while it was installed", place.display())))
}

fn create_dir(dir: &Path) -> Result<(), RuntimeError> {
    fs::create_dir_all(dir).map_err(|error| io_error("make", dir, &error))
}

fn install_error(message: String) -> RuntimeError {
    RuntimeError::Install { message }
}

fn io_error(what: &str, path: &Path, error: &std::io::Error) -> RuntimeError {
    install_error(format!("cannot {what} {}: {error}", path.display()))
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
