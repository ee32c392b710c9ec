//! A row program as text, for the fused operator.
//!
//! One step a line; operands are the numbers of earlier steps. The operator library of `ops` reads it, and refuses what it
//! does not know: a new step needs a new version of the text, `FORMAT` in `src/lower/fused.rs`.

use super::program::{RowInput, RowProgram, Step};
use crate::loss::Quantity;

/// The steps, one a line, each line with its end.
pub fn encode(program: &RowProgram) -> String {
    let mut text = String::new();
    for step in program.steps() {
        text += &line(step);
        text.push('\n');
    }
    text
}

fn line(step: &Step) -> String {
    match step {
        // Debug prints the shortest text that reads back as the same number.
        Step::Const(v) => format!("const {v:?}"),
        Step::Input(RowInput::Parameter(name)) => format!(":{name}"),
        Step::Input(RowInput::Quantity(quantity)) => quantity_name(*quantity).to_owned(),
        Step::Input(RowInput::Count) => "count".to_owned(),
        Step::Input(RowInput::WeightSum) => "weight_sum".to_owned(),
        Step::Input(RowInput::Upstream) => "loss_grad".to_owned(),
        Step::Unary(op, a) => format!("{} {}", op.name(), a.index()),
        Step::Binary(op, a, b) => {
            format!("{} {} {}", format!("{op:?}").to_lowercase(), a.index(), b.index())
        }
        Step::Min(a, b) => format!("min {} {}", a.index(), b.index()),
        Step::Max(a, b) => format!("max {} {}", a.index(), b.index()),
        Step::IfZero(a, x, y) => format!("if_zero {} {} {}", a.index(), x.index(), y.index()),
    }
}

fn quantity_name(quantity: Quantity) -> &'static str {
    let named = Quantity::ALL.iter().find(|(_, q)| *q == quantity);
    named.map(|(name, _)| *name).expect("every quantity has a name")
}
