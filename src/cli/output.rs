//! Files written whole or not at all.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Failure;

/// Prints a line to standard output. A reader that has gone away (`| head`) is no error.
pub fn say(text: impl Display) {
    // There is nobody left to tell that nobody listens.
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Where a command writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// `-`
    Stdout,
    /// A file.
    File(PathBuf),
}

impl From<&str> for Target {
    fn from(text: &str) -> Self {
        match text {
            "-" => Target::Stdout,
            path => Target::File(path.into()),
        }
    }
}

impl Target {
    /// Writes all of `bytes`: to a temporary file beside the target, then renamed over it.
    pub fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Target::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(bytes).and_then(|()| out.flush()).map_err(|e| failure(Path::new("-"), &e))
            }
            Target::File(path) => replace(path, bytes).map_err(|e| failure(path, &e)),
        }
    }
}

fn failure(path: &Path, error: &io::Error) -> Failure {
    Failure::usage(format!("cannot write {}: {error}", path.display()))
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A link keeps pointing where it does; a device or pipe is written to, never replaced.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if path.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory; name a file in it"));
    }
    if path.exists() && !path.is_file() {
        return std::fs::write(&path, bytes);
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".ibgraph-");
    #[cfg(unix)]
    {
        // As a file made without a detour: subject to the user's umask.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(directory)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|e| e.error)?;
    Ok(())
}
