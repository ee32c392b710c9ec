//! How a run is asked for.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{FitError, Position, classes};
use crate::train::data::Dataset;
use crate::train::manifest::{Extent, InputRole, Manifest};

/// What determines a run, beside the graph, the data and the engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Passes over the data.
    pub epochs: usize,
    /// Samples a batch.
    pub batch: usize,
    /// Learning rate before the schedule.
    pub learning_rate: f64,
    /// Learning rate over the run.
    pub schedule: Schedule,
    /// Updates over which the learning rate rises from 0.
    pub warmup: u64,
    /// Seed of the order of the samples, and of what the graph draws (see [`crate::train::chance`]).
    pub seed: u64,
    /// Epochs of plain cross entropy without class weights, before the loss itself.
    pub first_phase: usize,
    /// Class weights of the second phase, for a graph that takes them at run time.
    pub class_weights: Option<Vec<f64>>,
    /// Parameters of the loss that the graph takes at run time.
    pub loss_parameters: IndexMap<String, f64>,
    /// First factor of the loss.
    pub loss_scale: f64,
}

/// The learning rate over a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Always the same.
    Constant,
    /// Half a cosine, to 0 at the end (Loshchilov and Hutter, ICLR 2017, without restarts).
    Cosine,
    /// Multiplied by `factor` at the start of each of `epochs`, from 0.
    Drops {
        /// Epochs.
        epochs: Vec<usize>,
        /// Factor.
        factor: f64,
    },
}

impl Settings {
    pub(super) fn check(&self, manifest: &Manifest, data: &Dataset) -> Result<(), FitError> {
        let fail = |message: String| Err(FitError::Settings(message));
        if self.batch == 0 || self.batch > data.len() {
            let (batch, samples) = (self.batch, data.len());
            return fail(format!(
                "a batch of {batch} from {samples} samples is not possible; give --batch a number from 1 to {samples}"
            ));
        }
        if let Some(fixed) = fixed_batch(manifest).filter(|fixed| *fixed != self.batch) {
            return fail(format!("the graph takes batches of {fixed} only; give --batch {fixed}"));
        }
        if !(self.learning_rate >= 0.0 && self.learning_rate.is_finite()) {
            return fail(format!(
                "the learning rate is {}; give --lr a finite number that is not negative",
                self.learning_rate
            ));
        }
        if !(self.loss_scale > 0.0 && self.loss_scale.is_finite()) {
            return fail(format!("the loss scale is {}; give a finite number above 0", self.loss_scale));
        }
        if let Schedule::Drops { factor, .. } = &self.schedule
            && !(*factor >= 0.0 && factor.is_finite())
        {
            return fail(format!(
                "the learning rate drops by the factor {factor}; give --lr-drop-factor a finite number that is not negative"
            ));
        }
        if self.first_phase > 0 {
            let enabled = manifest.input(InputRole::Enabled).is_some();
            if !enabled && manifest.input(InputRole::ClassWeights).is_none() {
                return fail(
                    "a first phase needs a step made with --runtime-input enabled (or class_weights)"
                        .to_owned(),
                );
            }
        }
        self.check_loss_inputs(manifest)
    }

    fn check_loss_inputs(&self, manifest: &Manifest) -> Result<(), FitError> {
        let fail = |message: String| Err(FitError::Settings(message));
        if let Some(weights) = &self.class_weights {
            let Some(input) = manifest.input(InputRole::ClassWeights) else {
                return fail(
                    "class weights at run time need a step made with --runtime-input class_weights"
                        .to_owned(),
                );
            };
            if classes(input).is_some_and(|classes| classes != weights.len()) {
                return fail(format!("{} class weights do not fit {:?}", weights.len(), input.port.shape));
            }
        }
        let takes = |name: &String| {
            manifest.inputs.iter().any(|i| i.role == InputRole::LossParameter && i.port.name == *name)
        };
        match self.loss_parameters.keys().find(|name| !takes(name)) {
            Some(name) => {
                fail(format!("the step has no input `{name}`; make it with --runtime-input {name}"))
            }
            None => Ok(()),
        }
    }

    /// The learning rate of the next update, of `total`.
    pub(super) fn rate(&self, position: &Position, total: u64) -> f64 {
        let scheduled = match &self.schedule {
            Schedule::Constant => self.learning_rate,
            Schedule::Cosine => {
                let share = (position.updates as f64 / total.max(1) as f64).min(1.0);
                self.learning_rate * (1.0 + (std::f64::consts::PI * share).cos()) / 2.0
            }
            Schedule::Drops { epochs, factor } => {
                let drops = epochs.iter().filter(|epoch| **epoch <= position.epoch).count();
                self.learning_rate * factor.powi(drops as i32)
            }
        };
        let warm = (position.updates + 1) as f64 / self.warmup.max(1) as f64;
        scheduled * warm.min(1.0)
    }

    /// What keeps a run with `other` from going on as one with `self`, by its option. More epochs are the same run,
    /// unless the learning rate depends on their number.
    pub(super) fn difference(&self, other: &Settings) -> Option<&'static str> {
        let pairs = [
            ("--epochs", self.schedule == Schedule::Cosine && self.epochs != other.epochs),
            ("--batch", self.batch != other.batch),
            ("--lr", self.learning_rate != other.learning_rate),
            ("learning rate schedule", self.schedule != other.schedule),
            ("--warmup", self.warmup != other.warmup),
            ("--seed", self.seed != other.seed),
            ("--first-phase", self.first_phase != other.first_phase),
            ("--class-weights", self.class_weights != other.class_weights),
            ("--set", self.loss_parameters != other.loss_parameters),
            ("--loss-scale", self.loss_scale != other.loss_scale),
        ];
        pairs.into_iter().find(|(_, differs)| *differs).map(|(name, _)| name)
    }
}

/// The only batch size that the graph takes; `None` where it takes any.
pub(super) fn fixed_batch(manifest: &Manifest) -> Option<usize> {
    let data = manifest.inputs.iter().filter(|i| matches!(i.role, InputRole::Data | InputRole::Labels));
    data.filter_map(|input| match input.port.shape.first() {
        Some(Extent::Fixed(batch)) => Some(*batch),
        _ => None,
    })
    .next()
}
