//! Takes the native libraries and the licences out of a package.

use std::fs::File;
use std::io;
use std::path::Path;

use zip::ZipArchive;

use super::{install_error, io_error};
use crate::runtime::error::RuntimeError;
use crate::runtime::library::is_ort_name;

/// No file of a package is larger than this; what is, is no package of ours.
const MAX_BYTES: u64 = 2 << 30;

/// Folders of the package whose files are considered.
const FOLDERS: [&str; 2] = ["onnxruntime/capi/", "onnxruntime/"];

/// Writes the files that an installation needs from `archive` into the directory `to`, flat. Names are compared with
/// the few that are wanted, so none can lead out of `to`.
///
/// # Errors
/// [`RuntimeError::Install`] when the archive is broken or a file cannot be written.
pub(super) fn unpack(archive: &Path, to: &Path) -> Result<(), RuntimeError> {
    let broken = |error: &dyn std::fmt::Display| {
        install_error(format!("{} is no whole package: {error}", archive.display()))
    };
    let file = File::open(archive).map_err(|error| io_error("open", archive, &error))?;
    let mut zip = ZipArchive::new(file).map_err(|error| broken(&error))?;
    for index in 0..zip.len() {
        let entry = zip.by_index(index).map_err(|error| broken(&error))?;
        let path_in_archive = entry.name().map_err(|error| broken(&error))?.into_owned();
        let Some(name) = wanted(&path_in_archive) else {
            continue;
        };
        if entry.size() > MAX_BYTES {
            return Err(broken(&format!("{name} has {} bytes", entry.size())));
        }
        let size = entry.size();
        write(entry, size, &to.join(name))?;
    }
    Ok(())
}

/// Copies what the archive's directory says the file has; its checksum is compared at the end.
fn write(mut entry: impl io::Read, size: u64, path: &Path) -> Result<(), RuntimeError> {
    // `create_new`: the same name twice is a forged archive.
    let copied = File::create_new(path).and_then(|mut file| {
        let copied = io::copy(&mut entry, &mut file)?;
        file.sync_all()?;
        Ok(copied)
    });
    match copied {
        Ok(copied) if copied == size => Ok(()),
        Ok(_) => Err(install_error(format!("{} is cut short", path.display()))),
        Err(error) => Err(io_error("write", path, &error)),
    }
}

/// The file name of an entry that is wanted: ONNX Runtime, its shared and its CUDA provider, and the licences.
fn wanted(entry: &str) -> Option<&str> {
    let name = FOLDERS.iter().find_map(|folder| {
        let name = entry.strip_prefix(folder)?;
        (!name.contains(['/', '\\'])).then_some(name)
    })?;
    let provider = name.trim_start_matches("lib").strip_prefix("onnxruntime_providers_");
    let is_provider = provider.is_some_and(|rest| {
        ["shared.", "cuda."].iter().any(|kind| rest.starts_with(kind))
            && [".so", ".dll", ".dylib"].iter().any(|end| rest.ends_with(end))
    });
    let is_licence = matches!(name, "LICENSE" | "ThirdPartyNotices.txt");
    (is_ort_name(name) || is_provider || is_licence).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use zip::write::SimpleFileOptions;

    use super::*;

    fn archive(names: &[&str]) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("package.whl");
        let mut zip = zip::ZipWriter::new(File::create(&path).unwrap());
        for name in names {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(name.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
        (dir, path)
    }

    #[test]
    fn only_libraries_and_licences_are_unpacked_and_nothing_outside() {
        let (dir, path) = archive(&[
            "onnxruntime/LICENSE",
            "onnxruntime/capi/libonnxruntime.so.1.31.1",
            "onnxruntime/capi/libonnxruntime_providers_cuda.so",
            "onnxruntime/capi/libonnxruntime_providers_shared.so",
            "onnxruntime/capi/libonnxruntime_providers_tensorrt.so",
            "onnxruntime/capi/onnxruntime_pybind11_state.so",
            "onnxruntime/capi/../../../libonnxruntime.so",
            "onnxruntime/capi/..\\libonnxruntime.so",
            "/onnxruntime/capi/libonnxruntime.so",
            "../libonnxruntime.so",
        ]);
        let to = dir.path().join("to");
        fs::create_dir(&to).unwrap();
        unpack(&path, &to).unwrap();
        let mut names: Vec<_> = fs::read_dir(&to)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(
            names,
            [
                "LICENSE",
                "libonnxruntime.so.1.31.1",
                "libonnxruntime_providers_cuda.so",
                "libonnxruntime_providers_shared.so"
            ]
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn an_archive_that_was_cut_is_an_error() {
        let (dir, path) = archive(&["onnxruntime/LICENSE"]);
        let bytes = fs::read(&path).unwrap();
        for len in [0, 10, bytes.len() - 1] {
            fs::write(&path, &bytes[..len]).unwrap();
            let error = unpack(&path, dir.path()).unwrap_err();
            assert!(matches!(error, RuntimeError::Install { .. }));
        }
    }
}
