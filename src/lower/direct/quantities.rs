//! The quantities that formulas are made of, as their definitions say.

use super::Formula;
use crate::graph::{BinaryOp, Op, ReduceOp, UnaryOp, ValueId};
use crate::loss::metadata::{CLASS_WEIGHTS, LABEL_MARGIN, LOGIT_BIAS};
use crate::loss::{FeatureInput, Loss, Quantity};
use crate::lower::ports::stored;
use crate::tensor::{Tensor, TensorData};

impl Formula<'_> {
    /// A row quantity as its definition says, `[N, 1]`.
    pub(super) fn quantity(&mut self, quantity: Quantity) -> ValueId {
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
