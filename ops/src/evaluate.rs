//! The row program, run for [`ROWS`] rows at once in float64.

use crate::descriptor::{Binary, Descriptor, Read, Step, Unary};
use crate::math::{exp_below, ln, ln_1p};

/// Rows that a program runs for at once: two AVX-512 registers of f64.
pub const ROWS: usize = 16;

/// A value of each row.
pub type Rows = [f64; ROWS];

/// What is known of [`ROWS`] rows before the program runs. Rows beyond the last are as they were made.
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
    /// From e = e^-|u|: q is e/(1+e) or 1/(1+e), never 1 - p; the cross entropy is max(u, 0) + ln(1 + e).
    #[inline(always)]
    fn new<const FMA: bool>(quantities: &Quantities) -> Self {
        let mut margin = Self { u: [0.0; ROWS], nll: [0.0; ROWS], p: [0.0; ROWS], q: [0.0; ROWS] };
        for k in 0..ROWS {
            let u = quantities.lead[k] + ln::<FMA>(quantities.total[k]);
            let e = exp_below::<f64, FMA>(0.0 - u.abs());
            let (small, large) = (e / (1.0 + e), 1.0 / (1.0 + e));
            let above = if u > 0.0 { u } else { 0.0 };
            let nll = above + ln_1p::<FMA>(e);
            margin.u[k] = u;
            margin.nll[k] = nll;
            margin.p[k] = if u > 0.0 { small } else { large };
            margin.q[k] = if u > 0.0 { large } else { small };
        }
        margin
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
        self.values.clear();
        for step in &loss.steps {
            let at = |id: usize| &self.values[id];
            let value = match *step {
                Step::Const(v) => [v; ROWS],
                Step::Read(read) => reading(read, &margin, quantities, shared),
                Step::Unary(op, a) => unary::<FMA>(op, at(a)),
                Step::Binary(op, a, b) => binary(op, at(a), at(b)),
                Step::IfZero(a, x, y) => choose(at(a), at(x), at(y)),
            };
            self.values.push(value);
        }
    }

    /// Values of a step.
    #[inline(always)]
    pub fn at(&self, step: usize) -> &Rows {
        &self.values[step]
    }
}

#[inline(always)]
fn reading(read: Read, margin: &Margin, quantities: &Quantities, shared: &Shared) -> Rows {
    match read {
        Read::Nll => margin.nll,
        Read::P => margin.p,
        Read::Q => margin.q,
        Read::Margin => margin.u,
        Read::FeatureL1 => quantities.feature_l1,
        Read::ClassWeight => quantities.class_weight,
        // -log p_j = nll - (z_j - z_y)
        Read::MeanNll => binary(Binary::Sub, &margin.nll, &quantities.mean_lead),
        Read::Count => [shared.count; ROWS],
        Read::WeightSum => [shared.weight_sum; ROWS],
        Read::Upstream => quantities.upstream,
        Read::Parameter(index) => [shared.parameters[index]; ROWS],
    }
}

#[inline(always)]
fn map(a: &Rows, f: impl Fn(f64) -> f64) -> Rows {
    let mut out = [0.0; ROWS];
    for k in 0..ROWS {
        out[k] = f(a[k]);
    }
    out
}

#[inline(always)]
fn zip(a: &Rows, b: &Rows, f: impl Fn(f64, f64) -> f64) -> Rows {
    let mut out = [0.0; ROWS];
    for k in 0..ROWS {
        out[k] = f(a[k], b[k]);
    }
    out
}

#[inline(always)]
fn unary<const FMA: bool>(op: Unary, a: &Rows) -> Rows {
    match op {
        Unary::Neg => map(a, |x| -x),
        Unary::Exp => map(a, f64::exp),
        Unary::Log => map(a, ln::<FMA>),
        Unary::Sqrt => map(a, f64::sqrt),
        Unary::Abs => map(a, f64::abs),
        Unary::Sign => map(a, |x| {
            if x > 0.0 {
                1.0
            } else if x < 0.0 {
                -1.0
            } else {
                x * 0.0
            }
        }),
        Unary::OneMinusExp => map(a, |x| -x.exp_m1()),
    }
}

#[inline(always)]
fn binary(op: Binary, a: &Rows, b: &Rows) -> Rows {
    match op {
        Binary::Add => zip(a, b, |x, y| x + y),
        Binary::Sub => zip(a, b, |x, y| x - y),
        Binary::Mul => zip(a, b, |x, y| x * y),
        Binary::Div => zip(a, b, |x, y| x / y),
        Binary::Pow => zip(a, b, f64::powf),
        // NaN wins, as in ONNX and PyTorch.
        Binary::Min => zip(a, b, |x, y| if x < y || x.is_nan() { x } else { y }),
        Binary::Max => zip(a, b, |x, y| if x > y || x.is_nan() { x } else { y }),
    }
}

#[inline(always)]
fn choose(a: &Rows, x: &Rows, y: &Rows) -> Rows {
    let mut out = [0.0; ROWS];
    for k in 0..ROWS {
        out[k] = if a[k] == 0.0 { x[k] } else { y[k] };
    }
    out
}
