//! The operator library of ibgraph: its file, and whether a model has use for it.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};

use crate::lower::fused::DOMAIN;
use crate::onnx::messages::ModelProto;

/// Name of the file, such as `libibgraph_ops.so`.
pub fn operator_library_name() -> String {
    format!("{DLL_PREFIX}ibgraph_ops{DLL_SUFFIX}")
}

/// Where the library is looked for beside a program: its own directory, and `lib` beside that.
pub fn operator_library_places(program: &Path) -> Vec<PathBuf> {
    let Some(own) = program.parent() else { return Vec::new() };
    let beside = own.parent().map(|parent| parent.join("lib"));
    [Some(own.to_owned()), beside]
        .into_iter()
        .flatten()
        .map(|dir| dir.join(operator_library_name()))
        .collect()
}

/// Whether a model has a node of the fused operator.
pub fn has_fused_nodes(model: &ModelProto) -> bool {
    let nodes = model.graph.iter().flat_map(|graph| &graph.node);
    let inner = model.functions.iter().flat_map(|function| &function.node);
    nodes.chain(inner).any(|node| node.domain.as_deref() == Some(DOMAIN))
}
