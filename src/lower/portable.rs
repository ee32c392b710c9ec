//! The portable lowering.
//!
//! One softmax over the other classes, one scalar program a row, and two rank-one updates:
//! logits_grad = ∂L/∂u · (r - onehot), features_grad = ∂L/∂h · sign(features).

use super::labels::{Labels, ones};
use super::margin::{Adjustment, Margin};
use super::ports::{Ports, stored};
use super::row::RowSources;
use crate::graph::{BinaryOp, Builder, Graph, Op, ReduceOp, UnaryOp, ValueId};
use crate::loss::metadata::{CLASS_WEIGHTS, LABEL_MARGIN, LOGIT_BIAS};
use crate::loss::{FeatureInput, Loss, Reduction};
use crate::row::{Compiled, Roots, StepId, compile};
use crate::tensor::DType;

pub(super) fn lower(loss: &Loss) -> Graph {
    let mut b = Builder::new(&loss.spec().name.replace(' ', "_"));
    let ports = Ports::declare(&mut b, loss);
    let outputs = outputs(&mut b, loss, &ports);
    b.finish(&outputs)
}

/// The outputs of the loss by name.
pub(super) fn outputs(b: &mut Builder, loss: &Loss, ports: &Ports) -> Vec<(String, ValueId)> {
    let logits = b.cast(ports.get("logits"), matrix_type(loss));
    let labels = Labels::new(b, loss.interface(), ports.get("labels"));
    let adjustment = Adjustment {
        scale: loss.scale(),
        bias: stored(b, LOGIT_BIAS, &loss.tables().logit_bias, DType::F64),
        margin: stored(b, LABEL_MARGIN, &loss.tables().label_margin, DType::F64),
    };
    let margin = Margin::new(b, logits, labels.class, &adjustment);
    let features = ports.find("features").map(|f| b.cast(f, matrix_type(loss)));
    let compiled = compile(loss);
    let sources = RowSources {
        loss,
        labels: &labels,
        margin: &margin,
        adjustment: &adjustment,
        features,
        class_weights: ports
            .find(CLASS_WEIGHTS)
            .or_else(|| stored(b, CLASS_WEIGHTS, &loss.tables().class_weights, DType::F64)),
        upstream: ports.find("loss_grad"),
        parameters: ports.0.clone(),
    };
    let steps = sources.lower(b, &compiled.program);
    let rows = Rows { steps, enabled: ports.find("enabled"), labels: &labels, margin: &margin };
    let mut outputs = Vec::new();
    for port in loss.outputs() {
        let value = match port.name.as_str() {
            "loss" => rows.loss(b, loss, &compiled),
            "row_loss" => rows.vector(b, loss, rows.root(&compiled, |r| r.row_loss)),
            "logits_grad" => rows.logits_grad(b, loss, &compiled),
            "features_grad" => rows.features_grad(b, loss, &compiled, features),
            entry => {
                let step = compiled.entries.iter().find(|(name, _)| name == entry).map(|(_, step)| *step);
                rows.vector(b, loss, (step, None))
            }
        };
        outputs.push((port.name, value));
    }
    outputs
}

/// Type of `[N, C]` and `[N, D]` arithmetic.
fn matrix_type(loss: &Loss) -> DType {
    loss.interface().scalar_dtype()
}

/// sign(a) as clip(a · largest number, -1, 1): exact for zeros and normal numbers, and a third of the time of ONNX
/// Runtime's `Sign`. A subnormal number, whose sign has no bearing on a norm, may get a fraction of its sign.
fn sign(b: &mut Builder, a: ValueId) -> ValueId {
    let dtype = b.ty(a).dtype;
    let largest = if dtype == DType::F64 { f64::MAX } else { f64::from(f32::MAX) };
    let [largest, low, high] = [largest, -1.0, 1.0].map(|v| b.scalar(dtype, v));
    let stretched = b.binary(BinaryOp::Mul, a, largest);
    b.node(Op::Clip, &[stretched, low, high])
}

/// The lowered row program.
struct Rows<'a> {
    steps: Vec<ValueId>,
    enabled: Option<ValueId>,
    labels: &'a Labels,
    margin: &'a Margin,
}

/// The step of a root with the loss on, and with it off.
type OnOff = (Option<StepId>, Option<StepId>);

impl Rows<'_> {
    fn root(&self, compiled: &Compiled, pick: fn(&Roots) -> Option<StepId>) -> OnOff {
        (pick(&compiled.roots), compiled.disabled.as_ref().and_then(pick))
    }

    /// A root as a column `[N, 1]`: selected by `enabled`, with rows masked that do not count.
    fn column(&self, b: &mut Builder, (on, off): OnOff) -> ValueId {
        let on = on.expect("a root that an output needs is compiled");
        let mut value = self.steps[on.index()];
        if let (Some(enabled), Some(off)) = (self.enabled, off) {
            // Selected, not blended: what is not finite in one branch stays out of the other.
            value = b.choose(enabled, value, self.steps[off.index()]);
        }
        if b.ty(value).rank() == 0 {
            let ones = ones(b, self.margin.any_column());
            value = b.binary(BinaryOp::Mul, ones, value);
        }
        self.labels.masked(b, value)
    }

    /// A root as an output `[N]`.
    fn vector(&self, b: &mut Builder, loss: &Loss, root: OnOff) -> ValueId {
        let column = self.column(b, root);
        let column = b.cast(column, loss.interface().scalar_dtype());
        b.squeeze_last(column)
    }

    fn loss(&self, b: &mut Builder, loss: &Loss, compiled: &Compiled) -> ValueId {
        if loss.interface().reduction == Reduction::None {
            return self.vector(b, loss, self.root(compiled, |r| r.row_loss));
        }
        let shares = self.column(b, self.root(compiled, |r| r.share));
        let mut total = b.reduce(ReduceOp::Sum, shares, None);
        if self.labels.ignored.is_some() && loss.interface().reduction != Reduction::Sum {
            // The mean of no rows is 0/0; ignored rows have the share 0, so it is added to 0/count.
            let count = self.labels.count(b, self.margin.any_column());
            let dtype = b.ty(total).dtype;
            let zero = b.scalar(dtype, 0.0);
            let nothing = b.binary(BinaryOp::Div, zero, count);
            total = b.binary(BinaryOp::Add, total, nothing);
        }
        b.cast(total, loss.interface().scalar_dtype())
    }

    fn logits_grad(&self, b: &mut Builder, loss: &Loss, compiled: &Compiled) -> ValueId {
        // Products with r are finite where the slope is; they saturate below.
        let largest = f64::from(f32::MAX);
        let column = |b: &mut Builder, pick| self.slope(b, loss, self.root(compiled, pick), largest);
        let (scaled, at_label) = if compiled.roots.smoothing.is_some() {
            let others = column(b, |r| r.smoothing.map(|s| s.others));
            let at_label = column(b, |r| r.smoothing.map(|s| s.label));
            let shift = column(b, |r| r.smoothing.map(|s| s.shift));
            let scaled = self.margin.spread(b, others);
            (b.binary(BinaryOp::Add, scaled, shift), at_label)
        } else {
            let slope = column(b, |r| r.by_margin);
            let at_label = b.unary(UnaryOp::Neg, slope);
            (self.margin.spread(b, slope), at_label)
        };
        let mut grad =
            b.node(Op::ScatterElements { axis: 1, add: false }, &[scaled, self.labels.class, at_label]);
        if let Some(ignored) = self.labels.ignored {
            // Softmax of a NaN row is NaN, and so is its product with 0.
            let zero = b.scalar(matrix_type(loss), 0.0);
            grad = b.choose(ignored, zero, grad);
        }
        if let Some(largest) = largest_of_half(loss.interface().dtype) {
            let [low, high] = [-largest, largest].map(|v| b.scalar(matrix_type(loss), v));
            grad = b.node(Op::Clip, &[grad, low, high]);
        }
        b.cast(grad, loss.interface().dtype)
    }

    fn features_grad(
        &self,
        b: &mut Builder,
        loss: &Loss,
        compiled: &Compiled,
        features: Option<ValueId>,
    ) -> ValueId {
        let largest = largest_of_half(loss.interface().dtype).unwrap_or(f64::MAX);
        let slope = self.slope(b, loss, self.root(compiled, |r| r.by_norm), largest);
        let features = features.expect("a loss with the output features_grad has the input features");
        let mut grad = match loss.interface().feature_input {
            FeatureInput::Raw => {
                let sign = sign(b, features);
                b.binary(BinaryOp::Mul, sign, slope)
            }
            FeatureInput::Norm => b.squeeze_last(slope),
            FeatureInput::NormColumn => slope,
        };
        if loss.interface().feature_input == FeatureInput::Raw {
            grad = self.without_idle_rows(b, loss, grad);
        }
        b.cast(grad, loss.interface().dtype)
    }

    /// Zeros where a row is ignored or the loss is off, whatever the features are there.
    fn without_idle_rows(&self, b: &mut Builder, loss: &Loss, grad: ValueId) -> ValueId {
        let zero = b.scalar(matrix_type(loss), 0.0);
        let mut grad = grad;
        if let Some(enabled) = self.enabled {
            grad = b.choose(enabled, grad, zero);
        }
        if let Some(ignored) = self.labels.ignored {
            grad = b.choose(ignored, zero, grad);
        }
        grad
    }

    /// A derivative in the matrix type, `[N, 1]`. For half types it is bounded by `largest`.
    fn slope(&self, b: &mut Builder, loss: &Loss, root: OnOff, largest: f64) -> ValueId {
        let mut slope = self.column(b, root);
        if largest_of_half(loss.interface().dtype).is_some() {
            let dtype = b.ty(slope).dtype;
            let [low, high] = [-largest, largest].map(|v| b.scalar(dtype, v));
            slope = b.binary(BinaryOp::Max, slope, low);
            slope = b.binary(BinaryOp::Min, slope, high);
        }
        b.cast(slope, matrix_type(loss))
    }
}

/// Where a half type saturates; `None` for other types.
fn largest_of_half(dtype: DType) -> Option<f64> {
    match dtype {
        DType::F16 => Some(half::f16::MAX.to_f64()),
        DType::BF16 => Some(half::bf16::MAX.to_f64()),
        _ => None,
    }
}
