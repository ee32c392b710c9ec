//! Training steps of classifiers: the same step as graphs of several extents, and by other programs.
//!
//! Invariant: an arm is timed only after it has followed, on the batch beside the classifier, the float64 reference that
//! lies there: the losses of several optimizer steps, or the gradient of every parameter.

mod activations;
mod arm;
pub(crate) mod case;
mod enter;
mod graphs;
mod problem;
mod reference;

pub(super) use enter::enter;
pub(super) use problem::{Problem, layout};
