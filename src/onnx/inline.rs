//! A model's functions written out in the place of their calls.
//!
//! Stands before everything that looks into a graph: a function hides its values, and a backward pass must read them.
//! It works on bytes, as [`super::splice()`] does: nodes of the functions' bodies are copied with other names, calls are left
//! out, and every byte that belongs to neither stays. Invariant: a name that the graph has is given to nothing else.

use std::collections::{BTreeMap, HashSet};

use super::Names;
use super::host::{GRAPH, Host, label};
use super::messages::{ModelProto, NodeProto, OperatorSetIdProto};
use super::slim::SlimError;
use super::wire::{Fields, push_field};
use prost::Message;

mod body;
mod functions;
mod scope;

use body::Writer;
use functions::{Functions, is_standard};
pub(super) use functions::{obstacle, with_inner};

/// Most nodes that all calls together are written out to: some ten times what the largest model has that is trained. Functions that
/// call functions twice each would double the number at every level.
const MOST_NODES: usize = 100_000;
/// Most bytes of such nodes, of which constants in functions are the greatest part.
const MOST_BYTES: usize = 256 << 20;
/// Calls within calls.
const MOST_LEVELS: usize = 64;

/// Functions that cannot be written out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InlineError {
    /// A function that calls itself, at once or by way of others.
    #[error(
        "the function `{0}` of the model calls itself, which ONNX does not allow; export the model again"
    )]
    Recursive(String),
    /// Calls within calls within calls.
    #[error("functions of the model call each other more than {MOST_LEVELS} deep, at `{0}`")]
    TooDeep(String),
    /// A model that would be too large.
    #[error(
        "written out, the model's functions have more than {MOST_NODES} nodes or {MOST_BYTES} bytes; the limit was met in \
         `{0}`"
    )]
    TooLarge(String),
    /// Bytes that are no protobuf.
    #[error(transparent)]
    Malformed(#[from] SlimError),
}

/// The model with every call of one of its functions replaced by the function's nodes; `None` where there is none to
/// replace.
///
/// Calls in the branches and bodies of control flow stay, with the functions that they need, as do calls of functions that
/// are written for other operator sets than the model. Inner values get the name of the call's node and their own.
///
/// # Errors
/// Functions that call themselves, and models that would grow beyond all measure.
pub fn inline(host: &Host<'_>) -> Result<Option<Vec<u8>>, InlineError> {
    let functions = Functions::new(host)?;
    if !host.graph().node.iter().any(|node| functions.written_out(node).is_some()) {
        return Ok(None);
    }
    let mut writer = Writer::new(&functions, Names::of(host.graph()));
    let graph = graph(host, &functions, &mut writer)?;
    let kept = functions.needed_by(writer.called);
    let mut out = Vec::with_capacity(host.bytes().len());
    let mut place = 0;
    for field in Fields::new(host.bytes()) {
        let field = field.ok_or(SlimError::Malformed)?;
        if field.number == GRAPH {
            push_field(&mut out, GRAPH, &graph);
            continue;
        }
        let is_function = field.number == functions::FUNCTION;
        place += usize::from(is_function);
        if !is_function || kept.contains(&(place - 1)) {
            out.extend_from_slice(&host.bytes()[field.whole]);
        }
    }
    for import in imports(host.model(), &writer.used) {
        push_field(&mut out, 8, &import.encode_to_vec());
    }
    Ok(Some(out))
}

/// The content of the graph's field.
fn graph(
    host: &Host<'_>,
    functions: &Functions<'_>,
    writer: &mut Writer<'_>,
) -> Result<Vec<u8>, InlineError> {
    let content = &host.bytes()[host.graph_field().1];
    let mut nodes = host.graph().node.iter();
    let mut out = Vec::with_capacity(content.len());
    for field in Fields::new(content) {
        let field = field.ok_or(SlimError::Malformed)?;
        let node = if field.number == 1 { nodes.next() } else { None };
        let called = node.and_then(|node| Some((node, functions.written_out(node)?)));
        match (called, node, field.content) {
            (Some((node, function)), _, Some(bytes)) => {
                writer.call(node, &content[bytes], function, &mut out)?;
            }
            (_, node, _) => {
                node.into_iter().for_each(|node| writer.keep(node));
                out.extend_from_slice(&content[field.whole]);
            }
        }
    }
    Ok(out)
}

/// Operator sets that the written-out nodes need and the model does not import.
fn imports(model: &ModelProto, used: &BTreeMap<String, i64>) -> Vec<OperatorSetIdProto> {
    let known: HashSet<&str> = model.opset_import.iter().map(|i| i.domain.as_deref().unwrap_or("")).collect();
    let missing =
        used.iter().filter(|(domain, _)| !known.contains(domain.as_str()) && !is_standard(Some(domain)));
    missing
        .map(|(domain, version)| OperatorSetIdProto { domain: Some(domain.clone()), version: Some(*version) })
        .collect()
}

/// What inner names begin with: the call's own name, or else what it makes.
fn prefix(node: &NodeProto) -> String {
    match node.name.as_deref() {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ => label(node).rsplit('`').nth(1).unwrap_or("").to_owned(),
    }
}
