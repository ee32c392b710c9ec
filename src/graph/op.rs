//! Operators of a graph. Each stands for one standard ONNX operator; how it is spelled at an opset is the writer's.
//!
//! Invariant: axes are counted from the front, and what an operator set takes as an optional input is either there or
//! was filled in by whoever made the node; so an operator means one thing, whatever file it came from.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::types::TensorType;
use crate::tensor::{DType, Tensor};

mod attributes;
mod functions;

pub use attributes::{
    Activation, BatchNorm, Conv, Dropout, F32, Gemm, LayerNorm, Pad, Pool, SliceAxis, Window,
};
pub use functions::{BinaryOp, CompareOp, ReduceOp, UnaryOp};

/// An operator with its attributes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Op {
    /// Element by element, one input.
    Unary(UnaryOp),
    /// Element by element with parameters, one input.
    Activation(Activation),
    /// Element by element with broadcasting, two inputs.
    Binary(BinaryOp),
    /// Comparison with broadcasting, to bool.
    Compare(CompareOp),
    /// Logical and of two bools.
    And,
    /// Logical or of two bools.
    Or,
    /// (condition, a, b): a where the condition holds, else b, with broadcasting.
    Where,
    /// (a, low, high): a between two scalars.
    Clip,
    /// Conversion to another element type.
    Cast(DType),
    /// Reduction over axes.
    Reduce {
        /// What is made of the elements.
        op: ReduceOp,
        /// Axes, ascending; `None` reduces all.
        axes: Option<Vec<usize>>,
        /// Whether a reduced axis stays with extent 1.
        keep: bool,
    },
    /// Softmax along an axis.
    Softmax(usize),
    /// Logarithm of the softmax along an axis.
    LogSoftmax(usize),
    /// (data, indices): slices of data along an axis.
    Gather(usize),
    /// (data, indices): data[…, indices[…], …] along an axis.
    GatherElements(usize),
    /// (data, indices, updates): data with the elements that `GatherElements` would read replaced, or added to.
    ScatterElements {
        /// The axis.
        axis: usize,
        /// Whether updates add up instead of replacing.
        add: bool,
    },
    /// (indices, depth, [off, on]): one more axis, at the end, with `on` at the index and `off` elsewhere.
    OneHot,
    /// New axes of extent 1, at these places of the output.
    Unsqueeze(Vec<usize>),
    /// Without these axes, which have extent 1.
    Squeeze(Vec<usize>),
    /// (a, b): matrix product with numpy's broadcasting.
    MatMul,
    /// (a, b) or (a, b, c): alpha · a' · b' + beta · c
    Gemm(Gemm),
    /// (x `[N, C, …]`, w) or (x, w, bias)
    Conv(Conv),
    /// (x, w) or (x, w, bias): the transpose of a convolution.
    ConvTranspose(Conv, Vec<usize>),
    /// x `[N, C, …]`: (largest, its index in the flattened x).
    MaxPool(Pool),
    /// x `[N, C, …]`
    AveragePool(Pool),
    /// (values, indices, shape): zeros of that shape with the values at the indices in the flattened output.
    MaxUnpool(Window),
    /// (x, scale, bias, mean, variance): (y, new mean, new variance), the latter two in training mode.
    BatchNorm(BatchNorm),
    /// (x, scale) or (x, scale, bias): (y, mean, 1/deviation)
    LayerNorm(LayerNorm),
    /// (x, shape): -1 is what is left, 0 the input's extent.
    Reshape,
    /// Two axes: the product of the extents before the axis, and of those from it.
    Flatten(usize),
    /// Axes in another order.
    Transpose(Vec<usize>),
    /// Along an axis.
    Concat(usize),
    /// (axis, extents): parts along an axis.
    Split(usize, Vec<usize>),
    /// A part along some axes.
    Slice(Vec<SliceAxis>),
    /// (x, extents): the first elements along the axes from one on, where the extents are known only when the graph runs.
    Crop(usize),
    /// Constant, reflected or repeated elements around.
    Pad(Pad),
    /// (x, shape): broadcast to a shape.
    Expand,
    /// (x, ratio, training): (y, mask)
    Dropout(Dropout),
    /// Extents from one axis up to another, int64 `[n]`.
    Shape(usize, usize),
    /// (shape): that shape filled with one value.
    ConstantOfShape(ScalarValue),
    /// (start, limit, delta)
    Range,
    /// a, held constant by engines that differentiate the graph: a sequence of one, and its element, which ONNX
    /// Runtime's training passes no gradient through.
    Stop {
        /// Whether the gradient would be another one without it. Where not, it is there for operators that have no
        /// gradient, and an operator set without sequences takes the value as it is.
        essential: bool,
    },
    /// An operator that this program knows by name only; its outputs' types are as the file declares them.
    Opaque(Arc<Opaque>),
}

/// An operator without meaning here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Opaque {
    /// Its name, with its domain where that is not the standard one.
    pub name: String,
    /// Why it has no meaning here.
    pub why: String,
    /// Another node before it, whose outputs have no type; then that is why.
    pub behind: Option<String>,
    /// Types of its outputs.
    pub outputs: Vec<TensorType>,
}

/// One value of an element type, by its bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ScalarValue {
    /// Element type.
    pub dtype: DType,
    /// Bits of the value as float64; integers up to 2⁵³ are exact.
    bits: u64,
}

impl ScalarValue {
    /// A value of a type.
    pub fn new(dtype: DType, value: f64) -> Self {
        Self { dtype, bits: value.to_bits() }
    }

    /// The value.
    pub fn value(self) -> f64 {
        f64::from_bits(self.bits)
    }

    /// As a tensor of one axis and one element, which is how the attribute is spelled.
    pub fn tensor(self) -> Tensor {
        let values = crate::tensor::TensorData::F64(vec![self.value()]);
        Tensor::new(vec![1], values).expect("one element is of shape [1]").cast(self.dtype)
    }
}

impl Op {
    /// Name of the ONNX operator.
    pub fn name(&self) -> &str {
        match self {
            Op::Unary(op) => op.name(),
            Op::Activation(op) => op.name(),
            Op::Binary(op) => op.name(),
            Op::Compare(op) => op.name(),
            Op::And => "And",
            Op::Or => "Or",
            Op::Where => "Where",
            Op::Clip => "Clip",
            Op::Cast(_) => "Cast",
            Op::Reduce { op, .. } => op.name(),
            Op::Softmax(_) => "Softmax",
            Op::LogSoftmax(_) => "LogSoftmax",
            Op::Gather(_) => "Gather",
            Op::GatherElements(_) => "GatherElements",
            Op::ScatterElements { .. } => "ScatterElements",
            Op::OneHot => "OneHot",
            Op::Unsqueeze(_) => "Unsqueeze",
            Op::Squeeze(_) => "Squeeze",
            Op::MatMul => "MatMul",
            Op::Gemm(_) => "Gemm",
            Op::Conv(_) => "Conv",
            Op::ConvTranspose(..) => "ConvTranspose",
            Op::MaxPool(_) => "MaxPool",
            Op::AveragePool(_) => "AveragePool",
            Op::MaxUnpool(_) => "MaxUnpool",
            Op::BatchNorm(_) => "BatchNormalization",
            Op::LayerNorm(_) => "LayerNormalization",
            Op::Reshape => "Reshape",
            Op::Flatten(_) => "Flatten",
            Op::Transpose(_) => "Transpose",
            Op::Concat(_) => "Concat",
            Op::Split(..) => "Split",
            Op::Slice(_) | Op::Crop(_) => "Slice",
            Op::Pad(_) => "Pad",
            Op::Expand => "Expand",
            Op::Dropout(_) => "Dropout",
            Op::Shape(..) => "Shape",
            Op::ConstantOfShape(_) => "ConstantOfShape",
            Op::Range => "Range",
            Op::Stop { .. } => "SequenceAt",
            Op::Opaque(opaque) => &opaque.name,
        }
    }

    /// Numbers of inputs that it takes.
    pub fn arity(&self) -> RangeInclusive<usize> {
        match self {
            Op::Unary(_)
            | Op::Activation(_)
            | Op::Cast(_)
            | Op::Reduce { .. }
            | Op::Softmax(_)
            | Op::LogSoftmax(_)
            | Op::Unsqueeze(_)
            | Op::Squeeze(_)
            | Op::MaxPool(_)
            | Op::AveragePool(_)
            | Op::Flatten(_)
            | Op::Transpose(_)
            | Op::Split(..)
            | Op::Slice(_)
            | Op::Pad(_)
            | Op::Shape(..)
            | Op::ConstantOfShape(_)
            | Op::Stop { .. } => 1..=1,
            Op::Binary(_)
            | Op::Compare(_)
            | Op::And
            | Op::Or
            | Op::Gather(_)
            | Op::GatherElements(_)
            | Op::MatMul
            | Op::Reshape
            | Op::Crop(_)
            | Op::Expand => 2..=2,
            Op::Gemm(_) | Op::Conv(_) | Op::ConvTranspose(..) | Op::LayerNorm(_) => 2..=3,
            Op::Where
            | Op::Clip
            | Op::ScatterElements { .. }
            | Op::OneHot
            | Op::MaxUnpool(_)
            | Op::Dropout(_)
            | Op::Range => 3..=3,
            Op::BatchNorm(_) => 5..=5,
            Op::Concat(_) => 1..=usize::MAX,
            Op::Opaque(_) => 0..=usize::MAX,
        }
    }
}
