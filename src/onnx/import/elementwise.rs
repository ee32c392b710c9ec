//! Operators that work element by element, reductions, and softmax.

use super::arguments::{Arguments, all_from_front, make};
use crate::graph::{Activation, BinaryOp, Builder, CompareOp, Op, ReduceOp, UnaryOp, ValueId};
use crate::tensor::DType;

/// First operator set with numpy's broadcasting.
const BROADCASTING: i64 = 7;

/// The node's outputs; `None` where its operator is of another group.
pub(super) fn translate(b: &mut Builder, of: &Arguments<'_>) -> Option<Result<Vec<ValueId>, String>> {
    if let Some(op) = unary(of.operator()) {
        return Some(of.one(b, Op::Unary(op)));
    }
    if let Some(op) = reduction(of.operator()) {
        return Some(reduce(b, of, op));
    }
    if let Some(op) = binary(of.operator()) {
        return Some(pair(b, of, op));
    }
    Some(match of.operator() {
        "HardSigmoid" => {
            let (alpha, beta) = (of.float("alpha", 0.2), of.float("beta", 0.5));
            of.one(b, Op::Activation(Activation::HardSigmoid { alpha, beta }))
        }
        "LeakyRelu" => of.one(b, Op::Activation(Activation::LeakyRelu(of.float("alpha", 0.01)))),
        "Elu" => of.one(b, Op::Activation(Activation::Elu(of.float("alpha", 1.0)))),
        "Gelu" => {
            let tanh = of.text("approximate").as_deref() == Some("tanh");
            of.one(b, Op::Activation(Activation::Gelu { tanh }))
        }
        "Sum" | "Min" | "Max" => several(b, of),
        "Pow" => power(b, of),
        "PRelu" => prelu(b, of),
        "Equal" => of.one(b, Op::Compare(CompareOp::Equal)),
        "Less" => of.one(b, Op::Compare(CompareOp::Less)),
        "LessOrEqual" => of.one(b, Op::Compare(CompareOp::LessOrEqual)),
        "Greater" => of.one(b, Op::Compare(CompareOp::Greater)),
        "GreaterOrEqual" => of.one(b, Op::Compare(CompareOp::GreaterOrEqual)),
        "And" => of.one(b, Op::And),
        "Or" => of.one(b, Op::Or),
        "Where" => of.one(b, Op::Where),
        "Cast" => match i32::try_from(of.int("to", 0)).ok().and_then(DType::from_onnx_code) {
            Some(dtype) => of.one(b, Op::Cast(dtype)),
            None => Err("it casts to a type that is not supported".into()),
        },
        "CastLike" => like(b, of),
        "Clip" => clip(b, of),
        "Softmax" | "LogSoftmax" => softmax(b, of),
        _ => return None,
    })
}

fn unary(name: &str) -> Option<UnaryOp> {
    use UnaryOp::{
        Abs, Ceil, Erf, Exp, Floor, HardSwish, Identity, Log, Neg, Not, Reciprocal, Relu, Sigmoid, Sign,
        Softplus, Sqrt, Tanh,
    };
    let all = [
        Abs, Ceil, Erf, Exp, Floor, HardSwish, Identity, Log, Neg, Not, Reciprocal, Relu, Sigmoid, Sign,
        Softplus, Sqrt, Tanh,
    ];
    all.into_iter().find(|op| op.name() == name)
}

fn binary(name: &str) -> Option<BinaryOp> {
    [BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul, BinaryOp::Div].into_iter().find(|op| op.name() == name)
}

fn reduction(name: &str) -> Option<ReduceOp> {
    use ReduceOp::{L1, L2, LogSumExp, Max, Mean, Min, Sum, SumSquare};
    [Sum, Mean, Max, Min, L2, L1, SumSquare, LogSumExp].into_iter().find(|op| op.name() == name)
}

fn pair(b: &mut Builder, of: &Arguments<'_>, op: BinaryOp) -> Result<Vec<ValueId>, String> {
    if of.opset < BROADCASTING {
        return Err(format!("its broadcasting is that of opset {}", of.opset));
    }
    of.one(b, Op::Binary(op))
}

/// Operators of any number of inputs, as pairs.
fn several(b: &mut Builder, of: &Arguments<'_>) -> Result<Vec<ValueId>, String> {
    let op = match of.operator() {
        "Sum" => BinaryOp::Add,
        "Min" => BinaryOp::Min,
        _ => BinaryOp::Max,
    };
    let mut value = of.need(0)?;
    for k in 1..of.inputs.len() {
        value = make(b, Op::Binary(op), &[value, of.need(k)?], 1)?[0];
    }
    Ok(vec![value])
}

/// The exponent may have another type than the base.
fn power(b: &mut Builder, of: &Arguments<'_>) -> Result<Vec<ValueId>, String> {
    let (base, mut exponent) = (of.need(0)?, of.need(1)?);
    let dtype = b.ty(base).dtype;
    if b.ty(exponent).dtype != dtype {
        let value = b.constant_value(exponent).ok_or("its exponent is of another type and not known")?;
        let value = value.cast(dtype);
        exponent = b.constant(value);
    }
    make(b, Op::Binary(BinaryOp::Pow), &[base, exponent], 1)
}

// x where x > 0, else slope · x
fn prelu(b: &mut Builder, of: &Arguments<'_>) -> Result<Vec<ValueId>, String> {
    let (x, slope) = (of.need(0)?, of.need(1)?);
    let zero = b.scalar(b.ty(x).dtype, 0.0);
    let positive = make(b, Op::Compare(CompareOp::Greater), &[x, zero], 1)?[0];
    let small = make(b, Op::Binary(BinaryOp::Mul), &[slope, x], 1)?[0];
    make(b, Op::Where, &[positive, x, small], 1)
}

fn reduce(b: &mut Builder, of: &Arguments<'_>, op: ReduceOp) -> Result<Vec<ValueId>, String> {
    let x = of.need(0)?;
    let rank = b.ty(x).rank();
    let axes = of.integers(b, "axes", 1)?.filter(|axes| !axes.is_empty());
    if axes.is_none() && of.int("noop_with_empty_axes", 0) != 0 {
        return make(b, Op::Unary(UnaryOp::Identity), &[x], 1);
    }
    let axes = match axes {
        Some(axes) => all_from_front(&axes, rank)?,
        None => (0..rank).collect(),
    };
    make(b, Op::Reduce { op, axes: Some(axes), keep: of.int("keepdims", 1) != 0 }, &[x], 1)
}

/// (a, b): a in the element type of b, of which nothing else is read.
fn like(b: &mut Builder, of: &Arguments<'_>) -> Result<Vec<ValueId>, String> {
    let (value, model) = (of.need(0)?, of.need(1)?);
    let dtype = b.ty(model).dtype;
    make(b, Op::Cast(dtype), &[value], 1)
}

/// A bound that is left out is the type's own.
fn clip(b: &mut Builder, of: &Arguments<'_>) -> Result<Vec<ValueId>, String> {
    let x = of.need(0)?;
    let dtype = b.ty(x).dtype;
    let largest = match dtype {
        DType::F32 => f64::from(f32::MAX),
        DType::F16 => half::f16::MAX.to_f64(),
        DType::BF16 => half::bf16::MAX.to_f64(),
        DType::F64 => f64::MAX,
        DType::I32 | DType::I64 | DType::Bool => return Err("it bounds integers".into()),
    };
    let mut bound = |k: usize, name: &str, default: f64| match of.get(k) {
        Some(id) => id,
        None if of.has(name) => b.scalar(dtype, of.float(name, 0.0).wide()),
        None => b.scalar(dtype, default),
    };
    let (low, high) = (bound(1, "min", -largest), bound(2, "max", largest));
    make(b, Op::Clip, &[x, low, high], 1)
}

/// Before opset 13 the axes from the given one on were one.
fn softmax(b: &mut Builder, of: &Arguments<'_>) -> Result<Vec<ValueId>, String> {
    let x = of.need(0)?;
    let rank = b.ty(x).rank();
    let axis = of.axis(if of.opset < 13 { 1 } else { -1 }, rank)?;
    if of.opset < 13 && b.ty(x).shape[axis + 1..].iter().any(|d| d.fixed() != Some(1)) {
        return Err(format!("its axes from {axis} on are one, as in opset {}", of.opset));
    }
    make(b, if of.operator() == "Softmax" { Op::Softmax(axis) } else { Op::LogSoftmax(axis) }, &[x], 1)
}
