//! A model's whole graph as the body of a model-local function, called by one node.

use super::attributes;
use super::messages::{FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto};

/// The operator that a graph becomes.
#[derive(Debug, Clone, Copy)]
pub struct Operator<'a> {
    /// Its domain.
    pub domain: &'a str,
    /// Version of the domain.
    pub version: i64,
    /// Its name.
    pub name: &'a str,
    /// Name and text of its attribute, which the body does not use.
    pub attribute: (&'a str, &'a str),
    /// Initializers that stay outside, as inputs of the node after those of the graph.
    pub tables: &'a [String],
}

/// Makes a model of one node out of a model in the standard operators, which become the body of the node's function.
/// Inputs, outputs, metadata and the tables stay; other initializers become constants of the body.
pub fn outline(model: ModelProto, operator: &Operator<'_>) -> ModelProto {
    let mut model = model;
    let mut graph = model.graph.take().unwrap_or_default();
    let names = |ports: &[super::messages::ValueInfoProto]| -> Vec<String> {
        ports.iter().filter_map(|port| port.name.clone()).collect()
    };
    let input = [names(&graph.input), operator.tables.to_vec()].concat();
    let output = names(&graph.output);
    let (tables, constants) = std::mem::take(&mut graph.initializer)
        .into_iter()
        .partition::<Vec<_>, _>(|tensor| operator.tables.iter().any(|t| Some(t) == tensor.name.as_ref()));
    let (key, text) = operator.attribute;
    let body = constants.into_iter().map(constant).chain(std::mem::take(&mut graph.node));
    let function = FunctionProto {
        name: Some(operator.name.to_owned()),
        domain: Some(operator.domain.to_owned()),
        input: input.clone(),
        output: output.clone(),
        attribute: vec![key.to_owned()],
        node: body.collect(),
        opset_import: model.opset_import.clone(),
        ..FunctionProto::default()
    };
    let node = NodeProto {
        name: Some(operator.name.to_owned()),
        op_type: Some(operator.name.to_owned()),
        domain: Some(operator.domain.to_owned()),
        input,
        output,
        attribute: vec![attributes::text(key, text)],
        ..NodeProto::default()
    };
    model.graph = Some(GraphProto { node: vec![node], initializer: tables, value_info: Vec::new(), ..graph });
    model.functions.push(function);
    let import =
        OperatorSetIdProto { domain: Some(operator.domain.to_owned()), version: Some(operator.version) };
    model.opset_import.push(import);
    model
}

/// An initializer as a node: functions have none.
fn constant(tensor: TensorProto) -> NodeProto {
    let name = tensor.name.clone().unwrap_or_default();
    NodeProto {
        name: Some(format!("Constant:{name}")),
        op_type: Some("Constant".to_owned()),
        output: vec![name],
        attribute: vec![attributes::tensor("value", tensor)],
        ..NodeProto::default()
    }
}
