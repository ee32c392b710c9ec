//! Whether a loss has a gradient at all.

use std::collections::HashMap;

use super::Compiler;
use crate::loss::Loss;
use crate::row::derive::derive;
use crate::row::terms::Terms;

/// A loss by which nothing could be trained: its slopes cancel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the gradient of the loss `{loss}` by the logits is 0 everywhere: in `{formula}` what depends on them cancels; \
     change the formula"
)]
pub struct NoGradient {
    loss: String,
    formula: String,
}

/// Checks that the simplified slopes by the margin and by the mean of -log p are not both the constant 0. That no slope
/// is 0 by how the formula is written, is checked when a loss is put together; this sees what cancels, as in `p + q`.
///
/// # Errors
/// A loss whose gradient by the logits is 0 everywhere.
pub fn check_gradient(loss: &Loss) -> Result<(), NoGradient> {
    let mut compiler = Compiler { loss, terms: Terms::default(), entries: HashMap::new() };
    let row_loss = compiler.expr(&loss.spec().loss.expr);
    let seed = compiler.terms.constant(1.0);
    let derivatives = derive(&mut compiler.terms, row_loss, seed);
    // A slope may cancel only once the stops in it are gone.
    let plain = compiler.terms.without_stops();
    let is_zero = |slope| compiler.terms.is_zero(plain[&slope]);
    if is_zero(derivatives.by_margin) && is_zero(derivatives.by_mean) {
        let formula = loss.spec().loss.text.split_whitespace().collect::<Vec<_>>().join(" ");
        return Err(NoGradient { loss: loss.spec().name.clone(), formula });
    }
    Ok(())
}
