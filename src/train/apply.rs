//! The update as a graph of its own: gradients in, parameters out. For an all-reduce between backward and update.

use super::manifest::{self, Initial, Input, InputRole, Kind, Manifest, Port};
use super::names::GRADIENT;
use super::recipe::Recipe;
use super::update::{Parameter, Update, append};
use crate::graft::Names;
use crate::graph::{Builder, Graph, TensorType};

/// A parameter that [`graph`] updates.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// Its type; every extent is known.
    pub ty: TensorType,
    /// Name of its gradient in the graph that computes it; `None` for the parameter's name with `_grad`.
    pub gradient: Option<String>,
    /// Whether weight decay applies to it.
    pub decay: bool,
}

/// A graph that takes every parameter with its gradient and state, and gives their successors; and its manifest.
///
/// A loss scale in the recipe divides the gradients: it is an input here too.
pub fn graph(name: &str, targets: &[Target], recipe: &Recipe) -> (Graph, Manifest) {
    let mut b = Builder::new(name);
    let mut names = Names::new(targets.iter().map(|t| t.name.clone()));
    let mut inputs = Vec::new();
    let mut parameters = Vec::new();
    for target in targets {
        let value = b.input(&target.name, target.ty.clone());
        let base = target.gradient.clone().unwrap_or_else(|| format!("{}{GRADIENT}", target.name));
        let gradient = names.give(&base);
        let port = Port::new(&gradient, &target.ty);
        inputs.push(Input { port, role: InputRole::Gradient, default: None });
        parameters.push(Parameter {
            name: target.name.clone(),
            value,
            gradient: b.input(&gradient, target.ty.clone()),
            decay: target.decay,
            initial: Initial::Given,
        });
    }
    let loss_scale = recipe.loss_scale.then(|| {
        let (input, value) = super::loss_scale(&mut b, &mut names);
        inputs.push(input);
        value
    });
    let Update { inputs: more, outputs, carried, values } =
        append(&mut b, &parameters, recipe, loss_scale, &mut names);
    inputs.extend(more);
    let manifest = Manifest {
        format: manifest::FORMAT,
        kind: Kind::Apply,
        recipe: Some(recipe.clone()),
        loss: None,
        inputs,
        outputs,
        carried,
    };
    (b.finish(&values), manifest)
}
