//! `ibgraph emit`: a loss as an ONNX file.

#![allow(rustdoc::broken_intra_doc_links, reason = "shapes in help texts, where backquotes would show")]

use clap::ValueEnum;

use super::check::{EngineArgs, check_bytes};
use super::numbers::one_a_class;
use super::output::{Target, say};
use super::source::{load, parse_setting, set_parameter};
use super::{Exit, Failure};
use crate::artifact;
use crate::loss::{
    ClassWeighting, ClassWeights, FeatureInput, InfluenceGradient, Interface, Loss, LossSpec, Reduction,
    Tables, WeightScheme,
};
use crate::lower::Lowering;
use crate::onnx::{DEFAULT_OPSET, NEWEST_OPSET, OLDEST_OPSET, Versions};
use crate::tensor::DType;

/// β of the effective-number weights, as Cui et al. (CVPR 2019) use it for long-tailed CIFAR.
const DEFAULT_BETA: f64 = 0.9999;

/// Write a loss, forward and backward, as an ONNX file
///
/// Inputs of the graph: logits [N,C], labels int64 [N], features [N,D]. Outputs: loss, logits_grad, features_grad.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A built-in loss (ib, ib-focal, cross-entropy, …) or a YAML file with a formula
    #[arg(default_value = "ib")]
    loss: String,
    /// Number of classes C; not needed with --class-counts or a weights file
    #[arg(long, value_name = "C")]
    classes: Option<usize>,
    /// The file to write; `-` is standard output
    #[arg(short, long, value_name = "FILE", value_parser = |s: &str| Ok::<_, std::convert::Infallible>(Target::from(s)))]
    output: Target,
    /// Training samples of each class: numbers with commas, or a JSON, YAML or CSV file
    #[arg(long, value_name = "LIST|FILE")]
    class_counts: Option<String>,
    /// none; inverse: 1/n, normalised to sum to C; effective: (1-beta)/(1-beta^n), likewise; or a file of weights
    ///
    /// The loss's own way if not given: effective for ib-cb, class-balanced and ldam-drw, none for the others.
    #[arg(long, value_name = "none|inverse|effective|FILE")]
    class_weights: Option<String>,
    /// Set a parameter of the loss, or beta of the effective-number weights (may be repeated)
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Whether the gradient flows through the influence weight
    #[arg(long, value_enum, default_value = "through")]
    influence_gradient: InfluenceGradient,
    /// raw: features [N,D]; norm: their L1 norms [N]; norm-column: [N,1]
    #[arg(long, value_enum, default_value = "raw")]
    feature_input: FeatureInput,
    /// Outputs to keep: loss, logits_grad, features_grad, row_loss, or row entries such as influence_weight
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    outputs: Vec<String>,
    /// How rows reduce; the loss's own way if not given (none: loss is [N], and the backward takes loss_grad [N])
    #[arg(long, value_enum)]
    reduction: Option<Reduction>,
    /// Rows with this label do not count, and get zero gradients
    #[arg(long, value_name = "LABEL", allow_negative_numbers = true)]
    ignore_index: Option<i64>,
    /// Element type of logits, features and gradients
    #[arg(long, value_enum, default_value = "f32")]
    dtype: FloatType,
    /// Make a parameter, class_weights or the switch `enabled` a graph input (may be repeated)
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    runtime_input: Vec<String>,
    /// A label out of range makes the loss and its row's gradients NaN, on every engine
    #[arg(long)]
    check_labels: bool,
    /// portable: forward and backward; the other two have the output loss alone, for ONNX Runtime Training
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

/// Element types on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FloatType {
    F32,
    F16,
    Bf16,
    F64,
}

impl From<FloatType> for DType {
    fn from(ty: FloatType) -> Self {
        match ty {
            FloatType::F32 => DType::F32,
            FloatType::F16 => DType::F16,
            FloatType::Bf16 => DType::BF16,
            FloatType::F64 => DType::F64,
        }
    }
}

pub fn run(args: Args) -> Result<Exit, Failure> {
    let versions = Versions::new(args.opset, args.ir_version).map_err(Failure::usage)?;
    let mut loss = args.loss()?;
    if args.lowering != Lowering::Portable {
        loss = args.alone(&loss)?;
    }
    let bytes = artifact::emit_as(&loss, args.lowering, versions).map_err(Failure::usage)?;
    let note = |text: String| match args.output {
        Target::Stdout => eprintln!("{text}"),
        Target::File(_) => say(text),
    };
    if args.check {
        let report = check_bytes(&bytes, &args.name(), &args.engine, None)?;
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
        args.name(),
        loss.spec().name,
        loss.interface().classes,
        loss.interface().dtype,
        versions.opset(),
        names(loss.inputs()),
        names(loss.outputs()),
    )
}

impl Args {
    /// Name of the output for people.
    fn name(&self) -> String {
        match &self.output {
            Target::Stdout => "standard output".to_owned(),
            Target::File(path) => path.display().to_string(),
        }
    }

    fn loss(&self) -> Result<Loss, Failure> {
        let mut spec = load(&self.loss)?;
        let scheme = self.class_weights.as_deref().unwrap_or(match spec.class_weights {
            _ if self.runtime_input.iter().any(|name| name == "class_weights") => "none",
            WeightScheme::None => "none",
            WeightScheme::Inverse => "inverse",
            WeightScheme::Effective => "effective",
        });
        let beta = self.set_parameters(&mut spec, scheme == "effective")?;
        let counts = match &self.class_counts {
            Some(text) => Some(one_a_class("--class-counts", text)?),
            None => None,
        };
        let weights = weights(scheme, beta)?;
        let classes = self.class_number(counts.as_deref(), &weights)?;
        let mut interface = Interface::new(classes, &spec);
        self.fill(&mut interface);
        let resolved = weights.resolve(counts.as_deref(), classes).map_err(Failure::usage)?;
        if resolved.is_some() {
            if interface.class_weighting == ClassWeighting::Runtime {
                return Err(Failure::usage(
                    "class weights are either stored (--class-weights) or a graph input \
                     (--runtime-input class_weights); give one of the two",
                ));
            }
            interface.class_weighting = ClassWeighting::Stored;
        }
        let tables = Tables::new(&spec, resolved, counts.as_deref(), classes).map_err(Failure::usage)?;
        Loss::with_tables(spec, interface, tables).map_err(Failure::usage)
    }

    /// The loss as a training engine takes it.
    fn alone(&self, loss: &Loss) -> Result<Loss, Failure> {
        if self.outputs.iter().any(|name| name != "loss") {
            return Err(Failure::usage("a loss for training has the one output `loss`; leave --outputs out"));
        }
        loss.with_outputs(&["loss"]).map_err(Failure::usage)
    }

    /// Sets parameters; returns β.
    fn set_parameters(&self, spec: &mut LossSpec, effective: bool) -> Result<f64, Failure> {
        let mut beta = DEFAULT_BETA;
        for setting in &self.set {
            let (name, value) = parse_setting(setting)?;
            if name == "beta" && !spec.parameters.contains_key("beta") {
                if !effective {
                    return Err(Failure::usage("--set beta is for --class-weights effective"));
                }
                beta = value;
            } else {
                set_parameter(spec, setting)?;
            }
        }
        Ok(beta)
    }

    fn class_number(&self, counts: Option<&[f64]>, weights: &ClassWeights) -> Result<usize, Failure> {
        let known = match (counts, weights) {
            (Some(counts), _) => Some(counts.len()),
            (None, ClassWeights::Given(weights)) => Some(weights.len()),
            (None, _) => None,
        };
        self.classes
            .or(known)
            .ok_or_else(|| Failure::usage("how many classes? give --classes or --class-counts"))
    }

    fn fill(&self, interface: &mut Interface) {
        interface.dtype = self.dtype.into();
        interface.feature_input = self.feature_input;
        interface.influence_gradient = self.influence_gradient;
        interface.ignore_index = self.ignore_index;
        interface.check_labels = self.check_labels;
        interface.outputs = self.outputs.clone();
        if let Some(reduction) = self.reduction {
            interface.reduction = reduction;
        }
        for name in &self.runtime_input {
            match name.as_str() {
                "class_weights" => interface.class_weighting = ClassWeighting::Runtime,
                "enabled" => interface.enabled_input = true,
                parameter => interface.runtime_parameters.push(parameter.to_owned()),
            }
        }
    }
}

fn weights(scheme: &str, beta: f64) -> Result<ClassWeights, Failure> {
    Ok(match scheme {
        "none" => ClassWeights::None,
        "inverse" => ClassWeights::Inverse,
        "effective" => ClassWeights::Effective { beta },
        file => ClassWeights::Given(one_a_class("--class-weights", file)?),
    })
}
