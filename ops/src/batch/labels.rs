//! Labels to classes, and what they say of the whole batch.

use super::ports::{BatchError, Inputs, Labels};
use crate::descriptor::{Descriptor, Read};
use crate::evaluate::Shared;

/// Instead of a class: the row does not count.
pub(super) const IGNORED: u32 = u32::MAX;
/// Instead of a class: the label is none.
pub(super) const INVALID: u32 = u32::MAX - 1;

/// What everything of a row is that has no class: 0 where it does not count, NaN where its label is none. `None` for a class.
#[inline(always)]
pub(super) fn without_class(class: u32) -> Option<f64> {
    match class {
        IGNORED => Some(0.0),
        INVALID => Some(f64::NAN),
        _ => None,
    }
}

/// Labels of a batch.
pub(super) struct Resolved {
    /// `[N]`: a class, [`IGNORED`] or [`INVALID`]
    pub classes: Vec<u32>,
    pub shared: Shared,
}

/// The labels as classes, where each is one and none is to be ignored: what most batches are like, without a branch a row.
fn every_one_a_class<L: Copy + Into<i64>>(loss: &Descriptor, labels: &[L]) -> Option<Vec<u32>> {
    // A negative label is more than any class, once it has no sign.
    let unsigned = |label: &L| -> u64 { (*label).into() as u64 };
    let fits = |all: bool, label: &L| all & (unsigned(label) < loss.classes as u64);
    let all = loss.ignore_index.is_none() && labels.iter().fold(true, fits);
    all.then(|| labels.iter().map(|label| unsigned(label) as u32).collect())
}

pub(super) fn resolve<T>(loss: &Descriptor, inputs: &Inputs<'_, T>) -> Result<Resolved, BatchError> {
    let class = |row: usize| {
        let label = inputs.labels.at(row);
        if Some(label) == loss.ignore_index {
            return Ok(IGNORED);
        }
        match u32::try_from(label) {
            Ok(class) if (class as usize) < loss.classes => Ok(class),
            _ if loss.check_labels => Ok(INVALID),
            _ => Err(BatchError(format!(
                "row {row}: the label is {label}, and the classes are 0 to {}",
                loss.classes - 1
            ))),
        }
    };
    let usual = match inputs.labels {
        Labels::I32(labels) => every_one_a_class(loss, labels),
        Labels::I64(labels) => every_one_a_class(loss, labels),
    };
    let classes = match usual {
        Some(classes) => classes,
        None => (0..inputs.rows).map(class).collect::<Result<Vec<u32>, _>>()?,
    };
    let counted = classes.iter().filter(|class| **class != IGNORED);
    let weight = |class: &u32| match (*class, &inputs.class_weights) {
        (INVALID, _) => f64::NAN,
        (class, Some(weights)) => weights.at(class as usize),
        (_, None) => 1.0,
    };
    let weight_sum = if loss.reads(Read::WeightSum) { counted.clone().map(weight).sum() } else { 0.0 };
    let shared = Shared { count: counted.count() as f64, weight_sum, parameters: inputs.parameters.clone() };
    Ok(Resolved { classes, shared })
}
