//! ONNX Runtime as an [`Engine`]. This file and its folder are the only importers of `ort`.
//!
//! The library is loaded at run time, once a process. A provider that cannot be used is an error, never replaced by
//! the CPU; single nodes that ONNX Runtime itself places on the CPU (shape arithmetic, operators the provider lacks)
//! are allowed, and recorded for [`Session::placements`].

use std::path::{Path, PathBuf};

use ort::environment::Environment;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use super::error::RuntimeError;
use super::provider::Provider;
use super::{Engine, EngineInfo, Session, contain};
use crate::onnx::messages::ModelProto;

mod failure;
mod iteration;
mod process;
mod providers;
mod raw;
mod session;
mod values;
mod written;

/// Name of this engine in messages and reports.
const NAME: &str = "ONNX Runtime";

/// How [`OrtEngine`] runs models.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OrtOptions {
    /// Threads that one operator may use; `None` leaves it to ONNX Runtime (one a physical core).
    pub threads: Option<usize>,
    /// Whether ONNX Runtime optimizes the graph (all its levels). Default true.
    pub optimize: bool,
    /// Whether CUDA may round float32 factors of a matrix product to TF32's 10 bits. Default false, unlike ONNX
    /// Runtime's own: on Ampere and later it costs three decimal digits.
    pub tf32: bool,
    /// Whether CUDA records a bound run and replays it as one graph. Default false. A model with a node on the CPU is
    /// then refused.
    pub cuda_graph: bool,
    /// Libraries of custom operators to register, in this order.
    pub operator_libraries: Vec<PathBuf>,
    /// The directory that a model's external data stands in; `None` refuses external data.
    pub data_dir: Option<PathBuf>,
}

impl Default for OrtOptions {
    fn default() -> OrtOptions {
        OrtOptions {
            threads: None,
            optimize: true,
            tf32: false,
            cuda_graph: false,
            operator_libraries: Vec::new(),
            data_dir: None,
        }
    }
}

/// A loaded ONNX Runtime, set to one provider.
#[derive(Debug, Clone)]
pub struct OrtEngine {
    environment: Environment,
    library: PathBuf,
    version: String,
    provider: Provider,
    options: OrtOptions,
}

impl OrtEngine {
    /// Loads ONNX Runtime from the file `library` and makes sure that it has `provider`.
    ///
    /// Before it is loaded, the file is checked: against its manifest when it stands in an installation of
    /// [`install`](super::install), else for being a whole shared library. Bytes that were changed in place in
    /// a library of other origin are not noticed and can crash the process.
    ///
    /// A process keeps the first library that it loads; opening that one again (with other options, say) is cheap.
    ///
    /// # Errors
    /// [`RuntimeError::LibraryMissing`], [`RuntimeError::LibraryBroken`], [`RuntimeError::TooOld`] for the file,
    /// [`RuntimeError::AlreadyLoaded`] when this process has another library loaded,
    /// [`RuntimeError::ProviderMissing`] when the provider is not compiled in or its own libraries do not load.
    pub fn open(library: &Path, provider: Provider, options: OrtOptions) -> Result<OrtEngine, RuntimeError> {
        let broken = |why| RuntimeError::LibraryBroken { path: library.to_owned(), why };
        contain(
            || {
                let loaded = process::load(library, provider)?;
                let engine = OrtEngine {
                    environment: loaded.environment,
                    library: loaded.path,
                    version: loaded.version,
                    provider,
                    options,
                };
                // Registering loads the provider's libraries, so that what is missing shows here and not at a model.
                engine.builder().map(|_| engine)
            },
            broken,
        )
    }

    /// The graph of `model` as ONNX Runtime runs it here: after all its optimizations, with the copies between devices
    /// that it inserts. Its initializers may refer to files that are gone; use its nodes only.
    ///
    /// The model is loaded for this once more, beside any session. ONNX Runtime fuses less for DirectML while it
    /// writes a graph; where tensors cross between devices stays the same.
    ///
    /// # Errors
    /// Those of [`Engine::load`], and [`RuntimeError::Run`] when ONNX Runtime cannot write the graph (it does not write
    /// nodes that a provider such as TensorRT compiled) or the file cannot be read back.
    pub fn final_graph(&self, model: &[u8]) -> Result<ModelProto, RuntimeError> {
        contain(|| written::graph(self, self.builder()?, model), panicked_loading)
    }

    /// Session options with everything that this engine was asked for.
    fn builder(&self) -> Result<SessionBuilder, RuntimeError> {
        let builder = self
            .plain_builder()
            .map_err(|error| RuntimeError::Load { engine: NAME, message: error.message().to_owned() })?;
        let Some(provider) = providers::dispatch(self.provider, &self.options) else {
            return Ok(builder);
        };
        builder
            .with_execution_providers([provider.error_on_failure()])
            .map_err(|error| failure::provider(self.provider, &self.version, error.message()))
    }

    fn plain_builder(&self) -> ort::Result<SessionBuilder> {
        let level =
            if self.options.optimize { GraphOptimizationLevel::All } else { GraphOptimizationLevel::Disable };
        let mut builder = ort::session::Session::builder(&self.environment)?
            .with_optimization_level(level)?
            .with_config_entry("session.record_ep_graph_assignment_info", "1")?;
        if let Some(threads) = self.options.threads {
            builder = builder.with_intra_threads(threads)?;
        }
        for library in &self.options.operator_libraries {
            builder = builder.with_operator_library(library)?;
        }
        if let Some(dir) = self.options.data_dir.as_ref().and_then(|dir| dir.to_str()) {
            builder =
                builder.with_config_entry("session.model_external_initializers_file_folder_path", dir)?;
        }
        Ok(builder)
    }
}

impl Engine for OrtEngine {
    fn info(&self) -> EngineInfo {
        EngineInfo {
            name: NAME,
            version: self.version.clone(),
            location: Some(self.library.clone()),
            provider: self.provider,
        }
    }

    fn load(&self, model: &[u8]) -> Result<Box<dyn Session>, RuntimeError> {
        contain(
            || {
                let inner = self
                    .builder()?
                    .commit_from_memory(model)
                    .map_err(|error| failure::load(self.provider, &self.version, &error))?;
                Ok(Box::new(session::OrtSession::new(inner, self.clone(), model)) as Box<dyn Session>)
            },
            panicked_loading,
        )
    }
}

fn panicked_loading(message: String) -> RuntimeError {
    RuntimeError::Load { engine: NAME, message }
}
