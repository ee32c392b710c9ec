//! How often a classifier is right, class by class.

use serde::Serialize;

use super::data::Dataset;
use crate::runtime::{RuntimeError, Session};
use crate::tensor::Tensor;

/// Samples of a class, and how many of them were recognised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Recognised {
    /// Samples whose largest logit is their label's.
    pub correct: usize,
    /// All samples.
    pub samples: usize,
}

/// Accuracy by class.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Accuracy {
    /// In the order of the class indices.
    pub classes: Vec<Recognised>,
}

impl Recognised {
    /// Share of the samples; `None` for a class without any.
    pub fn share(&self) -> Option<f64> {
        (self.samples > 0).then(|| self.correct as f64 / self.samples as f64)
    }
}

impl Accuracy {
    /// Share of all samples.
    pub fn overall(&self) -> f64 {
        let total = self.classes.iter().fold(Recognised::default(), |all, class| Recognised {
            correct: all.correct + class.correct,
            samples: all.samples + class.samples,
        });
        total.share().unwrap_or(f64::NAN)
    }

    /// Mean of the classes' shares, over the classes that have samples.
    pub fn balanced(&self) -> f64 {
        let shares: Vec<f64> = self.classes.iter().filter_map(Recognised::share).collect();
        shares.iter().sum::<f64>() / shares.len() as f64
    }

    /// Counts a sample whose label is one of the logits.
    fn count(&mut self, label: usize, logits: &[f64]) {
        self.classes.resize(self.classes.len().max(logits.len()), Recognised::default());
        self.classes[label].samples += 1;
        // A tie or a NaN is no recognition.
        let own = logits.get(label).copied().unwrap_or(f64::NAN);
        let beaten = logits.iter().enumerate().all(|(class, logit)| class == label || *logit < own);
        self.classes[label].correct += usize::from(beaten && !own.is_nan());
    }
}

/// Runs a model on all of `data`, `batch` samples at a time, and compares the largest of its output `logits` `[N, C]` with
/// the labels. Samples that [`Dataset::class`] knows no class of are left out. `more` are further
/// inputs, the same for every batch; the labels are given to a model that `takes_labels`. A batch that is not full is filled
/// up with other samples.
///
/// # Errors
/// Those of [`Session::run`], an output that is not `[N, C]`, and a label beyond its classes.
pub fn accuracy(
    session: &mut dyn Session,
    data: &Dataset,
    batch: usize,
    logits: &str,
    more: &[(String, Tensor)],
    takes_labels: bool,
) -> Result<Accuracy, RuntimeError> {
    let mut accuracy = Accuracy::default();
    let batch = batch.max(1);
    for start in (0..data.len()).step_by(batch) {
        let rows: Vec<usize> = (start..start + batch).map(|row| row % data.len()).collect();
        let mut inputs = data.batch(&rows);
        inputs.retain(|(name, _)| takes_labels || *name != data.labels_name());
        for (_, labels) in inputs.iter_mut().filter(|(name, _)| *name == data.labels_name()) {
            // The logits do not depend on them, and an engine may refuse those that are no class.
            *labels = Tensor::zeros(labels.dtype(), labels.shape().to_vec())
                .map_err(|e| unusable(e.to_string()))?;
        }
        let mut views: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (*name, tensor)).collect();
        views.extend(more.iter().map(|(name, tensor)| (name.as_str(), tensor)));
        let output = session.run(&views, &[logits])?.swap_remove(0);
        let classes = match output.shape() {
            [rows, classes] if *rows == batch && *classes > 0 => *classes,
            shape => {
                return Err(unusable(format!(
                    "`{logits}` has shape {shape:?} for {batch} samples; [N, C] was expected"
                )));
            }
        };
        let values = output.to_f64_vec();
        let (name, fresh) = (logits, rows.iter().zip(values.chunks(classes)).take(data.len() - start));
        for (row, logits) in fresh {
            match data.class(*row) {
                Some(class) if class >= classes => {
                    return Err(unusable(format!(
                        "row {row} has label {class}, but `{name}` has {classes} classes"
                    )));
                }
                Some(class) => accuracy.count(class, logits),
                None => {}
            }
        }
    }
    Ok(accuracy)
}

fn unusable(message: String) -> RuntimeError {
    RuntimeError::Run { engine: "ibgraph", message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_and_nan_are_not_recognised() {
        let mut accuracy = Accuracy::default();
        for (label, logits) in [
            (0, [2.0, 1.0, 0.0]),
            (0, [2.0, 2.0, 0.0]),
            (1, [0.0, f64::NAN, 0.0]),
            (1, [f64::NAN, 3.0, 0.0]),
            (1, [-1.0, 3.0, f64::NEG_INFINITY]),
        ] {
            accuracy.count(label, &logits);
        }
        assert_eq!(accuracy.classes[0], Recognised { correct: 1, samples: 2 });
        assert_eq!(accuracy.classes[1], Recognised { correct: 1, samples: 3 });
        assert_eq!(accuracy.classes[2].share(), None);
        assert_eq!(accuracy.overall(), 0.4);
        assert!((accuracy.balanced() - (0.5 + 1.0 / 3.0) / 2.0).abs() < 1e-15);
    }
}
