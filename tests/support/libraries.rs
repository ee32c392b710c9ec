//! The libraries that tests load.

#![allow(clippy::panic, dead_code, missing_docs, reason = "every test that includes this uses a part of it")]

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub fn onnx_runtime_path() -> OsString {
    std::env::var_os("IBGRAPH_TEST_ORT").unwrap_or_else(|| {
        panic!("set IBGRAPH_TEST_ORT to an ONNX Runtime library; `ci/test` installs one and does")
    })
}

/// The operator library that was built with the tests.
pub fn operator_library() -> PathBuf {
    let built = Path::new(env!("CARGO_BIN_EXE_ibgraph")).parent().map(Path::to_path_buf).unwrap_or_default();
    let name = format!("{DLL_PREFIX}ibgraph_ops{DLL_SUFFIX}");
    let path = built.join("deps").join(&name);
    if path.is_file() { path } else { built.join(name) }
}
