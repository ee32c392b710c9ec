//! A lowered loss, renamed into a classifier.
//!
//! The loss's graph is spelled as for a file of its own; then its logits and features become the classifier's values,
//! its batch the classifier's, and every other name one that the classifier does not have.

use std::collections::HashMap;

use indexmap::IndexMap;

use super::Names;
use super::description::{Description, FORMAT, METADATA};
use super::discover::Head;
use super::flow::Flow;
use crate::graph::Graph;
use crate::loss::Loss;
use crate::loss::metadata::{self, CLASS_WEIGHTS, LABEL_MARGIN, LOGIT_BIAS, MetadataError};
use crate::onnx::messages::{GraphProto, ValueInfoProto};
use crate::onnx::{Delta, Host, NEWEST_OPSET, OLDEST_OPSET, SpellError, graph_message};
use crate::row::{self, NoGradient};

mod casts;
mod ports;
pub(super) mod rename;

use casts::Casts;
pub(super) use ports::{features, labels};
use rename::Renamer;

/// What inner values and nodes of ours are called, before the name that the lowering gives them.
pub(super) const PREFIX: &str = "ibgraph/";
/// First IR version in which an initializer need not be an input too.
const FREE_INITIALIZERS: i64 = 4;

/// What a graft adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// The loss alone, as the first output, for ONNX Runtime Training to differentiate.
    Loss,
    /// The loss, and its gradients with respect to logits and features.
    LossGrad,
}

impl Kind {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Loss => "loss",
            Kind::LossGrad => "loss-grad",
        }
    }

    /// Whether its outputs come before those that the classifier has.
    fn comes_first(self) -> bool {
        match self {
            Kind::Loss => true,
            Kind::LossGrad => false,
        }
    }
}

/// A loss to attach.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// The loss, with the classifier's number of classes and logits' type.
    pub loss: &'a Loss,
    /// Its lowering.
    pub graph: &'a Graph,
    /// What it adds.
    pub kind: Kind,
    /// The value that holds the labels, where the classifier has it, or the name of the new input.
    pub labels: Option<&'a str>,
}

/// An attached loss.
#[derive(Debug, Clone)]
pub struct Attached {
    /// What is added to the classifier.
    pub delta: Delta,
    /// Names of the loss's inputs and outputs, in that order, and what they are called in the classifier.
    pub names: IndexMap<String, String>,
}

/// A loss that cannot be attached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// A graft is there already.
    #[error("the model already has a graft (metadata key {METADATA}); graft the model that it was made from")]
    Grafted,
    /// No operator set of the standard domain.
    #[error("the model imports no operator set of the standard domain")]
    NoOpset,
    /// An operator set from the future.
    #[error(
        "the model has opset {0}; losses are written for opsets up to {NEWEST_OPSET}: convert it with onnx.version_converter"
    )]
    Newer(i64),
    /// An operator set from the past.
    #[error(
        "the model has opset {0}; losses are written for opsets from {OLDEST_OPSET}: convert it with onnx.version_converter"
    )]
    Older(i64),
    /// An operator set that is too old for what the loss needs.
    #[error("{error}")]
    Spell {
        /// The model's.
        opset: i64,
        /// Why.
        error: SpellError,
    },
    /// The loss needs features.
    #[error("the loss `{loss}` uses features, but {why}; name them with --features")]
    NoFeatures {
        /// The loss.
        loss: String,
        /// Why there are none.
        why: String,
    },
    /// A value that is not what the loss takes.
    #[error("{0}")]
    Port(String),
    /// Nothing could be trained by the loss.
    #[error(transparent)]
    NoGradient(#[from] NoGradient),
    /// See [`metadata::to_json`].
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

/// Attaches a loss to what [`super::discover()`] found.
///
/// # Errors
/// Losses without a gradient, models whose operator set cannot express the loss, and values that are not what the loss takes.
pub fn attach(host: &Host<'_>, head: &Head, plan: Plan<'_>) -> Result<Attached, AttachError> {
    row::check_gradient(plan.loss)?;
    let opset = checked_opset(host)?;
    let graph = graph_message(plan.graph, opset).map_err(|error| AttachError::Spell { opset, error })?;
    let features = features(head, plan.loss)?;
    let labels = labels(host, plan.labels)?;
    let mut names = Names::of(host.graph());
    let mut outside = IndexMap::new();
    for name in graph.input.iter().chain(&graph.output).filter_map(|port| port.name.clone()) {
        let theirs = match name.as_str() {
            "logits" => head.logits.name.clone(),
            "features" => features.map_or_else(String::new, |place| place.name.clone()),
            "labels" if labels.is_some() => labels.as_ref().map_or_else(String::new, |p| p.name.clone()),
            "labels" => names.give(plan.labels.unwrap_or("labels")),
            _ => names.give(&name),
        };
        outside.insert(name, theirs);
    }
    let casts = Casts::new(plan.loss, features, labels.as_ref(), &outside, &mut names);
    let renamer = Renamer::new(host, (head, features), inner(&graph, &outside, &casts, &mut names));
    let mut delta = additions(host, &graph, plan.kind, &outside, &renamer);
    let text = description(plan, &graph, &outside, &renamer)?;
    casts.add(&mut delta, &renamer);
    if host.ir() < FREE_INITIALIZERS {
        rename::store_in_constants(&mut delta);
    }
    delta.metadata = vec![(METADATA.to_owned(), text)];
    Ok(Attached { delta, names: outside })
}

/// The operator set to write for, of a model without a graft.
pub(super) fn checked_opset(host: &Host<'_>) -> Result<i64, AttachError> {
    if host.metadata(METADATA).is_some() {
        return Err(AttachError::Grafted);
    }
    match host.opset().ok_or(AttachError::NoOpset)? {
        opset if opset > NEWEST_OPSET => Err(AttachError::Newer(opset)),
        opset if opset < OLDEST_OPSET => Err(AttachError::Older(opset)),
        opset => Ok(opset),
    }
}

/// The names of all values of the lowered graph in the classifier.
fn inner(
    graph: &GraphProto,
    outside: &IndexMap<String, String>,
    casts: &Casts,
    names: &mut Names,
) -> HashMap<String, String> {
    let mut all: HashMap<String, String> = outside.clone().into_iter().collect();
    all.extend(casts.renamed());
    let stored = graph.initializer.iter().filter_map(|tensor| tensor.name.as_ref());
    for name in stored.chain(graph.node.iter().flat_map(|node| &node.output)) {
        if !all.contains_key(name) {
            all.insert(name.clone(), names.give(&format!("{PREFIX}{name}")));
        }
    }
    all
}

fn additions(
    host: &Host<'_>,
    graph: &GraphProto,
    kind: Kind,
    outside: &IndexMap<String, String>,
    renamer: &Renamer,
) -> Delta {
    let flow = Flow::new(host);
    let is_new = |port: &&ValueInfoProto| {
        port.name.as_ref().and_then(|name| outside.get(name)).is_some_and(|theirs| !flow.has(theirs))
    };
    let ports = |ports: &[ValueInfoProto]| ports.iter().map(|port| renamer.port(port)).collect::<Vec<_>>();
    let outputs = ports(&graph.output);
    let (first_outputs, outputs) =
        if kind.comes_first() { (outputs, Vec::new()) } else { (Vec::new(), outputs) };
    Delta {
        first_outputs,
        outputs,
        nodes: graph.node.iter().map(|node| renamer.node(node)).collect(),
        initializers: graph.initializer.iter().map(|tensor| renamer.tensor(tensor)).collect(),
        inputs: graph.input.iter().filter(is_new).map(|port| renamer.port(port)).collect(),
        value_info: ports(&graph.value_info),
        ..Delta::default()
    }
}

/// What was added, for people, for programs that drive the model, and for [`super::extract()`].
fn description(
    plan: Plan<'_>,
    graph: &GraphProto,
    outside: &IndexMap<String, String>,
    renamer: &Renamer,
) -> Result<String, MetadataError> {
    let ports = |ports: &[ValueInfoProto]| -> IndexMap<String, String> {
        let names = ports.iter().filter_map(|port| port.name.as_ref());
        names.filter_map(|name| Some((name.clone(), outside.get(name)?.clone()))).collect()
    };
    // What stands behind a cast: where the loss itself begins and ends.
    let cast = outside.iter().filter(|(ours, theirs)| renamer.value(ours) != **theirs);
    let cast = cast.map(|(ours, _)| (ours.clone(), renamer.value(ours))).collect();
    let tables = [CLASS_WEIGHTS, LOGIT_BIAS, LABEL_MARGIN]
        .into_iter()
        .filter(|table| graph.initializer.iter().any(|tensor| tensor.name.as_deref() == Some(*table)));
    let document = Description {
        format: FORMAT,
        emit: plan.kind.name().to_owned(),
        inputs: ports(&graph.input),
        outputs: ports(&graph.output),
        cast,
        stored: tables.map(|table| (table.to_owned(), renamer.value(table))).collect(),
        loss: serde_json::from_str(&metadata::to_json(plan.loss)?)?,
    };
    Ok(serde_json::to_string(&document)?)
}

#[cfg(test)]
pub(super) mod tests;
