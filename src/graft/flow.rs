//! A classifier's graph as values: what makes each, and what is known of its type.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use crate::onnx::Host;
use crate::onnx::messages::{NodeProto, TensorProto, TensorTypeProto};

mod shapes;

pub use shapes::{Extent, Known};

/// A graph by its values.
pub struct Flow<'a> {
    makers: HashMap<&'a str, &'a NodeProto>,
    readers: HashMap<&'a str, Vec<&'a NodeProto>>,
    stored: HashMap<&'a str, &'a TensorProto>,
    types: HashMap<&'a str, &'a TensorTypeProto>,
    /// Types that were asked for before: paths through a graph share most of their nodes.
    found: RefCell<HashMap<String, Known>>,
}

impl<'a> Flow<'a> {
    /// The values of a model's graph.
    pub fn new(host: &'a Host<'_>) -> Self {
        let graph = host.graph();
        let (mut makers, mut readers) = (HashMap::new(), HashMap::<&str, Vec<&NodeProto>>::new());
        for node in &graph.node {
            makers.extend(node.output.iter().map(|output| (output.as_str(), node)));
            node.input.iter().for_each(|input| readers.entry(input).or_default().push(node));
        }
        let stored = graph.initializer.iter().map(|tensor| (tensor.name.as_deref().unwrap_or(""), tensor));
        let ports = graph.input.iter().chain(&graph.output).chain(&graph.value_info);
        let types = ports.filter_map(|port| {
            let tensor = port.r#type.as_ref()?.tensor_type.as_ref()?;
            Some((port.name.as_deref()?, tensor))
        });
        Self { makers, readers, stored: stored.collect(), types: types.collect(), found: RefCell::default() }
    }

    /// The node that makes a value; `None` for inputs and initializers.
    pub fn maker(&self, value: &str) -> Option<&'a NodeProto> {
        self.makers.get(value).copied()
    }

    /// Whether the graph has a value of this name.
    pub fn has(&self, value: &str) -> bool {
        // An output that a node leaves out has the empty name.
        let known = self.makers.contains_key(value)
            || self.types.contains_key(value)
            || self.stored.contains_key(value);
        known && !value.is_empty()
    }

    /// Every name that is made by a node or declared.
    pub fn values(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.makers.keys().chain(self.types.keys()).copied()
    }

    /// Whether a value is the same at every run: an initializer or a constant, perhaps transposed, cast or dequantized.
    pub fn is_constant(&self, value: &str) -> bool {
        let mut value = value;
        // Each step goes to an earlier node, so this ends.
        while let Some(node) = self.maker(value) {
            match (op(node), node.input.first()) {
                ("Constant", _) => return true,
                ("Transpose" | "Identity" | "Cast" | "DequantizeLinear" | "Reshape", Some(input)) => {
                    value = input;
                }
                _ => return false,
            }
        }
        self.stored.contains_key(value)
    }

    /// Whether `value` is made from `source`, through however many nodes.
    pub fn depends(&self, value: &'a str, source: &str) -> bool {
        let mut waiting = vec![value];
        let mut seen = HashSet::new();
        while let Some(value) = waiting.pop() {
            for input in self.maker(value).into_iter().flat_map(|node| &node.input) {
                if input == source {
                    return true;
                }
                if seen.insert(input.as_str()) {
                    waiting.push(input);
                }
            }
        }
        false
    }
}

/// Operator of the standard domain, or `ai.onnx.ml:Name` of that domain; empty for other domains.
pub fn op(node: &NodeProto) -> &str {
    let name = node.op_type.as_deref().unwrap_or("");
    match node.domain.as_deref() {
        None | Some("" | "ai.onnx") => name,
        Some("ai.onnx.ml") => match name {
            "ZipMap" => "ai.onnx.ml:ZipMap",
            "Normalizer" => "ai.onnx.ml:Normalizer",
            "ArrayFeatureExtractor" => "ai.onnx.ml:ArrayFeatureExtractor",
            _ => "",
        },
        Some(_) => "",
    }
}

/// An integer attribute.
pub fn integer(node: &NodeProto, name: &str) -> Option<i64> {
    node.attribute.iter().find(|a| a.name.as_deref() == Some(name)).and_then(|a| a.i)
}
