//! Is every message of a model within the one that holds it?
//!
//! `rten` 0.27 trusts the lengths in a model: one beyond 2^63 makes its reader step backwards, for ever, and a large one
//! makes it allocate that much. So every nested message that it decodes is walked here first.

use super::signature::{Message, Payload};

/// Graphs nest in attributes; deeper than this is no honest model.
const MAX_DEPTH: usize = 128;

/// The messages of the ONNX protobuf that hold others.
#[derive(Clone, Copy)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    ValueInfo,
    Type,
    TensorType,
    SequenceType,
    Shape,
    /// Holds numbers and strings only.
    Leaf,
}

/// The kind of message in field `number` of a `parent`; `None` for a string or packed numbers.
fn child(parent: Kind, number: u64) -> Option<Kind> {
    match (parent, number) {
        (Kind::Model, 7) | (Kind::Attribute, 6 | 11) => Some(Kind::Graph),
        (Kind::Graph, 1) => Some(Kind::Node),
        (Kind::Graph, 5) | (Kind::Attribute, 5 | 10) => Some(Kind::Tensor),
        (Kind::Graph, 11..=13) => Some(Kind::ValueInfo),
        (Kind::Node, 5) => Some(Kind::Attribute),
        (Kind::ValueInfo, 2) | (Kind::SequenceType, 1) => Some(Kind::Type),
        (Kind::Type, 1) => Some(Kind::TensorType),
        (Kind::Type, 4 | 9) => Some(Kind::SequenceType),
        (Kind::TensorType, 2) => Some(Kind::Shape),
        (Kind::Model, 8 | 14) | (Kind::Tensor, 13) | (Kind::Shape, 1) => Some(Kind::Leaf),
        _ => None,
    }
}

/// Checks a serialised `ModelProto`. The error says that the bytes are none.
pub(super) fn check(model: &[u8]) -> Result<(), String> {
    check_message(model, Kind::Model, MAX_DEPTH)
}

fn check_message(bytes: &[u8], kind: Kind, depth: usize) -> Result<(), String> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err("its messages nest too deep".to_owned());
    };
    for item in (Message { rest: bytes }) {
        if let (number, Payload::Bytes(inner)) = item?
            && let Some(kind) = child(kind, number)
        {
            check_message(inner, kind, depth)?;
        }
    }
    Ok(())
}
