//! A [`Graph`] to the bytes of a model file.

use std::collections::HashSet;

use prost::Message;

use super::messages::{
    ATTRIBUTE_INT, ATTRIBUTE_INTS, AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto,
    ValueInfoProto,
};
use super::opset::Versions;
use crate::graph::{Dim, Graph, Node, Op, TensorType, ValueId};
use crate::tensor::{DType, Tensor};

/// First operator set in which every reduction takes its axes as an input.
const AXES_AS_INPUT: i64 = 18;

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
pub fn write(graph: &Graph, options: &WriteOptions) -> Vec<u8> {
    let mut writer = Writer::new(graph, options.versions);
    let graph = writer.graph();
    let model = ModelProto {
        ir_version: Some(options.versions.ir()),
        producer_name: Some(env!("CARGO_PKG_NAME").to_owned()),
        producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        doc_string: options.doc.clone(),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto {
            domain: Some(String::new()),
            version: Some(options.versions.opset()),
        }],
        metadata_props: options.metadata.iter().map(|(key, value)| entry(key, value)).collect(),
        ..ModelProto::default()
    };
    model.encode_to_vec()
}

/// The bytes of a tensor file, as in the ONNX backend tests.
pub fn tensor_bytes(name: &str, tensor: &Tensor) -> Vec<u8> {
    tensor_proto(name, tensor).encode_to_vec()
}

fn entry(key: &str, value: &str) -> StringStringEntryProto {
    StringStringEntryProto { key: Some(key.to_owned()), value: Some(value.to_owned()) }
}

fn tensor_proto(name: &str, tensor: &Tensor) -> TensorProto {
    TensorProto {
        dims: tensor.shape().iter().map(|n| *n as i64).collect(),
        data_type: Some(tensor.dtype().onnx_code()),
        name: Some(name.to_owned()),
        raw_data: Some(tensor.to_le_bytes()),
        ..TensorProto::default()
    }
}

struct Writer<'a> {
    graph: &'a Graph,
    versions: Versions,
    /// Names of values by id.
    names: Vec<String>,
    /// Constants that only the spelling of an operator needs.
    extra: Vec<TensorProto>,
}

impl<'a> Writer<'a> {
    fn new(graph: &'a Graph, versions: Versions) -> Self {
        Self { graph, versions, names: names(graph), extra: Vec::new() }
    }

    fn name(&self, id: ValueId) -> String {
        self.names[id.index()].clone()
    }

    fn graph(&mut self) -> GraphProto {
        let graph = self.graph;
        let node = graph.nodes().iter().map(|node| self.node(node)).collect();
        let constants = graph.constants().iter();
        let mut initializer: Vec<TensorProto> =
            constants.map(|(id, tensor)| tensor_proto(&self.name(*id), tensor)).collect();
        initializer.append(&mut self.extra);
        let ports = |ids: &[ValueId]| ids.iter().map(|id| self.port(*id)).collect();
        GraphProto {
            node,
            name: Some(graph.name.clone()),
            initializer,
            input: ports(graph.inputs()),
            output: ports(graph.outputs()),
            value_info: ports(&self.inner_values()),
            ..GraphProto::default()
        }
    }

    /// What nodes make for other nodes alone. Its types are written so that a reader need not infer them.
    fn inner_values(&self) -> Vec<ValueId> {
        let made = self.graph.nodes().iter().map(|node| node.output);
        made.filter(|id| !self.graph.outputs().contains(id)).collect()
    }

    fn port(&self, id: ValueId) -> ValueInfoProto {
        ValueInfoProto { name: Some(self.name(id)), r#type: Some(type_proto(&self.graph.value(id).ty)) }
    }

    fn node(&mut self, node: &Node) -> NodeProto {
        let mut input: Vec<String> = node.inputs.iter().map(|id| self.name(*id)).collect();
        let mut attribute = Vec::new();
        match &node.op {
            Op::Cast(dtype) => attribute.push(integer("to", i64::from(dtype.onnx_code()))),
            Op::Softmax => attribute.push(integer("axis", -1)),
            Op::Gather => attribute.push(integer("axis", 0)),
            Op::GatherElements | Op::ScatterElements => attribute.push(integer("axis", 1)),
            Op::UnsqueezeLast | Op::SqueezeLast => input.push(self.axis(1)),
            Op::Reduce(op, axis) => {
                if let Some(axis) = axis {
                    let as_input =
                        *op == crate::graph::ReduceOp::Sum || self.versions.opset() >= AXES_AS_INPUT;
                    if as_input {
                        input.push(self.axis(*axis));
                    } else {
                        attribute.push(integers("axes", &[*axis as i64]));
                    }
                }
                attribute.push(integer("keepdims", i64::from(axis.is_some())));
            }
            Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::And | Op::Where | Op::Clip => {}
        }
        let output = self.name(node.output);
        NodeProto {
            name: Some(format!("{}:{output}", node.op.name())),
            input,
            output: vec![output],
            op_type: Some(node.op.name().to_owned()),
            attribute,
            domain: None,
        }
    }

    /// Name of an initializer that holds one axis.
    fn axis(&mut self, axis: usize) -> String {
        let name = unused(&format!("axis_{axis}"), |n| self.names.iter().any(|taken| taken == n));
        if !self.extra.iter().any(|t| t.name.as_deref() == Some(&name)) {
            let bytes = (axis as i64).to_le_bytes();
            let tensor = Tensor::from_le_bytes(DType::I64, vec![1], &bytes);
            let tensor = tensor.expect("eight bytes are one int64");
            self.extra.push(tensor_proto(&name, &tensor));
        }
        name
    }
}

/// A name for every value: its own at the boundary, else its operator and number.
fn names(graph: &Graph) -> Vec<String> {
    let mut taken: HashSet<String> = graph.values.iter().filter_map(|v| v.name.clone()).collect();
    let mut names: Vec<String> =
        graph.values.iter().map(|value| value.name.clone().unwrap_or_default()).collect();
    let mut give = |id: ValueId, base: String| {
        if names[id.index()].is_empty() {
            let name = unused(&base, |n| taken.contains(n));
            taken.insert(name.clone());
            names[id.index()] = name;
        }
    };
    for (index, (id, _)) in graph.constants().iter().enumerate() {
        give(*id, format!("const_{index}"));
    }
    for (index, node) in graph.nodes().iter().enumerate() {
        give(node.output, format!("{}_{index}", node.op.name().to_lowercase()));
    }
    names
}

/// `base`, or `base_`, `base__`, … if that is taken.
fn unused(base: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut name = base.to_owned();
    while taken(&name) {
        name.push('_');
    }
    name
}

fn type_proto(ty: &TensorType) -> TypeProto {
    let dim = ty.shape.iter().map(|dim| match dim {
        Dim::Fixed(n) => DimensionProto { dim_value: Some(*n as i64), dim_param: None },
        Dim::Symbol(name) => DimensionProto { dim_value: None, dim_param: Some(name.to_string()) },
    });
    TypeProto {
        tensor_type: Some(TensorTypeProto {
            elem_type: Some(ty.dtype.onnx_code()),
            shape: Some(TensorShapeProto { dim: dim.collect() }),
        }),
    }
}

fn integer(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        i: Some(value),
        r#type: Some(ATTRIBUTE_INT),
        ..AttributeProto::default()
    }
}

fn integers(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        ints: values.to_vec(),
        r#type: Some(ATTRIBUTE_INTS),
        ..AttributeProto::default()
    }
}
