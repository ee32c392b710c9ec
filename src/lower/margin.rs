//! The margin u of every row, the softmax r of its other classes, and the quantities that follow from u.
//!
//! `[N, C]` work is in the matrix type, `[N, 1]` work in float64. Nothing here subtracts two nearly equal rounded numbers:
//! the maximum and the label's logit are exact, and are subtracted in float64.

use std::ops::RangeInclusive;

use crate::graph::{BinaryOp, Builder, Dim, Op, ReduceOp, UnaryOp, ValueId};
use crate::tensor::DType;

/// Largest exponent that is taken: e^88 is below float32's largest number, so that an engine which computes in float32
/// does not overflow. Above it q is 1 and the cross entropy is u, both to all digits of float64.
const LARGEST_EXPONENT: f64 = 88.0;

/// Most classes whose exponentials are left to the engine's softmax to add up, in float32. ONNX Runtime 1.32 adds them up in
/// running sums, whose errors grow with their length: of the largest share by 4e-7 at 10,000 classes, 3e-6 at 100,000 and 4e-5 at
/// 1,000,000 (the generated cases of `check`), where a gradient is allowed 1e-6. Beyond this the shares are added up once more
/// ([`total`]).
const MOST_ADDED_UP: usize = 1 << 14;

/// Lengths of stretches that an engine may add up in float32: an error of 1e-7 at most, as of the sums of as many classes; and
/// at least so many that there are few.
const STRETCH: RangeInclusive<usize> = 64..=2048;

/// How logits are adjusted: scale · (z + bias - margin · onehot).
pub(super) struct Adjustment {
    pub scale: f64,
    /// Table `[C]`, of the scalars' type.
    pub bias: Option<ValueId>,
    /// Table `[C]`, of the scalars' type.
    pub margin: Option<ValueId>,
}

/// What a row's other classes say.
pub(super) struct Margin {
    /// r, softmax over the classes other than the label, `[N, C]`; meaningless at the label
    others: ValueId,
    /// What the row of `others` adds up to, `[N, 1]` in float64; `None` where that is 1 to all digits that count
    total: Option<ValueId>,
    /// u, `[N, 1]`
    pub u: ValueId,
    /// e^min(u, 88), `[N, 1]`
    exp: ValueId,
    /// as given, `[N, C]`
    logits: ValueId,
    /// the label's logit, `[N, 1]`
    of_label: ValueId,
    /// int64 `[N, 1]`
    class: ValueId,
}

impl Margin {
    /// `logits` `[N, C]` in the matrix type, `class` int64 `[N, 1]`; the tables of `adjustment` in float64.
    pub fn new(b: &mut Builder, logits: ValueId, class: ValueId, adjustment: &Adjustment) -> Self {
        let of_label = b.node(Op::GatherElements(1), &[logits, class]);
        let matrix = b.ty(logits).dtype;
        // The label's logit makes way for the lowest finite number. It drops out of the softmax, and where every other
        // logit is -inf it leaves a softmax without NaN and a margin of about -1e38: no loss and no gradient.
        let lowest = lowest(b, matrix);
        let lowest = b.binary(BinaryOp::Min, of_label, lowest);
        let other_logits = b.node(Op::ScatterElements { axis: 1, add: false }, &[logits, class, lowest]);
        let highest = b.reduce(ReduceOp::Max, other_logits, Some(1));
        let (adjusted, above_highest) = adjustment.apply(b, other_logits, highest);
        let others = b.softmax(adjusted);
        // logsumexp = max(z) - ln max(softmax(z)): ReduceMax is fast where ReduceLogSumExp is not.
        let share = b.reduce(ReduceOp::Max, others, Some(1));
        let [highest, label, mut share] = [highest, of_label, share].map(|v| b.cast(v, DType::F64));
        let total = total(b, others);
        if let Some(total) = total {
            share = b.binary(BinaryOp::Div, share, total);
        }
        let mut lead = b.binary(BinaryOp::Sub, highest, label);
        lead = adjustment.lead(b, lead, above_highest, class);
        let log_share = b.unary(UnaryOp::Log, share);
        let u = b.binary(BinaryOp::Sub, lead, log_share);
        let largest = b.scalar(DType::F64, LARGEST_EXPONENT);
        let bounded = b.binary(BinaryOp::Min, u, largest);
        let exp = b.unary(UnaryOp::Exp, bounded);
        Self { others, total, u, exp, logits, of_label, class }
    }

    /// r · slope, `[N, C]`; `slope` is `[N, 1]` in the matrix type.
    pub fn spread(&self, b: &mut Builder, slope: ValueId) -> ValueId {
        let mut slope = slope;
        if let Some(total) = self.total {
            let dtype = b.ty(slope).dtype;
            let total = b.cast(total, dtype);
            slope = b.binary(BinaryOp::Div, slope, total);
        }
        b.binary(BinaryOp::Mul, self.others, slope)
    }

    /// Mean over the classes of -log p, `[N, 1]`: nll less the mean lead of all classes.
    pub fn mean_nll(&self, b: &mut Builder, adjustment: &Adjustment, classes: usize) -> ValueId {
        let lead = b.binary(BinaryOp::Sub, self.logits, self.of_label);
        let lead = b.cast(lead, DType::F64);
        let total = b.reduce(ReduceOp::Sum, lead, Some(1));
        let mean = adjustment.mean_lead(b, total, self.class, classes);
        let nll = self.nll(b);
        b.binary(BinaryOp::Sub, nll, mean)
    }

    /// Any float64 column, for a shape.
    pub fn any_column(&self) -> ValueId {
        self.exp
    }

    /// 1 + e^u, bounded as e^u is.
    fn denominator(&self, b: &mut Builder) -> ValueId {
        let one = b.scalar(DType::F64, 1.0);
        b.binary(BinaryOp::Add, self.exp, one)
    }

    /// q = sigmoid(u) = e^u / (1 + e^u), `[N, 1]`
    pub fn q(&self, b: &mut Builder) -> ValueId {
        let denominator = self.denominator(b);
        b.binary(BinaryOp::Div, self.exp, denominator)
    }

    /// Cross entropy softplus(u), `[N, 1]`: ln(1 + e) corrected by what rounding 1 + e lost, to first order; the
    /// second order is below e-32. With w = 1 + e rounded: ln(1 + e) = ln(w) - ((w - 1) - e) / w.
    pub fn nll(&self, b: &mut Builder) -> ValueId {
        let denominator = self.denominator(b);
        let one = b.scalar(DType::F64, 1.0);
        let rounded = b.binary(BinaryOp::Sub, denominator, one);
        let excess = b.binary(BinaryOp::Sub, rounded, self.exp);
        let correction = b.binary(BinaryOp::Div, excess, denominator);
        let log = b.unary(UnaryOp::Log, denominator);
        let softplus = b.binary(BinaryOp::Sub, log, correction);
        // Beyond the bound on the exponent, softplus(u) = u.
        b.binary(BinaryOp::Max, self.u, softplus)
    }

    /// p = sigmoid(-u) = e^-nll, `[N, 1]`: right also where e^u is bounded.
    pub fn p(&self, b: &mut Builder) -> ValueId {
        let nll = self.nll(b);
        let log_p = b.unary(UnaryOp::Neg, nll);
        b.unary(UnaryOp::Exp, log_p)
    }
}

impl Adjustment {
    fn is_plain(&self) -> bool {
        self.scale == 1.0 && self.bias.is_none()
    }

    /// scale · (logits - highest + bias) `[N, C]`, and its maximum `[N, 1]` where that is not 0. The highest logit is
    /// taken off first: what is added to a large number loses its digits. The margin is the label's alone.
    fn apply(&self, b: &mut Builder, logits: ValueId, highest: ValueId) -> (ValueId, Option<ValueId>) {
        if self.is_plain() {
            return (logits, None);
        }
        let matrix = b.ty(logits).dtype;
        let mut adjusted = b.binary(BinaryOp::Sub, logits, highest);
        adjusted = scaled(b, adjusted, self.scale);
        let Some(bias) = self.bias else {
            return (adjusted, None);
        };
        let bias = scaled(b, bias, self.scale);
        let bias = b.cast(bias, matrix);
        adjusted = b.binary(BinaryOp::Add, adjusted, bias);
        let above = b.reduce(ReduceOp::Max, adjusted, Some(1));
        (adjusted, Some(b.cast(above, DType::F64)))
    }

    /// Mean over the classes of z'_j - z'_y, `[N, 1]`, from `total`, the sum of z_j - z_y, where
    /// z'_j - z'_y = scale · (z_j - z_y + bias_j - bias_y + margin_y) for j ≠ y.
    pub fn mean_lead(&self, b: &mut Builder, total: ValueId, class: ValueId, classes: usize) -> ValueId {
        let mut total = total;
        if let Some(bias) = self.bias {
            let sum = b.reduce(ReduceOp::Sum, bias, None);
            let of_label = b.node(Op::Gather(0), &[bias, class]);
            let of_label = scaled(b, of_label, classes as f64);
            let others = b.binary(BinaryOp::Sub, sum, of_label);
            total = b.binary(BinaryOp::Add, total, others);
        }
        if let Some(margin) = self.margin {
            let of_label = b.node(Op::Gather(0), &[margin, class]);
            let of_label = scaled(b, of_label, classes as f64 - 1.0);
            total = b.binary(BinaryOp::Add, total, of_label);
        }
        scaled(b, total, self.scale / classes as f64)
    }

    /// The lead of the highest other logit over the label's, both adjusted, `[N, 1]`.
    pub fn lead(
        &self,
        b: &mut Builder,
        lead: ValueId,
        above_highest: Option<ValueId>,
        class: ValueId,
    ) -> ValueId {
        let mut lead = lead;
        for (table, op) in [(self.bias, BinaryOp::Sub), (self.margin, BinaryOp::Add)] {
            if let Some(table) = table {
                let of_label = b.node(Op::Gather(0), &[table, class]);
                lead = b.binary(op, lead, of_label);
            }
        }
        lead = scaled(b, lead, self.scale);
        match above_highest {
            Some(above) => b.binary(BinaryOp::Add, lead, above),
            None => lead,
        }
    }
}

/// What the rows of a softmax add up to, where the engine's own sum may be too far off for it to be 1: in stretches of one
/// length, which the engine adds up, and from there in float64; in float64 throughout where no length divides the classes.
fn total(b: &mut Builder, softmax: ValueId) -> Option<ValueId> {
    let ty = b.ty(softmax);
    let classes = ty.shape.last().and_then(Dim::fixed).filter(|classes| *classes > MOST_ADDED_UP)?;
    if ty.dtype == DType::F64 {
        return None;
    }
    let Some(stretch) = STRETCH.rev().find(|stretch| classes % stretch == 0) else {
        let exact = b.cast(softmax, DType::F64);
        return Some(b.reduce(ReduceOp::Sum, exact, Some(1)));
    };
    let extents = [0, classes / stretch, stretch].map(|extent| i64::try_from(extent).unwrap_or(i64::MAX));
    let extents = b.integers(&extents);
    let stretches = b.node(Op::Reshape, &[softmax, extents]);
    let op = Op::Reduce { op: ReduceOp::Sum, axes: Some(vec![2]), keep: false };
    let sums = b.node(op, &[stretches]);
    let sums = b.cast(sums, DType::F64);
    Some(b.reduce(ReduceOp::Sum, sums, Some(1)))
}

/// The lowest finite number of a type; of float32 for narrower ones.
pub(super) fn lowest(b: &mut Builder, dtype: DType) -> ValueId {
    b.scalar(dtype, if dtype == DType::F64 { f64::MIN } else { f64::from(f32::MIN) })
}

/// a · factor
pub(super) fn scaled(b: &mut Builder, a: ValueId, factor: f64) -> ValueId {
    if factor == 1.0 {
        return a;
    }
    let dtype = b.ty(a).dtype;
    let factor = b.scalar(dtype, factor);
    b.binary(BinaryOp::Mul, a, factor)
}

/// 1 - e^a without cancellation, `[N, 1]`.
///
/// With v = e^a rounded: 1 - e^a = (1 - v) + v (ln v - a), to first order in the rounding. Below a = -87 it is 1, and
/// bounding a keeps v from 0 in float32.
pub(super) fn one_minus_exp(b: &mut Builder, a: ValueId) -> ValueId {
    let dtype = b.ty(a).dtype;
    let smallest = b.scalar(dtype, 1.0 - LARGEST_EXPONENT);
    let one = b.scalar(dtype, 1.0);
    let bounded = b.binary(BinaryOp::Max, a, smallest);
    let exp = b.unary(UnaryOp::Exp, bounded);
    let rest = b.binary(BinaryOp::Sub, one, exp);
    let log = b.unary(UnaryOp::Log, exp);
    let excess = b.binary(BinaryOp::Sub, log, bounded);
    let correction = b.binary(BinaryOp::Mul, exp, excess);
    b.binary(BinaryOp::Add, rest, correction)
}
