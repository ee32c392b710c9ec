//! A [`Graph`] to the bytes of a model file.

use std::collections::HashSet;

use prost::Message;

use super::messages::{
    DimensionProto, GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use super::opset::Versions;
use super::spell::{SpellError, names, spell};
use crate::graph::{Dim, Graph, TensorType, ValueId};
use crate::tensor::Tensor;

/// What goes into a file beside the graph.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    /// Versions to write for.
    pub versions: Versions,
    /// Text for people.
    pub doc: Option<String>,
    /// Keys and values of `metadata_props`, in order.
    pub metadata: Vec<(String, String)>,
}

/// The bytes of a model file.
///
/// # Errors
/// Operators or types that the operator set does not have.
pub fn write(graph: &Graph, options: &WriteOptions) -> Result<Vec<u8>, SpellError> {
    Ok(model(graph, options)?.encode_to_vec())
}

/// The message of a model file.
///
/// # Errors
/// As [`write()`].
pub fn model(graph: &Graph, options: &WriteOptions) -> Result<ModelProto, SpellError> {
    Ok(ModelProto {
        ir_version: Some(options.versions.ir()),
        producer_name: Some(env!("CARGO_PKG_NAME").to_owned()),
        producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        doc_string: options.doc.clone(),
        graph: Some(graph_message(graph, options.versions.opset())?),
        opset_import: vec![OperatorSetIdProto {
            domain: Some(String::new()),
            version: Some(options.versions.opset()),
        }],
        metadata_props: options.metadata.iter().map(|(key, value)| entry(key, value)).collect(),
        ..ModelProto::default()
    })
}

/// The bytes of a tensor file, as in the ONNX backend tests.
pub fn tensor_bytes(name: &str, tensor: &Tensor) -> Vec<u8> {
    tensor_proto(name, tensor).encode_to_vec()
}

fn entry(key: &str, value: &str) -> StringStringEntryProto {
    StringStringEntryProto { key: Some(key.to_owned()), value: Some(value.to_owned()) }
}

pub(super) fn tensor_proto(name: &str, tensor: &Tensor) -> TensorProto {
    TensorProto {
        dims: tensor.shape().iter().map(|n| *n as i64).collect(),
        data_type: Some(tensor.dtype().onnx_code()),
        name: Some(name.to_owned()),
        raw_data: Some(tensor.to_le_bytes()),
        ..TensorProto::default()
    }
}

/// A graph as a message, spelled for `opset`.
///
/// # Errors
/// Operators or types that the operator set does not have.
pub fn graph_message(graph: &Graph, opset: i64) -> Result<GraphProto, SpellError> {
    let taken = HashSet::new();
    let names = names(graph, &taken);
    let spelled = spell(graph, opset, &names, &taken)?;
    let port = |id: &ValueId| port(&names[id.index()], &graph.value(*id).ty);
    Ok(GraphProto {
        node: spelled.nodes,
        name: Some(graph.name.clone()),
        initializer: spelled.initializers,
        input: graph.inputs().iter().map(port).collect(),
        output: graph.outputs().iter().map(port).collect(),
        value_info: inner_values(graph).iter().map(port).collect(),
        ..GraphProto::default()
    })
}

/// What nodes make for other nodes alone. Its types are written so that a reader need not infer them.
fn inner_values(graph: &Graph) -> Vec<ValueId> {
    let made = graph.nodes().iter().flat_map(|node| &node.outputs).copied();
    made.filter(|id| !graph.outputs().contains(id)).collect()
}

/// A value's name and type.
pub fn port(name: &str, ty: &TensorType) -> ValueInfoProto {
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(type_proto(ty)) }
}

/// A loss's input or output as a file declares it.
pub fn loss_port(port: &crate::loss::Port) -> ValueInfoProto {
    let dim = |dim: &crate::loss::Dim| match dim {
        crate::loss::Dim::Fixed(n) => Dim::Fixed(*n),
        crate::loss::Dim::Symbol(name) => Dim::symbol(name),
    };
    let shape: Vec<Dim> = port.shape.iter().map(dim).collect();
    ValueInfoProto {
        name: Some(port.name.clone()),
        r#type: Some(type_proto(&TensorType::new(port.dtype, &shape))),
    }
}

fn type_proto(ty: &TensorType) -> TypeProto {
    let dim = ty.shape.iter().map(|dim| match dim {
        Dim::Fixed(n) => DimensionProto { dim_value: Some(*n as i64), dim_param: None },
        Dim::Symbol(name) => DimensionProto { dim_value: None, dim_param: Some(name.to_string()) },
        Dim::Unknown => DimensionProto::default(),
    });
    TypeProto {
        tensor_type: Some(TensorTypeProto {
            elem_type: Some(ty.dtype.onnx_code()),
            shape: Some(TensorShapeProto { dim: dim.collect() }),
        }),
    }
}
