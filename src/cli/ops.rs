//! `ibgraph ops`: the library of fused operators.

use std::path::PathBuf;

use super::output::say;
use super::{Exit, Failure};
use crate::runtime::{operator_library_name, operator_library_places};

/// The library of fused operators for ONNX Runtime
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

const EXAMPLES: &str = "\
Examples:
  ibgraph ops path
  python -c \"import onnxruntime as ort; ort.SessionOptions().register_custom_ops_library('$(ibgraph ops path)')\"";

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Print where the library is: IBGRAPH_OPS, or beside this program, or in ../lib
    Path,
}

pub fn run(args: Args) -> Result<Exit, Failure> {
    match args.action {
        Action::Path => match find()? {
            Some(path) => say(path.display()),
            None => {
                let name = operator_library_name();
                return Err(Failure::missing(format!(
                    "no {name} beside this program or in ../lib; build it with `cargo build --release -p ibgraph-ops`, or \
                     name it in IBGRAPH_OPS"
                )));
            }
        },
    }
    Ok(Exit::Good)
}

/// The library, where there is one.
///
/// # Errors
/// IBGRAPH_OPS names what is no file.
pub fn find() -> Result<Option<PathBuf>, Failure> {
    if let Some(named) = std::env::var_os("IBGRAPH_OPS").map(PathBuf::from) {
        if named.is_file() {
            return Ok(Some(named));
        }
        return Err(Failure::missing(format!("IBGRAPH_OPS names {}, which is no file", named.display())));
    }
    let program = std::env::current_exe().and_then(std::fs::canonicalize);
    let places = program.map(|program| operator_library_places(&program)).unwrap_or_default();
    Ok(places.into_iter().find(|place| place.is_file()))
}
