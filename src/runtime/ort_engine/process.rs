//! The one ONNX Runtime of this process.
//!
//! `ort` keeps the first library for good, and panics when it is called before there is one; so everything that can go
//! wrong with a library is found before `ort` sees it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

use super::raw;
use crate::runtime::error::RuntimeError;
use crate::runtime::library::{check_library, is_supported, provider_library_name};
use crate::runtime::manifest::Manifest;
use crate::runtime::provider::Provider;

/// A library that is in this process.
#[derive(Debug, Clone)]
pub(super) struct Loaded {
    pub(super) path: PathBuf,
    pub(super) version: String,
    pub(super) environment: Environment,
}

static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);

/// Loads `library`, or finds it loaded already. What `provider` adds in library files is checked as well.
pub(super) fn load(library: &Path, provider: Provider) -> Result<Loaded, RuntimeError> {
    let path = real_path(library)?;
    // A panic elsewhere leaves the slot as it was before or after its one assignment: either is consistent.
    let mut slot = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(loaded) = slot.as_ref()
        && loaded.path != path
    {
        return Err(RuntimeError::AlreadyLoaded { loaded: loaded.path.clone(), asked: path });
    }
    check_files(&path, provider)?;
    if let Some(loaded) = slot.as_ref() {
        return Ok(loaded.clone());
    }
    let loaded = first_load(path)?;
    Ok(slot.insert(loaded).clone())
}

/// The file behind any symbolic links: ONNX Runtime looks for its providers beside the path it was loaded by.
fn real_path(library: &Path) -> Result<PathBuf, RuntimeError> {
    let resolved = if cfg!(windows) {
        // There, a resolved path has a prefix that older loaders do not take.
        std::path::absolute(library)
    } else {
        fs::canonicalize(library)
    };
    resolved
        .map_err(|error| RuntimeError::LibraryMissing { path: library.to_owned(), why: error.to_string() })
}

/// Checks the library and its provider's, by manifest where there is one.
fn check_files(path: &Path, provider: Provider) -> Result<(), RuntimeError> {
    check_library(path)?;
    let dir = path.parent().unwrap_or(Path::new("."));
    let extra = match provider {
        Provider::Cpu => Vec::new(),
        other => vec![provider_library_name("shared"), provider_library_name(other.name())],
    };
    if let Some(manifest) = Manifest::read(dir)? {
        let own = path.file_name().and_then(|name| name.to_str());
        return manifest.verify(dir, |name| Some(name) == own || extra.iter().any(|other| other == name));
    }
    let beside = extra.iter().map(|name| dir.join(name));
    beside.filter(|file| file.exists()).try_for_each(|file| check_library(&file))
}

fn first_load(path: PathBuf) -> Result<Loaded, RuntimeError> {
    let broken = |why: String| RuntimeError::LibraryBroken { path: path.clone(), why };
    let version = raw::version_of(&path).map_err(broken)?;
    match is_supported(&version) {
        Some(true) => {}
        Some(false) => {
            return Err(RuntimeError::TooOld { path, version });
        }
        None => return Err(broken(format!("it calls itself version `{version}`"))),
    }
    let environment = ort::init_from(&path)
        .map_err(|error| broken(error.to_string()))?
        .with_name("ibgraph")
        .with_telemetry(false)
        .build()
        .map_err(|error| broken(error.message().to_owned()))?;
    // Errors come back as values; what ONNX Runtime would also write to the terminal says nothing more.
    environment.set_log_level(LogLevel::Fatal);
    Ok(Loaded { path, version, environment })
}
