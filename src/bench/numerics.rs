//! Whether the numbers of an arm are right, before its times count.
//!
//! The reference evaluates the first rows of the batch, all of them where it is small enough; a row of a gradient depends
//! on the rest of the batch by the divisor of the mean only, so rows are compared with the reference of those rows,
//! scaled.

use super::results::Numerics;
use crate::check::{Case, Tolerance, compare, tolerance};
use crate::loss::reference::{Evaluation, evaluate};
use crate::loss::{Loss, Reduction};
use crate::runtime::EngineInfo;
use crate::tensor::{DType, Tensor};

/// Most logits that the reference evaluates for a cell.
pub(super) const MOST_LOGITS: usize = 1 << 23;

/// Roundings between the logits and a gradient of the formula as published, each relative to numbers of the
/// size of a cross entropy (about 10): softmax, its sum over the classes, `1 - p`, the two terms of the backward.
const PUBLISHED_ROUNDINGS: f64 = 64.0;

/// Independent running sums that an engine keeps of a sum over the classes: two registers of eight float32 numbers, as AVX2
/// has them. A sum of C terms in b of them makes about C/b roundings that build on each other (blocked summation: Blanchard,
/// Higham and Mary, *A Class of Fast and Accurate Summation Algorithms*, SIAM J. Sci. Comput. 42, 2020).
const LANES: f64 = 16.0;
/// λ of the bound λ√n·u on n roundings of independent signs, which fails with a probability of 2·exp(-λ²/2) at the most
/// (Higham and Mary, *A New Approach to Probabilistic Rounding Error Analysis*, SIAM J. Sci. Comput. 41, 2019). That takes
/// every rounding as large as it can be; uniform ones are √3 smaller, so λ = 4 is as good as 6.9: once in 1e10 sums. The
/// bound that holds without probability is n·u, which at C = 100000 would let a wrong digit through.
const CONFIDENCE: f64 = 4.0;

/// What the outputs of a cell should be.
pub struct Expected {
    rows: usize,
    complete: bool,
    evaluation: Evaluation,
    /// What a gradient of those rows alone is multiplied with.
    scale: f64,
    smallest_q: f64,
}

impl Expected {
    /// Evaluates the reference of a batch of [`data`](super::data).
    ///
    /// # Errors
    /// A message when the reference cannot evaluate it.
    pub fn of(loss: &Loss, case: &Case) -> Result<Self, String> {
        Self::of_rows(loss, case, (MOST_LOGITS / loss.interface().classes).max(1))
    }

    /// The same for so many of the first rows, at the most.
    fn of_rows(loss: &Loss, case: &Case, most: usize) -> Result<Self, String> {
        let classes = loss.interface().classes;
        let mut batch = case.batch(loss);
        let all = batch.labels.len();
        let rows = most.min(all);
        let width = batch.features.len() / all.max(1);
        let scale = divisor(loss, &batch.labels[..rows]) / divisor(loss, &batch.labels);
        batch.labels.truncate(rows);
        batch.logits.truncate(rows * classes);
        batch.features.truncate(rows * width);
        let smallest_q = smallest_q(&batch.logits, &batch.labels, classes);
        let evaluation = evaluate(loss, &batch).map_err(|error| error.to_string())?;
        Ok(Self { rows, complete: rows == all, evaluation, scale, smallest_q })
    }

    /// The tolerance of graphs in the margin form on this engine.
    pub fn margin_form(&self, loss: &Loss, engine: &EngineInfo) -> Tolerance {
        tolerance(engine, loss.interface().scalar_dtype(), loss.interface().dtype)
    }

    /// The tolerance of the formula as published, in the arithmetic of the loss: 1 - p costs it the digits that p and 1
    /// share, so it is off by its roundings divided by the smallest 1 - p of the batch. The softmax's sum over C classes adds
    /// λ√(C/b) roundings in b running sums. (Measured for ib op by op on ONNX Runtime, with AVX-512: 7, 25 and 79 roundings
    /// in the worst row at C = 1000, 10000 and 100000, where 96, 164 and 380 are allowed.)
    pub fn as_published(&self, loss: &Loss) -> Tolerance {
        let unit = match loss.interface().dtype {
            DType::F64 => 2f64.powi(-53),
            DType::F16 => 2f64.powi(-11),
            DType::BF16 => 2f64.powi(-8),
            _ => 2f64.powi(-24),
        };
        let roundings = PUBLISHED_ROUNDINGS + CONFIDENCE * (loss.interface().classes as f64 / LANES).sqrt();
        let allowed = roundings * unit / self.smallest_q.min(1.0);
        Tolerance { whole: allowed, row: allowed, cancelled: 1.0 }
    }

    /// Compares the outputs of an arm, by name, with what they should be.
    ///
    /// # Errors
    /// What is off, with the figures.
    pub fn check(
        &self,
        outputs: &[(String, Tensor)],
        allowed: Tolerance,
    ) -> Result<Numerics, (Numerics, String)> {
        let mut found = Numerics { loss: None, worst_row: None, tolerance: allowed.row, rows: self.rows };
        let mut problems = Vec::new();
        for (name, got) in outputs {
            let Some(want) = self.evaluation.output(name) else {
                problems.push(format!("no reference for the output `{name}`"));
                continue;
            };
            if name.ends_with("_grad") {
                let deviation = self.gradient(name, got, want, allowed);
                // JSON has no infinity; what is not finite is off by all that a number can say.
                let shown = deviation.min(f64::MAX);
                found.worst_row = Some(found.worst_row.map_or(shown, |worst| worst.max(shown)));
                if deviation.is_nan() || deviation > allowed.row {
                    problems.push(format!(
                        "a row of {name} is {deviation:.1e} off ({:.1e} allowed)",
                        allowed.row
                    ));
                }
            } else if self.complete {
                let deviation = compare(&got.to_f64_vec(), want, 1, None, got.dtype()).whole;
                found.loss = Some(deviation);
                if deviation.is_nan() || deviation > allowed.whole {
                    problems.push(format!("{name} is {deviation:.1e} off ({:.1e} allowed)", allowed.whole));
                }
            }
        }
        if outputs.is_empty() {
            problems.push("there are no outputs".to_owned());
        }
        found.loss = found.loss.map(|loss| loss.min(f64::MAX));
        if problems.is_empty() { Ok(found) } else { Err((found, problems.join("; "))) }
    }

    fn gradient(&self, name: &str, got: &Tensor, want: &[f64], allowed: Tolerance) -> f64 {
        let width = want.len() / self.rows.max(1);
        if got.shape().first().is_none_or(|rows| *rows < self.rows) || !got.len().is_multiple_of(width.max(1))
        {
            return f64::INFINITY;
        }
        let want: Vec<f64> = want.iter().map(|value| value * self.scale).collect();
        let mut floors = self.evaluation.row_floors(name, allowed.cancelled).unwrap_or_default();
        floors.iter_mut().for_each(|floor| *floor *= self.scale);
        let got = got.to_f64_vec();
        compare(&got[..want.len().min(got.len())], &want, width, Some(&floors), DType::F32).row
    }
}

/// What the sum over these rows is divided by.
fn divisor(loss: &Loss, labels: &[i64]) -> f64 {
    let weight = |label: &i64| {
        let weights = loss.class_weights().zip(usize::try_from(*label).ok());
        weights.and_then(|(weights, label)| weights.get(label).copied()).unwrap_or(1.0)
    };
    match loss.interface().reduction {
        Reduction::Mean => labels.len() as f64,
        Reduction::WeightedMean => labels.iter().map(weight).sum(),
        Reduction::Sum | Reduction::None => 1.0,
    }
}

/// Smallest 1 - p of the label over the rows.
fn smallest_q(logits: &[f64], labels: &[i64], classes: usize) -> f64 {
    let of_row = |(row, label): (&[f64], &i64)| {
        let label = usize::try_from(*label).unwrap_or(0).min(row.len() - 1);
        let margin = row.iter().enumerate().filter(|(j, _)| *j != label).map(|(_, z)| (z - row[label]).exp());
        let odds: f64 = margin.sum();
        odds / (1.0 + odds)
    };
    logits.chunks(classes).zip(labels).map(of_row).fold(1.0, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Plan, data};
    use crate::tensor::TensorData;

    const PLAN: &str =
        "{name: t, losses: [ib], rows: [6], classes: [7], features: [5], lowerings: [portable]}";

    /// The outputs of the reference, in float32.
    fn right(expected: &Expected, loss: &Loss) -> Vec<(String, Tensor)> {
        let output = |name: &String| {
            let values = expected.evaluation.output(name).unwrap();
            let shape = if name == "loss" { vec![] } else { vec![6, values.len() / 6] };
            (name.clone(), Tensor::new(shape, TensorData::F64(values.to_vec())).unwrap().cast(DType::F32))
        };
        loss.interface().outputs.iter().map(output).collect()
    }

    fn problem(change: impl FnOnce(&mut Vec<(String, Tensor)>)) -> Option<String> {
        let plan = Plan::from_yaml("plan", PLAN).unwrap();
        let loss = data::loss(&plan.cells[0]).unwrap();
        let expected = Expected::of(&loss, &data::batch(&plan.cells[0], &loss, 0)).unwrap();
        let mut outputs = right(&expected, &loss);
        change(&mut outputs);
        expected
            .check(&outputs, crate::check::Tolerance { whole: 1e-6, row: 2e-6, cancelled: 1e-8 })
            .err()
            .map(|e| e.1)
    }

    /// Multiplies one value of an output.
    fn scale(outputs: &mut [(String, Tensor)], output: usize, at: usize, factor: f64) {
        let mut values = outputs[output].1.to_f64_vec();
        values[at] *= factor;
        let shape = outputs[output].1.shape().to_vec();
        outputs[output].1 = Tensor::new(shape, TensorData::F64(values)).unwrap().cast(DType::F32);
    }

    #[test]
    fn numbers_that_are_right_pass_and_one_that_is_off_does_not() {
        assert_eq!(problem(|_| ()), None);
        assert!(problem(|o| scale(o, 0, 0, 1.001)).unwrap().contains("loss is 1.0e-3 off"));
        assert!(problem(|o| scale(o, 1, 17, 1.01)).unwrap().contains("a row of logits_grad"));
        assert!(problem(|o| scale(o, 2, 3, f64::NAN)).unwrap().contains("a row of features_grad"));
        assert!(problem(|o| o[1].1 = Tensor::scalar_f32(1.0)).unwrap().contains("a row of logits_grad"));
        assert!(problem(Vec::clear).unwrap().contains("there are no outputs"));
    }

    #[test]
    fn rows_of_a_large_batch_are_compared_by_what_the_whole_batch_divides_by() {
        let plan = Plan::from_yaml("plan", PLAN).unwrap();
        let loss = data::loss(&plan.cells[0]).unwrap();
        let case = data::batch(&plan.cells[0], &loss, 0);
        let whole = evaluate(&loss, &case.batch(&loss)).unwrap();
        let part = Expected::of_rows(&loss, &case, 2).unwrap();
        let gradient = Tensor::new(vec![6, 7], TensorData::F64(whole.logits_grad)).unwrap();
        let tolerance = crate::check::Tolerance { whole: 1e-12, row: 1e-12, cancelled: 1e-8 };
        let found = part.check(&[("logits_grad".to_owned(), gradient)], tolerance).unwrap();
        assert_eq!((found.rows, found.loss), (2, None));
    }
}
