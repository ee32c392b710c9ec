use std::io::Cursor;

use proptest::prelude::*;

use super::*;

/// The smallest ELF64 shared object with one segment and two sections, all within `len` bytes.
fn tiny_elf(len: u64) -> Vec<u8> {
    let mut bytes = vec![0u8; usize::try_from(len).unwrap()];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    put(0, b"\x7fELF\x02\x01\x01");
    put(16, &3u16.to_le_bytes());
    put(32, &64u64.to_le_bytes()); // program headers
    put(40, &120u64.to_le_bytes()); // section headers
    for (at, value) in [(54, 56u16), (56, 1), (58, 64), (60, 2)] {
        put(at, &value.to_le_bytes());
    }
    put(64 + 32, &len.to_le_bytes()); // segment: the whole file
    put(120 + 4, &8u32.to_le_bytes()); // .bss: takes no bytes in the file
    put(120 + 32, &u64::MAX.to_le_bytes());
    put(184 + 24, &248u64.to_le_bytes());
    put(184 + 32, &(len - 248).to_le_bytes());
    bytes
}

fn check(bytes: &[u8]) -> Result<(), String> {
    check_contents(&mut Cursor::new(bytes), bytes.len() as u64)
}

#[test]
fn a_whole_elf_passes_and_every_truncation_of_it_fails() {
    let whole = tiny_elf(300);
    assert_eq!(check(&whole), Ok(()));
    for len in 0..whole.len() {
        assert!(check(&whole[..len]).is_err(), "{len} bytes passed");
    }
}

#[test]
fn offsets_that_overflow_are_found() {
    let mut bytes = tiny_elf(300);
    bytes[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(
        check(&bytes).unwrap_err(),
        "truncated: the file has 300 bytes, and its table of segments lies beyond them"
    );
}

#[test]
fn a_text_file_is_no_library() {
    assert!(check(b"#!/bin/sh\n").unwrap_err().contains("not a shared library"));
}

#[test]
fn a_directory_and_an_empty_file_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let missing = check_library(dir.path()).unwrap_err();
    assert!(matches!(missing, RuntimeError::LibraryMissing { why, .. } if why == "not a regular file"));
    let file = dir.path().join("libonnxruntime.so");
    std::fs::write(&file, b"").unwrap();
    let broken = check_library(&file).unwrap_err();
    assert!(matches!(broken, RuntimeError::LibraryBroken { why, .. } if why == "the file is empty"));
}

#[test]
fn names_of_every_platform_are_known_and_providers_are_not_taken_for_them() {
    for (name, version) in [
        ("libonnxruntime.so", None),
        ("libonnxruntime.so.1", Some("1")),
        ("libonnxruntime.so.1.32.0", Some("1.32.0")),
        ("libonnxruntime.1.32.0.dylib", Some("1.32.0")),
        ("libonnxruntime.dylib", None),
        ("onnxruntime.dll", None),
    ] {
        assert!(is_ort_name(name), "{name}");
        assert_eq!(version_in_name(name).as_deref(), version, "{name}");
    }
    for name in [
        "libonnxruntime_providers_shared.so",
        "libonnxruntime.so.sig",
        "libonnxruntime.a",
        "onnxruntime_providers_cuda.dll",
    ] {
        assert!(!is_ort_name(name), "{name}");
    }
}

#[test]
fn versions_before_1_24_are_too_old() {
    for (version, answer) in [
        ("1.23.2", Some(false)),
        ("1.24.0", Some(true)),
        ("1.32.0.dev2", Some(true)),
        ("2.0", Some(true)),
        ("1", None),
        ("rel", None),
    ] {
        assert_eq!(is_supported(version), answer, "{version}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = check(&bytes);
    }

    #[test]
    fn no_elf_header_panics(tail in proptest::collection::vec(any::<u8>(), 0..300), class in 0u8..4) {
        let mut bytes = vec![0x7f, b'E', b'L', b'F', class];
        bytes.extend(tail);
        let _ = check(&bytes);
    }

    #[test]
    fn no_damaged_byte_of_an_elf_panics(at in 0usize..300, byte: u8) {
        let mut bytes = tiny_elf(300);
        bytes[at] = byte;
        let _ = check(&bytes);
    }
}
