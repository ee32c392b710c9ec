//! The quantities of a row in float32, in a form that reverse mode differentiates without cancellation.
//!
//! With m the highest other logit, held constant: e = e^u = e^(m - z_y) · Σ e^(z_j - m) over the other classes. Then
//! q = e / (1 + e), and the cross entropy is log(1 + e). The derivative of e by z_j is its own term of the sum, so that
//! every derivative is a product; that m moves with the logits drops out, as it stands in both factors.

use crate::graph::{BinaryOp, Builder, CompareOp, Op, ReduceOp, UnaryOp, ValueId};
use crate::loss::{Loss, Quantity};
use crate::lower::margin::{Adjustment, lowest, scaled};
use crate::tensor::DType;

use super::narrow::{exp_of_sum, rounded_off};

/// Lead of the highest other logit from which on q is 1 and the cross entropy is u: e^-20 = 2e-9 is below half a unit
/// in the last place of float32.
const FAR: f64 = 20.0;

/// What a formula reads; columns `[N, 1]` of float32.
pub(super) struct Quantities {
    classes: usize,
    adjustment: Adjustment,
    /// as they count, `[N, C]`
    logits: ValueId,
    /// int64
    class: ValueId,
    /// the label's logit
    of_label: ValueId,
    /// whether the lead is below [`FAR`], bool
    near: ValueId,
    /// e^u; where not near, some constant beyond e^19
    exp: ValueId,
    /// log e^u
    u: ValueId,
    feature_norm: Option<ValueId>,
    class_weights: Option<ValueId>,
}

impl Quantities {
    /// `logits` `[N, C]`, `class` int64 `[N, 1]`, `ones` `[N, 1]`.
    pub fn new(
        b: &mut Builder,
        loss: &Loss,
        [logits, class, ones]: [ValueId; 3],
        adjustment: Adjustment,
    ) -> Self {
        let of_label = b.node(Op::GatherElements(1), &[logits, class]);
        // The lowest number takes the label's place: e^(lowest - m) is 0, and where all others are -inf they sum to 1,
        // with a lead of about -1e38.
        let lowest = lowest(b, DType::F32);
        let lowest = b.binary(BinaryOp::Mul, ones, lowest);
        let others = b.node(Op::ScatterElements { axis: 1, add: false }, &[logits, class, lowest]);
        let highest = highest(b, others);
        let mut above = b.binary(BinaryOp::Sub, others, highest);
        above = scaled(b, above, adjustment.scale);
        let mut above_highest = None;
        if let Some(bias) = adjustment.bias {
            let bias = scaled(b, bias, adjustment.scale);
            above = b.binary(BinaryOp::Add, above, bias);
            let top = self::highest(b, above);
            above = b.binary(BinaryOp::Sub, above, top);
            above_highest = Some(top);
        }
        let terms = b.unary(UnaryOp::Exp, above);
        let sum = b.reduce(ReduceOp::Sum, terms, Some(1));
        let difference = b.binary(BinaryOp::Sub, highest, of_label);
        let lead = adjustment.lead(b, difference, above_highest, class);
        let lost = rounded_off(b, [highest, of_label, difference], adjustment.scale);
        // A constant: rounding has no derivative.
        let lost = b.node(Op::Stop { essential: false }, &[lost]);
        let far = b.scalar(DType::F32, FAR);
        let near = b.compare(CompareOp::Less, lead, far);
        let bounded = b.choose(near, lead, far);
        let of_lead = exp_of_sum(b, bounded, lost);
        // Far out q is the constant 1: its derivative would be the rounding of a difference, times the margin.
        let one = b.scalar(DType::F32, 1.0);
        let near_sum = b.choose(near, sum, one);
        let exp = b.binary(BinaryOp::Mul, of_lead, near_sum);
        let log_sum = b.unary(UnaryOp::Log, sum);
        let u = b.binary(BinaryOp::Add, lead, log_sum);
        let classes = loss.interface().classes;
        let (feature_norm, class_weights) = (None, None);
        Self { classes, adjustment, logits, class, of_label, near, exp, u, feature_norm, class_weights }
    }

    /// `feature_norm` `[N, 1]`, and the table of class weights `[C]`; `None` where the loss uses none.
    pub fn with_row_inputs(self, feature_norm: Option<ValueId>, class_weights: Option<ValueId>) -> Self {
        Self { feature_norm, class_weights, ..self }
    }

    /// A quantity `[N, 1]`.
    pub fn read(&self, b: &mut Builder, quantity: Quantity) -> ValueId {
        match quantity {
            Quantity::Nll => self.nll(b),
            Quantity::P => {
                let nll = self.nll(b);
                let log_p = b.unary(UnaryOp::Neg, nll);
                b.unary(UnaryOp::Exp, log_p)
            }
            Quantity::Q => self.q(b),
            Quantity::ErrorL1 => {
                let q = self.q(b);
                b.binary(BinaryOp::Add, q, q)
            }
            Quantity::Margin => self.u,
            Quantity::MeanNll => self.mean_nll(b),
            Quantity::FeatureL1 => {
                self.feature_norm.expect("a loss that reads the feature norm has the input features")
            }
            Quantity::ClassWeight => match self.class_weights {
                Some(table) => b.node(Op::Gather(0), &[table, self.class]),
                None => b.scalar(DType::F32, 1.0),
            },
        }
    }

    fn denominator(&self, b: &mut Builder) -> ValueId {
        let one = b.scalar(DType::F32, 1.0);
        b.binary(BinaryOp::Add, self.exp, one)
    }

    /// e / (1 + e)
    fn q(&self, b: &mut Builder) -> ValueId {
        let denominator = self.denominator(b);
        b.binary(BinaryOp::Div, self.exp, denominator)
    }

    /// log(1 + e), corrected by what rounding w = 1 + e lost: log(w) - ((w - 1) - e) / w, to first order, which is all
    /// of float32. Far out it is u.
    fn nll(&self, b: &mut Builder) -> ValueId {
        let denominator = self.denominator(b);
        let one = b.scalar(DType::F32, 1.0);
        let rounded = b.binary(BinaryOp::Sub, denominator, one);
        let excess = b.binary(BinaryOp::Sub, rounded, self.exp);
        let correction = b.binary(BinaryOp::Div, excess, denominator);
        let log = b.unary(UnaryOp::Log, denominator);
        let near = b.binary(BinaryOp::Sub, log, correction);
        b.choose(self.near, near, self.u)
    }

    fn mean_nll(&self, b: &mut Builder) -> ValueId {
        let lead = b.binary(BinaryOp::Sub, self.logits, self.of_label);
        let total = b.reduce(ReduceOp::Sum, lead, Some(1));
        let mean = self.adjustment.mean_lead(b, total, self.class, self.classes);
        let nll = self.nll(b);
        b.binary(BinaryOp::Sub, nll, mean)
    }
}

/// The highest of every row, as a constant: `ReduceMax` has no gradient in ONNX Runtime's training, and needs none here.
fn highest(b: &mut Builder, a: ValueId) -> ValueId {
    let highest = b.reduce(ReduceOp::Max, a, Some(1));
    b.node(Op::Stop { essential: false }, &[highest])
}
