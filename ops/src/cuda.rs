//! The fused operator as CUDA source.
//!
//! The row program becomes straight-line code, so that nothing is interpreted on the device; types, sizes and options
//! become macros, and `rows.cu` is the rest. Labels that are no class make their row NaN: a device raises no errors.

mod program;

use crate::descriptor::{Descriptor, FeatureInput, Input, Output, Read, Reduction};

/// Element types of a kernel, which its source is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// float32
    F32,
    /// float64
    F64,
    /// float16
    F16,
    /// bfloat16
    BF16,
}

/// What a kernel's inputs are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Types {
    /// Of logits, features and their gradients.
    pub element: Kind,
    /// Whether labels are int64; else int32.
    pub long_labels: bool,
    /// Whether loss_grad, class weights, biases, margins and parameters are float64; else float32. In the order of the
    /// loss's inputs.
    pub double: Vec<bool>,
}

const ROWS: &str = include_str!("cuda/rows.cu");

/// The source of a loss's kernels: `batch`, `rows` (a block a row) and `total`, in this order.
pub fn source(loss: &Descriptor, types: &Types) -> String {
    let mut text = String::new();
    let mut define = |name: &str, value: &dyn std::fmt::Display| text += &format!("#define {name} {value}\n");
    let [element, matrix, widen, narrow, exp, largest] = spelling(types.element);
    define("ELEMENT", &element);
    define("MATRIX", &matrix);
    define("WIDEN(x)", &widen);
    define("NARROW(x)", &narrow);
    define("EXP(x)", &exp);
    define("LARGEST", &largest);
    define("FLOAT_LARGEST", &"3.4028234663852886e38");
    define("LABEL", &if types.long_labels { "long long" } else { "int" });
    let tables = [
        ("T_LOSS_GRAD", Input::LossGrad),
        ("T_CLASS_WEIGHTS", Input::ClassWeights),
        ("T_LOGIT_BIAS", Input::LogitBias),
        ("T_LABEL_MARGIN", Input::LabelMargin),
    ];
    for (name, input) in tables {
        define(name, &scalar(loss, types, input));
    }
    let entries = loss.outputs.iter().filter(|o| matches!(o, Output::Entry(_))).count();
    define("PARAMETERS", &loss.parameters().max(1));
    define("ENTRIES", &entries.max(1));
    define("CLASSES", &format!("{}LL", loss.classes));
    define("SCALE", &program::literal(loss.scale));
    define("HAS_IGNORE", &u8::from(loss.ignore_index.is_some()));
    define("IGNORE", &format!("(i64)({}ULL)", loss.ignore_index.unwrap_or(0) as u64));
    define("IS_MEAN", &u8::from(loss.reduction == Reduction::Mean));
    define("IS_RAW", &u8::from(loss.features == FeatureInput::Raw));
    define("IS_PLAIN", &u8::from(loss.scale == 1.0 && loss.position(Input::LogitBias).is_none()));
    define("IS_SMOOTHED", &u8::from(loss.reads(Read::MeanNll)));
    define("READS_NORM", &u8::from(loss.reads(Read::FeatureL1)));
    define("PROGRAM", &program::code(loss, |input| scalar(loss, types, input)));
    text + ROWS
}

fn scalar(loss: &Descriptor, types: &Types, input: Input) -> &'static str {
    let double = loss.position(input).and_then(|index| types.double.get(index));
    if double.copied().unwrap_or(false) { "double" } else { "float" }
}

/// Type in memory, type of arithmetic, conversions, exponential, and where gradients saturate (0: nowhere).
fn spelling(kind: Kind) -> [&'static str; 6] {
    match kind {
        Kind::F32 => ["float", "float", "(x)", "(x)", "expf(x)", "0.0"],
        Kind::F64 => ["double", "double", "(x)", "(x)", "exp(x)", "0.0"],
        Kind::F16 => ["unsigned short", "float", "widen_half(x)", "narrow_half(x)", "expf(x)", "65504.0"],
        Kind::BF16 => {
            let largest = "338953138925153547590470800371487866880.0";
            ["unsigned short", "float", "widen_brain(x)", "narrow_brain(x)", "expf(x)", largest]
        }
    }
}
