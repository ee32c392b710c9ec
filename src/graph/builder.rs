//! Builds a graph node by node; types follow, equal nodes and equal constants are made once.

use std::collections::HashMap;

use super::op::{BinaryOp, CompareOp, Op, ReduceOp, UnaryOp};
use super::types::{Dim, TensorType};
use super::{Graph, Node, Value, ValueId};
use crate::tensor::{DType, Tensor, TensorData};

/// A graph in the making.
///
/// The builder serves lowerings, whose operand types are decided by this program; so a type that an operator does not
/// take is a defect of the lowering, and panics with the operator and the types. No user input reaches that point.
#[derive(Debug, Default)]
pub struct Builder {
    graph: Graph,
    made: HashMap<(Op, Vec<ValueId>), ValueId>,
}

impl Builder {
    /// An empty graph.
    pub fn new(name: &str) -> Self {
        let graph = Graph { name: name.to_owned(), ..Graph::default() };
        Self { graph, made: HashMap::new() }
    }

    /// A graph input.
    pub fn input(&mut self, name: &str, ty: TensorType) -> ValueId {
        let id = self.value(Some(name), ty);
        self.graph.inputs.push(id);
        id
    }

    /// Type of a value.
    pub fn ty(&self, id: ValueId) -> &TensorType {
        &self.graph.value(id).ty
    }

    /// A constant; equal ones are one.
    pub fn constant(&mut self, tensor: Tensor) -> ValueId {
        let bytes = tensor.to_le_bytes();
        let same = |t: &Tensor| {
            t.dtype() == tensor.dtype() && t.shape() == tensor.shape() && t.to_le_bytes() == bytes
        };
        let found =
            self.graph.constants.iter().find(|(id, t)| self.graph.value(*id).name.is_none() && same(t));
        if let Some((id, _)) = found {
            return *id;
        }
        self.push_constant(None, tensor)
    }

    /// A constant that the outside world knows by name.
    pub fn named_constant(&mut self, name: &str, tensor: Tensor) -> ValueId {
        self.push_constant(Some(name), tensor)
    }

    fn push_constant(&mut self, name: Option<&str>, tensor: Tensor) -> ValueId {
        let shape: Vec<Dim> = tensor.shape().iter().map(|n| Dim::Fixed(*n)).collect();
        let id = self.value(name, TensorType { dtype: tensor.dtype(), shape });
        self.graph.constants.push((id, tensor));
        id
    }

    /// A float scalar of shape [].
    pub fn scalar(&mut self, dtype: DType, value: f64) -> ValueId {
        let tensor = Tensor::new(vec![], TensorData::F64(vec![value]));
        self.constant(tensor.expect("a scalar has one element").cast(dtype))
    }

    /// An int64 scalar of shape [].
    pub fn integer(&mut self, value: i64) -> ValueId {
        let tensor = Tensor::new(vec![], TensorData::I64(vec![value]));
        self.constant(tensor.expect("a scalar has one element"))
    }

    fn value(&mut self, name: Option<&str>, ty: TensorType) -> ValueId {
        let id = ValueId::new(self.graph.values.len());
        self.graph.values.push(Value { name: name.map(str::to_owned), ty });
        id
    }

    /// A node; an equal one is not made twice.
    #[expect(clippy::panic, reason = "a defect of a lowering, which no input can reach; see the type's docs")]
    pub fn node(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        let key = (op.clone(), inputs.to_vec());
        if let Some(id) = self.made.get(&key) {
            return *id;
        }
        let types: Vec<&TensorType> = inputs.iter().map(|id| self.ty(*id)).collect();
        let ty = op.infer(&types).unwrap_or_else(|e| panic!("{e}"));
        let output = self.value(None, ty);
        self.graph.nodes.push(Node { op, inputs: inputs.to_vec(), output });
        self.made.insert(key, output);
        output
    }

    /// f(a)
    pub fn unary(&mut self, op: UnaryOp, a: ValueId) -> ValueId {
        self.node(Op::Unary(op), &[a])
    }

    /// a op b
    pub fn binary(&mut self, op: BinaryOp, a: ValueId, b: ValueId) -> ValueId {
        self.node(Op::Binary(op), &[a, b])
    }

    /// a op b, to bool
    pub fn compare(&mut self, op: CompareOp, a: ValueId, b: ValueId) -> ValueId {
        self.node(Op::Compare(op), &[a, b])
    }

    /// `a` where `condition` holds, else `b`
    pub fn choose(&mut self, condition: ValueId, a: ValueId, b: ValueId) -> ValueId {
        self.node(Op::Where, &[condition, a, b])
    }

    /// `a` as `dtype`; `a` itself where it is that already
    pub fn cast(&mut self, a: ValueId, dtype: DType) -> ValueId {
        if self.ty(a).dtype == dtype { a } else { self.node(Op::Cast(dtype), &[a]) }
    }

    /// Reduction; see [`Op::Reduce`]
    pub fn reduce(&mut self, op: ReduceOp, a: ValueId, axis: Option<usize>) -> ValueId {
        self.node(Op::Reduce(op, axis), &[a])
    }

    /// Finishes with these outputs, and drops what none of them needs.
    pub fn finish(mut self, outputs: &[(String, ValueId)]) -> Graph {
        for (name, id) in outputs {
            let mut id = *id;
            // An output needs a value of its own: not an input, not a constant, not another output.
            let is_constant = self.graph.constants.iter().any(|(constant, _)| *constant == id);
            if is_constant || self.graph.value(id).name.is_some() {
                let ty = self.ty(id).clone();
                let output = self.value(None, ty);
                self.graph.nodes.push(Node { op: Op::Unary(UnaryOp::Identity), inputs: vec![id], output });
                id = output;
            }
            self.graph.values[id.index()].name = Some(name.clone());
            self.graph.outputs.push(id);
        }
        self.graph.drop_unused();
        self.graph
    }
}

impl Graph {
    fn drop_unused(&mut self) {
        let mut used = vec![false; self.values.len()];
        self.outputs.iter().for_each(|id| used[id.index()] = true);
        for node in self.nodes.iter().rev() {
            if used[node.output.index()] {
                node.inputs.iter().for_each(|id| used[id.index()] = true);
            }
        }
        self.nodes.retain(|node| used[node.output.index()]);
        self.constants.retain(|(id, _)| used[id.index()]);
    }
}
