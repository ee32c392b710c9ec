//! Differences of float32 numbers whose rounding is kept, for exponentials of them.
//!
//! At a lead of 20, half a unit in the last place is 1e-6, which would be the relative error of the exponential.

use crate::graph::{BinaryOp, Builder, Op, UnaryOp, ValueId};
use crate::lower::margin::scaled;

/// What rounding took off `difference` = a - c, exactly (Knuth, TAOCP 4.2.2, theorem B), times `scale`. It is bounded
/// by ±1/2, which only scaled differences beyond 2^22 reach.
pub(super) fn rounded_off(b: &mut Builder, [a, c, difference]: [ValueId; 3], scale: f64) -> ValueId {
    let taken = b.binary(BinaryOp::Sub, a, difference);
    let left = b.binary(BinaryOp::Add, difference, taken);
    let of_a = b.binary(BinaryOp::Sub, a, left);
    let of_c = b.binary(BinaryOp::Sub, taken, c);
    let lost = b.binary(BinaryOp::Add, of_a, of_c);
    let lost = scaled(b, lost, scale);
    let dtype = b.ty(a).dtype;
    let [low, high] = [-0.5, 0.5].map(|v| b.scalar(dtype, v));
    b.node(Op::Clip, &[lost, low, high])
}

/// e^(lead + lost): e^lead · (1 + lost), as `lost` is below 2e-6 where e^lead is neither 0 nor so large that it has no
/// bearing.
pub(super) fn exp_of_sum(b: &mut Builder, lead: ValueId, lost: ValueId) -> ValueId {
    let exp = b.unary(UnaryOp::Exp, lead);
    let missing = b.binary(BinaryOp::Mul, exp, lost);
    b.binary(BinaryOp::Add, exp, missing)
}
