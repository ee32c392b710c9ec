//! `ibgraph export`: trained parameters, back in the classifier.

use super::model::ModelFile;
use super::output::{Target, say};
use super::state::read_npz;
use super::{Exit, Failure};
use crate::train::state::State;
use crate::train::stored::replace;

/// Put trained parameters and running statistics into a classifier
///
/// The classifier's bytes stay as they are but for the values of its parameters.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The classifier that was trained, or the same one exported for inference
    classifier: String,
    /// A state that `ibgraph train` or `ibgraph init` wrote, or an .npz archive with arrays by the names of parameters
    state: String,
    /// The file to write; `-` is standard output
    #[arg(short, long, value_name = "FILE", value_parser = |s: &str| Ok::<_, std::convert::Infallible>(Target::from(s)))]
    output: Target,
}

const EXAMPLES: &str = "\
Examples:
  ibgraph export classifier.onnx trained.npz -o trained.onnx";

pub fn run(args: Args) -> Result<Exit, Failure> {
    let file = ModelFile::open(&args.classifier)?;
    let host = file.host()?;
    let external = file.external_data(&host)?;
    file.guard(&args.output, &external)?;
    args.output.spare([args.state.as_str()])?;
    let state = State::from_npz(read_npz(&args.state)?)
        .map_err(|error| Failure::usage(format!("{}: {error}", args.state)))?;
    let has = |name: &str| host.graph().initializer.iter().any(|t| t.name.as_deref() == Some(name));
    let values =
        state.classifier_values(has).map_err(|error| Failure::usage(format!("{}: {error}", args.state)))?;
    if values.is_empty() {
        return Err(file.failure(format!("{} has no array that is a parameter of it", args.state)));
    }
    let bytes = replace(host.bytes(), &values).map_err(|error| file.failure(error))?;
    let copied = super::graft::data::copy(&file.directory(), &args.output, &external)?;
    args.output.write(&bytes)?;
    let mut text = format!("wrote {}: {} trained values", args.output.name(), values.len());
    if !copied.is_empty() {
        text += &format!("\n  copied: {}", copied.join(", "));
    }
    match args.output {
        Target::Stdout => eprintln!("{text}"),
        Target::File(_) => say(text),
    }
    Ok(Exit::Good)
}
