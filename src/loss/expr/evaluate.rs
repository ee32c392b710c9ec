//! The value of an expression over plain numbers.

use super::{BinaryOp, Expr, ExprKind, Function};

impl Expr {
    /// The value, with names looked up; NaN for a name that `lookup` does not know.
    pub(crate) fn evaluate(&self, lookup: &impl Fn(&str) -> Option<f64>) -> f64 {
        match &self.kind {
            ExprKind::Number(v) => *v,
            ExprKind::Name(name) => lookup(name).unwrap_or(f64::NAN),
            ExprKind::Neg(a) => -a.evaluate(lookup),
            ExprKind::Binary(op, a, b) => op.apply(a.evaluate(lookup), b.evaluate(lookup)),
            ExprKind::Call(function, args) => {
                let args: Vec<f64> = args.iter().map(|a| a.evaluate(lookup)).collect();
                function.apply(&args)
            }
        }
    }
}

impl BinaryOp {
    /// a op b in float64.
    pub(crate) fn apply(self, a: f64, b: f64) -> f64 {
        match self {
            BinaryOp::Add => a + b,
            BinaryOp::Sub => a - b,
            BinaryOp::Mul => a * b,
            BinaryOp::Div => a / b,
            BinaryOp::Pow => a.powf(b),
        }
    }
}

impl Function {
    /// f(args) in float64; `args` has the function's arity.
    fn apply(self, args: &[f64]) -> f64 {
        let a = args[0];
        match self {
            Function::Exp => a.exp(),
            Function::Log => a.ln(),
            Function::Sqrt => a.sqrt(),
            Function::Abs => a.abs(),
            Function::OneMinusExp => -a.exp_m1(),
            Function::Sign if a == 0.0 => 0.0,
            Function::Sign => a.signum(),
            Function::Stop => a,
            Function::Min => a.min(args[1]),
            Function::Max => a.max(args[1]),
            Function::Pow => a.powf(args[1]),
        }
    }
}
