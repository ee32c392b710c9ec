//! Printed formulas: they read back, and have the values of the reference.

use proptest::prelude::*;

use super::*;
use crate::loss::expr::{BinaryOp, ExprKind, Function, parse};
use crate::loss::reference::{Batch, evaluate};
use crate::loss::{Interface, LossSpec, Tables, builtin};
use crate::row::tests::formula as random_formula;

fn loss(yaml: &str) -> Loss {
    let spec = LossSpec::from_yaml("test.yaml", yaml).unwrap();
    let interface = Interface::new(2, &spec);
    let tables = Tables::new(&spec, None, Some(&[1.0; 2]), 2).unwrap();
    Loss::with_tables(spec, interface, tables).unwrap()
}

/// The value of a printed formula for one row, and the largest number met on the way to it.
struct Reader {
    u: f64,
    h: f64,
    largest: f64,
}

impl Reader {
    fn read(&mut self, text: &str) -> f64 {
        let expr = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        self.value(&expr)
    }

    fn value(&mut self, expr: &Expr) -> f64 {
        let e = self.u.exp();
        let value = match &expr.kind {
            ExprKind::Number(v) => *v,
            ExprKind::Name(name) => match name.as_str() {
                "nll" => e.ln_1p(),
                "p" => 1.0 / (1.0 + e),
                "q" => e / (1.0 + e),
                "margin" => self.u,
                "feature_l1" => self.h,
                other => panic!("{other} in a simplified formula"),
            },
            ExprKind::Neg(a) => -self.value(a),
            ExprKind::Binary(op, a, b) => {
                let (a, b) = (self.value(a), self.value(b));
                match op {
                    BinaryOp::Add => a + b,
                    BinaryOp::Sub => a - b,
                    BinaryOp::Mul => a * b,
                    BinaryOp::Div => a / b,
                    BinaryOp::Pow => a.powf(b),
                }
            }
            ExprKind::Call(function, args) => {
                let args: Vec<f64> = args.iter().map(|a| self.value(a)).collect();
                let a = args[0];
                match function {
                    Function::Exp => a.exp(),
                    Function::Log => a.ln(),
                    Function::Sqrt => a.sqrt(),
                    Function::Abs => a.abs(),
                    Function::Sign if a == 0.0 => 0.0,
                    Function::Sign => a.signum(),
                    Function::Min => a.min(args[1]),
                    Function::Max => a.max(args[1]),
                    Function::OneMinusExp => -a.exp_m1(),
                    Function::Stop => a,
                    Function::Pow => a.powf(args[1]),
                }
            }
        };
        self.largest = self.largest.max(value.abs());
        value
    }
}

fn text(formula: &Option<Expr>) -> String {
    formula.as_ref().unwrap().to_string()
}

fn at(formula: &Option<Expr>, u: f64, h: f64) -> f64 {
    Reader { u, h, largest: 1.0 }.read(&text(formula))
}

#[test]
fn the_influence_balanced_loss_reads_as_in_the_documentation() {
    let ib = loss(builtin::source("ib").unwrap());
    let formulas = formulas(&ib);
    assert_eq!(text(&formulas.row_loss), "500 * nll / (q * feature_l1 + 0.0005)");
    assert_eq!(
        text(&formulas.by_margin),
        "500 * q / (q * feature_l1 + 0.0005) \
         - 500 * nll * p * q * feature_l1 / (q * feature_l1 + 0.0005) ^ 2"
    );
    assert_eq!(text(&formulas.by_norm), "-500 * nll * q / (q * feature_l1 + 0.0005) ^ 2");
}

#[test]
fn signs_numbers_and_powers_read_naturally() {
    let cases = [
        ("1 - nll", "1 - nll"),
        ("nll - 0.5 * q", "nll - 0.5 * q"),
        ("-q - nll", "-q - nll"),
        ("-2 * q * q - nll - 3", "-nll - 2 * q ^ 2 - 3"),
        ("-(q + 1) * q", "-q * (q + 1)"),
        ("-1 / (q + 1)", "-1 / (q + 1)"),
        ("(-q) ^ 5", "(-q) ^ 5"),
        ("q ^ (-1.5)", "q ^ (-1.5)"),
        ("q / (p * (1 + nll))", "q / (p * (nll + 1))"),
        ("q ^ (p ^ 1.5)", "q ^ p ^ 1.5"),
        ("(q ^ p) ^ 1.5", "(q ^ p) ^ 1.5"),
        ("0.3 * q / 3", "0.1 * q"),
        ("1e-30 * max(q, 2e20)", "1e-30 * max(q, 2e20)"),
        ("nll * stop(p * q) - sign(margin)", "nll * stop(p * q) - sign(margin)"),
    ];
    for (source, printed) in cases {
        let formulas = formulas(&loss(&format!("name: t\nloss: {source}\n")));
        assert_eq!(text(&formulas.row_loss), printed, "{source}");
    }
}

#[test]
fn a_formula_that_would_be_too_long_is_none() {
    let mut yaml = "name: t\nrow:\n  a0: q\n".to_owned();
    for k in 1..10 {
        yaml.push_str(&format!("  a{k}: exp(a{0}) + log(a{0})\n", k - 1));
    }
    let formulas = formulas(&loss(&format!("{yaml}loss: a9\n")));
    assert_eq!(formulas.row_loss, None);
    assert_eq!(formulas.by_margin, None);
    assert_eq!(formulas.by_norm.unwrap().to_string(), "0");
}

/// Central differences at step s err by s² f'''/6 + eps f/s; at s = 1e-5 that is about 1e-10 of the loss's scale, and
/// the losses here have gradients within a factor 1e3 of it.
const CENTRAL_DIFFERENCE: f64 = 1e-6;
const STEP: f64 = 1e-5;

#[test]
fn printed_derivatives_are_the_slopes_of_the_printed_loss() {
    for name in builtin::names() {
        let formulas = formulas(&loss(builtin::source(name).unwrap()));
        for (u, h) in [(-4.0, 0.5), (-1.0, 2.0), (0.0, 1.0), (0.7, 32.0), (5.0, 3.0)] {
            let value = |u, h| at(&formulas.row_loss, u, h);
            let by_margin = (value(u + STEP, h) - value(u - STEP, h)) / (2.0 * STEP);
            let by_norm = (value(u, h + STEP) - value(u, h - STEP)) / (2.0 * STEP);
            let scale = value(u, h).abs();
            for (printed, slope) in [(&formulas.by_margin, by_margin), (&formulas.by_norm, by_norm)] {
                let got = at(printed, u, h);
                assert!((got - slope).abs() <= CENTRAL_DIFFERENCE * scale, "{name} {u} {h}: {got}, {slope}");
            }
        }
    }
}

/// Rounding through a few dozen operations, relative to the largest number among them.
const ROUNDING: f64 = 1e-11;

proptest! {
    /// Against dual numbers: what is printed reads back, and has the value that the formula had.
    #[test]
    fn printed_formulas_have_the_values_of_the_reference(
        source in random_formula(), u in -6.0..6.0f64, h in 0.1..4.0f64,
    ) {
        let loss = loss(&format!("name: random\nloss: class_weight * nll + ({source})\nreduction: sum\n"));
        let features = if loss.has_features() { vec![h] } else { vec![] };
        let batch = Batch { logits: vec![0.0, u], labels: vec![0], features, ..Batch::default() };
        let want = evaluate(&loss, &batch).unwrap();
        prop_assume!(want.loss[0].is_finite() && want.loss[0].abs() < 1e8);
        let formulas = formulas(&loss);
        let by_norm = want.features_grad.first().copied().unwrap_or(0.0);
        let pairs = [
            (&formulas.row_loss, want.loss[0]),
            (&formulas.by_margin, want.logits_grad[1]),
            (&formulas.by_norm, by_norm),
        ];
        for (printed, want) in pairs {
            // Random formulas may be longer than what is printed.
            let Some(printed) = printed else { continue };
            let mut reader = Reader { u, h, largest: 1.0 };
            let got = reader.read(&printed.to_string());
            prop_assert!((got - want).abs() <= ROUNDING * reader.largest, "{printed}: {got} and {want}");
        }
    }
}
