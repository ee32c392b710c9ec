//! A formula's tree as nodes that reverse mode goes through.
//!
//! What is known when the graph is written is folded; a product with 0 is 0, as in the row program. Where a function has
//! no finite slope (a root or a power at 0), the graph takes a slope of 0: there the product with what multiplies it has
//! that limit, or none.

use crate::graph::{BinaryOp, Builder, CompareOp, Op, UnaryOp, ValueId};
use crate::loss::expr::{self, Expr, ExprKind, Function};
use crate::loss::{Loss, Quantity};
use crate::lower::margin::one_minus_exp;
use crate::tensor::DType;

use super::quantities::Quantities;

/// What a part of a formula comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Value {
    Number(f64),
    /// float32, `[N, 1]` or []
    Node(ValueId),
}

pub(super) struct Evaluator<'a> {
    loss: &'a Loss,
    quantities: &'a Quantities,
    /// Graph inputs by name.
    inputs: &'a [(String, ValueId)],
}

impl<'a> Evaluator<'a> {
    pub fn new(loss: &'a Loss, quantities: &'a Quantities, inputs: &'a [(String, ValueId)]) -> Self {
        Self { loss, quantities, inputs }
    }

    /// The loss of a row.
    pub fn loss(&self, b: &mut Builder) -> ValueId {
        let value = self.value(b, &self.loss.spec().loss.expr);
        node(b, value)
    }

    fn value(&self, b: &mut Builder, expr: &Expr) -> Value {
        match &expr.kind {
            ExprKind::Number(v) => Value::Number(*v),
            ExprKind::Name(name) => self.name(b, name),
            ExprKind::Neg(a) => match self.value(b, a) {
                Value::Number(v) => Value::Number(-v),
                Value::Node(a) => Value::Node(b.unary(UnaryOp::Neg, a)),
            },
            ExprKind::Binary(op, x, y) => {
                let (x, y) = (self.value(b, x), self.value(b, y));
                binary(b, *op, x, y)
            }
            ExprKind::Call(function, args) => {
                let args: Vec<Value> = args.iter().map(|a| self.value(b, a)).collect();
                self.call(b, *function, &args)
            }
        }
    }

    fn name(&self, b: &mut Builder, name: &str) -> Value {
        if let Some(quantity) = Quantity::named(name) {
            return Value::Node(self.quantities.read(b, quantity));
        }
        let spec = self.loss.spec();
        if let Some(entry) = spec.row.get(name) {
            let value = self.value(b, &entry.expr);
            return if self.loss.is_stopped(name) { stop(b, value) } else { value };
        }
        if self.loss.interface().runtime_parameters.iter().any(|p| p == name) {
            let found = self.inputs.iter().find(|(n, _)| n == name);
            return Value::Node(found.expect("a runtime parameter is a graph input").1);
        }
        let parameter = spec.parameters.get(name).expect("a spec's names were checked when it was read");
        Value::Number(parameter.value)
    }

    fn call(&self, b: &mut Builder, function: Function, args: &[Value]) -> Value {
        let a = args[0];
        match function {
            Function::Exp => unary(b, UnaryOp::Exp, f64::exp, a),
            Function::Log => self.log(b, a),
            Function::Sqrt => root(b, a),
            Function::Abs => unary(b, UnaryOp::Abs, f64::abs, a),
            Function::Sign => {
                let sign = unary(b, UnaryOp::Sign, |v| if v == 0.0 { 0.0 } else { v.signum() }, a);
                stop(b, sign)
            }
            Function::OneMinusExp => match a {
                Value::Number(v) => Value::Number(-v.exp_m1()),
                Value::Node(a) => Value::Node(one_minus_exp(b, a)),
            },
            Function::Stop => stop(b, a),
            Function::Min => extreme(b, f64::min, a, args[1], |a, c| [a, c]),
            Function::Max => extreme(b, f64::max, a, args[1], |a, c| [c, a]),
            Function::Pow => binary(b, expr::BinaryOp::Pow, a, args[1]),
        }
    }

    /// log p is -nll, which is finite where p is not above 0 any more.
    fn log(&self, b: &mut Builder, a: Value) -> Value {
        let p = self.quantities.read(b, Quantity::P);
        if a != Value::Node(p) {
            return unary(b, UnaryOp::Log, f64::ln, a);
        }
        let nll = self.quantities.read(b, Quantity::Nll);
        Value::Node(b.unary(UnaryOp::Neg, nll))
    }
}

fn node(b: &mut Builder, value: Value) -> ValueId {
    match value {
        Value::Number(v) => b.scalar(DType::F32, v),
        Value::Node(id) => id,
    }
}

fn stop(b: &mut Builder, value: Value) -> Value {
    match value {
        Value::Number(_) => value,
        Value::Node(a) => Value::Node(b.node(Op::Stop { essential: true }, &[a])),
    }
}

fn unary(b: &mut Builder, op: UnaryOp, fold: fn(f64) -> f64, a: Value) -> Value {
    match a {
        Value::Number(v) => Value::Number(fold(v)),
        Value::Node(a) => Value::Node(b.unary(op, a)),
    }
}

fn binary(b: &mut Builder, op: expr::BinaryOp, x: Value, y: Value) -> Value {
    use expr::BinaryOp::{Add, Div, Mul, Pow, Sub};
    if let (Value::Number(x), Value::Number(y)) = (x, y) {
        return Value::Number(op.apply(x, y));
    }
    let op = match (op, x, y) {
        (Add, Value::Number(0.0), rest)
        | (Add | Sub, rest, Value::Number(0.0))
        | (Mul, Value::Number(1.0), rest)
        | (Mul | Div | Pow, rest, Value::Number(1.0)) => return rest,
        // A structural zero, as in the row program.
        (Mul, Value::Number(0.0), _) | (Mul, _, Value::Number(0.0)) | (Div, Value::Number(0.0), _) => {
            return Value::Number(0.0);
        }
        (Add, ..) => BinaryOp::Add,
        (Sub, ..) => BinaryOp::Sub,
        (Mul, ..) => BinaryOp::Mul,
        (Div, ..) => BinaryOp::Div,
        (Pow, base, exponent) => return power(b, base, exponent),
    };
    let (x, y) = (node(b, x), node(b, y));
    Value::Node(b.binary(op, x, y))
}

/// ONNX Runtime's training differentiates a power by its base alone. An exponent that depends on the sample is brought
/// down: x^y = e^(y log x).
fn power(b: &mut Builder, base: Value, exponent: Value) -> Value {
    match exponent {
        Value::Number(0.0) => return Value::Number(1.0),
        Value::Number(0.5) => return root(b, base),
        Value::Number(v) if v == v.trunc() && (2.0..=4.0).contains(&v) => {
            let base = node(b, base);
            let times = v as usize - 1;
            return Value::Node((0..times).fold(base, |product, _| b.binary(BinaryOp::Mul, product, base)));
        }
        _ => {}
    }
    let base = node(b, base);
    let base = away_from_zero(b, base);
    let of_row = matches!(exponent, Value::Node(id) if b.ty(id).rank() > 0);
    let exponent = node(b, exponent);
    Value::Node(if of_row {
        let log = b.unary(UnaryOp::Log, base);
        let product = b.binary(BinaryOp::Mul, exponent, log);
        b.unary(UnaryOp::Exp, product)
    } else {
        b.binary(BinaryOp::Pow, base, exponent)
    })
}

fn root(b: &mut Builder, a: Value) -> Value {
    match a {
        Value::Number(v) => Value::Number(v.sqrt()),
        Value::Node(a) => {
            let a = away_from_zero(b, a);
            Value::Node(b.unary(UnaryOp::Sqrt, a))
        }
    }
}

/// a, or the smallest normal number, a constant, where |a| is below that.
fn away_from_zero(b: &mut Builder, a: ValueId) -> ValueId {
    let smallest = b.scalar(DType::F32, f64::from(f32::MIN_POSITIVE));
    let magnitude = b.unary(UnaryOp::Abs, a);
    let vanishes = b.compare(CompareOp::Less, magnitude, smallest);
    b.choose(vanishes, smallest, a)
}

/// The first of `order` where it is less than the second, the second where that is less, and else their mean, so that
/// at a tie each side gets half of the derivative; NaN where either is.
fn extreme(
    b: &mut Builder,
    fold: fn(f64, f64) -> f64,
    x: Value,
    y: Value,
    order: fn(ValueId, ValueId) -> [ValueId; 2],
) -> Value {
    if let (Value::Number(x), Value::Number(y)) = (x, y) {
        return Value::Number(fold(x, y));
    }
    let (x, y) = (node(b, x), node(b, y));
    let [less, more] = order(x, y);
    let first = b.compare(CompareOp::Less, less, more);
    let second = b.compare(CompareOp::Less, more, less);
    let half = b.scalar(DType::F32, 0.5);
    let halves = [x, y].map(|v| b.binary(BinaryOp::Mul, v, half));
    let mean = b.binary(BinaryOp::Add, halves[0], halves[1]);
    let rest = b.choose(second, y, mean);
    Value::Node(b.choose(first, x, rest))
}
