//! `rten`, a pure Rust engine that is compiled in: nothing to install, the CPU only.
//!
//! It knows two element types that matter here, float32 and int32. An int64 or bool that enters or leaves is converted
//! (int64 only where it fits). **Float64 inside a graph is computed in float32**, float16 as well (without rounding to
//! it); so a model whose inputs or outputs have one of these types is refused, and a check against this engine needs
//! float32's tolerance.

use std::collections::BTreeSet;
use std::sync::Arc;

use rten::{LoadErrorKind, Model, ModelOptions, NodeId, RunOptions, ThreadPool, ValueOrView};

use super::error::RuntimeError;
use super::iteration::HostIteration;
use super::provider::Provider;
use super::{
    BoundRun, CarriedValue, Engine, EngineInfo, InputSet, Iteration, NodePlacement, Session, bound_set,
    contain,
};
use crate::tensor::{DType, Tensor};

mod overridable;
mod sign;
mod signature;
mod structure;
mod values;

use signature::Signature;

/// Name of this engine in messages and reports.
const NAME: &str = EmbeddedEngine::NAME;

/// The version that Cargo.toml pins; the crate does not tell it.
const VERSION: &str = "0.27.0";

/// The engine that is always there; see the module's documentation for what it narrows.
#[derive(Clone, Default)]
pub struct EmbeddedEngine {
    pool: Option<Arc<ThreadPool>>,
}

impl EmbeddedEngine {
    /// Name of this engine in messages and reports.
    pub const NAME: &str = "rten";

    /// An engine of so many threads; `None` takes one a physical core.
    pub fn new(threads: Option<usize>) -> EmbeddedEngine {
        EmbeddedEngine { pool: threads.map(|count| Arc::new(ThreadPool::with_num_threads(count.max(1)))) }
    }
}

impl Engine for EmbeddedEngine {
    fn info(&self) -> EngineInfo {
        EngineInfo { name: NAME, version: VERSION.to_owned(), location: None, provider: Provider::Cpu }
    }

    fn load(&self, model: &[u8]) -> Result<Box<dyn Session>, RuntimeError> {
        structure::check(model).map_err(load_error)?;
        let signature = Signature::read(model).map_err(load_error)?;
        refuse_types("input", &signature.inputs)?;
        refuse_types("output", &signature.outputs)?;
        let mut overridable = overridable::initializers(model);
        overridable.retain(|name| signature.inputs.iter().any(|input| input.name == *name));
        Ok(Box::new(EmbeddedSession {
            model: loaded(model)?,
            source: if overridable.is_empty() { Vec::new() } else { model.to_vec() },
            overridable,
            overridden: BTreeSet::new(),
            signature,
            pool: self.pool.clone(),
        }))
    }
}

fn loaded(model: &[u8]) -> Result<Model, RuntimeError> {
    let load = || {
        ModelOptions::with_all_ops().load(sign::mended(model)).map_err(|error| match error.kind() {
            LoadErrorKind::OperatorInvalid => unsupported(error.to_string()),
            _ => load_error(error.to_string()),
        })
    };
    contain(load, load_error)
}

/// Refuses float64 and the half types, which the engine would narrow or widen in silence, and types it lacks.
fn refuse_types(what: &str, values: &[signature::Value]) -> Result<(), RuntimeError> {
    for value in values {
        let Some(code) = value.elem_type else {
            continue;
        };
        let why = match DType::from_onnx_code(code) {
            Some(DType::F32 | DType::I32 | DType::I64 | DType::Bool) => continue,
            Some(dtype) => dtype.to_string(),
            None => format!("of ONNX element type {code}"),
        };
        return Err(unsupported(format!(
            "{what} `{}` is {why}, which it does not have; use ONNX Runtime for this model (`ibgraph runtime install`)",
            value.name
        )));
    }
    Ok(())
}

/// A model that `rten` has loaded.
struct EmbeddedSession {
    /// Without the initializers of `overridden`.
    model: Model,
    /// The model's bytes, where it has initializers that can be overridden.
    source: Vec<u8>,
    /// Initializers that are inputs too.
    overridable: BTreeSet<String>,
    /// Those that the latest run gave.
    overridden: BTreeSet<String>,
    signature: Signature,
    pool: Option<Arc<ThreadPool>>,
}

impl EmbeddedSession {
    /// Loads the model anew where other initializers are overridden than before. In a loop they are the same in every run.
    fn override_initializers(&mut self, given: &[(&str, &Tensor)]) -> Result<(), RuntimeError> {
        let names = given.iter().map(|(name, _)| *name).filter(|name| self.overridable.contains(*name));
        let wanted: BTreeSet<String> = names.map(str::to_owned).collect();
        if wanted != self.overridden {
            self.model = loaded(&overridable::without(&self.source, &wanted))?;
            self.overridden = wanted;
        }
        Ok(())
    }

    fn bind_contained(&self, sets: &[InputSet], outputs: &[&str]) -> Result<EmbeddedRun<'_>, RuntimeError> {
        let mut bound = EmbeddedRun {
            session: self,
            sets: Vec::with_capacity(sets.len()),
            outputs: Vec::with_capacity(outputs.len()),
            results: Vec::new(),
            latest: None,
        };
        for name in outputs {
            let output = declared_in(&self.signature.outputs, "output", name)?;
            bound.outputs.push((self.node_id(name)?, output));
        }
        for inputs in sets {
            bound.sets.push(self.converted(inputs)?);
        }
        bound.run()?;
        Ok(bound)
    }

    fn converted(&self, inputs: InputSet) -> Result<Vec<(NodeId, rten::Value)>, RuntimeError> {
        let value = |(name, tensor): &(&str, &Tensor)| {
            let input = declared_in(&self.signature.inputs, "input", name)?;
            Ok((self.node_id(name)?, values::input(input, tensor)?))
        };
        inputs.iter().map(value).collect()
    }

    fn run_model(
        &self,
        inputs: Vec<(NodeId, ValueOrView<'_>)>,
        outputs: &[NodeId],
    ) -> Result<Vec<rten::Value>, RuntimeError> {
        let options = RunOptions::default().with_thread_pool(self.pool.clone());
        self.model.run(inputs, outputs, Some(options)).map_err(|error| run_error(error.to_string()))
    }

    fn node_id(&self, name: &str) -> Result<NodeId, RuntimeError> {
        self.model.node_id(name).map_err(|error| run_error(error.to_string()))
    }
}

impl Session for EmbeddedSession {
    fn run(&mut self, inputs: &[(&str, &Tensor)], outputs: &[&str]) -> Result<Vec<Tensor>, RuntimeError> {
        self.override_initializers(inputs)?;
        contain(|| self.bind_contained(&[inputs], outputs)?.outputs(), run_error)
    }

    fn bind_sets<'s>(
        &'s mut self,
        sets: &[InputSet<'_>],
        outputs: &[&str],
    ) -> Result<Box<dyn BoundRun + 's>, RuntimeError> {
        self.override_initializers(sets.first().copied().unwrap_or_default())?;
        contain(|| Ok(Box::new(self.bind_contained(sets, outputs)?) as Box<dyn BoundRun>), run_error)
    }

    fn iterate<'s>(
        &'s mut self,
        carried: Vec<CarriedValue>,
        outputs: &[&str],
    ) -> Result<Box<dyn Iteration + 's>, RuntimeError> {
        Ok(Box::new(HostIteration::new(NAME, self, carried, outputs)))
    }

    fn placements(&self) -> Result<Option<Vec<NodePlacement>>, RuntimeError> {
        Ok(None)
    }
}

/// Runs of which the inputs are converted; the results are the latest run's.
struct EmbeddedRun<'s> {
    session: &'s EmbeddedSession,
    sets: Vec<Vec<(NodeId, rten::Value)>>,
    outputs: Vec<(NodeId, &'s signature::Value)>,
    results: Vec<rten::Value>,
    latest: Option<usize>,
}

impl BoundRun for EmbeddedRun<'_> {
    fn run_set(&mut self, set: usize) -> Result<(), RuntimeError> {
        let inputs = bound_set(NAME, &self.sets, set)?.iter();
        let views = inputs.map(|(id, value)| (*id, ValueOrView::from(value)));
        let views = views.collect();
        let ids: Vec<NodeId> = self.outputs.iter().map(|(id, _)| *id).collect();
        self.results = contain(|| self.session.run_model(views, &ids), run_error)?;
        self.latest = Some(set);
        Ok(())
    }

    fn outputs(&mut self) -> Result<Vec<Tensor>, RuntimeError> {
        if self.latest != Some(0) {
            self.run()?;
        }
        let declared = self.outputs.iter().map(|(_, output)| *output);
        declared.zip(&self.results).map(|(output, value)| values::output(output, value)).collect()
    }
}

fn declared_in<'a>(
    values: &'a [signature::Value],
    what: &str,
    name: &str,
) -> Result<&'a signature::Value, RuntimeError> {
    values
        .iter()
        .find(|value| value.name == name)
        .ok_or_else(|| run_error(format!("the model has no {what} `{name}`")))
}

fn load_error(message: String) -> RuntimeError {
    RuntimeError::Load { engine: NAME, message }
}

fn run_error(message: String) -> RuntimeError {
    RuntimeError::Run { engine: NAME, message }
}

fn unsupported(what: String) -> RuntimeError {
    RuntimeError::Unsupported { engine: NAME, what }
}

#[cfg(test)]
mod tests;
