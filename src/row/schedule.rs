//! Terms to steps: products are evaluated so that they share as many multiplications as they can.
//!
//! Every product is a multiset of factors above and below the bar. The pair of factors that most products have in
//! common becomes one step, again and again: the usual greedy way of sharing sub-products.

use std::collections::HashMap;

use super::program::{RowProgram, Step, StepId, UnaryOp};
use super::terms::{Apply, Term, TermId, Terms};
use crate::loss::expr::BinaryOp;

mod products;
mod signs;

use products::{Factor, Pair, Products};
use signs::Signs;

/// Schedules `roots`; returns the program and the step of each root.
///
/// Signs are free where a sum or a constant can be computed negated instead: of the ways to do that, the one with the
/// fewest steps is taken.
pub(super) fn schedule(terms: &Terms, roots: &[TermId]) -> (RowProgram, Vec<StepId>) {
    let products = Products::share(terms, roots);
    let mut best = Scheduler::new(terms, &products, Signs::default()).run(roots);
    let mut signs = Signs::default();
    let candidates = signs.candidates(terms, &products);
    loop {
        let tried = candidates.iter().map(|flips| {
            let signs = signs.flipped(flips);
            let scheduled = Scheduler::new(terms, &products, signs.clone()).run(roots);
            (scheduled, signs)
        });
        let shortest = tried.min_by_key(|((program, _), _)| cost(program));
        match shortest {
            Some((scheduled, better)) if cost(&scheduled.0) < cost(&best.0) => {
                (best, signs) = (scheduled, better);
            }
            // Each round is shorter than the last, so the rounds end.
            _ => return best,
        }
    }
}

/// Number of steps that compute something.
fn cost(program: &RowProgram) -> usize {
    let free = |step: &&Step| matches!(step, Step::Const(_) | Step::Input(_));
    program.steps().iter().filter(|step| !free(step)).count()
}

struct Scheduler<'a> {
    terms: &'a Terms,
    products: &'a Products,
    signs: Signs,
    program: RowProgram,
    done: HashMap<TermId, StepId>,
}

impl<'a> Scheduler<'a> {
    fn new(terms: &'a Terms, products: &'a Products, signs: Signs) -> Self {
        Self { terms, products, signs, program: RowProgram::default(), done: HashMap::new() }
    }

    fn run(mut self, roots: &[TermId]) -> (RowProgram, Vec<StepId>) {
        let steps = roots.iter().map(|root| self.term(*root)).collect();
        (self.program, steps)
    }

    /// The step of a term, sign included.
    fn term(&mut self, id: TermId) -> StepId {
        let (step, negative) = self.magnitude(id);
        if negative { self.negated(step) } else { step }
    }

    /// The step of a term but for its sign, and whether it is to be negated.
    fn magnitude(&mut self, id: TermId) -> (StepId, bool) {
        let negative = self.comes_out_negative(id);
        if let Some(step) = self.done.get(&id) {
            return (*step, negative);
        }
        let step = match self.terms.get(id).clone() {
            Term::Const(bits) => self.program.push(Step::Const(bits.value())),
            Term::Input(input) => self.program.push(Step::Input(input)),
            Term::Apply(apply, args) => self.apply(apply, &args),
            Term::Sum { constant, items } => self.sum(id, constant.value(), &items),
            Term::Product { .. } => self.product(id),
        };
        self.done.insert(id, step);
        (step, negative)
    }

    fn comes_out_negative(&self, id: TermId) -> bool {
        match self.terms.get(id) {
            Term::Product { factor, .. } => {
                let index = self.products.index.get(&id);
                let flipped = index.is_some_and(|k| self.signs.negates(&self.products.original[*k]));
                (factor.value() < 0.0) != flipped
            }
            Term::Sum { .. } => self.signs.is_flipped(Factor::Term(id)),
            Term::Const(_) | Term::Input(_) | Term::Apply(..) => false,
        }
    }

    fn apply(&mut self, apply: Apply, args: &[TermId]) -> StepId {
        let args: Vec<StepId> = args.iter().map(|a| self.term(*a)).collect();
        match apply {
            Apply::Unary(op) => self.program.push(Step::Unary(op, args[0])),
            Apply::Stop => args[0],
            Apply::IfZero => self.program.push(Step::IfZero(args[0], args[1], args[2])),
            Apply::Min => self.program.push(Step::Min(args[0], args[1])),
            Apply::Max => self.program.push(Step::Max(args[0], args[1])),
            Apply::Pow => self.binary(BinaryOp::Pow, args[0], args[1]),
        }
    }

    /// A constant is negated where it stands.
    fn negated(&mut self, step: StepId) -> StepId {
        match self.program.steps()[step.index()] {
            Step::Const(value) => self.program.push(Step::Const(-value)),
            _ => self.program.push(Step::Unary(UnaryOp::Neg, step)),
        }
    }

    fn binary(&mut self, op: BinaryOp, a: StepId, b: StepId) -> StepId {
        self.program.push(Step::Binary(op, a, b))
    }

    /// Starts from what is positive, so that the rest is subtracted from something.
    fn sum(&mut self, id: TermId, constant: f64, items: &[TermId]) -> StepId {
        let flipped = self.signs.is_flipped(Factor::Term(id));
        let mut constant = if flipped { -constant } else { constant };
        let mut parts: Vec<(StepId, bool)> = items.iter().map(|item| self.magnitude(*item)).collect();
        parts.iter_mut().for_each(|(_, negative)| *negative ^= flipped);
        parts.sort_by_key(|(_, negative)| *negative);
        let mut total = match parts[0] {
            (first, false) => first,
            _ if constant != 0.0 => {
                parts.insert(0, (parts[0].0, true));
                self.program.push(Step::Const(std::mem::take(&mut constant)))
            }
            (first, true) => self.negated(first),
        };
        for (step, negative) in &parts[1..] {
            let op = if *negative { BinaryOp::Sub } else { BinaryOp::Add };
            total = self.binary(op, total, *step);
        }
        if constant != 0.0 {
            let step = self.program.push(Step::Const(constant.abs()));
            total = self.binary(if constant < 0.0 { BinaryOp::Sub } else { BinaryOp::Add }, total, step);
        }
        total
    }

    /// Multiplies above the bar, then divides by what is below.
    fn product(&mut self, id: TermId) -> StepId {
        let bag = self.products.index.get(&id).map(|k| self.products.bags[*k].clone());
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
            // The sign of a factor is the product's, and counted there.
            Factor::Term(id) => return self.magnitude(id).0,
            Factor::Const(bits) => {
                let sign = if self.signs.is_flipped(factor) { -1.0 } else { 1.0 };
                return self.program.push(Step::Const(sign * bits.value()));
            }
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
