//! The one authority over names in a file that is added to: the classifier's stand, ours yield.

use std::collections::HashSet;

use super::messages::{GraphProto, NodeProto};

/// The names of a file's values and nodes.
#[derive(Debug, Clone, Default)]
pub struct Names {
    taken: HashSet<String>,
}

impl Names {
    /// The names of a graph, with those in its subgraphs: inner values may not hide outer ones.
    pub fn of(graph: &GraphProto) -> Self {
        let mut names = Self::default();
        names.take_graph(graph);
        names
    }

    /// These names.
    pub fn new(taken: impl IntoIterator<Item = String>) -> Self {
        Self { taken: taken.into_iter().collect() }
    }

    /// `wanted`, or with the first of the suffixes `_1`, `_2`, … that makes it a new name. It is taken from then on.
    pub fn give(&mut self, wanted: &str) -> String {
        let name = self.free(wanted);
        self.taken.insert(name.clone());
        name
    }

    /// The name that [`Self::give`] would give.
    pub fn free(&self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        let mut suffix = 0;
        while self.taken.contains(&name) {
            suffix += 1;
            name = format!("{wanted}_{suffix}");
        }
        name
    }

    /// Whether a value or node has this name.
    pub fn has(&self, name: &str) -> bool {
        self.taken.contains(name)
    }

    fn take(&mut self, name: &str) {
        if !name.is_empty() {
            self.taken.insert(name.to_owned());
        }
    }

    fn take_graph(&mut self, graph: &GraphProto) {
        for port in graph.input.iter().chain(&graph.output).chain(&graph.value_info) {
            self.take(port.name.as_deref().unwrap_or(""));
        }
        let sparse = graph.sparse_initializer.iter().flat_map(|s| s.values.iter().chain(&s.indices));
        for tensor in graph.initializer.iter().chain(sparse) {
            self.take(tensor.name.as_deref().unwrap_or(""));
        }
        graph.node.iter().for_each(|node| self.take_node(node));
    }

    fn take_node(&mut self, node: &NodeProto) {
        for name in node.input.iter().chain(&node.output).chain(&node.name) {
            self.take(name);
        }
        for attribute in &node.attribute {
            for graph in attribute.g.as_deref().into_iter().chain(&attribute.graphs) {
                self.take_graph(graph);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::messages::{AttributeProto, ValueInfoProto};
    use super::*;

    #[test]
    fn the_models_names_stand_and_ours_yield_the_same_way_each_time() {
        let port = ValueInfoProto { name: Some("loss".into()), ..ValueInfoProto::default() };
        let inner = NodeProto { output: vec!["labels".into()], ..NodeProto::default() };
        let branch = GraphProto { node: vec![inner], ..GraphProto::default() };
        let attribute = AttributeProto { g: Some(Box::new(branch)), ..AttributeProto::default() };
        let node =
            NodeProto { name: Some("loss_1".into()), attribute: vec![attribute], ..NodeProto::default() };
        let graph = GraphProto { output: vec![port], node: vec![node], ..GraphProto::default() };
        for _ in 0..2 {
            let mut names = Names::of(&graph);
            let given = ["loss", "loss", "labels", "logits_grad"].map(|wanted| names.give(wanted));
            assert_eq!(given, ["loss_2", "loss_3", "labels_1", "logits_grad"]);
        }
    }
}
