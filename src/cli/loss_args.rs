//! The options that describe a loss; `emit` and `graft` share them.

#![allow(rustdoc::broken_intra_doc_links, reason = "shapes in help texts, where backquotes would show")]

use clap::ValueEnum;

use super::Failure;
use super::numbers::one_a_class;
use super::source::{load, parse_setting, set_parameter};
use crate::loss::adjust::adjusts_by_counts;
use crate::loss::{
    ClassWeighting, ClassWeights, FeatureInput, InfluenceGradient, Interface, Loss, LossSpec, Quantity,
    Reduction, Tables, WeightScheme,
};
use crate::row;
use crate::tensor::DType;

/// β of the effective-number weights, as Cui et al. (CVPR 2019) use it for long-tailed CIFAR.
pub(super) const DEFAULT_BETA: f64 = 0.9999;

/// A loss on the command line.
#[derive(Debug, clap::Args)]
pub struct LossArgs {
    /// A built-in loss (ib, ib-focal, cross-entropy, …) or a YAML file with a formula
    #[arg(default_value = "ib")]
    loss: String,
    /// Number of classes C; not needed with --class-counts or a weights file
    #[arg(long, value_name = "C")]
    classes: Option<usize>,
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
    /// Make a parameter, class_weights or the switch `enabled` a graph input (may be repeated)
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    runtime_input: Vec<String>,
    /// A label out of range makes the loss and its row's gradients NaN, on every engine
    #[arg(long)]
    check_labels: bool,
}

/// Element types on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FloatType {
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

impl LossArgs {
    /// The files that it may be read from.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        [Some(&self.loss), self.class_counts.as_ref(), self.class_weights.as_ref()]
            .into_iter()
            .flatten()
            .map(String::as_str)
    }

    /// The outputs that were asked for; none for the default.
    pub fn outputs(&self) -> &[String] {
        &self.outputs
    }

    /// The loss that the options describe. `model` is the file that it is for, with its number of classes where it tells.
    pub fn loss(&self, dtype: DType, model: Option<(&str, Option<usize>)>) -> Result<Loss, Failure> {
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
        let classes = self.class_number(counts.as_deref(), &weights, model)?;
        let mut interface = Interface::new(classes, &spec);
        interface.dtype = dtype;
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
        let loss = Loss::with_tables(spec, interface, tables).map_err(Failure::usage)?;
        row::check_gradient(&loss).map_err(Failure::usage)?;
        if self.feature_input != FeatureInput::Raw && !loss.has_features() {
            let name = &loss.spec().name;
            return Err(Failure::usage(format!(
                "--feature-input: the loss `{name}` does not use the features; leave the option out"
            )));
        }
        self.note_unused_counts(&loss);
        Ok(loss)
    }

    /// Tells that class counts are of no use beyond their number, where nothing else was asked for.
    fn note_unused_counts(&self, loss: &Loss) {
        let unweighted = loss.interface().class_weighting == ClassWeighting::None;
        let asked = self.class_counts.is_some() && self.class_weights.is_none();
        if !asked || !unweighted || adjusts_by_counts(loss.spec()) {
            return;
        }
        let weighted_mean = loss.interface().reduction == Reduction::WeightedMean;
        let advice = if weighted_mean || loss.spec().uses(Quantity::ClassWeight, &[]) {
            "weigh by them with --class-weights inverse or effective".to_owned()
        } else {
            format!("the loss `{}` does not use class_weight", loss.spec().name)
        };
        eprintln!("note: --class-counts only gave the number of classes; {advice}");
    }

    /// The loss as a training engine takes it: the output `loss` alone.
    pub fn alone(&self, loss: &Loss) -> Result<Loss, Failure> {
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

    fn class_number(
        &self,
        counts: Option<&[f64]>,
        weights: &ClassWeights,
        model: Option<(&str, Option<usize>)>,
    ) -> Result<usize, Failure> {
        let listed = match (counts, weights) {
            (Some(counts), _) => Some(counts.len()),
            (None, ClassWeights::Given(weights)) => Some(weights.len()),
            (None, _) => None,
        };
        let asked = self.classes.or(listed);
        match (model, asked) {
            (Some((file, Some(told))), Some(asked)) if asked != told => Err(Failure::usage(format!(
                "{file} has {told} classes, but {} says {asked}",
                if self.classes.is_some() { "--classes" } else { "what is given for each class" }
            ))),
            (Some((_, Some(told))), _) => Ok(told),
            (_, Some(asked)) => Ok(asked),
            (Some((file, None)), None) => Err(Failure::usage(format!(
                "{file} does not tell how many classes there are; give --classes or --class-counts"
            ))),
            (None, None) => Err(Failure::usage("how many classes? give --classes or --class-counts")),
        }
    }

    fn fill(&self, interface: &mut Interface) {
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
