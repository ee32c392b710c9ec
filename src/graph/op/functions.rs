//! Functions of single elements, and reductions.

/// Functions of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// |a|
    Abs,
    /// smallest integer ≥ a
    Ceil,
    /// (2/√π) ∫₀ᵃ e^(-t²) dt
    Erf,
    /// e^a
    Exp,
    /// largest integer ≤ a
    Floor,
    /// a · min(max(a/6 + 1/2, 0), 1)
    HardSwish,
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
    /// max(a, 0)
    Relu,
    /// 1 / (1 + e^-a)
    Sigmoid,
    /// -1, 0 or 1
    Sign,
    /// ln(1 + e^a)
    Softplus,
    /// square root
    Sqrt,
    /// hyperbolic tangent
    Tanh,
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
    /// a ≤ b
    LessOrEqual,
    /// a > b
    Greater,
    /// a ≥ b
    GreaterOrEqual,
}

/// Reductions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReduceOp {
    /// Σ a
    Sum,
    /// Σ a / number of elements
    Mean,
    /// largest
    Max,
    /// smallest
    Min,
    /// √Σ a²
    L2,
    /// Σ |a|
    L1,
    /// Σ a²
    SumSquare,
    /// ln Σ e^a
    LogSumExp,
}

impl UnaryOp {
    /// Name of the ONNX operator.
    pub fn name(self) -> &'static str {
        match self {
            UnaryOp::Abs => "Abs",
            UnaryOp::Ceil => "Ceil",
            UnaryOp::Erf => "Erf",
            UnaryOp::Exp => "Exp",
            UnaryOp::Floor => "Floor",
            UnaryOp::HardSwish => "HardSwish",
            UnaryOp::Identity => "Identity",
            UnaryOp::Log => "Log",
            UnaryOp::Neg => "Neg",
            UnaryOp::Not => "Not",
            UnaryOp::Reciprocal => "Reciprocal",
            UnaryOp::Relu => "Relu",
            UnaryOp::Sigmoid => "Sigmoid",
            UnaryOp::Sign => "Sign",
            UnaryOp::Softplus => "Softplus",
            UnaryOp::Sqrt => "Sqrt",
            UnaryOp::Tanh => "Tanh",
        }
    }
}

impl BinaryOp {
    /// Name of the ONNX operator.
    pub fn name(self) -> &'static str {
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
    /// Name of the ONNX operator.
    pub fn name(self) -> &'static str {
        match self {
            CompareOp::Equal => "Equal",
            CompareOp::Less => "Less",
            CompareOp::LessOrEqual => "LessOrEqual",
            CompareOp::Greater => "Greater",
            CompareOp::GreaterOrEqual => "GreaterOrEqual",
        }
    }
}

impl ReduceOp {
    /// Name of the ONNX operator.
    pub fn name(self) -> &'static str {
        match self {
            ReduceOp::Sum => "ReduceSum",
            ReduceOp::Mean => "ReduceMean",
            ReduceOp::Max => "ReduceMax",
            ReduceOp::Min => "ReduceMin",
            ReduceOp::L2 => "ReduceL2",
            ReduceOp::L1 => "ReduceL1",
            ReduceOp::SumSquare => "ReduceSumSquare",
            ReduceOp::LogSumExp => "ReduceLogSumExp",
        }
    }
}
