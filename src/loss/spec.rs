//! [`LossSpec`]: a loss as its YAML source says it, checked.
//!
//! Second stage: text to names that all resolve. Invariant: every name in a formula of a spec is a row quantity,
//! a parameter or a `row` entry, and `row` entries do not call each other in a circle.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::expr::{self, Expr, ExprKind, FormulaError, suggest};

mod error;
mod extent;
mod names;
mod values;
mod yaml;

pub use error::SpecError;

/// What a formula can use of a sample, beside parameters and `row` entries. Each is one scalar a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Quantity {
    /// Cross entropy of the label, softplus(u).
    Nll,
    /// Probability of the label, sigmoid(-u).
    P,
    /// 1 - p, sigmoid(u), never by subtraction.
    Q,
    /// L1 distance of softmax and one-hot label, 2q.
    ErrorL1,
    /// u = logsumexp over the other classes of (logit - label's logit).
    Margin,
    /// L1 norm of the sample's features.
    FeatureL1,
    /// Class weight of the label; 1 where no class weights are asked for.
    ClassWeight,
    /// Mean over the classes of -log p, for label smoothing.
    MeanNll,
}

impl Quantity {
    /// Every quantity with the name it has in a formula.
    pub const ALL: [(&'static str, Quantity); 8] = [
        ("nll", Quantity::Nll),
        ("p", Quantity::P),
        ("q", Quantity::Q),
        ("error_l1", Quantity::ErrorL1),
        ("margin", Quantity::Margin),
        ("feature_l1", Quantity::FeatureL1),
        ("class_weight", Quantity::ClassWeight),
        ("mean_nll", Quantity::MeanNll),
    ];

    /// The quantities that depend on the logits.
    pub const OF_LOGITS: [Quantity; 6] =
        [Quantity::Nll, Quantity::P, Quantity::Q, Quantity::ErrorL1, Quantity::Margin, Quantity::MeanNll];

    /// The quantity of this name, if there is one.
    pub fn named(name: &str) -> Option<Quantity> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, quantity)| *quantity)
    }
}

/// How the losses of a batch become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Reduction {
    /// Sum over the rows that count, divided by their number.
    Mean,
    /// Sum over the rows that count, divided by the sum of their class weights, as PyTorch's weighted cross entropy.
    WeightedMean,
    /// Sum over the rows that count.
    Sum,
    /// `loss` is `[N]`, and the backward takes `loss_grad` `[N]`.
    None,
}

/// A named constant of a loss, which the command line can set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameter {
    /// Its value; the default until set.
    pub value: f64,
    /// The value must be greater than this.
    pub above: Option<f64>,
    /// The value must not be less than this.
    pub at_least: Option<f64>,
    /// The value must not be greater than this.
    pub at_most: Option<f64>,
}

impl Parameter {
    /// Whether the value keeps to its range; the message names the parameter.
    pub(crate) fn check(&self, name: &str) -> Result<(), String> {
        let value = self.value;
        if !value.is_finite() {
            return Err(format!("{name} is {value}; it must be a finite number"));
        }
        let fails = |bound: Option<f64>, kept: fn(f64, f64) -> bool| bound.filter(|b| !kept(value, *b));
        let broken = [
            ("above", fails(self.above, |v, b| v > b)),
            ("at least", fails(self.at_least, |v, b| v >= b)),
            ("at most", fails(self.at_most, |v, b| v <= b)),
        ];
        match broken.iter().find_map(|(relation, bound)| Some((relation, (*bound)?))) {
            Some((relation, bound)) => Err(format!("{name} is {value}; it must be {relation} {bound}")),
            None => Ok(()),
        }
    }
}

/// A formula with the text that it was read from.
#[derive(Debug, Clone, PartialEq)]
pub struct Formula {
    /// As written.
    pub text: String,
    /// As meant: over a row's quantities, `1 - p` is q, `1 - q` is p, and `log(p)` is -nll.
    pub expr: Expr,
}

impl Formula {
    fn read(text: &str) -> Result<Self, FormulaError> {
        Ok(Self { text: text.to_owned(), expr: expr::parse(text)? })
    }
}

/// A loss: parameters, named row expressions, the loss of a row, and how rows reduce.
#[derive(Debug, Clone, PartialEq)]
pub struct LossSpec {
    /// Short name, as on the command line.
    pub name: String,
    /// One line for people.
    pub title: Option<String>,
    /// Where the formula comes from.
    pub source: Option<String>,
    /// Names and default values, in the order of the file.
    pub parameters: IndexMap<String, Parameter>,
    /// Named row expressions, in the order of the file.
    pub row: IndexMap<String, Formula>,
    /// The loss of a row.
    pub loss: Formula,
    /// Default reduction.
    pub reduction: Reduction,
    /// What is done to the logits first.
    pub logits: LogitFormulas,
    /// Default way to weigh classes.
    pub class_weights: WeightScheme,
}

/// Formulas of the adjusted logits, scale · (z + bias - margin · onehot). Each is over the parameters; bias and margin
/// are one value a class, and also over `class_count`, `class_prior` and `rarest_count`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogitFormulas {
    /// Factor of all logits.
    pub scale: Option<Formula>,
    /// Taken off the label's logit.
    pub margin: Option<Formula>,
    /// Added to every logit.
    pub bias: Option<Formula>,
}

/// A way to weigh classes by their counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WeightScheme {
    /// Every class weighs 1.
    #[default]
    None,
    /// 1/n
    Inverse,
    /// (1-β)/(1-βⁿ)
    Effective,
}

impl LossSpec {
    /// Reads and checks a YAML source. `file` is named in errors only.
    ///
    /// # Errors
    /// Anything that is not a loss, with the place in the file.
    pub fn from_yaml(file: &str, text: &str) -> Result<Self, SpecError> {
        yaml::read(file, text)
    }

    /// Sets a parameter.
    ///
    /// # Errors
    /// An unknown name, or a value out of the parameter's range.
    pub fn set(&mut self, name: &str, value: f64) -> Result<(), String> {
        let known: Vec<&str> = self.parameters.keys().map(String::as_str).collect();
        let unknown = format!("the loss `{}` has no parameter `{name}`{}", self.name, suggest(name, &known));
        let parameter = self.parameters.get_mut(name).ok_or(unknown)?;
        parameter.value = value;
        parameter.check(name)
    }

    /// Whether `quantity` influences the loss or one of the entries in `also`.
    pub fn uses(&self, quantity: Quantity, also: &[&str]) -> bool {
        let mut pending: Vec<&Expr> = vec![&self.loss.expr];
        pending.extend(also.iter().filter_map(|n| self.row.get(*n)).map(|f| &f.expr));
        let mut seen: Vec<&str> = Vec::new();
        while let Some(e) = pending.pop() {
            for (name, _) in e.names() {
                if Quantity::named(name) == Some(quantity) {
                    return true;
                }
                if let Some(entry) = self.row.get(name)
                    && !seen.contains(&name)
                {
                    seen.push(name);
                    pending.push(&entry.expr);
                }
            }
        }
        false
    }
}

/// A name that a formula can use: letters, digits and `_`, not starting with a digit.
fn is_identifier(name: &str) -> bool {
    matches!(expr::parse(name), Ok(Expr { kind: ExprKind::Name(n), .. }) if n == name)
}
