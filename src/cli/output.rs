//! Files written whole or not at all.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::Failure;

mod sparse;

use sparse::Sparse;

/// Why the first line that could not be printed was not.
static UNSAID: OnceLock<io::Error> = OnceLock::new();

/// Prints a line to standard output. What prevents that is told by [`all_said`], so that the work goes on.
pub fn say(text: impl Display) {
    let mut out = io::stdout().lock();
    if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
        // Only the first is kept.
        let _ = UNSAID.set(error);
    }
}

/// Whether every line was printed (a full disk prevents it). A reader that has gone away (`| head`) is no error.
pub fn all_said() -> Result<(), Failure> {
    match UNSAID.get() {
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::usage(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
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
    /// Its name for people.
    pub fn name(&self) -> String {
        match self {
            Target::Stdout => "standard output".to_owned(),
            Target::File(path) => path.display().to_string(),
        }
    }

    /// Refuses to write over one of `files`, which the command reads; `-` is none.
    pub fn spare<'a>(&self, files: impl IntoIterator<Item = &'a str>) -> Result<(), Failure> {
        let Target::File(path) = self else { return Ok(()) };
        let hit =
            files.into_iter().find(|file| *file != "-" && path.is_file() && same_file(path, Path::new(file)));
        match hit {
            Some(file) => Err(Failure::usage(format!(
                "{} would be written over {file}, which this command reads; name another file",
                path.display()
            ))),
            None => Ok(()),
        }
    }

    /// Whether [`Self::write`] can make its file, as far as that shows before. Changes nothing.
    pub fn check(&self) -> Result<(), Failure> {
        let Target::File(path) = self else { return Ok(()) };
        temporary(path).map(drop).map_err(|e| failure(path, &e))
    }

    /// Writes all of `bytes`: to a temporary file beside the target, then renamed over it.
    pub fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        self.write_with(&|out| out.write_all(bytes))
    }

    /// Writes what `write` writes, in the same way: wholly, or nothing changes.
    pub fn write_with(&self, write: &Writes<'_>) -> Result<(), Failure> {
        match self {
            Target::Stdout => {
                let mut out = io::stdout().lock();
                match write(&mut out).and_then(|()| out.flush()) {
                    // As with `say`.
                    Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                    result => result.map_err(|e| failure(Path::new("-"), &e)),
                }
            }
            Target::File(path) => replace(path, write).map_err(|e| failure(path, &e)),
        }
    }
}

/// Something that writes a file's bytes.
pub type Writes<'a> = dyn Fn(&mut dyn Write) -> io::Result<()> + 'a;

/// Whether two paths lead to one file; false where either leads nowhere.
pub fn same_file(a: &Path, b: &Path) -> bool {
    #[cfg(unix)]
    if let (Ok(a), Ok(b)) = (a.metadata(), b.metadata()) {
        use std::os::unix::fs::MetadataExt;
        return (a.dev(), a.ino()) == (b.dev(), b.ino());
    }
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn failure(path: &Path, error: &io::Error) -> Failure {
    let directory = path.parent().filter(|d| !d.as_os_str().is_empty());
    let reason = match (error.kind(), directory) {
        (io::ErrorKind::NotFound, Some(directory)) if !directory.exists() => {
            format!("there is no directory {}; make it first", directory.display())
        }
        // Without the name of the temporary file, which means nothing to anyone.
        _ => error.to_string().split(" at path ").next().unwrap_or_default().to_owned(),
    };
    Failure::usage(format!("cannot write {}: {reason}", path.display()))
}

/// The file to write to and then rename, with the name that it gets; `None` for a device or pipe.
fn temporary(path: &Path) -> io::Result<Option<(tempfile::NamedTempFile, PathBuf)>> {
    // A link keeps pointing where it does; a device or pipe is written to, never replaced.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if path.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory; name a file in it"));
    }
    if path.exists() && !path.is_file() {
        return Ok(None);
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
    let file = builder.tempfile_in(directory)?;
    Ok(Some((file, path)))
}

fn replace(path: &Path, write: &Writes<'_>) -> io::Result<()> {
    let Some((mut file, path)) = temporary(path)? else {
        return write(&mut File::options().write(true).open(path)?);
    };
    let mut out = Sparse::new(file.as_file_mut());
    write(&mut out)?;
    out.finish()?;
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|e| e.error)?;
    Ok(())
}
