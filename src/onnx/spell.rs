//! The nodes of a [`Graph`] as an operator set spells them.
//!
//! Stands between a graph and its bytes. Invariant: every node comes out as nodes of the standard domain that compute
//! the same at the operator set that is written for, or as an error that names what stands in the way.

use std::collections::HashSet;

use super::attributes::{integer, integers, text};
use super::messages::{AttributeProto, NodeProto, TensorProto};
use super::write::tensor_proto;
use crate::graph::{Graph, Node, Op, ReduceOp, ValueId};
use crate::tensor::{Tensor, TensorData};

mod layers;
mod old;

pub(crate) use old::ELEMENTS;

/// First operator set in which every reduction takes its axes as an input.
const AXES_AS_INPUT: i64 = 18;
/// First operator set with sequences.
const SEQUENCES: i64 = 11;
/// First operator set in which a scatter can add up.
const SCATTER_ADDS: i64 = 16;

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
    operator: String,
    why: String,
}

impl SpellError {
    fn too_old(operator: &str, needed: i64, opset: i64) -> Self {
        let why = format!(
            "needs opset {needed}, and this model has opset {opset}; convert it with onnx.version_converter"
        );
        Self { operator: operator.to_owned(), why }
    }
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
    old::check_types(graph, opset)?;
    let taken = taken.iter().chain(names).cloned().collect();
    let mut speller = Speller { graph, opset, names, taken, extra: Vec::new() };
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
    graph: &'a Graph,
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
        if let Op::Stop { essential } = node.op {
            return self.stop(essential, input, self.name(node.output()));
        }
        if let Some(nodes) = self.old(node, &input)? {
            return Ok(nodes);
        }
        let mut attribute = Vec::new();
        match &node.op {
            Op::Cast(dtype) => attribute.push(integer("to", i64::from(dtype.onnx_code()))),
            Op::Softmax(axis) | Op::LogSoftmax(axis) => attribute.push(integer("axis", *axis as i64)),
            Op::Gather(axis) | Op::GatherElements(axis) => attribute.push(integer("axis", *axis as i64)),
            Op::ScatterElements { axis, add } => {
                attribute.push(integer("axis", *axis as i64));
                attribute.extend(self.reduction(*add)?);
            }
            Op::Unsqueeze(axes) | Op::Squeeze(axes) => input.push(self.axes(axes)),
            Op::Reduce { op, axes, keep } => {
                if let Some(axes) = axes {
                    if *op == ReduceOp::Sum || self.opset >= AXES_AS_INPUT {
                        input.push(self.axes(axes));
                    } else {
                        let axes: Vec<i64> = axes.iter().map(|axis| *axis as i64).collect();
                        attribute.push(integers("axes", &axes));
                    }
                }
                attribute.push(integer("keepdims", i64::from(*keep)));
            }
            Op::Unary(_)
            | Op::Binary(_)
            | Op::Compare(_)
            | Op::And
            | Op::Or
            | Op::Where
            | Op::Clip
            | Op::OneHot
            | Op::MatMul
            | Op::Reshape
            | Op::Expand
            | Op::Range => {}
            Op::Shape(0, end) if *end == self.graph.value(node.inputs[0]).ty.rank() => {}
            Op::Pad(pad) => {
                attribute = self.pad(pad, self.graph.value(node.inputs[0]).ty.dtype, &mut input);
            }
            Op::Crop(axis) => {
                attribute = self.crop(*axis, self.graph.value(node.inputs[0]).ty.rank(), &mut input)?;
            }
            Op::Gemm(gemm) => {
                attribute = self.gemm(*gemm, self.graph.value(node.inputs[0]).ty.dtype, &mut input);
            }
            layer => attribute = self.layer(layer, &mut input)?,
        }
        let outputs = node.outputs.iter().map(|id| self.name(*id)).collect();
        Ok(vec![made(node.op.name(), input, outputs, attribute)])
    }

    /// The attribute of a scatter that adds up.
    fn reduction(&self, add: bool) -> Result<Option<AttributeProto>, SpellError> {
        match add {
            false => Ok(None),
            true if self.opset >= SCATTER_ADDS => Ok(Some(text("reduction", "add"))),
            true => Err(self.too_old("ScatterElements", SCATTER_ADDS)),
        }
    }

    /// A sequence of one, and its element.
    fn stop(
        &mut self,
        essential: bool,
        input: Vec<String>,
        output: String,
    ) -> Result<Vec<NodeProto>, SpellError> {
        if self.opset < SEQUENCES {
            return match essential {
                true => Err(self.too_old("a stop-gradient (SequenceConstruct)", SEQUENCES)),
                false => Ok(vec![made("Identity", input, vec![output], Vec::new())]),
            };
        }
        let sequence = self.inner(&output, "sequence");
        let zero = Tensor::new(vec![], TensorData::I64(vec![0]));
        let zero = self.extra("index_0", &zero.expect("a scalar has one element"));
        Ok(vec![
            made("SequenceConstruct", input, vec![sequence.clone()], Vec::new()),
            made("SequenceAt", vec![sequence, zero], vec![output], Vec::new()),
        ])
    }

    fn too_old(&self, operator: &str, needed: i64) -> SpellError {
        SpellError::too_old(operator, needed, self.opset)
    }

    /// Name of an initializer that holds axes.
    fn axes(&mut self, axes: &[usize]) -> String {
        let list: Vec<String> = axes.iter().map(usize::to_string).collect();
        let values: Vec<i64> = axes.iter().map(|axis| *axis as i64).collect();
        self.integers(&format!("axis_{}", list.join("_")), &values)
    }

    /// Name of an initializer that holds an int64 vector.
    fn integers(&mut self, base: &str, values: &[i64]) -> String {
        let value = Tensor::new(vec![values.len()], TensorData::I64(values.to_vec()));
        self.extra(base, &value.expect("a vector has its own length"))
    }

    /// Name of an initializer of the spelling's own, near `base`; equal ones are made once.
    fn extra(&mut self, base: &str, tensor: &Tensor) -> String {
        let mut name = unused(base, |n| self.taken.contains(n));
        // Two vectors of one name: the later one makes way.
        while let Some(other) = self.extra.iter().find(|t| t.name.as_deref() == Some(&name)) {
            if *other == tensor_proto(&name, tensor) {
                return name;
            }
            name.push('_');
        }
        self.extra.push(tensor_proto(&name, tensor));
        name
    }
}

/// A node of the standard domain.
fn made(
    operator: &str,
    input: Vec<String>,
    output: Vec<String>,
    attribute: Vec<AttributeProto>,
) -> NodeProto {
    NodeProto {
        name: Some(format!("{operator}:{}", output[0])),
        input,
        output,
        op_type: Some(operator.to_owned()),
        attribute,
        ..NodeProto::default()
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
        let base = format!("{}_{index}", node.op.name().to_lowercase());
        give(node.output(), base.clone());
        for (k, id) in node.outputs.iter().enumerate().skip(1) {
            give(*id, format!("{base}_{k}"));
        }
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
