//! Labels: which class a row gathers, which rows count, and which are out of range.

use crate::graph::{BinaryOp, Builder, CompareOp, Op, ReduceOp, UnaryOp, ValueId};
use crate::loss::Interface;

/// The labels of a batch, as columns `[N, 1]`.
pub(super) struct Labels {
    /// int64, safe to gather with.
    pub class: ValueId,
    /// bool, rows that do not count; `None` without an ignore index.
    pub ignored: Option<ValueId>,
    /// bool, rows whose label is no class; `None` unless labels are checked.
    pub invalid: Option<ValueId>,
}

impl Labels {
    pub fn new(b: &mut Builder, interface: &Interface, labels: ValueId) -> Self {
        let column = b.unsqueeze_last(labels);
        let ignored = interface.ignore_index.map(|index| {
            let index = b.integer(index);
            b.compare(CompareOp::Equal, column, index)
        });
        let invalid = interface.check_labels.then(|| invalid(b, interface.classes, column, ignored));
        let zero = b.integer(0);
        // Engines differ on what a label out of range does, so a row that is not to be gathered gathers class 0.
        let mut class = column;
        for rows in [ignored, invalid].into_iter().flatten() {
            class = b.choose(rows, zero, class);
        }
        Self { class, ignored, invalid }
    }

    /// `value` `[N, 1]` with 0 in rows that do not count, and NaN in rows whose label is no class.
    pub fn masked(&self, b: &mut Builder, value: ValueId) -> ValueId {
        let mut value = value;
        let dtype = b.ty(value).dtype;
        for (rows, fill) in [(self.invalid, f64::NAN), (self.ignored, 0.0)] {
            if let Some(rows) = rows {
                let fill = b.scalar(dtype, fill);
                value = b.choose(rows, fill, value);
            }
        }
        value
    }

    /// Number of rows that count, []. `any` is any float column `[N, 1]`.
    ///
    /// Not from the shape: ONNX Runtime keeps shapes on the host, and dividing by one would copy between devices.
    pub fn count(&self, b: &mut Builder, any: ValueId) -> ValueId {
        let ones = match self.ignored {
            Some(ignored) => {
                let counts = b.unary(UnaryOp::Not, ignored);
                b.cast(counts, b.ty(any).dtype)
            }
            None => ones(b, any),
        };
        b.reduce(ReduceOp::Sum, ones, None)
    }
}

/// A column of ones: x⁰ is 1 for every x, also for NaN and infinity (IEEE 754-2019, 9.2.1).
pub(super) fn ones(b: &mut Builder, any: ValueId) -> ValueId {
    let dtype = b.ty(any).dtype;
    let zero = b.scalar(dtype, 0.0);
    b.binary(BinaryOp::Pow, any, zero)
}

fn invalid(b: &mut Builder, classes: usize, column: ValueId, ignored: Option<ValueId>) -> ValueId {
    let (zero, end) = (b.integer(0), b.integer(classes as i64));
    let from_zero = b.compare(CompareOp::GreaterOrEqual, column, zero);
    let below_end = b.compare(CompareOp::Less, column, end);
    let valid = b.node(Op::And, &[from_zero, below_end]);
    let invalid = b.unary(UnaryOp::Not, valid);
    match ignored {
        Some(ignored) => {
            let counts = b.unary(UnaryOp::Not, ignored);
            b.node(Op::And, &[invalid, counts])
        }
        None => invalid,
    }
}
