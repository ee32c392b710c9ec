//! Files opened relative to a directory that is held open, without following a link.
//!
//! Names are resolved one by one from the directory's handle, so that what was checked is what is opened.

use std::fs::File;
use std::io;
use std::path::Path;

const LINK: &str = "it is a link, which could lead anywhere; put the file itself there";
const HARD_LINK: &str =
    "the file has a second name (a hard link), so it may belong elsewhere; put a copy there";
const NO_FILE: &str = "it is no regular file";

fn checked(file: File, links: impl Fn(&std::fs::Metadata) -> u64) -> Result<File, String> {
    let metadata = file.metadata().map_err(|e| e.to_string())?;
    if !metadata.is_file() {
        return Err(NO_FILE.to_owned());
    }
    if links(&metadata) > 1 {
        return Err(HARD_LINK.to_owned());
    }
    Ok(file)
}

#[cfg(unix)]
pub(super) use unix::Directory;

#[cfg(unix)]
mod unix {
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::MetadataExt;

    use rustix::fs::{Mode, OFlags, open, openat};
    use rustix::io::Errno;

    use super::{File, LINK, NO_FILE, Path, checked, io};

    /// A directory, held open.
    pub struct Directory(OwnedFd);

    impl Directory {
        pub fn open(path: &Path) -> io::Result<Self> {
            let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
            Ok(Self(open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?))
        }

        /// The file that `parts` name, from here.
        pub fn file(self, parts: &[&str]) -> Result<File, String> {
            let (name, directories) = parts.split_last().ok_or(NO_FILE)?;
            let mut at = self.0;
            for part in directories {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                at = openat(&at, *part, flags, Mode::empty()).map_err(explained)?;
            }
            // Without NONBLOCK, opening a named pipe would wait for a writer.
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = openat(&at, *name, flags, Mode::empty()).map_err(explained)?;
            checked(file.into(), MetadataExt::nlink)
        }
    }

    fn explained(error: Errno) -> String {
        match error {
            // What a link is to NOFOLLOW, and to NOFOLLOW with DIRECTORY.
            Errno::LOOP | Errno::NOTDIR => LINK.to_owned(),
            other => io::Error::from(other).to_string(),
        }
    }
}

#[cfg(not(unix))]
pub(super) use elsewhere::Directory;

#[cfg(not(unix))]
mod elsewhere {
    use std::path::PathBuf;

    use super::{File, LINK, Path, checked, io};

    /// A directory by its path: this platform has no portable way to hold one open.
    pub struct Directory(PathBuf);

    impl Directory {
        pub fn open(path: &Path) -> io::Result<Self> {
            Ok(Self(path.to_owned()))
        }

        /// The file that `parts` name, from here.
        pub fn file(self, parts: &[&str]) -> Result<File, String> {
            let mut path = self.0;
            for part in parts {
                path.push(part);
                let metadata = std::fs::symlink_metadata(&path).map_err(|e| e.to_string())?;
                if metadata.is_symlink() {
                    return Err(LINK.to_owned());
                }
            }
            checked(File::open(path).map_err(|e| e.to_string())?, |_| 1)
        }
    }
}
