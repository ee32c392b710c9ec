//! Whether a gradient gets from an output to where it is wanted.

use crate::graph::{Graph, Op, ValueId};
use crate::tensor::DType;

/// Whether reverse mode, starting at the first output, reaches one of `sources`: only through float values, and not
/// through a stop.
pub(super) fn depends_on(graph: &Graph, sources: &[ValueId]) -> bool {
    let mut reached = vec![false; graph.values.len()];
    let is_float = |id: &ValueId| !matches!(graph.value(*id).ty.dtype, DType::Bool | DType::I64 | DType::I32);
    graph.outputs().iter().take(1).for_each(|id| reached[id.index()] = true);
    for node in graph.nodes().iter().rev() {
        if node.outputs.iter().any(|id| reached[id.index()]) && !matches!(node.op, Op::Stop { .. }) {
            node.inputs.iter().filter(|id| is_float(id)).for_each(|id| reached[id.index()] = true);
        }
    }
    sources.iter().any(|id| reached[id.index()])
}
