//! Engines that run ONNX models: ONNX Runtime, loaded at run time, and the embedded `rten`, which is always there.
//!
//! Stands after the compiler: bytes of a model in, host [`Tensor`]s in and out. [`discover`] finds ONNX Runtime
//! libraries, [`install`] fetches one, [`OrtEngine`] loads it; [`EmbeddedEngine`] needs none of that. The invariant:
//! an engine runs what it was asked to run where it was asked to run it, or says why not; no provider is replaced by
//! another in silence, no type is narrowed without the documentation saying so, and no panic of an engine gets out.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use crate::tensor::Tensor;

pub mod discover;
mod embedded;
mod error;
pub mod install;
mod iteration;
mod library;
mod manifest;
mod operators;
mod ort_engine;
mod provider;

pub use embedded::EmbeddedEngine;
pub use error::RuntimeError;
pub use iteration::{CarriedValue, Iteration};
pub use library::{MIN_ORT_VERSION, check_library};
pub use manifest::{Manifest, verify_installed};
pub use operators::{has_fused_nodes, operator_library_name, operator_library_places};
pub use ort_engine::{OrtEngine, OrtOptions};
pub use provider::{Provider, UnknownProvider};

/// The most threads that a command asks an engine for: as many as the largest machines have. Engines start all that they are asked
/// for, used or not: 1024 take a minute of two processors, and more would take more than a user who meant fewer waits for.
pub const MOST_THREADS: usize = 1024;

/// What an engine is: for reports, and for `ibgraph runtime list`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineInfo {
    /// `ONNX Runtime` or `rten`.
    pub name: &'static str,
    /// The engine's own version, such as `1.32.0`.
    pub version: String,
    /// The library file it was loaded from; `None` for an engine that is compiled in.
    pub location: Option<PathBuf>,
    /// Where the engine was asked to run.
    pub provider: Provider,
}

/// Where one node of a model was placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlacement {
    /// ONNX Runtime's name of the provider, such as `CUDAExecutionProvider`.
    pub provider: String,
    /// Name of the node; empty for a node without one.
    pub node: String,
    /// Operator, such as `MatMul`.
    pub op_type: String,
    /// Operator domain; empty for the standard one.
    pub domain: String,
}

/// Inputs of one run, by name, in any order.
pub type InputSet<'a> = &'a [(&'a str, &'a Tensor)];

/// Something that loads models.
pub trait Engine {
    /// What this engine is.
    fn info(&self) -> EngineInfo;

    /// Loads a serialised `ModelProto` and readies it for [`Session::run`].
    ///
    /// # Errors
    /// [`RuntimeError::Unsupported`] when the engine lacks an operator or a type that the model uses,
    /// [`RuntimeError::Load`] when the model is broken, [`RuntimeError::ProviderMissing`] when the provider cannot be
    /// used on this machine.
    fn load(&self, model: &[u8]) -> Result<Box<dyn Session>, RuntimeError>;
}

/// A loaded model.
pub trait Session {
    /// Runs the model. `inputs` are by name, in any order; the answer has one tensor for each of `outputs`, in that
    /// order. An input whose name is an initializer's that the model also lists as an input overrides it.
    ///
    /// # Errors
    /// [`RuntimeError::Run`] for a name the model does not have, an input that is missing or of another type or shape,
    /// and whatever fails while running; [`RuntimeError::Unsupported`] for an element type that the engine or a
    /// [`Tensor`] cannot hold.
    fn run(&mut self, inputs: &[(&str, &Tensor)], outputs: &[&str]) -> Result<Vec<Tensor>, RuntimeError>;

    /// Readies a run that is to be repeated: converts or copies `inputs` to where the provider reads them and
    /// allocates `outputs` there, once, after a first run that finds their shapes. For measurements.
    ///
    /// # Errors
    /// Those of [`Session::run`].
    fn bind<'s>(
        &'s mut self,
        inputs: &[(&str, &Tensor)],
        outputs: &[&str],
    ) -> Result<Box<dyn BoundRun + 's>, RuntimeError> {
        self.bind_sets(&[inputs], outputs)
    }

    /// As [`Session::bind`] for several sets of inputs of the same types and shapes, each with outputs of its own; a
    /// measurement that goes through them in turn finds none of them in a cache. There must be one set at least.
    ///
    /// # Errors
    /// Those of [`Session::run`].
    fn bind_sets<'s>(
        &'s mut self,
        sets: &[InputSet<'_>],
        outputs: &[&str],
    ) -> Result<Box<dyn BoundRun + 's>, RuntimeError>;

    /// Readies a loop in which outputs of one run are inputs of the next, and stay where the provider works: what is
    /// `carried` is given once here, and the rest of the inputs at every run. `outputs` come back at every run.
    ///
    /// # Errors
    /// [`RuntimeError::Run`] for a name the model does not have.
    fn iterate<'s>(
        &'s mut self,
        carried: Vec<CarriedValue>,
        outputs: &[&str],
    ) -> Result<Box<dyn Iteration + 's>, RuntimeError>;

    /// Where each node runs, as the engine divided the graph, and then the copies between devices that the engine
    /// inserted (`MemcpyFromHost`, `MemcpyToHost`); `None` when the engine has only one place. On a device this loads
    /// the model once more, to have the copies.
    ///
    /// # Errors
    /// [`RuntimeError::Run`] when the engine fails to tell, be it only the copies: TensorRT and MIGraphX keep those to
    /// themselves.
    fn placements(&self) -> Result<Option<Vec<NodePlacement>>, RuntimeError>;
}

/// Runs with their inputs and outputs in place; see [`Session::bind`].
pub trait BoundRun {
    /// Runs the first set once more, and returns when the outputs are there (a device is waited for; nothing is copied
    /// off it).
    ///
    /// # Errors
    /// [`RuntimeError::Run`].
    fn run(&mut self) -> Result<(), RuntimeError> {
        self.run_set(0)
    }

    /// The same for the set of this index.
    ///
    /// # Errors
    /// [`RuntimeError::Run`], also for an index that was not bound.
    fn run_set(&mut self, set: usize) -> Result<(), RuntimeError>;

    /// Copies of the outputs of the first set, in the order they were bound. On a device this runs the model once more.
    ///
    /// # Errors
    /// [`RuntimeError::Run`] when they cannot be copied off the device.
    fn outputs(&mut self) -> Result<Vec<Tensor>, RuntimeError>;
}

/// The set of this index, or an error that says which there are.
fn bound_set<'a, T>(engine: &'static str, sets: &'a [T], index: usize) -> Result<&'a T, RuntimeError> {
    sets.get(index).ok_or_else(|| RuntimeError::Run {
        engine,
        message: format!("input set {index} is not bound; {} are", sets.len()),
    })
}

/// Runs `work`, turning a panic inside a foreign engine into the error that `report` makes of its message.
fn contain<T>(
    work: impl FnOnce() -> Result<T, RuntimeError>,
    report: impl FnOnce(String) -> RuntimeError,
) -> Result<T, RuntimeError> {
    // Unwind safety: every caller drops or abandons what `work` borrowed mutably once this returns an error.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(report(panic_message(&*panic))))
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("internal panic: {}", text.unwrap_or("no message"))
}
