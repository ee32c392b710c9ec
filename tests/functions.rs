//! Models whose layers are functions of the model: grafted as if every function stood in the place of its calls.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod graft_support;

use std::collections::BTreeMap;

use graft_support::{Place, data, difference};
use ibgraph::graph::{Dim, TensorType};
use ibgraph::onnx::messages::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, ValueInfoProto,
};
use ibgraph::onnx::{self, Host, inline};
use ibgraph::tensor::{DType, Tensor, TensorData};
use prost::Message;

/// The same products and sums in float32, in the same order but for what ONNX Runtime fuses.
const SAME: f64 = 1e-6;

fn batch() -> (Tensor, Tensor) {
    let mut rng = fastrand::Rng::with_seed(1);
    let x = (0..20).map(|_| 2.0 * rng.f32() - 1.0).collect();
    let x = Tensor::new(vec![4, 5], TensorData::F32(x)).unwrap();
    (x, Tensor::new(vec![4], TensorData::I64(vec![0, 1, 2, 1])).unwrap())
}

/// All outputs of a graft of a model in `tests/data/functions`, by name.
fn grafted(place: &Place, model: &str, emit: &str) -> BTreeMap<String, Vec<f64>> {
    let source = data(&format!("functions/{model}.onnx"));
    let file = format!("{model}_{emit}.onnx");
    place.ok(&format!("graft {} ib --emit {emit} -o {file}", source.display()));
    let written = std::fs::read(place.path(&file)).unwrap();
    let host = Host::read(&written).unwrap();
    let names: Vec<&str> = host.graph().output.iter().map(|o| o.name.as_deref().unwrap()).collect();
    let (x, labels) = batch();
    let rate = Tensor::scalar_f32(0.01);
    let step = Tensor::new(vec![], TensorData::I64(vec![1])).unwrap();
    let all = [("x", &x), ("labels", &labels), ("learning_rate", &rate), ("step", &step)];
    let has = |name: &str| host.graph().input.iter().any(|i| i.name.as_deref() == Some(name));
    let mut inputs: Vec<(&str, &Tensor)> = all.into_iter().filter(|(name, _)| has(name)).collect();
    let zeros: Vec<(String, Tensor)> = host.graph().input.iter().filter_map(zeros).collect();
    inputs.extend(zeros.iter().map(|(name, tensor)| (name.as_str(), tensor)));
    let found = place.run_model(&file, &inputs, &names);
    names.into_iter().map(str::to_owned).zip(found.iter().map(Tensor::to_f64_vec)).collect()
}

/// An array of optimizer state as it begins.
fn zeros(input: &ValueInfoProto) -> Option<(String, Tensor)> {
    let name = input.name.clone()?;
    let shape = onnx::port_type(input)?.fixed_shape()?;
    let count = shape.iter().product();
    name.contains("_exp_avg").then(|| (name, Tensor::new(shape, TensorData::F32(vec![0.0; count])).unwrap()))
}

#[test]
fn a_model_of_functions_has_the_gradients_and_steps_of_the_same_model_written_by_hand() {
    let place = Place::new();
    for emit in ["loss", "loss-grad", "gradients", "train-step"] {
        let functions = grafted(&place, "layers", emit);
        let flat = grafted(&place, "flat", emit);
        assert!(flat.len() >= if emit == "loss" { 2 } else { 4 }, "{emit}: {:?}", flat.keys());
        for (name, expected) in &flat {
            let got = functions.get(name).unwrap_or_else(|| panic!("{emit}: no output {name}"));
            let error = difference(got, expected);
            assert!(error <= SAME, "{emit} {name}: off by {error}");
        }
    }
}

#[test]
fn functions_that_nothing_calls_any_more_go_and_all_other_bytes_stay() {
    let bytes = std::fs::read(data("functions/layers.onnx")).unwrap();
    let written = inline(&Host::read(&bytes).unwrap()).unwrap().unwrap();
    let [before, after] = [&bytes, &written].map(|bytes| ModelProto::decode(bytes.as_slice()).unwrap());
    assert!(after.functions.is_empty());
    let (graph, old) = (after.graph.unwrap(), before.graph.unwrap());
    assert!(graph.node.iter().all(|node| node.domain.as_deref().unwrap_or("").is_empty()));
    assert_eq!(GraphProto { node: Vec::new(), ..graph }, GraphProto { node: Vec::new(), ..old });
    assert_eq!(after.opset_import, before.opset_import);
    assert!(inline(&Host::read(&written).unwrap()).unwrap().is_none());
}

#[test]
fn export_changes_nothing_but_the_parameters_of_a_model_of_functions() {
    let place = Place::new();
    let source = data("functions/layers.onnx");
    place.ok(&format!("graft {} cross-entropy --emit train-step -o step.onnx", source.display()));
    place.ok("init step.onnx -o state.npz");
    place.ok(&format!("export {} state.npz -o same.onnx", source.display()));
    assert_eq!(std::fs::read(place.path("same.onnx")).unwrap(), std::fs::read(source).unwrap());
}

#[test]
fn inspect_looks_into_functions() {
    let text = Place::new().ok(&format!("inspect {}", data("functions/layers.onnx").display()));
    for part in ["features: features", "trainable: 6 parameters", "functions: 5", "layers::Block 2"] {
        let found = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(found.contains(part), "{part}\n{text}");
    }
}

fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
    let (domain, op) = op.split_once(':').map_or((None, op), |(d, op)| (Some(d.to_owned()), op));
    NodeProto {
        op_type: Some(op.into()),
        domain,
        input: inputs.iter().map(|s| (*s).to_owned()).collect(),
        output: vec![output.into()],
        ..NodeProto::default()
    }
}

fn imports(standard: i64) -> Vec<OperatorSetIdProto> {
    let import =
        |domain: &str, version| OperatorSetIdProto { domain: Some(domain.into()), version: Some(version) };
    vec![import("", standard), import("f", 1)]
}

/// A function of one input and output, with these operators one after the other.
fn function(name: &str, operators: &[&str]) -> FunctionProto {
    let names: Vec<String> = (0..=operators.len()).map(|k| format!("v{k}")).collect();
    let made = operators.iter().enumerate().map(|(k, op)| node(op, &[&names[k]], &names[k + 1]));
    FunctionProto {
        name: Some(name.into()),
        domain: Some("f".into()),
        input: vec![names[0].clone()],
        output: vec![names[operators.len()].clone()],
        node: made.collect(),
        opset_import: imports(18),
        ..FunctionProto::default()
    }
}

fn model(nodes: Vec<NodeProto>, functions: Vec<FunctionProto>) -> Vec<u8> {
    let port = |name: &str| ValueInfoProto { name: Some(name.into()), ..ValueInfoProto::default() };
    let output = nodes.last().unwrap().output[0].clone();
    let graph = GraphProto {
        node: nodes,
        input: vec![port("x")],
        output: vec![port(&output)],
        ..GraphProto::default()
    };
    ModelProto {
        ir_version: Some(9),
        graph: Some(graph),
        opset_import: imports(18),
        functions,
        ..ModelProto::default()
    }
    .encode_to_vec()
}

/// The same with a type for the input `x`.
fn typed(bytes: &[u8]) -> Vec<u8> {
    let mut model = ModelProto::decode(bytes).unwrap();
    let ty = TensorType::new(DType::F32, &[Dim::symbol("N"), Dim::Fixed(5)]);
    model.graph.as_mut().unwrap().input[0] = onnx::port("x", &ty);
    model.encode_to_vec()
}

fn written(bytes: &[u8]) -> Result<Option<ModelProto>, String> {
    let written = inline(&Host::read(bytes).unwrap()).map_err(|e| e.to_string())?;
    Ok(written.map(|bytes| Host::read(&bytes).unwrap().model().clone()))
}

#[test]
fn functions_that_call_themselves_and_those_that_explode_are_refused_by_name() {
    let call = || vec![node("f:A", &["x"], "y")];
    let itself = model(call(), vec![function("A", &["Relu", "f:B"]), function("B", &["f:A"])]);
    assert!(written(&itself).unwrap_err().contains("the function `A` of the model calls itself"));
    // Each calls the next twice: 2^40 nodes.
    let name = |k: usize| ["A".to_owned(), format!("A{k}")][usize::from(k > 0)].clone();
    let mut doubling: Vec<FunctionProto> =
        (0..40).map(|k| function(&name(k), &[format!("f:{}", name(k + 1)).as_str(); 2])).collect();
    doubling.push(function(&name(40), &["Relu"]));
    assert!(written(&model(call(), doubling)).unwrap_err().contains("more than 100000 nodes"));
    let mut chain: Vec<FunctionProto> =
        (0..100).map(|k| function(&name(k), &[format!("f:{}", name(k + 1)).as_str()])).collect();
    chain.push(function(&name(100), &["Relu"]));
    assert!(written(&model(call(), chain)).unwrap_err().contains("more than 64 deep"));
}

#[test]
fn calls_of_functions_for_another_operator_set_stay_and_the_reason_is_told() {
    let mut older = function("A", &["Relu"]);
    older.opset_import = imports(17);
    let bytes = model(vec![node("f:A", &["x"], "y")], vec![older]);
    assert_eq!(written(&bytes), Ok(None));
    let error = onnx::import(&Host::read(&typed(&bytes)).unwrap(), &["y"]).unwrap_err().to_string();
    assert!(error.contains("operator set 17") && error.contains("the model for 18"), "{error}");
}

/// An If with a node in its branch.
fn branch(inner: NodeProto, condition: &str, output: &str) -> NodeProto {
    let made = Some(inner.output[0].clone());
    let graph = GraphProto {
        node: vec![inner],
        output: vec![ValueInfoProto { name: made, ..ValueInfoProto::default() }],
        ..GraphProto::default()
    };
    let mut node = node("If", &[condition], output);
    node.attribute.push(AttributeProto {
        name: Some("then_branch".into()),
        g: Some(Box::new(graph)),
        ..AttributeProto::default()
    });
    node
}

#[test]
fn functions_that_control_flow_calls_stay() {
    let branch = branch(node("f:A", &["x"], "z"), "x", "y");
    let functions = ["A", "B", "C"].map(|name| match name {
        "A" => function("A", &["f:B"]),
        other => function(other, &["Relu"]),
    });
    let found = written(&model(vec![branch, node("f:C", &["y"], "w")], functions.into())).unwrap().unwrap();
    let names: Vec<&str> = found.functions.iter().map(|f| f.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["A", "B"]);
    let operators: Vec<&str> =
        found.graph.as_ref().unwrap().node.iter().map(|n| n.op_type.as_deref().unwrap()).collect();
    assert_eq!(operators, ["If", "Relu"]);
}

#[test]
fn domains_that_only_a_function_imports_are_imported_by_the_model() {
    let foreign = foreign("A", 3);
    // The same, with the foreign node in a branch.
    let mut deep = foreign.clone();
    deep.node = vec![branch(node("g:Thing", &["v0"], "z"), "v0", "v1")];
    for function in [foreign, deep] {
        let found = written(&model(vec![node("f:A", &["x"], "y")], vec![function])).unwrap().unwrap();
        let versions: Vec<_> =
            found.opset_import.iter().map(|i| (i.domain.as_deref().unwrap(), i.version)).collect();
        assert_eq!(versions, [("", Some(18)), ("f", Some(1)), ("g", Some(3))]);
        assert!(found.functions.is_empty());
    }
}

/// A function with a node of the domain `g` at this version.
fn foreign(name: &str, version: i64) -> FunctionProto {
    let mut function = function(name, &["g:Thing"]);
    function.opset_import.push(OperatorSetIdProto { domain: Some("g".into()), version: Some(version) });
    function
}

#[test]
fn of_functions_for_two_versions_of_a_domain_the_first_called_is_written_out_and_the_reason_is_told() {
    let nodes = vec![node("f:B", &["x"], "y"), node("f:C", &["y"], "z"), node("f:A", &["z"], "w")];
    let outer = function("C", &["Relu", "f:A"]);
    let bytes = model(nodes, vec![foreign("A", 4), foreign("B", 3), outer]);
    let found = written(&bytes).unwrap().unwrap();
    let operators: Vec<&str> =
        found.graph.as_ref().unwrap().node.iter().map(|n| n.op_type.as_deref().unwrap()).collect();
    assert_eq!(operators, ["Thing", "Relu", "A", "A"]);
    let kept: Vec<&str> = found.functions.iter().map(|f| f.name.as_deref().unwrap()).collect();
    assert_eq!(kept, ["A"]);
    let version = found.opset_import.iter().find(|i| i.domain.as_deref() == Some("g")).unwrap().version;
    assert_eq!(version, Some(3));
    // Typed at every node, so that each is known by name and reason.
    let mut typed = ModelProto::decode(typed(&found.encode_to_vec()).as_slice()).unwrap();
    let ty = TensorType::new(DType::F32, &[Dim::symbol("N"), Dim::Fixed(5)]);
    let graph = typed.graph.as_mut().unwrap();
    graph.value_info = graph.node.iter().map(|node| onnx::port(&node.output[0], &ty)).collect();
    let imported = onnx::import(&Host::read(&typed.encode_to_vec()).unwrap(), &["w"]).unwrap();
    let why = &imported.opaque.iter().find(|(output, _)| output == "w").unwrap().1;
    assert!(why.contains("f.A") && why.contains("operator set 4 of g, and the model for 3"), "{why}");
}

#[test]
fn an_output_that_is_an_input_is_copied() {
    let mut through = function("A", &["Relu"]);
    through.output.push("v0".into());
    let mut call = node("f:A", &["x"], "y");
    call.output.push("z".into());
    let found = written(&model(vec![call, node("Neg", &["z"], "w")], vec![through])).unwrap().unwrap();
    let graph = found.graph.as_ref().unwrap();
    let nodes: Vec<_> =
        graph.node.iter().map(|n| (n.op_type.as_deref().unwrap(), &n.input[0], &n.output[0])).collect();
    let [x, y, z, w] = ["x", "y", "z", "w"].map(str::to_owned);
    assert_eq!(nodes, [("Relu", &x, &y), ("Identity", &x, &z), ("Neg", &z, &w)]);
}
