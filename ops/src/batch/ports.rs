//! Inputs and outputs of a batch, checked against the loss.

use crate::descriptor::{Descriptor, FeatureInput, Input, Output, Reduction};
use crate::element::Element;

/// A batch that a loss cannot be computed of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchError(pub String);

impl std::fmt::Display for BatchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BatchError {}

/// Classes of the rows, as given.
#[derive(Debug, Clone, Copy)]
pub enum Labels<'a> {
    /// int32
    I32(&'a [i32]),
    /// int64
    I64(&'a [i64]),
}

/// Values that are read one by one.
#[derive(Debug, Clone, Copy)]
pub enum Scalars<'a> {
    /// float32
    F32(&'a [f32]),
    /// float64
    F64(&'a [f64]),
}

impl Labels<'_> {
    /// Number of them.
    pub fn len(&self) -> usize {
        match self {
            Labels::I32(values) => values.len(),
            Labels::I64(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The label of a row.
    pub fn at(&self, row: usize) -> i64 {
        match self {
            Labels::I32(values) => i64::from(values[row]),
            Labels::I64(values) => values[row],
        }
    }
}

impl Scalars<'_> {
    /// Number of them.
    pub fn len(&self) -> usize {
        match self {
            Scalars::F32(values) => values.len(),
            Scalars::F64(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One of them.
    pub fn at(&self, index: usize) -> f64 {
        match self {
            Scalars::F32(values) => f64::from(values[index]),
            Scalars::F64(values) => values[index],
        }
    }
}

/// What goes in.
#[derive(Debug, Clone)]
pub struct Inputs<'a, T> {
    /// N
    pub rows: usize,
    /// `[N, C]`
    pub logits: &'a [T],
    /// `[N]`
    pub labels: Labels<'a>,
    /// `[N, D]`, or the norms `[N]`; empty where the loss does not use features
    pub features: &'a [T],
    /// dL/d(row loss), `[N]`
    pub loss_grad: Option<Scalars<'a>>,
    /// `[C]`; `None` where every class weighs 1
    pub class_weights: Option<Scalars<'a>>,
    /// `[C]`
    pub logit_bias: Option<Scalars<'a>>,
    /// `[C]`
    pub label_margin: Option<Scalars<'a>>,
    /// The switch; true where the loss has none.
    pub enabled: bool,
    /// Runtime parameters, in the order of the loss's inputs.
    pub parameters: Vec<f64>,
}

/// What comes out; each is there where the loss has it.
#[derive(Debug)]
pub struct Outputs<'a, T: Element> {
    /// One element, or `[N]` without a reduction.
    pub loss: Option<&'a mut [T::Matrix]>,
    /// `[N, C]`
    pub logits_grad: Option<&'a mut [T]>,
    /// As the features.
    pub features_grad: Option<&'a mut [T]>,
    /// `[N]`
    pub row_loss: Option<&'a mut [T::Matrix]>,
    /// `[N]` each, in the order of the loss's outputs.
    pub entries: Vec<&'a mut [T::Matrix]>,
}

impl<T> Inputs<'_, T> {
    pub(super) fn check(&self, loss: &Descriptor) -> Result<(), BatchError> {
        let (n, c) = (self.rows, loss.classes);
        let elements = n.checked_mul(c);
        if elements != Some(self.logits.len()) {
            return fail(format!("logits have {} elements, not {n} rows of {c} classes", self.logits.len()));
        }
        check_size("labels", self.labels.len(), n)?;
        self.check_features(loss)?;
        let vectors = [
            ("loss_grad", Input::LossGrad, &self.loss_grad, n),
            ("class_weights", Input::ClassWeights, &self.class_weights, c),
            ("logit_bias", Input::LogitBias, &self.logit_bias, c),
            ("label_margin", Input::LabelMargin, &self.label_margin, c),
        ];
        for (name, input, given, size) in vectors {
            match (loss.position(input).is_some(), given) {
                (true, Some(values)) => check_size(name, values.len(), size)?,
                (false, None) => {}
                (true, None) => return fail(format!("{name} is missing")),
                (false, Some(_)) => return fail(format!("the loss has no input {name}")),
            }
        }
        check_size("the parameters", self.parameters.len(), loss.parameters())
    }

    fn check_features(&self, loss: &Descriptor) -> Result<(), BatchError> {
        let (n, found) = (self.rows, self.features.len());
        let fits = match (loss.position(Input::Features), loss.features) {
            (None, _) => found == 0,
            (Some(_), FeatureInput::Raw) => {
                if n == 0 {
                    found == 0
                } else {
                    found.is_multiple_of(n)
                }
            }
            (Some(_), _) => found == n,
        };
        if fits { Ok(()) } else { fail(format!("features have {found} elements, which do not fit {n} rows")) }
    }
}

impl<T: Element> Outputs<'_, T> {
    pub(super) fn check(&self, loss: &Descriptor, inputs: &Inputs<'_, T>) -> Result<(), BatchError> {
        let n = inputs.rows;
        let scalar = if loss.reduction == Reduction::None { n } else { 1 };
        let found = [
            ("loss", Output::Loss, self.loss.as_ref().map(|o| o.len()), scalar),
            (
                "logits_grad",
                Output::LogitsGrad,
                self.logits_grad.as_ref().map(|o| o.len()),
                inputs.logits.len(),
            ),
            (
                "features_grad",
                Output::FeaturesGrad,
                self.features_grad.as_ref().map(|o| o.len()),
                inputs.features.len(),
            ),
            ("row_loss", Output::RowLoss, self.row_loss.as_ref().map(|o| o.len()), n),
        ];
        for (name, output, len, size) in found {
            if len != loss.has(output).then_some(size) {
                return fail(format!("the output {name} has not {size} elements, or is not asked for"));
            }
        }
        let entries = loss.outputs.iter().filter(|o| matches!(o, Output::Entry(_))).count();
        check_size("the row entries", self.entries.len(), entries)?;
        self.entries.iter().try_for_each(|entry| check_size("a row entry", entry.len(), n))
    }
}

fn check_size(what: &str, found: usize, expected: usize) -> Result<(), BatchError> {
    if found == expected { Ok(()) } else { fail(format!("{what}: {found} elements, not {expected}")) }
}

fn fail<T>(message: impl Into<String>) -> Result<T, BatchError> {
    Err(BatchError(message.into()))
}
