//! Training on stock ONNX Runtime: optimizers as parts of a graph, what such a graph takes and gives, and the loop.
//!
//! Stands after the gradients: [`update`] appends an optimizer to a graph that has them, and [`apply`] makes a graph of
//! the update alone. The [`manifest`] of such a graph says what is carried from one run to the next. Invariant: a
//! graph with its manifest is all that a training loop needs to know.

pub mod apply;
pub mod chance;
pub mod data;
pub mod evaluate;
pub mod fit;
pub mod manifest;
pub mod names;
mod optimizer;
mod recipe;
pub mod state;
pub mod stored;
pub mod update;

pub use manifest::Manifest;
pub use recipe::{Betas, Optimizer, Recipe, RecipeError};

use crate::graft::Names;
use crate::graph::{Builder, TensorType, ValueId};
use crate::tensor::DType;
use manifest::{Input, InputRole, Port};

/// The input by which the loss is multiplied before the backward pass.
pub fn loss_scale(b: &mut Builder, names: &mut Names) -> (Input, ValueId) {
    let name = names.give(names::LOSS_SCALE);
    let ty = TensorType::new(DType::F32, &[]);
    let input = Input { port: Port::new(&name, &ty), role: InputRole::LossScale, default: None };
    (input, b.input(&name, ty))
}
