//! What a training step must compute, and how far an arm may be off.

use std::path::Path;

use crate::bench::entrant::Checked;
use crate::bench::results::Numerics;
use crate::onnx;
use crate::tensor::Tensor;

/// A loss is a mean of float32 numbers over steps that carry on each other's rounding; PyTorch in float32 keeps within
/// 4e-6 of the reference (`tests/data/classifiers/README.md`), and another order of summation has room here.
const LOSSES: f64 = 1e-4;
/// A gradient may be off by this share of itself …
const GRADIENT: f64 = 1e-4;
/// … and by this share of all gradients together: some are zero in the reference, where float32 leaves 5e-8 of the
/// total (the same document).
const FLOOR: f64 = 2e-7;
/// Logits are a forward pass of float32 numbers away from the reference: two digits worse than one rounding, each of
/// some fifty layers adding its own.
const LOGITS: f64 = 1e-5;

/// The batch beside a classifier, and what came out of it in float64.
pub struct Reference {
    /// The classifier's input.
    pub x: Tensor,
    /// int64 `[N]`
    pub labels: Tensor,
    loss: f64,
    logits: Vec<f64>,
    /// By the names `{parameter}_grad`.
    gradients: Vec<(String, Vec<f64>)>,
}

impl Reference {
    /// Reads `test_data_set_0` in the directory of a classifier.
    ///
    /// # Errors
    /// What is missing or does not read.
    pub fn read(classifier: &Path) -> Result<Self, String> {
        let directory = classifier.with_file_name("test_data_set_0");
        let tensor = |file: &str| -> Result<(String, Tensor), String> {
            let path = directory.join(file);
            let at = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            let bytes = std::fs::read(&path).map_err(|error| at(&error))?;
            onnx::tensor(&bytes).map_err(|error| at(&error))
        };
        let gradients = (2..)
            .map(|number| format!("output_{number}.pb"))
            .take_while(|file| directory.join(file).is_file())
            .map(|file| tensor(&file).map(|(name, tensor)| (name, tensor.to_f64_vec())));
        let loss = tensor("output_0.pb")?.1.to_f64_vec();
        Ok(Self {
            gradients: gradients.collect::<Result<_, _>>()?,
            x: tensor("input_0.pb")?.1,
            labels: tensor("input_1.pb")?.1,
            loss: *loss.first().ok_or_else(|| format!("{}: no loss", directory.display()))?,
            logits: tensor("output_1.pb")?.1.to_f64_vec(),
        })
    }

    /// Rows of the batch.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// Compares logits.
    pub fn check_logits(&self, got: &Tensor) -> Checked {
        let classes = self.logits.len() / self.rows().max(1);
        let got = got.to_f64_vec();
        let worst = match got.len() == self.logits.len() {
            true => {
                let rows = got.chunks(classes.max(1)).zip(self.logits.chunks(classes.max(1)));
                rows.map(|(got, want)| distance(got, want) / norm(want)).fold(0.0, worse)
            }
            false => f64::INFINITY,
        };
        self.verdict(None, Some(worst), LOGITS, &format!("a row of the logits is {worst:.1e} off"))
    }

    /// Compares the loss of the batch.
    pub fn check_loss(&self, got: f64) -> Checked {
        self.check_losses(&[got], &[self.loss])
    }

    /// Compares the losses before steps of an optimizer; each but the first depends on the updates before it.
    pub fn check_losses(&self, got: &[f64], want: &[f64]) -> Checked {
        let off = match got.len() == want.len() {
            true => got.iter().zip(want).map(|(got, want)| (got / want - 1.0).abs()).fold(0.0, worse),
            false => f64::INFINITY,
        };
        self.verdict(Some(off), None, LOSSES, &format!("a loss of {} steps is {off:.1e} off", want.len()))
    }

    /// Compares the loss and the gradients, by the names `{parameter}_grad`.
    pub fn check_gradients(&self, loss: f64, got: &[(String, Tensor)]) -> Checked {
        let all = norm(&self.gradients.iter().map(|(_, want)| norm(want)).collect::<Vec<_>>());
        let mut worst = (0.0, String::new());
        for (name, want) in &self.gradients {
            let found = got.iter().find(|(known, _)| known == name).map(|(_, tensor)| tensor.to_f64_vec());
            let off = match found {
                Some(found) if found.len() == want.len() => {
                    distance(&found, want) / (norm(want) + FLOOR / GRADIENT * all)
                }
                _ => f64::INFINITY,
            };
            if worse(worst.0, off) > worst.0 || off.is_nan() {
                worst = (off, name.clone());
            }
        }
        let loss = self.check_loss(loss).map_err(|(_, problem)| problem);
        let of_loss = loss.as_ref().ok().and_then(|numerics| numerics.loss);
        let (off, name) = worst;
        let checked = self.verdict(of_loss, Some(off), GRADIENT, &format!("{name} is {off:.1e} off"));
        match (loss, checked) {
            (Err(problem), Ok(numerics)) => Err((numerics, problem)),
            (_, checked) => checked,
        }
    }

    fn verdict(&self, loss: Option<f64>, worst_row: Option<f64>, allowed: f64, problem: &str) -> Checked {
        // JSON has no infinity; what is not finite is off by all that a number can say.
        let finite = |value: Option<f64>| value.map(|value| value.min(f64::MAX));
        let off = loss.into_iter().chain(worst_row).any(|off| off.is_nan() || off > allowed);
        let numerics = Numerics {
            loss: finite(loss),
            worst_row: finite(worst_row),
            tolerance: allowed,
            rows: self.rows(),
        };
        if off { Err((numerics, format!("{problem} ({allowed:.1e} allowed)"))) } else { Ok(numerics) }
    }
}

/// The larger error; NaN is the largest.
fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    norm(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>())
}
