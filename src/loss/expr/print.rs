//! [`Expr`] back to text, with the fewest brackets that keep its tree: rounding depends on where they stand.

use std::fmt;

use super::{BinaryOp, Expr, ExprKind};

impl BinaryOp {
    fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Pow => "^",
        }
    }

    /// (own level, lowest level allowed on the left, on the right)
    fn levels(self) -> (u8, u8, u8) {
        match self {
            BinaryOp::Add => (1, 1, 2),
            BinaryOp::Sub => (1, 1, 2),
            BinaryOp::Mul => (2, 2, 3),
            BinaryOp::Div => (2, 2, 3),
            BinaryOp::Pow => (4, 5, 4),
        }
    }
}

/// Whether a number reads better without an exponent.
fn is_plain(v: f64) -> bool {
    v == 0.0 || (1e-5..1e16).contains(&v.abs())
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

impl Expr {
    fn level(&self) -> u8 {
        match &self.kind {
            ExprKind::Number(_) | ExprKind::Name(_) | ExprKind::Call(..) => 5,
            ExprKind::Neg(_) => 3,
            ExprKind::Binary(op, ..) => op.levels().0,
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, lowest: u8) -> fmt::Result {
        if self.level() < lowest {
            f.write_str("(")?;
            self.write(f, 0)?;
            return f.write_str(")");
        }
        match &self.kind {
            ExprKind::Number(v) if is_plain(*v) => write!(f, "{v}"),
            ExprKind::Number(v) => write!(f, "{v:e}"),
            ExprKind::Name(name) => f.write_str(name),
            ExprKind::Neg(a) => {
                f.write_str("-")?;
                a.write(f, 3)
            }
            ExprKind::Binary(op, a, b) => {
                let (_, left, right) = op.levels();
                a.write(f, left)?;
                write!(f, " {} ", op.symbol())?;
                b.write(f, right)
            }
            ExprKind::Call(function, args) => {
                write!(f, "{}(", function.name())?;
                for (k, arg) in args.iter().enumerate() {
                    if k > 0 {
                        f.write_str(", ")?;
                    }
                    arg.write(f, 0)?;
                }
                f.write_str(")")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::loss::expr::parse;

    #[test]
    fn brackets_that_the_tree_needs_stay_and_others_go() {
        let cases = [
            ("k * (q / p)", "k * (q / p)"),
            ("k * q / p", "k * q / p"),
            ("(k * q) / p", "k * q / p"),
            ("k + (q + p) - (nll - 1)", "k + (q + p) - (nll - 1)"),
            ("-(-q) ^ 2", "-(-q) ^ 2"),
            ("(-q) * -(p)", "-q * -p"),
            ("(q ^ 2) ^ (3 ^ p)", "(q ^ 2) ^ 3 ^ p"),
        ];
        for (text, printed) in cases {
            assert_eq!(parse(text).unwrap().to_string(), printed);
        }
    }
}
