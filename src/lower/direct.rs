//! The direct lowering: the formula op by op as published, in the type of the logits, with the backward that
//! differentiating it op by op gives.
//!
//! What a framework does, and so the baseline to measure the other lowerings against. It has their ports; it does not
//! have their accuracy: 1 - p cancels, and what is not finite in an ignored row may reach the loss.

use std::collections::HashMap;

use super::labels::{Labels, ones};
use super::ports::{Ports, stored};
use crate::autodiff;
use crate::graph::{BinaryOp, Builder, Graph, Op, ReduceOp, UnaryOp, ValueId};
use crate::loss::expr::{self, Expr, ExprKind, Function};
use crate::loss::metadata::{CLASS_WEIGHTS, LABEL_MARGIN, LOGIT_BIAS};
use crate::loss::{FeatureInput, Loss, Quantity, Reduction};
use crate::tensor::{DType, Tensor, TensorData};

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

    fn expr(&mut self, expr: &Expr) -> ValueId {
        match &expr.kind {
            ExprKind::Number(value) => self.b.scalar(self.dtype, *value),
            ExprKind::Name(name) => self.name(name),
            ExprKind::Neg(a) => {
                let a = self.expr(a);
                self.b.unary(UnaryOp::Neg, a)
            }
            ExprKind::Binary(op, a, c) => {
                let (a, c) = (self.expr(a), self.expr(c));
                let op = match op {
                    expr::BinaryOp::Add => BinaryOp::Add,
                    expr::BinaryOp::Sub => BinaryOp::Sub,
                    expr::BinaryOp::Mul => BinaryOp::Mul,
                    expr::BinaryOp::Div => BinaryOp::Div,
                    expr::BinaryOp::Pow => BinaryOp::Pow,
                };
                self.b.binary(op, a, c)
            }
            ExprKind::Call(function, args) => {
                let args: Vec<ValueId> = args.iter().map(|a| self.expr(a)).collect();
                self.call(*function, &args)
            }
        }
    }

    fn call(&mut self, function: Function, args: &[ValueId]) -> ValueId {
        let a = args[0];
        match function {
            Function::Exp => self.b.unary(UnaryOp::Exp, a),
            Function::Log => self.b.unary(UnaryOp::Log, a),
            Function::Sqrt => self.b.unary(UnaryOp::Sqrt, a),
            Function::Abs => self.b.unary(UnaryOp::Abs, a),
            Function::Sign => self.b.unary(UnaryOp::Sign, a),
            Function::Min => self.b.binary(BinaryOp::Min, a, args[1]),
            Function::Max => self.b.binary(BinaryOp::Max, a, args[1]),
            Function::Pow => self.b.binary(BinaryOp::Pow, a, args[1]),
            Function::OneMinusExp => {
                let one = self.b.scalar(self.dtype, 1.0);
                let exp = self.b.unary(UnaryOp::Exp, a);
                self.b.binary(BinaryOp::Sub, one, exp)
            }
            Function::Stop => self.stop(a),
        }
    }

    /// The value under another id, which the backward holds constant.
    fn stop(&mut self, a: ValueId) -> ValueId {
        let held = self.b.try_nodes(Op::Unary(UnaryOp::Identity), &[a], 1);
        let held = held.expect("every value has an identity")[0];
        self.stopped.push(held);
        held
    }

    fn name(&mut self, name: &str) -> ValueId {
        if let Some(value) = self.values.get(name) {
            return *value;
        }
        let value = self.named(name);
        self.values.insert(name.to_owned(), value);
        value
    }

    fn named(&mut self, name: &str) -> ValueId {
        if let Some(quantity) = Quantity::named(name) {
            return self.quantity(quantity);
        }
        let loss = self.loss;
        if let Some(entry) = loss.spec().row.get(name) {
            let value = self.expr(&entry.expr);
            return if loss.is_stopped(name) { self.stop(value) } else { value };
        }
        if let Some(input) = self.ports.find(name) {
            return self.b.cast(input, self.dtype);
        }
        let parameter = loss.spec().parameters.get(name);
        let parameter = parameter.expect("the names of a formula are checked when it is read");
        self.b.scalar(self.dtype, parameter.value)
    }

    /// A row quantity as its definition says, `[N, 1]`.
    fn quantity(&mut self, quantity: Quantity) -> ValueId {
        match quantity {
            Quantity::Nll => {
                let log_p = self.log_p_of_label();
                self.b.unary(UnaryOp::Neg, log_p)
            }
            Quantity::P => {
                let (p, onehot) = (self.softmax(), self.onehot());
                let at_label = self.b.binary(BinaryOp::Mul, p, onehot);
                self.b.reduce(ReduceOp::Sum, at_label, Some(1))
            }
            Quantity::Q => {
                let p = self.quantity(Quantity::P);
                let one = self.b.scalar(self.dtype, 1.0);
                self.b.binary(BinaryOp::Sub, one, p)
            }
            Quantity::ErrorL1 => {
                let (p, onehot) = (self.softmax(), self.onehot());
                let error = self.b.binary(BinaryOp::Sub, p, onehot);
                let magnitude = self.b.unary(UnaryOp::Abs, error);
                self.b.reduce(ReduceOp::Sum, magnitude, Some(1))
            }
            // ln((1 - p) / p)
            Quantity::Margin => {
                let q = self.quantity(Quantity::Q);
                let log_q = self.b.unary(UnaryOp::Log, q);
                let log_p = self.log_p_of_label();
                self.b.binary(BinaryOp::Sub, log_q, log_p)
            }
            Quantity::MeanNll => {
                let log_p = self.log_softmax();
                let mean = self.b.reduce(ReduceOp::Mean, log_p, Some(1));
                self.b.unary(UnaryOp::Neg, mean)
            }
            Quantity::FeatureL1 => self.feature_norm(),
            Quantity::ClassWeight => self.class_weight(),
        }
    }

    fn feature_norm(&mut self) -> ValueId {
        let features = self.features.expect("a formula reads features only where the loss has them");
        match self.loss.interface().feature_input {
            FeatureInput::Raw => {
                let magnitude = self.b.unary(UnaryOp::Abs, features);
                self.b.reduce(ReduceOp::Sum, magnitude, Some(1))
            }
            FeatureInput::Norm => self.b.unsqueeze_last(features),
            FeatureInput::NormColumn => features,
        }
    }

    fn class_weight(&mut self) -> ValueId {
        let table = self.table(CLASS_WEIGHTS, |loss| &loss.tables().class_weights);
        let Some(table) = self.ports.find(CLASS_WEIGHTS).or(table) else {
            return self.b.scalar(self.dtype, 1.0);
        };
        let weight = self.b.node(Op::Gather(0), &[table, self.labels.class]);
        self.b.cast(weight, self.dtype)
    }

    /// A stored table `[C]`, in the type of the arithmetic.
    fn table(&mut self, name: &str, pick: fn(&Loss) -> &Option<Vec<f64>>) -> Option<ValueId> {
        if let Some(table) = self.values.get(name) {
            return Some(*table);
        }
        let table = stored(&mut self.b, name, pick(self.loss), self.dtype)?;
        self.values.insert(name.to_owned(), table);
        Some(table)
    }

    fn softmax(&mut self) -> ValueId {
        let logits = self.adjusted();
        self.b.softmax(logits)
    }

    fn log_softmax(&mut self) -> ValueId {
        let logits = self.adjusted();
        self.b.node(Op::LogSoftmax(1), &[logits])
    }

    /// Σ log p · onehot
    fn log_p_of_label(&mut self) -> ValueId {
        let (log_p, onehot) = (self.log_softmax(), self.onehot());
        let at_label = self.b.binary(BinaryOp::Mul, log_p, onehot);
        self.b.reduce(ReduceOp::Sum, at_label, Some(1))
    }

    /// `[N, C]`
    fn onehot(&mut self) -> ValueId {
        let class = self.b.squeeze_last(self.labels.class);
        let depth = self.b.integer(self.loss.interface().classes as i64);
        // ONNX Runtime's OneHot has no float64.
        let levels = Tensor::new(vec![2], TensorData::F32(vec![0.0, 1.0]));
        let levels = self.b.constant(levels.expect("two values are of shape [2]"));
        let onehot = self.b.node(Op::OneHot, &[class, depth, levels]);
        self.b.cast(onehot, self.dtype)
    }

    /// scale · (z + bias - margin · onehot), `[N, C]`
    fn adjusted(&mut self) -> ValueId {
        let mut logits = self.logits;
        if let Some(bias) = self.table(LOGIT_BIAS, |loss| &loss.tables().logit_bias) {
            logits = self.b.binary(BinaryOp::Add, logits, bias);
        }
        if let Some(margin) = self.table(LABEL_MARGIN, |loss| &loss.tables().label_margin) {
            let onehot = self.onehot();
            let lead = self.b.binary(BinaryOp::Mul, onehot, margin);
            logits = self.b.binary(BinaryOp::Sub, logits, lead);
        }
        if self.loss.scale() != 1.0 {
            let scale = self.b.scalar(self.dtype, self.loss.scale());
            logits = self.b.binary(BinaryOp::Mul, logits, scale);
        }
        logits
    }
}
