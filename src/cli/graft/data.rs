//! External data of a model that is written to another directory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::cli::Failure;
use crate::cli::output::Target;
use crate::onnx::external::{self, Reference};

/// Copies what `references` name from the model's directory to the target's; returns the copied locations. A target
/// in the same directory shares the files, and standard output has no directory.
pub fn copy(from: &Path, target: &Target, references: &[Reference]) -> Result<Vec<String>, Failure> {
    let Target::File(path) = target else {
        return Ok(Vec::new());
    };
    let to = path.parent().unwrap_or(Path::new(""));
    let files = external::open(from, references).map_err(Failure::usage)?;
    let mut copied = Vec::new();
    for (location, mut file) in files {
        let target = external::path_in(to, &location);
        if is_same_directory(from, to) {
            continue;
        }
        let fail =
            |e: io::Error| Failure::usage(format!("cannot copy {location} to {}: {e}", target.display()));
        if target.symlink_metadata().is_ok() {
            if !same_content(&mut file, &target).map_err(fail)? {
                return Err(Failure::usage(format!(
                    "{} is there already and differs from the model's {location}; remove it, or write the output \
                     beside the model",
                    target.display()
                )));
            }
            continue;
        }
        refuse_links(to, &location)?;
        if let Some(parent) = target.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            std::fs::create_dir_all(parent).map_err(fail)?;
        }
        let source = std::cell::RefCell::new(file);
        Target::File(target).write_with(&|out| io::copy(&mut *source.borrow_mut(), out).map(|_| ()))?;
        copied.push(location);
    }
    Ok(copied)
}

/// Refuses a location whose directories lead out of `to` by a link.
fn refuse_links(to: &Path, location: &str) -> Result<(), Failure> {
    let mut path = to.to_owned();
    for part in location.split('/') {
        path.push(part);
        if path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink()) {
            return Err(Failure::usage(format!(
                "cannot copy {location}: {} is a link, which could lead anywhere; write to another directory",
                path.display()
            )));
        }
    }
    Ok(())
}

fn is_same_directory(a: &Path, b: &Path) -> bool {
    let full = |path: &Path| if path.as_os_str().is_empty() { Path::new(".") } else { path }.canonicalize();
    matches!((full(a), full(b)), (Ok(a), Ok(b)) if a == b)
}

/// Whether the file at `path`, which is no link, has the bytes of `file`; `file` is left at its end.
fn same_content(file: &mut File, path: &Path) -> io::Result<bool> {
    let metadata = path.symlink_metadata()?;
    if !metadata.is_file() || metadata.len() != file.metadata()?.len() {
        return Ok(false);
    }
    let (mut a, mut b) = (io::BufReader::new(file), io::BufReader::new(File::open(path)?));
    let (mut x, mut y) = ([0; 8192], [0; 8192]);
    loop {
        let n = a.read(&mut x)?;
        b.read_exact(&mut y[..n])?;
        match n {
            0 => return Ok(true),
            n if x[..n] != y[..n] => return Ok(false),
            _ => {}
        }
    }
}
