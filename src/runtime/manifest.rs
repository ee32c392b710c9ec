//! What an installation consists of: every file with its SHA-256, so that a damaged one is never loaded.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::error::RuntimeError;

/// Name of the manifest's file within an installation.
pub(crate) const FILE_NAME: &str = "ibgraph-runtime.json";

/// The contents of an installed ONNX Runtime. Guards against damage, not against an attacker who can write the
/// installation: that one can write the manifest as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The package it was unpacked from, `onnxruntime` or `onnxruntime-gpu`.
    pub package: String,
    /// Version of ONNX Runtime.
    pub version: String,
    /// File name of the library to load.
    pub library: String,
    /// SHA-256 of every file, in lower-case hexadecimal, by file name.
    pub files: BTreeMap<String, String>,
}

impl Manifest {
    /// Describes the files that lie in `dir`, of which `library` is the one to load.
    pub(crate) fn of_dir(dir: &Path, package: &str, version: &str, library: &str) -> io::Result<Manifest> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            files.insert(name, sha256_of(&entry.path())?);
        }
        Ok(Manifest {
            package: package.to_owned(),
            version: version.to_owned(),
            library: library.to_owned(),
            files,
        })
    }

    /// Writes the manifest into `dir`.
    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        fs::write(dir.join(FILE_NAME), text)
    }

    /// Reads the manifest of the installation in `dir`; `None` when `dir` has none.
    ///
    /// # Errors
    /// [`RuntimeError::LibraryBroken`] when it cannot be read, or names a file outside `dir`.
    pub(crate) fn read(dir: &Path) -> Result<Option<Manifest>, RuntimeError> {
        let path = dir.join(FILE_NAME);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(broken(&path, error.to_string())),
        };
        let manifest: Manifest = serde_json::from_slice(&text)
            .map_err(|error| broken(&path, format!("not a manifest: {error}")))?;
        if let Some(name) = manifest.files.keys().find(|name| !is_plain_name(name)) {
            return Err(broken(&path, format!("`{name}` is no file name")));
        }
        if !manifest.files.contains_key(&manifest.library) {
            return Err(broken(&path, "it does not list its own library".to_owned()));
        }
        Ok(Some(manifest))
    }

    /// Compares the files of `dir` for which `wanted` holds with their hashes.
    pub(crate) fn verify(&self, dir: &Path, wanted: impl Fn(&str) -> bool) -> Result<(), RuntimeError> {
        for (name, expected) in self.files.iter().filter(|(name, _)| wanted(name)) {
            let path = dir.join(name);
            let actual = sha256_of(&path).map_err(|error| broken(&path, error.to_string()))?;
            if actual != *expected {
                let why = format!("it was changed after its installation: SHA-256 {actual}, not {expected}");
                return Err(broken(&path, why));
            }
        }
        Ok(())
    }
}

/// Checks every file of the installation in `dir` against its manifest, which is returned.
///
/// # Errors
/// [`RuntimeError::LibraryMissing`] when `dir` is no installation, [`RuntimeError::LibraryBroken`] naming the file
/// that is missing or changed.
pub fn verify_installed(dir: &Path) -> Result<Manifest, RuntimeError> {
    let manifest = Manifest::read(dir)?.ok_or_else(|| RuntimeError::LibraryMissing {
        path: dir.to_owned(),
        why: format!("the directory has no {FILE_NAME}"),
    })?;
    manifest.verify(dir, |_| true)?;
    Ok(manifest)
}

/// SHA-256 of a file, in lower-case hexadecimal.
pub(crate) fn sha256_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0u8; 1 << 20];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether a name stands for a file of the directory itself.
fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', ':', '\0'])
}

fn broken(path: &Path, why: String) -> RuntimeError {
    RuntimeError::LibraryBroken { path: PathBuf::from(path), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installation() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("libonnxruntime.so"), b"library").unwrap();
        fs::write(dir.path().join("LICENSE"), b"MIT").unwrap();
        let manifest = Manifest::of_dir(dir.path(), "onnxruntime", "1.32.0", "libonnxruntime.so").unwrap();
        manifest.write(dir.path()).unwrap();
        dir
    }

    #[test]
    fn hashes_are_sha256() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("abc"), b"abc").unwrap();
        // FIPS 180-2, appendix B.1.
        assert_eq!(
            sha256_of(&dir.path().join("abc")).unwrap(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn an_installation_that_nobody_touched_verifies() {
        let dir = installation();
        assert_eq!(verify_installed(dir.path()).unwrap().version, "1.32.0");
    }

    #[test]
    fn a_changed_truncated_or_deleted_file_is_named() {
        for damage in [Some(&b"librarY"[..]), Some(b"libr"), None] {
            let dir = installation();
            let file = dir.path().join("libonnxruntime.so");
            match damage {
                Some(bytes) => fs::write(&file, bytes).unwrap(),
                None => fs::remove_file(&file).unwrap(),
            }
            let error = verify_installed(dir.path()).unwrap_err();
            assert!(matches!(error, RuntimeError::LibraryBroken { path, .. } if path == file));
        }
    }

    #[test]
    fn a_manifest_cannot_name_files_outside_its_directory() {
        let dir = installation();
        let path = dir.path().join(FILE_NAME);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("LICENSE", "../../etc/passwd")).unwrap();
        let error = verify_installed(dir.path()).unwrap_err();
        assert!(error.to_string().contains("is no file name"), "{error}");
    }

    #[test]
    fn a_directory_without_manifest_is_no_installation() {
        let dir = tempfile::tempdir().unwrap();
        let error = verify_installed(dir.path()).unwrap_err();
        assert!(matches!(error, RuntimeError::LibraryMissing { .. }));
    }
}
