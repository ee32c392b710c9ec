//! Gradient of a convolution's weight: dW[o, c, k] = Σ over samples n and positions p of g[n, o, p] · x[n, c, p·s + k·d],
//! with stride s and dilation d.
//!
//! Forms chosen by what ONNX Runtime's CPU provider runs fastest (`benches/conv_weight.py` measures them): products of
//! matrices with the positions first ([`conv_rows`]), sums in the same order where channels do not mix, and a convolution for
//! what is left. A window of one element that takes every position needs no order: its product is of x as it is.
//!
//! All three need the extents. Where they are not known before the graph runs, a product (or a sum) for every element of
//! the window takes their place, or one for every element and group.

use super::conv::extents;
use super::conv_rows::{self, Slid};
use super::index::zero_padded;
use super::open;
use super::vjp::Vjp;
use crate::graph::{Conv, Dim, F32, Gemm, Op, SliceAxis, ValueId, Window};

/// Fewest input channels for which products of matrices are faster than a convolution: a Gather copies rows of them.
const MANY_CHANNELS: usize = 16;
/// Largest window that is taken apart, 7 by 7: the places of its elements are constants of the graph.
const LARGEST_WINDOW: usize = 49;

pub(super) fn gradient(v: &mut Vjp<'_>, conv: &Conv, g: ValueId) -> Result<ValueId, String> {
    let window = &conv.window;
    let per_group = v.ty(v.x(1)).shape[1].fixed();
    let outputs = v.ty(v.x(1)).shape[0].fixed();
    let apart = per_group == Some(1) && outputs == Some(conv.group);
    let mix = conv.group == 1;
    let elements: usize = window.kernel.iter().product();
    if mix && elements == 1 && window.strides.iter().all(|s| *s == 1) {
        return products(v, conv, g);
    }
    let Some((extents, positions)) = extents(v, v.x(0)).zip(extents(v, g)) else {
        return match (mix, apart) {
            (true, _) => products(v, conv, g),
            (false, true) => sums(v, conv, g),
            (false, false) => grouped_products(v, conv, g),
        };
    };
    let slid = Slid { extents, positions };
    let many = per_group.is_some_and(|channels| channels >= MANY_CHANNELS);
    match elements <= LARGEST_WINDOW {
        true if apart => conv_rows::sums(v, window, &slid, g),
        true if mix && (many || elements == 1) => conv_rows::products(v, window, &slid, g),
        _ => as_convolution(v, conv, g),
    }
}

// dW[·, ·, k] = G · X_kᵀ, with G `[O, N·P]` and X_k `[C, N·P]` the elements of x that meet element k of the window
fn products(v: &mut Vjp<'_>, conv: &Conv, g: ValueId) -> Result<ValueId, String> {
    let (x, w) = (v.x(0), v.x(1));
    let rows = |v: &mut Vjp<'_>, value: ValueId| match v.ty(value).shape[0].fixed() {
        Some(channels) => Ok(v.reshape(value, &[channels as i64, -1])),
        None => Err("its number of channels is not known".to_owned()),
    };
    let x = v.swap(x, 0, 1);
    let g_by_channel = v.swap(g, 0, 1);
    let left = rows(v, g_by_channel)?;
    let gemm = Gemm { alpha: F32::new(1.0), beta: F32::new(1.0), trans_a: false, trans_b: true };
    let mut parts = Vec::new();
    for part in met(v, &conv.window, x, g)? {
        let right = rows(v, part)?;
        let product = v.b.node(Op::Gemm(gemm), &[left, right]);
        parts.push(v.b.unsqueeze_last(product));
    }
    let joined = v.joined(&parts, 2);
    Ok(v.reshape_like(joined, w))
}

// dW[q·O + o, c, k] = G_q · X_qkᵀ for each group q, as `products`
fn grouped_products(v: &mut Vjp<'_>, conv: &Conv, g: ValueId) -> Result<ValueId, String> {
    let (x, w) = (v.x(0), v.x(1));
    let rows = |v: &mut Vjp<'_>, value: ValueId| match v.ty(value).shape[0].fixed() {
        Some(channels) => Ok(v.reshape(value, &[conv.group as i64, (channels / conv.group) as i64, -1])),
        None => Err("its number of channels is not known".to_owned()),
    };
    let x = v.swap(x, 0, 1);
    let g_by_channel = v.swap(g, 0, 1);
    let left = rows(v, g_by_channel)?;
    let mut parts = Vec::new();
    for part in met(v, &conv.window, x, g)? {
        let right = rows(v, part)?;
        let right = v.swap_last(right);
        let product = v.b.node(Op::MatMul, &[left, right]);
        parts.push(v.b.unsqueeze_last(product));
    }
    let joined = v.joined(&parts, 3);
    Ok(v.reshape_like(joined, w))
}

// dW[c, k] = Σ g[n, c, p] · x_k[n, c, p]
fn sums(v: &mut Vjp<'_>, conv: &Conv, g: ValueId) -> Result<ValueId, String> {
    let (x, w) = (v.x(0), v.x(1));
    let axes: Vec<usize> = (0..v.rank(g)).filter(|k| *k != 1).collect();
    let mut parts = Vec::new();
    for part in met(v, &conv.window, x, g)? {
        let product = v.mul(part, g);
        let sum = v.sum(product, &axes, false);
        parts.push(v.b.unsqueeze_last(sum));
    }
    let joined = v.joined(&parts, 1);
    Ok(v.reshape_like(joined, w))
}

/// For every element of the window, row-major, the elements of x that it meets: x, padded, from the element on in steps
/// of the stride. `x` may have its first two axes swapped.
fn met(v: &mut Vjp<'_>, window: &Window, x: ValueId, g: ValueId) -> Result<Vec<ValueId>, String> {
    let axes = window.axes();
    let plain = window.kernel.iter().all(|n| *n == 1) && window.pads.iter().all(|p| *p == 0);
    if plain && window.strides.iter().all(|s| *s == 1) {
        return Ok(vec![x]);
    }
    let positions = extents(v, g);
    let mut pads = vec![(0, 0); 2];
    pads.extend((0..axes).map(|k| (window.pads[k] as i64, window.pads[k + axes] as i64)));
    let padded = zero_padded(v, x, pads);
    let count: usize = window.kernel.iter().product();
    let mut parts = Vec::with_capacity(count);
    for element in 0..count {
        let starts = conv_rows::offsets(element, &window.kernel, &window.dilations).into_iter().enumerate();
        let cut = starts.map(|(k, start)| match &positions {
            Some(positions) => {
                let end = (start + (positions[k] - 1) * window.strides[k] + 1) as i64;
                SliceAxis { axis: k + 2, start: start as i64, end, step: window.strides[k] as i64 }
            }
            None => open::met(window, k, start),
        });
        parts.push(v.b.node(Op::Slice(cut.collect()), &[padded]));
    }
    Ok(parts)
}

// A convolution of x with g as its weight: samples take the place of channels, and strides and dilations change places.
fn as_convolution(v: &mut Vjp<'_>, conv: &Conv, g: ValueId) -> Result<ValueId, String> {
    let (x, w) = (v.x(0), v.x(1));
    let x = channels_first(v, x, conv.group)?;
    let weight = v.swap(g, 0, 1);
    let swapped = Window {
        kernel: spatial(v, g)?,
        strides: conv.window.dilations.clone(),
        dilations: conv.window.strides.clone(),
        pads: conv.window.pads.clone(),
    };
    let op = Conv { group: conv.group, window: swapped };
    let product = v.b.node(Op::Conv(op), &[x, weight]);
    // Where the stride leaves elements over, there are positions beyond the kernel.
    let cut: Vec<SliceAxis> = (0..conv.window.axes())
        .filter(|k| v.ty(product).shape[k + 2] != Dim::Fixed(conv.window.kernel[*k]))
        .map(|k| SliceAxis { axis: k + 2, start: 0, end: conv.window.kernel[k] as i64, step: 1 })
        .collect();
    let product = if cut.is_empty() { product } else { v.b.node(Op::Slice(cut), &[product]) };
    let dw = v.swap(product, 0, 1);
    Ok(v.reshape_like(dw, w))
}

/// x `[N, G·C, …]` as `[C, G·N, …]`.
fn channels_first(v: &mut Vjp<'_>, x: ValueId, group: usize) -> Result<ValueId, String> {
    let rank = v.rank(x);
    if group == 1 {
        return Ok(v.swap(x, 0, 1));
    }
    let channels = v.ty(x).shape[1].fixed().ok_or("its number of channels is not known")?;
    let space: Vec<i64> = spatial(v, x)?.iter().map(|n| *n as i64).collect();
    let (group, per_group) = (group as i64, (channels / group) as i64);
    let apart: Vec<i64> = [-1, group, per_group].into_iter().chain(space.iter().copied()).collect();
    let apart = v.reshape(x, &apart);
    let order: Vec<usize> = [2, 1, 0].into_iter().chain(3..rank + 1).collect();
    let ordered = v.transpose(apart, &order);
    let joined: Vec<i64> = [per_group, -1].into_iter().chain(space).collect();
    Ok(v.reshape(ordered, &joined))
}

fn spatial(v: &Vjp<'_>, value: ValueId) -> Result<Vec<usize>, String> {
    extents(v, value).ok_or_else(|| "its extents are not known before the graph runs".to_owned())
}
