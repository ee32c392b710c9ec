//! Formulas: the expression tree that a `row` or `loss` entry parses to.
//!
//! First stage of the flow. The tree keeps byte spans so that a later stage can point into the source line;
//! it knows nothing of which names exist. Invariant: a tree never nests deeper than [`MAX_DEPTH`], so that
//! recursion over it cannot exhaust the stack.

use std::ops::Range;

mod evaluate;
mod exact;
mod parse;
mod print;

pub use parse::parse;

/// Longest formula that is read, in bytes.
pub const MAX_LENGTH: usize = 4096;
/// Deepest nesting of a formula's tree.
pub const MAX_DEPTH: usize = 128;

/// An expression with its place in the formula.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Byte range in the formula that it was read from.
    pub span: Range<usize>,
}

/// The forms of an expression; every value is one scalar a sample.
#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    /// A literal.
    Number(f64),
    /// A row quantity, a parameter, or another `row` entry.
    Name(String),
    /// `-a`
    Neg(Box<Expr>),
    /// `a op b`
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// `f(a, …)`
    Call(Function, Vec<Expr>),
}

/// Infix operators, by the formula language's precedence: `^` binds tightest and to the right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `^`, the same as `pow(a, b)`
    Pow,
}

/// Functions of the formula language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// e^a
    Exp,
    /// natural logarithm
    Log,
    /// square root
    Sqrt,
    /// |a|, derivative 0 at 0 as in PyTorch
    Abs,
    /// -1, 0 or 1; derivative 0
    Sign,
    /// smaller of two; at a tie each side gets half of the derivative, as in PyTorch
    Min,
    /// larger of two; at a tie each side gets half of the derivative, as in PyTorch
    Max,
    /// 1 - e^a without cancellation
    OneMinusExp,
    /// the value, held constant in the backward pass
    Stop,
    /// a^b
    Pow,
}

impl Function {
    /// Every function with the name it has in a formula.
    pub const ALL: [(&'static str, Function); 10] = [
        ("exp", Function::Exp),
        ("log", Function::Log),
        ("sqrt", Function::Sqrt),
        ("abs", Function::Abs),
        ("sign", Function::Sign),
        ("min", Function::Min),
        ("max", Function::Max),
        ("one_minus_exp", Function::OneMinusExp),
        ("stop", Function::Stop),
        ("pow", Function::Pow),
    ];

    /// The name in a formula.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, f)| *f == self).map_or("?", |(name, _)| name)
    }

    /// The function of this name, if there is one.
    pub fn named(name: &str) -> Option<Function> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, function)| *function)
    }

    /// Number of arguments.
    pub fn arity(self) -> usize {
        match self {
            Function::Min | Function::Max | Function::Pow => 2,
            Function::Exp
            | Function::Log
            | Function::Sqrt
            | Function::Abs
            | Function::Sign
            | Function::OneMinusExp
            | Function::Stop => 1,
        }
    }
}

/// What is wrong with a formula, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FormulaError {
    /// Byte range in the formula.
    pub span: Range<usize>,
    /// What is wrong and what to do.
    pub message: String,
}

impl FormulaError {
    /// An error at a place of the formula.
    pub fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into() }
    }
}

/// `; did you mean …?` where a known name is near, else the list of known names.
pub(crate) fn suggest(name: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|k| (strsim::damerau_levenshtein(name, k), *k)).min();
    match nearest {
        Some((distance, k)) if distance <= 1 + name.len() / 4 => format!("; did you mean `{k}`?"),
        _ if known.is_empty() => String::new(),
        _ => format!("; known here: {}", known.join(", ")),
    }
}

impl Expr {
    /// The names used anywhere in the expression, in reading order, with repetitions.
    pub fn names(&self) -> Vec<(&str, &Range<usize>)> {
        let mut found = Vec::new();
        self.visit(&mut |e| {
            if let ExprKind::Name(name) = &e.kind {
                found.push((name.as_str(), &e.span));
            }
        });
        found
    }

    fn visit<'a>(&'a self, f: &mut impl FnMut(&'a Expr)) {
        f(self);
        match &self.kind {
            ExprKind::Number(_) | ExprKind::Name(_) => {}
            ExprKind::Neg(a) => a.visit(f),
            ExprKind::Binary(_, a, b) => {
                a.visit(f);
                b.visit(f);
            }
            ExprKind::Call(_, args) => args.iter().for_each(|a| a.visit(f)),
        }
    }

    /// Number of numbers, names and operations.
    pub(crate) fn parts(&self) -> usize {
        let mut count = 0;
        self.visit(&mut |_| count += 1);
        count
    }

    fn depth(&self) -> usize {
        1 + match &self.kind {
            ExprKind::Number(_) | ExprKind::Name(_) => 0,
            ExprKind::Neg(a) => a.depth(),
            ExprKind::Binary(_, a, b) => a.depth().max(b.depth()),
            ExprKind::Call(_, args) => args.iter().map(Expr::depth).max().unwrap_or(0),
        }
    }
}
