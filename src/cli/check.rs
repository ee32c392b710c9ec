//! `ibgraph check`: whether a file computes the loss that it claims.

use std::path::{Path, PathBuf};
use std::sync::Once;

use clap::ValueEnum;
use clap::builder::RangedU64ValueParser;

use super::model::ModelFile;
use super::ops;
use super::output::{Target, say};
use super::progress::Progress;
use super::runtime::search;
use super::{Exit, Failure};
use crate::check::{CheckError, Report, check};
use crate::graft::extract;
use crate::onnx::messages::ModelProto;
use crate::onnx::{self, Host, HostError};
use crate::runtime::discover::{Found, Origin, find};
use crate::runtime::{
    EmbeddedEngine, Engine, MOST_THREADS, OrtEngine, OrtOptions, Provider, has_fused_nodes,
};

/// Check a loss graph against the float64 reference
///
/// Runs the graph on generated cases (random, sure and wrong samples, saturated, dead and huge features, …) or on
/// data, and compares every output with a float64 evaluation of the formula that the file carries.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A file that `ibgraph emit` or `ibgraph graft` wrote (of a graft, the loss is checked); `-` is standard input
    model: String,
    /// Data in the layout of the ONNX backend tests (test_data_set_*/input_*.pb, output_*.pb) instead of generated cases
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Also write the report as JSON; `-`, or no FILE, writes it to standard output instead of the table
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<String>,
    #[command(flatten)]
    engine: EngineArgs,
}

const EXAMPLES: &str = "\
Examples:
  ibgraph check ib_loss.onnx
  ibgraph check ib_loss.onnx --provider cuda --json report.json
  ibgraph check ib_loss.onnx --data tests/data/vectors/ib_margin_20 --engine ort --runtime /opt/onnxruntime/lib";

/// Which engine runs a graph, and where.
#[derive(Debug, Clone, clap::Args)]
pub struct EngineArgs {
    /// auto: ONNX Runtime where one is found, else the embedded engine; ort; embedded
    #[arg(long, value_enum, default_value = "auto")]
    engine: EngineChoice,
    /// An ONNX Runtime library, or the directory it is in (default: ORT_DYLIB_PATH, what `ibgraph runtime install` put
    /// in place, or a Python package)
    #[arg(long, value_name = "PATH")]
    runtime: Option<PathBuf>,
    /// Execution provider of ONNX Runtime: cpu, cuda, …
    #[arg(long, value_parser = |s: &str| s.parse::<Provider>().map_err(|e| e.to_string()), default_value = "cpu")]
    provider: Provider,
    /// Threads that an operator may use (default: what the engine chooses, one a physical core)
    #[arg(long, value_parser = RangedU64ValueParser::<usize>::new().range(1..=MOST_THREADS as u64))]
    threads: Option<usize>,
    /// Run the function bodies of fused operators, not the kernels of ibgraph's operator library
    #[arg(long)]
    no_fused_kernels: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EngineChoice {
    Auto,
    Ort,
    Embedded,
}

pub fn run(args: Args) -> Result<Exit, Failure> {
    let file = ModelFile::open(&args.model)?;
    let json = args.json.as_deref().map(Target::from);
    json.as_ref().map_or(Ok(()), |target| target.spare([args.model.as_str()]))?;
    let loss = grafted_loss(&file)?;
    let bytes = loss.as_deref().unwrap_or(file.bytes());
    let report = check_bytes(bytes, &args.model, &args.engine, args.data.as_deref())?;
    if json != Some(Target::Stdout) {
        say(&report);
    }
    if let Some(target) = &json {
        let mut json = serde_json::to_string_pretty(&report).map_err(Failure::usage)?;
        json.push('\n');
        target.write(json.as_bytes())?;
    }
    Ok(if report.passed() { Exit::Good } else { Exit::CheckFailed })
}

/// The loss that was grafted onto a classifier, as a file of its own.
fn grafted_loss(file: &ModelFile) -> Result<Option<Vec<u8>>, Failure> {
    let host = match Host::read(file.bytes()) {
        Ok(host) => host,
        Err(error @ HostError::Structure(_)) => return Err(file.failure(error)),
        // What is no model is told by the check itself.
        Err(_) => return Ok(None),
    };
    extract(&host).map_err(|error| file.failure(error))
}

/// Checks a model on the chosen engine.
pub fn check_bytes(
    bytes: &[u8],
    name: &str,
    args: &EngineArgs,
    data: Option<&Path>,
) -> Result<Report, Failure> {
    let engine = args.open(bytes)?;
    let progress = Progress::new("cases");
    check(name, bytes, engine.as_ref(), data, &mut |done, all| progress.at(done, all)).map_err(|error| {
        match error {
            CheckError::Runtime(error) => error.into(),
            other => Failure::usage(other),
        }
    })
}

impl EngineArgs {
    /// An engine to train on: ONNX Runtime, unless the embedded engine, which computes in float32 throughout, is asked
    /// for. A model's external data is in `data_dir`; the operator library is registered where the model has use for it.
    pub fn open_for_training(
        &self,
        model: &ModelProto,
        data_dir: Option<PathBuf>,
    ) -> Result<Box<dyn Engine>, Failure> {
        match self.engine {
            EngineChoice::Embedded => self.embedded(),
            EngineChoice::Ort | EngineChoice::Auto => self.ort(data_dir, has_fused_nodes(model)),
        }
    }

    /// Opens the engine for a model, with the operator library where the model has use for it.
    fn open(&self, model: &[u8]) -> Result<Box<dyn Engine>, Failure> {
        let fused = onnx::read(model).is_ok_and(|model| has_fused_nodes(&model));
        match self.engine {
            EngineChoice::Embedded => self.embedded(),
            EngineChoice::Ort => self.ort(None, fused),
            // A provider or a library that was asked for is ONNX Runtime's; the embedded engine would not be it.
            EngineChoice::Auto if self.provider != Provider::Cpu || self.runtime.is_some() => {
                self.ort(None, fused)
            }
            EngineChoice::Auto => match self.first_usable()? {
                Some(_) => self.ort(None, fused),
                None => self.embedded(),
            },
        }
    }

    fn embedded(&self) -> Result<Box<dyn Engine>, Failure> {
        if self.provider != Provider::Cpu {
            return Err(Failure::missing(format!(
                "the embedded engine has no provider `{}`; use --engine ort",
                self.provider
            )));
        }
        Ok(Box::new(EmbeddedEngine::new(self.threads)))
    }

    /// The operator library, or a word about its absence.
    fn kernels(&self) -> Result<Vec<PathBuf>, Failure> {
        if self.no_fused_kernels {
            return Ok(Vec::new());
        }
        let found = ops::find()?;
        // Once, however many sessions a command opens.
        static NOTE: Once = Once::new();
        if found.is_none() {
            NOTE.call_once(|| {
                eprintln!(
                    "note: no operator library was found, so the bodies of fused operators run (see `ibgraph ops path`)"
                );
            });
        }
        Ok(found.into_iter().collect())
    }

    fn ort(&self, data_dir: Option<PathBuf>, fused: bool) -> Result<Box<dyn Engine>, Failure> {
        let library = find_library(self.runtime.clone(), self.provider)?;
        let operator_libraries = if fused { self.kernels()? } else { Vec::new() };
        let options =
            OrtOptions { threads: self.threads, data_dir, operator_libraries, ..OrtOptions::default() };
        let engine = OrtEngine::open(&library, self.provider, options)?;
        Ok(Box::new(engine))
    }

    fn first_usable(&self) -> Result<Option<Found>, Failure> {
        first_usable(self.runtime.clone(), self.provider)
    }
}

/// The ONNX Runtime library to use.
pub fn find_library(runtime: Option<PathBuf>, provider: Provider) -> Result<PathBuf, Failure> {
    let found = first_usable(runtime, provider)?.ok_or_else(|| {
        Failure::missing(
            "no ONNX Runtime was found; run `ibgraph runtime install`, or name a library with --runtime or \
             ORT_DYLIB_PATH (`ibgraph runtime list` shows where it was looked for)",
        )
    })?;
    Ok(found.library)
}

/// The library to use. One that the user named must be usable; others are passed over if they are not.
fn first_usable(runtime: Option<PathBuf>, provider: Provider) -> Result<Option<Found>, Failure> {
    let mut all = find(&search(runtime));
    if provider == Provider::Cuda {
        all.sort_by_key(|found| !(found.cuda || matches!(found.origin, Origin::Flag | Origin::Env)));
    }
    for found in all {
        match (&found.usable, &found.origin) {
            (Ok(()), _) => return Ok(Some(found)),
            (Err(why), Origin::Flag | Origin::Env) => {
                let library = found.library.display();
                return Err(Failure::missing(format!("cannot use the ONNX Runtime {library}: {why}")));
            }
            (Err(_), _) => {}
        }
    }
    Ok(None)
}
