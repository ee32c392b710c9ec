//! A loss to a graph.
//!
//! Third room of the flow. Every lowering takes a [`Loss`] and makes a [`Graph`] with the ports that the loss
//! describes. Invariant: the graph verifies, and computes the loss within the tolerances of `docs/accuracy.md`.

pub mod fused;
mod labels;
mod margin;
mod portable;
mod row;
#[cfg(test)]
mod tests;

use crate::graph::Graph;
use crate::loss::Loss;
use fused::Fused;

/// The ways to lower a loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Lowering {
    /// Forward and backward in the margin form: see [`portable`].
    #[default]
    Portable,
    /// One node of the operator library, with the portable lowering as its body: see [`fused()`].
    Fused,
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
