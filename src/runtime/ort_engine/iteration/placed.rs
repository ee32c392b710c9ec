//! Sets of inputs that are bound once, each for both turns of the buffers.

use ort::session::IoBinding;

use super::{OrtIteration, failure, host_memory, values};
use crate::runtime::error::RuntimeError;
use crate::runtime::ort_engine::NAME;
use crate::runtime::{InputSet, bound_set};

impl OrtIteration<'_> {
    pub(super) fn place_contained(&mut self, sets: &[InputSet<'_>]) -> Result<(), RuntimeError> {
        // The first run reads the caller's values; after it every binding reads one set of buffers and writes the other.
        self.run_contained(bound_set(NAME, sets, 0)?)?;
        for set in sets {
            self.check_inputs(set)?;
            let pair = [self.placed_binding(set, 0), self.placed_binding(set, 1)];
            let [first, second] = pair.map(|made| made.map_err(|error| failure::run(&error)));
            self.placed.push([first?, second?]);
        }
        Ok(())
    }

    /// A binding that reads buffers `turn` and these inputs, and writes the other buffers.
    fn placed_binding(&mut self, set: &InputSet<'_>, turn: usize) -> ort::Result<IoBinding> {
        let mut binding = self.session.inner.create_binding()?;
        for name in &self.outputs {
            binding.bind_output_to_device(name, &host_memory()?)?;
        }
        let nexts = self.carried.iter().filter_map(|c| c.next.as_deref());
        for (next, buffer) in nexts.zip(&mut self.buffers[1 - turn]) {
            binding.bind_output(next, buffer)?;
        }
        for carried in self.carried.iter().filter(|c| c.next.is_none()) {
            binding.bind_input(&carried.input, &values::owned_input(&carried.value)?)?;
        }
        let changing = self.carried.iter().filter(|c| c.next.is_some());
        for (carried, buffer) in changing.zip(&self.buffers[turn]) {
            binding.bind_input(&carried.input, buffer)?;
        }
        for (name, tensor) in *set {
            binding.bind_input(*name, &values::owned_input(tensor)?)?;
        }
        binding.synchronize_inputs()?;
        Ok(binding)
    }

    pub(super) fn run_placed_contained(&mut self, set: usize) -> Result<(), RuntimeError> {
        let binding = &bound_set(NAME, &self.placed, set)?[self.turn()];
        let inner = &mut self.session.inner;
        let mut run = || -> ort::Result<()> {
            inner.run_binding(binding)?;
            binding.synchronize_outputs()
        };
        run().map_err(|error| failure::run(&error))?;
        self.runs += 1;
        Ok(())
    }
}
