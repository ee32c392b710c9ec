//! What can go wrong between a model and its results, by what a user can do about it.

use std::path::PathBuf;

use super::library::MIN_ORT_VERSION;
use super::provider::Provider;

/// An error of the runtime room. Its kinds are those a caller treats differently: [`RuntimeError::is_environment`]
/// tells a machine that lacks something from a model that is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// The library has no such provider, or the provider cannot start on this machine.
    #[error("provider `{provider}` is not available: {reason}; {advice}")]
    ProviderMissing {
        /// The provider asked for.
        provider: Provider,
        /// Why; names the library that the loader missed where the message shows one.
        reason: String,
        /// What to do about it.
        advice: String,
    },
    /// There is no file where a library was expected.
    #[error(
        "no ONNX Runtime library at {}: {why}; run `ibgraph runtime list` to see what there is, or `ibgraph runtime install`",
        path.display()
    )]
    LibraryMissing {
        /// Where it was expected.
        path: PathBuf,
        /// What is there instead.
        why: String,
    },
    /// The file is no library that this machine can load: truncated, changed since its installation, of another
    /// platform, or not ONNX Runtime.
    #[error("cannot use {}: {why}; `ibgraph runtime install --force` puts a good copy in place", path.display())]
    LibraryBroken {
        /// The library.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The library is ONNX Runtime, but older than this crate can drive.
    #[error(
        "ONNX Runtime {version} at {} is too old: {MIN_ORT_VERSION} or newer is needed; run `ibgraph runtime install`",
        path.display()
    )]
    TooOld {
        /// The library.
        path: PathBuf,
        /// What it says it is.
        version: String,
    },
    /// A process can load one ONNX Runtime only, and it has loaded another one before.
    #[error(
        "this process has already loaded ONNX Runtime from {}, so it cannot load {} too; use one library a process",
        loaded.display(), asked.display()
    )]
    AlreadyLoaded {
        /// The library that is loaded.
        loaded: PathBuf,
        /// The library that was asked for.
        asked: PathBuf,
    },
    /// The engine lacks something the model needs.
    #[error("{engine} cannot run this model: {what}")]
    Unsupported {
        /// Name of the engine.
        engine: &'static str,
        /// The operator or the type, where it stands, and what to do.
        what: String,
    },
    /// The engine refuses the model as broken.
    #[error("{engine} cannot load the model: {message}")]
    Load {
        /// Name of the engine.
        engine: &'static str,
        /// The engine's own words.
        message: String,
    },
    /// A run failed.
    #[error("{engine} failed while running the model: {message}")]
    Run {
        /// Name of the engine.
        engine: &'static str,
        /// The engine's own words.
        message: String,
    },
    /// An installation could not be made or read.
    #[error("runtime installation: {message}")]
    Install {
        /// What failed, where, and what to do.
        message: String,
    },
}

impl RuntimeError {
    /// Whether the machine lacks what was asked for (a provider or a usable library), rather than the model or its
    /// data being at fault.
    pub fn is_environment(&self) -> bool {
        match self {
            RuntimeError::ProviderMissing { .. }
            | RuntimeError::LibraryMissing { .. }
            | RuntimeError::LibraryBroken { .. }
            | RuntimeError::TooOld { .. }
            | RuntimeError::AlreadyLoaded { .. }
            | RuntimeError::Install { .. } => true,
            RuntimeError::Unsupported { .. } | RuntimeError::Load { .. } | RuntimeError::Run { .. } => false,
        }
    }
}
