//! A model's message without the data of its large tensors, however large the file.
//!
//! Stands before decoding: what comes out is a small message that prost may read and copy. Invariant: everything but
//! the data of tensors larger than [`KEPT`] is there, and no more than [`MAX_NESTING`] graphs lie within each other.

use super::wire::{Fields, push_field};

/// Tensors up to this size keep their data: shapes, axes, scalars and other small constants.
pub const KEPT: usize = 4096;
/// Graphs within graphs that are read. prost reads 100 messages deep, and a subgraph is three deep.
pub const MAX_NESTING: usize = 24;

/// Why a message cannot be walked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SlimError {
    /// Not protobuf, or cut off.
    #[error("this is no ONNX model: it is not protobuf, or it is cut off")]
    Malformed,
    /// Subgraphs within subgraphs.
    #[error("graphs are nested more than {MAX_NESTING} deep")]
    TooDeep,
}

/// Messages on the way from a model to its tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    SparseTensor,
    Function,
}

impl Kind {
    /// What the field `number` of this message holds, where tensors may lie in it.
    fn child(self, number: u64) -> Option<Kind> {
        Some(match (self, number) {
            (Kind::Model, 7) | (Kind::Attribute, 6 | 11) => Kind::Graph,
            (Kind::Model, 25) => Kind::Function,
            (Kind::Graph, 1) | (Kind::Function, 7) => Kind::Node,
            (Kind::Graph, 5) | (Kind::Attribute, 5 | 10) | (Kind::SparseTensor, 1 | 2) => Kind::Tensor,
            (Kind::Graph, 15) | (Kind::Attribute, 22 | 23) => Kind::SparseTensor,
            (Kind::Node, 5) | (Kind::Function, 11) => Kind::Attribute,
            _ => return None,
        })
    }
}

/// `TensorProto`'s fields of data, in every spelling: float, int32, string, int64, raw, double and uint64.
const DATA: [u64; 7] = [4, 5, 6, 7, 9, 10, 11];

/// The message of a model without large data.
pub fn slim(model: &[u8]) -> Result<Vec<u8>, SlimError> {
    let mut out = Vec::new();
    walk(Kind::Model, model, MAX_NESTING, &mut out)?;
    Ok(out)
}

fn walk(kind: Kind, message: &[u8], nesting: usize, out: &mut Vec<u8>) -> Result<(), SlimError> {
    for field in Fields::new(message) {
        let field = field.ok_or(SlimError::Malformed)?;
        let child = kind.child(field.number).zip(field.content.clone());
        if let Some((child, content)) = child {
            let nesting = match child {
                Kind::Graph => nesting.checked_sub(1).ok_or(SlimError::TooDeep)?,
                _ => nesting,
            };
            let mut inner = Vec::new();
            walk(child, &message[content], nesting, &mut inner)?;
            push_field(out, field.number, &inner);
        } else if kind != Kind::Tensor || message.len() <= KEPT || !DATA.contains(&field.number) {
            out.extend_from_slice(&message[field.whole]);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::onnx::messages::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

    fn model(graph: GraphProto) -> Vec<u8> {
        ModelProto { graph: Some(graph), ..ModelProto::default() }.encode_to_vec()
    }

    #[test]
    fn only_the_data_of_large_tensors_goes() {
        let tensor = |name: &str, elements: usize| TensorProto {
            name: Some(name.into()),
            dims: vec![elements as i64],
            float_data: vec![1.0; elements],
            ..TensorProto::default()
        };
        let mut graph = GraphProto {
            initializer: vec![tensor("small", 10), tensor("large", 5000)],
            node: vec![NodeProto {
                op_type: Some("Constant".into()),
                attribute: vec![AttributeProto {
                    t: Some(Box::new(tensor("constant", 5000))),
                    ..AttributeProto::default()
                }],
                ..NodeProto::default()
            }],
            ..GraphProto::default()
        };
        let slimmed = slim(&model(graph.clone())).unwrap();
        graph.initializer[1].float_data.clear();
        graph.node[0].attribute[0].t.as_mut().unwrap().float_data.clear();
        assert_eq!(ModelProto::decode(slimmed.as_slice()).unwrap().graph, Some(graph));
    }

    #[test]
    fn nesting_is_bounded_and_what_is_allowed_decodes() {
        let nested = |levels: usize| {
            (1..levels).fold(GraphProto::default(), |inner, _| GraphProto {
                node: vec![NodeProto {
                    attribute: vec![AttributeProto { g: Some(Box::new(inner)), ..AttributeProto::default() }],
                    ..NodeProto::default()
                }],
                ..GraphProto::default()
            })
        };
        let allowed = slim(&model(nested(MAX_NESTING))).unwrap();
        ModelProto::decode(allowed.as_slice()).unwrap();
        assert_eq!(slim(&model(nested(MAX_NESTING + 1))), Err(SlimError::TooDeep));
    }
}
