//! The row program, run for [`ROWS`] rows at once in float64.

use crate::descriptor::{Binary, Descriptor, Read, Step, Unary};
use crate::math::{exp_below, ln, ln_1p};

/// Rows that a program runs for at once: two AVX-512 registers of f64.
pub const ROWS: usize = 16;

/// A value of each row.
pub type Rows = [f64; ROWS];

/// What is known of [`ROWS`] rows before the program runs. Rows that do not count, and those
/// beyond the last, hold numbers of other rows, or those that they were made with.
#[derive(Debug, Clone)]
pub struct Quantities {
    /// the lead of the highest other logit over the label's
    pub lead: Rows,
    /// Σ e^(z - highest) over the other classes; u = lead + ln(total)
    pub total: Rows,
    /// ‖features‖₁
    pub feature_l1: Rows,
    /// of the label
    pub class_weight: Rows,
    /// mean over the classes of z'_j - z'_y
    pub mean_lead: Rows,
    /// dL/d(row loss)
    pub upstream: Rows,
}

/// What all rows of a batch share.
#[derive(Debug, Clone, Default)]
pub struct Shared {
    /// rows that count
    pub count: f64,
    /// Σ of their class weights
    pub weight_sum: f64,
    /// runtime parameters
    pub parameters: Vec<f64>,
}

impl Default for Quantities {
    fn default() -> Self {
        let [zero, one] = [0.0, 1.0].map(|v| [v; ROWS]);
        Self { lead: zero, total: one, feature_l1: one, class_weight: one, mean_lead: zero, upstream: zero }
    }
}

/// u and what follows from it.
struct Margin {
    u: Rows,
    nll: Rows,
    p: Rows,
    q: Rows,
}

impl Margin {
    /// From e = e^-|u|: q is e/(1+e) or 1/(1+e), never 1 - p; the cross entropy is max(u, 0) + ln(1 + e). In loops one
    /// after the other, so that what a function waits for in one row is spent on the next.
    #[inline(always)]
    fn new<const FMA: bool>(quantities: &Quantities) -> Self {
        let [mut u, mut e, mut nll, mut p, mut q] = [[0.0; ROWS]; 5];
        for (k, u) in u.iter_mut().enumerate() {
            *u = quantities.lead[k] + ln::<FMA>(quantities.total[k]);
        }
        for (e, u) in e.iter_mut().zip(u) {
            let below = exp_below::<f64, FMA>(0.0 - u.abs());
            *e = if u.is_nan() { u } else { below };
        }
        for (k, nll) in nll.iter_mut().enumerate() {
            let above = if u[k] > 0.0 { u[k] } else { 0.0 };
            *nll = above + ln_1p::<FMA>(e[k]);
        }
        for k in 0..ROWS {
            let large = 1.0 / (1.0 + e[k]);
            let small = e[k] * large;
            p[k] = if u[k] > 0.0 { small } else { large };
            q[k] = if u[k] > 0.0 { large } else { small };
        }
        Self { u, nll, p, q }
    }
}

/// Space for the values of a program's steps.
#[derive(Debug, Default)]
pub struct Evaluator {
    values: Vec<Rows>,
}

impl Evaluator {
    /// Runs the program.
    #[inline(always)]
    pub fn run<const FMA: bool>(&mut self, loss: &Descriptor, quantities: &Quantities, shared: &Shared) {
        let margin = Margin::new::<FMA>(quantities);
        self.values.resize(loss.steps.len(), [0.0; ROWS]);
        for (index, step) in loss.steps.iter().enumerate() {
            // A step reads those before it only.
            let (done, rest) = self.values.split_at_mut(index);
            let (at, out) = (|id: usize| &done[id], &mut rest[0]);
            match *step {
                Step::Const(v) => out.fill(v),
                Step::Read(read) => reading(read, &margin, quantities, shared, out),
                Step::Unary(op, a) => unary::<FMA>(op, at(a), out),
                Step::Binary(op, a, b) => binary(op, at(a), at(b), out),
                Step::IfZero(a, x, y) => choose(at(a), at(x), at(y), out),
            }
        }
    }

    /// Makes every value of a row `value`.
    #[inline(always)]
    pub fn overwrite(&mut self, row: usize, value: f64) {
        for values in &mut self.values {
            values[row] = value;
        }
    }

    /// Values of a step.
    #[inline(always)]
    pub fn at(&self, step: usize) -> &Rows {
        &self.values[step]
    }
}

#[inline(always)]
fn reading(read: Read, margin: &Margin, quantities: &Quantities, shared: &Shared, out: &mut Rows) {
    match read {
        Read::Nll => *out = margin.nll,
        Read::P => *out = margin.p,
        Read::Q => *out = margin.q,
        Read::Margin => *out = margin.u,
        Read::FeatureL1 => *out = quantities.feature_l1,
        Read::ClassWeight => *out = quantities.class_weight,
        // -log p_j = nll - (z_j - z_y)
        Read::MeanNll => binary(Binary::Sub, &margin.nll, &quantities.mean_lead, out),
        Read::Count => out.fill(shared.count),
        Read::WeightSum => out.fill(shared.weight_sum),
        Read::Upstream => *out = quantities.upstream,
        Read::Parameter(index) => out.fill(shared.parameters[index]),
    }
}

#[inline(always)]
fn map(a: &Rows, out: &mut Rows, f: impl Fn(f64) -> f64) {
    for k in 0..ROWS {
        out[k] = f(a[k]);
    }
}

#[inline(always)]
fn zip(a: &Rows, b: &Rows, out: &mut Rows, f: impl Fn(f64, f64) -> f64) {
    for k in 0..ROWS {
        out[k] = f(a[k], b[k]);
    }
}

#[inline(always)]
fn unary<const FMA: bool>(op: Unary, a: &Rows, out: &mut Rows) {
    match op {
        Unary::Neg => map(a, out, |x| -x),
        Unary::Exp => map(a, out, f64::exp),
        Unary::Log => map(a, out, ln::<FMA>),
        Unary::Sqrt => map(a, out, f64::sqrt),
        Unary::Abs => map(a, out, f64::abs),
        Unary::Sign => map(a, out, |x| {
            if x > 0.0 {
                1.0
            } else if x < 0.0 {
                -1.0
            } else {
                x * 0.0
            }
        }),
        Unary::OneMinusExp => map(a, out, |x| -x.exp_m1()),
    }
}

#[inline(always)]
fn binary(op: Binary, a: &Rows, b: &Rows, out: &mut Rows) {
    match op {
        Binary::Add => zip(a, b, out, |x, y| x + y),
        Binary::Sub => zip(a, b, out, |x, y| x - y),
        Binary::Mul => zip(a, b, out, |x, y| x * y),
        Binary::Div => zip(a, b, out, |x, y| x / y),
        Binary::Pow => zip(a, b, out, f64::powf),
        // NaN wins, as in ONNX and PyTorch.
        Binary::Min => zip(a, b, out, |x, y| if x < y || x.is_nan() { x } else { y }),
        Binary::Max => zip(a, b, out, |x, y| if x > y || x.is_nan() { x } else { y }),
    }
}

#[inline(always)]
fn choose(a: &Rows, x: &Rows, y: &Rows, out: &mut Rows) {
    for k in 0..ROWS {
        out[k] = if a[k] == 0.0 { x[k] } else { y[k] };
    }
}
