//! `ibgraph emit`: a loss as an ONNX file.

#![allow(rustdoc::broken_intra_doc_links, reason = "shapes in help texts, where backquotes would show")]

use super::check::{EngineArgs, check_bytes};
use super::loss_args::{FloatType, LossArgs};
use super::output::{Target, say};
use super::{Exit, Failure};
use crate::artifact;
use crate::loss::Loss;
use crate::lower::Lowering;
use crate::onnx::{DEFAULT_OPSET, NEWEST_OPSET, OLDEST_OPSET, Versions};

/// Write a loss, forward and backward, as an ONNX file
///
/// Inputs of the graph: logits [N,C], labels int64 [N], features [N,D]. Outputs: loss, logits_grad, features_grad.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    loss: LossArgs,
    /// The file to write; `-` is standard output
    #[arg(short, long, value_name = "FILE", value_parser = |s: &str| Ok::<_, std::convert::Infallible>(Target::from(s)))]
    output: Target,
    /// Element type of logits, features and gradients
    #[arg(long, value_enum, default_value = "f32")]
    dtype: FloatType,
    /// How the loss becomes nodes; trainable and explicit-backward have the output loss alone
    #[arg(long, value_enum, default_value = "portable")]
    lowering: Lowering,
    /// Operator set
    #[arg(long, default_value_t = DEFAULT_OPSET, help = format!("Operator set, {OLDEST_OPSET} to {NEWEST_OPSET}"))]
    opset: i64,
    /// IR version of the file; the oldest that goes with the operator set if not given
    #[arg(long, value_name = "VERSION")]
    ir_version: Option<i64>,
    /// Check the graph against the float64 reference before it is written
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

const EXAMPLES: &str = "\
Examples:
  ibgraph emit --classes 100 -o ib_loss.onnx --check
  ibgraph emit ib --class-counts counts.json --class-weights effective --set beta=0.9999 -o ib_cb.onnx
  ibgraph emit ib-focal --classes 10 --set gamma=2 --outputs loss,logits_grad,influence_weight -o focal.onnx
  ibgraph emit --classes 10 --runtime-input enabled,class_weights -o two_phase.onnx
  ibgraph emit my_loss.yaml --classes 100 -o - | python train.py";

pub fn run(args: Args) -> Result<Exit, Failure> {
    args.output.spare(args.loss.files())?;
    let versions = Versions::new(args.opset, args.ir_version).map_err(Failure::usage)?;
    let mut loss = args.loss.loss(args.dtype.into(), None)?;
    if matches!(args.lowering, Lowering::Trainable | Lowering::ExplicitBackward) {
        loss = args.loss.alone(&loss)?;
    }
    let bytes = artifact::emit_as(&loss, args.lowering, versions).map_err(Failure::usage)?;
    let note = |text: String| match args.output {
        Target::Stdout => eprintln!("{text}"),
        Target::File(_) => say(text),
    };
    if args.check {
        let report = check_bytes(&bytes, &args.output.name(), &args.engine, None)?;
        note(report.to_string());
        if !report.passed() {
            note("not written, because the check failed".to_owned());
            return Ok(Exit::CheckFailed);
        }
    }
    args.output.write(&bytes)?;
    note(summary(&args, &loss, versions, bytes.len()));
    Ok(Exit::Good)
}

fn summary(args: &Args, loss: &Loss, versions: Versions, size: usize) -> String {
    let names =
        |ports: Vec<crate::loss::Port>| ports.into_iter().map(|p| p.name).collect::<Vec<_>>().join(", ");
    format!(
        "wrote {}: {}, {} classes, {}, opset {}, {size} bytes\n  inputs:  {}\n  outputs: {}",
        args.output.name(),
        loss.spec().name,
        loss.interface().classes,
        loss.interface().dtype,
        versions.opset(),
        names(loss.inputs()),
        names(loss.outputs()),
    )
}
