//! Formulas as they are meant: differences and logarithms that cancel where a quantity has the same value to all digits.

use super::{BinaryOp, Expr, ExprKind, Function};

impl Expr {
    /// `1 - p` as q, `1 - q` as p, and `log(p)` as -nll, in a formula over the quantities of a row.
    ///
    /// Where p rounds to 1 these would be 0, for the graph and for the reference that it is checked against alike.
    pub(crate) fn without_cancellation(self) -> Self {
        let Self { kind, span } = self;
        let inner = |e: Box<Expr>| Box::new(e.without_cancellation());
        let kind = match kind {
            ExprKind::Number(_) | ExprKind::Name(_) => kind,
            ExprKind::Neg(a) => ExprKind::Neg(inner(a)),
            ExprKind::Binary(op, a, b) => {
                let (a, b) = (inner(a), inner(b));
                match (op, &a.kind, &b.kind) {
                    (BinaryOp::Sub, ExprKind::Number(1.0), ExprKind::Name(name)) if name == "p" => named("q"),
                    (BinaryOp::Sub, ExprKind::Number(1.0), ExprKind::Name(name)) if name == "q" => named("p"),
                    _ => ExprKind::Binary(op, a, b),
                }
            }
            ExprKind::Call(function, args) => {
                let args: Vec<Expr> = args.into_iter().map(Expr::without_cancellation).collect();
                match (function, args.as_slice()) {
                    (Function::Log, [Expr { kind: ExprKind::Name(name), .. }]) if name == "p" => {
                        ExprKind::Neg(Box::new(Expr { kind: named("nll"), span: span.clone() }))
                    }
                    _ => ExprKind::Call(function, args),
                }
            }
        };
        Self { kind, span }
    }
}

fn named(name: &str) -> ExprKind {
    ExprKind::Name(name.to_owned())
}

#[cfg(test)]
mod tests {
    use crate::loss::expr::parse;

    #[test]
    fn what_would_cancel_is_a_quantity() {
        let cases = [
            ("(1 - p) ^ 2 * -log(p)", "q ^ 2 * --nll"),
            ("log(1 - q) + (1 - (1 - p))", "-nll + p"),
            ("2 - p", "2 - p"),
            ("1 - p * q", "1 - p * q"),
            ("stop(1 - p)", "stop(q)"),
        ];
        for (text, meant) in cases {
            assert_eq!(parse(text).unwrap().without_cancellation().to_string(), meant, "{text}");
        }
    }
}
