//! Formulas: whatever the text, it parses or tells an error at a place inside it; and what parses prints as a formula
//! that parses to the same tree.

#![no_main]

use ibgraph::loss::expr::{Expr, ExprKind, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match parse(text) {
        Ok(tree) => {
            let printed = tree.to_string();
            match parse(&printed) {
                Ok(again) => assert!(same(&tree, &again), "{text}\n{printed}\n{again}"),
                // Spaces and the brackets around a negative exponent may take it over the bounds of what is read.
                Err(error) => {
                    let bounded = ["longer than", "nests deeper"].iter().any(|m| error.message.contains(m));
                    assert!(bounded, "{text}\n{printed}\n{error}");
                }
            }
        }
        Err(error) => {
            assert!(error.span.start <= error.span.end && !error.message.is_empty());
            assert!(text.is_char_boundary(error.span.start) || error.span.start > text.len());
        }
    }
});

/// Equal but for places.
fn same(a: &Expr, b: &Expr) -> bool {
    match (&a.kind, &b.kind) {
        (ExprKind::Number(a), ExprKind::Number(b)) => a == b,
        (ExprKind::Name(a), ExprKind::Name(b)) => a == b,
        (ExprKind::Neg(a), ExprKind::Neg(b)) => same(a, b),
        (ExprKind::Binary(f, a, c), ExprKind::Binary(g, b, d)) => f == g && same(a, b) && same(c, d),
        (ExprKind::Call(f, a), ExprKind::Call(g, b)) => {
            f == g && a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        _ => false,
    }
}
