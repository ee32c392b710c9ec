//! Whether the classifier's values are what the loss takes.

use super::AttachError;
use crate::graft::discover::{Head, Place, UNKNOWN};
use crate::graft::flow::{Extent, Flow};
use crate::loss::{FeatureInput, Loss};
use crate::onnx::Host;
use crate::tensor::DType;

/// Labels that the classifier has.
pub struct Labels {
    /// Their name.
    pub name: String,
    /// int64 or int32.
    pub dtype: DType,
}

/// The features, for a loss that uses them.
pub fn features<'a>(head: &'a Head, loss: &Loss) -> Result<Option<&'a Place>, AttachError> {
    if !loss.has_features() {
        return Ok(None);
    }
    let Some(place) = &head.features else {
        let why = head.no_features.clone().unwrap_or_default();
        return Err(AttachError::NoFeatures { loss: loss.spec().name.clone(), why });
    };
    let last = place.shape.as_ref().and_then(|shape| shape.last()).map_or(UNKNOWN, String::as_str);
    let rank = place.shape.as_ref().map(Vec::len);
    let (wanted, flag) = match loss.interface().feature_input {
        FeatureInput::Raw => (rank.is_none_or(|r| r == 2), "raw features [N, D]"),
        FeatureInput::Norm => (rank.is_none_or(|r| r == 1), "norms [N] (--feature-input norm)"),
        FeatureInput::NormColumn => (
            rank.is_none_or(|r| r == 2) && matches!(last, "1" | UNKNOWN),
            "norms [N, 1] (--feature-input norm-column)",
        ),
    };
    if !wanted {
        let shape = place.shape.as_ref().map(|shape| shape.join(", ")).unwrap_or_default();
        let name = &place.name;
        return Err(AttachError::Port(format!(
            "the features `{name}` have the shape [{shape}], but the loss takes {flag}; choose --features and \
             --feature-input so that they agree"
        )));
    }
    Ok(Some(place))
}

/// The value that `--labels` names, where the classifier has it.
pub fn labels(host: &Host<'_>, name: Option<&str>) -> Result<Option<Labels>, AttachError> {
    if name == Some("") {
        return Err(AttachError::Port(
            "--labels: the name is empty; name a value of the model, or the new input".to_owned(),
        ));
    }
    let flow = Flow::new(host);
    let Some(name) = name.filter(|name| flow.has(name)) else {
        return Ok(None);
    };
    let known = flow.known(name);
    if known.rank().is_some_and(|rank| rank != 1) {
        let extent = |extent: &Extent| match extent {
            Extent::Fixed(n) => n.to_string(),
            Extent::Symbol(name) => name.clone(),
            Extent::Unknown => UNKNOWN.to_owned(),
        };
        let shape: Vec<String> = known.shape.iter().flatten().map(extent).collect();
        return Err(AttachError::Port(format!(
            "--labels {name}: it has the shape [{}]; labels are [N]",
            shape.join(", ")
        )));
    }
    match known.element.and_then(DType::from_onnx_code) {
        Some(dtype @ (DType::I64 | DType::I32)) => Ok(Some(Labels { name: name.to_owned(), dtype })),
        other => Err(AttachError::Port(format!(
            "--labels {name}: its type is {}; labels are int64 or int32",
            other.map_or_else(|| "not known".to_owned(), |dtype| dtype.to_string())
        ))),
    }
}
