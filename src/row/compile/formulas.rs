//! The formulas that a row program computes: loss and derivatives of one sample, for people.

use std::collections::HashMap;

use super::Compiler;
use crate::loss::Loss;
use crate::loss::expr::Expr;
use crate::row::derive::derive;
use crate::row::print::formula;
use crate::row::terms::Terms;

#[cfg(test)]
mod tests;

/// Loss and derivatives of one row after simplification, with the numbers of the parameters, and with the seed
/// dL/d(row loss) = 1. A formula is `None` where it is too long to be of use (beyond 1000 parts).
#[derive(Debug, Clone, PartialEq)]
pub struct Formulas {
    /// The loss of a row.
    pub row_loss: Option<Expr>,
    /// ∂/∂u
    pub by_margin: Option<Expr>,
    /// ∂/∂h
    pub by_norm: Option<Expr>,
    /// ∂/∂M, with M the mean over the classes of -log p, held apart from u
    pub by_mean: Option<Expr>,
}

/// The formulas of a loss, whatever its outputs and reduction are.
pub fn formulas(loss: &Loss) -> Formulas {
    let mut compiler = Compiler { loss, terms: Terms::default(), entries: HashMap::new() };
    let row_loss = compiler.expr(&loss.spec().loss.expr);
    let seed = compiler.terms.constant(1.0);
    let derivatives = derive(&mut compiler.terms, row_loss, seed);
    let plain = compiler.terms.without_stops();
    let print = |id| formula(&compiler.terms, id);
    Formulas {
        row_loss: print(row_loss),
        by_margin: print(plain[&derivatives.by_margin]),
        by_norm: print(plain[&derivatives.by_norm]),
        by_mean: print(plain[&derivatives.by_mean]),
    }
}
