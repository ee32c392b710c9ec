//! What takes part in a cell: graphs on ONNX Runtime, a copy of the same bytes, other programs.
//!
//! Invariant: the time of a run is taken around the run alone, with inputs and outputs in place where the work is done.

use crate::runtime::RuntimeError;
use crate::tensor::Tensor;

mod copy;
mod graph;
mod peer;

pub use copy::CopyArm;
pub use graph::{GraphArm, identity_model};
pub use peer::{PeerArm, PeerProcess, Peers, Started};

/// Inputs of one run, by name.
pub type Inputs = Vec<(String, Tensor)>;

/// The inputs whose bytes count: the others are a column at most.
pub const WIDE: [&str; 2] = ["logits", "features"];

/// Something that computes what a cell is of.
pub trait Arm {
    /// Puts sets of inputs and outputs in place.
    ///
    /// # Errors
    /// [`ArmError`], when it cannot.
    fn bind<'a>(&'a mut self, sets: &'a [Inputs]) -> Result<Box<dyn Timed + 'a>, ArmError>;
}

/// An arm that is ready to be timed.
pub trait Timed {
    /// Runs once on each of these sets, one right after the other; the seconds that each run took.
    ///
    /// # Errors
    /// [`ArmError`], when a run fails.
    fn block(&mut self, sets: &[usize]) -> Result<Vec<f64>, ArmError>;
}

/// Why an arm cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ArmError(String);

impl ArmError {
    /// An error with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl From<RuntimeError> for ArmError {
    fn from(error: RuntimeError) -> Self {
        Self(error.to_string())
    }
}
