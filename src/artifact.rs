//! A loss as a model file, and back.
//!
//! Where the rooms meet: [`emit`] runs the whole way from a [`Loss`] to bytes; [`open`] finds in a file the loss that
//! it claims to compute. Invariant: `open(emit(loss))` gives the loss back.

use prost::Message;

use crate::loss::metadata::{self, CLASS_WEIGHTS, LABEL_MARGIN, LOGIT_BIAS, MetadataError};
use crate::loss::{Loss, LossSpec, Tables};
use crate::lower::{self, Lowering, TrainableError};
use crate::onnx::messages::{GraphProto, ModelProto};
use crate::onnx::{self, ReadError, SpellError, Versions, WriteOptions};
use crate::row::{self, NoGradient};
use crate::tensor::Tensor;

/// A model file with the loss it claims to compute.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// The file's message.
    pub model: ModelProto,
    /// The loss of its metadata.
    pub loss: Loss,
}

/// Why a file cannot be opened as a loss.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// Not a model, or a tensor in it does not read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A model, but not one of ours.
    #[error(
        "the model carries no loss specification (metadata key {key}); only files that ibgraph wrote can be checked",
        key = metadata::KEY
    )]
    NoSpecification,
    /// Ours, but damaged.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

/// Most class numbers that a file lists, in int64: a quarter of what protobuf allows.
const MOST_LISTED: usize = 1 << 26;

/// Why a loss cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The operator set does not have what the graph needs.
    #[error(transparent)]
    Spell(#[from] SpellError),
    /// The lowering does not take the loss.
    #[error(transparent)]
    Trainable(#[from] TrainableError),
    /// Nothing could be trained by the loss.
    #[error(transparent)]
    NoGradient(#[from] NoGradient),
    /// The file would have a list of the classes that is beyond protobuf's 2 GiB, or near it.
    #[error(
        "at operator sets below 11 a file lists its classes, and {0} are more than the {MOST_LISTED} that fit; use --opset 11 or \
         newer"
    )]
    TooManyClasses(usize),
    /// The specification cannot be stored; never for a loss that was put together.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

impl Artifact {
    /// The graph of the model.
    pub fn graph(&self) -> &GraphProto {
        self.model.graph.as_ref().expect("a model without a graph is refused when it is read")
    }
}

/// The bytes of a model file that computes `loss`: the portable lowering, with the specification in its metadata.
///
/// # Errors
/// A loss without a gradient, or an operator set that cannot express the loss.
pub fn emit(loss: &Loss, versions: Versions) -> Result<Vec<u8>, EmitError> {
    emit_as(loss, Lowering::Portable, versions)
}

/// The same by a lowering of choice. Those for training have the one output `loss`, whatever the loss asks for.
///
/// # Errors
/// A loss without a gradient or that the lowering does not take, or an operator set that cannot express it.
pub fn emit_as(loss: &Loss, lowering: Lowering, versions: Versions) -> Result<Vec<u8>, EmitError> {
    row::check_gradient(loss)?;
    let classes = loss.interface().classes;
    if versions.opset() < onnx::ELEMENTS && classes > MOST_LISTED {
        return Err(EmitError::TooManyClasses(classes));
    }
    let (loss, graph) = match lowering {
        Lowering::Portable => (loss.clone(), lower::portable(loss)),
        Lowering::Fused => return fused(loss, versions),
        Lowering::Direct => (loss.clone(), lower::direct(loss)),
        Lowering::Trainable => (alone(loss)?, lower::trainable(loss)?),
        Lowering::ExplicitBackward => (alone(loss)?, lower::explicit_backward(loss)?),
    };
    Ok(onnx::write(&graph, &options(&loss, versions)?)?)
}

/// What goes into the file beside the graph.
fn options(loss: &Loss, versions: Versions) -> Result<WriteOptions, MetadataError> {
    Ok(WriteOptions {
        versions,
        doc: Some(doc(loss.spec())),
        metadata: vec![(metadata::KEY.to_owned(), metadata::to_json(loss)?)],
    })
}

/// One node of the operator library, whose body is the portable lowering.
fn fused(loss: &Loss, versions: Versions) -> Result<Vec<u8>, EmitError> {
    let fused = lower::fused(loss);
    let operator = onnx::Operator {
        domain: lower::fused::DOMAIN,
        version: lower::fused::DOMAIN_VERSION,
        name: lower::fused::OPERATOR,
        attribute: (lower::fused::ATTRIBUTE, &fused.attribute),
        tables: &fused.tables,
    };
    let body = onnx::model(&fused.body, &options(loss, versions.with_functions())?)?;
    Ok(onnx::outline(body, &operator).encode_to_vec())
}

fn alone(loss: &Loss) -> Result<Loss, TrainableError> {
    Ok(loss.with_outputs(&["loss"])?)
}

fn doc(spec: &LossSpec) -> String {
    let title = spec.title.as_deref().unwrap_or(&spec.name);
    let source = spec.source.as_ref().map(|s| format!(" ({s})")).unwrap_or_default();
    format!("{title}{source}: loss = {}", spec.loss.text)
}

/// Opens a model file that [`emit`] made.
///
/// # Errors
/// Bytes that are no model, or no loss of ours.
pub fn open(bytes: &[u8]) -> Result<Artifact, ArtifactError> {
    let model = onnx::read(bytes)?;
    let entry = model.metadata_props.iter().find(|e| e.key.as_deref() == Some(metadata::KEY));
    let Some(text) = entry.and_then(|e| e.value.as_deref()) else {
        return Err(ArtifactError::NoSpecification);
    };
    let table = |name: &str| -> Result<Option<Vec<f64>>, ReadError> {
        let mut stored = model.graph.iter().flat_map(|g| &g.initializer);
        let found = stored.find(|t| t.name.as_deref() == Some(name));
        Ok(found.map(Tensor::try_from).transpose()?.map(|t| t.to_f64_vec()))
    };
    let tables = Tables {
        class_weights: table(CLASS_WEIGHTS)?,
        logit_bias: table(LOGIT_BIAS)?,
        label_margin: table(LABEL_MARGIN)?,
    };
    let loss = metadata::from_json(text, tables)?;
    Ok(Artifact { model, loss })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::{ClassWeighting, Interface, builtin};

    fn loss() -> Loss {
        let mut spec = builtin::load("ib-focal").unwrap().unwrap();
        spec.set("alpha", 0.1 + 0.2).unwrap();
        let mut interface = Interface::new(3, &spec);
        interface.class_weighting = ClassWeighting::Stored;
        interface.outputs = vec!["influence_weight".into(), "loss".into()];
        Loss::new(spec, interface, Some(vec![0.1, 1.0 / 3.0, 2.0])).unwrap()
    }

    #[test]
    fn a_file_gives_back_the_loss_that_it_computes() {
        let loss = loss();
        let back = open(&emit(&loss, Versions::default()).unwrap()).unwrap().loss;
        assert_eq!(back.interface(), loss.interface());
        assert_eq!(back.class_weights(), loss.class_weights());
        assert_eq!(back.spec().loss.text, loss.spec().loss.text);
        assert_eq!(back.spec().parameters["alpha"].value, 0.1 + 0.2);
    }

    #[test]
    fn the_same_loss_gives_the_same_bytes() {
        let bytes = || emit(&loss(), Versions::default()).unwrap();
        assert_eq!(bytes(), bytes());
    }
}
