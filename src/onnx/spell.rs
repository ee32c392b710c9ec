//! The nodes of a [`Graph`] as an operator set spells them.
//!
//! Stands between a graph and its bytes. Invariant: every node comes out as nodes of the standard domain that compute
//! the same at the operator set that is written for, or as an error that names what stands in the way.

use std::collections::HashSet;

use super::attributes::{integer, integers};
use super::messages::{AttributeProto, NodeProto, TensorProto};
use super::write::tensor_proto;
use crate::graph::{Graph, Node, Op, ReduceOp, ValueId};
use crate::tensor::{DType, Tensor};

/// First operator set in which every reduction takes its axes as an input.
const AXES_AS_INPUT: i64 = 18;

/// A graph's nodes and the data they read, ready to be put into a file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Spelled {
    /// In an order of evaluation.
    pub nodes: Vec<NodeProto>,
    /// The graph's constants, then those that only the spelling needs.
    pub initializers: Vec<TensorProto>,
}

/// A graph that an operator set cannot express.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operator} {why}")]
pub struct SpellError {
    operator: &'static str,
    why: String,
}

/// Spells a graph at `opset`. `names` has the name of every value, by its index; `taken` are names that the file has
/// beside them, which no name made here will be.
///
/// # Errors
/// Operators or types that the operator set does not have.
pub fn spell(
    graph: &Graph,
    opset: i64,
    names: &[String],
    taken: &HashSet<String>,
) -> Result<Spelled, SpellError> {
    let taken = taken.iter().chain(names).cloned().collect();
    let mut speller = Speller { opset, names, taken, extra: Vec::new() };
    let mut nodes = Vec::new();
    for node in graph.nodes() {
        nodes.extend(speller.node(node)?);
    }
    let constants = graph.constants().iter();
    let mut initializers: Vec<TensorProto> =
        constants.map(|(id, tensor)| tensor_proto(&names[id.index()], tensor)).collect();
    initializers.append(&mut speller.extra);
    Ok(Spelled { nodes, initializers })
}

struct Speller<'a> {
    opset: i64,
    names: &'a [String],
    taken: HashSet<String>,
    /// Constants that only the spelling of an operator needs.
    extra: Vec<TensorProto>,
}

impl Speller<'_> {
    fn name(&self, id: ValueId) -> String {
        self.names[id.index()].clone()
    }

    fn node(&mut self, node: &Node) -> Result<Vec<NodeProto>, SpellError> {
        let mut input: Vec<String> = node.inputs.iter().map(|id| self.name(*id)).collect();
        if node.op == Op::Stop {
            return Ok(self.stop(input, self.name(node.output)));
        }
        let mut attribute = Vec::new();
        match &node.op {
            Op::Cast(dtype) => attribute.push(integer("to", i64::from(dtype.onnx_code()))),
            Op::Softmax => attribute.push(integer("axis", -1)),
            Op::Gather => attribute.push(integer("axis", 0)),
            Op::GatherElements | Op::ScatterElements => attribute.push(integer("axis", 1)),
            Op::UnsqueezeLast | Op::SqueezeLast => input.push(self.axis(1)),
            Op::Reduce(op, axis) => {
                if let Some(axis) = axis {
                    if *op == ReduceOp::Sum || self.opset >= AXES_AS_INPUT {
                        input.push(self.axis(*axis));
                    } else {
                        attribute.push(integers("axes", &[*axis as i64]));
                    }
                }
                attribute.push(integer("keepdims", i64::from(axis.is_some())));
            }
            Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::And | Op::Where | Op::Clip | Op::Stop => {}
        }
        Ok(vec![made(node.op.name(), input, self.name(node.output), attribute)])
    }

    /// A sequence of one, and its element.
    fn stop(&mut self, input: Vec<String>, output: String) -> Vec<NodeProto> {
        let sequence = unused(&format!("{output}_sequence"), |n| self.taken.contains(n));
        self.taken.insert(sequence.clone());
        let zero = Tensor::from_le_bytes(DType::I64, vec![], &0i64.to_le_bytes());
        let zero = self.extra("index_0", &zero.expect("eight bytes are one int64"));
        vec![
            made("SequenceConstruct", input, sequence.clone(), Vec::new()),
            made("SequenceAt", vec![sequence, zero], output, Vec::new()),
        ]
    }

    /// Name of an initializer that holds one axis.
    fn axis(&mut self, axis: usize) -> String {
        let value = Tensor::from_le_bytes(DType::I64, vec![1], &(axis as i64).to_le_bytes());
        self.extra(&format!("axis_{axis}"), &value.expect("eight bytes are one int64"))
    }

    /// Name of an initializer of the spelling's own, near `base`; equal ones are made once.
    fn extra(&mut self, base: &str, tensor: &Tensor) -> String {
        let name = unused(base, |n| self.taken.contains(n));
        let proto = tensor_proto(&name, tensor);
        if !self.extra.contains(&proto) {
            self.extra.push(proto);
        }
        name
    }
}

/// A node of the standard domain.
fn made(operator: &str, input: Vec<String>, output: String, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        name: Some(format!("{operator}:{output}")),
        input,
        output: vec![output],
        op_type: Some(operator.to_owned()),
        attribute,
        domain: None,
    }
}

/// A name for every value of a graph: its own at the boundary, else its operator and number. None is in `taken`.
pub fn names(graph: &Graph, taken: &HashSet<String>) -> Vec<String> {
    let values = graph.values.iter();
    let mut names: Vec<String> = values.map(|value| value.name.clone().unwrap_or_default()).collect();
    let mut taken: HashSet<String> = taken.iter().chain(&names).cloned().collect();
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
