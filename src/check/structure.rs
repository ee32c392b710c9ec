//! Whether a model's ports are those of the loss that it claims to compute.

use crate::artifact::Artifact;
use crate::loss::{Dim, Port};
use crate::onnx::messages::{DimensionProto, ValueInfoProto};
use crate::onnx::{NEWEST_OPSET, OLDEST_OPSET};
use crate::tensor::DType;

/// What is wrong with the structure; empty where all is well.
pub(super) fn problems(artifact: &Artifact) -> Vec<String> {
    let graph = artifact.graph();
    let stored: Vec<&str> = graph.initializer.iter().filter_map(|t| t.name.as_deref()).collect();
    let mut found = Vec::new();
    // IR versions before 4 list initializers among the inputs.
    let inputs = graph.input.iter().filter(|i| !stored.contains(&i.name.as_deref().unwrap_or("")));
    compare_ports("input", &artifact.loss.inputs(), &inputs.collect::<Vec<_>>(), &mut found);
    compare_ports("output", &artifact.loss.outputs(), &graph.output.iter().collect::<Vec<_>>(), &mut found);
    found.extend(opset_problem(artifact));
    found
}

/// The operator set of the standard domain.
pub(super) fn opset(artifact: &Artifact) -> Option<i64> {
    let standard = |domain: Option<&str>| matches!(domain, None | Some("" | "ai.onnx"));
    let import = artifact.model.opset_import.iter().find(|i| standard(i.domain.as_deref()));
    import.and_then(|i| i.version)
}

fn opset_problem(artifact: &Artifact) -> Option<String> {
    match opset(artifact) {
        None => Some("no operator set of the standard domain is imported".to_owned()),
        Some(v) if !(OLDEST_OPSET..=NEWEST_OPSET).contains(&v) => Some(format!(
            "opset {v} is not one of {OLDEST_OPSET} to {NEWEST_OPSET}, which this program knows"
        )),
        Some(_) => None,
    }
}

fn compare_ports(kind: &str, want: &[Port], got: &[&ValueInfoProto], found: &mut Vec<String>) {
    let names = |ports: Vec<&str>| ports.join(", ");
    let wanted: Vec<&str> = want.iter().map(|p| p.name.as_str()).collect();
    let given: Vec<&str> = got.iter().map(|p| p.name.as_deref().unwrap_or("")).collect();
    if wanted != given {
        found.push(format!("{kind}s are {}, but the loss has {}", names(given), names(wanted)));
        return;
    }
    for (port, info) in want.iter().zip(got) {
        let (want, got) = (described(port), described_info(info));
        if want != got {
            found.push(format!("{kind} `{}` is {got}, but the loss has {want}", port.name));
        }
    }
}

fn described(port: &Port) -> String {
    let dims = port.shape.iter().map(|dim| match dim {
        Dim::Fixed(n) => n.to_string(),
        Dim::Symbol(name) => (*name).to_owned(),
    });
    format!("{}[{}]", port.dtype, dims.collect::<Vec<_>>().join(", "))
}

fn described_info(info: &ValueInfoProto) -> String {
    let Some(tensor) = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref()) else {
        return "no tensor".to_owned();
    };
    let code = tensor.elem_type.unwrap_or(0);
    let dtype = DType::from_onnx_code(code).map_or(format!("element type {code}"), |d| d.to_string());
    match &tensor.shape {
        None => format!("{dtype} of unknown rank"),
        Some(shape) => format!("{dtype}[{}]", shape.dim.iter().map(extent).collect::<Vec<_>>().join(", ")),
    }
}

fn extent(dim: &DimensionProto) -> String {
    match (dim.dim_value, &dim.dim_param) {
        (Some(n), _) => n.to_string(),
        (None, Some(name)) => name.clone(),
        (None, None) => "?".to_owned(),
    }
}
