//! A model file in memory, mapped where that can be done, so that a large one costs no more than a small one.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use memmap2::Mmap;

/// The bytes of a model file.
#[derive(Debug)]
pub struct Source(Kind);

#[derive(Debug)]
enum Kind {
    Mapped(Mmap),
    Read(Vec<u8>),
}

impl Source {
    /// Opens a file. It must not be shortened while it is in use, which would end the process; the operating system
    /// offers no protection against that.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory"));
        }
        // A pipe has no length and an empty file no pages.
        if !metadata.is_file() || metadata.len() == 0 {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            return Ok(Self(Kind::Read(bytes)));
        }
        // SAFETY: the map is only read, as bytes, which have no invalid values. That nobody writes to the file
        // meanwhile is a condition of this function.
        let map = unsafe { Mmap::map(&file) }?;
        Ok(Self(Kind::Mapped(map)))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Kind::Mapped(map) => map,
            Kind::Read(bytes) => bytes,
        }
    }
}

impl From<Vec<u8>> for Source {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Kind::Read(bytes))
    }
}
