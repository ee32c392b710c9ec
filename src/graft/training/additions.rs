//! The part of a graph that its file does not have, as an addition to the file.

use std::collections::{HashMap, HashSet};

use crate::graft::Names;
use crate::graft::attach::{PREFIX, rename};
use crate::graph::{Builder, Graph, Op, UnaryOp, ValueId};
use crate::onnx::{Delta, Host, Imported, SpellError, port, spell};
use crate::train::manifest::Carried;

/// First IR version in which an initializer need not be an input too, and from which ONNX Runtime lets a run give others in the
/// place of those that are. A training graph has this one at least.
const FREE_INITIALIZERS: i64 = 4;

/// What is added: everything that the new outputs need and the file does not have.
pub(super) struct Additions {
    /// Number of nodes of the classifier.
    nodes: usize,
    /// Number of inputs of the classifier in the graph.
    inputs: usize,
    /// Names of the inputs that the file has.
    theirs: HashSet<String>,
    names: Names,
    outputs: Vec<ValueId>,
    in_constants: bool,
}

impl Additions {
    pub fn new(host: &Host<'_>, imported: &Imported) -> Self {
        let graph = imported.builder.graph();
        Self {
            nodes: graph.nodes().len(),
            inputs: graph.inputs().len(),
            theirs: host.graph().input.iter().filter_map(|port| port.name.clone()).collect(),
            names: Names::of(host.graph()),
            outputs: Vec::new(),
            in_constants: host.ir() < FREE_INITIALIZERS,
        }
    }

    /// Names that are free.
    pub fn names(&mut self) -> &mut Names {
        &mut self.names
    }

    /// Makes a value an output of this name, which was taken before.
    pub fn output(&mut self, b: &mut Builder, name: String, value: ValueId) {
        let mut value = value;
        if b.graph().value(value).name.is_some() || b.constant_value(value).is_some() {
            let copied = b.try_nodes(Op::Unary(UnaryOp::Identity), &[value], 1);
            value = copied.expect("every value has an identity")[0];
        }
        b.set_name(value, &name);
        self.outputs.push(value);
    }

    /// The addition. `given` are initializers that become inputs.
    pub fn delta(mut self, graph: &Graph, opset: i64, given: &[&Carried]) -> Result<Delta, SpellError> {
        let part = self.part(graph);
        let names = self.all_names(graph, &part);
        let taken: HashSet<String> = names.iter().cloned().collect();
        let spelled = spell(&part, opset, &names, &taken)?;
        let message = |id: &ValueId| port(&names[id.index()], &graph.value(*id).ty);
        let by_name: HashMap<&str, ValueId> =
            graph.stored().iter().map(|id| (names[id.index()].as_str(), *id)).collect();
        let overridable = given.iter().filter(|c| !self.theirs.contains(&c.port.name));
        let overridable = overridable.filter_map(|c| by_name.get(c.port.name.as_str())).map(message);
        let mut delta = Delta {
            nodes: spelled.nodes,
            initializers: spelled.initializers,
            inputs: overridable.chain(graph.inputs()[self.inputs..].iter().map(message)).collect(),
            outputs: self.outputs.iter().map(message).collect(),
            ir_version: self.in_constants.then_some(FREE_INITIALIZERS),
            ..Delta::default()
        };
        for node in &mut delta.nodes {
            node.name = node.name.take().map(|name| self.names.give(&format!("{PREFIX}{name}")));
        }
        if self.in_constants {
            rename::store_in_constants(&mut delta);
        }
        Ok(delta)
    }

    /// Nodes and constants that the outputs need and the file does not have: those of ours, and inner ones of operators
    /// that were taken apart.
    fn part(&self, graph: &Graph) -> Graph {
        let mut needed = vec![false; graph.values.len()];
        self.outputs.iter().for_each(|id| needed[id.index()] = true);
        let mut nodes = Vec::new();
        for (place, node) in graph.nodes().iter().enumerate().rev() {
            let in_file = place < self.nodes && node.outputs.iter().any(|id| graph.value(*id).name.is_some());
            if !in_file && node.outputs.iter().any(|id| needed[id.index()]) {
                node.inputs.iter().for_each(|id| needed[id.index()] = true);
                nodes.push(node.clone());
            }
        }
        nodes.reverse();
        let constants =
            graph.constants().iter().filter(|(id, _)| needed[id.index()] && graph.value(*id).name.is_none());
        Graph {
            name: graph.name.clone(),
            values: graph.values.clone(),
            nodes,
            constants: constants.cloned().collect(),
            ..Graph::default()
        }
    }

    /// A name for every value: its own, or a new one.
    fn all_names(&mut self, graph: &Graph, part: &Graph) -> Vec<String> {
        let mut names: Vec<String> =
            graph.values.iter().map(|v| v.name.clone().unwrap_or_default()).collect();
        let mut give = |id: ValueId, base: String| {
            if names[id.index()].is_empty() {
                names[id.index()] = self.names.give(&format!("{PREFIX}{base}"));
            }
        };
        for (index, (id, _)) in part.constants().iter().enumerate() {
            give(*id, format!("const_{index}"));
        }
        for (index, node) in part.nodes().iter().enumerate() {
            for (k, id) in node.outputs.iter().enumerate() {
                let suffix = if k == 0 { String::new() } else { format!("_{k}") };
                give(*id, format!("{}_{index}{suffix}", node.op.name().to_lowercase()));
            }
        }
        names
    }
}
