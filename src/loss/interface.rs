//! What a loss graph looks like from outside: its options, inputs and outputs.

use serde::{Deserialize, Serialize};

use super::adjust::{self, AdjustError, Tables};
use super::expr::suggest;
use super::spec::{LogitFormulas, LossSpec, Quantity, Reduction};
use crate::tensor::DType;

mod ports;

pub use ports::{Dim, Port};

/// Name of the row entry that `influence_gradient` is about.
pub const INFLUENCE_WEIGHT: &str = "influence_weight";
/// The outputs without flags, in the order they have in a graph.
pub const STANDARD_OUTPUTS: [&str; 4] = ["loss", "logits_grad", "features_grad", "row_loss"];

/// What the graph takes as `features`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum FeatureInput {
    /// The features themselves, `[N, D]`; the graph takes their L1 norm.
    Raw,
    /// The L1 norm, `[N]`.
    Norm,
    /// The L1 norm, `[N, 1]`, as the published trainer passes it.
    NormColumn,
}

/// Whether the gradient flows through the influence weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum InfluenceGradient {
    /// It does, as in the published trainer.
    Through,
    /// The influence weight is a constant to the backward pass.
    Stopped,
}

/// Where class weights come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassWeighting {
    /// Every class weighs 1.
    None,
    /// The initializer `class_weights` `[C]`.
    Stored,
    /// The graph input `class_weights` `[C]`.
    Runtime,
}

/// The options of a loss graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// C, at least 2.
    pub classes: usize,
    /// Element type of logits, features and their gradients: a float type.
    #[serde(with = "super::metadata::dtype_name")]
    pub dtype: DType,
    /// What `features` is.
    pub feature_input: FeatureInput,
    /// Whether the gradient flows through `influence_weight`.
    pub influence_gradient: InfluenceGradient,
    /// How rows reduce.
    pub reduction: Reduction,
    /// Rows with this label do not count.
    pub ignore_index: Option<i64>,
    /// Where class weights come from.
    pub class_weighting: ClassWeighting,
    /// Names of parameters that are graph inputs, in the order of the inputs.
    pub runtime_parameters: Vec<String>,
    /// Whether the graph has the bool input `enabled`.
    pub enabled_input: bool,
    /// Whether a label out of range makes the loss NaN instead of whatever the engine does.
    pub check_labels: bool,
    /// Names of the outputs; empty before it is settled means the default.
    pub outputs: Vec<String>,
}

/// Options that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InterfaceError(String);

impl From<AdjustError> for InterfaceError {
    fn from(error: AdjustError) -> Self {
        Self(error.to_string())
    }
}

impl Interface {
    /// The options that `ibgraph emit` has without flags.
    pub fn new(classes: usize, spec: &LossSpec) -> Self {
        Self {
            classes,
            dtype: DType::F32,
            feature_input: FeatureInput::Raw,
            influence_gradient: InfluenceGradient::Through,
            reduction: spec.reduction,
            ignore_index: None,
            class_weighting: ClassWeighting::None,
            runtime_parameters: Vec::new(),
            enabled_input: false,
            check_labels: false,
            outputs: Vec::new(),
        }
    }

    /// Checks the options against the formula and fills in the default outputs.
    pub(super) fn settle(&mut self, spec: &LossSpec, tables: &Tables) -> Result<(), InterfaceError> {
        self.check_sizes(tables.class_weights.as_deref())?;
        self.check_adjustment(spec, tables)?;
        self.check_parameters(spec)?;
        self.settle_outputs(spec)?;
        if self.influence_gradient == InfluenceGradient::Stopped && !spec.row.contains_key(INFLUENCE_WEIGHT) {
            return fail(format!(
                "--influence-gradient stopped: the loss `{}` has no row entry `{INFLUENCE_WEIGHT}`",
                spec.name
            ));
        }
        let weighted = self.class_weighting != ClassWeighting::None;
        if weighted && self.reduction != Reduction::WeightedMean && !spec.uses(Quantity::ClassWeight, &[]) {
            return fail(format!(
                "class weights were given, but the loss `{}` does not use class_weight",
                spec.name
            ));
        }
        Ok(())
    }

    fn check_sizes(&self, weights: Option<&[f64]>) -> Result<(), InterfaceError> {
        if self.classes < 2 {
            return fail(format!(
                "{} class{}: a classifier needs 2 classes or more; give --classes",
                self.classes,
                if self.classes == 1 { "" } else { "es" }
            ));
        }
        if i32::try_from(self.classes).is_err() {
            return fail(format!("{} classes are more than a graph can index", self.classes));
        }
        let stored = self.class_weighting == ClassWeighting::Stored;
        match weights {
            Some(w) if !stored => fail(format!("{} class weights, but none are to be stored", w.len())),
            None if stored => fail("class weights are to be stored, but none are given"),
            Some(w) if w.len() != self.classes => {
                fail(format!("{} class weights for {} classes; give one a class", w.len(), self.classes))
            }
            _ => Ok(()),
        }
    }

    fn check_adjustment(&self, spec: &LossSpec, tables: &Tables) -> Result<(), InterfaceError> {
        let wanted = [
            ("bias", spec.logits.bias.is_some(), &tables.logit_bias),
            ("margin", spec.logits.margin.is_some(), &tables.label_margin),
        ];
        for (what, wanted, table) in wanted {
            let found = table.as_ref().map(Vec::len);
            if wanted != found.is_some() || found.is_some_and(|n| n != self.classes) {
                return fail(format!("the loss `{}` needs one logit {what} a class", spec.name));
            }
        }
        if self.enabled_input && spec.logits != LogitFormulas::default() {
            return fail(format!(
                "--runtime-input enabled: plain cross entropy needs the logits as they are, and `{}` adjusts them; \
                 write a second file with the loss cross-entropy for the first phase",
                spec.name
            ));
        }
        let fixed = adjust::names(spec);
        match self.runtime_parameters.iter().find(|name| fixed.contains(&name.as_str())) {
            Some(name) => fail(format!(
                "--runtime-input {name}: the adjusted logits of `{}` are made from it when the graph is written",
                spec.name
            )),
            None => Ok(()),
        }
    }

    fn check_parameters(&self, spec: &LossSpec) -> Result<(), InterfaceError> {
        for (k, name) in self.runtime_parameters.iter().enumerate() {
            if !spec.parameters.contains_key(name) {
                let mut known: Vec<&str> = spec.parameters.keys().map(String::as_str).collect();
                known.extend(["class_weights", "enabled"]);
                return fail(format!(
                    "--runtime-input {name}: the loss `{}` has no such parameter{}",
                    spec.name,
                    suggest(name, &known)
                ));
            }
            if self.runtime_parameters[..k].contains(name) {
                return fail(format!("--runtime-input {name} is given twice"));
            }
        }
        for (name, parameter) in &spec.parameters {
            parameter.check(name).map_err(InterfaceError)?;
        }
        let stopped = self.influence_gradient == InfluenceGradient::Stopped;
        let is_stopped = |entry: &str| stopped && entry == INFLUENCE_WEIGHT;
        spec.check_settings(&is_stopped).map_err(|e| InterfaceError(format!("the loss `{}`: {e}", spec.name)))
    }

    fn settle_outputs(&mut self, spec: &LossSpec) -> Result<(), InterfaceError> {
        let features = spec.uses(Quantity::FeatureL1, &[]);
        let mut available: Vec<&str> =
            STANDARD_OUTPUTS.into_iter().filter(|name| features || *name != "features_grad").collect();
        available.extend(spec.row.keys().map(String::as_str));
        if self.outputs.is_empty() {
            let default = available.iter().filter(|n| STANDARD_OUTPUTS[..3].contains(n));
            self.outputs = default.map(|n| (*n).to_owned()).collect();
            return Ok(());
        }
        for name in &self.outputs {
            if !available.contains(&name.as_str()) {
                return fail(format!("--outputs: no output `{name}`{}", suggest(name, &available)));
            }
        }
        let asked = std::mem::take(&mut self.outputs);
        let kept = available.iter().filter(|n| asked.iter().any(|a| a == *n));
        self.outputs = kept.map(|n| (*n).to_owned()).collect();
        Ok(())
    }

    /// Whether `name` is among the outputs.
    pub fn has_output(&self, name: &str) -> bool {
        self.outputs.iter().any(|o| o == name)
    }

    /// Whether any output is a gradient.
    pub fn has_backward(&self) -> bool {
        self.has_output("logits_grad") || self.has_output("features_grad")
    }

    /// Element type of losses, row entries and runtime inputs: float64 for float64 graphs, else float32.
    pub fn scalar_dtype(&self) -> DType {
        if self.dtype == DType::F64 { DType::F64 } else { DType::F32 }
    }
}

fn fail<T>(message: impl Into<String>) -> Result<T, InterfaceError> {
    Err(InterfaceError(message.into()))
}
