//! Steps of a row program as `[N, 1]` nodes in float64.

use super::labels::Labels;
use super::margin::{Adjustment, Margin, one_minus_exp};
use crate::graph::{BinaryOp, Builder, CompareOp, Op, ReduceOp, UnaryOp, ValueId};
use crate::loss::expr;
use crate::loss::{FeatureInput, Loss, Quantity};
use crate::row::{self, RowInput, RowProgram, Step};
use crate::tensor::DType;

/// Where a row program finds what it reads.
pub(super) struct RowSources<'a> {
    pub loss: &'a Loss,
    pub labels: &'a Labels,
    pub margin: &'a Margin,
    pub adjustment: &'a Adjustment,
    /// In the matrix type; `None` where the loss does not use features.
    pub features: Option<ValueId>,
    /// Table of class weights `[C]`.
    pub class_weights: Option<ValueId>,
    /// loss_grad `[N]`
    pub upstream: Option<ValueId>,
    /// Runtime parameters [] by name.
    pub parameters: Vec<(String, ValueId)>,
}

impl RowSources<'_> {
    /// Lowers every step; returns the value of each.
    pub fn lower(&self, b: &mut Builder, program: &RowProgram) -> Vec<ValueId> {
        let mut values: Vec<ValueId> = Vec::with_capacity(program.steps().len());
        for step in program.steps() {
            let at = |id: &row::StepId| values[id.index()];
            let value = match step {
                Step::Const(v) => b.scalar(DType::F64, *v),
                Step::Input(input) => self.read(b, input),
                Step::Unary(op, a) => unary(b, *op, at(a)),
                Step::Binary(op, a, c) => b.binary(binary(*op), at(a), at(c)),
                Step::Min(a, c) => b.binary(BinaryOp::Min, at(a), at(c)),
                Step::Max(a, c) => b.binary(BinaryOp::Max, at(a), at(c)),
                Step::IfZero(a, x, y) => {
                    let zero = b.scalar(DType::F64, 0.0);
                    let is_zero = b.compare(CompareOp::Equal, at(a), zero);
                    b.choose(is_zero, at(x), at(y))
                }
            };
            values.push(value);
        }
        values
    }

    fn read(&self, b: &mut Builder, input: &RowInput) -> ValueId {
        match input {
            RowInput::Quantity(quantity) => self.quantity(b, *quantity),
            RowInput::Parameter(name) => {
                let found = self.parameters.iter().find(|(n, _)| n == name);
                let (_, value) = found.expect("a program reads only parameters that are graph inputs");
                b.cast(*value, DType::F64)
            }
            RowInput::Count => self.labels.count(b, self.margin.any_column()),
            RowInput::WeightSum => {
                let weight = self.quantity(b, Quantity::ClassWeight);
                let weight = self.labels.masked(b, weight);
                b.reduce(ReduceOp::Sum, weight, None)
            }
            RowInput::Upstream => {
                let upstream =
                    self.upstream.expect("a program reads loss_grad only where it is a graph input");
                let upstream = b.cast(upstream, DType::F64);
                b.unsqueeze_last(upstream)
            }
        }
    }

    fn quantity(&self, b: &mut Builder, quantity: Quantity) -> ValueId {
        match quantity {
            Quantity::Nll => self.margin.nll(b),
            Quantity::P => self.margin.p(b),
            Quantity::Q => self.margin.q(b),
            Quantity::Margin => self.margin.u,
            Quantity::ErrorL1 => {
                let q = self.margin.q(b);
                b.binary(BinaryOp::Add, q, q)
            }
            Quantity::MeanNll => self.margin.mean_nll(b, self.adjustment, self.loss.interface().classes),
            Quantity::FeatureL1 => self.feature_norm(b),
            Quantity::ClassWeight => {
                let table =
                    self.class_weights.expect("a program reads class weights only where there are some");
                let weight = b.node(Op::Gather(0), &[table, self.labels.class]);
                b.cast(weight, DType::F64)
            }
        }
    }

    fn feature_norm(&self, b: &mut Builder) -> ValueId {
        let features = self.features.expect("a program reads features only where the loss uses them");
        let column = match self.loss.interface().feature_input {
            FeatureInput::Raw => {
                // Not ReduceL1: ONNX Runtime's adds up one by one, with ten times the error and twice the time.
                let magnitudes = b.unary(UnaryOp::Abs, features);
                b.reduce(ReduceOp::Sum, magnitudes, Some(1))
            }
            FeatureInput::Norm => b.unsqueeze_last(features),
            FeatureInput::NormColumn => features,
        };
        b.cast(column, DType::F64)
    }
}

fn unary(b: &mut Builder, op: row::UnaryOp, a: ValueId) -> ValueId {
    let op = match op {
        row::UnaryOp::OneMinusExp => return one_minus_exp(b, a),
        row::UnaryOp::Neg => UnaryOp::Neg,
        row::UnaryOp::Exp => UnaryOp::Exp,
        row::UnaryOp::Log => UnaryOp::Log,
        row::UnaryOp::Sqrt => UnaryOp::Sqrt,
        row::UnaryOp::Abs => UnaryOp::Abs,
        row::UnaryOp::Sign => UnaryOp::Sign,
    };
    b.unary(op, a)
}

fn binary(op: expr::BinaryOp) -> BinaryOp {
    match op {
        expr::BinaryOp::Add => BinaryOp::Add,
        expr::BinaryOp::Sub => BinaryOp::Sub,
        expr::BinaryOp::Mul => BinaryOp::Mul,
        expr::BinaryOp::Div => BinaryOp::Div,
        expr::BinaryOp::Pow => BinaryOp::Pow,
    }
}
