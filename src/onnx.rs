//! The ONNX boundary: messages, reading and writing.
//!
//! Strings live here and nowhere deeper. Invariant: the same graph and options give the same bytes.

pub mod attributes;
pub mod external;
pub mod host;
mod import;
mod inline;
pub mod messages;
mod names;
mod opset;
mod outline;
mod read;
pub mod retouch;
pub mod slim;
mod source;
mod spell;
pub mod splice;
pub mod wire;
mod write;

pub use host::{Host, HostError};
pub use import::{ImportError, Imported, import, port_type};
pub use inline::{InlineError, inline};
pub use names::Names;
pub use opset::{DEFAULT_OPSET, NEWEST_OPSET, OLDEST_OPSET, OpsetError, Versions, oldest_ir};
pub use outline::{Operator, outline};
pub use read::{ReadError, read, tensor};
pub use source::Source;
pub(crate) use spell::ELEMENTS;
pub use spell::{SpellError, Spelled, names, spell};
pub use splice::{Delta, SpliceError, Spliced, splice};
pub use write::{WriteOptions, graph_message, loss_port, model, port, tensor_bytes, write};
