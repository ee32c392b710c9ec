//! Names of what a training graph adds: stable, and yielding to names that are taken.

use std::collections::HashSet;

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

/// Names that are taken.
#[derive(Debug, Clone, Default)]
pub struct Names(HashSet<String>);

impl Names {
    /// Takes these names.
    pub fn new(taken: impl IntoIterator<Item = String>) -> Self {
        Self(taken.into_iter().collect())
    }

    /// `base`, or the first of `base_2`, `base_3`, … that is free; it is taken from now on.
    pub fn fresh(&mut self, base: &str) -> String {
        let mut name = base.to_owned();
        let mut number = 2u64;
        while !self.0.insert(name.clone()) {
            name = format!("{base}_{number}");
            number += 1;
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_yields_to_those_that_are_taken() {
        let mut names = Names::new(["step".to_owned(), "step_2".to_owned()]);
        assert_eq!(names.fresh("step"), "step_3");
        assert_eq!(names.fresh("step"), "step_4");
        assert_eq!(names.fresh("learning_rate"), "learning_rate");
    }
}
