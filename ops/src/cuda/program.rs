//! A row program as CUDA code.

use crate::descriptor::{Binary, Descriptor, Input, Output, Read, Reduction, Roots, Step, Unary};

/// The steps and what leaves them, as one line of code. `scalar` tells the element type of an input.
pub(super) fn code(loss: &Descriptor, scalar: impl Fn(Input) -> &'static str) -> String {
    let steps = loss.steps.iter().enumerate();
    let steps = steps.map(|(k, step)| format!("double s{k} = {};", expression(step, &scalar)));
    let mut lines: Vec<String> = steps.collect();
    let root = |pick: fn(&Roots) -> Option<usize>| {
        let one = |roots: &Roots| pick(roots).map_or("0.0".to_owned(), |step| format!("s{step}"));
        format!("(masked ? mask : on ? {} : {})", one(&loss.on), one(&loss.off))
    };
    // An output that no one asked for has no place.
    let mut put = |to: &str, value: String| lines.push(format!("if ({to}) {to}[row] = (MATRIX){value};"));
    if loss.reduction == Reduction::None && loss.has(Output::Loss) {
        put("a.loss", root(|r| r.row_loss));
    }
    if loss.has(Output::RowLoss) {
        put("a.row_loss", root(|r| r.row_loss));
    }
    let entries = loss.outputs.iter().filter_map(|output| match output {
        Output::Entry(step) => Some(*step),
        _ => None,
    });
    for (k, step) in entries.enumerate() {
        put(&format!("a.entries[{k}]"), format!("(masked ? mask : s{step})"));
    }
    lines.push(format!("out->share = {};", root(|r| r.share)));
    lines.push(format!("out->others = {};", root(|r| r.others)));
    let own = "-out->others".to_owned();
    let label = |roots: &Roots| roots.label.map_or(own.clone(), |step| format!("s{step}"));
    lines.push(format!("out->label = masked ? mask : on ? {} : {};", label(&loss.on), label(&loss.off)));
    lines.push(format!("out->shift = {};", root(|r| r.shift)));
    lines.push(format!("out->by_norm = {};", root(|r| r.by_norm)));
    lines.join(" ")
}

/// A number, to all its digits.
pub(super) fn literal(value: f64) -> String {
    format!("__longlong_as_double(0x{:016x}LL)", value.to_bits())
}

fn expression(step: &Step, scalar: &impl Fn(Input) -> &'static str) -> String {
    match step {
        Step::Const(value) => literal(*value),
        Step::Read(Read::Parameter(index)) => {
            let of = scalar(Input::Parameter(*index));
            format!("(double)*(const {of}*)a.parameters[{index}]")
        }
        Step::Read(read) => reading(*read).to_owned(),
        Step::Unary(op, a) => unary(*op, &format!("s{a}")),
        Step::Binary(op, a, b) => binary(*op, &format!("s{a}"), &format!("s{b}")),
        Step::IfZero(a, x, y) => format!("s{a} == 0 ? s{x} : s{y}"),
    }
}

fn reading(read: Read) -> &'static str {
    match read {
        Read::Nll => "nll",
        Read::P => "p",
        Read::Q => "q",
        Read::Margin => "u",
        Read::FeatureL1 => "h",
        Read::ClassWeight => "class_weight",
        Read::MeanNll => "mean_nll",
        Read::Count => "count",
        Read::WeightSum => "weight_sum",
        Read::Upstream => "upstream",
        // A parameter is written where its type is known.
        Read::Parameter(_) => "0.0",
    }
}

fn unary(op: Unary, a: &str) -> String {
    match op {
        Unary::Neg => format!("-{a}"),
        Unary::Exp => format!("exp({a})"),
        Unary::Log => format!("log({a})"),
        Unary::Sqrt => format!("sqrt({a})"),
        Unary::Abs => format!("fabs({a})"),
        Unary::Sign => format!("{a} > 0 ? 1.0 : {a} < 0 ? -1.0 : {a}"),
        Unary::OneMinusExp => format!("-expm1({a})"),
    }
}

fn binary(op: Binary, a: &str, b: &str) -> String {
    match op {
        Binary::Add => format!("{a} + {b}"),
        Binary::Sub => format!("{a} - {b}"),
        Binary::Mul => format!("{a} * {b}"),
        Binary::Div => format!("{a} / {b}"),
        Binary::Pow => format!("pow({a}, {b})"),
        // NaN wins.
        Binary::Min => format!("{a} < {b} || {a} != {a} ? {a} : {b}"),
        Binary::Max => format!("{a} > {b} || {a} != {a} ? {a} : {b}"),
    }
}
