//! A graph as text, one node a line, for people and for snapshot tests.

use std::fmt;

use super::{Graph, Op, ValueId};
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
        for node in &self.nodes {
            let inputs: Vec<String> = node.inputs.iter().map(|id| self.label(*id)).collect();
            let output = self.value(node.output);
            writeln!(
                f,
                "  {} = {}({}){} : {}",
                self.label(node.output),
                node.op.name(),
                inputs.join(", "),
                attributes(&node.op),
                output.ty
            )?;
        }
        let outputs: Vec<String> = self.outputs.iter().map(|id| self.label(*id)).collect();
        writeln!(f, "  out {}", outputs.join(", "))
    }
}

fn attributes(op: &Op) -> String {
    match op {
        Op::Reduce(_, Some(axis)) => format!(" axis={axis}"),
        Op::Reduce(_, None) => " all".to_owned(),
        _ => String::new(),
    }
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
