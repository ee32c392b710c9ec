//! Whether a loss makes sense with the values that its parameters have: its constant parts are finite, and its gradient
//! is not zero everywhere.

use std::collections::HashMap;

use super::names::{Entry, Located};
use super::{Expr, ExprKind, FormulaError, LossSpec, Quantity};
use crate::loss::adjust::check_scale;
use crate::loss::expr::{BinaryOp, Function};

impl LossSpec {
    /// Checks that every constant part of a `row` entry or the loss is a finite number, and that the gradient by the
    /// logits is not zero by construction. `is_stopped` says which `row` entries are constants to the backward pass.
    pub(super) fn check_values(&self, is_stopped: &dyn Fn(&str) -> bool) -> Result<(), Located<'_>> {
        let mut values = Values { spec: self, known: HashMap::new() };
        for name in self.row.keys() {
            values.entry(name)?;
        }
        values.checked(Entry::Loss, &self.loss.expr)?;
        let mut slopes = Slopes { values: &values, is_stopped, known: HashMap::new() };
        if slopes.depends(&self.loss.expr) {
            return Ok(());
        }
        let message = if Quantity::OF_LOGITS.iter().any(|quantity| self.uses(*quantity, &[])) {
            "the gradient of the loss by the logits is 0 everywhere: they come in only through stop, sign, a factor of 0, \
             or a difference of equals"
        } else {
            "the loss does not depend on the logits; use nll, p, q, error_l1, margin or mean_nll"
        };
        Err((Entry::Loss, FormulaError::new(0..self.loss.text.len(), message)))
    }

    /// Checks a scale of the logits that is a number. What a parameter makes of it is checked when the loss is put together.
    pub(super) fn check_scale(&self) -> Result<(), Located<'_>> {
        let literal = self.logits.scale.as_ref().filter(|formula| formula.expr.names().is_empty());
        let Some(formula) = literal else { return Ok(()) };
        let value = formula.expr.evaluate(&|_| None);
        check_scale(value)
            .map_err(|message| (Entry::Scale, FormulaError::new(0..formula.text.len(), message)))
    }

    /// The same as [`LossSpec::check_values`], for the values that the parameters have by now; the message names the formula.
    pub(in crate::loss) fn check_settings(&self, is_stopped: &dyn Fn(&str) -> bool) -> Result<(), String> {
        self.check_values(is_stopped).map_err(|(entry, error)| {
            let (name, formula) = match entry {
                Entry::Row(name) => (name, &self.row[name]),
                _ => ("loss", &self.loss),
            };
            let part = formula.text.get(error.span).unwrap_or(&formula.text);
            format!("`{part}` in `{name}`: {}", error.message)
        })
    }
}

/// What is the same for every sample.
struct Values<'a> {
    spec: &'a LossSpec,
    /// Values of `row` entries; `None` for one that is not a constant.
    known: HashMap<&'a str, Option<f64>>,
}

impl<'a> Values<'a> {
    fn entry(&mut self, name: &'a str) -> Result<Option<f64>, Located<'a>> {
        if let Some(value) = self.known.get(name) {
            return Ok(*value);
        }
        let value = self.checked(Entry::Row(name), &self.spec.row[name].expr)?;
        self.known.insert(name, value);
        Ok(value)
    }

    /// The value of an expression if it is a constant; an error if a constant part of it is not finite.
    fn checked(&mut self, at: Entry<'a>, expr: &'a Expr) -> Result<Option<f64>, Located<'a>> {
        match &expr.kind {
            ExprKind::Number(value) => return Ok(Some(*value)),
            ExprKind::Name(name) => {
                return match self.spec.row.get_key_value(name) {
                    Some((name, _)) => self.entry(name),
                    None => Ok(self.name(name)),
                };
            }
            ExprKind::Neg(a) => return Ok(self.checked(at, a)?.map(|value| -value)),
            ExprKind::Binary(op, a, b) => {
                self.checked(at, a)?;
                if self.checked(at, b)? == Some(0.0) && *op == BinaryOp::Div {
                    return Err((at, FormulaError::new(b.span.clone(), "division by a constant that is 0")));
                }
            }
            ExprKind::Call(_, args) => {
                for arg in args {
                    self.checked(at, arg)?;
                }
            }
        }
        match self.constant(expr) {
            Some(value) if !value.is_finite() => {
                let message = format!("this constant is {value}; it must be a finite number");
                Err((at, FormulaError::new(expr.span.clone(), message)))
            }
            value => Ok(value),
        }
    }

    /// The value of an expression whose `row` entries are known.
    fn constant(&self, expr: &Expr) -> Option<f64> {
        let all_known = expr.names().iter().all(|(name, _)| self.name(name).is_some());
        all_known.then(|| expr.evaluate(&|name| self.name(name)))
    }

    fn name(&self, name: &str) -> Option<f64> {
        let parameter = self.spec.parameters.get(name).map(|parameter| parameter.value);
        parameter.or_else(|| self.known.get(name).copied().flatten())
    }
}

/// What the backward pass sees.
struct Slopes<'a> {
    values: &'a Values<'a>,
    is_stopped: &'a dyn Fn(&str) -> bool,
    known: HashMap<&'a str, bool>,
}

impl<'a> Slopes<'a> {
    /// Whether the derivative by the logits may be other than 0.
    fn depends(&mut self, expr: &'a Expr) -> bool {
        let is_zero = |e: &Expr| self.values.constant(e) == Some(0.0);
        match &expr.kind {
            ExprKind::Number(_) => false,
            ExprKind::Name(name) => self.name(name),
            ExprKind::Neg(a) => self.depends(a),
            ExprKind::Binary(BinaryOp::Mul, a, b) if is_zero(a) || is_zero(b) => false,
            ExprKind::Binary(BinaryOp::Div, a, _) if is_zero(a) => false,
            ExprKind::Binary(BinaryOp::Pow, _, b) if is_zero(b) => false,
            ExprKind::Binary(BinaryOp::Sub, a, b) if a.to_string() == b.to_string() => false,
            ExprKind::Binary(_, a, b) => self.depends(a) || self.depends(b),
            ExprKind::Call(Function::Stop | Function::Sign, _) => false,
            ExprKind::Call(Function::Pow, args) if is_zero(&args[1]) => false,
            ExprKind::Call(_, args) => args.iter().any(|arg| self.depends(arg)),
        }
    }

    fn name(&mut self, name: &str) -> bool {
        let Some((name, entry)) = self.values.spec.row.get_key_value(name) else {
            return Quantity::named(name).is_some_and(|q| Quantity::OF_LOGITS.contains(&q));
        };
        if let Some(depends) = self.known.get(name.as_str()) {
            return *depends;
        }
        let depends = !(self.is_stopped)(name) && self.depends(&entry.expr);
        self.known.insert(name, depends);
        depends
    }
}
