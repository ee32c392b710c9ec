//! The graph as ONNX Runtime runs it, and the copies between devices in it.
//!
//! Stands after a model is loaded: ONNX Runtime tells where it placed a node before it inserts its copy nodes, and
//! those show only in the graph that it writes when `optimized_model_filepath` is set: `TransformGraph` of its
//! `inference_session.cc` ends with `MemcpyTransformer`, and the file is written after it. The invariant: a graph that
//! was not written, or cannot be read back in full, is an error and never a graph without copies.

use std::fs;
use std::path::Path;

use ort::session::builder::SessionBuilder;

use super::{NAME, OrtEngine, failure};
use crate::onnx;
use crate::onnx::messages::{ModelProto, NodeProto};
use crate::runtime::NodePlacement;
use crate::runtime::error::RuntimeError;

/// How the operators of copies between devices begin: `MemcpyFromHost`, `MemcpyToHost`.
const COPY: &str = "Memcpy";

/// `AttributeProto.type` of a graph, and of a list of graphs.
const GRAPHS: [i32; 2] = [5, 10];

/// Loads `model` with the options of `builder` and returns the graph that ONNX Runtime would run.
pub(super) fn graph(
    engine: &OrtEngine,
    builder: SessionBuilder,
    model: &[u8],
) -> Result<ModelProto, RuntimeError> {
    let dir = tempfile::Builder::new().prefix("ibgraph-graph-").tempdir().map_err(|error| {
        failed(format!(
            "there is no temporary directory for its graph: {error}; make room or name another one in TMPDIR (TMP \
             on Windows)"
        ))
    })?;
    // The suffix chooses the format: `.ort` would be ONNX Runtime's own.
    let path = dir.path().join("graph.onnx");
    let mut builder =
        builder.with_optimized_model_path(&path).map_err(|error| failed(error.message().to_owned()))?;
    builder
        .commit_from_memory(model)
        .map_err(|error| failure::write(engine.provider, &engine.version, &error))?;
    read_back(&path)
}

fn read_back(path: &Path) -> Result<ModelProto, RuntimeError> {
    let unread = |why: String| {
        failed(format!(
            "its graph, written to {}, cannot be read back: {why}; make room for temporary files (TMPDIR names their \
             directory)",
            path.display()
        ))
    };
    let bytes = fs::read(path).map_err(|error| unread(error.to_string()))?;
    onnx::read(&bytes).map_err(|error| unread(error.to_string()))
}

/// The copies between devices in a graph that [`graph`] returned. `provider` is ONNX Runtime's name of the provider
/// that they are made for.
///
/// A node that holds graphs of its own (`If`, `Loop`, `Scan`) is an error: ONNX Runtime inserts copies into those as
/// well, and our messages do not have them.
pub(super) fn copies(model: &ModelProto, provider: &str) -> Result<Vec<NodePlacement>, RuntimeError> {
    let nodes = || model.graph.iter().flat_map(|graph| &graph.node);
    if let Some(node) = nodes().find(|node| holds_graphs(node)) {
        return Err(failed(format!(
            "node `{}` ({}) holds a graph of its own, and ibgraph does not read copies in there; check a model \
             without it",
            text(node.name.as_ref()),
            text(node.op_type.as_ref())
        )));
    }
    let copies = nodes().filter(|node| text(node.op_type.as_ref()).starts_with(COPY));
    Ok(copies.map(|node| placement(node, provider)).collect())
}

fn holds_graphs(node: &NodeProto) -> bool {
    node.attribute.iter().any(|attribute| attribute.r#type.is_some_and(|code| GRAPHS.contains(&code)))
}

fn placement(node: &NodeProto, provider: &str) -> NodePlacement {
    NodePlacement {
        provider: provider.to_owned(),
        node: text(node.name.as_ref()).to_owned(),
        op_type: text(node.op_type.as_ref()).to_owned(),
        domain: text(node.domain.as_ref()).to_owned(),
    }
}

fn text(field: Option<&String>) -> &str {
    field.map_or("", String::as_str)
}

fn failed(message: String) -> RuntimeError {
    RuntimeError::Run { engine: NAME, message }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::onnx::messages::{AttributeProto, GraphProto, OperatorSetIdProto};

    fn node(name: &str, op_type: &str) -> NodeProto {
        NodeProto { name: Some(name.to_owned()), op_type: Some(op_type.to_owned()), ..NodeProto::default() }
    }

    fn model(node: Vec<NodeProto>) -> ModelProto {
        ModelProto {
            ir_version: Some(10),
            opset_import: vec![OperatorSetIdProto { domain: None, version: Some(18) }],
            graph: Some(GraphProto { node, ..GraphProto::default() }),
            ..ModelProto::default()
        }
    }

    #[test]
    fn copies_are_placed_on_the_provider_and_nothing_else_is_listed() {
        let mut to_host = node("Memcpy_token_1", "MemcpyToHost");
        to_host.domain = Some("com.example".to_owned());
        let graph = model(vec![node("Memcpy", "MemcpyFromHost"), node("a", "MatMul"), to_host]);
        let copy = |node: &str, op_type: &str, domain: &str| NodePlacement {
            provider: "CUDAExecutionProvider".to_owned(),
            node: node.to_owned(),
            op_type: op_type.to_owned(),
            domain: domain.to_owned(),
        };
        let expected =
            [copy("Memcpy", "MemcpyFromHost", ""), copy("Memcpy_token_1", "MemcpyToHost", "com.example")];
        assert_eq!(copies(&graph, "CUDAExecutionProvider").unwrap(), expected);
    }

    #[test]
    fn a_nested_graph_is_an_error_that_names_its_node() {
        for code in GRAPHS {
            let mut branch = node("choice", "If");
            branch.attribute.push(AttributeProto { r#type: Some(code), ..AttributeProto::default() });
            let error = copies(&model(vec![branch]), "CUDAExecutionProvider").unwrap_err();
            assert!(error.to_string().contains("`choice` (If)"), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_missing_damaged_or_no_model_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("graph.onnx");
        let error = read_back(&path).unwrap_err();
        assert!(error.to_string().contains("graph.onnx"), "{error}");

        let whole = model(vec![node("Memcpy", "MemcpyFromHost")]);
        let bytes = whole.encode_to_vec();
        fs::write(&path, &bytes).unwrap();
        assert_eq!(read_back(&path).unwrap(), whole);

        for cut in 0..bytes.len() {
            fs::write(&path, &bytes[..cut]).unwrap();
            let error = read_back(&path).unwrap_err();
            assert!(matches!(error, RuntimeError::Run { .. }), "{error}");
            assert!(error.to_string().contains("cannot be read back"), "{error}");
        }
    }
}
