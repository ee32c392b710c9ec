//! A model that ONNX Runtime has loaded.

use ort::memory::{Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, OutputSelector, RunOptions, SessionInputValue};
use ort::value::{DynTensor, DynValue};

use super::iteration::OrtIteration;
use super::{NAME, OrtEngine, failure, providers, raw, values, written};
use crate::runtime::error::RuntimeError;
use crate::runtime::{
    BoundRun, CarriedValue, InputSet, Iteration, NodePlacement, Session, bound_set, contain,
};
use crate::tensor::Tensor;

/// Key of the number that a run's CUDA graph is kept under, and the number that stands for none
/// (`onnxruntime_run_options_config_keys.h`).
const CUDA_GRAPH_ID: &str = "gpu_graph_id";
const NO_CUDA_GRAPH: &str = "-1";

/// Implements [`Session`] over `ort`'s.
pub(super) struct OrtSession {
    pub(super) inner: ort::session::Session,
    pub(super) engine: OrtEngine,
    /// The model; `None` where the provider takes the host's memory, for which ONNX Runtime inserts no copies.
    copied: Option<Vec<u8>>,
}

impl OrtSession {
    /// `inner` is what `engine` made of `model`.
    pub(super) fn new(inner: ort::session::Session, engine: OrtEngine, model: &[u8]) -> OrtSession {
        // ProviderIsCpuBased in ONNX Runtime's framework/utils.cc: its MemcpyTransformer skips those providers.
        let copied = providers::device(engine.provider).map(|_| model.to_vec());
        OrtSession { inner, engine, copied }
    }

    /// The copies between devices, which are not among the nodes that ONNX Runtime says it placed.
    fn copies(&self) -> Result<Vec<NodePlacement>, RuntimeError> {
        let asked = providers::dispatch(self.engine.provider, &self.engine.options);
        let (Some(model), Some(asked)) = (&self.copied, asked) else {
            return Ok(Vec::new());
        };
        let graph = self.engine.final_graph(model);
        graph.and_then(|graph| written::copies(&graph, asked.name())).map_err(failure::copies)
    }

    fn bind_contained(&mut self, sets: &[InputSet], outputs: &[&str]) -> Result<OrtRun<'_>, RuntimeError> {
        let first = *bound_set(NAME, sets, 0)?;
        let found = self.run_contained(first, outputs)?;
        let bind = |(index, inputs): (usize, &InputSet)| {
            let options = self.options_of_set(index)?;
            Ok(BoundSet { binding: self.binding(inputs, outputs, &found)?, options })
        };
        let bound = sets.iter().enumerate().map(bind).collect::<ort::Result<_>>();
        let mut bound = OrtRun {
            sets: bound.map_err(|error| failure::run(&error))?,
            inputs: first.iter().map(|&(name, tensor)| (name.to_owned(), tensor.clone())).collect(),
            outputs: outputs.iter().map(|&name| name.to_owned()).collect(),
            results: Vec::new(),
            session: self,
        };
        bound.run()?;
        Ok(bound)
    }

    /// Options for the runs of a bound set; a CUDA graph is recorded for each, since it holds the addresses.
    fn options_of_set(&self, index: usize) -> ort::Result<Option<RunOptions>> {
        if !self.engine.options.cuda_graph {
            return Ok(None);
        }
        let mut options = RunOptions::new()?;
        options.set(CUDA_GRAPH_ID, (index + 1).to_string())?;
        Ok(Some(options))
    }

    /// Inputs copied to the provider's device, and outputs allocated there in the shapes of `found`.
    fn binding(
        &self,
        inputs: &[(&str, &Tensor)],
        outputs: &[&str],
        found: &[Tensor],
    ) -> ort::Result<IoBinding> {
        let mut binding = self.inner.create_binding()?;
        for (name, tensor) in inputs {
            binding.bind_input(*name, &values::owned_input(tensor)?)?;
        }
        binding.synchronize_inputs()?;
        let allocator = self.allocator()?;
        for (name, tensor) in outputs.iter().zip(found) {
            let place = DynTensor::new(&allocator, values::element_type(tensor), tensor.shape())?;
            binding.bind_output(*name, place)?;
        }
        Ok(binding)
    }

    /// Of the memory that the provider computes in.
    pub(super) fn allocator(&self) -> ort::Result<Allocator> {
        match providers::device(self.engine.provider) {
            Some(device) => {
                let memory = MemoryInfo::new(device, 0, AllocatorType::Device, MemoryType::Default)?;
                Allocator::new(&self.inner, memory)
            }
            None => Ok(Allocator::default()),
        }
    }

    fn run_contained(
        &mut self,
        inputs: &[(&str, &Tensor)],
        outputs: &[&str],
    ) -> Result<Vec<Tensor>, RuntimeError> {
        self.check_names(inputs, outputs)?;
        let views = inputs
            .iter()
            .map(|(name, tensor)| Ok((*name, values::input(tensor)?)))
            .collect::<ort::Result<Vec<(&str, SessionInputValue<'_>)>>>()
            .map_err(|error| failure::run(&error))?;
        let selected = outputs.iter().fold(OutputSelector::no_default(), |all, name| all.with(*name));
        let mut options = RunOptions::new().map_err(|error| failure::run(&error))?;
        if self.engine.options.cuda_graph {
            options.set(CUDA_GRAPH_ID, NO_CUDA_GRAPH).map_err(|error| failure::run(&error))?;
        }
        let options = options.with_outputs(selected);
        let results = self.inner.run_with_options(views, &options).map_err(|error| failure::run(&error))?;
        // ONNX Runtime answers in the order of the request.
        let values = results.values();
        outputs.iter().zip(values).map(|(name, value)| values::output(name, &value)).collect()
    }

    /// Checks names before `ort` does, which would panic at an empty one.
    pub(super) fn check_names(
        &self,
        inputs: &[(&str, &Tensor)],
        outputs: &[&str],
    ) -> Result<(), RuntimeError> {
        let failed = |message: String| Err(RuntimeError::Run { engine: NAME, message });
        let known = |name: &str| self.inner.outputs().iter().any(|out| out.name() == name);
        if let Some(name) = outputs.iter().find(|name| !known(name)) {
            return failed(format!("the model has no output `{name}`"));
        }
        if outputs.is_empty() {
            return failed("no output was asked for".to_owned());
        }
        if let Some(at) = (1..outputs.len()).find(|&at| outputs[..at].contains(&outputs[at])) {
            return failed(format!("output `{}` was asked for twice", outputs[at]));
        }
        match inputs.iter().find(|(name, _)| name.contains('\0')) {
            Some((name, _)) => failed(format!("the model has no input {name:?}")),
            None => Ok(()),
        }
    }
}

impl Session for OrtSession {
    fn run(&mut self, inputs: &[(&str, &Tensor)], outputs: &[&str]) -> Result<Vec<Tensor>, RuntimeError> {
        contain(|| self.run_contained(inputs, outputs), panicked)
    }

    fn bind_sets<'s>(
        &'s mut self,
        sets: &[InputSet<'_>],
        outputs: &[&str],
    ) -> Result<Box<dyn BoundRun + 's>, RuntimeError> {
        contain(|| Ok(Box::new(self.bind_contained(sets, outputs)?) as Box<dyn BoundRun>), panicked)
    }

    fn iterate<'s>(
        &'s mut self,
        carried: Vec<CarriedValue>,
        outputs: &[&str],
    ) -> Result<Box<dyn Iteration + 's>, RuntimeError> {
        contain(|| Ok(Box::new(OrtIteration::new(self, carried, outputs)?) as Box<dyn Iteration>), panicked)
    }

    fn placements(&self) -> Result<Option<Vec<NodePlacement>>, RuntimeError> {
        let mut nodes = raw::placements(&self.inner).map_err(|error| failure::run(&error))?;
        nodes.extend(self.copies()?);
        Ok(Some(nodes))
    }
}

/// A set of inputs and outputs where the provider works.
struct BoundSet {
    binding: IoBinding,
    options: Option<RunOptions>,
}

/// Runs whose inputs and outputs lie where the provider works.
struct OrtRun<'s> {
    session: &'s mut OrtSession,
    sets: Vec<BoundSet>,
    /// Of the first set.
    inputs: Vec<(String, Tensor)>,
    outputs: Vec<String>,
    /// Of the first set.
    results: Vec<DynValue>,
}

impl BoundRun for OrtRun<'_> {
    fn run_set(&mut self, set: usize) -> Result<(), RuntimeError> {
        let bound = bound_set(NAME, &self.sets, set)?;
        let session = &mut self.session.inner;
        let mut run = || {
            let mut results = match &bound.options {
                Some(options) => session.run_binding_with_options(&bound.binding, options)?,
                None => session.run_binding(&bound.binding)?,
            };
            bound.binding.synchronize_outputs()?;
            // The bound memory is the same at every run, so are the values that describe it.
            if set == 0 && self.results.is_empty() {
                let names = self.outputs.iter();
                self.results = names.filter_map(|name| results.remove(name)).collect();
            }
            Ok(())
        };
        contain(|| run().map_err(|error: ort::Error| failure::run(&error)), panicked)
    }

    fn outputs(&mut self) -> Result<Vec<Tensor>, RuntimeError> {
        if !self.results.iter().all(values::is_on_host) {
            // `ort` copies device tensors through the mutex that `values::owned_input` avoids: run once more instead.
            let inputs = self.inputs.iter();
            let inputs: Vec<_> = inputs.map(|(name, value)| (name.as_str(), value)).collect();
            let outputs: Vec<_> = self.outputs.iter().map(String::as_str).collect();
            return self.session.run(&inputs, &outputs);
        }
        let named = self.outputs.iter().zip(&self.results);
        let copies = named.map(|(name, value)| values::output(name, value));
        contain(|| copies.collect(), panicked)
    }
}

fn panicked(message: String) -> RuntimeError {
    RuntimeError::Run { engine: NAME, message }
}
