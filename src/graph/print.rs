//! A graph as text, one node a line, for people and for snapshot tests.

use std::fmt;

use super::{Graph, Op, SliceAxis, ValueId, Window};
use crate::tensor::Tensor;

/// Longest constant that is printed with its values.
const SHOWN: usize = 4;

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "graph {}", self.name)?;
        for id in &self.inputs {
            writeln!(f, "  in  {} {}", self.label(*id), self.value(*id).ty)?;
        }
        for (id, tensor) in &self.constants {
            if self.value(*id).name.is_some() || tensor.len() > SHOWN {
                writeln!(f, "  let {} {}", self.label(*id), self.value(*id).ty)?;
            }
        }
        for id in &self.stored {
            writeln!(f, "  let {} {}", self.label(*id), self.value(*id).ty)?;
        }
        for node in &self.nodes {
            let labels =
                |ids: &[ValueId]| ids.iter().map(|id| self.label(*id)).collect::<Vec<_>>().join(", ");
            let types: Vec<String> = node.outputs.iter().map(|id| self.value(*id).ty.to_string()).collect();
            writeln!(
                f,
                "  {} = {}({}){} : {}",
                labels(&node.outputs),
                node.op.name(),
                labels(&node.inputs),
                attributes(&node.op),
                types.join(", ")
            )?;
        }
        let outputs: Vec<String> = self.outputs.iter().map(|id| self.label(*id)).collect();
        writeln!(f, "  out {}", outputs.join(", "))
    }
}

/// Attributes in the words of ONNX; nothing where the operator has none, or they follow from the types.
fn attributes(op: &Op) -> String {
    match op {
        Op::Reduce { axes: None, keep, .. } => format!(" all{}", if *keep { " keep" } else { "" }),
        Op::Reduce { axes: Some(axes), keep: true, .. } => format!(" axis={}", list(axes)),
        Op::Reduce { axes: Some(axes), keep: false, .. } => format!(" axis={} drop", list(axes)),
        Op::ScatterElements { add: true, .. } => " add".to_owned(),
        Op::Activation(activation) => format!(" {activation:?}"),
        Op::Gemm(gemm) => format!(
            " alpha={} beta={}{}{}",
            gemm.alpha.get(),
            gemm.beta.get(),
            if gemm.trans_a { " transA" } else { "" },
            if gemm.trans_b { " transB" } else { "" }
        ),
        Op::Conv(conv) | Op::ConvTranspose(conv, _) => {
            format!(" group={}{}", conv.group, window(&conv.window))
        }
        Op::MaxPool(pool) | Op::AveragePool(pool) => window(&pool.window),
        Op::MaxUnpool(w) => window(w),
        Op::BatchNorm(norm) if norm.training => format!(" epsilon={} training", norm.epsilon.get()),
        Op::BatchNorm(norm) => format!(" epsilon={}", norm.epsilon.get()),
        Op::LayerNorm(norm) => format!(" axis={} epsilon={}", norm.axis, norm.epsilon.get()),
        Op::Transpose(perm) => format!(" perm={}", list(perm)),
        Op::Flatten(axis) | Op::Concat(axis) | Op::Split(axis, _) => format!(" axis={axis}"),
        Op::Slice(parts) => {
            let part = |p: &SliceAxis| format!(" {}:[{}:{}:{}]", p.axis, p.start, p.end, p.step);
            parts.iter().map(part).collect()
        }
        Op::Crop(axis) => format!(" from axis {axis}"),
        Op::Pad(pad) => format!(" {} {:?}", pad.mode, pad.pads),
        Op::Shape(start, end) => format!(" {start}..{end}"),
        Op::ConstantOfShape(value) => format!(" {}", value.value()),
        Op::Unary(_)
        | Op::Binary(_)
        | Op::Compare(_)
        | Op::And
        | Op::Or
        | Op::Where
        | Op::Clip
        | Op::Cast(_)
        | Op::Softmax(_)
        | Op::LogSoftmax(_)
        | Op::Gather(_)
        | Op::GatherElements(_)
        | Op::ScatterElements { add: false, .. }
        | Op::OneHot
        | Op::Unsqueeze(_)
        | Op::Squeeze(_)
        | Op::MatMul
        | Op::Reshape
        | Op::Expand
        | Op::Dropout(_)
        | Op::Range
        | Op::Stop { .. }
        | Op::Opaque(_) => String::new(),
    }
}

fn window(window: &Window) -> String {
    format!(
        " kernel={} strides={} pads={} dilations={}",
        list(&window.kernel),
        list(&window.strides),
        list(&window.pads),
        list(&window.dilations)
    )
}

fn list(values: &[usize]) -> String {
    values.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

impl Graph {
    fn label(&self, id: ValueId) -> String {
        if let Some(name) = &self.value(id).name {
            return name.clone();
        }
        match self.constants.iter().find(|(constant, _)| *constant == id) {
            Some((_, tensor)) if tensor.len() <= SHOWN => literal(tensor),
            _ => id.to_string(),
        }
    }
}

fn literal(tensor: &Tensor) -> String {
    let values: Vec<String> = tensor
        .to_f64_vec()
        .iter()
        .map(|v| if v.abs() < 1e6 { format!("{v}") } else { format!("{v:e}") })
        .collect();
    match tensor.shape() {
        [] => values.join(""),
        _ => format!("[{}]", values.join(", ")),
    }
}
