//! Operators of a graph. Each stands for one standard ONNX operator; how it is spelled at an opset is the writer's.

use crate::tensor::DType;

/// An operator with its attributes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Op {
    /// Element by element, one input.
    Unary(UnaryOp),
    /// Element by element with broadcasting, two inputs.
    Binary(BinaryOp),
    /// Comparison with broadcasting, to bool.
    Compare(CompareOp),
    /// Logical and of two bools.
    And,
    /// (condition, a, b): a where the condition holds, else b, with broadcasting.
    Where,
    /// (a, low, high): a between two scalars.
    Clip,
    /// Conversion to another element type.
    Cast(DType),
    /// Reduction over one axis, which stays with extent 1; `None` reduces everything to a scalar.
    Reduce(ReduceOp, Option<usize>),
    /// Softmax along the last axis.
    Softmax,
    /// (data, indices): rows of a table, along axis 0.
    Gather,
    /// (data, indices): data[i, indices[i, j]].
    GatherElements,
    /// (data, indices, updates): data with data[i, indices[i, j]] replaced.
    ScatterElements,
    /// `[N]` to `[N, 1]`.
    UnsqueezeLast,
    /// `[N, 1]` to `[N]`.
    SqueezeLast,
    /// a, held constant by engines that differentiate the graph: a sequence of one, and its element, which ONNX
    /// Runtime's training passes no gradient through.
    Stop,
}

/// Functions of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// |a|
    Abs,
    /// e^a
    Exp,
    /// a, under another name.
    Identity,
    /// ln a
    Log,
    /// -a
    Neg,
    /// not a, of a bool
    Not,
    /// 1/a
    Reciprocal,
    /// -1, 0 or 1
    Sign,
    /// square root
    Sqrt,
}

/// Functions of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// a + b
    Add,
    /// a - b
    Sub,
    /// a · b
    Mul,
    /// a / b
    Div,
    /// a to the power of b
    Pow,
    /// smaller of two; NaN where either is
    Min,
    /// larger of two; NaN where either is
    Max,
}

/// Comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CompareOp {
    /// a = b
    Equal,
    /// a < b
    Less,
    /// a ≥ b
    GreaterOrEqual,
}

/// Reductions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReduceOp {
    /// Σ a
    Sum,
    /// largest
    Max,
}

impl Op {
    /// Name of the ONNX operator.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Unary(op) => op.name(),
            Op::Binary(op) => op.name(),
            Op::Compare(op) => op.name(),
            Op::And => "And",
            Op::Where => "Where",
            Op::Clip => "Clip",
            Op::Cast(_) => "Cast",
            Op::Reduce(ReduceOp::Sum, _) => "ReduceSum",
            Op::Reduce(ReduceOp::Max, _) => "ReduceMax",
            Op::Softmax => "Softmax",
            Op::Gather => "Gather",
            Op::GatherElements => "GatherElements",
            Op::ScatterElements => "ScatterElements",
            Op::UnsqueezeLast => "Unsqueeze",
            Op::SqueezeLast => "Squeeze",
            Op::Stop => "SequenceAt",
        }
    }

    /// Number of inputs.
    pub fn arity(&self) -> usize {
        match self {
            Op::Unary(_)
            | Op::Cast(_)
            | Op::Reduce(..)
            | Op::Softmax
            | Op::UnsqueezeLast
            | Op::SqueezeLast
            | Op::Stop => 1,
            Op::Binary(_) | Op::Compare(_) | Op::And | Op::Gather | Op::GatherElements => 2,
            Op::Where | Op::Clip | Op::ScatterElements => 3,
        }
    }
}

impl UnaryOp {
    fn name(self) -> &'static str {
        match self {
            UnaryOp::Abs => "Abs",
            UnaryOp::Exp => "Exp",
            UnaryOp::Identity => "Identity",
            UnaryOp::Log => "Log",
            UnaryOp::Neg => "Neg",
            UnaryOp::Not => "Not",
            UnaryOp::Reciprocal => "Reciprocal",
            UnaryOp::Sign => "Sign",
            UnaryOp::Sqrt => "Sqrt",
        }
    }
}

impl BinaryOp {
    fn name(self) -> &'static str {
        match self {
            BinaryOp::Add => "Add",
            BinaryOp::Sub => "Sub",
            BinaryOp::Mul => "Mul",
            BinaryOp::Div => "Div",
            BinaryOp::Pow => "Pow",
            BinaryOp::Min => "Min",
            BinaryOp::Max => "Max",
        }
    }
}

impl CompareOp {
    fn name(self) -> &'static str {
        match self {
            CompareOp::Equal => "Equal",
            CompareOp::Less => "Less",
            CompareOp::GreaterOrEqual => "GreaterOrEqual",
        }
    }
}
