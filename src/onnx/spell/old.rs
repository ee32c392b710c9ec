//! Operators as operator sets 9 to 12 have them.
//!
//! An operator that came later, or that took fewer types, is put together from older ones with the same result. What
//! cannot be is an error that says from which operator set on it can.

use super::super::attributes::{integer, integers};
use super::super::messages::NodeProto;
use super::{SpellError, Speller, made, unused};
use crate::graph::{CompareOp, Dim, Graph, Node, Op, ReduceOp, TensorType};
use crate::tensor::{DType, Tensor, TensorData};

/// From here on axes of `ReduceSum`, `Squeeze` and `Unsqueeze` are an input, a softmax is over one axis, and bfloat16 is
/// a type of every operator.
const MODERN: i64 = 13;
/// First operator set with `GreaterOrEqual` and `LessOrEqual`, and with a `Clip` of every number type.
const ORDERED: i64 = 12;
/// First operator set with `GatherElements` and `ScatterElements`, and with an `Equal` of floats.
pub(crate) const ELEMENTS: i64 = 11;

/// Refuses types that no operator of an old operator set takes.
pub(super) fn check_types(graph: &Graph, opset: i64) -> Result<(), SpellError> {
    let narrow = |value: &&crate::graph::Value| value.ty.dtype == DType::BF16;
    match graph.values.iter().find(narrow) {
        Some(_) if opset < MODERN => Err(SpellError::too_old("bfloat16", MODERN, opset)),
        _ => Ok(()),
    }
}

impl Speller<'_> {
    /// The nodes where this operator set has none of that name and form; `None` where it has.
    pub(super) fn old(
        &mut self,
        node: &Node,
        input: &[String],
    ) -> Result<Option<Vec<NodeProto>>, SpellError> {
        if self.opset >= MODERN {
            return Ok(None);
        }
        let first = node.inputs.first().map(|id| self.graph.value(*id).ty.clone());
        let first = first.unwrap_or_else(|| TensorType::new(DType::F32, &[]));
        let output = self.name(node.output());
        Ok(Some(match &node.op {
            Op::Unsqueeze(axes) | Op::Squeeze(axes) => {
                vec![self.with_axes(node, axes, Vec::new())]
            }
            Op::Reduce { op: ReduceOp::Sum, axes: Some(axes), keep } => {
                vec![self.with_axes(node, axes, vec![integer("keepdims", i64::from(*keep))])]
            }
            Op::Softmax(axis) | Op::LogSoftmax(axis) if *axis + 1 != first.rank() => {
                // There it is over all axes from this one on.
                return Err(self.too_old("a softmax along an axis that is not the last", MODERN));
            }
            Op::Clip if self.opset < ORDERED => self.clip(input, output),
            Op::Compare(op) if self.opset < ORDERED => return self.compare(*op, first.dtype, input, output),
            Op::GatherElements(1) if self.opset < ELEMENTS => self.gather_elements(node, input, output)?,
            Op::GatherElements(_) if self.opset < ELEMENTS => {
                return Err(self.too_old("GatherElements", ELEMENTS));
            }
            // The same operator under its first name.
            Op::ScatterElements { axis, add: false } if self.opset < ELEMENTS => {
                vec![made("Scatter", input.to_vec(), vec![output], vec![integer("axis", *axis as i64)])]
            }
            _ => return Ok(None),
        }))
    }

    fn with_axes(
        &self,
        node: &Node,
        axes: &[usize],
        mut attributes: Vec<super::AttributeProto>,
    ) -> NodeProto {
        let axes: Vec<i64> = axes.iter().map(|axis| *axis as i64).collect();
        attributes.insert(0, integers("axes", &axes));
        let [input, output] = [node.inputs[0], node.output()].map(|id| vec![self.name(id)]);
        made(node.op.name(), input, output, attributes)
    }

    /// A name of the spelling's own for what stands before `output`.
    pub(super) fn inner(&mut self, output: &str, what: &str) -> String {
        let name = unused(&format!("{output}_{what}"), |n| self.taken.contains(n));
        self.taken.insert(name.clone());
        name
    }

    /// min(max(a, low), high), which takes what a `Clip` of this time does not: bounds that are values, and float64.
    fn clip(&mut self, input: &[String], output: String) -> Vec<NodeProto> {
        let raised = self.inner(&output, "raised");
        vec![
            made("Max", vec![input[0].clone(), input[1].clone()], vec![raised.clone()], Vec::new()),
            made("Min", vec![raised, input[2].clone()], vec![output], Vec::new()),
        ]
    }

    fn compare(
        &mut self,
        op: CompareOp,
        dtype: DType,
        input: &[String],
        output: String,
    ) -> Result<Option<Vec<NodeProto>>, SpellError> {
        let is_float = !matches!(dtype, DType::I32 | DType::I64 | DType::Bool);
        let input = input.to_vec();
        let strict = match op {
            CompareOp::Less | CompareOp::Greater => return Ok(None),
            CompareOp::Equal if is_float && self.opset < ELEMENTS => {
                return Ok(Some(self.equal_floats(input, output)));
            }
            CompareOp::Equal => return Ok(None),
            CompareOp::LessOrEqual => [CompareOp::Less, CompareOp::Greater],
            CompareOp::GreaterOrEqual => [CompareOp::Greater, CompareOp::Less],
        };
        let [strict, opposite] = strict.map(|op| Op::Compare(op).name().to_owned());
        if !is_float {
            let inner = self.inner(&output, "not");
            return Ok(Some(vec![
                made(&opposite, input, vec![inner.clone()], Vec::new()),
                made("Not", vec![inner], vec![output], Vec::new()),
            ]));
        }
        // With NaN neither holds.
        let [beyond, equal] = ["beyond", "equal"].map(|what| self.inner(&output, what));
        let mut nodes = vec![made(&strict, input.clone(), vec![beyond.clone()], Vec::new())];
        if self.opset < ELEMENTS {
            nodes.extend(self.equal_floats(input, equal.clone()));
        } else {
            nodes.push(made("Equal", input, vec![equal.clone()], Vec::new()));
        }
        nodes.push(made("Or", vec![beyond, equal], vec![output], Vec::new()));
        Ok(Some(nodes))
    }

    /// a = b of floats: neither is less, and a + b is a number or infinite.
    fn equal_floats(&mut self, input: Vec<String>, output: String) -> Vec<NodeProto> {
        let [less, more, sum, narrow, none] =
            ["less", "more", "sum", "narrow", "none"].map(|what| self.inner(&output, what));
        let [differs, unequal] = ["differs", "unequal"].map(|what| self.inner(&output, what));
        // `IsNaN` takes no float64 yet.
        let to_float = integer("to", i64::from(DType::F32.onnx_code()));
        let plain = |operator: &str, input: &[&String], output: String| {
            made(operator, input.iter().map(|name| (*name).clone()).collect(), vec![output], Vec::new())
        };
        vec![
            made("Less", input.clone(), vec![less.clone()], Vec::new()),
            made("Greater", input.clone(), vec![more.clone()], Vec::new()),
            made("Add", input, vec![sum.clone()], Vec::new()),
            made("Cast", vec![sum], vec![narrow.clone()], vec![to_float]),
            plain("IsNaN", &[&narrow], none.clone()),
            plain("Or", &[&less, &more], differs.clone()),
            plain("Or", &[&differs, &none], unequal.clone()),
            plain("Not", &[&unequal], output),
        ]
    }

    /// `data[i, index[i]]` as the sum over j of (`data[i, j]` where `j = index[i]`, else 0), for one index a row.
    fn gather_elements(
        &mut self,
        node: &Node,
        input: &[String],
        output: String,
    ) -> Result<Vec<NodeProto>, SpellError> {
        let [data, index] = [node.inputs[0], node.inputs[1]].map(|id| &self.graph.value(id).ty);
        let (Dim::Fixed(width), Dim::Fixed(1), 2) = (&data.shape[1], &index.shape[1], data.rank()) else {
            return Err(self.too_old("GatherElements", ELEMENTS));
        };
        let (width, dtype) = (*width, data.dtype);
        let numbers = Tensor::new(vec![width], TensorData::I64((0..width as i64).collect()));
        let numbers = self.extra(&format!("numbers_{width}"), &numbers.expect("a vector has its own length"));
        let zero = Tensor::new(vec![], TensorData::F64(vec![0.0])).expect("a scalar has one element");
        let zero = self.extra(&format!("zero_{dtype}"), &zero.cast(dtype));
        let [here, alone] = ["here", "alone"].map(|what| self.inner(&output, what));
        let attributes = vec![integers("axes", &[1]), integer("keepdims", 1)];
        Ok(vec![
            made("Equal", vec![input[1].clone(), numbers], vec![here.clone()], Vec::new()),
            made("Where", vec![here, input[0].clone(), zero], vec![alone.clone()], Vec::new()),
            made("ReduceSum", vec![alone], vec![output], attributes),
        ])
    }
}
