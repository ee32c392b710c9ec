//! Rules of operators that pick elements. A gradient goes back to where its element came from, and adds up where an
//! element was picked more than once.

use super::vjp::{Gradients, Vjp};
use crate::graph::{Dim, Element, F32, Op, Pad, SliceAxis, ValueId};
use crate::tensor::DType;

// dx[…, i[…], …] += g
pub(super) fn gather(v: &mut Vjp<'_>, axis: usize) -> Gradients {
    let (data, indices, g) = (v.x(0), v.x(1), v.g()?);
    let extent = v.ty(data).shape[axis].fixed();
    // One known slice: the others are zero.
    if let (Some(extent), Some([Element::Int(index)])) =
        (extent, v.b.graph().value(indices).elements.as_deref())
    {
        let index = if *index < 0 { index + extent as i64 } else { *index };
        let before = usize::try_from(index).ok().filter(|i| *i < extent).ok_or("an index out of range")?;
        let g = match v.rank(indices) {
            0 => v.b.node(Op::Unsqueeze(vec![axis]), &[g]),
            _ => v.reshape_axis(g, axis, v.rank(indices)),
        };
        return Ok(vec![Some(padded(v, g, axis, before, extent - 1 - before)), None]);
    }
    let (rows, along) = flat_indices(v, data, indices, g, axis);
    let zeros = v.zeros_like(data);
    Ok(vec![Some(scattered(v, (axis, true), [zeros, along, rows])), None])
}

/// Updates put into (zeros, indices, updates), or added up there where an element may be met more than once. What adds up
/// does so in float32 at least: half types have no digits for sums, and ONNX Runtime's CPU provider no such kernel.
pub(super) fn scattered(v: &mut Vjp<'_>, (axis, add): (usize, bool), of: [ValueId; 3]) -> ValueId {
    let [zeros, indices, updates] = of;
    let dtype = v.dtype(zeros);
    let wide = if add && matches!(dtype, DType::F16 | DType::BF16) { DType::F32 } else { dtype };
    let [zeros, updates] = [zeros, updates].map(|value| v.b.cast(value, wide));
    let sum = v.b.node(Op::ScatterElements { axis, add }, &[zeros, indices, updates]);
    v.b.cast(sum, dtype)
}

/// The gradient with one axis in the place of the indices' axes, and the indices in its shape.
fn flat_indices(
    v: &mut Vjp<'_>,
    data: ValueId,
    indices: ValueId,
    g: ValueId,
    axis: usize,
) -> (ValueId, ValueId) {
    let rows = v.reshape_axis(g, axis, v.rank(indices));
    let rank = v.rank(data);
    let shape: Vec<i64> = (0..rank).map(|k| if k == axis { -1 } else { 1 }).collect();
    let column = v.reshape(indices, &shape);
    let along = v.expand_like(column, rows);
    (rows, along)
}

impl Vjp<'_> {
    /// `a` with `count` axes from `axis` on as one.
    fn reshape_axis(&mut self, a: ValueId, axis: usize, count: usize) -> ValueId {
        match count {
            0 => return self.b.node(Op::Unsqueeze(vec![axis]), &[a]),
            1 => return a,
            _ => {}
        }
        let rest = self.b.integers(&[-1]);
        let before = self.extents(a, 0, axis);
        let after = self.extents(a, axis + count, self.rank(a));
        let parts: Vec<ValueId> = before.into_iter().chain([rest]).chain(after).collect();
        let shape = self.b.node(Op::Concat(0), &parts);
        self.b.node(Op::Reshape, &[a, shape])
    }

    /// Extents of a value from one axis up to another, int64; `None` where there are none.
    pub(super) fn extents(&mut self, a: ValueId, start: usize, end: usize) -> Option<ValueId> {
        let shape = self.shape_of(a);
        let part = SliceAxis { axis: 0, start: start as i64, end: end as i64, step: 1 };
        (start < end).then(|| self.b.node(Op::Slice(vec![part]), &[shape]))
    }
}

/// Zeros before and after an axis.
fn padded(v: &mut Vjp<'_>, g: ValueId, axis: usize, before: usize, after: usize) -> ValueId {
    let mut pads = vec![(0, 0); v.rank(g)];
    pads[axis] = (before as i64, after as i64);
    zero_padded(v, g, pads)
}

pub(super) fn zero_padded(v: &mut Vjp<'_>, g: ValueId, pads: Vec<(i64, i64)>) -> ValueId {
    if pads.iter().all(|p| *p == (0, 0)) {
        return g;
    }
    let pad = Pad { pads, mode: "constant".to_owned(), value: F32::new(0.0) };
    v.b.node(Op::Pad(pad), &[g])
}

// dx[…, i[…], …] += g
pub(super) fn gather_elements(v: &mut Vjp<'_>, axis: usize) -> Gradients {
    let (data, indices, g) = (v.x(0), v.x(1), v.g()?);
    let zeros = v.zeros_like(data);
    // With one index a row no element is picked twice.
    let add = v.ty(indices).shape[axis] != Dim::Fixed(1);
    Ok(vec![Some(scattered(v, (axis, add), [zeros, indices, g])), None])
}

// (data, i, u): du = g[…, i[…], …]; d data = g, with zeros at the indices where they replaced
pub(super) fn scatter_elements(v: &mut Vjp<'_>, axis: usize, add: bool) -> Gradients {
    let (indices, updates, g) = (v.x(1), v.x(2), v.g()?);
    let du = v.needed[2].then(|| v.b.node(Op::GatherElements(axis), &[g, indices]));
    let d_data = v.needed[0].then(|| match add {
        true => g,
        false => {
            let zeros = v.zeros_like(updates);
            v.b.node(Op::ScatterElements { axis, add: false }, &[g, indices, zeros])
        }
    });
    Ok(vec![d_data, None, du])
}

// dx = g in its place, zeros around
pub(super) fn slice(v: &mut Vjp<'_>, parts: &[SliceAxis]) -> Gradients {
    let (x, mut g) = (v.x(0), v.g()?);
    let mut pads = vec![(0, 0); v.rank(x)];
    for part in parts {
        let extent = v.ty(x).shape[part.axis].fixed();
        let extent =
            extent.ok_or("it takes a part of an axis whose extent is not known before the graph runs")?;
        let (first, count) = part.bounds(extent).ok_or("it has a step of 0")?;
        if part.step == 1 {
            pads[part.axis] = (first, (extent - count) as i64 - first);
        } else {
            g = spread(v, g, part, extent);
        }
    }
    Ok(vec![Some(zero_padded(v, g, pads))])
}

/// A gradient of every step-th element along an axis, with zeros at the others: an added zero slice is gathered there.
fn spread(v: &mut Vjp<'_>, g: ValueId, part: &SliceAxis, extent: usize) -> ValueId {
    let positions = part.positions(extent).unwrap_or_default();
    let mut from = vec![positions.len() as i64; extent];
    positions.iter().enumerate().for_each(|(k, position)| from[*position] = k as i64);
    let with_zero = padded(v, g, part.axis, 0, 1);
    let from = v.b.integers(&from);
    v.b.node(Op::Gather(part.axis), &[with_zero, from])
}
