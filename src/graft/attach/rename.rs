//! The messages of a lowered loss under the classifier's names and extents.

use std::collections::{HashMap, HashSet};

use super::PREFIX;
use crate::graft::Names;
use crate::graft::discover::{Head, Place, UNKNOWN};
use crate::onnx::messages::{
    ATTRIBUTE_TENSOR, AttributeProto, DimensionProto, NodeProto, TensorProto, ValueInfoProto,
};
use crate::onnx::{Delta, Host};

/// Names and extents of the lowered graph in the classifier.
pub struct Renamer {
    values: HashMap<String, String>,
    /// What the lowering's symbols N and D are.
    extents: HashMap<String, DimensionProto>,
    /// The names of the classifier's nodes.
    nodes: Names,
}

impl Renamer {
    /// `values`: for every value of the lowered graph its name in the classifier.
    pub fn new(host: &Host<'_>, head: (&Head, Option<&Place>), values: HashMap<String, String>) -> Self {
        let (head, features) = head;
        let symbols = symbols(host);
        let width = features.and_then(|place| place.shape.as_ref()).and_then(|shape| shape.get(1));
        let width = width.map(String::as_str).filter(|extent| *extent != UNKNOWN);
        let extents = [("N", head.batch()), ("D", width)].map(|(symbol, theirs)| {
            let extent = theirs.map_or_else(|| new_symbol(symbol, &symbols), dimension);
            (symbol.to_owned(), extent)
        });
        Self { values, extents: extents.into(), nodes: Names::of(host.graph()) }
    }

    /// A value's name in the classifier; a conversion's where one stands between.
    pub fn value(&self, name: &str) -> String {
        // An absent optional input is the empty name.
        self.values.get(name).cloned().unwrap_or_default()
    }

    /// A node's name that no node of the classifier has.
    pub fn node_name(&self, wanted: &str) -> String {
        self.nodes.free(wanted)
    }

    pub fn node(&self, node: &NodeProto) -> NodeProto {
        let values = |names: &[String]| names.iter().map(|name| self.value(name)).collect();
        let name = node.name.as_deref().unwrap_or("");
        NodeProto {
            input: values(&node.input),
            output: values(&node.output),
            name: Some(self.node_name(&format!("{PREFIX}{name}"))),
            ..node.clone()
        }
    }

    pub fn tensor(&self, tensor: &TensorProto) -> TensorProto {
        TensorProto { name: tensor.name.as_deref().map(|name| self.value(name)), ..tensor.clone() }
    }

    pub fn port(&self, port: &ValueInfoProto) -> ValueInfoProto {
        let mut port = port.clone();
        port.name = port.name.as_deref().map(|name| self.value(name));
        let tensor = port.r#type.as_mut().and_then(|ty| ty.tensor_type.as_mut());
        for dim in
            tensor.and_then(|tensor| tensor.shape.as_mut()).into_iter().flat_map(|shape| &mut shape.dim)
        {
            if let Some(extent) = dim.dim_param.as_ref().and_then(|symbol| self.extents.get(symbol)) {
                *dim = extent.clone();
            }
        }
        port
    }
}

/// Files before IR version 4 list every initializer as an input, which would make ours overridable: constants are not.
pub fn store_in_constants(delta: &mut Delta) {
    let constants = std::mem::take(&mut delta.initializers).into_iter().map(|tensor| {
        let name = tensor.name.clone().unwrap_or_default();
        let value = AttributeProto {
            name: Some("value".to_owned()),
            t: Some(Box::new(tensor)),
            r#type: Some(ATTRIBUTE_TENSOR),
            ..AttributeProto::default()
        };
        NodeProto {
            name: Some(format!("{name}:Constant")),
            op_type: Some("Constant".to_owned()),
            output: vec![name],
            attribute: vec![value],
            ..NodeProto::default()
        }
    });
    delta.nodes = constants.chain(std::mem::take(&mut delta.nodes)).collect();
}

/// An extent from its text: a number or a name.
fn dimension(text: &str) -> DimensionProto {
    match text.parse::<i64>() {
        Ok(n) => DimensionProto { dim_value: Some(n), dim_param: None },
        Err(_) => DimensionProto { dim_value: None, dim_param: Some(text.to_owned()) },
    }
}

/// A symbol that the classifier does not use for something else.
fn new_symbol(wanted: &str, taken: &HashSet<&str>) -> DimensionProto {
    let mut name = wanted.to_owned();
    while taken.contains(name.as_str()) {
        name.push('_');
    }
    DimensionProto { dim_value: None, dim_param: Some(name) }
}

fn symbols<'a>(host: &'a Host<'_>) -> HashSet<&'a str> {
    let graph = host.graph();
    let ports = graph.input.iter().chain(&graph.output).chain(&graph.value_info);
    let tensors = ports.filter_map(|port| port.r#type.as_ref()?.tensor_type.as_ref()?.shape.as_ref());
    tensors.flat_map(|shape| &shape.dim).filter_map(|dim| dim.dim_param.as_deref()).collect()
}
