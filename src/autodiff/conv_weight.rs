//! Gradient of a convolution's weight: dW[o, c, k] = Σ over samples n and positions p of g[n, o, p] · x[n, c, p·s + k·d],
//! with stride s and dilation d.

use super::vjp::Vjp;
use crate::graph::{Conv, Dim, Op, SliceAxis, ValueId, Window};

pub(super) fn gradient(v: &mut Vjp<'_>, conv: &Conv, g: ValueId) -> Result<ValueId, String> {
    as_convolution(v, conv, g)
}

// A convolution of x with g as its weight: samples take the place of channels, and strides and dilations change places.
fn as_convolution(v: &mut Vjp<'_>, conv: &Conv, g: ValueId) -> Result<ValueId, String> {
    let (x, w) = (v.x(0), v.x(1));
    let x = channels_first(v, x, conv.group)?;
    let mut perm: Vec<usize> = (0..v.rank(g)).collect();
    perm.swap(0, 1);
    let weight = v.transpose(g, &perm);
    let kernel = spatial(v, g)?;
    let swapped = Window {
        kernel,
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
    let dw = v.transpose(product, &perm);
    Ok(v.reshape_like(dw, w))
}

/// x `[N, G·C, …]` as `[C, G·N, …]`.
fn channels_first(v: &mut Vjp<'_>, x: ValueId, group: usize) -> Result<ValueId, String> {
    let rank = v.rank(x);
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(0, 1);
    if group == 1 {
        return Ok(v.transpose(x, &perm));
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
    super::conv::extents(v, value)
}
