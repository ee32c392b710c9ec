//! The one graph type: losses, classifiers and their gradients.
//!
//! Single assignment: every value has one producer (a graph input, a constant or a node), and nodes stand in an order
//! in which every value is made before it is used. Invariant: [`Graph::verify`] accepts what the builder makes.

mod builder;
mod ids;
mod infer;
mod op;
mod print;
mod types;
mod verify;

pub use builder::Builder;
pub use ids::{NodeId, ValueId};
pub use infer::InferError;
pub use op::{BinaryOp, CompareOp, Op, ReduceOp, UnaryOp};
pub use types::{Dim, TensorType};
pub use verify::VerifyError;

use crate::tensor::Tensor;

/// A value: its type, and its name where the outside world knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Name at the ONNX boundary: inputs, outputs and named constants.
    pub name: Option<String>,
    /// Element type and shape.
    pub ty: TensorType,
}

/// An operator applied to values; every operator here has one output.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it does.
    pub op: Op,
    /// What it reads.
    pub inputs: Vec<ValueId>,
    /// What it makes.
    pub output: ValueId,
}

/// A graph.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Graph {
    /// Its name.
    pub name: String,
    pub(crate) values: Vec<Value>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) inputs: Vec<ValueId>,
    pub(crate) outputs: Vec<ValueId>,
    pub(crate) constants: Vec<(ValueId, Tensor)>,
}

impl Graph {
    /// A value by id.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// Nodes in an order of evaluation.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Inputs in order.
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// Outputs in order.
    pub fn outputs(&self) -> &[ValueId] {
        &self.outputs
    }

    /// Constants (initializers) with their data.
    pub fn constants(&self) -> &[(ValueId, Tensor)] {
        &self.constants
    }
}
