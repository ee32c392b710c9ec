//! Lowerings for ONNX Runtime's training, which differentiates the graph itself.
//!
//! Beside the portable lowering: one output, `loss` []. What is differentiated is in float32 alone, and in operators that
//! ONNX Runtime Training 1.19 has gradients for; whatever else is needed stands behind a [`Op::Stop`]. Invariant: the
//! gradient that reverse mode finds for the logits and the features is that of the loss, and no row that does not count
//! takes part in it.

use super::labels::{Labels, ones};
use super::margin::Adjustment;
use super::portable;
use super::ports::{Ports, stored};
use crate::graph::{BinaryOp, Builder, CompareOp, Graph, Op, ReduceOp, ValueId};
use crate::loss::metadata::{CLASS_WEIGHTS, LABEL_MARGIN, LOGIT_BIAS};
use crate::loss::{ClassWeighting, FeatureInput, Interface, InterfaceError, Loss, Quantity, Reduction};
use crate::tensor::DType;

mod depends;
mod formula;
mod narrow;
mod quantities;

use depends::depends_on;
use formula::Evaluator;
use quantities::Quantities;

/// A loss that ONNX Runtime's training cannot take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrainableError {
    /// One loss a row.
    #[error(
        "a reduction of none gives one loss a row, and training needs one number; choose mean, weighted-mean or sum"
    )]
    NotReduced,
    /// A float64 graph.
    #[error("ONNX Runtime's training takes no float64 loss; use a float32 model")]
    Float64,
    /// Nothing to differentiate.
    #[error(
        "the loss `{0}` lets no gradient through to logits or features, so nothing could be trained by it"
    )]
    Constant(String),
    /// Options that contradict each other.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
}

/// A loss with the one output `loss`, as both lowerings take it.
fn prepared(loss: &Loss) -> Result<Loss, TrainableError> {
    if loss.interface().reduction == Reduction::None {
        return Err(TrainableError::NotReduced);
    }
    if loss.interface().dtype == DType::F64 {
        return Err(TrainableError::Float64);
    }
    Ok(loss.with_outputs(&["loss"])?)
}

/// The loss in operators that reverse mode goes through.
pub(super) fn lower(loss: &Loss) -> Result<Graph, TrainableError> {
    let loss = &prepared(loss)?;
    let mut b = Builder::new(&loss.spec().name.replace(' ', "_"));
    let ports = Ports::declare(&mut b, loss);
    let value = Lowering::new(&mut b, loss, &ports).loss(&mut b);
    finish(b, loss, &ports, value)
}

/// A surrogate whose value is the loss and whose gradient is the compiled one:
/// S = Σ logits · stop(logits_grad) + Σ features · stop(features_grad), loss = (S - stop(S)) + stop(L).
pub(super) fn explicit(loss: &Loss) -> Result<Graph, TrainableError> {
    // The surrogate of a loss without a gradient would train nothing, in silence.
    lower(loss)?;
    let loss = &prepared(loss)?;
    let mut b = Builder::new(&loss.spec().name.replace(' ', "_"));
    let ports = Ports::declare(&mut b, loss);
    let inner = Loss::with_tables(
        loss.spec().clone(),
        Interface { dtype: DType::F32, outputs: Vec::new(), ..loss.interface().clone() },
        loss.tables().clone(),
    )?;
    let wide = Ports(ports.0.iter().map(|(name, id)| (name.clone(), widened(&mut b, *id))).collect());
    let mut surrogate: Option<ValueId> = None;
    let mut value = None;
    for (name, output) in portable::outputs(&mut b, &inner, &wide) {
        let output = b.node(Op::Stop { essential: true }, &[output]);
        match name.strip_suffix("_grad") {
            Some(of) => {
                let product = linear(&mut b, wide.get(of), output);
                surrogate = Some(match surrogate {
                    Some(sum) => b.binary(BinaryOp::Add, sum, product),
                    None => product,
                });
            }
            None => value = Some(output),
        }
    }
    let surrogate = surrogate.expect("every loss has logits_grad without flags");
    let value = value.expect("every loss has loss without flags");
    let stopped = b.node(Op::Stop { essential: true }, &[surrogate]);
    let nothing = b.binary(BinaryOp::Sub, surrogate, stopped);
    let value = b.binary(BinaryOp::Add, nothing, value);
    finish(b, loss, &ports, value)
}

fn finish(b: Builder, loss: &Loss, ports: &Ports, value: ValueId) -> Result<Graph, TrainableError> {
    let graph = b.finish(&[("loss".to_owned(), value)]);
    let sources: Vec<ValueId> =
        ["logits", "features"].into_iter().filter_map(|name| ports.find(name)).collect();
    if depends_on(&graph, &sources) {
        Ok(graph)
    } else {
        Err(TrainableError::Constant(loss.spec().name.clone()))
    }
}

/// Half types as float32; others as they are.
fn widened(b: &mut Builder, id: ValueId) -> ValueId {
    match b.ty(id).dtype {
        DType::F16 | DType::BF16 => b.cast(id, DType::F32),
        _ => id,
    }
}

/// Σ value · slope, where a slope of 0 lets nothing of the value in: an infinite logit may have one.
fn linear(b: &mut Builder, value: ValueId, slope: ValueId) -> ValueId {
    let zero = b.scalar(DType::F32, 0.0);
    let idle = b.compare(CompareOp::Equal, slope, zero);
    let value = b.choose(idle, zero, value);
    let product = b.binary(BinaryOp::Mul, value, slope);
    b.reduce(ReduceOp::Sum, product, None)
}

/// What the loss is made from.
struct Lowering<'a> {
    loss: &'a Loss,
    ports: &'a Ports,
    labels: Labels,
    quantities: Quantities,
    /// float32 `[N, 1]`, whose values do not matter
    any: ValueId,
}

impl<'a> Lowering<'a> {
    fn new(b: &mut Builder, loss: &'a Loss, ports: &'a Ports) -> Self {
        let labels = Labels::new(b, loss.interface(), ports.get("labels"));
        let any = b.cast(labels.class, DType::F32);
        let logits = widened(b, ports.get("logits"));
        let logits = counted(b, &labels, logits, 0.0);
        let adjustment = Adjustment {
            scale: loss.scale(),
            bias: stored(b, LOGIT_BIAS, &loss.tables().logit_bias, DType::F32),
            margin: stored(b, LABEL_MARGIN, &loss.tables().label_margin, DType::F32),
        };
        let class_weights = ports
            .find(CLASS_WEIGHTS)
            .or_else(|| stored(b, CLASS_WEIGHTS, &loss.tables().class_weights, DType::F32));
        let feature_norm = feature_norm(b, loss, ports, &labels);
        let ones = ones(b, any);
        let quantities = Quantities::new(b, loss, [logits, labels.class, ones], adjustment)
            .with_row_inputs(feature_norm, class_weights);
        Self { loss, ports, labels, quantities, any }
    }

    /// The reduced loss, [].
    fn loss(&self, b: &mut Builder) -> ValueId {
        let interface = self.loss.interface();
        let rows = Evaluator::new(self.loss, &self.quantities, &self.ports.0).loss(b);
        let on = self.reduced(b, rows, interface.reduction);
        let Some(enabled) = self.ports.find("enabled") else {
            return on;
        };
        let reduction = match interface.reduction {
            Reduction::WeightedMean => Reduction::Mean,
            other => other,
        };
        let nll = self.quantities.read(b, Quantity::Nll);
        let off = self.reduced(b, nll, reduction);
        b.choose(enabled, on, off)
    }

    fn reduced(&self, b: &mut Builder, rows: ValueId, reduction: Reduction) -> ValueId {
        let total = self.sum(b, rows);
        let weighted = self.loss.interface().class_weighting != ClassWeighting::None;
        let divisor = match reduction {
            Reduction::Sum | Reduction::None => return total,
            Reduction::WeightedMean if weighted => {
                let weights = self.quantities.read(b, Quantity::ClassWeight);
                self.sum(b, weights)
            }
            Reduction::WeightedMean | Reduction::Mean => self.labels.count(b, self.any),
        };
        b.binary(BinaryOp::Div, total, divisor)
    }

    /// Sum over the rows that count; NaN where the label of one is no class, with NaN for that row's gradient.
    fn sum(&self, b: &mut Builder, rows: ValueId) -> ValueId {
        let mut rows = rows;
        if b.ty(rows).rank() == 0 {
            let ones = ones(b, self.any);
            rows = b.binary(BinaryOp::Mul, ones, rows);
        }
        if let Some(invalid) = self.labels.invalid {
            let [nan, one] = [f64::NAN, 1.0].map(|v| b.scalar(DType::F32, v));
            let factor = b.choose(invalid, nan, one);
            rows = b.binary(BinaryOp::Mul, rows, factor);
        }
        let rows = counted(b, &self.labels, rows, 0.0);
        b.reduce(ReduceOp::Sum, rows, None)
    }
}

/// `value`, with `fill` in rows that do not count. The selection comes before any arithmetic, so that nothing that is
/// not finite there reaches the gradient by way of a product with 0.
fn counted(b: &mut Builder, labels: &Labels, value: ValueId, fill: f64) -> ValueId {
    match labels.ignored {
        Some(ignored) => {
            let fill = b.scalar(DType::F32, fill);
            b.choose(ignored, fill, value)
        }
        None => value,
    }
}

/// ‖features‖₁ `[N, 1]`; `None` where the loss does not use the features. Where they do not matter they are 1, at which
/// formulas such as a logarithm are finite.
fn feature_norm(b: &mut Builder, loss: &Loss, ports: &Ports, labels: &Labels) -> Option<ValueId> {
    let mut features = widened(b, ports.find("features")?);
    if loss.interface().feature_input == FeatureInput::Norm {
        features = b.unsqueeze_last(features);
    }
    features = counted(b, labels, features, 1.0);
    if let Some(enabled) = ports.find("enabled") {
        let one = b.scalar(DType::F32, 1.0);
        features = b.choose(enabled, features, one);
    }
    Some(match loss.interface().feature_input {
        FeatureInput::Raw => {
            let magnitudes = b.unary(crate::graph::UnaryOp::Abs, features);
            b.reduce(ReduceOp::Sum, magnitudes, Some(1))
        }
        FeatureInput::Norm | FeatureInput::NormColumn => features,
    })
}
