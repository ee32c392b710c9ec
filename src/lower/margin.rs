//! The margin u of every row, the softmax r of its other classes, and the quantities that follow from u.
//!
//! `[N, C]` work is in the matrix type, `[N, 1]` work in float64. Nothing here subtracts two nearly equal rounded numbers:
//! the maximum and the label's logit are exact, and are subtracted in float64.

use crate::graph::{BinaryOp, Builder, Op, ReduceOp, UnaryOp, ValueId};
use crate::tensor::DType;

/// Largest exponent that is taken: e^88 is below float32's largest number, so that an engine which computes in float32
/// does not overflow. Above it q is 1 and the cross entropy is u, both to all digits of float64.
const LARGEST_EXPONENT: f64 = 88.0;

/// What a row's other classes say.
pub(super) struct Margin {
    /// softmax over the classes other than the label, `[N, C]`; meaningless at the label
    pub others: ValueId,
    /// u, `[N, 1]`
    pub u: ValueId,
    /// e^min(u, 88), `[N, 1]`
    exp: ValueId,
}

impl Margin {
    /// `logits` `[N, C]` in the matrix type, `class` int64 `[N, 1]`.
    pub fn new(b: &mut Builder, logits: ValueId, class: ValueId) -> Self {
        let of_label = b.node(Op::GatherElements, &[logits, class]);
        let matrix = b.ty(logits).dtype;
        // The label's logit makes way for the lowest finite number. It drops out of the softmax, and where every other
        // logit is -inf it leaves a softmax without NaN and a margin of about -1e38: no loss and no gradient.
        let lowest = b.scalar(matrix, if matrix == DType::F64 { f64::MIN } else { f64::from(f32::MIN) });
        let lowest = b.binary(BinaryOp::Min, of_label, lowest);
        let other_logits = b.node(Op::ScatterElements, &[logits, class, lowest]);
        let others = b.node(Op::Softmax, &[other_logits]);
        // logsumexp = max(z) - ln max(softmax(z)): ReduceMax is fast where ReduceLogSumExp is not.
        let highest = b.reduce(ReduceOp::Max, other_logits, Some(1));
        let share = b.reduce(ReduceOp::Max, others, Some(1));
        let [highest, of_label, share] = [highest, of_label, share].map(|v| b.cast(v, DType::F64));
        let lead = b.binary(BinaryOp::Sub, highest, of_label);
        let log_share = b.unary(UnaryOp::Log, share);
        let u = b.binary(BinaryOp::Sub, lead, log_share);
        let largest = b.scalar(DType::F64, LARGEST_EXPONENT);
        let bounded = b.binary(BinaryOp::Min, u, largest);
        let exp = b.unary(UnaryOp::Exp, bounded);
        Self { others, u, exp }
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

/// 1 - e^a without cancellation, `[N, 1]`.
///
/// With v = e^a rounded: 1 - e^a = (1 - v) + v (ln v - a), to first order in the rounding. Below a = -87 it is 1, and
/// bounding a keeps v from 0 in float32.
pub(super) fn one_minus_exp(b: &mut Builder, a: ValueId) -> ValueId {
    let smallest = b.scalar(DType::F64, 1.0 - LARGEST_EXPONENT);
    let one = b.scalar(DType::F64, 1.0);
    let bounded = b.binary(BinaryOp::Max, a, smallest);
    let exp = b.unary(UnaryOp::Exp, bounded);
    let rest = b.binary(BinaryOp::Sub, one, exp);
    let log = b.unary(UnaryOp::Log, exp);
    let excess = b.binary(BinaryOp::Sub, log, bounded);
    let correction = b.binary(BinaryOp::Mul, exp, excess);
    b.binary(BinaryOp::Add, rest, correction)
}
