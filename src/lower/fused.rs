//! The fused lowering: one node of the operator library, whose function body is the portable lowering.
//!
//! The node's attribute says which loss it computes. An engine with the operator library runs its kernel; every other
//! one runs the body. The attribute is text, so that viewers and ONNX's own printer show it.

use super::portable;
use crate::graph::Graph;
use crate::loss::metadata::{CLASS_WEIGHTS, LABEL_MARGIN, LOGIT_BIAS};
use crate::loss::{FeatureInput, Loss, Reduction};
use crate::row::{Compiled, Roots, StepId, compile, encode};

/// Domain of the operator.
pub const DOMAIN: &str = "ai.ibgraph";
/// Version of the operator.
pub const DOMAIN_VERSION: i64 = 1;
/// Name of the operator.
pub const OPERATOR: &str = "MarginLoss";
/// Name of the attribute that says which loss it is.
pub const ATTRIBUTE: &str = "loss";
/// Version of the attribute's text. The operator library refuses a newer one than it knows.
const FORMAT: u32 = 1;

/// A loss as one node.
#[derive(Debug, Clone)]
pub struct Fused {
    /// The body: the portable lowering.
    pub body: Graph,
    /// Tables `[C]` of the body that the node takes as inputs, after the graph's own.
    pub tables: Vec<String>,
    /// The attribute's text.
    pub attribute: String,
}

pub(super) fn lower(loss: &Loss) -> Fused {
    let body = portable::lower(loss);
    let stored = body.constants().iter().filter_map(|(id, _)| body.value(*id).name.clone());
    let tables: Vec<String> =
        stored.filter(|name| [CLASS_WEIGHTS, LOGIT_BIAS, LABEL_MARGIN].contains(&name.as_str())).collect();
    let attribute = describe(loss, &tables);
    Fused { body, tables, attribute }
}

fn describe(loss: &Loss, tables: &[String]) -> String {
    let interface = loss.interface();
    let compiled = compile(loss);
    let mut text = format!("ibgraph-loss {FORMAT}\nclasses {}\n", interface.classes);
    text += &format!("inputs {}\n", inputs(loss, tables).join(" "));
    text += &format!("outputs {}\n", outputs(loss, &compiled).join(" "));
    text += &format!("reduction {}\n", reduction(interface.reduction));
    text += &format!("features {}\n", features(interface.feature_input));
    if let Some(label) = interface.ignore_index {
        text += &format!("ignore {label}\n");
    }
    if interface.check_labels {
        text += "check_labels\n";
    }
    text += &format!("scale {:?}\n", loss.scale());
    text += &encode(&compiled.program);
    text += &format!("on{}\n", roots(&compiled.roots));
    if let Some(disabled) = &compiled.disabled {
        text += &format!("off{}\n", roots(disabled));
    }
    text
}

/// What each input of the node is: runtime parameters by name, after a colon.
fn inputs(loss: &Loss, tables: &[String]) -> Vec<String> {
    let parameters = &loss.interface().runtime_parameters;
    let role = |name: String| if parameters.contains(&name) { format!(":{name}") } else { name };
    let ports = loss.inputs().into_iter().map(|port| role(port.name));
    ports.chain(tables.iter().cloned()).collect()
}

/// What each output of the node is: row entries by their steps.
fn outputs(loss: &Loss, compiled: &Compiled) -> Vec<String> {
    let role = |name: String| match compiled.entries.iter().find(|(entry, _)| *entry == name) {
        Some((_, step)) => step.index().to_string(),
        None => name,
    };
    loss.outputs().into_iter().map(|port| role(port.name)).collect()
}

fn roots(roots: &Roots) -> String {
    let smoothing = roots.smoothing;
    let all = [
        ("row_loss", roots.row_loss),
        ("share", roots.share),
        ("others", smoothing.map(|s| s.others).or(roots.by_margin)),
        ("label", smoothing.map(|s| s.label)),
        ("shift", smoothing.map(|s| s.shift)),
        ("by_norm", roots.by_norm),
    ];
    let named = |(name, step): &(&str, Option<StepId>)| step.map(|s| format!(" {name}={}", s.index()));
    all.iter().filter_map(named).collect()
}

fn reduction(reduction: Reduction) -> &'static str {
    match reduction {
        Reduction::None => "none",
        Reduction::Sum => "sum",
        // The shares are divided by the count or by the sum of the weights.
        Reduction::Mean | Reduction::WeightedMean => "mean",
    }
}

fn features(input: FeatureInput) -> &'static str {
    match input {
        FeatureInput::Raw => "raw",
        FeatureInput::Norm => "norm",
        FeatureInput::NormColumn => "norm-column",
    }
}
