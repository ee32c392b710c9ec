//! The invariants of a graph, checked.

use std::collections::HashSet;

use super::{Graph, InferError, Node, NodeId, ValueId};

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
    #[error("{0} does not make the recorded types of its outputs")]
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
        let sources = self.inputs.iter().chain(&self.stored).chain(self.constants.iter().map(|(id, _)| id));
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
            self.verify_types(id, node)?;
            if let Some(value) = node.outputs.iter().find(|value| !made.insert(**value)) {
                return Err(VerifyError::MadeTwice(*value));
            }
        }
        if let Some(id) = self.outputs.iter().find(|id| !made.contains(id)) {
            return Err(VerifyError::OutputNotMade(*id));
        }
        self.verify_names()
    }

    fn verify_types(&self, id: NodeId, node: &Node) -> Result<(), VerifyError> {
        let values: Vec<_> = node.inputs.iter().map(|v| self.value(*v)).collect();
        let inferred = node.op.infer(&values).map_err(|error| VerifyError::Type { node: id, error })?;
        let same = |(value, known): (&ValueId, &super::Inferred)| self.value(*value).ty == known.ty;
        let counted = (1..=inferred.len()).contains(&node.outputs.len());
        if counted && node.outputs.iter().zip(&inferred).all(same) {
            Ok(())
        } else {
            Err(VerifyError::WrongType(id))
        }
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
