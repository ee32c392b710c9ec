//! Rules of functions of one value. Here x is the input, y the output, g the gradient of y.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI};

use super::rules::is_flat;
use super::vjp::{Gradients, Vjp};
use crate::graph::{Activation, CompareOp, Op, UnaryOp, ValueId};

pub(super) fn unary(v: &mut Vjp<'_>, op: UnaryOp) -> Gradients {
    if is_flat(op) {
        return Ok(vec![None]);
    }
    let (x, y, g) = (v.x(0), v.y(), v.g()?);
    let dx = match op {
        // dx = g · slope
        UnaryOp::Abs | UnaryOp::Erf | UnaryOp::Exp | UnaryOp::Sigmoid | UnaryOp::Softplus | UnaryOp::Tanh => {
            slope(v, op).map(|slope| v.mul(g, slope))
        }
        UnaryOp::HardSwish => Some(hard_swish(v, x, g)),
        // dx = g
        UnaryOp::Identity => Some(g),
        // dx = g / x
        UnaryOp::Log => Some(v.div(g, x)),
        // dx = -g
        UnaryOp::Neg => Some(v.neg(g)),
        // dx = -g · y²
        UnaryOp::Reciprocal => {
            let square = v.mul(y, y);
            let product = v.mul(g, square);
            Some(v.neg(product))
        }
        // dx = g where y > 0
        UnaryOp::Relu => {
            let slope = v.step(y);
            Some(v.mul(g, slope))
        }
        // dx = g / 2y
        UnaryOp::Sqrt => {
            let half = v.scaled(g, 0.5);
            Some(v.div(half, y))
        }
        UnaryOp::Sign | UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Not => None,
    };
    Ok(vec![dx])
}

/// dy/dx, for the functions whose gradient is a product with it.
fn slope(v: &mut Vjp<'_>, op: UnaryOp) -> Option<ValueId> {
    let (x, y) = (v.x(0), v.y());
    Some(match op {
        // sign x, 0 at 0
        UnaryOp::Abs => v.unary(UnaryOp::Sign, x),
        // (2/√π) e^(-x²)
        UnaryOp::Erf => {
            let square = v.mul(x, x);
            let negative = v.neg(square);
            let bell = v.unary(UnaryOp::Exp, negative);
            v.scaled(bell, FRAC_2_SQRT_PI)
        }
        UnaryOp::Exp => y,
        // y · (1 - y)
        UnaryOp::Sigmoid => {
            let one = v.scalar(y, 1.0);
            let rest = v.sub(one, y);
            v.mul(y, rest)
        }
        // sigmoid(x)
        UnaryOp::Softplus => v.unary(UnaryOp::Sigmoid, x),
        // 1 - y²
        UnaryOp::Tanh => {
            let one = v.scalar(y, 1.0);
            let square = v.mul(y, y);
            v.sub(one, square)
        }
        _ => return None,
    })
}

// dx = 0 for x ≤ -3, g for x ≥ 3, g · (x/3 + 1/2) between: with c = clip(x, -3, 3) and b = 1 where |x| < 3, else 0, it is
// g · (c/6 · (1 + b) + 1/2)
fn hard_swish(v: &mut Vjp<'_>, x: ValueId, g: ValueId) -> ValueId {
    let [low, high, half, one] = [-3.0, 3.0, 0.5, 1.0].map(|value| v.scalar(x, value));
    let clipped = v.b.node(Op::Clip, &[x, low, high]);
    let size = v.unary(UnaryOp::Abs, x);
    let between = v.compare(CompareOp::Less, size, high);
    let between = v.one_where(between, x);
    let factor = v.add(between, one);
    let sixth = v.scaled(clipped, 1.0 / 6.0);
    let slope = v.mul(sixth, factor);
    let slope = v.add(slope, half);
    v.mul(g, slope)
}

pub(super) fn activation(v: &mut Vjp<'_>, op: Activation) -> Gradients {
    let (x, y, g) = (v.x(0), v.y(), v.g()?);
    let zero = v.scalar(x, 0.0);
    let dx = match op {
        // dx = alpha · g where 0 < y < 1
        Activation::HardSigmoid { alpha, .. } => {
            let one = v.scalar(y, 1.0);
            let above = v.compare(CompareOp::Greater, y, zero);
            let below = v.compare(CompareOp::Less, y, one);
            let between = v.b.node(Op::And, &[above, below]);
            let between = v.one_where(between, y);
            let slope = v.scaled(between, alpha.wide());
            v.mul(g, slope)
        }
        // dx = g where x > 0, else alpha · g
        Activation::LeakyRelu(alpha) => {
            let positive = v.compare(CompareOp::Greater, x, zero);
            let positive = v.one_where(positive, x);
            let rest = v.scaled(positive, 1.0 - alpha.wide());
            let alpha = v.scalar(x, alpha.wide());
            let slope = v.add(rest, alpha);
            v.mul(g, slope)
        }
        // dx = g where x > 0, else g · (y + alpha)
        Activation::Elu(alpha) => {
            let positive = v.compare(CompareOp::Greater, x, zero);
            let alpha = v.scalar(y, alpha.wide());
            let slope = v.add(y, alpha);
            let small = v.mul(g, slope);
            v.b.choose(positive, g, small)
        }
        Activation::Gelu { tanh: false } => gelu(v, x, g),
        Activation::Gelu { tanh: true } => gelu_tanh(v, x, g),
    };
    Ok(vec![Some(dx)])
}

// dx = g · (Φ(x) + x φ(x)), Φ(x) = (1 + erf(x/√2))/2, φ(x) = e^(-x²/2)/√(2π)
fn gelu(v: &mut Vjp<'_>, x: ValueId, g: ValueId) -> ValueId {
    let scaled = v.scaled(x, FRAC_1_SQRT_2);
    let erf = v.unary(UnaryOp::Erf, scaled);
    let half = v.scaled(erf, 0.5);
    let middle = v.scalar(x, 0.5);
    let cdf = v.add(half, middle);
    let square = v.mul(scaled, scaled);
    let negative = v.neg(square);
    let bell = v.unary(UnaryOp::Exp, negative);
    let density = v.scaled(bell, 1.0 / (2.0 * PI).sqrt());
    let second = v.mul(x, density);
    let slope = v.add(cdf, second);
    v.mul(g, slope)
}

// y = x (1 + t)/2 with t = tanh(c (x + a x³)), c = √(2/π), a = 0.044715
// dx = g · ((1 + t)/2 + x (1 - t²) c (1 + 3 a x²)/2)
fn gelu_tanh(v: &mut Vjp<'_>, x: ValueId, g: ValueId) -> ValueId {
    let (c, a) = ((2.0 / PI).sqrt(), 0.044715);
    let one = v.scalar(x, 1.0);
    let square = v.mul(x, x);
    let cubic = v.scaled(square, a);
    let cubic = v.add(cubic, one);
    let inner = v.mul(x, cubic);
    let inner = v.scaled(inner, c);
    let t = v.unary(UnaryOp::Tanh, inner);
    let first = v.add(t, one);
    let t_square = v.mul(t, t);
    let rest = v.sub(one, t_square);
    let slope = v.scaled(square, 3.0 * a);
    let slope = v.add(slope, one);
    let slope = v.scaled(slope, c);
    let second = v.mul(rest, slope);
    let second = v.mul(x, second);
    let sum = v.add(first, second);
    let half = v.scaled(sum, 0.5);
    v.mul(g, half)
}

// (x, low, high): dx = g where low < x < high, else 0. At the bounds it is 0, as for relu6, hardtanh and clamp with two
// numbers in PyTorch 2.15; half of g, as clamp has there with tensors for bounds, would cost more nodes.
pub(super) fn clip(v: &mut Vjp<'_>) -> Gradients {
    let (x, low, high, g) = (v.x(0), v.x(1), v.x(2), v.g()?);
    if v.needed[1] || v.needed[2] {
        return Err("its bounds have no gradient".into());
    }
    let above = v.compare(CompareOp::Greater, x, low);
    let below = v.compare(CompareOp::Less, x, high);
    let between = v.b.node(Op::And, &[above, below]);
    let between = v.one_where(between, x);
    Ok(vec![Some(v.mul(g, between)), None, None])
}
