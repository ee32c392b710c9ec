//! A loss to a graph.
//!
//! Third room of the flow. Every lowering takes a [`Loss`] and makes a [`Graph`] with the ports that the loss
//! describes. Invariant: the graph verifies, and computes the loss within the tolerances of `docs/accuracy.md`.

mod labels;
mod margin;
mod portable;
mod row;
#[cfg(test)]
mod tests;

use crate::graph::Graph;
use crate::loss::Loss;

/// The portable lowering: the margin form in standard ONNX operators.
pub fn portable(loss: &Loss) -> Graph {
    portable::lower(loss)
}
