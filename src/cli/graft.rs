//! `ibgraph graft`: a loss on an exported classifier.

#![allow(rustdoc::broken_intra_doc_links, reason = "shapes in help texts, where backquotes would show")]

use super::loss_args::{FloatType, LossArgs};
use super::model::ModelFile;
use super::output::{Target, say};
use super::{Exit, Failure};
use crate::graft::{Attached, Head, Kind, Plan, Wishes, attach, discover};
use crate::graph::Graph;
use crate::loss::Loss;
use crate::lower::{self, TrainableError};
use crate::onnx::{Host, splice};
use crate::tensor::DType;

pub(super) mod data;
mod training;

use training::{Opened, TrainingArgs};

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
    emit: Emit,
    /// Put the compiled gradient into the loss, for ONNX Runtime Training: exact on samples the classifier is sure of
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
    #[command(flatten)]
    training: TrainingArgs,
}

/// What to add to a classifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Emit {
    /// The loss alone, as the first output, for ONNX Runtime Training to differentiate.
    Loss,
    /// The loss, and its gradients with respect to logits and features.
    LossGrad,
    /// The loss, and its gradient with respect to every parameter.
    Gradients,
    /// A whole step of training: parameters and optimizer state in, parameters and state out.
    TrainStep,
    /// Not added but on its own: the optimizer's update, from the gradients of --emit gradients.
    Apply,
}

impl Emit {
    /// As a graft of the loss alone; `None` for what needs the backward pass of the classifier.
    fn kind(self) -> Option<Kind> {
        match self {
            Emit::Loss => Some(Kind::Loss),
            Emit::LossGrad => Some(Kind::LossGrad),
            Emit::Gradients | Emit::TrainStep | Emit::Apply => None,
        }
    }

    fn name(self) -> String {
        let value = clap::ValueEnum::to_possible_value(&self);
        value.map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

const EXAMPLES: &str = "\
Examples:
  ibgraph graft classifier.onnx -o train.onnx
  ibgraph graft classifier.onnx --emit loss-grad -o loss_and_gradients.onnx
  ibgraph graft classifier.onnx --emit train-step --optimizer adamw -o step.onnx
  ibgraph graft classifier.onnx ib-focal --class-counts counts.json --class-weights inverse -o train.onnx
  ibgraph graft classifier.onnx ldam --class-counts 500,20,3 --logits head/out --features pool/out -o train.onnx";

/// Operator sets whose gradients ONNX Runtime Training 1.19.2 builds.
const TRAINING_OPSETS: std::ops::RangeInclusive<i64> = 13..=21;
/// First operator set with sequences, by which a loss for training holds gradients back. Nothing trains an older model, so
/// that it gets a loss without them.
const SEQUENCES: i64 = 11;
/// IR versions that it reads, with initializers apart from inputs.
const TRAINING_IRS: std::ops::RangeInclusive<i64> = 4..=10;

pub fn run(args: Args) -> Result<Exit, Failure> {
    let file = ModelFile::open(&args.model)?;
    let host = file.host()?;
    let external = file.external_data(&host)?;
    file.guard(&args.output, &external)?;
    args.output.spare(args.loss.files())?;
    let written_out = file.written_out(&host)?;
    let host = written_out.as_deref().map_or(Ok(host), |bytes| file.host_of(bytes))?;
    let wishes = Wishes { logits: args.logits.as_deref(), features: args.features.as_deref() };
    let head = discover(&host, wishes).map_err(|error| file.failure(error))?;
    if let Some(option) = args.training.misplaced(args.emit) {
        return Err(Failure::usage(format!("{option} has no use with --emit {}", args.emit.name())));
    }
    let loss = loss(&args, &file, &head)?;
    let Some(kind) = args.emit.kind() else {
        refuse_loss_options(&args)?;
        let opened = Opened { file: &file, host: &host, head: &head, loss: &loss, external: &external };
        return training::run(&args, &opened);
    };
    let (loss, graph) = lowered(&args, kind, loss, host.opset().unwrap_or(0))?;
    let plan = Plan { loss: &loss, graph: &graph, kind, labels: args.labels.as_deref() };
    let attached = attach(&host, &head, plan).map_err(|error| file.failure(error))?;
    let spliced = splice(&host, &attached.delta).map_err(|error| file.failure(error))?;
    let copied = data::copy(&file.directory(), &args.output, &external)?;
    args.output.write_with(&|out| spliced.write_to(out))?;
    args.note(summary(&args, &loss, &head, &host, &attached, spliced.len(), &copied));
    Ok(Exit::Good)
}

impl Args {
    /// Tells what was done, not where the model goes.
    fn note(&self, text: String) {
        match self.output {
            Target::Stdout => eprintln!("{text}"),
            Target::File(_) => say(text),
        }
    }
}

/// Options of the loss's outputs, of which a training graph has one.
fn refuse_loss_options(args: &Args) -> Result<(), Failure> {
    let name = args.emit.name();
    if args.explicit_backward {
        return Err(Failure::usage(format!(
            "--explicit-backward goes with --emit loss; --emit {name} has the compiled gradient anyway"
        )));
    }
    if args.loss.outputs().iter().any(|output| output != "loss") {
        return Err(Failure::usage(format!(
            "--outputs goes with --emit loss-grad; --emit {name} gives the loss"
        )));
    }
    Ok(())
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
    args.loss.loss(dtype, Some((&file.name, head.classes)))
}

/// The graph to attach, and the loss with the outputs that it has.
fn lowered(args: &Args, kind: Kind, loss: Loss, opset: i64) -> Result<(Loss, Graph), Failure> {
    match kind {
        Kind::Loss => {
            if args.loss.outputs().iter().any(|name| name != "loss") {
                return Err(Failure::usage(
                    "--outputs goes with --emit loss-grad; --emit loss gives the loss alone",
                ));
            }
            let alone = loss.with_outputs(&["loss"]).map_err(Failure::usage)?;
            let lower = if args.explicit_backward { lower::explicit_backward } else { lower::trainable };
            let graph = match lower(&loss) {
                Ok(_) if opset < SEQUENCES && !args.explicit_backward => lower::portable(&alone),
                graph => graph.map_err(untrainable)?,
            };
            Ok((alone, graph))
        }
        _ if args.explicit_backward => Err(Failure::usage(format!(
            "--explicit-backward goes with --emit loss; --emit {} has the compiled gradient anyway",
            args.emit.name()
        ))),
        Kind::LossGrad => {
            let graph = lower::portable(&loss);
            Ok((loss, graph))
        }
    }
}

fn untrainable(error: TrainableError) -> Failure {
    let way_out = match error {
        TrainableError::Float64 => ", or --emit loss-grad, which takes float64",
        _ => "",
    };
    Failure::usage(format!("--emit loss: {error}{way_out}"))
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
    if let (Emit::Loss, Some(note)) = (args.emit, training_note(host)) {
        lines.push(note);
    }
    if !copied.is_empty() {
        lines.push(format!("  copied:   {}", copied.join(", ")));
    }
    lines.join("\n")
}

/// What ONNX Runtime Training 1.19.2 would not take about the model; nothing else minds.
fn training_note(host: &Host<'_>) -> Option<String> {
    let (opset, ir) = (host.opset().unwrap_or(0), host.ir());
    let mut why = Vec::new();
    if !TRAINING_OPSETS.contains(&opset) {
        why.push(format!("opsets {} to {}", TRAINING_OPSETS.start(), TRAINING_OPSETS.end()));
    }
    if !TRAINING_IRS.contains(&ir) {
        why.push(format!("IR versions {} to {}", TRAINING_IRS.start(), TRAINING_IRS.end()));
    }
    if !host.model().functions.is_empty() {
        why.push("models without functions".to_owned());
    }
    let text = why.join(", ");
    (!why.is_empty()).then(|| {
        format!(
            "  note:     ONNX Runtime Training takes {text}; this model has opset {opset}, IR version {ir}"
        )
    })
}

/// A port's name in the model, with ours where the two differ.
fn named(attached: &Attached, ours: &str) -> String {
    match attached.names.get(ours) {
        Some(theirs) if theirs != ours => format!("{theirs} (for {ours})"),
        _ => ours.to_owned(),
    }
}
