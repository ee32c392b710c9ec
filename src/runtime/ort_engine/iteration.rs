//! A loop of runs that keeps what it carries where the provider works, in two sets of buffers that take turns.
//!
//! Two bindings: one reads the first set and writes the second, the other the other way round. So nothing that is
//! carried is copied, allocated or bound again once two runs have been made.

use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::IoBinding;
use ort::value::{DynTensor, DynValue};

use super::session::OrtSession;
use super::{NAME, failure, values};
use crate::graph::{Builder, Dim, TensorType};
use crate::onnx::{WriteOptions, write};
use crate::runtime::error::RuntimeError;
use crate::runtime::{CarriedValue, InputSet, Iteration, contain};
use crate::tensor::Tensor;

/// Implements [`Iteration`] by two bindings.
pub(super) struct OrtIteration<'s> {
    session: &'s mut OrtSession,
    carried: Vec<CarriedValue>,
    /// `buffers[k]` is set `k`, one value for each of `carried` that changes.
    buffers: [Vec<DynValue>; 2],
    /// `bindings[k]` reads set `k` and writes the other one; the very first run reads the caller's values instead.
    bindings: [IoBinding; 2],
    /// For each placed set a pair of bindings as above.
    placed: Vec<[IoBinding; 2]>,
    outputs: Vec<String>,
    runs: u64,
}

impl<'s> OrtIteration<'s> {
    pub fn new(
        session: &'s mut OrtSession,
        carried: Vec<CarriedValue>,
        outputs: &[&str],
    ) -> Result<Self, RuntimeError> {
        let nexts = carried.iter().filter_map(|c| c.next.as_deref());
        let all: Vec<&str> = outputs.iter().copied().chain(nexts).collect();
        let inputs: Vec<_> = carried.iter().map(|c| (c.input.as_str(), &c.value)).collect();
        session.check_names(&inputs, &all)?;
        let iteration = Self::bound(session, carried, outputs);
        iteration.map_err(|error| failure::run(&error))
    }

    fn bound(session: &'s mut OrtSession, carried: Vec<CarriedValue>, outputs: &[&str]) -> ort::Result<Self> {
        let allocator = session.allocator()?;
        let set = || -> ort::Result<Vec<DynValue>> {
            let changing = carried.iter().filter(|c| c.next.is_some());
            let place = changing.map(|CarriedValue { value, .. }| {
                Ok(DynTensor::new(&allocator, values::element_type(value), value.shape())?.into_dyn())
            });
            place.collect()
        };
        let mut buffers = [set()?, set()?];
        let mut bindings = [session.inner.create_binding()?, session.inner.create_binding()?];
        for (k, binding) in bindings.iter_mut().enumerate() {
            for name in outputs {
                binding.bind_output_to_device(*name, &host_memory()?)?;
            }
            let nexts = carried.iter().filter_map(|c| c.next.as_deref());
            for (next, buffer) in nexts.zip(&mut buffers[1 - k]) {
                binding.bind_output(next, buffer)?;
            }
            for CarriedValue { input, value, .. } in carried.iter().filter(|c| k == 0 || c.next.is_none()) {
                binding.bind_input(input, &values::owned_input(value)?)?;
            }
        }
        let outputs = outputs.iter().map(|&name| name.to_owned()).collect();
        let placed = Vec::new();
        let mut iteration = Self { session, carried, buffers, bindings, placed, outputs, runs: 0 };
        iteration.read(1)?;
        Ok(iteration)
    }

    /// Lets binding `k` read set `k`.
    fn read(&mut self, k: usize) -> ort::Result<()> {
        let changing = self.carried.iter().filter(|c| c.next.is_some());
        for (carried, buffer) in changing.zip(&self.buffers[k]) {
            self.bindings[k].bind_input(&carried.input, buffer)?;
        }
        Ok(())
    }

    /// The set that the next run reads.
    fn turn(&self) -> usize {
        (self.runs % 2) as usize
    }

    fn run_contained(&mut self, inputs: &[(&str, &Tensor)]) -> Result<Vec<Tensor>, RuntimeError> {
        self.check_inputs(inputs)?;
        let turn = self.turn();
        let binding = &mut self.bindings[turn];
        let mut run = || -> ort::Result<Vec<DynValue>> {
            for (name, tensor) in inputs {
                binding.bind_input(*name, &values::owned_input(tensor)?)?;
            }
            binding.synchronize_inputs()?;
            let mut results = self.session.inner.run_binding(binding)?;
            binding.synchronize_outputs()?;
            Ok(self.outputs.iter().filter_map(|name| results.remove(name)).collect())
        };
        let results = run().map_err(|error| failure::run(&error))?;
        self.runs += 1;
        if self.runs == 1 {
            self.read(0).map_err(|error| failure::run(&error))?;
        }
        self.outputs.iter().zip(&results).map(|(name, value)| values::output(name, value)).collect()
    }

    /// ONNX Runtime refuses a binding for good once it was given a name that the model does not have.
    fn check_inputs(&self, inputs: &[(&str, &Tensor)]) -> Result<(), RuntimeError> {
        let known = |name: &str| self.session.inner.inputs().iter().any(|input| input.name() == name);
        match inputs.iter().find(|(name, _)| !known(name)) {
            Some((name, _)) => Err(failed(format!("the model has no input `{name}`"))),
            None => Ok(()),
        }
    }

    fn carried_contained(&mut self) -> Result<Vec<Tensor>, RuntimeError> {
        if self.runs == 0 {
            return Ok(self.carried.iter().map(|c| c.value.clone()).collect());
        }
        let mut changed = self.changed()?.into_iter();
        let current = self.carried.iter().map(|carried| match carried.next {
            Some(_) => changed.next().ok_or_else(|| failed("a carried value is missing".to_owned())),
            None => Ok(carried.value.clone()),
        });
        current.collect()
    }

    /// Host copies of the set that the next run reads.
    fn changed(&self) -> Result<Vec<Tensor>, RuntimeError> {
        let set = &self.buffers[self.turn()];
        let names: Vec<String> = (0..set.len()).map(|k| format!("value_{k}")).collect();
        if set.iter().all(values::is_on_host) {
            return names.iter().zip(set).map(|(name, value)| values::output(name, value)).collect();
        }
        let copies = self.off_device(set, &names)?;
        names.iter().zip(&copies).map(|(name, value)| values::output(name, value)).collect()
    }

    /// Copies values to the host by a model that does nothing else.
    fn off_device(&self, set: &[DynValue], names: &[String]) -> Result<Vec<DynValue>, RuntimeError> {
        let model = self.copier(names)?;
        let builder = self.session.engine.builder()?;
        let copy = |mut builder: ort::session::builder::SessionBuilder| -> ort::Result<Vec<DynValue>> {
            let mut session = builder.commit_from_memory(&model)?;
            let mut binding = session.create_binding()?;
            for (name, value) in names.iter().zip(set) {
                binding.bind_input(name, value)?;
                binding.bind_output_to_device(copied(name), &host_memory()?)?;
            }
            let mut results = session.run_binding(&binding)?;
            binding.synchronize_outputs()?;
            Ok(names.iter().filter_map(|name| results.remove(copied(name))).collect())
        };
        copy(builder).map_err(|error| failure::run(&error))
    }

    fn copier(&self, names: &[String]) -> Result<Vec<u8>, RuntimeError> {
        let mut b = Builder::new("copy");
        let changing = self.carried.iter().filter(|c| c.next.is_some());
        let outputs: Vec<_> = names
            .iter()
            .zip(changing)
            .map(|(name, carried)| {
                let shape: Vec<Dim> = carried.value.shape().iter().map(|n| Dim::Fixed(*n)).collect();
                (copied(name), b.input(name, TensorType::new(carried.value.dtype(), &shape)))
            })
            .collect();
        let written = write(&b.finish(&outputs), &WriteOptions::default());
        written.map_err(|error| failed(error.to_string()))
    }
}

impl Iteration for OrtIteration<'_> {
    fn run(&mut self, inputs: &[(&str, &Tensor)]) -> Result<Vec<Tensor>, RuntimeError> {
        contain(|| self.run_contained(inputs), failed)
    }

    fn place(&mut self, sets: &[InputSet<'_>]) -> Result<(), RuntimeError> {
        contain(|| self.place_contained(sets), failed)
    }

    fn run_placed(&mut self, set: usize) -> Result<(), RuntimeError> {
        contain(|| self.run_placed_contained(set), failed)
    }

    fn carried(&mut self) -> Result<Vec<Tensor>, RuntimeError> {
        contain(|| self.carried_contained(), failed)
    }
}

fn failed(message: String) -> RuntimeError {
    RuntimeError::Run { engine: NAME, message }
}

fn copied(name: &str) -> String {
    format!("{name}_copy")
}

fn host_memory() -> ort::Result<MemoryInfo<'static>> {
    MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::Default)
}

mod placed;
#[cfg(test)]
mod tests;
