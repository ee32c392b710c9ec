//! Where a loss attaches to a classifier: its logits, and the features that its last layer makes them from.
//!
//! From every output the way back is followed through what only presents the logits (softmax, casts, reshapes, labels)
//! to the last linear layer; its data input is the features. Invariant: whatever is found comes with its reason, and
//! where two answers are as good as each other there is none, but an error that lists both.

use serde::Serialize;

use super::flow::{Extent, Flow, Known};
use crate::loss::expr::suggest;
use crate::onnx::Host;
use crate::tensor::DType;

mod layer;
mod walk;

use layer::linear;
use walk::{Candidate, walk};

/// Names that the user gave.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wishes<'a> {
    /// The logits.
    pub logits: Option<&'a str>,
    /// The features.
    pub features: Option<&'a str>,
}

/// A value of the classifier, and how it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Its name in the classifier.
    pub name: String,
    /// Element type, where the model tells.
    #[serde(serialize_with = "dtype_name")]
    pub dtype: Option<DType>,
    /// One text an axis: a number, a name, or `?`; `None` where not even the rank is known.
    pub shape: Option<Vec<String>>,
    /// Why this one.
    pub why: String,
}

/// Where a loss attaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Head {
    /// The logits `[N, C]`.
    pub logits: Place,
    /// The features `[N, D]`; `None` where they are not known, see [`Self::no_features`].
    pub features: Option<Place>,
    /// Why there are no features.
    pub no_features: Option<String>,
    /// C, where it is known.
    pub classes: Option<usize>,
}

/// A classifier in which no place for a loss is found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoverError {
    /// A name that the model does not have.
    #[error("{flag} {name}: the model has no such value{suggestion}")]
    NoSuchValue {
        /// The option.
        flag: &'static str,
        /// As given.
        name: String,
        /// A similar name, as a text to append.
        suggestion: String,
    },
    /// Nothing looks like logits.
    #[error("no logits were found: {0}; name them with --logits")]
    NoLogits(String),
    /// More than one value could be the logits.
    #[error("which of these are the logits? Name one with --logits:\n{}", .0.join("\n"))]
    Ambiguous(Vec<String>),
    /// What was found or named is no `[N, C]`.
    #[error("the {role} `{name}` have the shape [{shape}]; {wanted} is needed")]
    Shape {
        /// "logits" or "features"
        role: &'static str,
        /// Their name.
        name: String,
        /// Their shape.
        shape: String,
        /// What is needed.
        wanted: &'static str,
    },
    /// Not a float type.
    #[error("the {role} `{name}` are {dtype}; a float type is needed")]
    ElementType {
        /// "logits" or "features"
        role: &'static str,
        /// Their name.
        name: String,
        /// The type, or its number in `TensorProto.DataType` where it has no name here.
        dtype: String,
    },
}

/// Finds where a loss attaches.
///
/// # Errors
/// Names that the model does not have, and models in which no logits, or several, are found.
pub fn discover(host: &Host<'_>, wishes: Wishes<'_>) -> Result<Head, DiscoverError> {
    let flow = Flow::new(host);
    let (logits, why) = match wishes.logits {
        Some(name) => {
            check_name(&flow, "--logits", name)?;
            (name.to_owned(), "as named with --logits".to_owned())
        }
        None => found_logits(host, &flow)?,
    };
    let features = match wishes.features {
        Some(name) => {
            check_name(&flow, "--features", name)?;
            Ok((name.to_owned(), "as named with --features".to_owned(), Known::default()))
        }
        None => found_features(&flow, &logits),
    };
    let logits = place(&flow, "logits", (logits, why, Known::default()))?;
    if logits.shape.as_ref().is_some_and(|shape| shape.len() != 2) {
        return Err(shape_error("logits", &logits, "[N, C]"));
    }
    let (features, no_features) = match features {
        Ok(found) => (Some(place(&flow, "features", found)?), None),
        Err(why) => (None, Some(why)),
    };
    let classes = match flow.known(&logits.name).extent(1) {
        Some(Extent::Fixed(n)) => Some(*n),
        _ => None,
    };
    Ok(Head { logits, features, no_features, classes })
}

impl Head {
    /// The batch's extent as a shape has it: a number or a name; `None` where the model does not say.
    pub fn batch(&self) -> Option<&str> {
        self.logits.shape.as_ref()?.first().map(String::as_str).filter(|extent| *extent != UNKNOWN)
    }
}

/// An extent that the model does not tell.
pub const UNKNOWN: &str = "?";

fn check_name(flow: &Flow<'_>, flag: &'static str, name: &str) -> Result<(), DiscoverError> {
    if flow.has(name) {
        return Ok(());
    }
    let mut known: Vec<&str> = flow.values().collect();
    known.sort_unstable();
    known.dedup();
    let suggestion = suggest(name, &known);
    Err(DiscoverError::NoSuchValue { flag, name: name.to_owned(), suggestion })
}

fn found_logits(host: &Host<'_>, flow: &Flow<'_>) -> Result<(String, String), DiscoverError> {
    let outputs = host.graph().output.iter().filter_map(|output| output.name.as_deref());
    let mut candidates: Vec<Candidate<'_>> = Vec::new();
    for candidate in outputs.filter_map(|output| walk(flow, output)) {
        if !candidates.iter().any(|known| known.value == candidate.value) {
            candidates.push(candidate);
        }
    }
    let linear = candidates.iter().any(|candidate| candidate.layer);
    candidates.retain(|candidate| candidate.layer == linear && candidate.may_be_logits(flow));
    // A layer that another candidate is computed from makes features, not logits.
    let all = candidates.clone();
    let feeds = |a: &Candidate<'_>| all.iter().any(|b| flow.depends(b.value, a.value));
    candidates.retain(|candidate| !feeds(candidate));
    match candidates.as_slice() {
        [] => Err(DiscoverError::NoLogits(
            "no output leads back to a value of shape [N, C], C 2 or more".to_owned(),
        )),
        [one] => Ok((one.value.to_owned(), one.why.clone())),
        many => Err(DiscoverError::Ambiguous(
            many.iter().map(|candidate| format!("  {}: {}", candidate.value, candidate.why)).collect(),
        )),
    }
}

/// The data input of the layer that makes `logits`, also where a cast or a reshape stands between.
fn found_features(flow: &Flow<'_>, logits: &str) -> Result<(String, String, Known), String> {
    let made_by = walk(flow, logits).filter(|candidate| candidate.layer);
    let Some((output, layer)) = made_by.and_then(|c| Some((c.value, linear(flow, c.value)?))) else {
        return Err(format!(
            "`{logits}` is not made by a linear layer (Gemm, or MatMul with or without Add, with constant \
             weights)"
        ));
    };
    let told = layer.data_type(flow, &flow.known(output));
    Ok((layer.data.to_owned(), format!("the data input of {}", layer.label), told))
}

/// A value with its type; `told` has what is known of it beside.
fn place(
    flow: &Flow<'_>,
    role: &'static str,
    (name, why, told): (String, String, Known),
) -> Result<Place, DiscoverError> {
    let known = flow.known(&name).completed(told);
    let dtype = known.element.map(|code| match DType::from_onnx_code(code) {
        Some(dtype @ (DType::F32 | DType::F64 | DType::F16 | DType::BF16)) => Ok(dtype),
        other => {
            let dtype =
                other.map_or_else(|| format!("of ONNX element type {code}"), |dtype| dtype.to_string());
            Err(DiscoverError::ElementType { role, name: name.clone(), dtype })
        }
    });
    let text = |extent: Extent| match extent {
        Extent::Unknown => UNKNOWN.to_owned(),
        Extent::Fixed(n) => n.to_string(),
        Extent::Symbol(name) => name,
    };
    let shape = known.shape.map(|shape| shape.into_iter().map(text).collect());
    Ok(Place { name, dtype: dtype.transpose()?, shape, why })
}

/// The error of a value with the wrong shape.
pub(super) fn shape_error(role: &'static str, place: &Place, wanted: &'static str) -> DiscoverError {
    let shape = place.shape.as_ref().map(|shape| shape.join(", ")).unwrap_or_default();
    DiscoverError::Shape { role, name: place.name.clone(), shape, wanted }
}

fn dtype_name<S: serde::Serializer>(dtype: &Option<DType>, to: S) -> Result<S::Ok, S::Error> {
    match dtype {
        Some(dtype) => to.serialize_some(&dtype.to_string()),
        None => to.serialize_none(),
    }
}

#[cfg(test)]
mod tests;
