//! From gradients to the next parameters: averaging, unscaling, clipping, the optimizer's rule, and what is carried.
//!
//! Half-precision parameters are updated in a float32 copy, which is state; everything else is in the parameter's type.

use super::manifest::{Carried, CarriedRole, Initial, Input, InputRole, Output, OutputRole, Port};
use super::names::{ACCUMULATOR, APPLY, GRADIENT_NORM, GRADIENTS_FINITE, LEARNING_RATE, MASTER, NEXT, STEP};
use super::optimizer::{Operands, Schedule};
use super::recipe::Recipe;
use crate::graft::Names;
use crate::graph::{BinaryOp, Builder, CompareOp, ReduceOp, TensorType, UnaryOp, ValueId};
use crate::tensor::DType;

/// Added to the norm that gradients are clipped by, as in `torch.nn.utils.clip_grad_norm_`.
const CLIP_EPSILON: f64 = 1e-6;

/// A parameter with its gradient.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Name of the input that it is.
    pub name: String,
    /// Its value.
    pub value: ValueId,
    /// Its gradient, of the same type and shape; of the scaled loss where there is a loss scale.
    pub gradient: ValueId,
    /// Whether weight decay applies to it.
    pub decay: bool,
    /// What it is before the first step.
    pub initial: Initial,
}

/// What [`append`] adds to a graph.
#[derive(Debug, Default)]
pub struct Update {
    /// Graph inputs to be given at every run.
    pub inputs: Vec<Input>,
    /// Outputs for the caller.
    pub outputs: Vec<Output>,
    /// Parameters and state.
    pub carried: Vec<Carried>,
    /// Every output of `outputs` and `carried` with its value, in the order of the graph.
    pub values: Vec<(String, ValueId)>,
}

/// Appends the update of `parameters` to a graph. `loss_scale` is the input by which the loss was multiplied.
pub fn append(
    b: &mut Builder,
    parameters: &[Parameter],
    recipe: &Recipe,
    loss_scale: Option<ValueId>,
    names: &mut Names,
) -> Update {
    let mut appender = Appender { b, recipe, names, update: Update::default() };
    let controls = appender.controls();
    let mut slots: Vec<Slot> = parameters.iter().map(|p| appender.declare(p)).collect();
    slots.iter_mut().for_each(|slot| appender.average(slot, loss_scale));
    let finite = recipe.loss_scale.then(|| appender.all_finite(&slots));
    if let Some(largest) = recipe.clip_norm {
        appender.clip(&mut slots, largest);
    }
    if let Some(finite) = finite {
        appender.output(GRADIENTS_FINITE, OutputRole::GradientsFinite, finite);
    }
    let taken = match (controls.apply, finite) {
        (Some(apply), Some(finite)) => Some(appender.b.node(crate::graph::Op::And, &[apply, finite])),
        (apply, finite) => apply.or(finite),
    };
    slots.iter().for_each(|slot| appender.step(slot, &controls, taken));
    appender.update
}

/// Inputs that steer every parameter's update.
struct Controls {
    schedule: Schedule,
    apply: Option<ValueId>,
}

/// An input that is carried.
struct State {
    value: ValueId,
    carried: Carried,
}

/// A parameter with its state, on its way through the update.
struct Slot {
    parameter: State,
    /// Its value in the type of the arithmetic.
    value: ValueId,
    /// Averaged over the micro-batches so far.
    gradient: ValueId,
    /// The same, clipped.
    clipped: ValueId,
    decay: bool,
    master: Option<State>,
    accumulator: Option<State>,
    optimizer: Vec<State>,
}

struct Appender<'a> {
    b: &'a mut Builder,
    recipe: &'a Recipe,
    names: &'a mut Names,
    update: Update,
}

impl Appender<'_> {
    fn controls(&mut self) -> Controls {
        let learning_rate = self.input(LEARNING_RATE, InputRole::LearningRate, DType::F32);
        let counts = self.recipe.optimizer.counts_steps();
        let step = counts.then(|| self.input(STEP, InputRole::Step, DType::I64));
        let several = self.recipe.accumulate.is_some();
        let apply = several.then(|| self.input(APPLY, InputRole::Apply, DType::Bool));
        Controls { schedule: Schedule { learning_rate, step }, apply }
    }

    fn input(&mut self, base: &str, role: InputRole, dtype: DType) -> ValueId {
        let name = self.names.give(base);
        let ty = TensorType::new(dtype, &[]);
        self.update.inputs.push(Input { port: Port::new(&name, &ty), role, default: None });
        self.b.input(&name, ty)
    }

    fn output(&mut self, base: &str, role: OutputRole, value: ValueId) {
        let name = self.names.give(base);
        self.update.outputs.push(Output { port: Port::new(&name, self.b.ty(value)), role, of: None });
        self.update.values.push((name, value));
    }

    fn declare(&mut self, p: &Parameter) -> Slot {
        let recipe = self.recipe;
        let mut ty = self.b.ty(p.value).clone();
        let carried = Carried {
            port: Port::new(&p.name, &ty),
            next: None,
            role: CarriedRole::Parameter,
            initial: p.initial.clone(),
        };
        let is_half = matches!(ty.dtype, DType::F16 | DType::BF16);
        if is_half {
            ty.dtype = DType::F32;
        }
        let mut state = |suffix, initial| self.state(&format!("{}{suffix}", p.name), &ty, initial);
        let master = is_half.then(|| state(MASTER, p.initial.clone()));
        let accumulator = recipe.accumulate.map(|_| state(ACCUMULATOR, Initial::Zeros));
        let suffixes = recipe.optimizer.state().iter();
        let optimizer = suffixes.map(|suffix| state(suffix, Initial::Zeros)).collect();
        Slot {
            value: master.as_ref().map_or(p.value, |m| m.value),
            parameter: State { value: p.value, carried },
            gradient: p.gradient,
            clipped: p.gradient,
            decay: p.decay,
            master,
            accumulator,
            optimizer,
        }
    }

    /// An input of state, such as `w_momentum`.
    fn state(&mut self, base: &str, ty: &TensorType, initial: Initial) -> State {
        let name = self.names.give(base);
        let port = Port::new(&name, ty);
        let value = self.b.input(&name, ty.clone());
        State { value, carried: Carried { port, next: None, role: CarriedRole::State, initial } }
    }

    // g / scale / micro-batches, added to the buffer where there is one
    fn average(&mut self, slot: &mut Slot, loss_scale: Option<ValueId>) {
        let dtype = self.b.ty(slot.value).dtype;
        let mut gradient = self.b.cast(slot.gradient, dtype);
        if let Some(scale) = loss_scale {
            let scale = self.b.cast(scale, dtype);
            gradient = self.b.binary(BinaryOp::Div, gradient, scale);
        }
        if let (Some(buffer), Some(count)) = (&slot.accumulator, self.recipe.accumulate) {
            let count = self.b.scalar(dtype, f64::from(count));
            let share = self.b.binary(BinaryOp::Div, gradient, count);
            gradient = self.b.binary(BinaryOp::Add, buffer.value, share);
        }
        slot.gradient = gradient;
        slot.clipped = gradient;
    }

    // Σ (g - g) is 0 where every g is finite, and NaN elsewhere
    fn all_finite(&mut self, slots: &[Slot]) -> ValueId {
        let mut total = self.b.scalar(DType::F32, 0.0);
        for slot in slots {
            let nothing = self.b.binary(BinaryOp::Sub, slot.gradient, slot.gradient);
            let sum = self.b.reduce(ReduceOp::Sum, nothing, None);
            let sum = self.b.cast(sum, DType::F32);
            total = self.b.binary(BinaryOp::Add, total, sum);
        }
        let zero = self.b.scalar(DType::F32, 0.0);
        self.b.compare(CompareOp::Equal, total, zero)
    }

    // torch.nn.utils.clip_grad_norm_: g · min(1, largest / (‖all g‖₂ + 1e-6))
    fn clip(&mut self, slots: &mut [Slot], largest: f64) {
        let mut total = self.b.scalar(DType::F32, 0.0);
        for slot in slots.iter() {
            let sum = self.b.reduce(ReduceOp::SumSquare, slot.gradient, None);
            let sum = self.b.cast(sum, DType::F32);
            total = self.b.binary(BinaryOp::Add, total, sum);
        }
        let norm = self.b.unary(UnaryOp::Sqrt, total);
        self.output(GRADIENT_NORM, OutputRole::GradientNorm, norm);
        let [largest, epsilon, one] = [largest, CLIP_EPSILON, 1.0].map(|v| self.b.scalar(DType::F32, v));
        let divisor = self.b.binary(BinaryOp::Add, norm, epsilon);
        let factor = self.b.binary(BinaryOp::Div, largest, divisor);
        let factor = self.b.binary(BinaryOp::Min, factor, one);
        for slot in slots {
            let factor = self.b.cast(factor, self.b.ty(slot.gradient).dtype);
            slot.clipped = self.b.binary(BinaryOp::Mul, slot.gradient, factor);
        }
    }

    /// The optimizer's rule, taken only where `taken` holds; and the successors of all that is carried.
    fn step(&mut self, slot: &Slot, controls: &Controls, taken: Option<ValueId>) {
        let state: Vec<ValueId> = slot.optimizer.iter().map(|s| s.value).collect();
        let weight_decay = if slot.decay { self.recipe.weight_decay } else { 0.0 };
        let of = Operands { parameter: slot.value, gradient: slot.clipped, state: &state, weight_decay };
        let updated = self.recipe.optimizer.update(self.b, controls.schedule, of);
        let value = self.settle(taken, updated.parameter, slot.value);
        let dtype = self.b.ty(slot.parameter.value).dtype;
        let parameter = self.b.cast(value, dtype);
        self.carry(&slot.parameter, parameter);
        if let Some(master) = &slot.master {
            self.carry(master, value);
        }
        for (state, new) in slot.optimizer.iter().zip(updated.state) {
            let next = self.settle(taken, new, state.value);
            self.carry(state, next);
        }
        if let (Some(buffer), Some(apply)) = (&slot.accumulator, controls.apply) {
            let zero = self.b.scalar(self.b.ty(buffer.value).dtype, 0.0);
            let next = self.b.choose(apply, zero, slot.gradient);
            self.carry(buffer, next);
        }
    }

    fn settle(&mut self, taken: Option<ValueId>, new: ValueId, old: ValueId) -> ValueId {
        taken.map_or(new, |taken| self.b.choose(taken, new, old))
    }

    fn carry(&mut self, state: &State, next: ValueId) {
        let name = self.names.give(&format!("{}{NEXT}", state.carried.port.name));
        self.update.carried.push(Carried { next: Some(name.clone()), ..state.carried.clone() });
        self.update.values.push((name, next));
    }
}
