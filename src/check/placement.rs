//! Which provider ran each node, and whether that is as it should be.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::onnx::messages::{GraphProto, ValueInfoProto};
use crate::runtime::{NodePlacement, Provider};

/// Nodes by provider, and what is wrong with that.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Placement {
    /// Number of nodes by provider.
    pub nodes: BTreeMap<String, usize>,
    /// Provider of each node, in the engine's order: (node, operator, provider).
    pub assignment: Vec<(String, String, String)>,
    /// Copies between devices, and nodes on the CPU that touch `[N, C]` or `[N, D]` data.
    pub problems: Vec<String>,
}

/// Judges the placement of a run on `provider`. On the CPU there is nothing to judge.
pub(super) fn judge(graph: &GraphProto, provider: Provider, nodes: &[NodePlacement]) -> Placement {
    let mut placement = Placement::default();
    let wide = wide_values(graph);
    let touched: HashMap<&str, Vec<&str>> = graph
        .node
        .iter()
        .map(|node| {
            let values = node.input.iter().chain(&node.output).map(String::as_str);
            (node.name.as_deref().unwrap_or(""), values.filter(|v| wide.contains(v)).collect())
        })
        .collect();
    for node in nodes {
        *placement.nodes.entry(node.provider.clone()).or_default() += 1;
        let entry = (node.node.clone(), node.op_type.clone(), node.provider.clone());
        placement.assignment.push(entry);
        if provider == Provider::Cpu {
            continue;
        }
        let values = touched.get(node.node.as_str()).map_or(&[][..], Vec::as_slice);
        if node.op_type.starts_with("Memcpy") {
            placement.problems.push(format!("{} copies between devices ({})", node.node, node.op_type));
        } else if node.provider.starts_with("CPU") && !values.is_empty() {
            placement.problems.push(format!(
                "{} ({}) ran on the CPU and touches {}",
                node.node,
                node.op_type,
                values.join(", ")
            ));
        }
    }
    placement
}

/// Values of two axes whose last is not 1: `[N, C]` and `[N, D]`.
fn wide_values(graph: &GraphProto) -> Vec<&str> {
    let all = graph.input.iter().chain(&graph.output).chain(&graph.value_info);
    all.filter(|info| is_wide(info)).filter_map(|info| info.name.as_deref()).collect()
}

fn is_wide(info: &ValueInfoProto) -> bool {
    let tensor = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    let Some(shape) = tensor.and_then(|t| t.shape.as_ref()) else {
        return false;
    };
    matches!(shape.dim.as_slice(), [_, last] if last.dim_value != Some(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact;
    use crate::loss::{Interface, Loss, builtin};
    use crate::lower::Lowering;
    use crate::lower::fused::OPERATOR;
    use crate::onnx::Versions;

    fn placed(node: &str, op_type: &str, provider: &str) -> NodePlacement {
        NodePlacement {
            provider: provider.to_owned(),
            node: node.to_owned(),
            op_type: op_type.to_owned(),
            domain: String::new(),
        }
    }

    #[test]
    fn cpu_nodes_on_wide_data_and_copies_are_problems_on_a_device() {
        let spec = builtin::load("ib").unwrap().unwrap();
        let interface = Interface::new(10, &spec);
        let loss = Loss::new(spec, interface, None).unwrap();
        let opened = artifact::open(&artifact::emit(&loss, Versions::default()).unwrap()).unwrap();
        let softmax = opened.graph().node.iter().find(|n| n.op_type.as_deref() == Some("Softmax")).unwrap();
        let log = opened.graph().node.iter().find(|n| n.op_type.as_deref() == Some("Log")).unwrap();
        let nodes = [
            placed(softmax.name.as_deref().unwrap(), "Softmax", "CPUExecutionProvider"),
            placed(log.name.as_deref().unwrap(), "Log", "CPUExecutionProvider"),
            placed("Memcpy", "MemcpyFromHost", "CUDAExecutionProvider"),
        ];
        let on_device = judge(opened.graph(), Provider::Cuda, &nodes);
        assert_eq!(on_device.problems.len(), 2, "{:?}", on_device.problems);
        assert_eq!(on_device.nodes["CPUExecutionProvider"], 2);
        assert!(judge(opened.graph(), Provider::Cpu, &nodes[..2]).problems.is_empty());
    }

    #[test]
    fn a_fused_node_belongs_on_the_device() {
        let spec = builtin::load("ib").unwrap().unwrap();
        let interface = Interface::new(10, &spec);
        let loss = Loss::new(spec, interface, None).unwrap();
        let bytes = artifact::emit_as(&loss, Lowering::Fused, Versions::default()).unwrap();
        let opened = artifact::open(&bytes).unwrap();
        let name = opened.graph().node[0].name.clone().unwrap();
        let on = |provider: &str| judge(opened.graph(), Provider::Cuda, &[placed(&name, OPERATOR, provider)]);
        assert!(on("CUDAExecutionProvider").problems.is_empty());
        let problems = on("CPUExecutionProvider").problems;
        assert!(
            problems.iter().any(|p| p.contains("(MarginLoss) ran on the CPU and touches logits")),
            "{problems:?}"
        );
    }
}
