//! Nodes of files, one at a time: what becomes of them, and what is said of those that are not understood.

use super::*;
use crate::graph::Dim;
use crate::onnx::messages::{OperatorSetIdProto, ValueInfoProto};
use crate::onnx::port;
use prost::Message;

fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    NodeProto {
        op_type: Some(op.into()),
        input: names(inputs),
        output: names(outputs),
        ..NodeProto::default()
    }
}

fn typed(name: &str, dtype: DType) -> ValueInfoProto {
    port(name, &TensorType::new(dtype, &[Dim::symbol("N"), Dim::Fixed(4)]))
}

/// What is imported of a node that makes `y` from `x` (f32 [N, 4]), `i` (int64 [N, 4]) and `axes` (the integer 1).
fn imported(node: NodeProto, declares: bool) -> Result<Imported, ImportError> {
    let axes = TensorProto {
        name: Some("axes".into()),
        dims: vec![1],
        data_type: Some(7),
        int64_data: vec![1],
        ..TensorProto::default()
    };
    let output = if declares {
        typed("y", DType::F32)
    } else {
        ValueInfoProto { name: Some("y".into()), ..ValueInfoProto::default() }
    };
    let graph = GraphProto {
        node: vec![node],
        initializer: vec![axes],
        input: vec![typed("x", DType::F32), typed("i", DType::I64)],
        output: vec![output],
        ..GraphProto::default()
    };
    let model = ModelProto {
        ir_version: Some(8),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(18) }],
        ..ModelProto::default()
    };
    let bytes = model.encode_to_vec();
    let host = Host::read(&bytes).unwrap();
    import(&host, &["y"])
}

/// Why a node whose output has a declared type is not understood.
fn reason(node: NodeProto) -> String {
    let done = imported(node, true).unwrap();
    assert_eq!(done.builder.ty(done.values["y"]).to_string(), "float32[N, 4]");
    let [(output, why)] = done.opaque.as_slice() else { panic!("{:?}", done.opaque) };
    assert_eq!(output, "y");
    why.clone()
}

fn type_of_y(node: NodeProto) -> String {
    let done = imported(node, false).unwrap();
    assert_eq!(done.opaque, []);
    done.builder.ty(done.values["y"]).to_string()
}

#[test]
fn what_is_not_understood_keeps_its_declared_type_and_says_why() {
    let cases = [
        (node("Mish", &["x"], &["y"]), "Mish: this operator has no rule"),
        (node("Transpose", &[], &["y"]), "its input 0 is missing"),
        (node("Add", &["x"], &["y"]), "2 to 2 inputs, not 1"),
        (node("Add", &["x", "i"], &["y"]), "is not float32"),
        (node("Sigmoid", &["i"], &["y"]), "is not a float type"),
        (node("Concat", &["x", "", "x"], &["y"]), "an input in the middle is left out"),
        (NodeProto { domain: Some("my.own".into()), ..node("Relu", &["x"], &["y"]) }, "my.own.Relu"),
    ];
    for (node, words) in cases {
        let why = reason(node.clone());
        assert!(why.contains(words), "{node:?}: {why}");
        assert!(why.contains(node.op_type.as_deref().unwrap()), "{why}");
    }
}

#[test]
fn without_a_declared_type_the_node_is_to_blame() {
    let error = imported(node("Mish", &["x"], &["y"]), false).unwrap_err().to_string();
    assert!(error.contains("the Mish that makes `y`") && error.contains("no rule"), "{error}");
    // The types of all outputs have to be declared, of those that the operator does not have too.
    let error = imported(node("Relu", &["x"], &["y", "more"]), true).unwrap_err().to_string();
    assert!(error.contains("the Relu that makes `y`") && error.contains("1 outputs, not 2"), "{error}");
}

#[test]
fn inputs_that_are_left_out_at_the_end_are_not_there() {
    for left_out in [&["x", "axes"] as &[&str], &["x", "axes", ""], &["x", "axes", "", ""]] {
        assert_eq!(type_of_y(node("ReduceSum", left_out, &["y"])), "float32[N, 1]", "{left_out:?}");
    }
    assert_eq!(type_of_y(node("Clip", &["x", "", ""], &["y"])), "float32[N, 4]");
    // Without axes everything is summed.
    assert_eq!(type_of_y(node("ReduceSum", &["x", ""], &["y"])), "float32[1, 1]");
}

#[test]
fn outputs_that_are_left_out_are_not_asked_for() {
    assert_eq!(type_of_y(node("Dropout", &["x"], &["y", ""])), "float32[N, 4]");
}
