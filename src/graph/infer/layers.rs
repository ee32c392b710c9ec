//! Types of products, convolutions, pools and normalizations.

use super::{broadcast, need_dtype, need_float, need_rank};
use crate::graph::op::{BatchNorm, Conv, Gemm, LayerNorm, Pool, Window};
use crate::graph::types::{Dim, TensorType};
use crate::tensor::DType;

pub(super) fn mat_mul(a: &TensorType, b: &TensorType) -> Result<TensorType, String> {
    need_dtype(b, a.dtype)?;
    if a.rank() == 0 || b.rank() == 0 {
        return Err("a scalar is no matrix".into());
    }
    let (rows, inner_a) = match a.rank() {
        1 => (None, &a.shape[0]),
        n => (Some(a.shape[n - 2].clone()), &a.shape[n - 1]),
    };
    let (inner_b, columns) = match b.rank() {
        1 => (&b.shape[0], None),
        n => (&b.shape[n - 2], Some(b.shape[n - 1].clone())),
    };
    need_same(inner_a, inner_b)?;
    let batch = |t: &TensorType| TensorType::new(t.dtype, &t.shape[..t.rank().saturating_sub(2)]);
    let mut shape = broadcast(&[&batch(a), &batch(b)])?;
    shape.extend(rows);
    shape.extend(columns);
    Ok(TensorType { dtype: a.dtype, shape })
}

pub(super) fn gemm(gemm: Gemm, inputs: &[&TensorType]) -> Result<TensorType, String> {
    let (a, b) = (inputs[0], inputs[1]);
    need_float(a)?;
    inputs[1..].iter().try_for_each(|t| need_dtype(t, a.dtype))?;
    need_rank(a, 2)?;
    need_rank(b, 2)?;
    let (rows, inner_a) = if gemm.trans_a { (1, 0) } else { (0, 1) };
    let (inner_b, columns) = if gemm.trans_b { (1, 0) } else { (0, 1) };
    need_same(&a.shape[inner_a], &b.shape[inner_b])?;
    Ok(TensorType::new(a.dtype, &[a.shape[rows].clone(), b.shape[columns].clone()]))
}

fn need_same(a: &Dim, b: &Dim) -> Result<(), String> {
    match (a, b) {
        (Dim::Fixed(x), Dim::Fixed(y)) if x != y => Err(format!("{x} columns do not meet {y} rows")),
        _ => Ok(()),
    }
}

fn spatial(x: &TensorType, window: &Window) -> Result<(), String> {
    need_float(x)?;
    need_rank(x, window.axes() + 2)?;
    let lengths = [window.strides.len(), window.dilations.len(), window.pads.len() / 2];
    if lengths.iter().any(|n| *n != window.axes())
        || window.kernel.contains(&0)
        || window.strides.contains(&0)
    {
        return Err("the window's extents, strides, dilations and pads do not fit each other".into());
    }
    Ok(())
}

pub(super) fn conv(conv: &Conv, inputs: &[&TensorType]) -> Result<TensorType, String> {
    let (x, w) = (inputs[0], inputs[1]);
    spatial(x, &conv.window)?;
    need_rank(w, x.rank())?;
    inputs[1..].iter().try_for_each(|t| need_dtype(t, x.dtype))?;
    if let (Some(channels), Some(of_group)) = (x.shape[1].fixed(), w.shape[1].fixed())
        && of_group.checked_mul(conv.group) != Some(channels)
    {
        return Err(format!("{} groups of {of_group} channels are not {channels}", conv.group));
    }
    if w.shape[0].fixed().is_some_and(|n| n % conv.group != 0) {
        return Err(format!("its outputs are not shared out evenly among {} groups", conv.group));
    }
    let mut shape = vec![x.shape[0].clone(), w.shape[0].clone()];
    for axis in 0..conv.window.axes() {
        shape.push(slid(&x.shape[axis + 2], &conv.window, axis, false)?);
    }
    Ok(TensorType { dtype: x.dtype, shape })
}

pub(super) fn conv_transpose(
    conv: &Conv,
    extra: &[usize],
    inputs: &[&TensorType],
) -> Result<TensorType, String> {
    let (x, w) = (inputs[0], inputs[1]);
    spatial(x, &conv.window)?;
    need_rank(w, x.rank())?;
    inputs[1..].iter().try_for_each(|t| need_dtype(t, x.dtype))?;
    let channels = w.shape[1].fixed().map_or(Dim::Unknown, |n| Dim::Fixed(n * conv.group));
    let mut shape = vec![x.shape[0].clone(), channels];
    for axis in 0..conv.window.axes() {
        let window = &conv.window;
        let whole = |n: usize| {
            let full = (n.saturating_sub(1)) * window.strides[axis] + window.span(axis);
            (full + extra.get(axis).copied().unwrap_or(0)).saturating_sub(window.padding(axis))
        };
        shape.push(x.shape[axis + 2].fixed().map_or(Dim::Unknown, |n| Dim::Fixed(whole(n))));
    }
    Ok(TensorType { dtype: x.dtype, shape })
}

/// Positions of a window along an axis.
fn slid(dim: &Dim, window: &Window, axis: usize, ceil: bool) -> Result<Dim, String> {
    let Dim::Fixed(n) = dim else { return Ok(Dim::Unknown) };
    let room = (n + window.padding(axis)).checked_sub(window.span(axis));
    let room = room.ok_or_else(|| format!("the window is longer than axis {} with its pads", axis + 2))?;
    let stride = window.strides[axis];
    let mut steps = if ceil { room.div_ceil(stride) } else { room / stride };
    // A window that would start in the padding behind the axis is not taken.
    if ceil && steps * stride >= n + window.pads[axis] {
        steps -= 1;
    }
    Ok(Dim::Fixed(steps + 1))
}

pub(super) fn pool(pool: &Pool, x: &TensorType) -> Result<TensorType, String> {
    spatial(x, &pool.window)?;
    let mut shape = x.shape[..2].to_vec();
    for axis in 0..pool.window.axes() {
        shape.push(slid(&x.shape[axis + 2], &pool.window, axis, pool.ceil)?);
    }
    Ok(TensorType { dtype: x.dtype, shape })
}

pub(super) fn max_pool(attributes: &Pool, x: &TensorType) -> Result<Vec<TensorType>, String> {
    let y = pool(attributes, x)?;
    let indices = TensorType { dtype: DType::I64, shape: y.shape.clone() };
    Ok(vec![y, indices])
}

pub(super) fn batch_norm(norm: &BatchNorm, inputs: &[&TensorType]) -> Result<Vec<TensorType>, String> {
    let x = inputs[0];
    need_float(x)?;
    if x.rank() < 2 {
        return Err("x has no channels".into());
    }
    let statistics = |k: usize| TensorType::new(inputs[k].dtype, &[x.shape[1].clone()]);
    Ok(if norm.training { vec![x.clone(), statistics(3), statistics(4)] } else { vec![x.clone()] })
}

pub(super) fn layer_norm(norm: LayerNorm, inputs: &[&TensorType]) -> Result<Vec<TensorType>, String> {
    let x = inputs[0];
    need_float(x)?;
    super::need_axis(x, norm.axis)?;
    let kept = x.shape.iter().enumerate();
    let kept = kept.map(|(k, dim)| if k < norm.axis { dim.clone() } else { Dim::Fixed(1) }).collect();
    // The statistics are float32 whatever x is (stash_type 1).
    let statistics = TensorType { dtype: DType::F32, shape: kept };
    Ok(vec![x.clone(), statistics.clone(), statistics])
}
