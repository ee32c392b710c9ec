//! Products as multisets of factors, and the pairs of factors that they share.
//!
//! The pair that most products have in common becomes one factor, again and again: the usual greedy way of sharing
//! sub-products.

use std::collections::{HashMap, HashSet};

use crate::row::terms::{Bits, Term, TermId, Terms};

/// A factor of a product: a term, a constant, or a shared pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Factor {
    Term(TermId),
    Const(Bits),
    Pair(usize),
}

/// Two factors joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Pair {
    /// a · b, above the bar
    Over(Factor, Factor),
    /// a / b
    Across(Factor, Factor),
    /// a · b, below the bar
    Under(Factor, Factor),
}

/// Factors above and below the bar.
#[derive(Debug, Clone, Default)]
pub(super) struct Bag {
    pub over: Vec<Factor>,
    pub under: Vec<Factor>,
}

/// Most pairs of factors that are looked at; in a formula with more, sharing would take longer than it saves.
const MOST_PAIRS: usize = 20_000;

/// All products below the roots, without their signs.
pub(super) struct Products {
    /// In the order they were met, so that the result does not depend on hashing.
    pub bags: Vec<Bag>,
    /// Which bag is which product's.
    pub index: HashMap<TermId, usize>,
    /// The same bags before pairs were joined.
    pub original: Vec<Bag>,
    pub pairs: Vec<Pair>,
}

impl Products {
    pub fn share(terms: &Terms, roots: &[TermId]) -> Self {
        let mut products =
            Self { bags: Vec::new(), index: HashMap::new(), original: Vec::new(), pairs: Vec::new() };
        let mut seen = HashSet::new();
        let mut pending: Vec<TermId> = roots.iter().rev().copied().collect();
        while let Some(id) = pending.pop() {
            if !seen.insert(id) {
                continue;
            }
            let term = terms.get(id);
            if let Term::Product { factor, over, under } = term {
                products.index.insert(id, products.bags.len());
                products.bags.push(Bag::new(factor.value(), over, under));
            }
            pending.extend(term_parts(term));
        }
        products.original = products.bags.clone();
        let pairs: usize = products.bags.iter().map(|bag| (bag.over.len() + bag.under.len()).pow(2)).sum();
        if pairs > MOST_PAIRS {
            return products;
        }
        while let Some(pair) = products.commonest() {
            let joined = Factor::Pair(products.pairs.len());
            products.pairs.push(pair);
            products.bags.iter_mut().for_each(|bag| bag.replace(pair, joined));
        }
        products
    }

    /// The pair that most products share; the first met among equals. `None` when no two products share one.
    fn commonest(&self) -> Option<Pair> {
        let mut counts: HashMap<Pair, usize> = HashMap::new();
        let mut order: Vec<Pair> = Vec::new();
        for bag in &self.bags {
            for pair in bag.pairs() {
                let count = counts.entry(pair).or_insert(0);
                if *count == 0 {
                    order.push(pair);
                }
                *count += 1;
            }
        }
        let best = order.iter().map(|pair| counts[pair]).max()?;
        order.into_iter().find(|pair| best >= 2 && counts[pair] == best)
    }
}

fn term_parts(term: &Term) -> Vec<TermId> {
    match term {
        Term::Const(_) | Term::Input(_) => Vec::new(),
        Term::Apply(_, args) => args.clone(),
        Term::Sum { items, .. } => items.clone(),
        Term::Product { over, under, .. } => over.iter().chain(under).copied().collect(),
    }
}

impl Bag {
    fn new(factor: f64, over: &[TermId], under: &[TermId]) -> Self {
        let mut bag = Self {
            over: over.iter().map(|id| Factor::Term(*id)).collect(),
            under: under.iter().map(|id| Factor::Term(*id)).collect(),
        };
        if factor.abs() != 1.0 || bag.over.is_empty() {
            bag.over.insert(0, Factor::Const(Bits::new(factor.abs())));
        }
        bag
    }

    /// Every distinct pair, once.
    fn pairs(&self) -> Vec<Pair> {
        let mut found = Vec::new();
        let mut push = |pair| {
            if !found.contains(&pair) {
                found.push(pair);
            }
        };
        for (k, a) in self.over.iter().enumerate() {
            self.over[k + 1..].iter().for_each(|b| push(Pair::Over(*a, *b)));
            self.under.iter().for_each(|b| push(Pair::Across(*a, *b)));
        }
        for (k, a) in self.under.iter().enumerate() {
            self.under[k + 1..].iter().for_each(|b| push(Pair::Under(*a, *b)));
        }
        found
    }

    /// Replaces one occurrence of the pair, in either order, by `joined`.
    fn replace(&mut self, pair: Pair, joined: Factor) {
        let (a, b) = match pair {
            Pair::Over(a, b) | Pair::Across(a, b) | Pair::Under(a, b) => (a, b),
        };
        let taken = match pair {
            Pair::Over(..) => take_two(&mut self.over, a, b),
            Pair::Under(..) => take_two(&mut self.under, a, b),
            Pair::Across(..) => {
                let both = self.over.contains(&a) && self.under.contains(&b);
                both && take_one(&mut self.over, a) && take_one(&mut self.under, b)
            }
        };
        if taken {
            let side = if matches!(pair, Pair::Under(..)) { &mut self.under } else { &mut self.over };
            side.insert(0, joined);
        }
    }
}

fn take_one(from: &mut Vec<Factor>, a: Factor) -> bool {
    let found = from.iter().position(|f| *f == a);
    found.map(|k| from.remove(k)).is_some()
}

fn take_two(from: &mut Vec<Factor>, a: Factor, b: Factor) -> bool {
    let enough = if a == b {
        from.iter().filter(|f| **f == a).count() >= 2
    } else {
        from.contains(&a) && from.contains(&b)
    };
    enough && take_one(from, a) && take_one(from, b)
}
