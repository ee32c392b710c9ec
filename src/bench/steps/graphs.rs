//! The graphs of a training step: the classifier as it is, and what `ibgraph graft` makes of it.

use crate::bench::plan::Graft;
use crate::graft::{Head, Kind, Plan, Selection, TrainingPlan, attach, training};
use crate::loss::Loss;
use crate::lower;
use crate::onnx::{Host, splice};
use crate::train::Recipe;
use crate::train::manifest::{Manifest, OutputRole};

/// A graph with what a run asks of it.
pub struct Made {
    /// The model file.
    pub bytes: Vec<u8>,
    /// The outputs that a run computes: first the logits or the loss, then gradients.
    pub outputs: Vec<String>,
    /// For each gradient its parameter, in the order of those outputs.
    pub of: Vec<String>,
    /// Of graphs with the backward of the whole classifier.
    pub manifest: Option<Manifest>,
}

/// Makes the graph of this kind.
///
/// # Errors
/// What the classifier has that cannot be differentiated, or a loss that does not fit.
pub fn make(
    host: &Host<'_>,
    source: &[u8],
    head: &Head,
    loss: &Loss,
    recipe: &Recipe,
    graft: Graft,
) -> Result<Made, String> {
    match graft {
        Graft::Forward => Ok(Made {
            bytes: source.to_vec(),
            outputs: vec![head.logits.name.clone()],
            of: Vec::new(),
            manifest: None,
        }),
        Graft::LossGrad => attached(host, head, loss, Kind::LossGrad),
        Graft::Gradients => trained(host, head, loss, None),
        Graft::TrainStep => trained(host, head, loss, Some(recipe)),
    }
}

/// The classifier with a loss that ONNX Runtime Training differentiates itself.
///
/// # Errors
/// A loss that it cannot differentiate, or that does not fit.
pub fn for_ort_training(host: &Host<'_>, head: &Head, loss: &Loss) -> Result<Made, String> {
    attached(host, head, loss, Kind::Loss)
}

fn attached(host: &Host<'_>, head: &Head, loss: &Loss, kind: Kind) -> Result<Made, String> {
    let (loss, graph) = match kind {
        Kind::Loss => {
            let graph = lower::trainable(loss).map_err(|error| error.to_string())?;
            (loss.with_outputs(&["loss"]).map_err(|error| error.to_string())?, graph)
        }
        _ => (loss.clone(), lower::portable(loss)),
    };
    let plan = Plan { loss: &loss, graph: &graph, kind, labels: None };
    let attached = attach(host, head, plan).map_err(|error| error.to_string())?;
    let bytes = splice(host, &attached.delta).map_err(|error| error.to_string())?.to_vec();
    let named = |ours: &str| attached.names.get(ours).cloned();
    let outputs = ["loss", "logits_grad", "features_grad"].into_iter().filter_map(named).collect();
    Ok(Made { bytes, outputs, of: Vec::new(), manifest: None })
}

fn trained(host: &Host<'_>, head: &Head, loss: &Loss, recipe: Option<&Recipe>) -> Result<Made, String> {
    let selection = Selection::default();
    let plan = TrainingPlan { loss, recipe, labels: None, selection: &selection };
    let made = training(host, head, plan).map_err(|error| error.to_string())?;
    let bytes = splice(host, &made.delta).map_err(|error| error.to_string())?.to_vec();
    let manifest = made.manifest;
    let names = |role| manifest.outputs.iter().filter(move |output| output.role == role);
    let loss = names(OutputRole::Loss).map(|output| output.port.name.clone());
    let gradients = names(OutputRole::Gradient).map(|output| output.port.name.clone());
    let outputs = loss.chain(gradients).collect();
    let of = names(OutputRole::Gradient).filter_map(|output| output.of.clone()).collect();
    Ok(Made { bytes, outputs, of, manifest: Some(manifest) })
}
