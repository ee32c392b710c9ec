//! Initializers that a model lists as inputs too, so that a run may give others in their place.
//!
//! `rten` takes every initializer for a constant, and drops what a run gives for it in silence; so initializers that are
//! given are taken out of the model before it is loaded.

use std::collections::BTreeSet;

use crate::onnx::host::{GRAPH, INITIALIZER};
use crate::onnx::wire::{Fields, push_field};

/// Number of `TensorProto.name`.
const NAME: u64 = 8;

/// Names of the initializers of a model's graph.
pub(super) fn initializers(model: &[u8]) -> BTreeSet<String> {
    let graphs = Fields::new(model).flatten().filter(|field| field.number == GRAPH);
    let graphs = graphs.filter_map(|field| field.content).map(|content| &model[content]);
    graphs.flat_map(|graph| tensors(graph).map(|content| name(&graph[content]))).collect()
}

/// The model without these initializers.
pub(super) fn without(model: &[u8], names: &BTreeSet<String>) -> Vec<u8> {
    let mut out = Vec::with_capacity(model.len());
    for field in Fields::new(model).flatten() {
        match field.content {
            Some(content) if field.number == GRAPH => {
                push_field(&mut out, GRAPH, &graph_without(&model[content], names));
            }
            _ => out.extend_from_slice(&model[field.whole]),
        }
    }
    out
}

fn graph_without(graph: &[u8], names: &BTreeSet<String>) -> Vec<u8> {
    let mut out = Vec::with_capacity(graph.len());
    for field in Fields::new(graph).flatten() {
        let tensor = field.content.filter(|_| field.number == INITIALIZER);
        if !tensor.is_some_and(|content| names.contains(&name(&graph[content]))) {
            out.extend_from_slice(&graph[field.whole]);
        }
    }
    out
}

fn tensors(graph: &[u8]) -> impl Iterator<Item = std::ops::Range<usize>> {
    let fields = Fields::new(graph).flatten().filter(|field| field.number == INITIALIZER);
    fields.filter_map(|field| field.content)
}

fn name(tensor: &[u8]) -> String {
    let mut names = Fields::new(tensor).flatten().filter(|field| field.number == NAME);
    let content = names.next().and_then(|field| field.content);
    content.map(|content| String::from_utf8_lossy(&tensor[content]).into_owned()).unwrap_or_default()
}
