//! A whole training step on an engine, from parameters and state to parameters and state.

use std::time::Instant;

use crate::bench::arms::{Arm, ArmError, Inputs, Timed};
use crate::runtime::{CarriedValue, Iteration, Session};
use crate::tensor::{Tensor, TensorData};
use crate::train::manifest::{InputRole, Manifest};
use crate::train::state::State;

/// The number of the update at which runs are timed; no engine's time depends on it.
const NUMBER: i64 = 1;

/// A loaded training step.
pub struct StepArm {
    session: Box<dyn Session>,
    manifest: Manifest,
    state: State,
    loss: String,
}

impl StepArm {
    /// An arm of a step that begins with `state`; `loss` is its output.
    pub fn new(session: Box<dyn Session>, manifest: Manifest, state: State, loss: String) -> Self {
        Self { session, manifest, state, loss }
    }

    /// The losses before so many steps on one batch.
    ///
    /// # Errors
    /// [`ArmError`], when a run fails.
    pub fn losses(&mut self, batch: &Inputs, rate: f32, steps: usize) -> Result<Vec<f64>, ArmError> {
        let controls: Vec<Inputs> = (1..).map(|number| self.controls(rate, number)).take(steps).collect();
        let (mut iteration, mut losses) = (self.iteration()?, Vec::new());
        for controls in controls {
            let found = iteration.run(&pairs(batch, &controls))?;
            losses
                .push(found.first().and_then(|loss| loss.to_f64_vec().first().copied()).unwrap_or(f64::NAN));
        }
        Ok(losses)
    }

    /// The inputs that are not data.
    fn controls(&self, rate: f32, number: i64) -> Inputs {
        let scalar = |role| match role {
            InputRole::LearningRate => Some(Tensor::scalar_f32(rate)),
            InputRole::Step => Tensor::new(Vec::new(), TensorData::I64(vec![number])).ok(),
            _ => None,
        };
        let inputs = self.manifest.inputs.iter();
        inputs.filter_map(|input| Some((input.port.name.clone(), scalar(input.role)?))).collect()
    }

    fn iteration(&mut self) -> Result<Box<dyn Iteration + '_>, ArmError> {
        let value = |name: &String| self.state.values.get(name).cloned();
        let carried = self.manifest.carried.iter().filter_map(|carried| {
            let (input, next) = (carried.port.name.clone(), carried.next.clone());
            Some(CarriedValue { value: value(&input)?, input, next })
        });
        let carried = carried.collect();
        Ok(self.session.iterate(carried, &[self.loss.as_str()])?)
    }
}

impl Arm for StepArm {
    /// The learning rate is 0 where runs are timed: every run of every arm then does the same arithmetic on the same
    /// parameters, however many there are, and none drifts to where numbers are tiny or infinite.
    fn bind<'a>(&'a mut self, sets: &'a [Inputs]) -> Result<Box<dyn Timed + 'a>, ArmError> {
        let controls = self.controls(0.0, NUMBER);
        let sets: Vec<Vec<(&str, &Tensor)>> = sets.iter().map(|set| pairs(set, &controls)).collect();
        let sets: Vec<&[(&str, &Tensor)]> = sets.iter().map(Vec::as_slice).collect();
        let mut iteration = self.iteration()?;
        iteration.place(&sets)?;
        Ok(Box::new(Placed(iteration)))
    }
}

fn pairs<'i>(batch: &'i Inputs, controls: &'i Inputs) -> Vec<(&'i str, &'i Tensor)> {
    batch.iter().chain(controls).map(|(name, tensor)| (name.as_str(), tensor)).collect()
}

struct Placed<'a>(Box<dyn Iteration + 'a>);

impl Timed for Placed<'_> {
    fn block(&mut self, sets: &[usize]) -> Result<Vec<f64>, ArmError> {
        let mut seconds = Vec::with_capacity(sets.len());
        for set in sets {
            let start = Instant::now();
            self.0.run_placed(*set)?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        Ok(seconds)
    }
}
