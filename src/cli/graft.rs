//! `ibgraph graft`: a loss on an exported classifier.

#![allow(rustdoc::broken_intra_doc_links, reason = "shapes in help texts, where backquotes would show")]

use std::ops::RangeInclusive;

use super::loss_args::{FloatType, LossArgs};
use super::model::ModelFile;
use super::output::{Target, say};
use super::{Exit, Failure};
use crate::graft::{Attached, Head, Kind, Plan, Wishes, attach, discover};
use crate::graph::Graph;
use crate::loss::Loss;
use crate::lower;
use crate::onnx::{Host, splice};
use crate::tensor::DType;

mod data;

/// Add a loss to an exported classifier
///
/// The classifier's bytes stay as they are; the loss is inserted. Labels become an input of the model, and the loss
/// attaches to the logits and to the features, which are found (`ibgraph inspect` shows them) or named.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The classifier, an ONNX file; `-` is standard input
    model: String,
    #[command(flatten)]
    loss: LossArgs,
    /// The file to write; `-` is standard output
    #[arg(short, long, value_name = "FILE", value_parser = |s: &str| Ok::<_, std::convert::Infallible>(Target::from(s)))]
    output: Target,
    /// What to add
    #[arg(long, value_enum, default_value = "loss")]
    emit: Kind,
    /// With --emit loss: the compiled backward behind a stop-gradient, exact where samples are sure
    #[arg(long)]
    explicit_backward: bool,
    /// The value that holds the logits [N,C]
    #[arg(long, value_name = "NAME")]
    logits: Option<String>,
    /// The value that holds the features [N,D], or their norms with --feature-input
    #[arg(long, value_name = "NAME")]
    features: Option<String>,
    /// A value of the model that holds the labels [N], or a name for the new input
    #[arg(long, value_name = "NAME")]
    labels: Option<String>,
    /// Element type of the logits, where the model does not tell
    #[arg(long, value_enum)]
    dtype: Option<FloatType>,
}

/// Operator sets that ONNX Runtime Training 1.19.2 was seen to train, the last release that there is.
const TRAINING_OPSETS: RangeInclusive<i64> = 13..=21;
/// Newest IR version that it reads.
const TRAINING_NEWEST_IR: i64 = 10;

const EXAMPLES: &str = "\
Examples:
  ibgraph graft classifier.onnx -o train.onnx                       # for ONNX Runtime Training
  ibgraph graft classifier.onnx --emit loss-grad -o loss_grad.onnx  # for any ONNX Runtime
  ibgraph graft classifier.onnx ib-focal --class-counts counts.json --class-weights inverse -o train.onnx
  ibgraph graft classifier.onnx ldam --class-counts 500,20,3 --logits head/out --features pool/out -o train.onnx";

pub fn run(args: Args) -> Result<Exit, Failure> {
    let file = ModelFile::open(&args.model)?;
    let host = file.host()?;
    let external = file.external_data(&host)?;
    file.guard(&args.output, &external)?;
    let wishes = Wishes { logits: args.logits.as_deref(), features: args.features.as_deref() };
    let head = discover(&host, wishes).map_err(|error| file.failure(error))?;
    let loss = loss(&args, &file, &head)?;
    let graph = lowered(&args, &loss)?;
    let plan = Plan { loss: &loss, graph: &graph, kind: args.emit, labels: args.labels.as_deref() };
    let attached = attach(&host, &head, plan).map_err(|error| file.failure(error))?;
    let spliced = splice(&host, &attached.delta).map_err(|error| file.failure(error))?;
    let copied = data::copy(&file.directory(), &args.output, &external)?;
    args.output.write_with(&|out| spliced.write_to(out))?;
    let text = summary(&args, &loss, &head, &host, &attached, spliced.len(), &copied);
    match args.output {
        Target::Stdout => eprintln!("{text}"),
        Target::File(_) => say(text),
    }
    Ok(Exit::Good)
}

fn loss(args: &Args, file: &ModelFile, head: &Head) -> Result<Loss, Failure> {
    let asked = args.dtype.map(DType::from);
    let dtype =
        match (head.logits.dtype, asked) {
            (Some(told), Some(asked)) if told != asked => Err(file
                .failure(format!("the logits `{}` are {told}, but --dtype says {asked}", head.logits.name))),
            (Some(dtype), _) | (None, Some(dtype)) => Ok(dtype),
            (None, None) => Err(file.failure(format!(
                "the model does not tell the element type of `{}`; give --dtype",
                head.logits.name
            ))),
        }?;
    let loss = args.loss.loss(dtype, head.classes.map(|classes| (classes, file.name.as_str())))?;
    if args.emit == Kind::Loss { args.loss.alone(&loss) } else { Ok(loss) }
}

fn lowered(args: &Args, loss: &Loss) -> Result<Graph, Failure> {
    if args.explicit_backward && args.emit != Kind::Loss {
        return Err(Failure::usage("--explicit-backward goes with --emit loss"));
    }
    match args.emit {
        Kind::Loss if args.explicit_backward => lower::explicit_backward(loss).map_err(Failure::usage),
        Kind::Loss => lower::trainable(loss).map_err(Failure::usage),
        Kind::LossGrad => Ok(lower::portable(loss)),
    }
}

/// What keeps ONNX Runtime Training from reading the file.
fn training_note(host: &Host<'_>) -> Option<String> {
    let opset = host.opset().unwrap_or(0);
    let fits = TRAINING_OPSETS.contains(&opset) && host.ir() <= TRAINING_NEWEST_IR;
    (!fits).then(|| {
        format!(
            "  note:     ONNX Runtime Training 1.19.2 reads opsets {} to {} and IR versions up to {TRAINING_NEWEST_IR}; \
             the model has opset {opset} and IR version {}",
            TRAINING_OPSETS.start(),
            TRAINING_OPSETS.end(),
            host.ir()
        )
    })
}

fn summary(
    args: &Args,
    loss: &Loss,
    head: &Head,
    host: &Host<'_>,
    attached: &Attached,
    size: usize,
    copied: &[String],
) -> String {
    let mut lines = vec![
        format!(
            "wrote {}: {} on {}, {} classes, {}, opset {}, {size} bytes",
            args.output.name(),
            loss.spec().name,
            args.model,
            loss.interface().classes,
            loss.interface().dtype,
            host.opset().unwrap_or(0)
        ),
        format!("  logits:   {} ({})", head.logits.name, head.logits.why),
    ];
    if let (true, Some(features)) = (loss.has_features(), &head.features) {
        lines.push(format!("  features: {} ({})", features.name, features.why));
    }
    let listed = |ports: Vec<crate::loss::Port>| {
        let names = ports.into_iter().map(|p| p.name).filter(|n| n != "logits" && n != "features");
        names.map(|ours| named(attached, &ours)).collect::<Vec<_>>().join(", ")
    };
    lines.push(format!("  inputs:   {}", listed(loss.inputs())));
    lines.push(format!("  outputs:  {}", listed(loss.outputs())));
    if args.emit == Kind::Loss {
        lines.extend(training_note(host));
    }
    if !copied.is_empty() {
        lines.push(format!("  copied:   {}", copied.join(", ")));
    }
    lines.join("\n")
}

/// A port's name in the model, with ours where the two differ.
fn named(attached: &Attached, ours: &str) -> String {
    match attached.names.get(ours) {
        Some(theirs) if theirs != ours => format!("{theirs} (for {ours})"),
        _ => ours.to_owned(),
    }
}
