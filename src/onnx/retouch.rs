//! Nodes of a model with other attributes.
//!
//! It works on bytes, as [`super::splice()`] does: an attribute is put into a node's bytes, and the lengths of the node
//! and of the graph change. Invariant: every other byte stays.

use prost::Message;

use super::host::{GRAPH, Host};
use super::messages::{AttributeProto, NodeProto};
use super::wire::{Fields, push_field};

/// Number of `GraphProto.node`.
const NODE: u64 = 1;
/// Number of `NodeProto.attribute`.
const ATTRIBUTE: u64 = 5;

/// The model with the attributes that `choose` gives to nodes of its graph, in the place of those of the same names;
/// `None` where it gives none. Nodes within the branches and bodies of control flow are not asked for.
pub fn set_attributes(
    host: &Host<'_>,
    choose: &mut dyn FnMut(&NodeProto) -> Option<AttributeProto>,
) -> Option<Vec<u8>> {
    let chosen: Vec<Option<AttributeProto>> = host.graph().node.iter().map(choose).collect();
    if chosen.iter().all(Option::is_none) {
        return None;
    }
    let (whole, content) = host.graph_field();
    let content = &host.bytes()[content];
    let mut chosen = chosen.into_iter();
    let mut graph = Vec::with_capacity(content.len());
    for field in Fields::new(content).flatten() {
        let attribute = if field.number == NODE { chosen.next().flatten() } else { None };
        match (attribute, field.content) {
            (Some(attribute), Some(node)) => push_field(&mut graph, NODE, &with(&content[node], &attribute)),
            _ => graph.extend_from_slice(&content[field.whole]),
        }
    }
    let mut out = host.bytes()[..whole.start].to_vec();
    push_field(&mut out, GRAPH, &graph);
    out.extend_from_slice(&host.bytes()[whole.end..]);
    Some(out)
}

/// A node's bytes with the attribute, and without another of its name.
fn with(node: &[u8], attribute: &AttributeProto) -> Vec<u8> {
    let is_old = |bytes: &[u8]| AttributeProto::decode(bytes).is_ok_and(|old| old.name == attribute.name);
    let mut out = Vec::with_capacity(node.len() + 16);
    for field in Fields::new(node).flatten() {
        let old = field.number == ATTRIBUTE && field.content.is_some_and(|content| is_old(&node[content]));
        if !old {
            out.extend_from_slice(&node[field.whole]);
        }
    }
    push_field(&mut out, ATTRIBUTE, &attribute.encode_to_vec());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::attributes::{float, integer};
    use crate::onnx::messages::{GraphProto, ModelProto, OperatorSetIdProto};

    fn bytes(attributes: &[AttributeProto]) -> Vec<u8> {
        let node = |output: &str, attribute: &[AttributeProto]| NodeProto {
            op_type: Some("RandomNormal".to_owned()),
            output: vec![output.to_owned()],
            attribute: attribute.to_vec(),
            ..NodeProto::default()
        };
        let graph = GraphProto { node: vec![node("a", attributes), node("b", &[])], ..GraphProto::default() };
        let import = OperatorSetIdProto { domain: None, version: Some(18) };
        let model = ModelProto {
            ir_version: Some(8),
            graph: Some(graph),
            opset_import: vec![import],
            ..ModelProto::default()
        };
        model.encode_to_vec()
    }

    #[test]
    fn an_attribute_takes_the_place_of_its_namesake_and_every_other_byte_stays() {
        let (other, old, new) = (integer("dtype", 1), float("seed", 1.0), integer("seed", -3));
        let before = bytes(&[old, other.clone()]);
        let host = Host::read(&before).unwrap();
        let mut choose = |node: &NodeProto| (node.output[0] == "a").then(|| new.clone());
        assert_eq!(set_attributes(&host, &mut choose).unwrap(), bytes(&[other, new]));
    }

    #[test]
    fn a_model_without_a_chosen_node_is_not_written_anew() {
        let before = bytes(&[]);
        assert_eq!(set_attributes(&Host::read(&before).unwrap(), &mut |_| None), None);
    }
}
