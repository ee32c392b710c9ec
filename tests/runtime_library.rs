//! Library files that must not be loaded: each is a process of its own where the loader would crash, so nothing here
//! may reach it. (Unit tests of `runtime::library` cover the headers one by one.)

#![allow(clippy::unwrap_used, clippy::panic)]

use ibgraph::runtime::{OrtEngine, OrtOptions, Provider, RuntimeError};
use proptest::prelude::*;

fn open(bytes: &[u8]) -> RuntimeError {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("libonnxruntime.so");
    std::fs::write(&path, bytes).unwrap();
    OrtEngine::open(&path, Provider::Cpu, OrtOptions::default()).unwrap_err()
}

#[test]
fn a_missing_file_is_missing() {
    let path = std::path::Path::new("/nonexistent/libonnxruntime.so");
    let error = OrtEngine::open(path, Provider::Cpu, OrtOptions::default()).unwrap_err();
    assert!(matches!(error, RuntimeError::LibraryMissing { .. }), "{error}");
}

/// This very test program stands in for a library that is cut while it is copied.
#[cfg(target_os = "linux")]
#[test]
fn an_elf_file_cut_anywhere_is_broken_and_does_not_kill_the_process() {
    let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    for part in [10, 100, 5000, whole.len() / 2, whole.len() - 1] {
        let error = open(&whole[..part]);
        assert!(matches!(error, RuntimeError::LibraryBroken { .. }), "{part}: {error}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_library_that_is_not_onnx_runtime_is_broken() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let libc = maps.lines().find_map(|line| {
        let path = line.split_whitespace().nth(5)?;
        path.contains("libc.so").then_some(path)
    });
    let bytes = std::fs::read(libc.unwrap()).unwrap();
    let message = open(&bytes).to_string();
    assert!(message.contains("OrtGetApiBase"), "{message}");
}

proptest! {
    // An integration test has no place of its own for a file of regressions.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_given_as_a_library_panic(bytes: Vec<u8>) {
        open(&bytes);
    }
}
