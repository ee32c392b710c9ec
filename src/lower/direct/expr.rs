//! Formulas, node by node.

use super::Formula;
use crate::graph::{BinaryOp, Op, UnaryOp, ValueId};
use crate::loss::Quantity;
use crate::loss::expr::{self, Expr, ExprKind, Function};

impl Formula<'_> {
    pub(super) fn expr(&mut self, expr: &Expr) -> ValueId {
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

    pub(super) fn name(&mut self, name: &str) -> ValueId {
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
}
