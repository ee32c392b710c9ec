//! Rules of normalizations. x̂ = (x - mean) · r with r = 1/√(variance + ε); y = γ x̂ + β.

use super::reduce::count;
use super::vjp::{Gradients, Vjp};
use crate::graph::{BatchNorm, LayerNorm, Op, ReduceOp, UnaryOp, ValueId};
use crate::tensor::{DType, Tensor, TensorData};

/// Most positions of a channel for which a column is stretched: 4 by 4 (`benches/backward_forms.py`).
const FEW_POSITIONS: usize = 16;

/// Inputs: (x, γ, β, mean, variance), all but x of shape `[C]`. The statistics that are given have no gradient.
pub(super) fn batch_norm(v: &mut Vjp<'_>, norm: BatchNorm) -> Gradients {
    let (x, g) = (v.x(0), v.g()?);
    let axes: Vec<usize> = (0..v.rank(x)).filter(|k| *k != 1).collect();
    let scale = column(v, v.x(1), x);
    let (mean, variance) = match norm.training {
        true => {
            let mean = v.reduce(ReduceOp::Mean, x, &axes, true);
            let wide = stretched(v, mean, x);
            let centred = v.sub(x, wide);
            let square = v.mul(centred, centred);
            (mean, v.reduce(ReduceOp::Mean, square, &axes, true))
        }
        false => (column(v, v.x(3), x), column(v, v.x(4), x)),
    };
    let r = inverse_deviation(v, variance, norm.epsilon.wide());
    let mean = stretched(v, mean, x);
    let centred = v.sub(x, mean);
    let g_sum = v.sum(g, &axes, true);
    let product = v.mul(g, centred);
    let product_sum = v.sum(product, &axes, true);
    // dγ = Σ g x̂
    let d_scale = v.mul(product_sum, r);
    let slope = v.mul(scale, r);
    let slope = stretched(v, slope, x);
    let dx = if !v.needed[0] {
        None
    } else if norm.training {
        // dx = γ r · (g - mean g - x̂ · mean(g x̂))
        let n = count(v, x, &axes, x);
        let g_mean = v.div(g_sum, n);
        let g_mean = stretched(v, g_mean, x);
        let product_mean = v.div(product_sum, n);
        let r_square = v.mul(r, r);
        let factor = v.mul(product_mean, r_square);
        let factor = stretched(v, factor, x);
        let along = v.mul(centred, factor);
        let rest = v.sub(g, g_mean);
        let rest = v.sub(rest, along);
        Some(v.mul(rest, slope))
    } else {
        // dx = γ r · g
        Some(v.mul(g, slope))
    };
    let d_scale = v.needed[1].then(|| v.reshape_like(d_scale, v.x(1)));
    let d_bias = v.needed[2].then(|| v.reshape_like(g_sum, v.x(2)));
    Ok(vec![dx, d_scale, d_bias, None, None])
}

/// `[C]` as `[C, 1, …]`, to broadcast along the channels of `x`, in its type.
fn column(v: &mut Vjp<'_>, vector: ValueId, x: ValueId) -> ValueId {
    let dtype = v.dtype(x);
    let vector = v.b.cast(vector, dtype);
    let axes: Vec<usize> = (1..v.rank(x) - 1).collect();
    if axes.is_empty() { vector } else { v.b.node(Op::Unsqueeze(axes), &[vector]) }
}

/// `[1, C, 1, …]` as `[1, C, …]` with the few positions of `x`, so that it is broadcast along the first axis alone: ONNX
/// Runtime's CPU provider takes 0.1 µs for every row of positions, however short. As it is where the positions are many.
fn stretched(v: &mut Vjp<'_>, column: ValueId, x: ValueId) -> ValueId {
    let shape = &v.ty(x).shape;
    let extents: Option<Vec<usize>> = shape[1..].iter().map(|d| d.fixed()).collect();
    let Some(extents) = extents.filter(|e| (2..=FEW_POSITIONS).contains(&e[1..].iter().product())) else {
        return column;
    };
    let shape: Vec<i64> = extents.into_iter().map(|n| n as i64).collect();
    let shape = v.b.integers(&shape);
    v.b.node(Op::Expand, &[column, shape])
}

fn inverse_deviation(v: &mut Vjp<'_>, variance: ValueId, epsilon: f64) -> ValueId {
    let epsilon = v.scalar(variance, epsilon);
    let sum = v.add(variance, epsilon);
    let deviation = v.unary(UnaryOp::Sqrt, sum);
    v.unary(UnaryOp::Reciprocal, deviation)
}

/// Inputs: (x, γ) or (x, γ, β), γ and β of the shape of the normalized axes.
pub(super) fn layer_norm(v: &mut Vjp<'_>, norm: LayerNorm) -> Gradients {
    let (x, scale, g) = (v.x(0), v.x(1), v.g()?);
    let axes: Vec<usize> = (norm.axis..v.rank(x)).collect();
    let (normal, r) = normalized(v, norm, x, scale, &axes);
    let mut found = vec![None; v.node.inputs.len()];
    if v.needed[0] {
        // h = γ g;  dx = r · (h - mean h - x̂ · mean(h x̂))
        let h = v.mul(g, scale);
        let h_mean = v.reduce(ReduceOp::Mean, h, &axes, true);
        let product = v.mul(h, normal);
        let product_mean = v.reduce(ReduceOp::Mean, product, &axes, true);
        let along = v.mul(normal, product_mean);
        let rest = v.sub(h, h_mean);
        let rest = v.sub(rest, along);
        found[0] = Some(v.mul(rest, r));
    }
    if v.needed[1] {
        // dγ = Σ g x̂ ⇢ γ
        let product = v.mul(g, normal);
        found[1] = Some(v.sum_to(product, scale));
    }
    if v.needed.get(2) == Some(&true) {
        // dβ = Σ g ⇢ β
        found[2] = Some(v.sum_to(g, v.x(2)));
    }
    Ok(found)
}

/// x̂ and r. In float32 and half types the operator itself makes both in one pass, with a scale of ones; in float64 its r
/// would be float32.
fn normalized(
    v: &mut Vjp<'_>,
    norm: LayerNorm,
    x: ValueId,
    scale: ValueId,
    axes: &[usize],
) -> (ValueId, ValueId) {
    let dtype = v.dtype(x);
    match v.ty(scale).fixed_shape() {
        Some(shape) if dtype != DType::F64 => {
            let ones = TensorData::F64(vec![1.0; shape.iter().product()]);
            let ones = Tensor::new(shape, ones).expect("a shape has the product of its extents as its count");
            let ones = v.b.constant(ones.cast(dtype));
            let made = v.b.nodes(Op::LayerNorm(norm), &[x, ones], 3);
            (made[0], v.b.cast(made[2], dtype))
        }
        _ => {
            let mean = v.reduce(ReduceOp::Mean, x, axes, true);
            let centred = v.sub(x, mean);
            let square = v.mul(centred, centred);
            let variance = v.reduce(ReduceOp::Mean, square, axes, true);
            let r = inverse_deviation(v, variance, norm.epsilon.wide());
            (v.mul(centred, r), r)
        }
    }
}
