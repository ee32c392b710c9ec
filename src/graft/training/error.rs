//! Why a classifier cannot be trained.

use crate::autodiff::AutodiffError;
use crate::graft::attach::AttachError;
use crate::graph::{InferError, TensorType};
use crate::loss::InterfaceError;
use crate::onnx::ImportError;

/// A classifier that cannot be trained as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainingError {
    /// The loss does not fit the classifier.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// A loss that is not reduced to one number.
    #[error("a training step needs one loss, and the reduction is none; choose mean, weighted-mean or sum")]
    NotReduced,
    /// See [`ImportError`].
    #[error(transparent)]
    Import(#[from] ImportError),
    /// See [`AutodiffError`].
    #[error("{error}; {advice}", error = .0, advice = advice(.0))]
    Autodiff(#[from] AutodiffError),
    /// A pattern that matches nothing, or nothing left to train.
    #[error("{0}")]
    Selection(String),
    /// Types of the file that do not agree.
    #[error(
        "the types that the model declares contradict each other: {0}; onnx.checker.check_model(…, full_check=True) may say \
         where"
    )]
    Types(#[from] InferError),
    /// Logits or features that are no `[N, C]` of floats.
    #[error("the {role} `{name}` are {ty} where they are computed; a matrix of floats is needed")]
    NoMatrix {
        /// "logits" or "features"
        role: &'static str,
        /// Their name.
        name: String,
        /// Their type.
        ty: TensorType,
    },
    /// See [`InterfaceError`].
    #[error(transparent)]
    Interface(#[from] InterfaceError),
}

/// What helps where there is no gradient through a node.
fn advice(error: &AutodiffError) -> String {
    let types = match error.nodes.iter().any(|node| node.behind.is_some()) {
        true => "let onnx.shape_inference.infer_shapes write the types that the file lacks, then ",
        false => "",
    };
    let them = if error.nodes.len() > 1 { "these nodes" } else { "that node" };
    format!("{types}freeze the parameters before {them} with --freeze, or export the model without {them}")
}
