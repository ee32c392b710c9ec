//! The fused operator on CUDA: its source, written for a loss, its compilation, and its launches.
//!
//! [`Plan`] says how rows are spread over threads, [`source`] writes the kernels, [`code`] has them compiled by NVRTC and
//! keeps what it made, and `launch` runs them on a stream. Neither the driver nor NVRTC is linked: `libraries` finds
//! them where there is a device.
//!
//! The row program becomes straight-line code, so that nothing is interpreted on the device; types, sizes and options
//! become macros above the sources of `cuda/kernels`. Labels that are no class make their row NaN: a device raises no
//! errors. Invariant: equal losses and types give equal sources.

mod arguments;
mod cache;
mod compile;
mod driver;
mod launch;
mod libraries;
mod nvrtc;
mod plan;
mod program;

pub use compile::code;
pub use libraries::open_nvrtc;
pub use nvrtc::{Nvrtc, Target};
pub use plan::{Plan, Shape};

pub(crate) use arguments::Slot;
pub(crate) use launch::{Kernels, Launch, device};

use arguments::arguments;

use crate::descriptor::{Descriptor, FeatureInput, Input, Output, Read, Reduction};

/// Why the operator does not run on a device: a library that is missing, or what the compiler or the driver says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CudaError(pub String);

impl std::fmt::Display for CudaError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CudaError {}

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

impl Kind {
    /// Bytes of an element.
    pub fn size(self) -> usize {
        match self {
            Kind::F32 => 4,
            Kind::F64 => 8,
            Kind::F16 | Kind::BF16 => 2,
        }
    }

    /// Elements of a vector of 16 bytes.
    fn width(self) -> usize {
        16 / self.size()
    }

    /// Bytes of a number of the type that arithmetic is in.
    fn arithmetic(self) -> usize {
        self.size().max(4)
    }
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

/// The source of a loss's kernels: `batch` and `total`, of one block, and `rows`.
pub fn source(loss: &Descriptor, types: &Types, plan: &Plan) -> String {
    let mut text = String::new();
    let mut define = |name: &str, value: &dyn std::fmt::Display| text += &format!("#define {name} {value}\n");
    types_of(&mut define, loss, types);
    sizes_of(&mut define, loss, plan);
    options_of(&mut define, loss);
    define("PROGRAM", &program::code(loss, |input| scalar(loss, types, input)));
    let logits = match plan.shape {
        Shape::Streamed => include_str!("cuda/kernels/streamed.cu"),
        Shape::Warp | Shape::Block => include_str!("cuda/kernels/kept.cu"),
    };
    let [types, reduce, access, rows] = [
        include_str!("cuda/kernels/types.cu"),
        include_str!("cuda/kernels/reduce.cu"),
        include_str!("cuda/kernels/access.cu"),
        include_str!("cuda/kernels/rows.cu"),
    ];
    [&text, types, reduce, access, logits, rows].join("\n")
}

/// Whether the kernel `batch` runs: something needs the number of rows that count, where that is not N, or their weights.
pub fn needs_batch(loss: &Descriptor) -> bool {
    let counts = loss.reads(Read::Count) || loss.reduction == Reduction::Mean;
    loss.reads(Read::WeightSum) || loss.ignore_index.is_some() && counts
}

/// Whether the kernel `total` runs.
pub fn has_total(loss: &Descriptor) -> bool {
    loss.has(Output::Loss) && loss.reduction != Reduction::None
}

type Define<'a> = dyn FnMut(&str, &dyn std::fmt::Display) + 'a;

fn types_of(define: &mut Define<'_>, loss: &Descriptor, types: &Types) {
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
}

fn sizes_of(define: &mut Define<'_>, loss: &Descriptor, plan: &Plan) {
    let entries = loss.outputs.iter().filter(|o| matches!(o, Output::Entry(_))).count();
    define("PARAMETERS", &loss.parameters().max(1));
    define("ENTRIES", &entries.max(1));
    define("CLASSES", &format!("{}LL", loss.classes));
    define("ARGUMENTS", &arguments::declarations(loss));
    define("ARGUMENT_COUNT", &arguments(loss).len());
    define("THREADS", &plan.threads);
    define("LANES", &plan.lanes());
    define("SLOTS", &plan.slots);
    define("FEATURE_SLOTS", &plan.feature_slots);
    define("STREAMED", &u8::from(plan.shape == Shape::Streamed));
}

fn options_of(define: &mut Define<'_>, loss: &Descriptor) {
    let mut flag = |name: &str, value: bool| define(name, &u8::from(value));
    let raw = loss.features == FeatureInput::Raw;
    flag("HAS_IGNORE", loss.ignore_index.is_some());
    flag("IS_MEAN", loss.reduction == Reduction::Mean);
    flag("IS_RAW", raw);
    flag("HAS_BIAS", loss.position(Input::LogitBias).is_some());
    flag("IS_SMOOTHED", loss.reads(Read::MeanNll));
    flag("READS_NORM", loss.reads(Read::FeatureL1));
    flag("USES_FEATURES", raw && loss.position(Input::Features).is_some());
    flag("NEEDS_BATCH", needs_batch(loss));
    flag("HAS_TOTAL", has_total(loss));
    define("SCALE", &program::literal(loss.scale));
    define("IGNORE", &format!("(i64)({}ULL)", loss.ignore_index.unwrap_or(0) as u64));
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
