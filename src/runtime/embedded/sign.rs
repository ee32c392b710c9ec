//! `Sign` for rten, which gives 1 at zero where ONNX gives 0.
//!
//! Each `Sign(x)` becomes `Where(x = x - x, x, Sign(x))`: a zero stays the zero it is, and NaN and infinity, where
//! x - x is NaN, take the sign. Every other byte of the model is copied.

use prost::Message;

use crate::onnx::messages::NodeProto;
use crate::onnx::wire::{fields, push_field};

/// Number of `ModelProto.graph`.
const GRAPH: u64 = 7;
/// Number of `GraphProto.node`.
const NODE: u64 = 1;

/// The model with every `Sign` at the top level of its graph mended; bytes that are no model come back as they are.
pub(super) fn mended(model: &[u8]) -> Vec<u8> {
    rewritten(model, GRAPH, &|graph, out| {
        push_field(out, GRAPH, &rewritten(graph, NODE, &push_node));
    })
}

/// `message` with `replace` called on the content of each field `number`, and all else copied.
fn rewritten(message: &[u8], number: u64, replace: &dyn Fn(&[u8], &mut Vec<u8>)) -> Vec<u8> {
    let Some(found) = fields(message) else {
        return message.to_vec();
    };
    let mut out = Vec::with_capacity(message.len());
    for field in found {
        match field.content {
            Some(content) if field.number == number => replace(&message[content], &mut out),
            _ => out.extend_from_slice(&message[field.whole]),
        }
    }
    out
}

fn push_node(node: &[u8], out: &mut Vec<u8>) {
    let standard = |n: &NodeProto| matches!(n.domain.as_deref(), None | Some("" | "ai.onnx"));
    match NodeProto::decode(node) {
        Ok(sign) if sign.op_type.as_deref() == Some("Sign") && standard(&sign) => {
            for part in parts(&sign) {
                push_field(out, NODE, &part.encode_to_vec());
            }
        }
        _ => push_field(out, NODE, node),
    }
}

fn parts(sign: &NodeProto) -> Vec<NodeProto> {
    let (Some(x), Some(y)) = (sign.input.first(), sign.output.first()) else {
        return vec![sign.clone()];
    };
    let part = |suffix: &str| format!("{y}/ibgraph:{suffix}");
    let node = |op: &str, inputs: &[&str], output: &str| NodeProto {
        input: inputs.iter().map(|i| (*i).to_owned()).collect(),
        output: vec![output.to_owned()],
        name: Some(format!("{output}/{op}")),
        op_type: Some(op.to_owned()),
        ..NodeProto::default()
    };
    let (difference, is_zero, signed) = (part("difference"), part("is_zero"), part("signed"));
    vec![
        node("Sub", &[x, x], &difference),
        node("Equal", &[x, &difference], &is_zero),
        node("Sign", &[x], &signed),
        node("Where", &[&is_zero, x, &signed], y),
    ]
}
