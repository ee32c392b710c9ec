//! What a training graph takes and gives, as JSON in its metadata and beside it.
//!
//! Whoever runs the graph needs nothing else: which inputs are data, which values are carried from one run to the
//! next and from what they start, and which outputs are for people.

use serde::{Deserialize, Serialize};

use super::recipe::Recipe;
use crate::graph::{Dim, TensorType};
use crate::tensor::DType;

/// Key of the manifest in `metadata_props`.
pub const KEY: &str = "ibgraph.train";
/// Version of the JSON form that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// A training graph from outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this form.
    pub format: u32,
    /// What the graph is.
    pub kind: Kind,
    /// The optimizer and what goes with it; `None` for gradients alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<Recipe>,
    /// The loss, as in the metadata key `ibgraph.loss`; `None` where the graph computes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<serde_json::Value>,
    /// What a caller gives at every run.
    pub inputs: Vec<Input>,
    /// What a caller gets, beside the successors of what is carried.
    pub outputs: Vec<Output>,
    /// What goes from one run to the next: parameters, optimizer state, running statistics.
    pub carried: Vec<Carried>,
}

/// What a training graph is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Forward, backward and update.
    TrainStep,
    /// Forward and backward.
    Gradients,
    /// Update alone, from gradients.
    Apply,
}

/// An input that a caller gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Name, type and shape.
    #[serde(flatten)]
    pub port: Port,
    /// What it is for.
    pub role: InputRole,
    /// Value to give where the user says none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<f64>,
}

/// What an input is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputRole {
    /// The classifier's own input.
    Data,
    /// Class indices, `[N]`.
    Labels,
    /// Learning rate.
    LearningRate,
    /// Number of the update, from 1.
    Step,
    /// Factor of the loss before the backward pass.
    LossScale,
    /// Whether this micro-batch ends a step.
    Apply,
    /// One weight a class, `[C]`.
    ClassWeights,
    /// False: plain cross entropy, the first phase.
    Enabled,
    /// A parameter of the loss.
    LossParameter,
    /// Gradient of a parameter.
    Gradient,
}

/// An output for a caller.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// Name, type and shape.
    #[serde(flatten)]
    pub port: Port,
    /// What it is.
    pub role: OutputRole,
    /// For a gradient: its parameter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
}

/// What an output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputRole {
    /// The loss, [].
    Loss,
    /// The logits, `[N, C]`.
    Logits,
    /// An output that the classifier had.
    Classifier,
    /// Gradient of a parameter.
    Gradient,
    /// Global norm of the gradients before clipping.
    GradientNorm,
    /// Whether every gradient was finite.
    GradientsFinite,
}

/// A value that goes from one run to the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Carried {
    /// The input: name, type and shape.
    #[serde(flatten)]
    pub port: Port,
    /// The output that is the next run's input; `None` where the graph does not change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// What it is.
    pub role: CarriedRole,
    /// What it is before the first run.
    pub initial: Initial,
}

/// What a carried value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CarriedRole {
    /// A trainable parameter of the classifier.
    Parameter,
    /// A running statistic of the classifier, such as BatchNormalization's mean.
    Statistic,
    /// State of the optimizer.
    State,
}

/// What a carried value is before the first run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Initial {
    /// The graph's initializer of this name.
    Initializer(String),
    /// Zero everywhere.
    Zeros,
    /// Given by the caller: for `apply`, the parameters that belong to the gradients.
    Given,
}

/// Name, element type and shape of an input or output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Port {
    /// Its name in the graph.
    pub name: String,
    /// Its element type, by ONNX's name in lower case.
    #[serde(with = "dtype_name")]
    pub dtype: DType,
    /// Its shape; a name stands for an extent that is known when the graph runs.
    pub shape: Vec<Extent>,
}

/// An extent of a shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Extent {
    /// Known.
    Fixed(usize),
    /// Known when the graph runs.
    Symbol(String),
}

/// A manifest that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Not the JSON that ibgraph writes.
    #[error("the training manifest in the file's metadata ({KEY}) is damaged: {0}")]
    Json(#[from] serde_json::Error),
    /// From a newer program.
    #[error("the training manifest has format {0}, and this ibgraph reads up to {FORMAT}; update ibgraph")]
    TooNew(u32),
}

impl Manifest {
    /// The JSON text, for people too.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a manifest has string keys and finite numbers")
    }

    /// A manifest from its JSON text.
    ///
    /// # Errors
    /// Damaged or newer text.
    pub fn from_json(text: &str) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let version: Version = serde_json::from_str(text)?;
        if version.format > FORMAT {
            return Err(ManifestError::TooNew(version.format));
        }
        Ok(serde_json::from_str(text)?)
    }

    /// The input with a role, if the graph has it.
    pub fn input(&self, role: InputRole) -> Option<&Input> {
        self.inputs.iter().find(|input| input.role == role)
    }

    /// Number of classes of the loss, where there is one.
    pub fn classes(&self) -> Option<usize> {
        usize::try_from(self.loss.as_ref()?.pointer("/interface/classes")?.as_u64()?).ok()
    }

    /// The label whose rows do not count, where the loss has one.
    pub fn ignored(&self) -> Option<i64> {
        self.loss.as_ref()?.pointer("/interface/ignore_index")?.as_i64()
    }

    /// The output with a role, if the graph has it.
    pub fn output(&self, role: OutputRole) -> Option<&Output> {
        self.outputs.iter().find(|output| output.role == role)
    }
}

impl Port {
    /// A port of this type.
    pub fn new(name: &str, ty: &TensorType) -> Self {
        let extent = |dim: &Dim| match dim {
            Dim::Fixed(n) => Extent::Fixed(*n),
            Dim::Symbol(name) => Extent::Symbol(name.to_string()),
            Dim::Unknown => Extent::Symbol("unknown".to_owned()),
        };
        Self { name: name.to_owned(), dtype: ty.dtype, shape: ty.shape.iter().map(extent).collect() }
    }

    /// The type.
    pub fn ty(&self) -> TensorType {
        let dim = |extent: &Extent| match extent {
            Extent::Fixed(n) => Dim::Fixed(*n),
            Extent::Symbol(name) => Dim::symbol(name),
        };
        TensorType { dtype: self.dtype, shape: self.shape.iter().map(dim).collect() }
    }

    /// The shape, where every extent is known.
    pub fn fixed_shape(&self) -> Option<Vec<usize>> {
        let fixed = |extent: &Extent| match extent {
            Extent::Fixed(n) => Some(*n),
            Extent::Symbol(_) => None,
        };
        self.shape.iter().map(fixed).collect()
    }
}

mod dtype_name {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::tensor::DType;

    pub fn serialize<S: Serializer>(dtype: &DType, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&dtype.to_string())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<DType, D::Error> {
        let name = String::deserialize(from)?;
        let found = DType::ALL.into_iter().find(|dtype| dtype.to_string() == name);
        found.ok_or_else(|| D::Error::custom(format!("unknown element type `{name}`")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::apply::{Target, graph};
    use crate::train::{Betas, Optimizer};

    fn manifest() -> Manifest {
        let ty = TensorType::new(DType::F16, &[Dim::Fixed(3)]);
        let target = Target { name: "w".into(), ty, gradient: None, decay: true };
        let mut recipe = Recipe::new(Optimizer::AdamW(Betas::default()));
        recipe.loss_scale = true;
        graph("update", &[target], &recipe).1
    }

    #[test]
    fn a_manifest_comes_back_from_its_json() {
        assert_eq!(Manifest::from_json(&manifest().to_json()).unwrap(), manifest());
    }

    #[test]
    fn a_newer_manifest_asks_for_an_update() {
        let text = manifest().to_json().replacen("\"format\": 1", "\"format\": 2", 1);
        assert!(Manifest::from_json(&text).unwrap_err().to_string().contains("update ibgraph"));
    }
}
