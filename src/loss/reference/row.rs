//! One sample of the reference.

use std::collections::BTreeMap;

use super::dual::{Dual, Slope};
use super::{Batch, Evaluation};
use crate::loss::expr::{Expr, ExprKind};
use crate::loss::{FeatureInput, Loss, Quantity};

/// A sample.
pub(super) struct Row<'a> {
    /// `[C]`
    pub logits: &'a [f64],
    /// `[D]`, or the norm alone
    pub features: &'a [f64],
    /// The label, if it is a class.
    pub class: Option<usize>,
    pub ignored: bool,
    pub class_weight: f64,
}

/// What a sample contributes.
pub(super) struct RowTerms {
    pub loss: Dual,
    pub entries: BTreeMap<String, f64>,
    /// softmax over the other classes; 0 at the label
    others: Vec<f64>,
}

/// Softmax of the logits of the other classes, and their margin over the label.
struct Margin {
    u: f64,
    others: Vec<f64>,
}

impl Margin {
    fn new(logits: &[f64], label: usize) -> Self {
        let other = |j: &usize| *j != label;
        let classes = 0..logits.len();
        let highest = classes.clone().filter(other).map(|j| logits[j]).fold(f64::NEG_INFINITY, f64::max);
        if highest == f64::NEG_INFINITY {
            return Self { u: f64::NEG_INFINITY, others: vec![0.0; logits.len()] };
        }
        let weight = |j: usize| {
            if j == label { 0.0 } else { (logits[j] - highest).exp() }
        };
        let mut others: Vec<f64> = classes.map(weight).collect();
        let total: f64 = others.iter().sum();
        others.iter_mut().for_each(|r| *r /= total);
        Self { u: (highest - logits[label]) + total.ln(), others }
    }
}

/// 1 / (1 + e^-x), with full relative precision on both sides.
fn sigmoid(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    if x < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
}

/// ln(1 + e^x)
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

impl Row<'_> {
    /// Loss and entries of the row, with derivatives.
    pub fn terms(&self, loss: &Loss, batch: &Batch) -> RowTerms {
        let names: Vec<&String> = loss.spec().row.keys().filter(|n| loss.interface().has_output(n)).collect();
        let Some(label) = self.class.filter(|_| !self.ignored) else {
            let value = if self.ignored { 0.0 } else { f64::NAN };
            return RowTerms {
                loss: Dual { value, du: Slope::new(value), dh: Slope::new(value) },
                entries: names.into_iter().map(|n| (n.clone(), value)).collect(),
                others: vec![value; self.logits.len()],
            };
        };
        let margin = Margin::new(self.logits, label);
        let scope =
            Scope { loss, batch, u: margin.u, h: self.feature_norm(loss), class_weight: self.class_weight };
        let entries = names.into_iter().map(|n| (n.clone(), scope.name(n).value));
        RowTerms {
            loss: if batch.enabled == Some(false) {
                scope.quantity(Quantity::Nll)
            } else {
                scope.eval(&loss.spec().loss.expr)
            },
            entries: entries.collect(),
            others: margin.others,
        }
    }

    fn feature_norm(&self, loss: &Loss) -> f64 {
        match loss.interface().feature_input {
            FeatureInput::Raw => self.features.iter().map(|f| f.abs()).sum(),
            FeatureInput::Norm | FeatureInput::NormColumn => self.features.first().copied().unwrap_or(0.0),
        }
    }

    /// Appends dL/dlogits and dL/dfeatures of the row, for dL/d(row loss) = `seed`.
    pub fn push_gradients(&self, loss: &Loss, terms: &RowTerms, seed: f64, out: &mut Evaluation) {
        let counted = |slope: Slope| if self.ignored { Slope::ZERO } else { slope };
        let (by_margin, by_norm) = (counted(terms.loss.du), counted(terms.loss.dh));
        let shares = terms.others.iter().enumerate().map(|(j, r)| match self.class {
            _ if self.ignored => 0.0,
            Some(label) if label == j => -1.0,
            _ => *r,
        });
        push_scaled(shares, by_margin, seed, &mut out.logits_grad, &mut out.logits_grad_size);
        let slopes = self.features.iter().map(|f| match loss.interface().feature_input {
            _ if self.ignored => 0.0,
            FeatureInput::Raw if *f == 0.0 => 0.0,
            FeatureInput::Raw => f.signum(),
            FeatureInput::Norm | FeatureInput::NormColumn => 1.0,
        });
        push_scaled(slopes, by_norm, seed, &mut out.features_grad, &mut out.features_grad_size);
    }
}

/// Appends seed · slope · direction, and its norm had nothing in the slope cancelled.
fn push_scaled(
    direction: impl Iterator<Item = f64>,
    slope: Slope,
    seed: f64,
    gradient: &mut Vec<f64>,
    sizes: &mut Vec<f64>,
) {
    let mut squares = 0.0;
    for d in direction {
        gradient.push(if slope.size == 0.0 { 0.0 } else { seed * slope.value * d });
        squares += d * d;
    }
    sizes.push((seed * slope.size).abs() * f64::sqrt(squares));
}

/// What the names of a formula mean in one row.
struct Scope<'a> {
    loss: &'a Loss,
    batch: &'a Batch,
    u: f64,
    h: f64,
    class_weight: f64,
}

impl Scope<'_> {
    fn quantity(&self, quantity: Quantity) -> Dual {
        let (p, q) = (sigmoid(-self.u), sigmoid(self.u));
        let by_u = |value, du| Dual { value, du: Slope::new(du), dh: Slope::ZERO };
        match quantity {
            Quantity::Nll => by_u(softplus(self.u), q),
            Quantity::P => by_u(p, -p * q),
            Quantity::Q => by_u(q, p * q),
            Quantity::ErrorL1 => by_u(2.0 * q, 2.0 * p * q),
            Quantity::Margin => by_u(self.u, 1.0),
            Quantity::FeatureL1 => Dual { value: self.h, du: Slope::ZERO, dh: Slope::new(1.0) },
            Quantity::ClassWeight => Dual::constant(self.class_weight),
        }
    }

    /// A name; names were checked when the spec was read, so an unknown one cannot occur and reads as NaN.
    fn name(&self, name: &str) -> Dual {
        if let Some(quantity) = Quantity::named(name) {
            return self.quantity(quantity);
        }
        if let Some(entry) = self.loss.spec().row.get(name) {
            let value = self.eval(&entry.expr);
            return if self.loss.is_stopped(name) { Dual::constant(value.value) } else { value };
        }
        let given = self.batch.parameters.get(name).copied();
        let value = given.or_else(|| self.loss.spec().parameters.get(name).map(|p| p.value));
        Dual::constant(value.unwrap_or(f64::NAN))
    }

    fn eval(&self, expr: &Expr) -> Dual {
        match &expr.kind {
            ExprKind::Number(v) => Dual::constant(*v),
            ExprKind::Name(name) => self.name(name),
            ExprKind::Neg(a) => {
                Dual::binary(crate::loss::expr::BinaryOp::Mul, Dual::constant(-1.0), self.eval(a))
            }
            ExprKind::Binary(op, a, b) => Dual::binary(*op, self.eval(a), self.eval(b)),
            ExprKind::Call(function, args) => {
                let args: Vec<Dual> = args.iter().map(|a| self.eval(a)).collect();
                Dual::call(*function, &args)
            }
        }
    }
}
