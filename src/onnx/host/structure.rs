//! Whether every value of a graph is made once, and before it is read; in subgraphs and functions too.

use std::collections::{HashMap, HashSet};

use crate::onnx::messages::{FunctionProto, GraphProto, ModelProto, NodeProto, ValueInfoProto};

/// A graph that no engine could run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StructureError {
    /// A node reads what is not there.
    #[error("{node} reads `{value}`, which nothing makes")]
    Dangling {
        /// The reader.
        node: String,
        /// What it reads.
        value: String,
    },
    /// Nodes wait for each other.
    #[error("{node} reads `{value}`, which {maker} makes from {node}'s own output: the graph has a cycle")]
    Cycle {
        /// The reader.
        node: String,
        /// What it reads.
        value: String,
        /// What makes it.
        maker: String,
    },
    /// Nodes out of order.
    #[error("{node} reads `{value}` before {maker} makes it; nodes must stand in the order of evaluation")]
    Order {
        /// The reader.
        node: String,
        /// What it reads.
        value: String,
        /// What makes it.
        maker: String,
    },
    /// Two values of one name.
    #[error("two values are named `{value}`; the second is made by {maker}")]
    MadeTwice {
        /// The name.
        value: String,
        /// The second maker.
        maker: String,
    },
    /// An input or output that no run could give or ask for.
    #[error("an {port} of {of} has no name")]
    Unnamed {
        /// "input" or "output"
        port: &'static str,
        /// The graph.
        of: String,
    },
    /// A graph's or function's output that is not there.
    #[error("the output `{value}` of {of} is not made by anything")]
    Output {
        /// Its name.
        value: String,
        /// The graph or function.
        of: String,
    },
}

/// A node as an error names it.
pub fn label(node: &NodeProto) -> String {
    let op = node.op_type.as_deref().unwrap_or("operator");
    match (node.name.as_deref().filter(|n| !n.is_empty()), node.output.iter().find(|o| !o.is_empty())) {
        (Some(name), _) => format!("node `{name}` ({op})"),
        (None, Some(output)) => format!("the {op} that makes `{output}`"),
        (None, None) => format!("a {op} without a name"),
    }
}

pub(in crate::onnx) fn verify(model: &ModelProto) -> Result<(), StructureError> {
    model.graph.iter().try_for_each(|graph| verify_graph(graph, "the graph", None))?;
    model.functions.iter().try_for_each(verify_function)
}

/// What is made so far in a graph, and in those around it.
struct Scope<'a> {
    outer: Option<&'a Scope<'a>>,
    made: HashSet<&'a str>,
}

impl Scope<'_> {
    fn has(&self, name: &str) -> bool {
        self.made.contains(name) || self.outer.is_some_and(|outer| outer.has(name))
    }
}

fn verify_graph(graph: &GraphProto, name: &str, outer: Option<&Scope<'_>>) -> Result<(), StructureError> {
    verify_names("input", &graph.input, name)?;
    verify_names("output", &graph.output, name)?;
    let mut scope = Scope { outer, made: HashSet::new() };
    let twice = |value: &str, maker: &str| {
        Err(StructureError::MadeTwice { value: value.to_owned(), maker: maker.to_owned() })
    };
    let inputs = graph.input.iter().filter_map(|i| i.name.as_deref());
    for input in inputs {
        if !scope.made.insert(input) {
            return twice(input, "an input");
        }
    }
    let dense = graph.initializer.iter();
    let sparse = graph.sparse_initializer.iter().filter_map(|s| s.values.as_ref());
    let mut stored = HashSet::new();
    for initializer in dense.chain(sparse).filter_map(|t| t.name.as_deref()) {
        // An initializer may give an input its default, so it may share its name with one.
        if !stored.insert(initializer) {
            return twice(initializer, "an initializer");
        }
        scope.made.insert(initializer);
    }
    let outputs = graph.output.iter().filter_map(|o| o.name.as_deref());
    verify_nodes(&graph.node, &mut scope)?;
    verify_outputs(outputs, name, &scope)
}

fn verify_names(port: &'static str, ports: &[ValueInfoProto], of: &str) -> Result<(), StructureError> {
    match ports.iter().any(|info| info.name.as_deref().is_none_or(str::is_empty)) {
        true => Err(StructureError::Unnamed { port, of: of.to_owned() }),
        false => Ok(()),
    }
}

fn verify_function(function: &FunctionProto) -> Result<(), StructureError> {
    let made = function.input.iter().map(String::as_str).collect();
    let mut scope = Scope { outer: None, made };
    verify_nodes(&function.node, &mut scope)?;
    let name = format!("the function `{}`", function.name.as_deref().unwrap_or(""));
    verify_outputs(function.output.iter().map(String::as_str), &name, &scope)
}

fn verify_outputs<'a>(
    outputs: impl Iterator<Item = &'a str>,
    of: &str,
    scope: &Scope<'_>,
) -> Result<(), StructureError> {
    match outputs.into_iter().find(|name| !name.is_empty() && !scope.has(name)) {
        Some(value) => Err(StructureError::Output { value: value.to_owned(), of: of.to_owned() }),
        None => Ok(()),
    }
}

fn verify_nodes<'a>(nodes: &'a [NodeProto], scope: &mut Scope<'a>) -> Result<(), StructureError> {
    for (index, node) in nodes.iter().enumerate() {
        if let Some(value) = node.input.iter().find(|name| !name.is_empty() && !scope.has(name)) {
            return Err(not_made(nodes, index, value));
        }
        for attribute in &node.attribute {
            for graph in attribute.g.as_deref().into_iter().chain(&attribute.graphs) {
                verify_graph(graph, &format!("a subgraph of {}", label(node)), Some(scope))?;
            }
        }
        for output in node.output.iter().filter(|name| !name.is_empty()) {
            if !scope.made.insert(output) {
                return Err(StructureError::MadeTwice { value: output.clone(), maker: label(node) });
            }
        }
    }
    Ok(())
}

/// Why the node at `reader` does not find `value` made.
fn not_made(nodes: &[NodeProto], reader: usize, value: &str) -> StructureError {
    let mut makers: HashMap<&str, usize> = HashMap::new();
    for (index, node) in nodes.iter().enumerate() {
        makers.extend(node.output.iter().map(|output| (output.as_str(), index)));
    }
    let (node, value) = (label(&nodes[reader]), value.to_owned());
    let Some(&maker) = makers.get(value.as_str()) else {
        return StructureError::Dangling { node, value };
    };
    let mut waiting = vec![maker];
    let mut seen = HashSet::new();
    while let Some(index) = waiting.pop() {
        if index == reader {
            return StructureError::Cycle { node, value, maker: label(&nodes[maker]) };
        }
        if seen.insert(index) {
            waiting.extend(nodes[index].input.iter().filter_map(|input| makers.get(input.as_str())));
        }
    }
    StructureError::Order { node, value, maker: label(&nodes[maker]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::messages::{AttributeProto, TensorProto};

    fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
        NodeProto {
            op_type: Some(op.into()),
            input: inputs.iter().map(|s| (*s).to_owned()).collect(),
            output: outputs.iter().map(|s| (*s).to_owned()).collect(),
            ..NodeProto::default()
        }
    }

    fn graph(nodes: &[NodeProto], output: &str) -> GraphProto {
        let port = |name: &str| ValueInfoProto { name: Some(name.into()), ..ValueInfoProto::default() };
        GraphProto {
            node: nodes.to_vec(),
            input: vec![port("x")],
            output: vec![port(output)],
            initializer: vec![TensorProto { name: Some("w".into()), ..TensorProto::default() }],
            ..GraphProto::default()
        }
    }

    fn message(graph: GraphProto) -> String {
        let model = ModelProto { graph: Some(graph), ..ModelProto::default() };
        verify(&model).map_or_else(|e| e.to_string(), |()| "good".into())
    }

    #[test]
    fn broken_graphs_are_refused_with_the_node_named() {
        let cases = [
            (graph(&[node("Relu", &["x"], &["y"])], "y"), "good"),
            (
                graph(&[node("Relu", &["q"], &["y"])], "y"),
                "the Relu that makes `y` reads `q`, which nothing makes",
            ),
            (
                graph(&[node("Abs", &["b"], &["a"]), node("Exp", &["a"], &["b"])], "b"),
                "the graph has a cycle",
            ),
            (
                graph(&[node("Abs", &["b"], &["a"]), node("Exp", &["x"], &["b"])], "b"),
                "before the Exp that makes `b`",
            ),
            (graph(&[node("Abs", &["x"], &["w"])], "w"), "two values are named `w`"),
            (
                graph(&[node("Abs", &["x"], &["a"]), node("Exp", &["x"], &["a"])], "a"),
                "two values are named `a`",
            ),
            (graph(&[], "z"), "the output `z` of the graph is not made"),
            (graph(&[node("Relu", &["x"], &["y"])], ""), "an output of the graph has no name"),
            (
                GraphProto { input: vec![ValueInfoProto::default()], ..graph(&[], "w") },
                "an input of the graph has no name",
            ),
        ];
        for (graph, expected) in cases {
            let got = message(graph);
            assert!(got.contains(expected), "{got}\n{expected}");
        }
    }

    #[test]
    fn a_subgraph_sees_the_values_around_it_and_no_later_ones() {
        let with_branch = |inner: &str| {
            let branch = GraphProto { input: vec![], ..graph(&[node("Exp", &[inner], &["i"])], "i") };
            let mut outer = node("If", &["x"], &["y"]);
            outer.attribute.push(AttributeProto { g: Some(Box::new(branch)), ..AttributeProto::default() });
            graph(&[node("Abs", &["x"], &["a"]), outer], "y")
        };
        assert_eq!(message(with_branch("a")), "good");
        assert!(message(with_branch("y")).contains("the Exp that makes `i` reads `y`"));
    }
}
