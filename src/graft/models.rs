//! Small models by hand, for the tests of this room.

use prost::Message;

use crate::onnx::messages::{
    DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
    TensorTypeProto, TypeProto, ValueInfoProto,
};

/// Element type numbers of `TensorProto.DataType`.
pub const F32: i32 = 1;
pub const I32: i32 = 6;
pub const I64: i32 = 7;
pub const F16: i32 = 10;

/// A node; `op` may have a domain, as in `ai.onnx.ml:ZipMap`.
pub fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    let (domain, op) = op.split_once(':').map_or((None, op), |(domain, op)| (Some(domain.to_owned()), op));
    NodeProto {
        name: Some(format!("the {output}")),
        op_type: Some(op.into()),
        domain,
        input: inputs.iter().map(|s| (*s).to_owned()).collect(),
        output: vec![output.into()],
        ..NodeProto::default()
    }
}

/// A value with a type; extents are numbers or names, `?` for neither.
pub fn port(name: &str, element: i32, shape: &[&str]) -> ValueInfoProto {
    let dim = |extent: &&str| match extent.parse::<i64>() {
        Ok(n) => DimensionProto { dim_value: Some(n), dim_param: None },
        Err(_) if *extent == "?" => DimensionProto::default(),
        Err(_) => DimensionProto { dim_value: None, dim_param: Some((*extent).to_owned()) },
    };
    let shape = TensorShapeProto { dim: shape.iter().map(dim).collect() };
    let tensor = TensorTypeProto { elem_type: Some(element), shape: Some(shape) };
    ValueInfoProto { name: Some(name.into()), r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
}

/// An initializer without data, which nothing here runs.
pub fn stored(name: &str, element: i32, dims: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        data_type: Some(element),
        dims: dims.to_vec(),
        ..TensorProto::default()
    }
}

/// x `[n, 5]`, w `[5, 3]` and b `[3]`, with these nodes and outputs.
pub fn graph(nodes: &[NodeProto], outputs: &[ValueInfoProto]) -> GraphProto {
    GraphProto {
        node: nodes.to_vec(),
        input: vec![port("x", F32, &["n", "5"])],
        output: outputs.to_vec(),
        initializer: vec![stored("w", F32, &[5, 3]), stored("b", F32, &[3])],
        ..GraphProto::default()
    }
}

/// A model's bytes, of opset 18.
pub fn model(graph: GraphProto) -> Vec<u8> {
    let standard = OperatorSetIdProto { domain: Some(String::new()), version: Some(18) };
    ModelProto {
        ir_version: Some(8),
        graph: Some(graph),
        opset_import: vec![standard],
        ..ModelProto::default()
    }
    .encode_to_vec()
}
