//! A model's functions: which a node calls, and which cannot be written out.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::super::host::Host;
use super::super::messages::{FunctionProto, ModelProto, NodeProto, OperatorSetIdProto};
use super::super::slim::SlimError;
use super::super::wire::Fields;

/// Number of `ModelProto.functions`.
pub(super) const FUNCTION: u64 = 25;

/// Domain, name and overload.
type Key<'a> = (&'a str, &'a str, &'a str);

/// A function with the bytes of its parts.
pub(super) struct Function<'a> {
    pub proto: &'a FunctionProto,
    /// Encoded `NodeProto`s, in the order of `proto.node`.
    pub nodes: Vec<&'a [u8]>,
    /// Encoded `AttributeProto`s with defaults, in the order of `proto.attribute_proto`.
    pub defaults: Vec<&'a [u8]>,
    /// Whether it can be written out.
    is_possible: bool,
}

/// The functions of a model.
pub(super) struct Functions<'a> {
    list: Vec<Function<'a>>,
    by_key: HashMap<Key<'a>, usize>,
}

impl<'a> Functions<'a> {
    pub fn new(host: &'a Host<'_>) -> Result<Self, SlimError> {
        let bytes = host.bytes();
        let mut found = Vec::new();
        for field in Fields::new(bytes) {
            let field = field.ok_or(SlimError::Malformed)?;
            if field.number == FUNCTION {
                found.push(&bytes[field.content.ok_or(SlimError::Malformed)?]);
            }
        }
        let mut list = Vec::with_capacity(found.len());
        let mut by_key = HashMap::new();
        for (place, (proto, bytes)) in host.model().functions.iter().zip(found).enumerate() {
            by_key.entry(key(&proto.domain, &proto.name, &proto.overload)).or_insert(place);
            let is_possible = obstacle(proto, host.model()).is_none();
            let [nodes, defaults] = [7, 11].map(|number| contents(bytes, number));
            list.push(Function { proto, nodes: nodes?, defaults: defaults?, is_possible });
        }
        let mut functions = Self { list, by_key };
        functions.agree(host);
        Ok(functions)
    }

    /// Takes out functions that need another version of a domain than those before them, in the order of the calls: a
    /// domain that the model does not import gets the version of the first.
    fn agree(&mut self, host: &'a Host<'_>) {
        let mut versions: HashMap<&str, i64> = HashMap::new();
        let mut seen = HashSet::new();
        let mut waiting: Vec<&NodeProto> = host.graph().node.iter().rev().collect();
        while let Some(node) = waiting.pop() {
            let Some(place) = self.written_out(node).filter(|place| seen.insert(*place)) else { continue };
            let proto = self.list[place].proto;
            let needed: Vec<(&str, i64)> = domains(proto)
                .into_iter()
                .filter_map(|domain| Some((domain, version(&proto.opset_import, domain)?)))
                .collect();
            if needed.iter().any(|(domain, its)| versions.get(domain).is_some_and(|first| first != its)) {
                self.list[place].is_possible = false;
                continue;
            }
            versions.extend(needed);
            waiting.extend(proto.node.iter().rev());
        }
    }

    pub fn get(&self, place: usize) -> &Function<'a> {
        &self.list[place]
    }

    /// The function that a node calls, by its place.
    pub fn called(&self, node: &NodeProto) -> Option<usize> {
        // A standard operator is what the standard says, whatever body a file has for runtimes that lack it.
        let is_call = !is_standard(node.domain.as_deref());
        is_call.then(|| self.by_key.get(&key(&node.domain, &node.op_type, &node.overload)).copied()).flatten()
    }

    /// The function that a node calls, where its nodes can take the call's place.
    pub fn written_out(&self, node: &NodeProto) -> Option<usize> {
        self.called(node).filter(|place| self.list[*place].is_possible)
    }

    /// These functions, with those that they call.
    pub fn needed_by(&self, called: HashSet<usize>) -> HashSet<usize> {
        let mut waiting: Vec<usize> = called.iter().copied().collect();
        let mut needed = called;
        while let Some(place) = waiting.pop() {
            let mut nodes = Vec::new();
            self.list[place].proto.node.iter().for_each(|node| with_inner(node, &mut nodes));
            let found: Vec<usize> = nodes.into_iter().filter_map(|node| self.called(node)).collect();
            waiting.extend(found.into_iter().filter(|place| needed.insert(*place)));
        }
        needed
    }
}

/// A node, and those in its subgraphs.
pub fn with_inner<'a>(node: &'a NodeProto, found: &mut Vec<&'a NodeProto>) {
    found.push(node);
    for attribute in &node.attribute {
        let graphs = attribute.g.as_deref().into_iter().chain(&attribute.graphs);
        graphs.flat_map(|graph| &graph.node).for_each(|node| with_inner(node, found));
    }
}

/// Domains of all nodes of a function, those in subgraphs too.
fn domains(function: &FunctionProto) -> Vec<&str> {
    let mut nodes = Vec::new();
    function.node.iter().for_each(|node| with_inner(node, &mut nodes));
    nodes.into_iter().map(|node| named(node.domain.as_deref())).collect()
}

/// The version of a domain that is imported.
pub(super) fn version(imports: &[OperatorSetIdProto], domain: &str) -> Option<i64> {
    imports.iter().find(|import| named(import.domain.as_deref()) == domain).and_then(|import| import.version)
}

/// Why the nodes of a function would mean something else in the model's graph.
pub fn obstacle(function: &FunctionProto, model: &ModelProto) -> Option<String> {
    domains(function).into_iter().find_map(|domain| {
        match (version(&function.opset_import, domain), version(&model.opset_import, domain)) {
            (Some(its), Some(models)) if its != models => Some(format!(
                "it is written for operator set {its} of {}, and the model for {models}; convert it with \
                 onnx.version_converter, or export the model again",
                if domain.is_empty() { "the standard domain" } else { domain }
            )),
            _ => None,
        }
    })
}

/// A domain's one name.
pub(super) fn named(domain: Option<&str>) -> &str {
    match domain {
        None | Some("ai.onnx") => "",
        Some(domain) => domain,
    }
}

pub(super) fn is_standard(domain: Option<&str>) -> bool {
    named(domain).is_empty()
}

fn key<'a>(domain: &'a Option<String>, name: &'a Option<String>, overload: &'a Option<String>) -> Key<'a> {
    (named(domain.as_deref()), name.as_deref().unwrap_or(""), overload.as_deref().unwrap_or(""))
}

/// The contents of all fields of a number.
pub(super) fn contents(message: &[u8], number: u64) -> Result<Vec<&[u8]>, SlimError> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for field in Fields::new(message) {
        let field = field.ok_or(SlimError::Malformed)?;
        if field.number == number {
            found.push(field.content.ok_or(SlimError::Malformed)?);
        }
    }
    Ok(found.into_iter().map(|range| &message[range]).collect())
}
