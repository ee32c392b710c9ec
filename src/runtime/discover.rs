//! Finds the ONNX Runtime libraries of this machine, without loading any.
//!
//! Where to look is the caller's to say ([`Search`]); nothing here reads the environment. What the user named is
//! always in the answer, usable or not: a wrong path is an entry that says so, never a silent step to the next one.

use std::fs;
use std::path::{Path, PathBuf};

use super::library::{
    MIN_ORT_VERSION, check_library, is_ort_name, is_supported, provider_library_name, version_in_name,
};
use super::manifest::Manifest;

mod python;

/// Where to look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// What the user named on the command line: a library, or a directory that holds one.
    pub explicit: Option<PathBuf>,
    /// What `ORT_DYLIB_PATH` says, likewise.
    pub env: Option<PathBuf>,
    /// The directory of [`install`](super::install::install).
    pub cache_dir: Option<PathBuf>,
    /// Python interpreters whose `onnxruntime` packages count, in order of preference.
    pub pythons: Vec<PathBuf>,
}

/// How a library was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// [`Search::explicit`].
    Flag,
    /// [`Search::env`].
    Env,
    /// [`Search::cache_dir`].
    Installed,
    /// The `onnxruntime` package of this interpreter.
    Python {
        /// The interpreter that was asked.
        interpreter: PathBuf,
    },
}

/// A library, or the place where one was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The library's file; for a path that names none, that path.
    pub library: PathBuf,
    /// Its version, by its manifest, its file name or its Python package; `None` when none of them tells.
    pub version: Option<String>,
    /// How it was found.
    pub origin: Origin,
    /// Whether CUDA's provider library lies beside it.
    pub cuda: bool,
    /// Whether it can be tried; the error says why not. It was not loaded, so trying may still fail.
    pub usable: Result<(), String>,
}

/// Looks everywhere `search` says, in order of preference: flag, environment, installed (newest first), Python.
/// A library that several places lead to is listed once, at the first of them.
pub fn find(search: &Search) -> Vec<Found> {
    let mut found = Vec::new();
    if let Some(path) = &search.explicit {
        found.push(named(path, Origin::Flag));
    }
    if let Some(path) = &search.env {
        found.push(named(path, Origin::Env));
    }
    if let Some(dir) = &search.cache_dir {
        found.extend(installed(dir));
    }
    let mut asked: Vec<&PathBuf> = Vec::new();
    for interpreter in &search.pythons {
        if !asked.contains(&interpreter) {
            asked.push(interpreter);
            found.extend(of_python(interpreter));
        }
    }
    let mut seen = Vec::new();
    found.retain(|entry| {
        let real = fs::canonicalize(&entry.library).unwrap_or_else(|_| entry.library.clone());
        let new = !seen.contains(&real);
        seen.push(real);
        new
    });
    found
}

/// The library at a path that the user named, or in a directory of that path.
fn named(path: &Path, origin: Origin) -> Found {
    if !path.is_dir() {
        return entry(path.to_owned(), None, origin);
    }
    let inner = [path.to_owned(), path.join("lib"), path.join("onnxruntime/capi"), path.join("capi")];
    match inner.iter().find_map(|dir| library_in(dir)) {
        Some(library) => entry(library, None, origin),
        None => Found {
            library: path.to_owned(),
            version: None,
            origin,
            cuda: false,
            usable: Err("the directory holds no ONNX Runtime library".to_owned()),
        },
    }
}

/// The installations under the cache directory, newest version first; with CUDA before those without.
pub(super) fn installed(cache_dir: &Path) -> Vec<Found> {
    let mut found = Vec::new();
    for dir in directories(cache_dir) {
        match Manifest::read(&dir) {
            Ok(None) => {}
            Ok(Some(manifest)) => {
                found.push(entry(dir.join(&manifest.library), Some(manifest.version), Origin::Installed))
            }
            Err(error) => found.push(Found {
                library: dir,
                version: None,
                origin: Origin::Installed,
                cuda: false,
                usable: Err(error.to_string()),
            }),
        }
    }
    found.sort_by_key(|entry| std::cmp::Reverse((version_key(entry), entry.cuda)));
    found
}

/// The library of an interpreter's `onnxruntime` package; none when it has no such package or is no interpreter.
fn of_python(interpreter: &Path) -> Option<Found> {
    let package = python::onnxruntime_of(interpreter)?;
    let origin = Origin::Python { interpreter: interpreter.to_owned() };
    let library = library_in(&package.dir.join("capi"))?;
    Some(entry(library, package.version, origin))
}

/// Describes the library at `path`. A version in its name beats `version`.
fn entry(path: PathBuf, version: Option<String>, origin: Origin) -> Found {
    let name = path.file_name().and_then(|name| name.to_str());
    // `libonnxruntime.so.1` tells an ABI, not a release.
    let in_name = name.and_then(version_in_name).filter(|version| version.contains('.'));
    let version = in_name.or(version);
    let cuda = path.parent().is_some_and(|dir| dir.join(provider_library_name("cuda")).is_file());
    let usable = usable(&path, version.as_deref());
    Found { library: path, version, origin, cuda, usable }
}

fn usable(path: &Path, version: Option<&str>) -> Result<(), String> {
    check_library(path).map_err(|error| error.to_string())?;
    match version {
        Some(version) if is_supported(version) == Some(false) => {
            Err(format!("version {version} is too old: {MIN_ORT_VERSION} or newer is needed"))
        }
        _ => Ok(()),
    }
}

/// The ONNX Runtime library of a directory: the name with the newest version, else the first by name.
fn library_in(dir: &Path) -> Option<PathBuf> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| is_ort_name(name))
        .collect();
    names.sort_by_key(|name| {
        let version = version_in_name(name).unwrap_or_default();
        (std::cmp::Reverse(version_numbers(&version)), name.to_owned())
    });
    names.first().map(|name| dir.join(name))
}

/// Subdirectories in the order of their names, unfinished installations (whose names start with a dot) left out.
fn directories(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut dirs: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir())
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| !name.starts_with('.'))
        })
        .collect();
    dirs.sort();
    dirs
}

fn version_key(entry: &Found) -> Vec<u32> {
    version_numbers(entry.version.as_deref().unwrap_or_default())
}

/// The numbers of a version, for comparison; ends at the first part that is no number.
fn version_numbers(version: &str) -> Vec<u32> {
    version.split('.').map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests;
