//! Terms to formulas: what was simplified and differentiated, in the language that it was written in.
//!
//! Beside the flow: for people, not for a later stage. Invariant: the text of a formula reads back to the same value,
//! where its numbers are finite.

use std::collections::HashMap;

use super::program::{RowInput, UnaryOp};
use super::terms::{Apply, Term, TermId, Terms};
use crate::loss::Quantity;
use crate::loss::expr::{BinaryOp, Expr, ExprKind, Function};

/// Most parts of a formula that is printed. Terms share their parts and formulas cannot, so that a short source may
/// have a formula of any length.
const MOST_PARTS: usize = 1000;

/// The formula of a term; `None` where it would have more than [`MOST_PARTS`] parts.
pub(super) fn formula(terms: &Terms, id: TermId) -> Option<Expr> {
    let mut printer = Printer { terms, sizes: HashMap::new() };
    (printer.measure(id) <= MOST_PARTS).then(|| printer.term(id))
}

struct Printer<'a> {
    terms: &'a Terms,
    /// Number of parts of a term's formula.
    sizes: HashMap<TermId, usize>,
}

impl Printer<'_> {
    fn measure(&mut self, id: TermId) -> usize {
        if let Some(size) = self.sizes.get(&id) {
            return *size;
        }
        let parts: Vec<TermId> = match self.terms.get(id) {
            Term::Const(_) | Term::Input(_) => Vec::new(),
            Term::Apply(_, args) => args.clone(),
            Term::Sum { items, .. } => items.clone(),
            Term::Product { over, under, .. } => over.iter().chain(under).copied().collect(),
        };
        let size = parts.into_iter().fold(1, |sum: usize, part| sum.saturating_add(self.measure(part)));
        self.sizes.insert(id, size);
        size
    }

    fn term(&self, id: TermId) -> Expr {
        match self.terms.get(id) {
            Term::Const(bits) => signed(number(bits.value().abs()), bits.value() < 0.0),
            Term::Input(input) => expr(ExprKind::Name(input.to_string())),
            Term::Apply(apply, args) => self.apply(*apply, args),
            Term::Sum { constant, items } => self.sum(constant.value(), items),
            Term::Product { factor, .. } => self.product(id, factor.value() < 0.0),
        }
    }

    fn apply(&self, apply: Apply, args: &[TermId]) -> Expr {
        let mut args: Vec<Expr> = args.iter().map(|arg| self.term(*arg)).collect();
        let function = match apply {
            Apply::Unary(UnaryOp::Neg) => return signed(args.remove(0), true),
            Apply::Unary(UnaryOp::Exp) => Function::Exp,
            Apply::Unary(UnaryOp::Log) => Function::Log,
            Apply::Unary(UnaryOp::Sqrt) => Function::Sqrt,
            Apply::Unary(UnaryOp::Abs) => Function::Abs,
            Apply::Unary(UnaryOp::Sign) => Function::Sign,
            Apply::Unary(UnaryOp::OneMinusExp) => Function::OneMinusExp,
            Apply::Pow => {
                let exponent = args.remove(1);
                return binary(BinaryOp::Pow, args.remove(0), exponent);
            }
            Apply::Min => Function::Min,
            Apply::Max => Function::Max,
            Apply::Stop => Function::Stop,
            // What it is where it is not 0; at 0 a product with it is the limit.
            Apply::IfZero => return args.remove(2),
        };
        expr(ExprKind::Call(function, args))
    }

    /// What is added before what is subtracted, the short before the long, and a number last.
    fn sum(&self, constant: f64, items: &[TermId]) -> Expr {
        let mut items: Vec<TermId> = items.to_vec();
        items.sort_by_key(|id| (self.is_negative(*id), self.sizes[id], *id));
        let mut parts: Vec<(bool, Expr)> = Vec::new();
        for (k, id) in items.into_iter().enumerate() {
            let negative = self.is_negative(id);
            // A sum starts with its sign, which `a - b` has between its parts.
            let part = if negative { self.product(id, k == 0 && constant <= 0.0) } else { self.term(id) };
            parts.push((negative, part));
        }
        if constant != 0.0 {
            let leads = constant > 0.0 && parts[0].0;
            let at = if leads { 0 } else { parts.len() };
            parts.insert(at, (constant < 0.0, number(constant.abs())));
        }
        let mut parts = parts.into_iter();
        let (_, first) = parts.next().expect("a sum has items");
        parts.fold(first, |sum, (negative, part)| {
            binary(if negative { BinaryOp::Sub } else { BinaryOp::Add }, sum, part)
        })
    }

    fn is_negative(&self, id: TermId) -> bool {
        matches!(self.terms.get(id), Term::Product { factor, .. } if factor.value() < 0.0)
    }

    /// The magnitude of a product, with a minus in front where `negative`.
    fn product(&self, id: TermId, negative: bool) -> Expr {
        let Term::Product { factor, over, under } = self.terms.get(id) else {
            return signed(self.term(id), negative);
        };
        let mut above = self.factors(over);
        let scale = factor.value().abs();
        if scale != 1.0 || above.is_empty() {
            above.insert(0, number(scale));
        }
        above[0] = signed(above[0].clone(), negative);
        let multiply = |factors: Vec<Expr>| factors.into_iter().reduce(|a, b| binary(BinaryOp::Mul, a, b));
        let above = multiply(above).expect("there is the scale where there is no factor");
        match multiply(self.factors(under)) {
            Some(below) => binary(BinaryOp::Div, above, below),
            None => above,
        }
    }

    /// Parameters and class weights, the quantities of the sample, functions, and sums; equal ones as a power.
    fn factors(&self, ids: &[TermId]) -> Vec<Expr> {
        let mut ids = ids.to_vec();
        ids.sort_by_key(|id| {
            let (rank, input) = match self.terms.get(*id) {
                Term::Input(input @ RowInput::Quantity(Quantity::ClassWeight)) => (0, Some(input)),
                Term::Input(input @ RowInput::Quantity(_)) => (1, Some(input)),
                Term::Const(_) | Term::Input(_) => (0, None),
                Term::Apply(..) => (2, None),
                Term::Sum { .. } | Term::Product { .. } => (3, None),
            };
            (rank, input, self.sizes[id], *id)
        });
        let power = |same: &[TermId]| match same {
            [one] => self.term(*one),
            many => binary(BinaryOp::Pow, self.term(many[0]), number(many.len() as f64)),
        };
        ids.chunk_by(|a, b| a == b).map(power).collect()
    }
}

/// To 15 digits, so that 0.3 / 3 reads 0.1; that changes a value by no more than a few roundings do.
fn number(value: f64) -> Expr {
    let short = format!("{value:.14e}").parse().unwrap_or(value);
    expr(ExprKind::Number(short))
}

fn signed(value: Expr, negative: bool) -> Expr {
    if negative { expr(ExprKind::Neg(Box::new(value))) } else { value }
}

fn binary(op: BinaryOp, a: Expr, b: Expr) -> Expr {
    expr(ExprKind::Binary(op, Box::new(a), Box::new(b)))
}

/// Not read from a text, so without a place.
fn expr(kind: ExprKind) -> Expr {
    Expr { kind, span: 0..0 }
}
