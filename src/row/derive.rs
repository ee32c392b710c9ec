//! Reverse-mode differentiation of terms by the margin u and the feature norm h.

use std::collections::BTreeMap;

use super::program::{RowInput, UnaryOp};
use super::terms::{Apply, Term, TermId, Terms};
use crate::loss::Quantity;

/// Derivatives of a term, each times the seed.
pub(super) struct Derivatives {
    /// ∂/∂u
    pub by_margin: TermId,
    /// ∂/∂h
    pub by_norm: TermId,
    /// ∂/∂(mean of -log p), held apart from u
    pub by_mean: TermId,
}

/// Differentiates `root`, starting from `seed` = dL/d(root).
pub(super) fn derive(terms: &mut Terms, root: TermId, seed: TermId) -> Derivatives {
    // Terms have larger ids than their parts, so going down the ids meets every use of a term before the term.
    let mut pending: BTreeMap<TermId, Vec<TermId>> = BTreeMap::from([(root, vec![seed])]);
    let mut of_input: BTreeMap<RowInput, TermId> = BTreeMap::new();
    while let Some((id, contributions)) = pending.pop_last() {
        let adjoint = terms.sum(0.0, &contributions);
        if terms.is_zero(adjoint) {
            continue;
        }
        if let Term::Input(input) = terms.get(id) {
            of_input.insert(input.clone(), adjoint);
            continue;
        }
        for (part, contribution) in parts(terms, id, adjoint) {
            pending.entry(part).or_default().push(contribution);
        }
    }
    collect(terms, &of_input)
}

/// ∂u of the quantities: d nll = q, d q = p q, d p = -p q, d margin = 1.
fn collect(terms: &mut Terms, of_input: &BTreeMap<RowInput, TermId>) -> Derivatives {
    let adjoint = |quantity| of_input.get(&RowInput::Quantity(quantity)).copied();
    let p = terms.input(RowInput::Quantity(Quantity::P));
    let q = terms.input(RowInput::Quantity(Quantity::Q));
    let slopes: [(Quantity, f64, &[TermId]); 4] = [
        (Quantity::Nll, 1.0, &[q]),
        (Quantity::Q, 1.0, &[p, q]),
        (Quantity::P, -1.0, &[p, q]),
        (Quantity::Margin, 1.0, &[]),
    ];
    let mut by_margin = Vec::new();
    for (quantity, sign, slope) in slopes {
        if let Some(adjoint) = adjoint(quantity) {
            let mut over = vec![adjoint];
            over.extend(slope);
            by_margin.push(terms.product(sign, &over, &[]));
        }
    }
    let [by_norm, by_mean] = [Quantity::FeatureL1, Quantity::MeanNll].map(adjoint);
    Derivatives {
        by_margin: terms.sum(0.0, &by_margin),
        by_norm: by_norm.unwrap_or_else(|| terms.constant(0.0)),
        by_mean: by_mean.unwrap_or_else(|| terms.constant(0.0)),
    }
}

/// What each part of a term contributes: adjoint · ∂term/∂part.
fn parts(terms: &mut Terms, id: TermId, adjoint: TermId) -> Vec<(TermId, TermId)> {
    match terms.get(id).clone() {
        Term::Const(_) | Term::Input(_) => Vec::new(),
        Term::Sum { items, .. } => items.into_iter().map(|item| (item, adjoint)).collect(),
        Term::Product { factor, over, under } => {
            let mut found = Vec::new();
            for (k, part) in over.iter().enumerate() {
                // d(f·a·b/c)/da = f·b/c
                let mut rest = over.clone();
                rest[k] = adjoint;
                found.push((*part, terms.product(factor.value(), &rest, &under)));
            }
            for part in &under {
                // d(f·a/c)/dc = -(f·a/c)/c
                let mut over = over.clone();
                over.push(adjoint);
                let mut under = under.clone();
                under.push(*part);
                found.push((*part, terms.product(-factor.value(), &over, &under)));
            }
            found
        }
        Term::Apply(apply, args) => {
            let slopes = slopes(terms, apply, id, &args);
            let scaled = slopes.into_iter().map(|(part, slope)| (part, terms.mul(adjoint, slope)));
            scaled.collect()
        }
    }
}

/// ∂f/∂argument of a function; `value` is the function's own term.
fn slopes(terms: &mut Terms, apply: Apply, value: TermId, args: &[TermId]) -> Vec<(TermId, TermId)> {
    let a = args[0];
    let slope = match apply {
        // Nothing differentiates a derivative.
        Apply::Stop | Apply::IfZero => return Vec::new(),
        Apply::Min => return extreme_slopes(terms, -1.0, a, args[1]),
        Apply::Max => return extreme_slopes(terms, 1.0, a, args[1]),
        Apply::Pow => return power_slopes(terms, value, a, args[1]),
        Apply::Unary(op) => match op {
            UnaryOp::Neg => terms.constant(-1.0),
            UnaryOp::Exp => value,
            UnaryOp::Log => terms.product(1.0, &[], &[a]),
            // d√a = 1/(2√a)
            UnaryOp::Sqrt => {
                let root = nonzero(terms, value);
                terms.product(0.5, &[], &[root])
            }
            UnaryOp::Abs => terms.unary(UnaryOp::Sign, a),
            // piecewise constant
            UnaryOp::Sign => terms.constant(0.0),
            // d(1 - e^a) = -e^a
            UnaryOp::OneMinusExp => {
                let exp = terms.unary(UnaryOp::Exp, a);
                terms.neg(exp)
            }
        },
    };
    vec![(a, slope)]
}

/// d max(a, b): 1 to the larger, one half each at a tie; ½ + ½ sign(a - b) and its complement. `direction` is 1 for
/// the maximum and -1 for the minimum.
fn extreme_slopes(terms: &mut Terms, direction: f64, a: TermId, b: TermId) -> Vec<(TermId, TermId)> {
    let difference = terms.sub(a, b);
    let sign = terms.unary(UnaryOp::Sign, difference);
    let to_a = terms.product(0.5 * direction, &[sign], &[]);
    let to_b = terms.neg(to_a);
    vec![(a, terms.sum(0.5, &[to_a])), (b, terms.sum(0.5, &[to_b]))]
}

/// `a`, or 1 where it is 0. A slope that is infinite at 0 is finite there with it, so that its product with a derivative
/// that vanishes is 0, the limit, and not NaN.
fn nonzero(terms: &mut Terms, a: TermId) -> TermId {
    let one = terms.constant(1.0);
    terms.if_zero(a, one, a)
}

/// d a^b = b a^(b-1) da + a^b ln(a) db
fn power_slopes(terms: &mut Terms, value: TermId, a: TermId, b: TermId) -> Vec<(TermId, TermId)> {
    let less = terms.sum(-1.0, &[b]);
    let slope = match terms.as_constant(b) {
        // Infinite at 0. Not a^b / a, whose parts may underflow where the slope does not.
        Some(exponent) if 0.0 < exponent && exponent < 1.0 => {
            let base = nonzero(terms, a);
            terms.pow(base, less)
        }
        Some(_) => terms.pow(a, less),
        // The same for an exponent that is known when the graph runs: 0^0 = 1 stands for what would be infinite.
        None => {
            let zero = terms.constant(0.0);
            let bounded = terms.extreme(Apply::Max, less, zero);
            let exponent = terms.if_zero(a, bounded, less);
            terms.pow(a, exponent)
        }
    };
    let mut slopes = vec![(a, terms.mul(b, slope))];
    if terms.as_constant(b).is_none() {
        let base = nonzero(terms, a);
        let log = terms.unary(UnaryOp::Log, base);
        slopes.push((b, terms.mul(value, log)));
    }
    slopes
}
