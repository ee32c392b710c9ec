//! The case file beside a classifier: which loss it was differentiated with, and what its first steps must give.

use std::path::Path;

use serde::Deserialize;

use crate::bench::plan::StepOptimizer;
use crate::loss::{ClassWeighting, ClassWeights, Interface, Loss, Tables, builtin};

/// What `case.yaml` says; keys for people are passed over.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Case {
    /// A built-in loss.
    pub loss: String,
    #[serde(default)]
    alpha: Option<f64>,
    #[serde(default)]
    epsilon: Option<f64>,
    #[serde(default)]
    class_weights: Option<String>,
    /// Training samples of each class, `[C]`.
    pub class_counts: Vec<f64>,
    training_losses: Losses,
}

/// The loss before each of a few steps on the one batch, in float64.
#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Losses {
    sgd_momentum: Vec<f64>,
    adamw: Vec<f64>,
}

impl Case {
    /// The file's name.
    pub const FILE: &'static str = "case.yaml";

    /// Reads the case file in the directory of a classifier.
    ///
    /// # Errors
    /// No such file, or one that says something else.
    pub fn read(classifier: &Path) -> Result<Self, String> {
        let path = classifier.with_file_name(Self::FILE);
        let text = std::fs::read_to_string(&path).map_err(|error| {
            format!(
                "cannot read {}: {error}; a classifier is measured against the losses and gradients beside it, see \
                 docs/bench.md",
                path.display()
            )
        })?;
        let case: Self =
            serde_saphyr::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let finite =
            |losses: &Vec<f64>| losses.len() >= 2 && losses.iter().all(|l| l.is_finite() && *l > 0.0);
        if !finite(&case.training_losses.sgd_momentum) || !finite(&case.training_losses.adamw) {
            return Err(format!("{}: two losses or more are needed of each optimizer", path.display()));
        }
        case.loss().map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(case)
    }

    /// The losses before each step of this optimizer.
    pub fn losses(&self, optimizer: StepOptimizer) -> &[f64] {
        match optimizer {
            StepOptimizer::Momentum => &self.training_losses.sgd_momentum,
            StepOptimizer::AdamW => &self.training_losses.adamw,
        }
    }

    /// The loss, with the class weights stored in it.
    ///
    /// # Errors
    /// No built-in loss of that name, parameters and weights that it cannot have.
    pub fn loss(&self) -> Result<Loss, String> {
        let spec = builtin::load(&self.loss).ok_or_else(|| format!("no built-in loss `{}`", self.loss))?;
        let mut spec = spec.map_err(|error| error.to_string())?;
        for (name, value) in [("alpha", self.alpha), ("epsilon", self.epsilon)] {
            if let Some(value) = value {
                spec.set(name, value)?;
            }
        }
        let weights = match self.class_weights.as_deref() {
            None | Some("none") => ClassWeights::None,
            Some("inverse") => ClassWeights::Inverse,
            Some(other) => return Err(format!("class weights `{other}`; `none` and `inverse` are known")),
        };
        let classes = self.class_counts.len();
        let weights = weights.resolve(Some(&self.class_counts), classes).map_err(|e| e.to_string())?;
        let mut interface = Interface::new(classes, &spec);
        if weights.is_some() {
            interface.class_weighting = ClassWeighting::Stored;
        }
        let tables = Tables::new(&spec, weights, Some(&self.class_counts), classes);
        let tables = tables.map_err(|error| error.to_string())?;
        Loss::with_tables(spec, interface, tables).map_err(|error| error.to_string())
    }
}
