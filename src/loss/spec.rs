//! [`LossSpec`]: a loss as its YAML source says it, checked.
//!
//! Second stage: text to names that all resolve. Invariant: every name in a formula of a spec is a row quantity,
//! a parameter or a `row` entry, and `row` entries do not call each other in a circle.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::expr::{self, Expr, ExprKind, FormulaError, suggest};

mod error;
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
}

impl Quantity {
    /// Every quantity with the name it has in a formula.
    pub const ALL: [(&'static str, Quantity); 7] = [
        ("nll", Quantity::Nll),
        ("p", Quantity::P),
        ("q", Quantity::Q),
        ("error_l1", Quantity::ErrorL1),
        ("margin", Quantity::Margin),
        ("feature_l1", Quantity::FeatureL1),
        ("class_weight", Quantity::ClassWeight),
    ];

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
}

impl Parameter {
    /// Whether the value keeps to its range; the message names the parameter.
    pub(crate) fn check(&self, name: &str) -> Result<(), String> {
        let value = self.value;
        if !value.is_finite() {
            return Err(format!("{name} is {value}; it must be a finite number"));
        }
        match (self.above, self.at_least) {
            (Some(bound), _) if value <= bound => Err(format!("{name} is {value}; it must be above {bound}")),
            (_, Some(bound)) if value < bound => {
                Err(format!("{name} is {value}; it must be at least {bound}"))
            }
            _ => Ok(()),
        }
    }
}

/// A formula with the text that it was read from.
#[derive(Debug, Clone, PartialEq)]
pub struct Formula {
    /// As written.
    pub text: String,
    /// As read.
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

    /// Checks names, and that no `row` entry needs itself. The error names the entry (`None`: `loss`).
    fn check_names(&self) -> Result<(), (Option<&str>, FormulaError)> {
        for (entry, formula) in self.formulas() {
            for (name, span) in formula.expr.names() {
                self.check_name(name).map_err(|m| (entry, FormulaError::new(span.clone(), m)))?;
            }
        }
        for name in self.row.keys() {
            self.check_circle(name, &mut vec![name]).map_err(|e| (Some(name.as_str()), e))?;
        }
        Ok(())
    }

    fn formulas(&self) -> impl Iterator<Item = (Option<&str>, &Formula)> {
        let row = self.row.iter().map(|(name, f)| (Some(name.as_str()), f));
        row.chain([(None, &self.loss)])
    }

    fn check_name(&self, name: &str) -> Result<(), String> {
        let known = Quantity::named(name).is_some()
            || self.parameters.contains_key(name)
            || self.row.contains_key(name);
        if known {
            return Ok(());
        }
        let mut names: Vec<&str> = Quantity::ALL.iter().map(|(n, _)| *n).collect();
        names.extend(self.parameters.keys().map(String::as_str));
        names.extend(self.row.keys().map(String::as_str));
        Err(format!("unknown name `{name}`{}", suggest(name, &names)))
    }

    fn check_circle<'a>(&'a self, name: &str, path: &mut Vec<&'a str>) -> Result<(), FormulaError> {
        for (used, span) in self.row[name].expr.names() {
            let Some((used, _)) = self.row.get_key_value(used) else {
                continue;
            };
            if path.contains(&used.as_str()) {
                path.push(used);
                return Err(FormulaError::new(
                    span.clone(),
                    format!("`row` entries need each other in a circle: {}", path.join(" -> ")),
                ));
            }
            path.push(used);
            self.check_circle(used, path)?;
            path.pop();
        }
        Ok(())
    }
}

/// A name that a formula can use: letters, digits and `_`, not starting with a digit.
fn is_identifier(name: &str) -> bool {
    matches!(expr::parse(name), Ok(Expr { kind: ExprKind::Name(n), .. }) if n == name)
}
