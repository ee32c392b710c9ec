//! A loss on a user's classifier.
//!
//! Stands after the compiler and the ONNX boundary: what is made here is a [`crate::onnx::Delta`], which
//! [`crate::onnx::splice()`] puts into the classifier's bytes. Invariant: a name that the classifier has is never given
//! to anything else.

mod attach;
mod description;
mod discover;
mod extract;
mod flow;
#[cfg(test)]
mod models;
mod training;

pub use crate::onnx::Names;
pub use attach::{AttachError, Attached, Kind, Plan, attach};
pub use description::{Description, METADATA};
pub use discover::{DiscoverError, Head, Place, Wishes, discover};
pub use extract::{ExtractError, extract};
pub use training::{Prospect, Selection, Training, TrainingError, TrainingPlan, prospect, training};
