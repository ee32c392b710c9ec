//! The attribute of a node: which loss it computes.
//!
//! Text of lines, so that a viewer shows it as it is: a header, what the inputs and outputs are, options, and the row
//! program, one step a line. `ibgraph` writes it; see [`parse()`] for reading it. Invariant: a [`Descriptor`] is
//! consistent. Every step uses earlier ones only, and every root is a step, so that running it needs no checks.

mod parse;
#[cfg(test)]
mod tests;

pub use parse::{DescriptorError, parse};

/// Version of the text that this library reads. It refuses a newer one.
pub const FORMAT: u32 = 1;

/// What an input of the node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// `[N, C]`
    Logits,
    /// int32 or int64 `[N]`
    Labels,
    /// See [`FeatureInput`].
    Features,
    /// dL/d(row loss), `[N]`
    LossGrad,
    /// `[C]`
    ClassWeights,
    /// `[C]`, added to the logits
    LogitBias,
    /// `[C]`, taken off the label's logit
    LabelMargin,
    /// bool []
    Enabled,
    /// A parameter [], by its number
    Parameter(usize),
}

/// What an output of the node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// [], or `[N]` without a reduction
    Loss,
    /// `[N, C]`
    LogitsGrad,
    /// As the features
    FeaturesGrad,
    /// `[N]`
    RowLoss,
    /// `[N]`, a step of the program
    Entry(usize),
}

/// How rows reduce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reduction {
    /// Not: the loss is `[N]`.
    None,
    /// Σ of the shares.
    Sum,
    /// Σ of the shares, which the program has divided; NaN where no row counts.
    Mean,
}

/// What the input `features` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureInput {
    /// `[N, D]`, whose L1 norm is taken.
    Raw,
    /// The norm, `[N]`.
    Norm,
    /// The norm, `[N, 1]`.
    NormColumn,
}

/// What a program reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// softplus(u)
    Nll,
    /// sigmoid(-u)
    P,
    /// sigmoid(u)
    Q,
    /// u
    Margin,
    /// h
    FeatureL1,
    /// of the label
    ClassWeight,
    /// mean over the classes of -log p
    MeanNll,
    /// rows that count
    Count,
    /// Σ of the class weights of the rows that count
    WeightSum,
    /// dL/d(row loss)
    Upstream,
    /// a runtime parameter
    Parameter(usize),
}

/// Functions of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unary {
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
    /// 1 - e^a
    OneMinusExp,
}

/// Functions of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    /// a + b
    Add,
    /// a - b
    Sub,
    /// a · b
    Mul,
    /// a / b
    Div,
    /// a^b
    Pow,
    /// smaller of two
    Min,
    /// larger of two
    Max,
}

/// A step of the row program; numbers are of earlier steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// A literal.
    Const(f64),
    /// Something read.
    Read(Read),
    /// f(a)
    Unary(Unary, usize),
    /// f(a, b)
    Binary(Binary, usize, usize),
    /// (a, x, y): x where a is 0, else y
    IfZero(usize, usize, usize),
}

/// The steps that leave a program; `None` where no output needs one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Roots {
    /// The loss of a row.
    pub row_loss: Option<usize>,
    /// Its share of the loss.
    pub share: Option<usize>,
    /// Factor of r, the softmax of the other classes; with `label` and `shift`, or alone.
    pub others: Option<usize>,
    /// Gradient at the label; where `None`, minus `others`.
    pub label: Option<usize>,
    /// Added to the gradient at the other classes; where `None`, nothing.
    pub shift: Option<usize>,
    /// dL/dh
    pub by_norm: Option<usize>,
}

/// A loss.
#[derive(Debug, Clone, PartialEq)]
pub struct Descriptor {
    /// C, at least 1.
    pub classes: usize,
    /// What each input of the node is; [`Input::Logits`] and [`Input::Labels`] are among them.
    pub inputs: Vec<Input>,
    /// What each output of the node is.
    pub outputs: Vec<Output>,
    /// How rows reduce.
    pub reduction: Reduction,
    /// What `features` is.
    pub features: FeatureInput,
    /// Rows with this label do not count.
    pub ignore_index: Option<i64>,
    /// Whether a label out of range makes its row NaN instead of an error.
    pub check_labels: bool,
    /// Factor of the logits.
    pub scale: f64,
    /// The row program.
    pub steps: Vec<Step>,
    /// What leaves it.
    pub on: Roots,
    /// What leaves it where the input `enabled` is false.
    pub off: Roots,
}

impl Descriptor {
    /// Whether the program reads `read`.
    pub fn reads(&self, read: Read) -> bool {
        self.steps.contains(&Step::Read(read))
    }

    /// Place of an input among the node's.
    pub fn position(&self, input: Input) -> Option<usize> {
        self.inputs.iter().position(|i| *i == input)
    }

    /// Whether the node has this output.
    pub fn has(&self, output: Output) -> bool {
        self.outputs.contains(&output)
    }

    /// Number of runtime parameters.
    pub fn parameters(&self) -> usize {
        self.inputs.iter().filter(|i| matches!(i, Input::Parameter(_))).count()
    }
}
