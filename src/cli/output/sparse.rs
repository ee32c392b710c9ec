//! A file in which long runs of zeros take no space on disk, as in the file that they may come from.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

/// Bytes that are looked at as one: large enough that a seek costs less than writing them.
const BLOCK: usize = 64 * 1024;

static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// Writes a new file from its start.
pub struct Sparse<'a> {
    file: &'a mut File,
    /// Length of the file so far.
    length: u64,
}

impl<'a> Sparse<'a> {
    /// Over an empty file.
    pub fn new(file: &'a mut File) -> Self {
        Self { file, length: 0 }
    }

    /// Gives the file its length, which zeros at its end have not.
    pub fn finish(self) -> io::Result<()> {
        self.file.set_len(self.length)
    }
}

impl Write for Sparse<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for block in bytes.chunks(BLOCK) {
            // Comparing slices compares memory at once, which a loop over bytes does not in a debug build.
            if block == &ZEROS[..] {
                self.file.seek(SeekFrom::Current(BLOCK as i64))?;
            } else {
                self.file.write_all(block)?;
            }
            self.length += block.len() as u64;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_written_wherever_the_zeros_lie() {
        let (zeros, data) = (vec![0; 3 * BLOCK + 5], vec![7; BLOCK + 1]);
        for pieces in [[&zeros, &data, &zeros], [&data, &zeros, &data], [&zeros, &zeros, &zeros]] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            let mut out = Sparse::new(file.as_file_mut());
            pieces.iter().for_each(|piece| out.write_all(piece).unwrap());
            out.finish().unwrap();
            assert!(std::fs::read(file.path()).unwrap() == pieces.map(Vec::as_slice).concat());
        }
    }
}
