//! What rules of windows need where the extents that a window slides over are not known before the graph runs.
//!
//! Positions are counted from the end of an axis where that does, and extents are taken from shapes at run time where it
//! does not.

use super::conv::extents;
use super::vjp::Vjp;
use crate::graph::{BinaryOp, Conv, Op, ScalarValue, SliceAxis, ValueId, Window};

/// The convolution's transpose of (g, w), with the extents of `like`.
///
/// Where they are not known, as many elements are added at the end of every axis as a stride can leave over, and what is too
/// much is cut off.
pub(super) fn transposed(v: &mut Vjp<'_>, conv: &Conv, [g, w]: [ValueId; 2], like: ValueId) -> ValueId {
    let window = &conv.window;
    let known = extents(v, g).zip(extents(v, like));
    let left: Vec<usize> = match &known {
        Some((positions, extents)) => {
            let left = |k: usize| extents[k].saturating_sub(reached(window, k, positions[k]));
            (0..window.axes()).map(left).collect()
        }
        None => window.strides.iter().map(|stride| stride - 1).collect(),
    };
    let whole = v.b.node(Op::ConvTranspose(conv.clone(), left), &[g, w]);
    let too_much = |(positions, extents): (Vec<usize>, Vec<usize>)| {
        (0..window.axes()).any(|k| reached(window, k, positions[k]) > extents[k])
    };
    let exact = match known {
        Some(known) => !too_much(known),
        None => window.strides.iter().all(|stride| *stride == 1),
    };
    if exact { whole } else { crop(v, whole, like) }
}

/// Elements of an axis without its pads up to the end of a window at the last of these positions.
fn reached(window: &Window, k: usize, positions: usize) -> usize {
    (positions.saturating_sub(1) * window.strides[k] + window.span(k)).saturating_sub(window.padding(k))
}

/// The first elements along the axes of a window, as many as `like` has.
pub(super) fn crop(v: &mut Vjp<'_>, value: ValueId, like: ValueId) -> ValueId {
    if let Some(extents) = extents(v, like) {
        let part = |(k, n)| SliceAxis { axis: 2 + k, start: 0, end: n as i64, step: 1 };
        let parts = extents.into_iter().enumerate().map(part).collect();
        return v.b.node(Op::Slice(parts), &[value]);
    }
    match space(v, like) {
        Some(extents) => v.b.node(Op::Crop(2), &[value, extents]),
        None => value,
    }
}

/// Extents of the axes that a window slides over, int64; `None` where there are no such axes.
fn space(v: &mut Vjp<'_>, value: ValueId) -> Option<ValueId> {
    let rank = v.rank(value);
    v.extents(value, 2, rank)
}

/// The elements of an axis that meet one element of the window, which is `start` behind the window's first: from there on
/// in steps of the stride, and not further than a window reaches that ends with the axis.
pub(super) fn met(window: &Window, k: usize, start: usize) -> SliceAxis {
    let behind = (window.span(k) - 1 - start) as i64;
    let end = if behind == 0 { i64::MAX } else { -behind };
    SliceAxis { axis: k + 2, start: start as i64, end, step: window.strides[k] as i64 }
}

/// Ones of shape `[1, 1, …]` with the extents of `like` and `more` on each axis.
pub(super) fn ones(v: &mut Vjp<'_>, like: ValueId, more: &[i64]) -> ValueId {
    let value = ScalarValue::new(v.dtype(like), 1.0);
    let shape = match (extents(v, like), space(v, like)) {
        (None, Some(extents)) => {
            let front = v.b.integers(&[1, 1]);
            let more = v.b.integers(more);
            let extents = v.b.binary(BinaryOp::Add, extents, more);
            v.b.node(Op::Concat(0), &[front, extents])
        }
        (known, _) => {
            let known = known.unwrap_or_default().into_iter().zip(more).map(|(n, more)| n as i64 + more);
            let shape: Vec<i64> = [1, 1].into_iter().chain(known).collect();
            v.b.integers(&shape)
        }
    };
    v.b.node(Op::ConstantOfShape(value), &[shape])
}

/// A value `[N, C, …]` as images `[N·C, 1, …]`.
pub(super) fn images(v: &mut Vjp<'_>, value: ValueId) -> ValueId {
    match (extents(v, value), space(v, value)) {
        (None, Some(extents)) => {
            let front = v.b.integers(&[-1, 1]);
            let shape = v.b.node(Op::Concat(0), &[front, extents]);
            v.b.node(Op::Reshape, &[value, shape])
        }
        (known, _) => {
            let known = known.unwrap_or_default().into_iter().map(|n| n as i64);
            let shape: Vec<i64> = [-1, 1].into_iter().chain(known).collect();
            v.reshape(value, &shape)
        }
    }
}
