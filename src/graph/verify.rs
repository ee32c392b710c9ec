//! The invariants of a graph, checked.

use std::collections::HashSet;

use super::{Graph, InferError, NodeId, ValueId};

/// A graph that breaks an invariant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// A value is made twice.
    #[error("{0} is made twice")]
    MadeTwice(ValueId),
    /// A value is used before it is made, or never made.
    #[error("{node} uses {value} before it is made")]
    NotMade {
        /// The user.
        node: NodeId,
        /// What it uses.
        value: ValueId,
    },
    /// An output that nothing makes.
    #[error("the output {0} is not made")]
    OutputNotMade(ValueId),
    /// An operator that does not take its inputs.
    #[error("{node}: {error}")]
    Type {
        /// The node.
        node: NodeId,
        /// Why.
        error: InferError,
    },
    /// A value's recorded type is not what its node makes.
    #[error("{0} does not make the recorded type of its output")]
    WrongType(NodeId),
    /// A name at the boundary that two values share.
    #[error("two values are named `{0}`")]
    NameTwice(String),
}

impl Graph {
    /// Checks single assignment, order, types and names.
    ///
    /// # Errors
    /// The first broken invariant.
    pub fn verify(&self) -> Result<(), VerifyError> {
        let mut made = HashSet::new();
        let sources = self.inputs.iter().chain(self.constants.iter().map(|(id, _)| id));
        for id in sources {
            if !made.insert(*id) {
                return Err(VerifyError::MadeTwice(*id));
            }
        }
        for (index, node) in self.nodes.iter().enumerate() {
            let id = NodeId::new(index);
            if let Some(value) = node.inputs.iter().find(|v| !made.contains(v)) {
                return Err(VerifyError::NotMade { node: id, value: *value });
            }
            let types: Vec<_> = node.inputs.iter().map(|v| &self.value(*v).ty).collect();
            let ty = node.op.infer(&types).map_err(|error| VerifyError::Type { node: id, error })?;
            if ty != self.value(node.output).ty {
                return Err(VerifyError::WrongType(id));
            }
            if !made.insert(node.output) {
                return Err(VerifyError::MadeTwice(node.output));
            }
        }
        if let Some(id) = self.outputs.iter().find(|id| !made.contains(id)) {
            return Err(VerifyError::OutputNotMade(*id));
        }
        self.verify_names()
    }

    fn verify_names(&self) -> Result<(), VerifyError> {
        let mut seen = HashSet::new();
        let names = self.values.iter().filter_map(|v| v.name.as_deref());
        for name in names {
            if !seen.insert(name) {
                return Err(VerifyError::NameTwice(name.to_owned()));
            }
        }
        Ok(())
    }
}
