//! What a training graph on a classifier would train, and what stands in its way.

use serde::Serialize;

use super::parameters::Selection;
use crate::autodiff;
use crate::graft::Head;
use crate::onnx::{Host, import};

/// What is there to train.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Prospect {
    /// Names of the parameters that a training graph would train.
    pub parameters: Vec<String>,
    /// Number of their elements.
    pub elements: usize,
    /// Nodes without a gradient rule between a parameter and the loss, each with its operator and the reason.
    pub without_rule: Vec<String>,
    /// Why nothing can be said or trained, beside those.
    pub problem: Option<String>,
}

/// Looks for what a training graph would train.
pub fn prospect(host: &Host<'_>, head: &Head) -> Prospect {
    let failed = |problem: String| Prospect { problem: Some(problem), ..Prospect::default() };
    let roots = [Some(&head.logits), head.features.as_ref()];
    let roots: Vec<&str> = roots.into_iter().flatten().map(|place| place.name.as_str()).collect();
    let mut imported = match import(host, &roots) {
        Ok(imported) => imported,
        Err(error) => return failed(error.to_string()),
    };
    let chosen = match Selection::default().choose(&imported) {
        Ok(chosen) => chosen,
        Err(problem) => return failed(problem),
    };
    // Any gradients of the right type do: nothing is run.
    let seeds: Vec<_> = roots.iter().map(|name| (imported.values[*name], imported.values[*name])).collect();
    let gradients = match autodiff::backward(&mut imported.builder, &seeds, &chosen.values(), &[]) {
        Ok(gradients) => gradients,
        Err(error) => {
            let without_rule = error.nodes.iter().map(ToString::to_string).collect();
            return Prospect { without_rule, ..Prospect::default() };
        }
    };
    let trained = match chosen.with_gradients(&gradients) {
        Ok(settled) => settled.trained,
        Err(problem) => return failed(problem),
    };
    let graph = imported.builder.graph();
    let extents = trained.iter().filter_map(|(_, value, _)| graph.value(*value).ty.fixed_shape());
    Prospect {
        elements: extents.map(|shape| shape.iter().product::<usize>()).sum(),
        parameters: trained.into_iter().map(|(name, ..)| name).collect(),
        ..Prospect::default()
    }
}
