//! The rule of every operator, by its group.

use super::vjp::{Gradients, Vjp};
use super::{activation, arithmetic, conv, index, layout, matmul, norm, pool, reduce};
use crate::graph::{Op, UnaryOp};

/// Gradients of the node's inputs.
///
/// # Errors
/// Why there is no rule.
pub(super) fn apply(v: &mut Vjp<'_>) -> Gradients {
    match &v.node.op {
        Op::Unary(op) => activation::unary(v, *op),
        Op::Activation(op) => activation::activation(v, *op),
        Op::Clip => activation::clip(v),
        Op::Binary(op) => arithmetic::binary(v, *op),
        Op::Where => arithmetic::choose(v),
        Op::Cast(_) => arithmetic::cast(v),
        Op::Reduce { op, axes, keep } => reduce::reduce(v, *op, axes.clone(), *keep),
        Op::Softmax(axis) => reduce::softmax(v, *axis),
        Op::LogSoftmax(axis) => reduce::log_softmax(v, *axis),
        Op::Gather(axis) => index::gather(v, *axis),
        Op::GatherElements(axis) => index::gather_elements(v, *axis),
        Op::ScatterElements { axis, add } => index::scatter_elements(v, *axis, *add),
        Op::Slice(parts) => index::slice(v, &parts.clone()),
        Op::Unsqueeze(_) | Op::Squeeze(_) | Op::Reshape | Op::Flatten(_) => layout::reshape(v),
        Op::Transpose(perm) => layout::transpose(v, &perm.clone()),
        Op::Concat(axis) => layout::concat(v, *axis),
        Op::Split(axis, _) => layout::split(v, *axis),
        Op::Pad(pad) => layout::pad(v, &pad.clone()),
        Op::Expand => layout::expand(v),
        Op::MatMul => matmul::mat_mul(v),
        Op::Gemm(gemm) => matmul::gemm(v, *gemm),
        Op::Conv(conv) => conv::conv(v, &conv.clone()),
        Op::MaxPool(pool) => pool::max_pool(v, &pool.clone()),
        Op::AveragePool(pool) => pool::average_pool(v, &pool.clone()),
        Op::BatchNorm(norm) => norm::batch_norm(v, *norm),
        Op::LayerNorm(norm) => norm::layer_norm(v, *norm),
        Op::Dropout(_) => arithmetic::dropout(v),
        // What these make does not vary with what they read, or is no float.
        Op::Compare(_) | Op::And | Op::Or | Op::Shape(..) | Op::ConstantOfShape(_) | Op::Stop { .. } => {
            Ok(vec![None; v.node.inputs.len()])
        }
        Op::OneHot | Op::Range | Op::Crop(_) | Op::MaxUnpool(_) | Op::ConvTranspose(..) => {
            Err("it has no rule".into())
        }
        Op::Opaque(opaque) => Err(opaque.why.clone()),
    }
}

/// Whether a function of one value is flat wherever it has a slope.
pub(super) fn is_flat(op: UnaryOp) -> bool {
    matches!(op, UnaryOp::Sign | UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Not)
}
