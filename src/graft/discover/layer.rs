//! Linear layers: Gemm, or MatMul with or without Add, on data and constant weights.

use crate::graft::flow::{Flow, integer, op};
use crate::onnx::host::label;

/// A linear layer.
pub struct Layer<'a> {
    /// The value that it is applied to.
    pub data: &'a str,
    /// Its node, as a message names it.
    pub label: String,
}

/// The layer that makes `value`; `None` where something else does.
pub fn linear<'a>(flow: &Flow<'a>, value: &str) -> Option<Layer<'a>> {
    let mut node = flow.maker(value)?;
    // Every step goes to an earlier node.
    loop {
        let (first, second) = (node.input.first()?, node.input.get(1)?);
        match op(node) {
            "Gemm" if integer(node, "transA").unwrap_or(0) == 0 => {
                return matrix(flow, first, second, label(node));
            }
            "MatMul" => return matrix(flow, first, second, label(node)),
            // The bias may stand on either side.
            "Add" if flow.is_constant(second) => node = flow.maker(first)?,
            "Add" if flow.is_constant(first) => node = flow.maker(second)?,
            _ => return None,
        }
    }
}

fn matrix<'a>(flow: &Flow<'a>, data: &'a str, weights: &str, label: String) -> Option<Layer<'a>> {
    (flow.is_constant(weights) && !flow.is_constant(data)).then_some(Layer { data, label })
}
