//! Linear layers: Gemm, or MatMul with or without Add, on data and constant weights.

use crate::graft::flow::{Extent, Flow, Known, integer, op};
use crate::onnx::host::label;

/// A linear layer.
pub struct Layer<'a> {
    /// The value that it is applied to.
    pub data: &'a str,
    /// Its node, as a message names it.
    pub label: String,
    /// Its weights.
    weights: &'a str,
    /// The axis of the weights that the data's last one meets.
    axis: usize,
}

impl Layer<'_> {
    /// What the layer says of its data, `[N, D]`, given what is known of its output `[N, C]`.
    pub fn data_type(&self, flow: &Flow<'_>, output: &Known) -> Known {
        let weights = flow.known(self.weights);
        let extent = |known: &Known, axis: usize| known.extent(axis).cloned().unwrap_or(Extent::Unknown);
        let matrix = output.rank() == Some(2) && weights.rank() == Some(2);
        let shape = matrix.then(|| vec![extent(output, 0), extent(&weights, self.axis)]);
        Known { element: weights.element, shape }
    }
}

/// The layer that makes `value`; `None` where something else does.
pub fn linear<'a>(flow: &Flow<'a>, value: &str) -> Option<Layer<'a>> {
    let mut node = flow.maker(value)?;
    // Every step goes to an earlier node.
    loop {
        let (first, second) = (node.input.first()?, node.input.get(1)?);
        match op(node) {
            "Gemm" if integer(node, "transA").unwrap_or(0) == 0 => {
                let transposed = integer(node, "transB").unwrap_or(0) != 0;
                return matrix(flow, first, second, label(node), usize::from(transposed));
            }
            "MatMul" => return matrix(flow, first, second, label(node), 0),
            // The bias may stand on either side.
            "Add" if flow.is_constant(second) => node = flow.maker(first)?,
            "Add" if flow.is_constant(first) => node = flow.maker(second)?,
            _ => return None,
        }
    }
}

fn matrix<'a>(
    flow: &Flow<'a>,
    data: &'a str,
    weights: &'a str,
    label: String,
    axis: usize,
) -> Option<Layer<'a>> {
    let linear = flow.is_constant(weights) && !flow.is_constant(data);
    linear.then_some(Layer { data, label, weights, axis })
}
