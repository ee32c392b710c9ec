//! What a training step does with gradients: the optimizer, and everything around it.

use serde::{Deserialize, Serialize};

/// An optimizer with its constants, in PyTorch's semantics (`torch.optim`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum Optimizer {
    /// Stochastic gradient descent: `torch.optim.SGD`.
    Sgd,
    /// Gradient descent with momentum: `torch.optim.SGD` with `momentum`.
    Momentum {
        /// Share of the momentum buffer that stays, 0 ≤ momentum < 1.
        momentum: f64,
        /// Nesterov's form: the step looks one buffer ahead.
        nesterov: bool,
    },
    /// `torch.optim.Adam` (Kingma and Ba, ICLR 2015).
    Adam(Betas),
    /// `torch.optim.AdamW` (Loshchilov and Hutter, ICLR 2019): weight decay apart from the gradient.
    AdamW(Betas),
}

/// Constants of Adam and AdamW.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Betas {
    /// Share of the gradient's running mean that stays, 0 ≤ β₁ < 1.
    pub beta1: f64,
    /// Share of the squared gradient's running mean that stays, 0 ≤ β₂ < 1.
    pub beta2: f64,
    /// Added to the divisor, above 0.
    pub epsilon: f64,
}

impl Default for Betas {
    /// PyTorch's defaults.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }
}

/// How gradients become an update of the parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The optimizer.
    pub optimizer: Optimizer,
    /// λ: for SGD and Adam added to the gradient as λ·p, for AdamW taken off the parameter as lr·λ·p.
    pub weight_decay: f64,
    /// Largest global norm of the gradients; `None` does not clip.
    pub clip_norm: Option<f64>,
    /// Micro-batches a step: their gradients are averaged in a buffer. `None` for a step a batch, without a buffer.
    pub accumulate: Option<u32>,
    /// Whether the loss is multiplied by the input `loss_scale` before the backward pass, and steps with infinite
    /// gradients are left out.
    pub loss_scale: bool,
}

/// Constants that no optimizer can have.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{name} is {value}; it must be {need}")]
pub struct RecipeError {
    name: &'static str,
    value: f64,
    need: &'static str,
}

impl Optimizer {
    /// Weight decay without `--weight-decay`: PyTorch's default.
    pub fn default_weight_decay(&self) -> f64 {
        match self {
            Optimizer::Sgd | Optimizer::Momentum { .. } | Optimizer::Adam(_) => 0.0,
            Optimizer::AdamW(_) => 0.01,
        }
    }
}

impl Recipe {
    /// One update a batch, with the optimizer's default weight decay and nothing else.
    pub fn new(optimizer: Optimizer) -> Self {
        Self {
            optimizer,
            weight_decay: optimizer.default_weight_decay(),
            clip_norm: None,
            accumulate: None,
            loss_scale: false,
        }
    }

    /// Checks the constants.
    ///
    /// # Errors
    /// The first constant that is out of range.
    pub fn check(&self) -> Result<(), RecipeError> {
        let share = |v: f64| (0.0..1.0).contains(&v);
        let positive = |v: f64| v > 0.0 && v.is_finite();
        let need = |name, value, holds: bool, need| {
            if holds { Ok(()) } else { Err(RecipeError { name, value, need }) }
        };
        match self.optimizer {
            Optimizer::Sgd => {}
            Optimizer::Momentum { momentum: m, .. } => {
                need("momentum", m, share(m), "0 or more and below 1")?;
            }
            Optimizer::Adam(b) | Optimizer::AdamW(b) => {
                need("beta1", b.beta1, share(b.beta1), "0 or more and below 1")?;
                need("beta2", b.beta2, share(b.beta2), "0 or more and below 1")?;
                need("epsilon", b.epsilon, positive(b.epsilon), "a finite number above 0")?;
            }
        }
        let decay = self.weight_decay;
        need("weight decay", decay, decay >= 0.0 && decay.is_finite(), "a finite number, 0 or more")?;
        let clip = self.clip_norm.unwrap_or(1.0);
        need("clip norm", clip, positive(clip), "a finite number above 0")?;
        let micro = self.accumulate.unwrap_or(1);
        need("accumulate", f64::from(micro), micro >= 1, "1 or more")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_out_of_range_are_named() {
        let mut recipe = Recipe::new(Optimizer::Adam(Betas { beta2: 1.0, ..Betas::default() }));
        assert_eq!(recipe.check().unwrap_err().to_string(), "beta2 is 1; it must be 0 or more and below 1");
        recipe.optimizer = Optimizer::Momentum { momentum: f64::NAN, nesterov: false };
        assert!(recipe.check().is_err());
        recipe.optimizer = Optimizer::Sgd;
        assert_eq!(recipe.check(), Ok(()));
        recipe.clip_norm = Some(0.0);
        assert!(recipe.check().is_err());
    }
}
