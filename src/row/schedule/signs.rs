//! Which sums and constants are computed negated, so that negations elsewhere fall away.

use std::collections::HashSet;

use super::products::{Bag, Factor, Products};
use crate::row::terms::{Term, Terms};

/// Sums and constants that are computed negated.
#[derive(Debug, Clone, Default)]
pub(super) struct Signs {
    flipped: HashSet<Factor>,
}

/// Most sums and constants whose signs are tried; a formula with more is long enough that a step does not matter.
const MOST_FLIPS: usize = 8;

impl Signs {
    /// Single flips and pairs of flips.
    pub fn candidates(&self, terms: &Terms, products: &Products) -> Vec<Vec<Factor>> {
        let mut found: Vec<Factor> = Vec::new();
        for factor in products.original.iter().flat_map(|bag| bag.over.iter().chain(&bag.under)) {
            let flips = match factor {
                Factor::Term(id) => matches!(terms.get(*id), Term::Sum { .. }),
                Factor::Const(_) => true,
                Factor::Pair(_) => false,
            };
            if flips && !found.contains(factor) {
                found.push(*factor);
            }
        }
        if found.len() > MOST_FLIPS {
            return Vec::new();
        }
        let singles = found.iter().map(|f| vec![*f]);
        let pairs = found.iter().enumerate().flat_map(|(k, a)| found[k + 1..].iter().map(|b| vec![*a, *b]));
        singles.chain(pairs).collect()
    }

    pub fn flipped(&self, flips: &[Factor]) -> Self {
        let flips: HashSet<Factor> = flips.iter().copied().collect();
        Self { flipped: self.flipped.symmetric_difference(&flips).copied().collect() }
    }

    pub fn is_flipped(&self, factor: Factor) -> bool {
        self.flipped.contains(&factor)
    }

    /// Whether a product of these factors comes out negated.
    pub fn negates(&self, bag: &Bag) -> bool {
        bag.over.iter().chain(&bag.under).filter(|f| self.is_flipped(**f)).count() % 2 == 1
    }
}
