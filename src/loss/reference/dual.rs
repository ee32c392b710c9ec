//! Dual numbers: a value with its derivatives by the margin u and by the feature norm h.

use crate::loss::expr::{BinaryOp, Function};

/// A derivative, and what it would be if none of its terms cancelled another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Slope {
    pub value: f64,
    /// Σ |terms|, at least |value|
    pub size: f64,
}

/// A value and its partial derivatives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Dual {
    pub value: f64,
    /// ∂/∂u
    pub du: Slope,
    /// ∂/∂h
    pub dh: Slope,
    /// ∂/∂(mean of -log p), held apart from u
    pub dm: Slope,
}

impl Slope {
    pub const ZERO: Self = Self { value: 0.0, size: 0.0 };

    pub fn new(value: f64) -> Self {
        Self { value, size: value.abs() }
    }

    /// Times a factor. A zero slope stays zero whatever the factor is, which is the limit where the product has one.
    fn times(self, factor: f64) -> Self {
        let scaled = |d: f64, by: f64| if d == 0.0 { 0.0 } else { by * d };
        Self { value: scaled(self.value, factor), size: scaled(self.size, factor.abs()) }
    }

    fn plus(self, other: Self, sign: f64) -> Self {
        Self { value: self.value + sign * other.value, size: self.size + other.size }
    }
}

impl Dual {
    pub fn constant(value: f64) -> Self {
        Self { value, du: Slope::ZERO, dh: Slope::ZERO, dm: Slope::ZERO }
    }

    /// f(self) with f' given.
    fn chain(self, value: f64, slope: f64) -> Self {
        Self { value, du: self.du.times(slope), dh: self.dh.times(slope), dm: self.dm.times(slope) }
    }

    fn plus(self, other: Self, sign: f64) -> Self {
        Self {
            value: self.value + sign * other.value,
            du: self.du.plus(other.du, sign),
            dh: self.dh.plus(other.dh, sign),
            dm: self.dm.plus(other.dm, sign),
        }
    }

    fn product(self, other: Self) -> Self {
        let a = self.chain(self.value * other.value, other.value);
        let b = other.chain(0.0, self.value);
        a.plus(b, 1.0)
    }

    fn quotient(self, other: Self) -> Self {
        // d(a/b) = da/b - (a/b) db/b
        let value = self.value / other.value;
        let a = self.chain(value, 1.0 / other.value);
        let b = other.chain(0.0, -value / other.value);
        a.plus(b, 1.0)
    }

    fn power(self, exponent: Self) -> Self {
        // d(a^b) = b a^(b-1) da + a^b ln(a) db
        let value = self.value.powf(exponent.value);
        let slope =
            if exponent.value == 0.0 { 0.0 } else { exponent.value * self.value.powf(exponent.value - 1.0) };
        let a = self.chain(value, slope);
        let b = exponent.chain(0.0, value * self.value.ln());
        a.plus(b, 1.0)
    }

    /// At a tie both sides count half, as in PyTorch.
    fn choose(self, other: Self, first: bool) -> Self {
        if self.value == other.value {
            let half = |a: Slope, b: Slope| a.plus(b, 1.0).times(0.5);
            return Self {
                value: self.value,
                du: half(self.du, other.du),
                dh: half(self.dh, other.dh),
                dm: half(self.dm, other.dm),
            };
        }
        if first || self.value.is_nan() { self } else { other }
    }

    pub fn binary(op: BinaryOp, a: Self, b: Self) -> Self {
        match op {
            BinaryOp::Add => a.plus(b, 1.0),
            BinaryOp::Sub => a.plus(b, -1.0),
            BinaryOp::Mul => a.product(b),
            BinaryOp::Div => a.quotient(b),
            BinaryOp::Pow => a.power(b),
        }
    }

    /// `args` has the function's arity.
    pub fn call(function: Function, args: &[Self]) -> Self {
        let x = args[0];
        let v = x.value;
        match function {
            Function::Exp => x.chain(v.exp(), v.exp()),
            Function::Log => x.chain(v.ln(), 1.0 / v),
            Function::Sqrt => x.chain(v.sqrt(), 0.5 / v.sqrt()),
            Function::Abs => x.chain(v.abs(), if v == 0.0 { 0.0 } else { v.signum() }),
            Function::Sign => Self::constant(if v == 0.0 { 0.0 } else { v.signum() }),
            Function::OneMinusExp => x.chain(-v.exp_m1(), -v.exp()),
            Function::Stop => Self::constant(v),
            Function::Min => x.choose(args[1], v < args[1].value),
            Function::Max => x.choose(args[1], v > args[1].value),
            Function::Pow => x.power(args[1]),
        }
    }
}
