//! Names of what a training graph adds. [`crate::graft::Names`] gives them a suffix where the classifier has them.

/// Input: the learning rate, float32 [].
pub const LEARNING_RATE: &str = "learning_rate";
/// Input: the number of this update, int64 [], from 1. Adam corrects its bias by it.
pub const STEP: &str = "step";
/// Input: factor of the loss before the backward pass, float32 [].
pub const LOSS_SCALE: &str = "loss_scale";
/// Input: whether this micro-batch ends a step, bool [].
pub const APPLY: &str = "apply";
/// Output: the global norm of the gradients before clipping, float32 [].
pub const GRADIENT_NORM: &str = "gradient_norm";
/// Output: whether every gradient was finite, and the step was taken, bool [].
pub const GRADIENTS_FINITE: &str = "gradients_finite";

/// Suffix of a value's successor: output `w_next` is the next step's input `w`.
pub const NEXT: &str = "_next";
/// Suffix of a parameter's gradient.
pub const GRADIENT: &str = "_grad";
/// Suffix of SGD's momentum buffer.
pub const MOMENTUM: &str = "_momentum";
/// Suffix of Adam's running mean of the gradient.
pub const FIRST_MOMENT: &str = "_exp_avg";
/// Suffix of Adam's running mean of the squared gradient.
pub const SECOND_MOMENT: &str = "_exp_avg_sq";
/// Suffix of the float32 copy of a half-precision parameter.
pub const MASTER: &str = "_master";
/// Suffix of the buffer in which gradients are averaged.
pub const ACCUMULATOR: &str = "_accumulator";
