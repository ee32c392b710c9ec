//! A training graph on a user's classifier: the loss, the backward pass of the whole model, and an optimizer.
//!
//! The classifier is read as a [`Graph`](crate::graph::Graph), the lowered loss and its gradients by logits and features
//! are put on top, and the autodiff goes on from there to the parameters. What is added comes out as a
//! [`crate::onnx::Delta`]; of the classifier only parameters are touched: they become inputs as well, which lets every
//! run give its own. Invariant: what a name of the classifier stands for does not change.

use indexmap::IndexMap;
use serde_json::json;

use super::attach::{AttachError, checked_opset, features, labels};
use super::description::{FORMAT, METADATA};
use super::discover::Head;
use crate::autodiff;
use crate::graph::{BinaryOp, Builder, ValueId};
use crate::loss::metadata;
use crate::loss::{Interface, InterfaceError, Loss, Reduction};
use crate::onnx::{Delta, Host, Imported, import};
use crate::row;
use crate::tensor::DType;
use crate::train::manifest::{
    self, Carried, CarriedRole, Initial, Input, Kind, Manifest, Output, OutputRole, Port,
};
use crate::train::names::{GRADIENT, NEXT};
use crate::train::update::{Parameter, append};
use crate::train::{Recipe, loss_scale};

mod additions;
mod error;
mod glob;
mod loss;
mod parameters;
mod ports;
mod prospect;

use additions::Additions;
pub use error::TrainingError;
pub use parameters::Selection;
use parameters::{Chosen, Settled, statistics};
use ports::{classifier_outputs, data_inputs};
pub use prospect::{Prospect, prospect};

/// What is to be trained, and how.
#[derive(Debug, Clone, Copy)]
pub struct TrainingPlan<'a> {
    /// The loss, with the classifier's number of classes.
    pub loss: &'a Loss,
    /// The optimizer; `None` for the gradients alone.
    pub recipe: Option<&'a Recipe>,
    /// The value that holds the labels, where the classifier has it, or the name of the new input.
    pub labels: Option<&'a str>,
    /// Which parameters are trained.
    pub selection: &'a Selection,
}

/// A training graph as an addition to the classifier.
#[derive(Debug, Clone)]
pub struct Training {
    /// What is added.
    pub delta: Delta,
    /// What the graph takes and gives.
    pub manifest: Manifest,
    /// Names of the loss's inputs and outputs, and what they are called in the classifier.
    pub names: IndexMap<String, String>,
    /// Float initializers that are not trained, with the reason.
    pub left_out: Vec<(String, String)>,
}

/// Adds the backward pass, and the optimizer where there is a recipe, to what [`super::discover()`] found.
///
/// # Errors
/// Classifiers with an operator between a parameter and the loss that has no gradient rule, and losses that do not fit.
pub fn training(host: &Host<'_>, head: &Head, plan: TrainingPlan<'_>) -> Result<Training, TrainingError> {
    row::check_gradient(plan.loss).map_err(AttachError::from)?;
    let opset = checked_opset(host)?;
    if plan.loss.interface().reduction == Reduction::None {
        return Err(TrainingError::NotReduced);
    }
    let loss = in_full_precision(plan.loss)?;
    let features = features(head, &loss)?.map(|place| place.name.as_str());
    let logits = head.logits.name.as_str();
    let labels = labels(host, plan.labels)?;
    let mut roots: Vec<&str> = [logits].into_iter().chain(features).collect();
    roots.extend(labels.iter().map(|labels| labels.name.as_str()));
    let mut imported = import(host, &roots)?;
    let chosen = plan.selection.choose(&imported).map_err(TrainingError::Selection)?;
    check_matrix(&imported, "logits", logits)?;
    let mut maker = Maker {
        additions: Additions::new(host, &imported),
        logits: imported.values[logits],
        features: features.map(|name| imported.values[name]),
        labels: labels.as_ref().map(|labels| imported.values[&labels.name]),
        b: &mut imported.builder,
        loss: &loss,
        plan,
        inputs: data_inputs(host, labels.as_ref().map(|labels| labels.name.as_str())),
        outputs: classifier_outputs(host, logits),
        names: IndexMap::new(),
    };
    maker.names.insert("logits".to_owned(), logits.to_owned());
    maker.names.extend(features.map(|name| ("features".to_owned(), name.to_owned())));
    let made = maker.make(&chosen)?;
    finish(opset, &imported, made, plan, &loss)
}

/// What the discovery says of a value comes from what the file declares, which need not be so.
fn check_matrix(imported: &Imported, role: &'static str, name: &str) -> Result<(), TrainingError> {
    let ty = imported.builder.ty(imported.values[name]);
    let is_float = matches!(ty.dtype, DType::F32 | DType::F64 | DType::F16 | DType::BF16);
    match ty.rank() == 2 && is_float {
        true => Ok(()),
        false => Err(TrainingError::NoMatrix { role, name: name.to_owned(), ty: ty.clone() }),
    }
}

/// Half types leave gradients no room before they are scaled: the loss is computed in float32.
fn in_full_precision(loss: &Loss) -> Result<Loss, InterfaceError> {
    let dtype = loss.interface().scalar_dtype();
    let interface = Interface { dtype, outputs: Vec::new(), ..loss.interface().clone() };
    Loss::with_tables(loss.spec().clone(), interface, loss.tables().clone())
}

/// A training graph in the making.
struct Maker<'a> {
    b: &'a mut Builder,
    additions: Additions,
    loss: &'a Loss,
    plan: TrainingPlan<'a>,
    logits: ValueId,
    features: Option<ValueId>,
    labels: Option<ValueId>,
    inputs: Vec<Input>,
    /// Those that the classifier has.
    outputs: Vec<Output>,
    names: IndexMap<String, String>,
}

/// What a [`Maker`] made.
struct Made {
    additions: Additions,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    carried: Vec<Carried>,
    names: IndexMap<String, String>,
    left_out: Vec<(String, String)>,
}

impl Maker<'_> {
    fn make(mut self, chosen: &Chosen) -> Result<Made, TrainingError> {
        let lowered = self.lowered();
        self.check_types()?;
        let scale = self.plan.recipe.is_some_and(|recipe| recipe.loss_scale).then(|| {
            let (input, value) = loss_scale(self.b, self.additions.names());
            self.inputs.push(input);
            value
        });
        let mut seeds = vec![(self.logits, lowered.logits_grad)];
        seeds.extend(self.features.zip(lowered.features_grad));
        for (value, gradient) in &mut seeds {
            *gradient = self.scaled(*gradient, scale, *value);
        }
        self.check_types()?;
        let gradients = autodiff::backward(self.b, &seeds, &chosen.values(), &[])?;
        let mut outputs = vec![self.loss_output(lowered.loss)];
        outputs.append(&mut self.outputs);
        let Settled { trained, left_out } =
            chosen.with_gradients(&gradients).map_err(TrainingError::Selection)?;
        let parameters: Vec<Parameter> = trained
            .into_iter()
            .map(|(name, value, gradient)| Parameter {
                initial: Initial::Initializer(name.clone()),
                value,
                decay: self.plan.selection.decays(&name),
                gradient,
                name,
            })
            .collect();
        let mut carried = match self.plan.recipe {
            Some(recipe) => self.update(&parameters, recipe, scale, &mut outputs),
            None => self.gradients(&parameters, &mut outputs),
        };
        self.check_types()?;
        carried.extend(self.statistics());
        let Self { additions, inputs, names, .. } = self;
        Ok(Made { additions, inputs, outputs, carried, names, left_out })
    }

    fn check_types(&mut self) -> Result<(), TrainingError> {
        self.b.take_failure().map_or(Ok(()), |failure| Err(failure.into()))
    }

    /// A gradient times the loss scale, in the type of its value.
    fn scaled(&mut self, gradient: ValueId, scale: Option<ValueId>, value: ValueId) -> ValueId {
        let mut gradient = gradient;
        if let Some(scale) = scale {
            let scale = self.b.cast(scale, self.b.ty(gradient).dtype);
            gradient = self.b.binary(BinaryOp::Mul, gradient, scale);
        }
        let dtype = self.b.ty(value).dtype;
        self.b.cast(gradient, dtype)
    }

    fn loss_output(&mut self, loss: ValueId) -> Output {
        let name = self.additions.names().give("loss");
        self.names.insert("loss".to_owned(), name.clone());
        let port = Port::new(&name, self.b.ty(loss));
        self.additions.output(self.b, name, loss);
        Output { port, role: OutputRole::Loss, of: None }
    }

    fn gradients(&mut self, parameters: &[Parameter], outputs: &mut Vec<Output>) -> Vec<Carried> {
        let mut carried = Vec::new();
        for parameter in parameters {
            let name = self.additions.names().give(&format!("{}{GRADIENT}", parameter.name));
            let port = Port::new(&name, self.b.ty(parameter.gradient));
            outputs.push(Output { port, role: OutputRole::Gradient, of: Some(parameter.name.clone()) });
            self.additions.output(self.b, name, parameter.gradient);
            carried.push(Carried {
                port: Port::new(&parameter.name, self.b.ty(parameter.value)),
                next: None,
                role: CarriedRole::Parameter,
                initial: parameter.initial.clone(),
            });
        }
        carried
    }

    fn update(
        &mut self,
        parameters: &[Parameter],
        recipe: &Recipe,
        scale: Option<ValueId>,
        outputs: &mut Vec<Output>,
    ) -> Vec<Carried> {
        let update = append(self.b, parameters, recipe, scale, self.additions.names());
        self.inputs.extend(update.inputs);
        outputs.extend(update.outputs);
        for (name, value) in update.values {
            self.additions.output(self.b, name, value);
        }
        update.carried
    }

    /// Running statistics of layers in training mode go from step to step like parameters.
    fn statistics(&mut self) -> Vec<Carried> {
        let mut carried = Vec::new();
        for (name, value, next) in statistics(self.b.graph()) {
            let successor = self.additions.names().give(&format!("{name}{NEXT}"));
            carried.push(Carried {
                port: Port::new(&name, self.b.ty(value)),
                next: Some(successor.clone()),
                role: CarriedRole::Statistic,
                initial: Initial::Initializer(name),
            });
            self.additions.output(self.b, successor, next);
        }
        carried
    }
}

fn finish(
    opset: i64,
    imported: &Imported,
    made: Made,
    plan: TrainingPlan<'_>,
    loss: &Loss,
) -> Result<Training, TrainingError> {
    let description = metadata::to_json(loss).map_err(AttachError::from)?;
    let description: serde_json::Value = serde_json::from_str(&description)
        .map_err(metadata::MetadataError::from)
        .map_err(AttachError::from)?;
    let kind = if plan.recipe.is_some() { Kind::TrainStep } else { Kind::Gradients };
    let manifest = Manifest {
        format: manifest::FORMAT,
        kind,
        recipe: plan.recipe.cloned(),
        loss: Some(description.clone()),
        inputs: made.inputs,
        outputs: made.outputs,
        carried: made.carried,
    };
    let given: Vec<&Carried> = manifest.carried.iter().filter(|c| c.role != CarriedRole::State).collect();
    let mut delta = made
        .additions
        .delta(imported.builder.graph(), opset, &given)
        .map_err(|error| AttachError::Spell { opset, error })?;
    let emit = if plan.recipe.is_some() { "train-step" } else { "gradients" };
    let graft = json!({"format": FORMAT, "emit": emit, "names": made.names, "loss": description});
    delta.metadata =
        vec![(METADATA.to_owned(), graft.to_string()), (manifest::KEY.to_owned(), manifest.to_json())];
    Ok(Training { delta, manifest, names: made.names, left_out: made.left_out })
}
