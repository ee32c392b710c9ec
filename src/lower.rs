//! A loss to a graph.
//!
//! Third room of the flow. Every lowering takes a [`Loss`] and makes a [`Graph`] with the ports that the loss
//! describes. Invariant: the graph verifies, and computes the loss within the tolerances of `docs/accuracy.md`.

mod direct;
pub mod fused;
mod labels;
mod margin;
mod portable;
mod ports;
mod row;
#[cfg(test)]
mod tests;
mod trainable;

pub use trainable::TrainableError;

use crate::graph::Graph;
use crate::loss::Loss;
use fused::Fused;

/// The ways to lower a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Lowering {
    /// Forward and backward in the margin form, in standard operators.
    #[default]
    Portable,
    /// One node of the operator library, with the portable lowering as its body.
    Fused,
    /// Op by op as published, with the backward that follows op by op; to measure against.
    Direct,
    /// Forward alone, for ONNX Runtime Training to differentiate.
    Trainable,
    /// Forward for ONNX Runtime Training, with the compiled backward inside.
    ExplicitBackward,
}

/// The portable lowering: the margin form in standard ONNX operators.
pub fn portable(loss: &Loss) -> Graph {
    portable::lower(loss)
}

/// The fused lowering: one node, which an engine with the operator library runs in a single pass, and every other
/// engine as the portable lowering.
pub fn fused(loss: &Loss) -> Fused {
    fused::lower(loss)
}

/// The direct lowering: the formula op by op as published, differentiated op by op. What a framework does.
pub fn direct(loss: &Loss) -> Graph {
    direct::lower(loss)
}

/// The loss alone, [], all in float32, as a graph that ONNX Runtime Training 1.19 differentiates. It has the inputs of
/// `loss.with_outputs(&["loss"])`.
///
/// # Errors
/// Losses that cannot be trained by: not reduced, float64, or without a gradient.
pub fn trainable(loss: &Loss) -> Result<Graph, TrainableError> {
    trainable::lower(loss)
}

/// The same, with the compiled backward in place of the one that the training would derive: more exact where samples
/// are sure, and with nothing in it to differentiate but two products.
///
/// # Errors
/// As [`trainable()`].
pub fn explicit_backward(loss: &Loss) -> Result<Graph, TrainableError> {
    trainable::explicit(loss)
}
