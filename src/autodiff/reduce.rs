//! Rules of reductions and of the softmax.

use super::vjp::{Gradients, Vjp};
use crate::graph::{CompareOp, Op, ReduceOp, UnaryOp, ValueId};
use crate::tensor::DType;

pub(super) fn reduce(v: &mut Vjp<'_>, op: ReduceOp, axes: Option<Vec<usize>>, keep: bool) -> Gradients {
    let (x, g) = (v.x(0), v.g()?);
    let axes = axes.unwrap_or_else(|| (0..v.rank(x)).collect());
    let y = v.y();
    let y = kept(v, y, &axes, keep);
    let g = kept(v, g, &axes, keep);
    let dx = match op {
        // dx = g
        ReduceOp::Sum => g,
        // dx = g / number of elements
        ReduceOp::Mean => {
            let count = count(v, x, &axes, g);
            v.div(g, count)
        }
        // dx = g / number of extreme elements, at each of them
        ReduceOp::Max | ReduceOp::Min => {
            let is_extreme = v.compare(CompareOp::Equal, x, y);
            let dtype = v.dtype(x);
            let hits = v.b.cast(is_extreme, dtype);
            let ties = v.sum(hits, &axes, true);
            let share = v.div(g, ties);
            v.only_where(is_extreme, share)
        }
        // dx = g · x / y, and 0 where y is 0
        ReduceOp::L2 => {
            let zero = v.scalar(y, 0.0);
            let share = v.div(g, y);
            let nothing = v.compare(CompareOp::Equal, y, zero);
            let share = v.b.choose(nothing, zero, share);
            v.mul(x, share)
        }
        // dx = g · sign x
        ReduceOp::L1 => {
            let sign = v.unary(UnaryOp::Sign, x);
            v.mul(sign, g)
        }
        // dx = 2 g · x
        ReduceOp::SumSquare => {
            let twice = v.scaled(g, 2.0);
            v.mul(x, twice)
        }
        // dx = g · e^(x - y)
        ReduceOp::LogSumExp => {
            let below = v.sub(x, y);
            let share = v.unary(UnaryOp::Exp, below);
            v.mul(share, g)
        }
    };
    Ok(vec![Some(v.expand_like(dx, x))])
}

/// A reduced value with its reduced axes back, of extent 1.
fn kept(v: &mut Vjp<'_>, reduced: ValueId, axes: &[usize], keep: bool) -> ValueId {
    if keep || axes.is_empty() { reduced } else { v.b.node(Op::Unsqueeze(axes.to_vec()), &[reduced]) }
}

/// Number of elements of `x` along axes, in the type of `like`: a constant, or from the shape where it is not known.
pub(super) fn count(v: &mut Vjp<'_>, x: ValueId, axes: &[usize], like: ValueId) -> ValueId {
    let shape = v.ty(x).shape.clone();
    let known: f64 = axes.iter().filter_map(|k| shape[*k].fixed()).map(|n| n as f64).product();
    let mut count = v.scalar(like, known);
    let dtype = v.dtype(like);
    for axis in axes.iter().filter(|k| shape[**k].fixed().is_none()) {
        let extents = extent(v, x, *axis);
        let extent = v.b.cast(extents, dtype);
        count = v.mul(extent, count);
    }
    count
}

/// One extent of a value, int64 [].
pub(super) fn extent(v: &mut Vjp<'_>, x: ValueId, axis: usize) -> ValueId {
    let rank = v.rank(x);
    let shape = v.b.node(Op::Shape(0, rank), &[x]);
    let axis = v.b.integer(axis as i64);
    debug_assert_eq!(v.dtype(shape), DType::I64);
    v.b.node(Op::Gather(0), &[shape, axis])
}

// dx = y · (g - Σ g y)
pub(super) fn softmax(v: &mut Vjp<'_>, axis: usize) -> Gradients {
    let (y, g) = (v.y(), v.g()?);
    let product = v.mul(g, y);
    let sum = v.sum(product, &[axis], true);
    let centred = v.sub(g, sum);
    Ok(vec![Some(v.mul(centred, y))])
}

// dx = g - e^y · Σ g
pub(super) fn log_softmax(v: &mut Vjp<'_>, axis: usize) -> Gradients {
    let (y, g) = (v.y(), v.g()?);
    let softmax = v.unary(UnaryOp::Exp, y);
    let sum = v.sum(g, &[axis], true);
    let shift = v.mul(softmax, sum);
    Ok(vec![Some(v.sub(g, shift))])
}
