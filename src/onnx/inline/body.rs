//! The nodes of functions, with the names and attributes of a call.

use std::collections::{BTreeMap, HashMap, HashSet};

use prost::Message;

use super::super::Names;
use super::super::messages::NodeProto;
use super::super::wire::push_field;
use super::functions::{Functions, contents, named, version, with_inner};
use super::scope::{Scope, text};
use super::{InlineError, MOST_BYTES, MOST_LEVELS, MOST_NODES, prefix};

/// Writes calls out.
pub(super) struct Writer<'a> {
    functions: &'a Functions<'a>,
    names: Names,
    /// Functions that are still called.
    pub called: HashSet<usize>,
    /// Domains of the nodes that were written, with the operator sets that their functions import.
    pub used: BTreeMap<String, i64>,
    /// Functions that are being written out, by their place.
    open: Vec<usize>,
    nodes: usize,
    bytes: usize,
}

impl<'a> Writer<'a> {
    pub fn new(functions: &'a Functions<'a>, names: Names) -> Self {
        Self {
            functions,
            names,
            called: HashSet::new(),
            used: BTreeMap::new(),
            open: Vec::new(),
            nodes: 0,
            bytes: 0,
        }
    }

    /// Notes what a node calls that stays.
    pub fn keep(&mut self, node: &NodeProto) {
        let mut nodes = Vec::new();
        with_inner(node, &mut nodes);
        self.called.extend(nodes.into_iter().filter_map(|node| self.functions.called(node)));
    }

    /// Appends the nodes of a function in the place of a call in the graph.
    pub fn call(
        &mut self,
        node: &NodeProto,
        bytes: &[u8],
        function: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), InlineError> {
        let mut attributes = HashMap::new();
        for attribute in contents(bytes, 5)? {
            attributes.insert(text(attribute, 1)?.to_owned(), attribute.to_vec());
        }
        self.write(node, attributes, function, out)
    }

    /// Appends the nodes of a function. `node` is the call with names of the graph.
    fn write(
        &mut self,
        node: &NodeProto,
        attributes: HashMap<String, Vec<u8>>,
        place: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), InlineError> {
        let function = self.functions.get(place);
        let name = || function.proto.name.clone().unwrap_or_default();
        if self.open.contains(&place) {
            return Err(InlineError::Recursive(name()));
        }
        if self.open.len() >= MOST_LEVELS {
            return Err(InlineError::TooDeep(name()));
        }
        self.open.push(place);
        let (mut scope, copies) = self.scope(node, attributes, place)?;
        for (inner, bytes) in function.proto.node.iter().zip(&function.nodes) {
            self.node(&mut scope, inner, bytes, place, out)?;
        }
        for (from, to) in copies {
            let from = scope.name(&from);
            let copy = NodeProto {
                input: vec![from],
                name: Some(self.names.give(&format!("{}/{to}", scope.prefix))),
                op_type: Some("Identity".to_owned()),
                output: vec![to],
                ..NodeProto::default()
            };
            self.push(&copy.encode_to_vec(), place, out)?;
        }
        self.open.pop();
        Ok(())
    }

    /// The names of a call, and the outputs that are copies of other values: name in the body, and in the graph.
    fn scope(
        &mut self,
        node: &NodeProto,
        mut attributes: HashMap<String, Vec<u8>>,
        place: usize,
    ) -> Result<(Scope, Vec<(String, String)>), InlineError> {
        let function = self.functions.get(place);
        let outer = |names: &[String], k: usize| names.get(k).cloned().unwrap_or_default();
        let mut names = HashMap::new();
        for (k, input) in function.proto.input.iter().enumerate() {
            names.insert(input.clone(), outer(&node.input, k));
        }
        let mut copies = Vec::new();
        for (k, output) in function.proto.output.iter().enumerate() {
            let to = outer(&node.output, k);
            if to.is_empty() {
                continue;
            }
            match names.get(output) {
                Some(_) => copies.push((output.clone(), to)),
                None => drop(names.insert(output.clone(), to)),
            }
        }
        let prefix = prefix(node);
        let inner = function.proto.node.iter().flat_map(|node| &node.output).filter(|name| !name.is_empty());
        for name in inner {
            names.entry(name.clone()).or_insert_with(|| self.names.give(&format!("{prefix}/{name}")));
        }
        for default in &function.defaults {
            attributes.entry(text(default, 1)?.to_owned()).or_insert_with(|| default.to_vec());
        }
        Ok((Scope { prefix, names, attributes }, copies))
    }

    /// Appends a node of a body, or what it calls.
    fn node(
        &mut self,
        scope: &mut Scope,
        node: &NodeProto,
        bytes: &[u8],
        place: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), InlineError> {
        let Some(function) = self.functions.written_out(node) else {
            self.keep(node);
            self.note_domains(node, place);
            let content = scope.node(bytes, &mut self.names)?;
            return self.push(&content, place, out);
        };
        let mut attributes = HashMap::new();
        for attribute in contents(bytes, 5)? {
            if let Some(attribute) = scope.attribute(attribute, &mut self.names)? {
                attributes.insert(text(&attribute, 1)?.to_owned(), attribute);
            }
        }
        let rename = |names: &[String]| names.iter().map(|name| scope.name(name)).collect();
        let call = NodeProto {
            name: Some(format!("{}/{}", scope.prefix, prefix(node))),
            input: rename(&node.input),
            output: rename(&node.output),
            ..NodeProto::default()
        };
        self.write(&call, attributes, function, out)
    }

    /// Notes the domains of a node and of those in its subgraphs.
    fn note_domains(&mut self, node: &NodeProto, place: usize) {
        let mut nodes = Vec::new();
        with_inner(node, &mut nodes);
        let imports = &self.functions.get(place).proto.opset_import;
        for domain in nodes.into_iter().map(|node| named(node.domain.as_deref())) {
            if let Some(version) = version(imports, domain) {
                self.used.entry(domain.to_owned()).or_insert(version);
            }
        }
    }

    fn push(&mut self, content: &[u8], place: usize, out: &mut Vec<u8>) -> Result<(), InlineError> {
        self.nodes += 1;
        self.bytes += content.len();
        if self.nodes > MOST_NODES || self.bytes > MOST_BYTES {
            let name = self.functions.get(place).proto.name.clone();
            return Err(InlineError::TooLarge(name.unwrap_or_default()));
        }
        push_field(out, 1, content);
        Ok(())
    }
}
