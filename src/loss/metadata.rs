//! A [`Loss`] as the JSON text that an emitted file carries in `metadata_props`, and back.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{Interface, InterfaceError, Loss, LossSpec, SpecError, Tables};

/// Key of the specification in `metadata_props`.
pub const KEY: &str = "ibgraph.loss";
/// Name of the initializer or input that holds the class weights.
pub const CLASS_WEIGHTS: &str = "class_weights";
/// Name of the initializer that holds the biases of the logits.
pub const LOGIT_BIAS: &str = "logit_bias";
/// Name of the initializer that holds the margins of the label's logit.
pub const LABEL_MARGIN: &str = "label_margin";
/// Version of the JSON form that this program writes and the newest that it reads.
const FORMAT: u32 = 1;

/// Why a specification in a file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// Not the JSON that ibgraph writes.
    #[error("the loss specification in the file's metadata ({KEY}) is damaged: {0}")]
    Json(#[from] serde_json::Error),
    /// From a newer program.
    #[error("the loss specification has format {0}, and this ibgraph reads up to {FORMAT}; update ibgraph")]
    TooNew(u32),
    /// The formula does not read.
    #[error("the loss specification in the file's metadata does not read: {0}")]
    Spec(#[from] SpecError),
    /// The options do not fit the formula.
    #[error("the loss specification in the file's metadata contradicts itself: {0}")]
    Interface(#[from] InterfaceError),
}

#[derive(Serialize, Deserialize)]
struct Document {
    format: u32,
    loss: Source,
    interface: Interface,
}

/// The formula; the same keys as in YAML.
#[derive(Serialize, Deserialize)]
struct Source {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    parameters: IndexMap<String, f64>,
    row: IndexMap<String, String>,
    loss: String,
    reduction: super::Reduction,
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    logits: IndexMap<String, String>,
}

/// The JSON text of a loss. Class weights are not in it: they are the file's initializer `class_weights`.
///
/// # Errors
/// Never for a [`Loss`] that was put together: all its numbers are finite.
pub fn to_json(loss: &Loss) -> Result<String, MetadataError> {
    let spec = loss.spec();
    let document = Document {
        format: FORMAT,
        loss: Source {
            name: spec.name.clone(),
            title: spec.title.clone(),
            source: spec.source.clone(),
            parameters: spec.parameters.iter().map(|(k, p)| (k.clone(), p.value)).collect(),
            row: spec.row.iter().map(|(k, f)| (k.clone(), f.text.clone())).collect(),
            loss: spec.loss.text.clone(),
            reduction: spec.reduction,
            logits: logit_formulas(spec),
        },
        interface: loss.interface().clone(),
    };
    Ok(serde_json::to_string(&document)?)
}

fn logit_formulas(spec: &LossSpec) -> IndexMap<String, String> {
    let logits = &spec.logits;
    let all = [("scale", &logits.scale), ("margin", &logits.margin), ("bias", &logits.bias)];
    let given = all.into_iter().filter_map(|(name, f)| Some((name.to_owned(), f.as_ref()?.text.clone())));
    given.collect()
}

/// The loss of a JSON text, with the tables found in the file.
///
/// # Errors
/// Damaged, newer, or contradictory text.
pub fn from_json(text: &str, tables: Tables) -> Result<Loss, MetadataError> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let version: Version = serde_json::from_str(text)?;
    if version.format > FORMAT {
        return Err(MetadataError::TooNew(version.format));
    }
    let document: Document = serde_json::from_str(text)?;
    // JSON is YAML, so the formula is read and checked by the one reader.
    let yaml = serde_json::to_string(&document.loss)?;
    let spec = LossSpec::from_yaml(KEY, &yaml)?;
    Ok(Loss::with_tables(spec, document.interface, tables)?)
}

/// A [`crate::tensor::DType`] by its ONNX name.
pub(super) mod dtype_name {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::tensor::DType;

    pub fn serialize<S: Serializer>(dtype: &DType, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&dtype.to_string())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<DType, D::Error> {
        let name = String::deserialize(from)?;
        let floats = [DType::F32, DType::F64, DType::F16, DType::BF16];
        floats
            .into_iter()
            .find(|d| d.to_string() == name)
            .ok_or_else(|| D::Error::custom(format!("unknown float type `{name}`")))
    }
}
