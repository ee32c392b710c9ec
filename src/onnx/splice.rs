//! Additions to a model as insertions into its bytes.
//!
//! Stands beside [`super::write()`], which makes whole files. The user's bytes are never encoded again, so whatever they
//! hold survives: unknown fields, order, external data, 2 GiB of weights. Two insertions go into the graph's field, one
//! after the file's last byte; besides, only the length of the graph's field changes. Invariant: taking the insertions
//! out and putting the old length back gives every original byte.

use std::borrow::Cow;
use std::io::{self, Write};

use prost::Message;

use super::host::{GRAPH, Host, INITIALIZER, StructureError, verify};
use super::messages::{
    FunctionProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
    ValueInfoProto,
};
use super::wire::{Fields, push_field, push_header};

/// What is added to a model. Names are the caller's to choose; see [`crate::graft::Names`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Delta {
    /// Outputs that come before those that the model has.
    pub first_outputs: Vec<ValueInfoProto>,
    /// Nodes, after those that the model has.
    pub nodes: Vec<NodeProto>,
    /// Initializers.
    pub initializers: Vec<TensorProto>,
    /// Inputs, after those that the model has. One of an initializer's name makes that initializer overridable.
    pub inputs: Vec<ValueInfoProto>,
    /// Outputs, after those that the model has.
    pub outputs: Vec<ValueInfoProto>,
    /// Types of inner values.
    pub value_info: Vec<ValueInfoProto>,
    /// Operator sets of further domains.
    pub opset_imports: Vec<OperatorSetIdProto>,
    /// Model-local functions.
    pub functions: Vec<FunctionProto>,
    /// Keys and values of `metadata_props`.
    pub metadata: Vec<(String, String)>,
    /// Initializers of the model, by name, whose encoding is replaced.
    pub replaced: Vec<TensorProto>,
    /// The IR version from here on: of a field that comes twice, protobuf takes the last.
    pub ir_version: Option<i64>,
}

/// An addition that does not fit the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpliceError {
    /// There is no such initializer to replace.
    #[error("the model has no initializer `{0}` to replace")]
    NoInitializer(String),
    /// The model would be broken after it.
    #[error("after the addition: {0}")]
    Structure(#[from] StructureError),
}

/// A model with its additions, as the pieces that make its bytes.
#[derive(Debug, Clone)]
pub struct Spliced<'a> {
    /// Borrowed pieces are the model's own bytes.
    pieces: Vec<Cow<'a, [u8]>>,
}

/// Puts an addition into a model.
///
/// # Errors
/// Additions that would leave a value made twice, never, or too late, and replacements of what is not there.
pub fn splice<'a>(host: &Host<'a>, delta: &Delta) -> Result<Spliced<'a>, SpliceError> {
    verify(&merged(host, delta))?;
    let bytes = host.bytes();
    let (whole, content) = host.graph_field();
    let mut graph = vec![Cow::Owned(messages(12, &delta.first_outputs))];
    graph.extend(with_replacements(host, delta)?);
    graph.push(Cow::Owned(graph_tail(delta)));
    debug_assert_eq!(content.end, whole.end, "a field ends with its content");
    let mut header = Vec::new();
    push_header(&mut header, GRAPH, graph.iter().map(|piece| piece.len()).sum());
    let mut pieces = vec![Cow::Borrowed(&bytes[..whole.start]), Cow::Owned(header)];
    pieces.append(&mut graph);
    pieces.push(Cow::Borrowed(&bytes[whole.end..]));
    pieces.push(Cow::Owned(model_tail(delta)));
    pieces.retain(|piece| !piece.is_empty());
    Ok(Spliced { pieces })
}

impl Spliced<'_> {
    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.pieces.iter().map(|piece| piece.len()).sum()
    }

    /// Whether there are no bytes; never for a model.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Writes the bytes.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        self.pieces.iter().try_for_each(|piece| out.write_all(piece))
    }

    /// All bytes at once, for models that fit memory twice.
    pub fn to_vec(&self) -> Vec<u8> {
        self.pieces.concat()
    }
}

/// The model as it will be, without the data of large tensors.
fn merged(host: &Host<'_>, delta: &Delta) -> ModelProto {
    let mut model = host.model().clone();
    let graph = model.graph.get_or_insert_default();
    graph.node.extend(delta.nodes.iter().cloned());
    graph.input.extend(delta.inputs.iter().cloned());
    graph.output.extend(delta.first_outputs.iter().chain(&delta.outputs).cloned());
    graph.initializer.extend(
        delta
            .initializers
            .iter()
            .map(|tensor| TensorProto { name: tensor.name.clone(), ..TensorProto::default() }),
    );
    model.functions.extend(delta.functions.iter().cloned());
    model
}

/// The graph's own bytes, with the replaced initializers.
fn with_replacements<'a>(host: &Host<'a>, delta: &Delta) -> Result<Vec<Cow<'a, [u8]>>, SpliceError> {
    let content = &host.bytes()[host.graph_field().1];
    let mut names = host.graph().initializer.iter().map(|tensor| tensor.name.as_deref().unwrap_or(""));
    let mut left: Vec<&TensorProto> = delta.replaced.iter().collect();
    let (mut pieces, mut copied) = (Vec::new(), 0);
    if !left.is_empty() {
        for field in Fields::new(content).flatten().filter(|field| field.number == INITIALIZER) {
            let name = names.next();
            let Some(at) = left.iter().position(|tensor| tensor.name.as_deref() == name) else {
                continue;
            };
            let mut encoded = Vec::new();
            push_field(&mut encoded, INITIALIZER, &left.remove(at).encode_to_vec());
            pieces.push(Cow::Borrowed(&content[copied..field.whole.start]));
            pieces.push(Cow::Owned(encoded));
            copied = field.whole.end;
        }
    }
    pieces.push(Cow::Borrowed(&content[copied..]));
    match left.first() {
        Some(tensor) => Err(SpliceError::NoInitializer(tensor.name.clone().unwrap_or_default())),
        None => Ok(pieces),
    }
}

fn graph_tail(delta: &Delta) -> Vec<u8> {
    [
        messages(1, &delta.nodes),
        messages(INITIALIZER, &delta.initializers),
        messages(11, &delta.inputs),
        messages(12, &delta.outputs),
        messages(13, &delta.value_info),
    ]
    .concat()
}

fn model_tail(delta: &Delta) -> Vec<u8> {
    let metadata: Vec<StringStringEntryProto> = delta
        .metadata
        .iter()
        .map(|(key, value)| StringStringEntryProto { key: Some(key.clone()), value: Some(value.clone()) })
        .collect();
    let version = ModelProto { ir_version: delta.ir_version, ..ModelProto::default() }.encode_to_vec();
    [version, messages(8, &delta.opset_imports), messages(14, &metadata), messages(25, &delta.functions)]
        .concat()
}

/// A repeated field of messages.
fn messages(number: u64, all: &[impl Message]) -> Vec<u8> {
    let mut out = Vec::new();
    all.iter().for_each(|message| push_field(&mut out, number, &message.encode_to_vec()));
    out
}

#[cfg(test)]
mod tests;
