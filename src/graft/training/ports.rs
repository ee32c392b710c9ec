//! What the classifier takes and gives, as the manifest lists it.

use crate::onnx::{Host, port_type};
use crate::train::manifest::{Input, InputRole, Output, OutputRole, Port};

/// The classifier's own inputs, by which a caller gives a batch.
pub(super) fn data_inputs(host: &Host<'_>, labels: Option<&str>) -> Vec<Input> {
    let graph = host.graph();
    let stored = |name: &str| graph.initializer.iter().any(|t| t.name.as_deref() == Some(name));
    let inputs = graph.input.iter().filter_map(|port| Some((port, port.name.as_deref()?)));
    let given = inputs.filter(|(_, name)| !stored(name));
    given
        .filter_map(|(port, name)| {
            let role = if labels == Some(name) { InputRole::Labels } else { InputRole::Data };
            let ty = port_type(port)?;
            Some(Input { port: Port::new(name, &ty), role, default: None })
        })
        .collect()
}

/// The classifier's own outputs, of those that have a type.
pub(super) fn classifier_outputs(host: &Host<'_>, logits: &str) -> Vec<Output> {
    let ports = host.graph().output.iter().filter_map(|port| Some((port, port.name.as_deref()?)));
    let typed = ports.filter_map(|(port, name)| Some((name, port_type(port)?)));
    typed
        .map(|(name, ty)| {
            let role = if name == logits { OutputRole::Logits } else { OutputRole::Classifier };
            Output { port: Port::new(name, &ty), role, of: None }
        })
        .collect()
}
