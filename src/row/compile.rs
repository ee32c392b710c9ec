//! A [`Loss`] to its row program: names resolved, differentiated, scheduled.

use std::collections::HashMap;

use super::derive::derive;
use super::program::{RowInput, RowProgram, StepId, UnaryOp};
use super::schedule::schedule;
use super::terms::{Apply, TermId, Terms};
use crate::loss::expr::{BinaryOp, Expr, ExprKind, Function};
use crate::loss::{ClassWeighting, Loss, Quantity, Reduction};

mod formulas;
mod gradient;

pub use formulas::{Formulas, formulas};
pub use gradient::{NoGradient, check_gradient};

/// A compiled loss.
#[derive(Debug, Clone, PartialEq)]
pub struct Compiled {
    /// All steps.
    pub program: RowProgram,
    /// The loss itself.
    pub roots: Roots,
    /// Unweighted cross entropy, for the input `enabled`; only where the graph has it.
    pub disabled: Option<Roots>,
    /// Row entries among the outputs, in the order of the outputs.
    pub entries: Vec<(String, StepId)>,
}

/// The steps that leave the program. A step is `None` where no output needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roots {
    /// The loss of a row.
    pub row_loss: Option<StepId>,
    /// Its share of `loss`, to be summed over the rows.
    pub share: Option<StepId>,
    /// dL/du, times the scale of the logits
    pub by_margin: Option<StepId>,
    /// dL/dh
    pub by_norm: Option<StepId>,
    /// The gradient's other parts where the loss uses the mean of -log p.
    pub smoothing: Option<Smoothing>,
}

/// Parts of the gradient of the mean M of -log p, times the scale of the logits: dM/dz = p - 1/C. With them the
/// gradient of a row is `others`·r + `shift` for the other classes, and `label` for the label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Smoothing {
    /// dL/du + q·dL/dM
    pub others: StepId,
    /// -dL/du + p·dL/dM - dL/dM/C
    pub label: StepId,
    /// -dL/dM/C
    pub shift: StepId,
}

/// Compiles a loss.
pub fn compile(loss: &Loss) -> Compiled {
    let mut compiler = Compiler { loss, terms: Terms::default(), entries: HashMap::new() };
    let row_loss = compiler.expr(&loss.spec().loss.expr);
    let on = compiler.roots(row_loss, loss.interface().reduction, false);
    let off = loss.interface().enabled_input.then(|| {
        let nll = compiler.quantity(Quantity::Nll);
        let reduction = match loss.interface().reduction {
            Reduction::WeightedMean => Reduction::Mean,
            other => other,
        };
        let smoothed = on.last().is_some_and(Option::is_some);
        compiler.roots(nll, reduction, smoothed)
    });
    let names = loss.interface().outputs.iter().filter(|name| loss.spec().row.contains_key(*name));
    let entries: Vec<(String, TermId)> = names.map(|name| (name.clone(), compiler.name(name))).collect();
    compiler.finish(on, off, entries)
}

/// Terms of [`Roots`] and its [`Smoothing`], in their order.
type RootTerms = [Option<TermId>; 7];

struct Compiler<'a> {
    loss: &'a Loss,
    terms: Terms,
    entries: HashMap<String, TermId>,
}

impl Compiler<'_> {
    /// The roots of a row loss. `smoothed` asks for the parts of [`Smoothing`] even where two of them are simple.
    fn roots(&mut self, row_loss: TermId, reduction: Reduction, smoothed: bool) -> RootTerms {
        let interface = self.loss.interface();
        let seed = self.seed(reduction);
        let derivatives = derive(&mut self.terms, row_loss, seed);
        let none = interface.reduction == Reduction::None;
        let share = self.terms.mul(row_loss, seed);
        let wants = |name| interface.has_output(name);
        let total = wants("loss") && !none;
        let by_margin = self.terms.product(self.loss.scale(), &[derivatives.by_margin], &[]);
        let smoothed = wants("logits_grad") && (smoothed || !self.terms.is_zero(derivatives.by_mean));
        let smoothing = smoothed.then(|| self.smoothing(by_margin, derivatives.by_mean));
        let [others, label, shift] = smoothing.map_or([None; 3], |parts| parts.map(Some));
        [
            (wants("row_loss") || wants("loss") && none).then_some(row_loss),
            total.then_some(share),
            (wants("logits_grad") && !smoothed).then_some(by_margin),
            wants("features_grad").then_some(derivatives.by_norm),
            others,
            label,
            shift,
        ]
    }

    fn smoothing(&mut self, by_margin: TermId, by_mean: TermId) -> [TermId; 3] {
        let (p, q) = (self.quantity(Quantity::P), self.quantity(Quantity::Q));
        let scale = self.loss.scale();
        let by_others = self.terms.product(scale, &[q, by_mean], &[]);
        let by_label = self.terms.product(scale, &[p, by_mean], &[]);
        let shift = self.terms.product(-scale / self.loss.interface().classes as f64, &[by_mean], &[]);
        let others = self.terms.add(by_margin, by_others);
        let minus_margin = self.terms.neg(by_margin);
        let label = self.terms.sum(0.0, &[minus_margin, by_label, shift]);
        [others, label, shift]
    }

    /// dL/d(row loss).
    fn seed(&mut self, reduction: Reduction) -> TermId {
        let weighted = self.loss.interface().class_weighting != ClassWeighting::None;
        let divisor = match reduction {
            Reduction::None => return self.terms.input(RowInput::Upstream),
            Reduction::Sum => return self.terms.constant(1.0),
            Reduction::WeightedMean if weighted => RowInput::WeightSum,
            Reduction::WeightedMean | Reduction::Mean => RowInput::Count,
        };
        let divisor = self.terms.input(divisor);
        self.terms.product(1.0, &[], &[divisor])
    }

    fn expr(&mut self, expr: &Expr) -> TermId {
        match &expr.kind {
            ExprKind::Number(v) => self.terms.constant(*v),
            ExprKind::Name(name) => self.name(name),
            ExprKind::Neg(a) => {
                let a = self.expr(a);
                self.terms.neg(a)
            }
            ExprKind::Binary(op, a, b) => {
                let (a, b) = (self.expr(a), self.expr(b));
                match op {
                    BinaryOp::Add => self.terms.add(a, b),
                    BinaryOp::Sub => self.terms.sub(a, b),
                    BinaryOp::Mul => self.terms.mul(a, b),
                    BinaryOp::Div => self.terms.product(1.0, &[a], &[b]),
                    BinaryOp::Pow => self.terms.pow(a, b),
                }
            }
            ExprKind::Call(function, args) => self.call(*function, args),
        }
    }

    fn call(&mut self, function: Function, args: &[Expr]) -> TermId {
        let args: Vec<TermId> = args.iter().map(|a| self.expr(a)).collect();
        let a = args[0];
        match function {
            Function::Exp => self.terms.unary(UnaryOp::Exp, a),
            Function::Log => self.terms.unary(UnaryOp::Log, a),
            Function::Sqrt => self.terms.unary(UnaryOp::Sqrt, a),
            Function::Abs => self.terms.unary(UnaryOp::Abs, a),
            Function::Sign => self.terms.unary(UnaryOp::Sign, a),
            Function::OneMinusExp => self.terms.unary(UnaryOp::OneMinusExp, a),
            Function::Stop => self.terms.stop(a),
            Function::Min => self.terms.extreme(Apply::Min, a, args[1]),
            Function::Max => self.terms.extreme(Apply::Max, a, args[1]),
            Function::Pow => self.terms.pow(a, args[1]),
        }
    }

    fn name(&mut self, name: &str) -> TermId {
        if let Some(quantity) = Quantity::named(name) {
            return self.quantity(quantity);
        }
        if let Some(term) = self.entries.get(name) {
            return *term;
        }
        let spec = self.loss.spec();
        if let Some(entry) = spec.row.get(name) {
            let mut term = self.expr(&entry.expr);
            if self.loss.is_stopped(name) {
                term = self.terms.stop(term);
            }
            self.entries.insert(name.to_owned(), term);
            return term;
        }
        if self.loss.interface().runtime_parameters.iter().any(|p| p == name) {
            return self.terms.input(RowInput::Parameter(name.to_owned()));
        }
        let parameter = spec.parameters.get(name).expect("a spec's names were checked when it was read");
        self.terms.constant(parameter.value)
    }

    fn quantity(&mut self, quantity: Quantity) -> TermId {
        match quantity {
            // ‖softmax - onehot‖₁ = 2q
            Quantity::ErrorL1 => {
                let q = self.quantity(Quantity::Q);
                self.terms.product(2.0, &[q], &[])
            }
            Quantity::ClassWeight if self.loss.interface().class_weighting == ClassWeighting::None => {
                self.terms.constant(1.0)
            }
            _ => self.terms.input(RowInput::Quantity(quantity)),
        }
    }

    fn finish(mut self, on: RootTerms, off: Option<RootTerms>, entries: Vec<(String, TermId)>) -> Compiled {
        let mut wanted: Vec<TermId> = on.iter().chain(off.iter().flatten()).flatten().copied().collect();
        wanted.extend(entries.iter().map(|(_, term)| *term));
        // Stops have done their work; without them the forward is shared with the backward.
        let plain = self.terms.without_stops();
        let wanted: Vec<TermId> = wanted.iter().map(|term| plain[term]).collect();
        let (program, steps) = schedule(&self.terms, &wanted);
        let mut steps = steps.into_iter();
        let mut take = |terms: RootTerms| {
            let [row_loss, share, by_margin, by_norm, others, label, shift] =
                terms.map(|t| t.and_then(|_| steps.next()));
            let smoothing = match (others, label, shift) {
                (Some(others), Some(label), Some(shift)) => Some(Smoothing { others, label, shift }),
                _ => None,
            };
            Roots { row_loss, share, by_margin, by_norm, smoothing }
        };
        let roots = take(on);
        let disabled = off.map(&mut take);
        let entries = entries.into_iter().map(|(name, _)| name).zip(steps).collect();
        Compiled { program, roots, disabled, entries }
    }
}
