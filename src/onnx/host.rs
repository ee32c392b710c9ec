//! A model that is read but never written back: its structure decoded, its bytes left where they are.
//!
//! What others build on a user's model (a grafted loss, a backward pass, new parameter values) is added to the bytes by
//! [`super::splice()`]. Invariant: every value that a node reads is made exactly once, and before it is read.

use std::ops::Range;

use super::ReadError;
use super::messages::{GraphProto, ModelProto};
use super::slim::{SlimError, slim};
use super::wire::{Field, Fields};

mod structure;

pub(super) use structure::verify;
pub use structure::{StructureError, label};

/// Number of `ModelProto.graph`.
pub(crate) const GRAPH: u64 = 7;
/// Number of `GraphProto.initializer`.
pub(crate) const INITIALIZER: u64 = 5;

/// A model's bytes with what they say.
#[derive(Debug, Clone)]
pub struct Host<'a> {
    bytes: &'a [u8],
    model: ModelProto,
    graph: Field,
    content: Range<usize>,
}

/// Why a model cannot be a host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// No model, or one that lacks what every model has.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Not protobuf, cut off, or nested too deeply.
    #[error(transparent)]
    Slim(#[from] SlimError),
    /// The graph comes in two pieces, which protobuf allows and no exporter writes.
    #[error("the model has two graphs; load and save it with the onnx package, which makes them one")]
    TwoGraphs,
    /// The graph is broken.
    #[error(transparent)]
    Structure(#[from] StructureError),
}

impl<'a> Host<'a> {
    /// Reads the structure of a model and checks it. `bytes` may be a mapped file: only what is not tensor data is
    /// copied.
    ///
    /// # Errors
    /// Bytes that are no model, and graphs in which a value is made twice, never, or too late.
    pub fn read(bytes: &'a [u8]) -> Result<Self, HostError> {
        let model = super::read(&slim(bytes)?)?;
        let mut graphs = Fields::new(bytes).flatten().filter(|field| field.number == GRAPH);
        let graph = graphs.next().ok_or(ReadError::NotAModel("graph"))?;
        if graphs.next().is_some() {
            return Err(HostError::TwoGraphs);
        }
        let content = graph.content.clone().ok_or(SlimError::Malformed)?;
        structure::verify(&model)?;
        Ok(Self { bytes, model, graph, content })
    }

    /// The whole file.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What the file says, without the data of tensors above [`super::slim::KEPT`] bytes.
    pub fn model(&self) -> &ModelProto {
        &self.model
    }

    /// Its graph.
    pub fn graph(&self) -> &GraphProto {
        self.model.graph.as_ref().expect("a model without a graph is refused when it is read")
    }

    /// Operator set of the standard domain; `None` where the model imports none.
    pub fn opset(&self) -> Option<i64> {
        let standard = |domain: Option<&str>| matches!(domain, None | Some("" | "ai.onnx"));
        let import = self.model.opset_import.iter().find(|i| standard(i.domain.as_deref()));
        import.and_then(|i| i.version)
    }

    /// IR version.
    pub fn ir(&self) -> i64 {
        self.model.ir_version.expect("a model without an IR version is refused when it is read")
    }

    /// A value of `metadata_props`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        let entry = self.model.metadata_props.iter().find(|e| e.key.as_deref() == Some(key));
        entry.and_then(|e| e.value.as_deref())
    }

    /// Where the encoded `TensorProto` of each initializer stands in [`Self::bytes`], in the order of
    /// `graph().initializer`.
    pub fn initializer_ranges(&self) -> Vec<Range<usize>> {
        let start = self.content.start;
        let fields = Fields::new(&self.bytes[self.content.clone()]).flatten();
        let tensors = fields.filter(|field| field.number == INITIALIZER);
        let contents = tensors.filter_map(|field| field.content);
        contents.map(|range| range.start + start..range.end + start).collect()
    }

    /// The field that holds the graph, and its content.
    pub(super) fn graph_field(&self) -> (Range<usize>, Range<usize>) {
        (self.graph.whole.clone(), self.content.clone())
    }
}
