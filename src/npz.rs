//! NumPy's `.npz` files: named tensors in a zip archive, for data, optimizer state and checkpoints.
//!
//! What is written here `numpy.load` reads, and what `numpy.savez` and `savez_compressed` write is read here. Invariant:
//! the same tensors give the same bytes.

use std::io::{Read, Seek, Write};

use indexmap::IndexMap;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::tensor::Tensor;

mod npy;

/// Ending of an array's member in the archive.
const NPY: &str = ".npy";
/// Longest text member that is read.
const LONGEST_TEXT: u64 = 64 << 20;

/// The content of an archive, in its order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Npz {
    /// Arrays by name.
    pub arrays: IndexMap<String, Tensor>,
    /// Members that are no arrays, as text by their file name; `numpy.load` gives them as bytes.
    pub texts: IndexMap<String, String>,
}

/// An archive that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NpzError {
    /// Not a zip archive, or damaged.
    #[error("this is no .npz archive: {0}")]
    Zip(#[from] zip::result::ZipError),
    /// A member that does not read.
    #[error("member `{name}`: {why}")]
    Member {
        /// Name in the archive.
        name: String,
        /// What is wrong with it and what to do.
        why: String,
    },
    /// The archive does not read or write.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Npz {
    /// Reads an archive.
    ///
    /// # Errors
    /// What is no archive, a damaged member, an array of a type that a [`Tensor`] cannot hold.
    pub fn read(from: impl Read + Seek) -> Result<Self, NpzError> {
        let mut archive = ZipArchive::new(from)?;
        let mut npz = Npz::default();
        for index in 0..archive.len() {
            let mut member = archive.by_index(index)?;
            let name = member.name()?.into_owned();
            let failed = |why: String| NpzError::Member { name: name.clone(), why };
            match name.strip_suffix(NPY) {
                Some(array) => {
                    let tensor = npy::read(&mut member).map_err(failed)?;
                    npz.arrays.insert(array.to_owned(), tensor);
                }
                None => {
                    let mut text = String::new();
                    let limited = (&mut member).take(LONGEST_TEXT).read_to_string(&mut text);
                    limited.map_err(|error| failed(error.to_string()))?;
                    npz.texts.insert(name, text);
                }
            }
        }
        Ok(npz)
    }

    /// Writes the archive, uncompressed as `numpy.savez` does.
    ///
    /// # Errors
    /// A place that cannot be written.
    pub fn write(&self, to: impl Write + Seek) -> Result<(), NpzError> {
        let mut archive = ZipWriter::new(to);
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        for (name, text) in &self.texts {
            archive.start_file(name.as_str(), options)?;
            archive.write_all(text.as_bytes())?;
        }
        for (name, tensor) in &self.arrays {
            let size = tensor.len() as u64 * tensor.dtype().size_of() as u64;
            // Room for the header too.
            let options = options.large_file(size > u64::from(u32::MAX) - (1 << 20));
            archive.start_file(format!("{name}{NPY}"), options)?;
            npy::write(tensor, &mut archive)?;
        }
        archive.finish()?;
        Ok(())
    }

    /// The archive's bytes.
    ///
    /// # Errors
    /// Never for an archive below the zip format's limits.
    pub fn to_bytes(&self) -> Result<Vec<u8>, NpzError> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        self.write(&mut bytes)?;
        Ok(bytes.into_inner())
    }
}

#[cfg(test)]
mod tests;
