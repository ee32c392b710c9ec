//! What a rule works with: its node, the gradients of the node's outputs, and a builder with short names.

use crate::graph::{BinaryOp, Builder, CompareOp, Dim, Node, Op, ReduceOp, TensorType, UnaryOp, ValueId};
use crate::tensor::DType;

/// Gradients of a node's inputs, in their order; `None` where there is none or it is not needed.
pub(super) type Gradients = Result<Vec<Option<ValueId>>, String>;

/// A node on the way back.
pub(super) struct Vjp<'a> {
    pub b: &'a mut Builder,
    pub node: &'a Node,
    /// Of the outputs.
    pub gradients: &'a [Option<ValueId>],
    /// Whether an input's gradient is needed.
    pub needed: &'a [bool],
}

impl Vjp<'_> {
    /// Input `k`.
    pub fn x(&self, k: usize) -> ValueId {
        self.node.inputs[k]
    }

    /// The first output.
    pub fn y(&self) -> ValueId {
        self.node.output()
    }

    /// Gradient of the first output.
    pub fn g(&self) -> Result<ValueId, String> {
        self.gradients[0].ok_or_else(|| "only an output beside the first is used".to_owned())
    }

    pub fn ty(&self, id: ValueId) -> &TensorType {
        self.b.ty(id)
    }

    pub fn dtype(&self, id: ValueId) -> DType {
        self.b.ty(id).dtype
    }

    pub fn rank(&self, id: ValueId) -> usize {
        self.b.ty(id).rank()
    }

    /// A scalar of the element type of `like`.
    pub fn scalar(&mut self, like: ValueId, value: f64) -> ValueId {
        let dtype = self.dtype(like);
        self.b.scalar(dtype, value)
    }

    pub fn unary(&mut self, op: UnaryOp, a: ValueId) -> ValueId {
        self.b.unary(op, a)
    }

    pub fn add(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.b.binary(BinaryOp::Add, a, b)
    }

    pub fn sub(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.b.binary(BinaryOp::Sub, a, b)
    }

    /// a · b; the other one where one is the scalar 1.
    pub fn mul(&mut self, a: ValueId, b: ValueId) -> ValueId {
        if self.constant(b) == Some(1.0) {
            return a;
        }
        if self.constant(a) == Some(1.0) {
            return b;
        }
        self.b.binary(BinaryOp::Mul, a, b)
    }

    pub fn div(&mut self, a: ValueId, b: ValueId) -> ValueId {
        if self.constant(b) == Some(1.0) { a } else { self.b.binary(BinaryOp::Div, a, b) }
    }

    pub fn neg(&mut self, a: ValueId) -> ValueId {
        self.b.unary(UnaryOp::Neg, a)
    }

    /// a · factor
    pub fn scaled(&mut self, a: ValueId, factor: f64) -> ValueId {
        let factor = self.scalar(a, factor);
        self.mul(a, factor)
    }

    pub fn compare(&mut self, op: CompareOp, a: ValueId, b: ValueId) -> ValueId {
        self.b.compare(op, a, b)
    }

    /// `a` where the condition holds, else 0.
    pub fn only_where(&mut self, condition: ValueId, a: ValueId) -> ValueId {
        let zero = self.scalar(a, 0.0);
        self.b.choose(condition, a, zero)
    }

    /// 1 where the condition holds, else 0, of the element type of `like`. A product with it is a fraction of the time of
    /// `Where` on ONNX Runtime's CPU provider.
    pub fn one_where(&mut self, condition: ValueId, like: ValueId) -> ValueId {
        let dtype = self.dtype(like);
        self.b.cast(condition, dtype)
    }

    /// 1 where `a`, which is not negative, is above 0, else 0: clip(a · largest number, 0, 1), and a comparison for half types,
    /// whose subnormal numbers matter. A subnormal number may get a fraction.
    pub fn step(&mut self, a: ValueId) -> ValueId {
        let largest = match self.dtype(a) {
            DType::F64 => f64::MAX,
            DType::F32 => f64::from(f32::MAX),
            _ => {
                let zero = self.scalar(a, 0.0);
                let positive = self.compare(CompareOp::Greater, a, zero);
                return self.one_where(positive, a);
            }
        };
        let [zero, one] = [0.0, 1.0].map(|value| self.scalar(a, value));
        let stretched = self.scaled(a, largest);
        self.b.node(Op::Clip, &[stretched, zero, one])
    }

    /// Value of a constant of one element; `None` for anything else.
    pub fn constant(&self, id: ValueId) -> Option<f64> {
        let constants = self.b.constant_value(id)?;
        (constants.len() == 1 && constants.shape().is_empty()).then(|| constants.to_f64_vec()[0])
    }

    /// Sum over axes.
    pub fn sum(&mut self, a: ValueId, axes: &[usize], keep: bool) -> ValueId {
        self.reduce(ReduceOp::Sum, a, axes, keep)
    }

    pub fn reduce(&mut self, op: ReduceOp, a: ValueId, axes: &[usize], keep: bool) -> ValueId {
        if axes.is_empty() {
            return a;
        }
        self.b.node(Op::Reduce { op, axes: Some(axes.to_vec()), keep }, &[a])
    }

    /// `a` with its axes in another order; a transpose of a transpose is undone.
    pub fn transpose(&mut self, a: ValueId, perm: &[usize]) -> ValueId {
        let mut source = a;
        let mut perm = perm.to_vec();
        if let Some((inner, first)) = self.b.transposed_from(a) {
            perm = perm.iter().map(|k| first[*k]).collect();
            source = inner;
        }
        if perm.iter().enumerate().all(|(k, p)| k == *p) {
            return source;
        }
        self.b.node(Op::Transpose(perm), &[source])
    }

    /// `a` with its last two axes swapped.
    pub fn swap_last(&mut self, a: ValueId) -> ValueId {
        let rank = self.rank(a);
        self.swap(a, rank - 1, rank - 2)
    }

    /// `a` with two axes swapped.
    pub fn swap(&mut self, a: ValueId, one: usize, other: usize) -> ValueId {
        let mut perm: Vec<usize> = (0..self.rank(a)).collect();
        perm.swap(one, other);
        self.transpose(a, &perm)
    }

    /// Parts one after the other along an axis; one alone as it is.
    pub fn joined(&mut self, parts: &[ValueId], axis: usize) -> ValueId {
        if let [one] = parts { *one } else { self.b.node(Op::Concat(axis), parts) }
    }

    /// The shape of a value as an int64 vector: a constant where it is known.
    pub fn shape_of(&mut self, id: ValueId) -> ValueId {
        match self.ty(id).fixed_shape() {
            Some(shape) => {
                let shape: Vec<i64> = shape.iter().map(|n| *n as i64).collect();
                self.b.integers(&shape)
            }
            None => {
                let rank = self.rank(id);
                self.b.node(Op::Shape(0, rank), &[id])
            }
        }
    }

    /// `a` in the shape of `like`, which has as many elements.
    pub fn reshape_like(&mut self, a: ValueId, like: ValueId) -> ValueId {
        if self.certainly_same_shape(a, like) {
            return a;
        }
        let dims = self.ty(like).shape.clone();
        let open = dims.iter().filter(|d| d.fixed().is_none()).count();
        let shape = if open <= 1 && !dims.contains(&Dim::Fixed(0)) {
            let extents: Vec<i64> = dims.iter().map(|d| d.fixed().map_or(-1, |n| n as i64)).collect();
            self.b.integers(&extents)
        } else {
            self.shape_of(like)
        };
        self.b.node(Op::Reshape, &[a, shape])
    }

    /// `a` reshaped; at most one extent is -1.
    pub fn reshape(&mut self, a: ValueId, shape: &[i64]) -> ValueId {
        let shape = self.b.integers(shape);
        self.b.node(Op::Reshape, &[a, shape])
    }

    /// `a` broadcast to the shape of `like`.
    pub fn expand_like(&mut self, a: ValueId, like: ValueId) -> ValueId {
        if self.certainly_same_shape(a, like) {
            return a;
        }
        let shape = self.shape_of(like);
        self.b.node(Op::Expand, &[a, shape])
    }

    /// Zeros of the type of `like`.
    pub fn zeros_like(&mut self, like: ValueId) -> ValueId {
        let dtype = self.dtype(like);
        let shape = self.shape_of(like);
        self.b.node(Op::ConstantOfShape(crate::graph::ScalarValue::new(dtype, 0.0)), &[shape])
    }

    pub fn certainly_same_shape(&self, a: ValueId, b: ValueId) -> bool {
        let (a, b) = (self.ty(a), self.ty(b));
        a.rank() == b.rank() && a.shape.iter().zip(&b.shape).all(|(x, y)| x.same(y))
    }

    /// A gradient of a broadcast value, summed back to the shape of `to`.
    ///
    /// Where it is not known before the graph runs whether an axis was broadcast, it is taken that it was not; then the
    /// reshape to the value's own shape fails when the graph runs, should it have been.
    pub fn sum_to(&mut self, g: ValueId, to: ValueId) -> ValueId {
        if self.certainly_same_shape(g, to) {
            return g;
        }
        let (from, dims) = (self.ty(g).shape.clone(), self.ty(to).shape.clone());
        let leading = from.len().saturating_sub(dims.len());
        let stretched =
            |k: &usize| *k < leading || (dims[*k - leading] == Dim::Fixed(1) && from[*k] != Dim::Fixed(1));
        let axes: Vec<usize> = (0..from.len()).filter(stretched).collect();
        // Axes that stay with extent 1 go too: the reshape brings them back for nothing.
        let summed = self.sum(g, &axes, false);
        self.reshape_like(summed, to)
    }
}
