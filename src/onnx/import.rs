//! A user's model as a [`Graph`](crate::graph::Graph): what its logits are computed from, with types and shapes.
//!
//! The model is not copied and never written back from here: every value keeps the name that it has in the file, and
//! large data stays where it is. An operator that has no single counterpart becomes several nodes, whose inner values
//! have no name because the file does not have them. Invariant: a value with a name is in the file.

use std::collections::{HashMap, HashSet};

use super::host::{Host, label};
use super::inline::{obstacle, with_inner};
use super::messages::{FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto};
use super::slim::KEPT;
use crate::graph::{Builder, Op, Opaque, TensorType, ValueId};
use crate::tensor::{DType, Tensor};

mod arguments;
mod elementwise;
mod layers;
mod layout;
mod types;

use arguments::Arguments;
pub use types::port_type;
use types::stored_type;

/// A model's graph.
#[derive(Debug)]
pub struct Imported {
    /// The graph, to be added to.
    pub builder: Builder,
    /// Its values by their names in the file.
    pub values: HashMap<String, ValueId>,
    /// Float initializers, in the order of the file.
    pub initializers: Vec<ValueId>,
    /// Nodes that are not understood, by their first output, with the reason.
    pub opaque: Vec<(String, String)>,
}

/// A value of which not even the type can be known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{value}` is computed from what {node} makes, and {why}; the file declares no type for it, so nothing behind it was \
     looked at, and there may be more such nodes; let onnx.shape_inference.infer_shapes write the types that the file lacks"
)]
pub struct ImportError {
    value: String,
    node: String,
    why: String,
}

/// Reads what `roots` are computed from. Functions of the model are not looked into; see [`super::inline()`].
///
/// # Errors
/// Roots whose types cannot be known, with the node to blame.
pub fn import(host: &Host<'_>, roots: &[&str]) -> Result<Imported, ImportError> {
    let graph = host.graph();
    let needed = ancestors(graph, roots);
    let mut importer = Importer::new(host, graph);
    importer.declare(graph, &needed);
    for node in &graph.node {
        if node.output.iter().any(|output| needed.contains(output.as_str())) {
            importer.node(node);
        }
    }
    if let Some(root) = roots.iter().find(|root| !importer.done.values.contains_key(**root)) {
        let Unknown { culprit, why, .. } = importer.unknown.get(*root).cloned().unwrap_or_else(|| Unknown {
            culprit: format!("what is stored as `{root}`"),
            why: "it is no dense tensor of a supported type".to_owned(),
            ..Unknown::default()
        });
        return Err(ImportError { value: (*root).to_owned(), node: culprit, why });
    }
    // What is built on the model cannot rely on its types: those that the file declares may be wrong.
    importer.done.builder.wary();
    Ok(importer.done)
}

/// Names of all values that `roots` are computed from, with theirs.
fn ancestors<'a>(graph: &'a GraphProto, roots: &[&'a str]) -> HashSet<&'a str> {
    let mut needed: HashSet<&str> = roots.iter().copied().collect();
    // Nodes stand after what they read, so one pass from the end finds all.
    for node in graph.node.iter().rev() {
        if node.output.iter().any(|output| needed.contains(output.as_str())) {
            needed.extend(reads(node).into_iter().filter(|input| !input.is_empty()));
        }
    }
    needed
}

/// Names of what a node reads, in its subgraphs too: these may read every value of the graph.
fn reads(node: &NodeProto) -> Vec<&str> {
    let mut nodes = Vec::new();
    with_inner(node, &mut nodes);
    nodes.into_iter().flat_map(|node| &node.input).map(String::as_str).collect()
}

struct Importer<'a> {
    opset: i64,
    model: &'a ModelProto,
    declared: HashMap<&'a str, TensorType>,
    done: Imported,
    unknown: HashMap<String, Unknown>,
}

/// A value without a type.
#[derive(Debug, Clone, Default)]
struct Unknown {
    /// The node to blame.
    culprit: String,
    why: String,
    /// Whether it is no node's, but the file's or the caller's.
    given: bool,
    /// What it is computed from, as far as that is known: a gradient that would have to go there must not be lost.
    from: Vec<ValueId>,
}

impl<'a> Importer<'a> {
    fn new(host: &'a Host<'_>, graph: &'a GraphProto) -> Self {
        let ports = graph.input.iter().chain(&graph.output).chain(&graph.value_info);
        let typed = ports.filter_map(|port| Some((port.name.as_deref()?, port_type(port)?)));
        Self {
            opset: host.opset().unwrap_or(0),
            model: host.model(),
            declared: typed.collect(),
            done: Imported {
                builder: Builder::new(graph.name.as_deref().unwrap_or("")),
                values: HashMap::new(),
                initializers: Vec::new(),
                opaque: Vec::new(),
            },
            unknown: HashMap::new(),
        }
    }

    /// Inputs and initializers.
    fn declare(&mut self, graph: &GraphProto, needed: &HashSet<&str>) {
        let wanted = |name: Option<&str>| name.is_some_and(|name| needed.contains(name));
        for tensor in graph.initializer.iter().filter(|t| wanted(t.name.as_deref())) {
            self.initializer(tensor);
        }
        for port in graph.input.iter().filter(|p| wanted(p.name.as_deref())) {
            let name = port.name.as_deref().unwrap_or("");
            if self.done.values.contains_key(name) {
                continue;
            }
            match self.declared.get(name).cloned() {
                Some(ty) => {
                    let id = self.done.builder.input(name, ty);
                    self.done.values.insert(name.to_owned(), id);
                }
                None => {
                    self.blame_given(name, &format!("the input `{name}`"), "its type or rank is not known")
                }
            }
        }
    }

    fn initializer(&mut self, tensor: &TensorProto) {
        let name = tensor.name.as_deref().unwrap_or("");
        match stored_type(tensor) {
            Some(ty) => {
                let is_float = matches!(ty.dtype, DType::F32 | DType::F64 | DType::F16 | DType::BF16);
                let id = self.stored(name, ty, tensor);
                if is_float {
                    self.done.initializers.push(id);
                }
            }
            None => {
                let culprit = format!("the initializer `{name}`");
                self.blame_given(name, &culprit, "its element type is not supported");
            }
        }
    }

    /// A value with data: a constant where it is small and no parameter, else by its type alone.
    fn stored(&mut self, name: &str, ty: TensorType, tensor: &TensorProto) -> ValueId {
        let is_float = matches!(ty.dtype, DType::F32 | DType::F64 | DType::F16 | DType::BF16);
        let small = ty.fixed_shape().is_some_and(|s| s.iter().product::<usize>() * 8 <= KEPT);
        let data = (small && (ty.rank() == 0 || !is_float)).then(|| Tensor::try_from(tensor).ok()).flatten();
        let id = match data {
            Some(data) => self.done.builder.named_constant(name, data),
            None => self.done.builder.stored(name, ty),
        };
        self.done.values.insert(name.to_owned(), id);
        id
    }

    fn node(&mut self, node: &NodeProto) {
        let blamed = node.input.iter().find_map(|input| self.unknown.get(input));
        if let Some(Unknown { culprit, why, given, .. }) = blamed.cloned() {
            // A declared type stands, whatever it was computed from.
            if given {
                self.opaque(node, &format!("it reads {culprit}: {why}"), None);
            } else {
                self.opaque(node, &why, Some(&culprit));
            }
        } else if let Err(why) = self.understood(node) {
            self.opaque(node, &why, None);
        }
    }

    /// Adds a node by its operator.
    fn understood(&mut self, node: &NodeProto) -> Result<(), String> {
        let is_standard = matches!(node.domain.as_deref(), None | Some("" | "ai.onnx"));
        if !is_standard {
            let op = node.op_type.as_deref();
            let called = |f: &&FunctionProto| f.name.as_deref() == op && f.domain == node.domain;
            return Err(match self.model.functions.iter().find(called) {
                Some(function) => match obstacle(function, self.model) {
                    Some(why) => format!("it is a function of the model that cannot be written out: {why}"),
                    None => "it is a function of the model, which is not written out".into(),
                },
                None => "it is not of the standard domain".into(),
            });
        }
        if node.op_type.as_deref() == Some("Constant") {
            return self.constant(node);
        }
        // Inputs that are left out at the end are not there, whether the file lists empty names for them or not.
        let count = node.input.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
        let inputs: Result<Vec<Option<ValueId>>, String> =
            node.input[..count].iter().map(|i| self.input(i)).collect();
        let arguments = Arguments { node, inputs: inputs?, opset: self.opset };
        let outputs = translate(&mut self.done.builder, &arguments)?;
        if let Some(more) =
            node.output.get(outputs.len()..).and_then(|more| more.iter().find(|o| !o.is_empty()))
        {
            return Err(format!("its output `{more}` is one that has no meaning here"));
        }
        for (name, id) in node.output.iter().zip(outputs) {
            if !name.is_empty() {
                self.name(name, id);
            }
        }
        Ok(())
    }

    /// Gives a value its name in the file. A value that has one already is the input of an operator that does nothing.
    fn name(&mut self, name: &str, id: ValueId) {
        let mut id = id;
        if self.done.builder.graph().value(id).name.is_some()
            || self.done.builder.constant_value(id).is_some()
        {
            let identity = Op::Unary(crate::graph::UnaryOp::Identity);
            let made = self.done.builder.try_nodes(identity, &[id], 1);
            id = made.expect("every value has an identity")[0];
        }
        self.done.builder.set_name(id, name);
        self.done.values.insert(name.to_owned(), id);
    }

    fn input(&self, name: &str) -> Result<Option<ValueId>, String> {
        if name.is_empty() {
            return Ok(None);
        }
        let id = self.done.values.get(name).copied();
        id.map(Some).ok_or_else(|| format!("its input `{name}` is not known here"))
    }

    fn constant(&mut self, node: &NodeProto) -> Result<(), String> {
        let name = node.output.first().map_or("", String::as_str);
        let attribute = node.attribute.first().ok_or("it has no value")?;
        if let Some(tensor) = &attribute.t {
            let ty = stored_type(tensor).ok_or("its element type is not supported")?;
            self.stored(name, ty, tensor);
            return Ok(());
        }
        let tensor = arguments::constant(attribute).ok_or("its value is no tensor of numbers")?;
        let id = self.done.builder.named_constant(name, tensor);
        self.done.values.insert(name.to_owned(), id);
        Ok(())
    }

    /// A node that is known by name only: its outputs have the types that the file declares, or none. `behind` is the node
    /// to blame where it is another one, and `why` the reason.
    fn opaque(&mut self, node: &NodeProto, why: &str, behind: Option<&str>) {
        let culprit = behind.map_or_else(|| label(node), str::to_owned);
        let operator = node.op_type.clone().unwrap_or_default();
        let name = match node.domain.as_deref() {
            None | Some("" | "ai.onnx") => operator,
            Some(domain) => format!("{domain}.{operator}"),
        };
        let outputs: Vec<&str> = node.output.iter().map(String::as_str).filter(|o| !o.is_empty()).collect();
        let told = match behind {
            Some(behind) => format!("{name}: it reads what {behind} makes, and {why}"),
            None => format!("{name}: {why}"),
        };
        self.done.opaque.push((outputs.first().copied().unwrap_or("").to_owned(), told));
        let types: Option<Vec<TensorType>> = outputs.iter().map(|o| self.declared.get(o).cloned()).collect();
        let from = self.known_sources(node);
        let Some(types) = types.filter(|types| !types.is_empty()) else {
            for output in outputs {
                let (culprit, why, from) = (culprit.clone(), why.to_owned(), from.clone());
                self.unknown.insert(output.to_owned(), Unknown { culprit, why, given: false, from });
            }
            return;
        };
        let count = types.len();
        let op = Op::Opaque(
            Opaque { name, why: why.to_owned(), behind: behind.map(str::to_owned), outputs: types }.into(),
        );
        let made = self.done.builder.try_nodes(op, &from, count);
        let made = made.expect("an operator known by name takes anything");
        for (output, id) in outputs.into_iter().zip(made) {
            self.name(output, id);
        }
    }

    /// The inputs of a node; for those without a type what they are computed from. Each once, in order.
    fn known_sources(&self, node: &NodeProto) -> Vec<ValueId> {
        let mut found: Vec<ValueId> = Vec::new();
        for input in reads(node) {
            let known = self.done.values.get(input).into_iter();
            let behind = self.unknown.get(input).into_iter().flat_map(|unknown| &unknown.from);
            for id in known.chain(behind) {
                if !found.contains(id) {
                    found.push(*id);
                }
            }
        }
        found
    }

    /// Notes an input or initializer that cannot be used.
    fn blame_given(&mut self, value: &str, culprit: &str, why: &str) {
        let (culprit, why) = (culprit.to_owned(), why.to_owned());
        self.unknown.insert(value.to_owned(), Unknown { culprit, why, given: true, from: Vec::new() });
    }
}

/// Outputs of a node of the standard domain, added to the builder.
fn translate(b: &mut Builder, of: &Arguments<'_>) -> Result<Vec<ValueId>, String> {
    if let Some(found) = elementwise::translate(b, of) {
        return found;
    }
    if let Some(found) = layers::translate(b, of) {
        return found;
    }
    layout::translate(b, of).unwrap_or_else(|| Err("this operator has no rule".into()))
}

#[cfg(test)]
mod tests;
