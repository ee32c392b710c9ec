//! Optimizers as functions on a graph's builder: parameter, gradient and state in, parameter and state out.
//!
//! PyTorch's semantics and its order of operations, in the parameter's own float type. Scalars that depend on the step
//! are computed in float64: 1 - β₂ᵗ has three digits left of float32 at the first step.

use super::names::{FIRST_MOMENT, MOMENTUM, SECOND_MOMENT};
use super::recipe::{Betas, Optimizer};
use crate::graph::{BinaryOp, Builder, UnaryOp, ValueId};
use crate::tensor::DType;

/// Scalars that every parameter's rule takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    /// Learning rate, float32 [].
    pub learning_rate: ValueId,
    /// Number of the update, int64 [], from 1; only Adam needs it.
    pub step: Option<ValueId>,
}

/// What a rule reads, all of one shape and float type.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operands<'a> {
    pub parameter: ValueId,
    pub gradient: ValueId,
    /// In the order of [`Optimizer::state`].
    pub state: &'a [ValueId],
    /// λ of this parameter.
    pub weight_decay: f64,
}

/// What a rule makes.
#[derive(Debug, Clone)]
pub(super) struct Updated {
    pub parameter: ValueId,
    /// In the order of [`Optimizer::state`].
    pub state: Vec<ValueId>,
}

impl Optimizer {
    /// Suffixes of the state of a parameter: tensors of its shape, zero before the first step.
    pub fn state(&self) -> &'static [&'static str] {
        match self {
            Optimizer::Sgd => &[],
            Optimizer::Momentum { .. } => &[MOMENTUM],
            Optimizer::Adam(_) | Optimizer::AdamW(_) => &[FIRST_MOMENT, SECOND_MOMENT],
        }
    }

    /// Whether the rule depends on the number of the update.
    pub fn counts_steps(&self) -> bool {
        matches!(self, Optimizer::Adam(_) | Optimizer::AdamW(_))
    }

    pub(super) fn update(&self, b: &mut Builder, schedule: Schedule, of: Operands<'_>) -> Updated {
        let mut rule = Rule { dtype: b.ty(of.parameter).dtype, b, schedule };
        match self {
            Optimizer::Sgd => rule.sgd(of),
            Optimizer::Momentum { momentum, nesterov } => rule.momentum(of, *momentum, *nesterov),
            Optimizer::Adam(betas) => {
                let gradient = rule.decayed(of);
                rule.adam(Operands { gradient, ..of }, *betas)
            }
            Optimizer::AdamW(betas) => {
                let parameter = rule.shrunk(of);
                rule.adam(Operands { parameter, ..of }, *betas)
            }
        }
    }
}

/// Arithmetic in one float type.
struct Rule<'b> {
    b: &'b mut Builder,
    dtype: DType,
    schedule: Schedule,
}

impl Rule<'_> {
    // Sutskever et al., ICML 2013, as torch.optim.SGD documents it:
    // g ← g + λ p;  p ← p - lr g
    fn sgd(&mut self, of: Operands<'_>) -> Updated {
        let gradient = self.decayed(of);
        Updated { parameter: self.descend(of.parameter, gradient), state: Vec::new() }
    }

    // g ← g + λ p;  b ← μ b + g;  d = b, or Nesterov's g + μ b;  p ← p - lr d
    // torch starts with b = g at the first step, which is what b = 0 before it gives.
    fn momentum(&mut self, of: Operands<'_>, momentum: f64, nesterov: bool) -> Updated {
        let gradient = self.decayed(of);
        let kept = self.times(of.state[0], momentum);
        let buffer = self.add(kept, gradient);
        let direction = if nesterov {
            let ahead = self.times(buffer, momentum);
            self.add(gradient, ahead)
        } else {
            buffer
        };
        Updated { parameter: self.descend(of.parameter, direction), state: vec![buffer] }
    }

    // Kingma and Ba, ICLR 2015, in the order of torch.optim.Adam:
    // m ← m + (1 - β₁)(g - m);  v ← β₂ v + (1 - β₂) g²
    // p ← p - lr/(1 - β₁ᵗ) · m / (√v / √(1 - β₂ᵗ) + ε)
    fn adam(&mut self, of: Operands<'_>, betas: Betas) -> Updated {
        let [m, v] = [of.state[0], of.state[1]];
        let away = self.b.binary(BinaryOp::Sub, of.gradient, m);
        let towards = self.times(away, 1.0 - betas.beta1);
        let m = self.add(m, towards);
        let kept = self.times(v, betas.beta2);
        let square = self.b.binary(BinaryOp::Mul, of.gradient, of.gradient);
        let new = self.times(square, 1.0 - betas.beta2);
        let v = self.add(kept, new);
        let (rate, root_correction) = self.adam_scalars(betas);
        let root = self.b.unary(UnaryOp::Sqrt, v);
        let corrected = self.b.binary(BinaryOp::Div, root, root_correction);
        let epsilon = self.b.scalar(self.dtype, betas.epsilon);
        let divisor = self.add(corrected, epsilon);
        let direction = self.b.binary(BinaryOp::Div, m, divisor);
        let change = self.b.binary(BinaryOp::Mul, direction, rate);
        Updated { parameter: self.b.binary(BinaryOp::Sub, of.parameter, change), state: vec![m, v] }
    }

    /// lr/(1 - β₁ᵗ) and √(1 - β₂ᵗ)
    fn adam_scalars(&mut self, betas: Betas) -> (ValueId, ValueId) {
        let step = self.schedule.step.expect("Adam counts steps, so the graph has the input");
        let t = self.b.cast(step, DType::F64);
        let one = self.b.scalar(DType::F64, 1.0);
        let mut correction = |beta: f64| {
            let beta = self.b.scalar(DType::F64, beta);
            let power = self.b.binary(BinaryOp::Pow, beta, t);
            self.b.binary(BinaryOp::Sub, one, power)
        };
        let [first, second] = [betas.beta1, betas.beta2].map(&mut correction);
        let learning_rate = self.b.cast(self.schedule.learning_rate, DType::F64);
        let rate = self.b.binary(BinaryOp::Div, learning_rate, first);
        let root = self.b.unary(UnaryOp::Sqrt, second);
        (self.b.cast(rate, self.dtype), self.b.cast(root, self.dtype))
    }

    // g + λ p
    fn decayed(&mut self, of: Operands<'_>) -> ValueId {
        if of.weight_decay == 0.0 {
            return of.gradient;
        }
        let pull = self.times(of.parameter, of.weight_decay);
        self.add(of.gradient, pull)
    }

    // Loshchilov and Hutter, ICLR 2019: p (1 - lr λ), with the factor in float64
    fn shrunk(&mut self, of: Operands<'_>) -> ValueId {
        if of.weight_decay == 0.0 {
            return of.parameter;
        }
        let learning_rate = self.b.cast(self.schedule.learning_rate, DType::F64);
        let decay = self.b.scalar(DType::F64, of.weight_decay);
        let loss = self.b.binary(BinaryOp::Mul, learning_rate, decay);
        let one = self.b.scalar(DType::F64, 1.0);
        let factor = self.b.binary(BinaryOp::Sub, one, loss);
        let factor = self.b.cast(factor, self.dtype);
        self.b.binary(BinaryOp::Mul, of.parameter, factor)
    }

    // p - lr d
    fn descend(&mut self, parameter: ValueId, direction: ValueId) -> ValueId {
        let rate = self.b.cast(self.schedule.learning_rate, self.dtype);
        let change = self.b.binary(BinaryOp::Mul, direction, rate);
        self.b.binary(BinaryOp::Sub, parameter, change)
    }

    fn times(&mut self, a: ValueId, factor: f64) -> ValueId {
        let factor = self.b.scalar(self.dtype, factor);
        self.b.binary(BinaryOp::Mul, a, factor)
    }

    fn add(&mut self, a: ValueId, b: ValueId) -> ValueId {
        self.b.binary(BinaryOp::Add, a, b)
    }
}
