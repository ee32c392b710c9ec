//! The row program: loss and derivatives of one sample as scalar steps.
//!
//! Second room of the flow: a [`Loss`](crate::loss::Loss) is compiled to symbolic terms, differentiated by the margin
//! u and the feature norm h, simplified, and scheduled into steps that share what they can. Invariant: no rewrite
//! changes the relative accuracy of a result; in particular q is never 1 - p.

mod compile;
mod derive;
mod encode;
mod print;
mod program;
mod schedule;
mod terms;
#[cfg(test)]
mod tests;

pub use compile::{Compiled, Formulas, NoGradient, Roots, Smoothing, check_gradient, compile, formulas};
pub use encode::encode;
pub use program::{RowInput, RowProgram, Step, StepId, UnaryOp};
