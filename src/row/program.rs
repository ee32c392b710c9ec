//! [`RowProgram`]: straight-line scalar code, and an interpreter for tests.

use std::collections::HashMap;
use std::fmt;

use crate::loss::Quantity;
use crate::loss::expr::BinaryOp;

/// A step of a program, by its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepId(u32);

impl StepId {
    /// Position in [`RowProgram::steps`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What a program reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RowInput {
    /// A row quantity, one a sample.
    Quantity(Quantity),
    /// A runtime parameter, one a batch.
    Parameter(String),
    /// Number of rows that count, one a batch.
    Count,
    /// Sum of the class weights of the rows that count, one a batch.
    WeightSum,
    /// dL/d(row loss), one a sample.
    Upstream,
}

/// Functions of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UnaryOp {
    /// -a
    Neg,
    /// e^a
    Exp,
    /// ln a
    Log,
    /// square root
    Sqrt,
    /// |a|
    Abs,
    /// -1, 0 or 1
    Sign,
    /// 1 - e^a without cancellation
    OneMinusExp,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// A literal.
    Const(f64),
    /// Something read.
    Input(RowInput),
    /// f(a)
    Unary(UnaryOp, StepId),
    /// a op b
    Binary(BinaryOp, StepId, StepId),
    /// smaller of two
    Min(StepId, StepId),
    /// larger of two
    Max(StepId, StepId),
    /// (a, x, y): x where a is 0, else y
    IfZero(StepId, StepId, StepId),
}

/// Scalar steps; each uses earlier ones only.
#[derive(Debug, Clone, Default)]
pub struct RowProgram {
    steps: Vec<Step>,
    /// Steps by what they do, so that equal ones are one.
    ids: HashMap<String, StepId>,
}

impl PartialEq for RowProgram {
    fn eq(&self, other: &Self) -> bool {
        self.steps == other.steps
    }
}

impl RowProgram {
    /// The steps in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    pub(super) fn push(&mut self, step: Step) -> StepId {
        let key = format!("{step:?}");
        if let Some(id) = self.ids.get(&key) {
            return *id;
        }
        let index = u32::try_from(self.steps.len());
        let id = StepId(index.expect("a formula of 4096 bytes makes far fewer than 2^32 steps"));
        self.steps.push(step);
        self.ids.insert(key, id);
        id
    }

    /// Values of all steps for one row; `read` gives the inputs.
    pub fn evaluate(&self, read: impl Fn(&RowInput) -> f64) -> Vec<f64> {
        let mut values: Vec<f64> = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let at = |id: &StepId| values[id.index()];
            values.push(match step {
                Step::Const(v) => *v,
                Step::Input(input) => read(input),
                Step::Unary(op, a) => op.apply(at(a)),
                Step::Binary(op, a, b) => op.apply(at(a), at(b)),
                Step::Min(a, b) => at(a).min(at(b)),
                Step::Max(a, b) => at(a).max(at(b)),
                Step::IfZero(a, x, y) => at(if at(a) == 0.0 { x } else { y }),
            });
        }
        values
    }
}

impl UnaryOp {
    /// f(a) in float64.
    pub fn apply(self, a: f64) -> f64 {
        match self {
            UnaryOp::Neg => -a,
            UnaryOp::Exp => a.exp(),
            UnaryOp::Log => a.ln(),
            UnaryOp::Sqrt => a.sqrt(),
            UnaryOp::Abs => a.abs(),
            UnaryOp::Sign if a == 0.0 => 0.0,
            UnaryOp::Sign => a.signum(),
            UnaryOp::OneMinusExp => -a.exp_m1(),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            UnaryOp::Neg => "neg",
            UnaryOp::Exp => "exp",
            UnaryOp::Log => "log",
            UnaryOp::Sqrt => "sqrt",
            UnaryOp::Abs => "abs",
            UnaryOp::Sign => "sign",
            UnaryOp::OneMinusExp => "one_minus_exp",
        }
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.0)
    }
}

impl fmt::Display for RowInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RowInput::Quantity(quantity) => {
                let name = Quantity::ALL.iter().find(|(_, q)| q == quantity).map_or("?", |(n, _)| n);
                f.write_str(name)
            }
            RowInput::Parameter(name) => f.write_str(name),
            RowInput::Count => f.write_str("count"),
            RowInput::WeightSum => f.write_str("weight_sum"),
            RowInput::Upstream => f.write_str("loss_grad"),
        }
    }
}

impl fmt::Display for RowProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (k, step) in self.steps.iter().enumerate() {
            write!(f, "%{k} = ")?;
            match step {
                Step::Const(v) => writeln!(f, "{v:?}")?,
                Step::Input(input) => writeln!(f, "{input}")?,
                Step::Unary(op, a) => writeln!(f, "{} {a}", op.name())?,
                Step::Binary(op, a, b) => writeln!(f, "{} {a} {b}", format!("{op:?}").to_lowercase())?,
                Step::Min(a, b) => writeln!(f, "min {a} {b}")?,
                Step::Max(a, b) => writeln!(f, "max {a} {b}")?,
                Step::IfZero(a, x, y) => writeln!(f, "if_zero {a} {x} {y}")?,
            }
        }
        Ok(())
    }
}
