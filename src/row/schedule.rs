//! Terms to steps: products are evaluated so that they share as many multiplications as they can.
//!
//! Every product is a multiset of factors above and below the bar. The pair of factors that most products have in
//! common becomes one step, again and again: the usual greedy way of sharing sub-products.

use std::collections::HashMap;

use super::program::{RowProgram, Step, StepId};
use super::terms::{Apply, Bits, Term, TermId, Terms};
use crate::loss::expr::BinaryOp;

/// Schedules `roots`; returns the program and the step of each root.
pub(super) fn schedule(terms: &Terms, roots: &[TermId]) -> (RowProgram, Vec<StepId>) {
    let mut scheduler = Scheduler {
        terms,
        products: Products::share(terms, roots),
        program: RowProgram::default(),
        done: HashMap::new(),
    };
    let steps = roots.iter().map(|root| scheduler.term(*root)).collect();
    (scheduler.program, steps)
}

/// A factor of a product: a term, a constant, or a shared pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Factor {
    Term(TermId),
    Const(Bits),
    Pair(usize),
}

/// Two factors joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Pair {
    /// a · b, above the bar
    Over(Factor, Factor),
    /// a / b
    Across(Factor, Factor),
    /// a · b, below the bar
    Under(Factor, Factor),
}

#[derive(Debug, Clone, Default)]
struct Bag {
    over: Vec<Factor>,
    under: Vec<Factor>,
}

/// All products below the roots, without their signs.
struct Products {
    /// In the order they were met, so that the result does not depend on hashing.
    bags: Vec<(TermId, Bag)>,
    pairs: Vec<Pair>,
}

impl Products {
    fn share(terms: &Terms, roots: &[TermId]) -> Self {
        let mut products = Self { bags: Vec::new(), pairs: Vec::new() };
        let mut seen = std::collections::HashSet::new();
        let mut pending: Vec<TermId> = roots.iter().rev().copied().collect();
        while let Some(id) = pending.pop() {
            if !seen.insert(id) {
                continue;
            }
            let term = terms.get(id);
            if let Term::Product { factor, over, under } = term {
                products.bags.push((id, Bag::new(factor.value(), over, under)));
            }
            pending.extend(term_parts(term));
        }
        while let Some(pair) = products.commonest() {
            let joined = Factor::Pair(products.pairs.len());
            products.pairs.push(pair);
            products.bags.iter_mut().for_each(|(_, bag)| bag.replace(pair, joined));
        }
        products
    }

    /// The pair that most products share; the first met among equals. `None` when no two products share one.
    fn commonest(&self) -> Option<Pair> {
        let mut counts: HashMap<Pair, usize> = HashMap::new();
        let mut order: Vec<Pair> = Vec::new();
        for (_, bag) in &self.bags {
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

struct Scheduler<'a> {
    terms: &'a Terms,
    products: Products,
    program: RowProgram,
    done: HashMap<TermId, StepId>,
}

impl Scheduler<'_> {
    /// The step of a term, sign included.
    fn term(&mut self, id: TermId) -> StepId {
        let (step, negative) = self.magnitude(id);
        if negative {
            self.program.push(Step::Unary(super::program::UnaryOp::Neg, step))
        } else {
            step
        }
    }

    /// The step of a term but for its sign, and whether it is to be negated.
    fn magnitude(&mut self, id: TermId) -> (StepId, bool) {
        let negative = matches!(self.terms.get(id), Term::Product { factor, .. } if factor.value() < 0.0);
        if let Some(step) = self.done.get(&id) {
            return (*step, negative);
        }
        let step = match self.terms.get(id).clone() {
            Term::Const(bits) => self.program.push(Step::Const(bits.value())),
            Term::Input(input) => self.program.push(Step::Input(input)),
            Term::Apply(apply, args) => self.apply(apply, &args),
            Term::Sum { constant, items } => self.sum(constant.value(), &items),
            Term::Product { .. } => self.product(id),
        };
        self.done.insert(id, step);
        (step, negative)
    }

    fn apply(&mut self, apply: Apply, args: &[TermId]) -> StepId {
        let args: Vec<StepId> = args.iter().map(|a| self.term(*a)).collect();
        match apply {
            Apply::Unary(op) => self.program.push(Step::Unary(op, args[0])),
            Apply::Stop => args[0],
            Apply::Min => self.program.push(Step::Min(args[0], args[1])),
            Apply::Max => self.program.push(Step::Max(args[0], args[1])),
            Apply::Pow => self.binary(BinaryOp::Pow, args[0], args[1]),
        }
    }

    fn binary(&mut self, op: BinaryOp, a: StepId, b: StepId) -> StepId {
        self.program.push(Step::Binary(op, a, b))
    }

    /// Positive items first, so that the others are subtracted from something.
    fn sum(&mut self, constant: f64, items: &[TermId]) -> StepId {
        let parts: Vec<(StepId, bool)> = items.iter().map(|item| self.magnitude(*item)).collect();
        let mut parts: Vec<(StepId, bool)> = parts;
        if constant != 0.0 {
            let step = self.program.push(Step::Const(constant.abs()));
            parts.push((step, constant < 0.0));
        }
        parts.sort_by_key(|(_, negative)| *negative);
        let (first, negative) = parts[0];
        let mut total = first;
        if negative {
            total = self.program.push(Step::Unary(super::program::UnaryOp::Neg, first));
        }
        for (step, negative) in &parts[1..] {
            let op = if *negative { BinaryOp::Sub } else { BinaryOp::Add };
            total = self.binary(op, total, *step);
        }
        total
    }

    /// Multiplies above the bar, then divides by what is below.
    fn product(&mut self, id: TermId) -> StepId {
        let bag = self.products.bags.iter().find(|(product, _)| *product == id).map(|(_, bag)| bag.clone());
        let bag = bag.expect("every product below a root was collected before scheduling");
        let over: Vec<StepId> = bag.over.iter().map(|f| self.factor(*f)).collect();
        let under: Vec<StepId> = bag.under.iter().map(|f| self.factor(*f)).collect();
        let multiply = |s: &mut Self, steps: &[StepId]| {
            steps.iter().copied().reduce(|a, b| s.binary(BinaryOp::Mul, a, b))
        };
        let above = multiply(self, &over).expect("a product has a factor above the bar");
        match multiply(self, &under) {
            Some(below) => self.binary(BinaryOp::Div, above, below),
            None => above,
        }
    }

    fn factor(&mut self, factor: Factor) -> StepId {
        let pair = match factor {
            Factor::Term(id) => return self.term(id),
            Factor::Const(bits) => return self.program.push(Step::Const(bits.value())),
            Factor::Pair(k) => self.products.pairs[k],
        };
        let (op, a, b) = match pair {
            Pair::Over(a, b) | Pair::Under(a, b) => (BinaryOp::Mul, a, b),
            Pair::Across(a, b) => (BinaryOp::Div, a, b),
        };
        let (a, b) = (self.factor(a), self.factor(b));
        self.binary(op, a, b)
    }
}
