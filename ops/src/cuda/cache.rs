//! Compiled kernels on disk, so that only a loss's first session waits for the compiler.
//!
//! An entry's name is the SHA-256 of everything that its code depends on; it begins with the SHA-256 of that code, so that
//! one which is cut or damaged is found out and made again. Invariant: a directory that cannot be read or written costs
//! time, and is no error.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

/// A SHA-256.
pub type Key = [u8; 32];

/// Largest entry that is read; real ones have some 50 kB.
const LARGEST: u64 = 64 << 20;

/// The key of what is told apart by these parts, in this order.
pub fn key(parts: &[&[u8]]) -> Key {
    let mut hash = Sha256::new();
    for part in parts {
        // With its length, so that no two lists of parts run together into the same bytes.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

fn name(key: &Key) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The code under a key; `None` where there is none, or none that is whole.
pub fn read(dir: &Path, key: &Key) -> Option<Vec<u8>> {
    let file = fs::File::open(dir.join(name(key))).ok()?;
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes).ok()?;
    let (sum, code) = bytes.split_first_chunk::<32>()?;
    let whole = *sum == Key::from(Sha256::digest(code));
    whole.then(|| code.to_vec())
}

/// Keeps the code under a key, if that is possible.
pub fn write(dir: &Path, key: &Key, code: &[u8]) {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let place = dir.join(name(key));
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let temporary = dir.join(format!("{}.{}.{number}", name(key), std::process::id()));
    let written = fs::create_dir_all(dir).and_then(|()| {
        let mut file = fs::File::create_new(&temporary)?;
        file.write_all(&Key::from(Sha256::digest(code)))?;
        file.write_all(code)?;
        fs::rename(&temporary, &place)
    });
    if written.is_err() {
        // Only ours: the name has this process's number.
        let _ = fs::remove_file(&temporary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &[u8] = b"\x7fELF, and so on";

    fn directory(name: &str) -> std::path::PathBuf {
        let dir = std::env::temp_dir().join(format!("ibgraph-cache-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    #[test]
    fn what_is_written_is_read_under_its_key_alone() {
        let dir = directory("hit");
        let (one, other) = (key(&[b"ab", b"c"]), key(&[b"a", b"bc"]));
        assert_ne!(one, other);
        assert_eq!(read(&dir, &one), None);
        write(&dir, &one, CODE);
        write(&dir, &one, CODE);
        assert_eq!(read(&dir, &one).as_deref(), Some(CODE));
        assert_eq!(read(&dir, &other), None);
        let left: Vec<_> = fs::read_dir(&dir).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_damaged_entry_is_none_and_can_be_made_again() {
        let dir = directory("damaged");
        let key = key(&[b"a"]);
        write(&dir, &key, CODE);
        let file = dir.join(name(&key));
        let whole = fs::read(&file).unwrap();
        for end in 0..whole.len() {
            fs::write(&file, &whole[..end]).unwrap();
            assert_eq!(read(&dir, &key), None, "cut at {end}");
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&file, bytes).unwrap();
            assert_eq!(read(&dir, &key), None, "changed at {at}");
        }
        write(&dir, &key, CODE);
        assert_eq!(read(&dir, &key).as_deref(), Some(CODE));
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_place_that_is_no_directory_is_passed_over() {
        let file = directory("file");
        fs::write(&file, "a file where the directory would be").unwrap();
        let key = key(&[b"a"]);
        write(&file, &key, CODE);
        assert_eq!(read(&file, &key), None);
        fs::remove_file(file).unwrap();
    }
}
