//! Runs that feed each other: some outputs of one run are inputs of the next.

use super::{InputSet, RuntimeError, Session, bound_set};
use crate::tensor::Tensor;

/// A value that goes from one run to the next.
#[derive(Debug, Clone, PartialEq)]
pub struct CarriedValue {
    /// The input that it is.
    pub input: String,
    /// The output that is the next run's input, of the same type and shape; `None` for a value that stays.
    pub next: Option<String>,
    /// What it is at the first run.
    pub value: Tensor,
}

/// A loop of runs; see [`Session::iterate`].
pub trait Iteration {
    /// Runs once with these inputs beside the carried ones, makes the successors of the carried values the inputs of
    /// the next run, and returns the outputs that were asked for.
    ///
    /// # Errors
    /// Those of [`Session::run`]. The carried values are then those before this run.
    fn run(&mut self, inputs: &[(&str, &Tensor)]) -> Result<Vec<Tensor>, RuntimeError>;

    /// Puts sets of inputs where the provider reads them, for [`Self::run_placed`]; each set has every input beside the
    /// carried ones. Runs once with the first set, so that every buffer is there. For measurements.
    ///
    /// # Errors
    /// Those of [`Session::run`].
    fn place(&mut self, sets: &[InputSet<'_>]) -> Result<(), RuntimeError>;

    /// As [`Self::run`] with the set of this index, whose outputs are computed and dropped.
    ///
    /// # Errors
    /// Those of [`Session::run`], also for an index that was not placed.
    fn run_placed(&mut self, set: usize) -> Result<(), RuntimeError>;

    /// Copies of the carried values as the next run would read them, in the order they were given.
    ///
    /// # Errors
    /// [`RuntimeError::Run`] when they cannot be copied off the device.
    fn carried(&mut self) -> Result<Vec<Tensor>, RuntimeError>;
}

/// An iteration over any session, with the carried values in the host's memory.
pub(super) struct HostIteration<'s> {
    session: &'s mut dyn Session,
    carried: Vec<CarriedValue>,
    outputs: Vec<String>,
    placed: Vec<Vec<(String, Tensor)>>,
    engine: &'static str,
}

impl<'s> HostIteration<'s> {
    /// An iteration over a session of `engine`.
    pub fn new(
        engine: &'static str,
        session: &'s mut dyn Session,
        carried: Vec<CarriedValue>,
        outputs: &[&str],
    ) -> Self {
        let outputs = outputs.iter().map(|&name| name.to_owned()).collect();
        Self { session, carried, outputs, placed: Vec::new(), engine }
    }
}

impl Iteration for HostIteration<'_> {
    fn run(&mut self, inputs: &[(&str, &Tensor)]) -> Result<Vec<Tensor>, RuntimeError> {
        let carried = self.carried.iter().map(|c| (c.input.as_str(), &c.value));
        let inputs: Vec<_> = inputs.iter().copied().chain(carried).collect();
        let nexts = self.carried.iter().filter_map(|c| c.next.as_deref());
        let outputs: Vec<&str> = self.outputs.iter().map(String::as_str).chain(nexts).collect();
        let mut results = self.session.run(&inputs, &outputs)?;
        let next = results.split_off(self.outputs.len());
        let changing = self.carried.iter_mut().filter(|c| c.next.is_some());
        changing.zip(next).for_each(|(carried, value)| carried.value = value);
        Ok(results)
    }

    fn place(&mut self, sets: &[InputSet<'_>]) -> Result<(), RuntimeError> {
        let owned = |set: &InputSet<'_>| set.iter().map(|&(name, t)| (name.to_owned(), t.clone())).collect();
        self.placed = sets.iter().map(owned).collect();
        self.run_placed(0)
    }

    fn run_placed(&mut self, set: usize) -> Result<(), RuntimeError> {
        let inputs = bound_set(self.engine, &self.placed, set)?.clone();
        let pairs: Vec<_> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        self.run(&pairs).map(drop)
    }

    fn carried(&mut self) -> Result<Vec<Tensor>, RuntimeError> {
        Ok(self.carried.iter().map(|c| c.value.clone()).collect())
    }
}
