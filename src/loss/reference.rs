//! The reference: loss and gradients in float64, straight from the formula.
//!
//! Independent of the compiler: the formula's tree is evaluated with dual numbers (forward-mode differentiation), so
//! that neither the symbolic derivatives nor the lowering can share a mistake with it. Its own tests confirm it by
//! central differences. From Park et al., ICCV 2021, with the identities of `docs/architecture.md`.

use std::collections::BTreeMap;

use super::{FeatureInput, Loss, Reduction};

mod dual;
mod row;
#[cfg(test)]
mod tests;

use row::{Row, RowTerms};

/// Inputs of a loss, in float64. Row-major.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// `[N, C]`
    pub logits: Vec<f64>,
    /// `[N]`
    pub labels: Vec<i64>,
    /// `[N, D]`, `[N]` or `[N, 1]` by the loss's `feature_input`; empty where the loss does not use features.
    pub features: Vec<f64>,
    /// `[N]`, the upstream gradient of `loss` under reduction `none`; empty means ones.
    pub loss_grad: Vec<f64>,
    /// `[C]`, where the weights are a runtime input.
    pub class_weights: Option<Vec<f64>>,
    /// Values of runtime parameters, by name; a missing one keeps the value of the formula.
    pub parameters: BTreeMap<String, f64>,
    /// The input `enabled`; `None` means true.
    pub enabled: Option<bool>,
}

/// Outputs of a loss, in float64. Row-major.
#[derive(Debug, Clone, Default)]
pub struct Evaluation {
    /// [] as one value, or `[N]` under reduction `none`.
    pub loss: Vec<f64>,
    /// `[N, C]`
    pub logits_grad: Vec<f64>,
    /// Shape of `features`.
    pub features_grad: Vec<f64>,
    /// `[N]`, norms that the rows of `logits_grad` would have if no two terms of ∂L/∂u cancelled
    pub logits_grad_size: Vec<f64>,
    /// `[N]`, norms that they would have if the terms of each class were added up by size, r · slope and those of the mean of
    /// -log p; 0 where there is one term
    pub logits_grad_terms: Vec<f64>,
    /// `[N]`, as `logits_grad_size` for `features_grad` and ∂L/∂h
    pub features_grad_size: Vec<f64>,
    /// `[N]`
    pub row_loss: Vec<f64>,
    /// `[N]` a row entry, by name.
    pub entries: BTreeMap<String, Vec<f64>>,
}

impl Evaluation {
    /// The output of this name.
    pub fn output(&self, name: &str) -> Option<&[f64]> {
        Some(match name {
            "loss" => &self.loss,
            "logits_grad" => &self.logits_grad,
            "features_grad" => &self.features_grad,
            "row_loss" => &self.row_loss,
            entry => self.entries.get(entry)?,
        })
    }

    /// What the norms `[N]` of the rows of a gradient are at least for a comparison; `None` for what is no gradient.
    /// `cancelled` is the share of what they would be if no two terms of a derivative cancelled. Terms of a class, which are
    /// rounded in the matrix type, count whole.
    pub fn row_floors(&self, name: &str, cancelled: f64) -> Option<Vec<f64>> {
        let scaled = |sizes: &[f64]| sizes.iter().map(|size| size * cancelled).collect();
        match name {
            "logits_grad" => {
                let floors: Vec<f64> = scaled(&self.logits_grad_size);
                Some(floors.iter().zip(&self.logits_grad_terms).map(|(a, b)| a.max(*b)).collect())
            }
            "features_grad" => Some(scaled(&self.features_grad_size)),
            _ => None,
        }
    }
}

/// What the reference cannot evaluate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ReferenceError(String);

/// Evaluates loss and gradients.
///
/// A label out of range makes its row and the loss NaN where the loss checks labels.
///
/// # Errors
/// Sizes that do not fit together, and a label out of range where the loss does not check labels.
pub fn evaluate(loss: &Loss, batch: &Batch) -> Result<Evaluation, ReferenceError> {
    let rows = rows(loss, batch)?;
    let terms: Vec<RowTerms> = rows.iter().map(|row| row.terms(loss, batch)).collect();
    let seeds = seeds(loss, batch, &rows);
    let mut out =
        Evaluation { row_loss: terms.iter().map(|t| t.loss.value).collect(), ..Evaluation::default() };
    for (row, (term, seed)) in rows.iter().zip(terms.iter().zip(&seeds)) {
        row.push_gradients(loss, term, *seed, &mut out);
        for (name, value) in &term.entries {
            out.entries.entry(name.clone()).or_default().push(*value);
        }
    }
    out.loss = match loss.interface().reduction {
        Reduction::None => out.row_loss.clone(),
        Reduction::Sum => vec![out.row_loss.iter().sum()],
        Reduction::Mean | Reduction::WeightedMean => {
            vec![out.row_loss.iter().sum::<f64>() / divisor(loss, batch, &rows)]
        }
    };
    Ok(out)
}

/// What the sum of the losses is divided by under the means.
fn divisor(loss: &Loss, batch: &Batch, rows: &[Row]) -> f64 {
    let counted = rows.iter().filter(|row| !row.ignored);
    match loss.interface().reduction {
        Reduction::WeightedMean if batch.enabled != Some(false) => counted.map(|row| row.class_weight).sum(),
        _ => counted.count() as f64,
    }
}

/// dL/d(row loss) of every row.
fn seeds(loss: &Loss, batch: &Batch, rows: &[Row]) -> Vec<f64> {
    match loss.interface().reduction {
        Reduction::None if batch.loss_grad.is_empty() => vec![1.0; rows.len()],
        Reduction::None => batch.loss_grad.clone(),
        Reduction::Sum => vec![1.0; rows.len()],
        Reduction::Mean | Reduction::WeightedMean => {
            vec![1.0 / divisor(loss, batch, rows); rows.len()]
        }
    }
}

fn rows<'a>(loss: &Loss, batch: &'a Batch) -> Result<Vec<Row<'a>>, ReferenceError> {
    let classes = loss.interface().classes;
    let n = batch.labels.len();
    check_size("logits", batch.logits.len(), n * classes)?;
    if !batch.loss_grad.is_empty() {
        check_size("loss_grad", batch.loss_grad.len(), n)?;
    }
    let width = feature_width(loss, batch)?;
    let weights = batch.class_weights.as_deref().or(loss.class_weights());
    if let Some(weights) = weights {
        check_size("class_weights", weights.len(), classes)?;
    }
    let row = |i: usize| {
        let label = batch.labels[i];
        let ignored = loss.interface().ignore_index == Some(label);
        let class = usize::try_from(label).ok().filter(|y| *y < classes);
        if class.is_none() && !ignored && !loss.interface().check_labels {
            return Err(ReferenceError(format!(
                "row {i}: the label is {label}, and the classes are 0 to {}",
                classes - 1
            )));
        }
        Ok(Row {
            logits: &batch.logits[i * classes..(i + 1) * classes],
            features: &batch.features[i * width..(i + 1) * width],
            class,
            ignored,
            class_weight: weights.map_or(1.0, |w| class.map_or(f64::NAN, |y| w[y])),
        })
    };
    (0..n).map(row).collect()
}

fn feature_width(loss: &Loss, batch: &Batch) -> Result<usize, ReferenceError> {
    let n = batch.labels.len();
    if !loss.has_features() || n == 0 {
        return Ok(0);
    }
    let width = match loss.interface().feature_input {
        FeatureInput::Raw => batch.features.len() / n,
        FeatureInput::Norm | FeatureInput::NormColumn => 1,
    };
    check_size("features", batch.features.len(), n * width)?;
    Ok(width)
}

fn check_size(what: &str, found: usize, expected: usize) -> Result<(), ReferenceError> {
    if found == expected {
        return Ok(());
    }
    Err(ReferenceError(format!("{what} has {found} values, not {expected}")))
}
