//! Runs that feed each other: some outputs of one run are inputs of the next.

use super::{RuntimeError, Session};
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
}

impl<'s> HostIteration<'s> {
    pub fn new(session: &'s mut dyn Session, carried: Vec<CarriedValue>, outputs: &[&str]) -> Self {
        let outputs = outputs.iter().map(|&name| name.to_owned()).collect();
        Self { session, carried, outputs }
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

    fn carried(&mut self) -> Result<Vec<Tensor>, RuntimeError> {
        Ok(self.carried.iter().map(|c| c.value.clone()).collect())
    }
}
