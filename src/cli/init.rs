//! `ibgraph init`: what a training graph starts from.

use super::model::ModelFile;
use super::output::{Target, say};
use super::state::{manifest, write_npz};
use super::{Exit, Failure};
use crate::train::manifest::Kind;
use crate::train::state::State;

/// Write the initial state of a training graph: parameters, running statistics, optimizer state
///
/// One array for each value that the graph carries from run to run, by the name of its input; `numpy.load` reads it. For
/// an `apply` graph the parameters are left out: they come from the graph of the gradients.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A graph that `ibgraph graft --emit train-step`, gradients or apply wrote
    graph: String,
    /// The archive to write; `-` is standard output
    #[arg(short, long, value_name = "STATE.npz", value_parser = |s: &str| Ok::<_, std::convert::Infallible>(Target::from(s)))]
    output: Target,
}

const EXAMPLES: &str = "\
Examples:
  ibgraph init step.onnx -o state.npz";

pub fn run(args: Args) -> Result<Exit, Failure> {
    let file = ModelFile::open(&args.graph)?;
    let host = file.host()?;
    let manifest = manifest(&file, &host)?;
    file.guard(&args.output, &file.external_data(&host)?)?;
    let elsewhere = manifest.kind == Kind::Apply;
    let state = State::initial(&manifest, &host, Some(&file.directory()), elsewhere)
        .map_err(|error| file.failure(error))?;
    write_npz(&args.output, &state.to_npz())?;
    let numbers: usize = state.values.values().map(|value| value.len()).sum();
    let text = format!("wrote {}: {} arrays, {numbers} numbers", args.output.name(), state.values.len());
    match args.output {
        Target::Stdout => eprintln!("{text}"),
        Target::File(_) => say(text),
    }
    Ok(Exit::Good)
}
