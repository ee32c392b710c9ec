//! Symbolic terms in a normal form: sums of products over atoms, hash-consed.
//!
//! The constructors simplify by exact algebra only: constants fold and move outwards, signs collect, nested sums and
//! products flatten. Nothing is cancelled against a divisor (an unknown may be 0), and nothing is expanded.

use std::collections::HashMap;

use super::program::{RowInput, UnaryOp};
use crate::loss::Quantity;

/// A term of an arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct TermId(u32);

/// A float64 that can be a key: equal bits are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Bits(u64);

impl Bits {
    pub fn new(value: f64) -> Self {
        Self(if value == 0.0 { 0 } else { value.to_bits() })
    }

    pub fn value(self) -> f64 {
        f64::from_bits(self.0)
    }
}

/// Functions that are not sums or products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Apply {
    Unary(UnaryOp),
    Pow,
    Min,
    Max,
    /// A constant to differentiation.
    Stop,
    /// (a, x, y): x where a is 0, else y. Only derivatives have it.
    IfZero,
}

/// A term. Products have no product or constant among their factors, sums no sum or constant among their items.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Term {
    Const(Bits),
    Input(RowInput),
    Apply(Apply, Vec<TermId>),
    /// constant + Σ items, items sorted
    Sum {
        constant: Bits,
        items: Vec<TermId>,
    },
    /// factor · Π over / Π under, sorted
    Product {
        factor: Bits,
        over: Vec<TermId>,
        under: Vec<TermId>,
    },
}

/// The arena; a term's parts have smaller ids than the term.
#[derive(Debug, Default)]
pub(super) struct Terms {
    all: Vec<Term>,
    ids: HashMap<Term, TermId>,
}

impl Terms {
    pub fn get(&self, id: TermId) -> &Term {
        &self.all[id.0 as usize]
    }

    fn intern(&mut self, term: Term) -> TermId {
        if let Some(id) = self.ids.get(&term) {
            return *id;
        }
        let id = TermId(u32::try_from(self.all.len()).expect("formulas are bounded, so terms are"));
        self.all.push(term.clone());
        self.ids.insert(term, id);
        id
    }

    pub fn constant(&mut self, value: f64) -> TermId {
        self.intern(Term::Const(Bits::new(value)))
    }

    pub fn input(&mut self, input: RowInput) -> TermId {
        self.intern(Term::Input(input))
    }

    pub fn as_constant(&self, id: TermId) -> Option<f64> {
        match self.get(id) {
            Term::Const(bits) => Some(bits.value()),
            _ => None,
        }
    }

    pub fn is_zero(&self, id: TermId) -> bool {
        self.as_constant(id) == Some(0.0)
    }

    pub fn neg(&mut self, a: TermId) -> TermId {
        self.product(-1.0, &[a], &[])
    }

    pub fn add(&mut self, a: TermId, b: TermId) -> TermId {
        self.sum(0.0, &[a, b])
    }

    pub fn sub(&mut self, a: TermId, b: TermId) -> TermId {
        let b = self.neg(b);
        self.sum(0.0, &[a, b])
    }

    pub fn mul(&mut self, a: TermId, b: TermId) -> TermId {
        self.product(1.0, &[a, b], &[])
    }

    pub fn unary(&mut self, op: UnaryOp, a: TermId) -> TermId {
        match (op, self.as_constant(a)) {
            (UnaryOp::Neg, _) => self.neg(a),
            // log p = -nll, which is finite where p is not above 0 any more
            (UnaryOp::Log, _) if *self.get(a) == Term::Input(RowInput::Quantity(Quantity::P)) => {
                let nll = self.input(RowInput::Quantity(Quantity::Nll));
                self.neg(nll)
            }
            (_, Some(v)) => self.constant(op.apply(v)),
            _ => self.intern(Term::Apply(Apply::Unary(op), vec![a])),
        }
    }

    pub fn if_zero(&mut self, a: TermId, x: TermId, y: TermId) -> TermId {
        match self.as_constant(a) {
            Some(v) => {
                if v == 0.0 {
                    x
                } else {
                    y
                }
            }
            None => self.intern(Term::Apply(Apply::IfZero, vec![a, x, y])),
        }
    }

    pub fn stop(&mut self, a: TermId) -> TermId {
        match self.as_constant(a) {
            Some(_) => a,
            None => self.intern(Term::Apply(Apply::Stop, vec![a])),
        }
    }

    pub fn extreme(&mut self, apply: Apply, a: TermId, b: TermId) -> TermId {
        match (self.as_constant(a), self.as_constant(b)) {
            (Some(x), Some(y)) if apply == Apply::Min => self.constant(x.min(y)),
            (Some(x), Some(y)) => self.constant(x.max(y)),
            _ => self.intern(Term::Apply(apply, vec![a, b])),
        }
    }

    pub fn pow(&mut self, a: TermId, b: TermId) -> TermId {
        match (self.as_constant(a), self.as_constant(b)) {
            (Some(x), Some(y)) => self.constant(x.powf(y)),
            (_, Some(0.0)) => self.constant(1.0),
            (_, Some(1.0)) => a,
            (_, Some(2.0)) => self.product(1.0, &[a, a], &[]),
            (_, Some(3.0)) => self.product(1.0, &[a, a, a], &[]),
            (_, Some(-1.0)) => self.product(1.0, &[], &[a]),
            (_, Some(0.5)) => self.unary(UnaryOp::Sqrt, a),
            _ => self.intern(Term::Apply(Apply::Pow, vec![a, b])),
        }
    }

    /// `factor · Π over / Π under`
    pub fn product(&mut self, factor: f64, over: &[TermId], under: &[TermId]) -> TermId {
        let mut flat = Flat { factor, over: Vec::new(), under: Vec::new() };
        over.iter().for_each(|id| flat.multiply(self, *id));
        under.iter().for_each(|id| flat.divide(self, *id));
        // A structural zero: the derivative of something that is not there.
        if flat.factor == 0.0 {
            return self.constant(0.0);
        }
        flat.over.sort_unstable();
        flat.under.sort_unstable();
        match (flat.over.as_slice(), flat.under.as_slice()) {
            ([], []) => self.constant(flat.factor),
            ([one], []) if flat.factor == 1.0 => *one,
            _ => self.intern(Term::Product {
                factor: Bits::new(flat.factor),
                over: flat.over,
                under: flat.under,
            }),
        }
    }

    /// `constant + Σ items`
    pub fn sum(&mut self, constant: f64, items: &[TermId]) -> TermId {
        let mut total = constant;
        let mut flat: Vec<(f64, TermId)> = Vec::new();
        for id in items {
            self.flatten_item(*id, &mut total, &mut flat);
        }
        flat.sort_by_key(|(_, id)| *id);
        flat.dedup_by(|next, kept| {
            let same = next.1 == kept.1;
            if same {
                kept.0 += next.0;
            }
            same
        });
        flat.retain(|(factor, _)| *factor != 0.0);
        if flat.is_empty() {
            return self.constant(total);
        }
        // Drawn out only where a constant follows: k·x + c = k·(x + c/k) lets k merge with the factors around the sum.
        // The products of a sum without one share k among themselves when they are scheduled.
        let scale = if total == 0.0 { 1.0 } else { common_scale(&flat, total) };
        let mut items: Vec<TermId> =
            flat.iter().map(|(factor, id)| self.product(factor / scale, &[*id], &[])).collect();
        items.sort_unstable();
        let inner = match items.as_slice() {
            [one] if total == 0.0 => *one,
            _ => self.intern(Term::Sum { constant: Bits::new(total / scale), items }),
        };
        self.product(scale, &[inner], &[])
    }

    /// Splits an item into factor and rest; sums are taken apart.
    fn flatten_item(&mut self, id: TermId, total: &mut f64, flat: &mut Vec<(f64, TermId)>) {
        match self.get(id).clone() {
            Term::Const(bits) => *total += bits.value(),
            Term::Sum { constant, items } => {
                *total += constant.value();
                items.into_iter().for_each(|item| self.flatten_item(item, total, flat));
            }
            Term::Product { factor, over, under } => {
                let rest = self.product(1.0, &over, &under);
                flat.push((factor.value(), rest));
            }
            Term::Input(_) | Term::Apply(..) => flat.push((1.0, id)),
        }
    }
}

impl Terms {
    /// Every term without the stops in it.
    pub fn without_stops(&mut self) -> HashMap<TermId, TermId> {
        let mut plain = HashMap::new();
        for index in 0..self.all.len() {
            let id = TermId(index as u32);
            let of = |ids: &[TermId], plain: &HashMap<TermId, TermId>| -> Vec<TermId> {
                ids.iter().map(|part| plain[part]).collect()
            };
            let new = match self.get(id).clone() {
                Term::Const(_) | Term::Input(_) => id,
                Term::Apply(Apply::Stop, args) => plain[&args[0]],
                Term::Apply(apply, args) => self.intern(Term::Apply(apply, of(&args, &plain))),
                Term::Sum { constant, items } => self.sum(constant.value(), &of(&items, &plain)),
                Term::Product { factor, over, under } => {
                    self.product(factor.value(), &of(&over, &plain), &of(&under, &plain))
                }
            };
            plain.insert(id, new);
        }
        plain
    }
}

/// A factor to draw out of a sum: the one that leaves the fewest items with a factor of their own. A factor that takes
/// the constant out of the range of normal numbers stays.
fn common_scale(items: &[(f64, TermId)], constant: f64) -> f64 {
    let left = |scale: f64| items.iter().filter(|(f, _)| (f / scale).abs() != 1.0).count();
    let mut best = (left(1.0), 1.0);
    for (factor, _) in items {
        let candidate = (left(factor.abs()), factor.abs());
        if candidate.0 < best.0 && (constant / candidate.1).is_normal() {
            best = candidate;
        }
    }
    best.1
}

/// A product being collected.
struct Flat {
    factor: f64,
    over: Vec<TermId>,
    under: Vec<TermId>,
}

impl Flat {
    fn multiply(&mut self, terms: &Terms, id: TermId) {
        match terms.get(id) {
            Term::Const(bits) => self.factor *= bits.value(),
            Term::Product { factor, over, under } => {
                self.factor *= factor.value();
                self.over.extend(over);
                self.under.extend(under);
            }
            Term::Input(_) | Term::Apply(..) | Term::Sum { .. } => self.over.push(id),
        }
    }

    fn divide(&mut self, terms: &Terms, id: TermId) {
        match terms.get(id) {
            Term::Const(bits) => self.factor /= bits.value(),
            Term::Product { factor, over, under } => {
                self.factor /= factor.value();
                self.over.extend(under);
                self.under.extend(over);
            }
            Term::Input(_) | Term::Apply(..) | Term::Sum { .. } => self.under.push(id),
        }
    }
}
