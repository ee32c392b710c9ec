//! The direct lowering: the formula op by op as published, in the type of the logits, with the backward that
//! differentiating it op by op gives.
//!
//! What a framework does, and so the baseline to measure the other lowerings against. It has their ports; it does not
//! have their accuracy: 1 - p cancels, and what is not finite in an ignored row may reach the loss.

use std::collections::HashMap;

use super::labels::{Labels, ones};
use super::ports::Ports;
use crate::autodiff;
use crate::graph::{BinaryOp, Builder, Graph, Op, ReduceOp, ValueId};
use crate::loss::{Loss, Quantity, Reduction};
use crate::tensor::DType;

mod expr;
mod quantities;

pub(super) fn lower(loss: &Loss) -> Graph {
    let mut b = Builder::new(&loss.spec().name.replace(' ', "_"));
    let ports = Ports::declare(&mut b, loss);
    let dtype = loss.interface().scalar_dtype();
    let labels = Labels::new(&mut b, loss.interface(), ports.get("labels"));
    let logits = b.cast(ports.get("logits"), dtype);
    let features = ports.find("features").map(|f| b.cast(f, dtype));
    let mut formula =
        Formula { b, loss, ports, labels, dtype, logits, features, values: HashMap::new(), stopped: vec![] };
    let row_loss = formula.row_loss();
    let total = formula.total(row_loss);
    let mut outputs = Vec::new();
    let gradients = formula.gradients(row_loss, total);
    for port in loss.outputs() {
        let value = match port.name.as_str() {
            "loss" => total,
            "row_loss" => formula.vector(row_loss),
            "logits_grad" => gradients[0],
            "features_grad" => gradients[1],
            entry => {
                let column = formula.name(entry);
                formula.vector(column)
            }
        };
        outputs.push((port.name, value));
    }
    formula.b.finish(&outputs)
}

struct Formula<'a> {
    b: Builder,
    loss: &'a Loss,
    ports: Ports,
    labels: Labels,
    dtype: DType,
    /// `[N, C]`
    logits: ValueId,
    features: Option<ValueId>,
    /// Names as columns `[N, 1]` or scalars.
    values: HashMap<String, ValueId>,
    /// Values that the backward holds constant.
    stopped: Vec<ValueId>,
}

impl Formula<'_> {
    /// `[N, 1]`, 0 in rows that do not count.
    fn row_loss(&mut self) -> ValueId {
        let mut value = self.expr(&self.loss.spec().loss.expr);
        if let Some(enabled) = self.ports.find("enabled") {
            let plain = self.quantity(Quantity::Nll);
            value = self.b.choose(enabled, value, plain);
        }
        let value = self.column(value);
        self.labels.masked(&mut self.b, value)
    }

    /// A column `[N, 1]`, also of a scalar.
    fn column(&mut self, value: ValueId) -> ValueId {
        if self.b.ty(value).rank() > 0 {
            return value;
        }
        let nll = self.quantity(Quantity::Nll);
        let ones = ones(&mut self.b, nll);
        self.stopped.push(ones);
        self.b.binary(BinaryOp::Mul, ones, value)
    }

    /// A column as an output `[N]`.
    fn vector(&mut self, column: ValueId) -> ValueId {
        let column = self.column(column);
        let column = self.labels.masked(&mut self.b, column);
        self.b.squeeze_last(column)
    }

    /// The loss: [], or `[N]` where it is not reduced.
    fn total(&mut self, row_loss: ValueId) -> ValueId {
        let reduction = self.loss.interface().reduction;
        match reduction {
            Reduction::None => self.b.squeeze_last(row_loss),
            Reduction::Mean if self.labels.ignored.is_none() => self.b.reduce(ReduceOp::Mean, row_loss, None),
            Reduction::Sum => self.b.reduce(ReduceOp::Sum, row_loss, None),
            Reduction::Mean | Reduction::WeightedMean => {
                let sum = self.b.reduce(ReduceOp::Sum, row_loss, None);
                let divisor = self.divisor(row_loss, reduction);
                self.b.binary(BinaryOp::Div, sum, divisor)
            }
        }
    }

    /// The number of rows that count, or the sum of their weights; a constant to the backward.
    fn divisor(&mut self, row_loss: ValueId, reduction: Reduction) -> ValueId {
        let count = self.labels.count(&mut self.b, row_loss);
        let mut divisor = self.b.cast(count, self.dtype);
        if reduction == Reduction::WeightedMean {
            let weight = self.quantity(Quantity::ClassWeight);
            let weight = self.column(weight);
            let weight = self.labels.masked(&mut self.b, weight);
            let sum = self.b.reduce(ReduceOp::Sum, weight, None);
            divisor = match self.ports.find("enabled") {
                Some(enabled) => self.b.choose(enabled, sum, divisor),
                None => sum,
            };
        }
        self.stopped.push(divisor);
        divisor
    }

    /// Gradients of logits and features in the interface's type; of the logits alone where there are no features.
    fn gradients(&mut self, row_loss: ValueId, total: ValueId) -> Vec<ValueId> {
        if !self.loss.interface().has_backward() {
            return Vec::new();
        }
        let seed = match self.ports.find("loss_grad") {
            Some(upstream) => {
                let upstream = self.b.cast(upstream, self.dtype);
                let column = self.b.unsqueeze_last(upstream);
                (row_loss, column)
            }
            None if self.b.ty(total).rank() == 0 => (total, self.b.scalar(self.dtype, 1.0)),
            None => (row_loss, ones(&mut self.b, row_loss)),
        };
        let wanted: Vec<ValueId> = [self.logits].into_iter().chain(self.features).collect();
        let found = autodiff::backward(&mut self.b, &[seed], &wanted, &self.stopped);
        let found = found.expect("every operator of a formula has a rule");
        let pairs: Vec<_> = wanted.into_iter().zip(found).collect();
        pairs.into_iter().map(|(value, gradient)| self.port(value, gradient)).collect()
    }

    /// A gradient as an output: masked, and within the range of a half type.
    fn port(&mut self, value: ValueId, gradient: Option<ValueId>) -> ValueId {
        let b = &mut self.b;
        let zero = b.scalar(self.dtype, 0.0);
        let mut gradient = gradient.unwrap_or_else(|| b.binary(BinaryOp::Mul, value, zero));
        if b.ty(gradient).rank() == 2 {
            gradient = self.labels.masked(b, gradient);
        } else if self.labels.ignored.is_some() || self.labels.invalid.is_some() {
            let column = b.unsqueeze_last(gradient);
            let column = self.labels.masked(b, column);
            gradient = b.squeeze_last(column);
        }
        let dtype = self.loss.interface().dtype;
        let largest = match dtype {
            DType::F16 => half::f16::MAX.to_f64(),
            DType::BF16 => half::bf16::MAX.to_f64(),
            _ => return gradient,
        };
        let [low, high] = [-largest, largest].map(|v| b.scalar(self.dtype, v));
        let bounded = b.node(Op::Clip, &[gradient, low, high]);
        b.cast(bounded, dtype)
    }
}
