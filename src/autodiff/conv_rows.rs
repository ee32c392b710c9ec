//! Gradient of a convolution's weight with the positions first: x as `[positions, N, C]`, so that the elements which an
//! element of the window meets are whole rows of N·C numbers, copied by one `Gather` for each row of the window. Needs
//! extents that are known.

use super::index::zero_padded;
use super::vjp::Vjp;
use crate::graph::{Op, ValueId, Window};

/// Extents of the axes that a window slides over: those of x, and the window's positions along them.
pub(super) struct Slid {
    pub extents: Vec<usize>,
    pub positions: Vec<usize>,
}

// dW[·, ·, k] = G · X_k, with G `[O, P·N]` and X_k `[P·N, C]` the elements of x that meet element k of the window; the
// products of a row of the window are one
pub(super) fn products(v: &mut Vjp<'_>, window: &Window, slid: &Slid, g: ValueId) -> Result<ValueId, String> {
    let (x, w) = (v.x(0), v.x(1));
    let outputs = channels(v, w, 0)?;
    let perm: Vec<usize> = (1..v.rank(g)).chain([0]).collect();
    let left = v.transpose(g, &perm);
    let left = v.reshape(left, &[outputs, -1]);
    let parts = of_rows(v, window, slid, x, |v, right| v.b.node(Op::MatMul, &[left, right]))?;
    let joined = v.joined(&parts, 0);
    let dw = v.transpose(joined, &[1, 2, 0]);
    Ok(v.reshape_like(dw, w))
}

// dW[c, k] = Σ over p, n of g · X_k, where channels do not mix
pub(super) fn sums(v: &mut Vjp<'_>, window: &Window, slid: &Slid, g: ValueId) -> Result<ValueId, String> {
    let (x, w) = (v.x(0), v.x(1));
    let count = channels(v, x, 1)?;
    let left = positions_first(v, g);
    let left = v.reshape(left, &[1, -1, count]);
    let parts = of_rows(v, window, slid, x, |v, right| {
        let product = v.mul(right, left);
        v.sum(product, &[1], false)
    })?;
    let joined = v.joined(&parts, 0);
    let dw = v.transpose(joined, &[1, 0]);
    Ok(v.reshape_like(dw, w))
}

fn channels(v: &Vjp<'_>, value: ValueId, axis: usize) -> Result<i64, String> {
    let extent = v.ty(value).shape[axis].fixed();
    Ok(extent.ok_or("its number of channels is not known")? as i64)
}

/// `[N, C, …]` as `[…, N, C]`.
fn positions_first(v: &mut Vjp<'_>, value: ValueId) -> ValueId {
    let perm: Vec<usize> = (2..v.rank(value)).chain([0, 1]).collect();
    v.transpose(value, &perm)
}

/// For every row of the window (its elements along the last axis) what `part` makes of what they meet of x, `[K, P·N, C]`.
///
/// What a row meets is several times as large as x, so it is used up before the next row's is made.
fn of_rows(
    v: &mut Vjp<'_>,
    window: &Window,
    slid: &Slid,
    x: ValueId,
    part: impl Fn(&mut Vjp<'_>, ValueId) -> ValueId,
) -> Result<Vec<ValueId>, String> {
    let axes = window.axes();
    let count = channels(v, x, 1)?;
    let last = window.kernel[axes - 1];
    let first = positions_first(v, x);
    let mut pads: Vec<(i64, i64)> =
        (0..axes).map(|k| (window.pads[k] as i64, window.pads[k + axes] as i64)).collect();
    pads.extend([(0, 0); 2]);
    let padded = zero_padded(v, first, pads);
    let extents: Vec<usize> = (0..axes).map(|k| slid.extents[k] + window.padding(k)).collect();
    let all: usize = extents.iter().product();
    let flat = v.reshape(padded, &[all as i64, -1, count]);
    let rows: usize = window.kernel[..axes - 1].iter().product();
    let mut parts = Vec::with_capacity(rows);
    for row in 0..rows {
        let mut places = Vec::new();
        for element in row * last..(row + 1) * last {
            let start = offsets(element, &window.kernel, &window.dilations);
            places.extend(walk(&start, &window.strides, &slid.positions, &extents));
        }
        let places = v.b.integers(&places);
        let met = v.b.node(Op::Gather(0), &[flat, places]);
        let met = v.reshape(met, &[last as i64, -1, count]);
        parts.push(part(v, met));
    }
    Ok(parts)
}

/// Where an element of the window stands along each axis, from its number, row-major.
pub(super) fn offsets(element: usize, kernel: &[usize], dilations: &[usize]) -> Vec<usize> {
    let mut rest = element;
    let mut found = vec![0; kernel.len()];
    for k in (0..kernel.len()).rev() {
        found[k] = rest % kernel[k] * dilations[k];
        rest /= kernel[k];
    }
    found
}

/// Flat places of all positions, row-major, from a start on in steps of the strides.
fn walk(start: &[usize], strides: &[usize], positions: &[usize], extents: &[usize]) -> Vec<i64> {
    let mut places = vec![0usize];
    for axis in 0..extents.len() {
        let along = |p: usize| start[axis] + p * strides[axis];
        let step = |place: &usize| (0..positions[axis]).map(move |p| (*place, p)).collect::<Vec<_>>();
        let next = places.iter().flat_map(step).map(|(place, p)| place * extents[axis] + along(p));
        places = next.collect();
    }
    places.into_iter().map(|place| place as i64).collect()
}
