//! Adjusted logits, scale · (z + bias - margin · onehot), with numbers.

use super::expr::Expr;
use super::spec::{Formula, LossSpec};

/// Most numbers of a table, in float64: a quarter of the 2 GiB that protobuf allows a file.
const MOST_STORED: usize = 1 << 26;

/// The numbers a loss stores for each class, and the scale of its logits.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tables {
    /// Class weights `[C]`.
    pub class_weights: Option<Vec<f64>>,
    /// Added to every row of logits, `[C]`.
    pub logit_bias: Option<Vec<f64>>,
    /// Taken off the label's logit, `[C]`.
    pub label_margin: Option<Vec<f64>>,
}

/// Why logits cannot be adjusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AdjustError(String);

impl Tables {
    /// Evaluates the formulas of a source's adjusted logits for the given class counts `[C]`.
    ///
    /// # Errors
    /// A formula over class counts without counts, and values that are not finite.
    pub fn new(
        spec: &LossSpec,
        class_weights: Option<Vec<f64>>,
        counts: Option<&[f64]>,
        classes: usize,
    ) -> Result<Self, AdjustError> {
        let table = |what: &str, formula: &Option<Formula>| {
            let values = formula.as_ref().map(|f| one_a_class(spec, what, f, counts, classes));
            values.transpose()
        };
        Ok(Self {
            class_weights,
            logit_bias: table("bias", &spec.logits.bias)?,
            label_margin: table("margin", &spec.logits.margin)?,
        })
    }
}

/// The factor of all logits; 1 where the source has none.
///
/// # Errors
/// A value that is no scale.
pub(super) fn scale(spec: &LossSpec) -> Result<f64, AdjustError> {
    let value = spec.logits.scale.as_ref().map_or(1.0, |f| f.expr.evaluate(&|name| parameter(spec, name)));
    match check_scale(value) {
        Ok(()) => Ok(value),
        Err(message) => Err(AdjustError(format!("in the loss `{}`, {message}", spec.name))),
    }
}

/// Whether logits can be scaled by `value`: it is above 0, and in float32, which is how most graphs hold it, it is finite and has all
/// its digits.
pub(super) fn check_scale(value: f64) -> Result<(), String> {
    if value > 0.0 && (value as f32).is_normal() {
        return Ok(());
    }
    let beyond = value > 0.0 && value.is_finite();
    let advice =
        if beyond { "float32 has no such number with all its digits" } else { "the scale must be above 0" };
    Err(format!("the logits are scaled by {}; {advice}", written(value)))
}

/// A number as short as it can be.
fn written(value: f64) -> String {
    let [plain, scientific] = [value.to_string(), format!("{value:e}")];
    if plain.len() <= scientific.len() { plain } else { scientific }
}

/// Names that the formulas of the adjusted logits use.
pub(super) fn names(spec: &LossSpec) -> Vec<&str> {
    let formulas = [&spec.logits.scale, &spec.logits.margin, &spec.logits.bias];
    let used = formulas.into_iter().flatten().flat_map(|f| f.expr.names());
    used.map(|(name, _)| name).collect()
}

/// Whether class counts go into the adjusted logits.
pub(crate) fn adjusts_by_counts(spec: &LossSpec) -> bool {
    let formulas = [&spec.logits.margin, &spec.logits.bias];
    formulas.into_iter().flatten().any(|formula| uses_counts(spec, &formula.expr))
}

fn parameter(spec: &LossSpec, name: &str) -> Option<f64> {
    spec.parameters.get(name).map(|p| p.value)
}

fn one_a_class(
    spec: &LossSpec,
    what: &str,
    formula: &Formula,
    counts: Option<&[f64]>,
    classes: usize,
) -> Result<Vec<f64>, AdjustError> {
    if counts.is_none() && uses_counts(spec, &formula.expr) {
        return Err(AdjustError(format!(
            "the loss `{}` adjusts logits by class counts ({what}: {}): give --class-counts",
            spec.name, formula.text
        )));
    }
    if classes > MOST_STORED {
        return Err(AdjustError(format!(
            "the {what} of {classes} classes cannot be stored: {MOST_STORED} numbers are the most that a file takes"
        )));
    }
    let total: f64 = counts.unwrap_or_default().iter().sum();
    let rarest = counts.unwrap_or_default().iter().copied().fold(f64::INFINITY, f64::min);
    let value = |class: usize| {
        let count = counts.and_then(|c| c.get(class)).copied().unwrap_or(f64::NAN);
        let value = formula.expr.evaluate(&|name| match name {
            "class_count" => Some(count),
            "class_prior" => Some(count / total),
            "rarest_count" => Some(rarest),
            name => parameter(spec, name),
        });
        let message =
            || format!("the {what} of class {class} is {value} ({}); it must be finite", formula.text);
        if value.is_finite() { Ok(value) } else { Err(AdjustError(message())) }
    };
    (0..classes).map(value).collect()
}

fn uses_counts(spec: &LossSpec, expr: &Expr) -> bool {
    expr.names().iter().any(|(name, _)| !spec.parameters.contains_key(*name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::builtin;

    #[test]
    fn ldam_margins_go_with_the_fourth_root() {
        let spec = builtin::load("ldam").unwrap().unwrap();
        let tables = Tables::new(&spec, None, Some(&[16.0, 1.0]), 2).unwrap();
        // By hand: 1/16^(1/4) = 1/2 and 1/1 = 1, scaled so that the largest is max_margin = 0.5.
        assert_eq!(tables.label_margin, Some(vec![0.25, 0.5]));
        assert_eq!(scale(&spec), Ok(30.0));
    }

    #[test]
    fn a_table_that_no_file_could_hold_is_refused_before_it_is_made() {
        let spec = LossSpec::from_yaml("mine.yaml", "name: mine\nlogits: {bias: 1}\nloss: nll\n").unwrap();
        let error = Tables::new(&spec, None, None, i32::MAX as usize).unwrap_err().to_string();
        assert!(error.contains("2147483647 classes cannot be stored"), "{error}");
    }

    #[test]
    fn balanced_softmax_adds_the_log_prior() {
        let spec = builtin::load("balanced-softmax").unwrap().unwrap();
        let tables = Tables::new(&spec, None, Some(&[3.0, 1.0]), 2).unwrap();
        let bias = tables.logit_bias.unwrap();
        assert!((bias[0] - 0.75f64.ln()).abs() < 1e-15 && (bias[1] - 0.25f64.ln()).abs() < 1e-15);
        assert!(Tables::new(&spec, None, None, 2).unwrap_err().to_string().contains("--class-counts"));
    }
}
