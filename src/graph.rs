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
pub use infer::{InferError, Inferred};
pub use op::{
    Activation, BatchNorm, BinaryOp, CompareOp, Conv, Dropout, F32, Gemm, LayerNorm, Op, Opaque, Pad, Pool,
    ReduceOp, ScalarValue, SliceAxis, UnaryOp, Window,
};
pub use types::{Dim, Element, TensorType};
pub use verify::VerifyError;

use crate::tensor::Tensor;

/// A value: its type, and its name where the outside world knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// Name at the ONNX boundary: inputs, outputs and named constants.
    pub name: Option<String>,
    /// Element type and shape.
    pub ty: TensorType,
    /// For an int64 value of few elements: what is known of them before the graph runs.
    pub elements: Option<Vec<Element>>,
}

/// An operator applied to values.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What it does.
    pub op: Op,
    /// What it reads.
    pub inputs: Vec<ValueId>,
    /// What it makes: one value or more. An operator's further outputs are left off from the end.
    pub outputs: Vec<ValueId>,
}

impl Node {
    /// Its first output.
    pub fn output(&self) -> ValueId {
        self.outputs[0]
    }
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
    pub(crate) stored: Vec<ValueId>,
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

    /// Initializers of a file whose data stays there: a classifier's parameters.
    pub fn stored(&self) -> &[ValueId] {
        &self.stored
    }

    /// Constants (initializers) with their data.
    pub fn constants(&self) -> &[(ValueId, Tensor)] {
        &self.constants
    }
}
