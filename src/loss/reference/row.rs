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
    /// ∂u/∂z of every class, `[C]`
    by_u: Vec<f64>,
    /// ∂(mean of -log p)/∂z of every class, `[C]`
    by_mean: Vec<f64>,
    /// The same had p and 1/C been added, `[C]`
    by_mean_size: Vec<f64>,
}

/// What the adjusted logits of a row say.
struct Margin {
    u: f64,
    /// softmax over the other classes; 0 at the label
    others: Vec<f64>,
    /// mean over the classes of -log p
    mean_nll: f64,
}

impl Margin {
    fn new(logits: &[f64], label: usize) -> Self {
        let other = |j: &usize| *j != label;
        let classes = 0..logits.len();
        let highest = classes.clone().filter(other).map(|j| logits[j]).fold(f64::NEG_INFINITY, f64::max);
        let mut others = vec![0.0; logits.len()];
        let mut u = f64::NEG_INFINITY;
        if highest != f64::NEG_INFINITY {
            let weight = |j: usize| if j == label { 0.0 } else { (logits[j] - highest).exp() };
            others = classes.map(weight).collect();
            let total: f64 = others.iter().sum();
            others.iter_mut().for_each(|r| *r /= total);
            u = (highest - logits[label]) + total.ln();
        }
        // -log p_j = logsumexp - z_j = softplus(u) + z_y - z_j
        let nll = softplus(u);
        let mean_nll = logits.iter().map(|z| nll + (logits[label] - z)).sum::<f64>() / logits.len() as f64;
        Self { u, others, mean_nll }
    }

    /// (∂u/∂z, ∂(mean of -log p)/∂z) of every class, times the scale of the logits.
    fn slopes(&self, label: usize, scale: f64) -> (Vec<f64>, Vec<f64>) {
        let (p, q) = (sigmoid(-self.u), sigmoid(self.u));
        let uniform = 1.0 / self.others.len() as f64;
        let both = self.others.iter().enumerate().map(|(j, r)| match j == label {
            true => (-scale, scale * (p - uniform)),
            false => (scale * r, scale * (q * r - uniform)),
        });
        both.unzip()
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
            // Switched off, the loss does not use the features, whatever the label is.
            let by_norm = if batch.enabled == Some(false) { 0.0 } else { value };
            return RowTerms {
                loss: Dual { value, du: Slope::new(value), dh: Slope::new(by_norm), dm: Slope::ZERO },
                entries: names.into_iter().map(|n| (n.clone(), value)).collect(),
                by_u: vec![value; self.logits.len()],
                by_mean: vec![0.0; self.logits.len()],
                by_mean_size: vec![0.0; self.logits.len()],
            };
        };
        let margin = Margin::new(&self.adjusted(loss, label), label);
        let (by_u, by_mean) = margin.slopes(label, loss.scale());
        let h = self.feature_norm(loss);
        let scope = Scope { loss, batch, margin, h, class_weight: self.class_weight };
        let entries = names.into_iter().map(|n| (n.clone(), scope.name(n).value));
        RowTerms {
            loss: if batch.enabled == Some(false) {
                scope.quantity(Quantity::Nll)
            } else {
                scope.eval(&loss.spec().loss.expr)
            },
            entries: entries.collect(),
            by_u,
            by_mean_size: by_mean.iter().map(|d| d + 2.0 * loss.scale() / by_mean.len() as f64).collect(),
            by_mean,
        }
    }

    /// scale · (z + bias - margin · onehot), less its own constant, which no loss sees.
    fn adjusted(&self, loss: &Loss, label: usize) -> Vec<f64> {
        let centre = self.logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let centre = if centre.is_finite() { centre } else { 0.0 };
        let at = |table: &Option<Vec<f64>>, j: usize| table.as_ref().map_or(0.0, |t| t[j]);
        let tables = loss.tables();
        let adjusted = self.logits.iter().enumerate().map(|(j, z)| {
            let margin = if j == label { at(&tables.label_margin, j) } else { 0.0 };
            loss.scale() * ((z - centre) + at(&tables.logit_bias, j) - margin)
        });
        adjusted.collect()
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
        let by_norm = counted(terms.loss.dh);
        let (du, dm) = (counted(terms.loss.du), counted(terms.loss.dm));
        let parts = [
            Part::new(du, &terms.by_u),
            Part { sizes: &terms.by_mean_size, ..Part::new(dm, &terms.by_mean) },
        ];
        out.logits_grad_terms.push(parts_norm(&parts, seed));
        push_gradient(&parts, seed, &mut out.logits_grad, &mut out.logits_grad_size);
        let slopes: Vec<f64> = self
            .features
            .iter()
            .map(|f| match loss.interface().feature_input {
                _ if self.ignored => 0.0,
                FeatureInput::Raw if *f == 0.0 => 0.0,
                FeatureInput::Raw => f.signum(),
                FeatureInput::Norm | FeatureInput::NormColumn => 1.0,
            })
            .collect();
        push_gradient(
            &[Part::new(by_norm, &slopes)],
            seed,
            &mut out.features_grad,
            &mut out.features_grad_size,
        );
    }
}

/// A term of a gradient: slope · direction.
struct Part<'a> {
    slope: Slope,
    direction: &'a [f64],
    /// The direction had nothing in it cancelled.
    sizes: &'a [f64],
}

impl<'a> Part<'a> {
    fn new(slope: Slope, direction: &'a [f64]) -> Self {
        Self { slope, direction, sizes: direction }
    }

    /// A slope of zero takes its part out, whatever the direction is.
    fn is_used(&self) -> bool {
        self.slope.size != 0.0
    }
}

/// Appends seed · Σ slope · direction over the parts, and its norm had nothing cancelled.
fn push_gradient(parts: &[Part<'_>], seed: f64, gradient: &mut Vec<f64>, sizes: &mut Vec<f64>) {
    let width = parts.first().map_or(0, |part| part.direction.len());
    let used: Vec<_> = parts.iter().filter(|part| part.is_used()).collect();
    let mut squares = 0.0;
    for j in 0..width {
        let term = |part: &&Part<'_>| match part.direction[j] {
            // A direction of zero takes the part out, also where the slope is infinite.
            0.0 if part.slope.value.is_infinite() => 0.0,
            d => part.slope.value * d,
        };
        // The seed of a batch without rows that count is infinite, and must not meet what is left out.
        let total: f64 = used.iter().map(term).sum();
        gradient.push(if used.is_empty() { 0.0 } else { seed * total });
        squares += used.iter().map(|part| part.slope.size * part.sizes[j].abs()).sum::<f64>().powi(2);
    }
    sizes.push(if used.is_empty() { 0.0 } else { seed.abs() * squares.sqrt() });
}

/// Norm of seed · Σ |slope · direction| where two parts meet in every class; 0 where there is one.
fn parts_norm(parts: &[Part<'_>; 2], seed: f64) -> f64 {
    // The part by the mean cancels within too.
    if !parts[1].is_used() {
        return 0.0;
    }
    let term = |part: &Part<'_>, j: usize| {
        if part.is_used() { (part.slope.value * part.sizes[j]).abs() } else { 0.0 }
    };
    let squares = (0..parts[0].sizes.len()).map(|j| (term(&parts[0], j) + term(&parts[1], j)).powi(2));
    let norm = seed.abs() * squares.sum::<f64>().sqrt();
    if norm.is_finite() { norm } else { 0.0 }
}

/// What the names of a formula mean in one row.
struct Scope<'a> {
    loss: &'a Loss,
    batch: &'a Batch,
    margin: Margin,
    h: f64,
    class_weight: f64,
}

impl Scope<'_> {
    fn quantity(&self, quantity: Quantity) -> Dual {
        let u = self.margin.u;
        let (p, q) = (sigmoid(-u), sigmoid(u));
        let by_u = |value, du| Dual { du: Slope::new(du), ..Dual::constant(value) };
        match quantity {
            Quantity::Nll => by_u(softplus(u), q),
            Quantity::P => by_u(p, -p * q),
            Quantity::Q => by_u(q, p * q),
            Quantity::ErrorL1 => by_u(2.0 * q, 2.0 * p * q),
            Quantity::Margin => by_u(u, 1.0),
            Quantity::FeatureL1 => Dual { dh: Slope::new(1.0), ..Dual::constant(self.h) },
            Quantity::MeanNll => Dual { dm: Slope::new(1.0), ..Dual::constant(self.margin.mean_nll) },
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

    /// Whether an expression is 0 in every batch: a literal, or a parameter that is no graph input.
    fn is_zero(&self, expr: &Expr) -> bool {
        match &expr.kind {
            ExprKind::Number(v) => *v == 0.0,
            ExprKind::Name(name) => {
                let stored = !self.loss.interface().runtime_parameters.contains(name);
                stored && self.loss.spec().parameters.get(name).is_some_and(|p| p.value == 0.0)
            }
            _ => false,
        }
    }

    fn eval(&self, expr: &Expr) -> Dual {
        match &expr.kind {
            ExprKind::Number(v) => Dual::constant(*v),
            ExprKind::Name(name) => self.name(name),
            ExprKind::Neg(a) => {
                Dual::binary(crate::loss::expr::BinaryOp::Mul, Dual::constant(-1.0), self.eval(a))
            }
            // A stored zero takes the other factor out of the formula, as in the compiler: a smoothing of 0 is none, also
            // where the mean of -log p is infinite.
            ExprKind::Binary(crate::loss::expr::BinaryOp::Mul, a, b)
                if self.is_zero(a) || self.is_zero(b) =>
            {
                Dual::constant(0.0)
            }
            ExprKind::Binary(op, a, b) => Dual::binary(*op, self.eval(a), self.eval(b)),
            ExprKind::Call(function, args) => {
                let args: Vec<Dual> = args.iter().map(|a| self.eval(a)).collect();
                Dual::call(*function, &args)
            }
        }
    }
}
