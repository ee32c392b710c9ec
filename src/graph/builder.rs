//! Builds a graph node by node; types follow, equal nodes and equal constants are made once.

use std::collections::HashMap;

use super::infer::InferError;
use super::op::{BinaryOp, CompareOp, Op, ReduceOp, UnaryOp};
use super::types::{Dim, Element, TensorType};
use super::{Graph, Node, Value, ValueId};
use crate::tensor::{DType, Tensor, TensorData};

/// A graph in the making.
///
/// The builder serves lowerings, whose operand types are decided by this program; so a type that an operator does not
/// take is a defect of the lowering, and panics with the operator and the types. What comes from a file is added by
/// [`Builder::try_nodes`]. On top of that nothing can be relied on, because the types that a file declares may contradict
/// each other: there the builder is [`Builder::wary`], and notes what failed instead.
#[derive(Debug, Default)]
pub struct Builder {
    graph: Graph,
    made: HashMap<(Op, Vec<ValueId>), Vec<ValueId>>,
    constants: HashMap<ConstantKey, ValueId>,
    /// Places of constants in the graph's list.
    constant_places: HashMap<ValueId, usize>,
    /// Places of the nodes that make values.
    makers: HashMap<ValueId, usize>,
    wary: bool,
    failure: Option<InferError>,
}

/// Type, shape and bytes of a constant.
type ConstantKey = (DType, Vec<usize>, Vec<u8>);

/// Longest int64 constant whose elements shapes may be computed from.
const FOLLOWED: usize = 64;

impl Builder {
    /// An empty graph.
    pub fn new(name: &str) -> Self {
        let graph = Graph { name: name.to_owned(), ..Graph::default() };
        Self { graph, ..Self::default() }
    }

    /// From here on an operator that does not take its inputs is noted for [`Self::take_failure`]; what it would make has
    /// the type of its first input.
    pub fn wary(&mut self) {
        self.wary = true;
    }

    /// The first operator since the last call that did not take its inputs. The graph is of no use then.
    pub fn take_failure(&mut self) -> Option<InferError> {
        self.failure.take()
    }

    /// The graph so far.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The graph as it is, with these values as its outputs.
    pub fn into_graph(mut self, outputs: Vec<ValueId>) -> Graph {
        self.graph.outputs = outputs;
        self.graph
    }

    /// An initializer whose data stays in its file.
    pub fn stored(&mut self, name: &str, ty: TensorType) -> ValueId {
        let id = self.value(Some(name), ty);
        self.graph.stored.push(id);
        id
    }

    /// Gives a value a name at the boundary.
    pub fn set_name(&mut self, id: ValueId, name: &str) {
        self.graph.values[id.index()].name = Some(name.to_owned());
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

    /// A constant's data; `None` for any other value.
    pub fn constant_value(&self, id: ValueId) -> Option<&Tensor> {
        let at = self.constant_places.get(&id)?;
        Some(&self.graph.constants[*at].1)
    }

    /// What was transposed, and in what order, where a value is made by a transpose.
    pub fn transposed_from(&self, id: ValueId) -> Option<(ValueId, Vec<usize>)> {
        let at = self.makers.get(&id)?;
        let node = &self.graph.nodes[*at];
        match &node.op {
            Op::Transpose(perm) => Some((node.inputs[0], perm.clone())),
            _ => None,
        }
    }

    /// A constant; equal ones are one.
    pub fn constant(&mut self, tensor: Tensor) -> ValueId {
        let key = (tensor.dtype(), tensor.shape().to_vec(), tensor.to_le_bytes());
        if let Some(id) = self.constants.get(&key) {
            return *id;
        }
        let id = self.push_constant(None, tensor);
        self.constants.insert(key, id);
        id
    }

    /// A constant that the outside world knows by name.
    pub fn named_constant(&mut self, name: &str, tensor: Tensor) -> ValueId {
        self.push_constant(Some(name), tensor)
    }

    fn push_constant(&mut self, name: Option<&str>, tensor: Tensor) -> ValueId {
        let shape: Vec<Dim> = tensor.shape().iter().map(|n| Dim::Fixed(*n)).collect();
        let id = self.value(name, TensorType { dtype: tensor.dtype(), shape });
        let elements = tensor.as_i64().filter(|values| values.len() <= FOLLOWED);
        self.graph.values[id.index()].elements =
            elements.map(|values| values.iter().map(|v| Element::Int(*v)).collect());
        self.constant_places.insert(id, self.graph.constants.len());
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

    /// An int64 vector.
    pub fn integers(&mut self, values: &[i64]) -> ValueId {
        let tensor = Tensor::new(vec![values.len()], TensorData::I64(values.to_vec()));
        self.constant(tensor.expect("a vector has its own length"))
    }

    fn value(&mut self, name: Option<&str>, ty: TensorType) -> ValueId {
        let id = ValueId::new(self.graph.values.len());
        self.graph.values.push(Value { name: name.map(str::to_owned), ty, elements: None });
        id
    }

    /// A node; an equal one is not made twice.
    pub fn node(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        self.nodes(op, inputs, 1)[0]
    }

    /// The first `count` outputs of a node; an equal node is not made twice.
    pub fn nodes(&mut self, op: Op, inputs: &[ValueId], count: usize) -> Vec<ValueId> {
        let key = (op.clone(), inputs.to_vec());
        if let Some(made) = self.made.get(&key).filter(|made| made.len() >= count) {
            return made[..count].to_vec();
        }
        self.try_nodes(op, inputs, count).unwrap_or_else(|error| self.failed(error, inputs, count))
    }

    #[expect(clippy::panic, reason = "a defect of a lowering, which no input can reach; see the type's docs")]
    fn failed(&mut self, error: InferError, inputs: &[ValueId], count: usize) -> Vec<ValueId> {
        if !self.wary {
            panic!("{error}");
        }
        self.failure.get_or_insert(error);
        let ty = inputs.first().map_or(TensorType::new(DType::F32, &[]), |id| self.ty(*id).clone());
        (0..count).map(|_| self.value(None, ty.clone())).collect()
    }

    /// The first `count` outputs of a node.
    ///
    /// # Errors
    /// An operator that does not take these inputs, or has fewer outputs.
    pub fn try_nodes(
        &mut self,
        op: Op,
        inputs: &[ValueId],
        count: usize,
    ) -> Result<Vec<ValueId>, InferError> {
        let values: Vec<&Value> = inputs.iter().map(|id| self.graph.value(*id)).collect();
        let inferred = op.infer(&values)?;
        if count == 0 || inferred.len() < count {
            return Err(InferError::outputs(&op, inferred.len(), count));
        }
        let mut outputs = Vec::with_capacity(count);
        for known in inferred.into_iter().take(count) {
            let id = self.value(None, known.ty);
            self.graph.values[id.index()].elements = known.elements;
            outputs.push(id);
        }
        let place = self.graph.nodes.len();
        self.makers.extend(outputs.iter().map(|id| (*id, place)));
        self.graph.nodes.push(Node { op: op.clone(), inputs: inputs.to_vec(), outputs: outputs.clone() });
        self.made.insert((op, inputs.to_vec()), outputs.clone());
        Ok(outputs)
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

    /// Reduction over one axis, which stays with extent 1; `None` reduces everything to a scalar.
    pub fn reduce(&mut self, op: ReduceOp, a: ValueId, axis: Option<usize>) -> ValueId {
        let op = Op::Reduce { op, axes: axis.map(|axis| vec![axis]), keep: axis.is_some() };
        self.node(op, &[a])
    }

    /// `[N]` to `[N, 1]`, or one more axis of extent 1 at the end of any shape.
    pub fn unsqueeze_last(&mut self, a: ValueId) -> ValueId {
        let rank = self.ty(a).rank();
        self.node(Op::Unsqueeze(vec![rank]), &[a])
    }

    /// `[N, 1]` to `[N]`: without the last axis.
    pub fn squeeze_last(&mut self, a: ValueId) -> ValueId {
        let rank = self.ty(a).rank();
        self.node(Op::Squeeze(vec![rank.saturating_sub(1)]), &[a])
    }

    /// Softmax along the last axis.
    pub fn softmax(&mut self, a: ValueId) -> ValueId {
        let rank = self.ty(a).rank();
        self.node(Op::Softmax(rank.saturating_sub(1)), &[a])
    }

    /// Puts another graph on top: its inputs become `inputs`, in their order. Returns its outputs.
    pub fn inline(&mut self, graph: &Graph, inputs: &[ValueId]) -> Vec<ValueId> {
        let mut values: HashMap<ValueId, ValueId> =
            graph.inputs().iter().copied().zip(inputs.iter().copied()).collect();
        for (id, tensor) in graph.constants() {
            let constant = self.constant(tensor.clone());
            values.insert(*id, constant);
        }
        for node in graph.nodes() {
            let inputs: Vec<ValueId> = node.inputs.iter().map(|id| values[id]).collect();
            let made = self.nodes(node.op.clone(), &inputs, node.outputs.len());
            values.extend(node.outputs.iter().copied().zip(made));
        }
        graph.outputs().iter().map(|id| values[id]).collect()
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
                let op = Op::Unary(UnaryOp::Identity);
                self.graph.nodes.push(Node { op, inputs: vec![id], outputs: vec![output] });
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
            if node.outputs.iter().any(|id| used[id.index()]) {
                node.inputs.iter().for_each(|id| used[id.index()] = true);
            }
        }
        self.nodes.retain(|node| node.outputs.iter().any(|id| used[id.index()]));
        self.constants.retain(|(id, _)| used[id.index()]);
    }
}
