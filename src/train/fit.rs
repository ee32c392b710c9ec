//! The training loop: mini-batches through a training step, with what it carries on the device.
//!
//! A run is determined by its settings, its data and where it stands; so one that was interrupted, or is resumed from a
//! [`State`], goes on as if nothing had happened, bit for bit (with the same program, engine and number of threads; what
//! the graph itself draws, [`super::chance`] decides).

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::data::Dataset;
use super::manifest::{Extent, Input, InputRole, Kind, Manifest, OutputRole};
use super::state::{State, StateError};
use crate::runtime::{CarriedValue, Iteration, RuntimeError, Session};
use crate::tensor::{DType, Tensor, TensorData};

mod position;
mod settings;

pub use position::Position;
pub use settings::{Schedule, Settings};

/// A run's description in a state file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Run {
    settings: Settings,
    position: Position,
    /// Samples that it is trained on.
    samples: usize,
}

/// A run that cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// The graph is no training step.
    #[error("{0}")]
    Graph(String),
    /// Settings that do not fit the graph or the data.
    #[error("{0}")]
    Settings(String),
    /// A state of another graph.
    #[error(transparent)]
    State(#[from] StateError),
    /// The engine failed.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The loss is no number any more.
    #[error(
        "the loss is {loss} at epoch {epoch}, batch {batch}: the run diverged; try a lower --lr, --warmup, or --clip-norm \
         when the step is made"
    )]
    Diverged {
        /// The loss.
        loss: f32,
        /// Epoch, from 1.
        epoch: usize,
        /// Batch of it, from 1.
        batch: usize,
    },
}

/// What one batch gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Batch {
    /// The mean loss before the step, or as the loss reduces.
    pub loss: f32,
    /// Whether the step was left out, because a gradient was not finite.
    pub skipped: bool,
}

/// A run of the training loop.
pub struct Fit<'a> {
    manifest: &'a Manifest,
    data: &'a Dataset,
    settings: &'a Settings,
    iteration: Box<dyn Iteration + 'a>,
    position: Position,
    losses: Vec<f32>,
    classifier: Option<Vec<String>>,
    /// Order of the samples in this epoch.
    order: Vec<usize>,
    outputs: Vec<OutputRole>,
}

impl<'a> Fit<'a> {
    /// Readies a run from `state`: one that goes on if the state says where it stands, else a new one.
    ///
    /// # Errors
    /// A graph that is no training step, settings that do not fit it, a state of another graph or another run.
    pub fn new(
        session: &'a mut dyn Session,
        manifest: &'a Manifest,
        data: &'a Dataset,
        settings: &'a Settings,
        state: State,
    ) -> Result<Self, FitError> {
        if manifest.kind != Kind::TrainStep {
            return Err(FitError::Graph(
                "this graph is no training step; make one with `ibgraph graft --emit train-step`".to_owned(),
            ));
        }
        settings.check(manifest, data)?;
        state.check(manifest)?;
        let position = match &state.run {
            Some(run) => resumed(run, settings, data)?,
            None => Position::start(settings),
        };
        let roles = [OutputRole::Loss, OutputRole::GradientsFinite];
        let wanted: Vec<_> = roles.iter().filter_map(|role| manifest.output(*role)).collect();
        let names: Vec<&str> = wanted.iter().map(|output| output.port.name.as_str()).collect();
        let outputs = wanted.iter().map(|output| output.role).collect();
        let State { mut values, classifier, losses, .. } = state;
        let carried = manifest.carried.iter().map(|carried| CarriedValue {
            input: carried.port.name.clone(),
            next: carried.next.clone(),
            value: values.swap_remove(&carried.port.name).expect("checked above"),
        });
        let iteration = session.iterate(carried.collect(), &names)?;
        let order = data.order(settings.seed, position.epoch);
        Ok(Self { manifest, data, settings, iteration, position, losses, classifier, order, outputs })
    }

    /// Where the run stands.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Losses of all batches so far.
    pub fn losses(&self) -> &[f32] {
        &self.losses
    }

    /// Batches of an epoch.
    pub fn batches(&self) -> usize {
        batches(self.manifest, self.settings, self.data)
    }

    /// Whether all epochs are done.
    pub fn is_done(&self) -> bool {
        self.position.epoch >= self.settings.epochs
    }

    /// Runs one batch.
    ///
    /// # Errors
    /// An engine that fails, a loss that is NaN or infinite where no loss scale explains it.
    pub fn step(&mut self) -> Result<Batch, FitError> {
        let size = self.settings.batch;
        let start = self.position.batch * size;
        let rows = &self.order[start..self.order.len().min(start + size)];
        let mut inputs = self.data.batch(rows);
        let applies = self.applies();
        inputs.extend(self.controls(applies)?);
        let views: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (*name, tensor)).collect();
        let results = self.iteration.run(&views)?;
        let result = |role| {
            let at = self.outputs.iter().position(|output| *output == role)?;
            results.get(at)?.to_f64_vec().first().copied()
        };
        let loss = result(OutputRole::Loss).unwrap_or(f64::NAN) as f32;
        let finite = result(OutputRole::GradientsFinite).map(|finite| finite != 0.0);
        if !loss.is_finite() && finite.is_none() {
            let Position { epoch, batch, .. } = self.position;
            return Err(FitError::Diverged { loss, epoch: epoch + 1, batch: batch + 1 });
        }
        self.losses.push(loss);
        self.advance(applies, finite);
        Ok(Batch { loss, skipped: applies && finite == Some(false) })
    }

    /// Everything that the next run needs, and where the run stands.
    ///
    /// # Errors
    /// Values that cannot be copied off the device.
    pub fn state(&mut self) -> Result<State, FitError> {
        let names = self.manifest.carried.iter().map(|carried| carried.port.name.clone());
        let values: IndexMap<String, Tensor> = names.zip(self.iteration.carried()?).collect();
        let run = Run {
            settings: self.settings.clone(),
            position: self.position.clone(),
            samples: self.data.len(),
        };
        let run = serde_json::to_value(run).map_err(StateError::Json)?;
        let (classifier, losses) = (self.classifier.clone(), self.losses.clone());
        Ok(State { values, classifier, run: Some(run), losses })
    }

    /// Batches a step.
    fn micro(&self) -> u64 {
        u64::from(self.manifest.recipe.as_ref().and_then(|recipe| recipe.accumulate).unwrap_or(1))
    }

    /// Whether the next batch ends a step.
    fn applies(&self) -> bool {
        (self.position.runs + 1).is_multiple_of(self.micro())
    }

    /// The inputs that are not data.
    fn controls(&self, applies: bool) -> Result<Vec<(&'a str, Tensor)>, FitError> {
        let total = self.batches() as u64 * self.settings.epochs as u64 / self.micro();
        let rate = self.settings.rate(&self.position, total);
        let second_phase = self.position.epoch >= self.settings.first_phase;
        let mut controls = Vec::new();
        for input in &self.manifest.inputs {
            let value = match input.role {
                InputRole::Data | InputRole::Labels => continue,
                InputRole::LearningRate => scalar(input, rate),
                InputRole::LossScale => scalar(input, self.position.loss_scale),
                InputRole::Step => scalar(input, (self.position.updates + 1) as f64),
                InputRole::Apply => Tensor::scalar_bool(applies),
                InputRole::Enabled => Tensor::scalar_bool(second_phase),
                InputRole::ClassWeights => self.class_weights(input, second_phase)?,
                InputRole::LossParameter => {
                    let given = self.settings.loss_parameters.get(&input.port.name).copied();
                    scalar(input, given.or(input.default).unwrap_or(0.0))
                }
                InputRole::Gradient => {
                    return Err(FitError::Graph(format!(
                        "the graph takes the gradient `{}`",
                        input.port.name
                    )));
                }
            };
            controls.push((input.port.name.as_str(), value));
        }
        Ok(controls)
    }

    /// The weights of the second phase; ones in the first, and where none are given.
    fn class_weights(&self, input: &Input, second_phase: bool) -> Result<Tensor, FitError> {
        let classes =
            classes(input).ok_or_else(|| FitError::Graph("the number of classes is open".into()))?;
        let weights = self.settings.class_weights.as_ref().filter(|_| second_phase);
        let weights = weights.cloned().unwrap_or_else(|| vec![1.0; classes]);
        let tensor = Tensor::new(vec![classes], TensorData::F64(weights));
        let tensor = tensor.map_err(|error| FitError::Settings(format!("class weights: {error}")))?;
        Ok(tensor.cast(input.port.dtype))
    }

    fn advance(&mut self, applies: bool, finite: Option<bool>) {
        let position = &mut self.position;
        position.runs += 1;
        position.batch += 1;
        if applies {
            position.updates += u64::from(finite != Some(false));
            position.rescale(finite);
        }
        if self.position.batch >= self.batches() {
            self.position.batch = 0;
            self.position.epoch += 1;
            self.order = self.data.order(self.settings.seed, self.position.epoch);
        }
    }
}

/// Batches that the run of a state has done; 0 for a state without a run.
///
/// # Errors
/// A damaged description of the run.
pub fn batches_done(state: &State) -> Result<u64, FitError> {
    let Some(run) = &state.run else { return Ok(0) };
    let run: Run = serde_json::from_value(run.clone()).map_err(StateError::Json)?;
    Ok(run.position.runs)
}

/// Number of classes, by the shape of the class weights.
fn classes(input: &Input) -> Option<usize> {
    match input.port.shape.first()? {
        Extent::Fixed(classes) => Some(*classes),
        Extent::Symbol(_) => None,
    }
}

fn scalar(input: &Input, value: f64) -> Tensor {
    let tensor = Tensor::new(vec![], TensorData::F64(vec![value])).expect("a scalar has one element");
    // Whole numbers below 2^53 are exact in float64.
    let through = if input.port.dtype == DType::Bool { DType::F64 } else { input.port.dtype };
    tensor.cast(through).cast(input.port.dtype)
}

/// Batches of an epoch. A last one that is not full counts where the graph takes batches of any size.
fn batches(manifest: &Manifest, settings: &Settings, data: &Dataset) -> usize {
    if settings::fixed_batch(manifest).is_some() {
        data.len() / settings.batch
    } else {
        data.len().div_ceil(settings.batch)
    }
}

/// The place that a state describes, if it is of this run.
fn resumed(run: &serde_json::Value, settings: &Settings, data: &Dataset) -> Result<Position, FitError> {
    let run: Run = serde_json::from_value(run.clone()).map_err(StateError::Json)?;
    if run.samples != data.len() {
        return Err(FitError::Settings(format!(
            "the state is of a run on {} samples, and the data has {}; give the same data, or start anew with --from",
            run.samples,
            data.len()
        )));
    }
    match run.settings.difference(settings) {
        Some(name) => Err(FitError::Settings(format!(
            "the state is of a run with another {name}; give the same options, or start anew with --from"
        ))),
        None => Ok(run.position),
    }
}

#[cfg(test)]
mod tests;
