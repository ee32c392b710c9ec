//! A graph on an engine, and the copy as a graph for devices.

use std::time::Instant;

use prost::Message;

use super::{Arm, ArmError, Inputs, Timed};
use crate::onnx::messages::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use crate::runtime::{BoundRun, InputSet, Session};
use crate::tensor::{DType, Tensor};

/// A loaded graph.
pub struct GraphArm {
    session: Box<dyn Session>,
    outputs: Vec<String>,
    /// The inputs that the graph has; `None` where it has all of a batch.
    inputs: Option<Vec<String>>,
}

impl GraphArm {
    /// An arm that asks for these outputs.
    pub fn new(session: Box<dyn Session>, outputs: Vec<String>) -> Self {
        Self { session, outputs, inputs: None }
    }

    /// An arm of a loaded [`identity_model`].
    pub fn identity(session: Box<dyn Session>, inputs: &[&str]) -> Self {
        let outputs = inputs.iter().map(|name| format!("{name}_copy")).collect();
        Self { session, outputs, inputs: Some(inputs.iter().map(|name| (*name).to_owned()).collect()) }
    }

    /// An arm of a graph that has these inputs of a batch and no others.
    pub fn with_inputs(session: Box<dyn Session>, outputs: Vec<String>, inputs: Vec<String>) -> Self {
        Self { session, outputs, inputs: Some(inputs) }
    }

    /// The outputs of one run, by name.
    ///
    /// # Errors
    /// [`ArmError`], when it fails.
    pub fn compute(&mut self, inputs: &Inputs) -> Result<Vec<(String, Tensor)>, ArmError> {
        let names = self.outputs.clone();
        let outputs: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = self.session.run(&pairs(self.inputs.as_deref(), inputs), &outputs)?;
        Ok(names.into_iter().zip(found).collect())
    }
}

impl Arm for GraphArm {
    fn bind<'a>(&'a mut self, sets: &'a [Inputs]) -> Result<Box<dyn Timed + 'a>, ArmError> {
        let outputs: Vec<&str> = self.outputs.iter().map(String::as_str).collect();
        let wanted = self.inputs.as_deref();
        let sets: Vec<Vec<(&str, &Tensor)>> = sets.iter().map(|inputs| pairs(wanted, inputs)).collect();
        let sets: Vec<InputSet> = sets.iter().map(Vec::as_slice).collect();
        Ok(Box::new(Bound(self.session.bind_sets(&sets, &outputs)?)))
    }
}

/// The inputs that are wanted, all where that is not said.
fn pairs<'i>(wanted: Option<&[String]>, inputs: &'i Inputs) -> Vec<(&'i str, &'i Tensor)> {
    let kept = inputs.iter().filter(|(name, _)| wanted.is_none_or(|known| known.contains(name)));
    kept.map(|(name, tensor)| (name.as_str(), tensor)).collect()
}

struct Bound<'a>(Box<dyn BoundRun + 'a>);

impl Timed for Bound<'_> {
    fn block(&mut self, sets: &[usize]) -> Result<Vec<f64>, ArmError> {
        let mut seconds = Vec::with_capacity(sets.len());
        for set in sets {
            let start = Instant::now();
            self.0.run_set(*set)?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        Ok(seconds)
    }
}

/// A model that copies its inputs of this type to outputs named `{input}_copy`: what a device does at best.
pub fn identity_model(dtype: DType, inputs: &[&str]) -> Vec<u8> {
    let node = |name: &&str| NodeProto {
        name: Some(format!("copy_{name}")),
        op_type: Some("Identity".to_owned()),
        input: vec![(*name).to_owned()],
        output: vec![format!("{name}_copy")],
        ..NodeProto::default()
    };
    let port = |name: String| ValueInfoProto {
        name: Some(name),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto { elem_type: Some(dtype.onnx_code()), shape: None }),
        }),
    };
    let graph = GraphProto {
        name: Some("copy".to_owned()),
        node: inputs.iter().map(node).collect(),
        input: inputs.iter().map(|name| port((*name).to_owned())).collect(),
        output: inputs.iter().map(|name| port(format!("{name}_copy"))).collect(),
        ..GraphProto::default()
    };
    let opset = OperatorSetIdProto { domain: Some(String::new()), version: Some(18) };
    let model = ModelProto {
        ir_version: Some(8),
        graph: Some(graph),
        opset_import: vec![opset],
        ..ModelProto::default()
    };
    model.encode_to_vec()
}
