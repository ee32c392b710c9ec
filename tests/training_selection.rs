//! Parameters that a training graph cannot train: left out with the reason, or refused by name where they were asked for.

#![allow(clippy::unwrap_used, missing_docs)]

use ibgraph::graft::{Selection, Training, TrainingPlan, Wishes, discover, training};
use ibgraph::graph::{Dim, TensorType};
use ibgraph::loss::{Interface, Loss, builtin};
use ibgraph::onnx::messages::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
};
use ibgraph::onnx::{Host, port};
use ibgraph::tensor::DType;
use prost::Message;

/// A node, as `Operator inputs -> outputs`.
fn node(text: &str) -> NodeProto {
    let (call, outputs) = text.split_once(" -> ").unwrap();
    let mut words = call.split(' ').map(str::to_owned);
    NodeProto {
        op_type: words.next(),
        input: words.collect(),
        output: outputs.split(' ').map(str::to_owned).collect(),
        ..NodeProto::default()
    }
}

fn stored(name: &str, dims: &[i64]) -> TensorProto {
    let count = dims.iter().product::<i64>();
    TensorProto {
        name: Some(name.into()),
        dims: dims.to_vec(),
        data_type: Some(1),
        float_data: (0..count).map(|k| 0.5 - (k % 3) as f32 / 4.0).collect(),
        ..TensorProto::default()
    }
}

/// A classifier of x [N, 5] to 3 logits, with the parameters w [5, 5], idle [5, 5] and head [5, 3].
fn model(nodes: &[&str], outputs: &[&str]) -> Vec<u8> {
    let on = TensorProto {
        name: Some("on".into()),
        data_type: Some(9),
        int32_data: vec![1],
        ..TensorProto::default()
    };
    let port = |name: &str, columns: usize| -> ValueInfoProto {
        port(name, &TensorType::new(DType::F32, &[Dim::symbol("N"), Dim::Fixed(columns)]))
    };
    let mut nodes: Vec<NodeProto> = nodes.iter().map(|text| node(text)).collect();
    for cast in nodes.iter_mut().filter(|node| node.op_type.as_deref() == Some("Cast")) {
        let to =
            AttributeProto { name: Some("to".into()), i: Some(1), r#type: Some(2), ..Default::default() };
        cast.attribute.push(to);
    }
    let initializer = vec![
        stored("w", &[5, 5]),
        stored("idle", &[5, 5]),
        stored("head", &[5, 3]),
        stored("ratio", &[]),
        on,
    ];
    let graph = GraphProto {
        node: nodes,
        initializer,
        input: vec![port("x", 5)],
        output: outputs.iter().map(|name| port(name, if *name == "logits" { 3 } else { 5 })).collect(),
        ..GraphProto::default()
    };
    let import = OperatorSetIdProto { domain: Some(String::new()), version: Some(18) };
    let model = ModelProto {
        ir_version: Some(8),
        graph: Some(graph),
        opset_import: vec![import],
        ..ModelProto::default()
    };
    model.encode_to_vec()
}

/// The gradients of what `train` names (of everything where it names nothing), or the error.
fn gradients(bytes: &[u8], train: &[&str]) -> Result<Training, String> {
    selected(bytes, train, &[])
}

fn selected(bytes: &[u8], train: &[&str], freeze: &[&str]) -> Result<Training, String> {
    let host = Host::read(bytes).unwrap();
    let head = discover(&host, Wishes { logits: Some("logits"), ..Wishes::default() }).unwrap();
    let spec = builtin::load("cross-entropy").unwrap().unwrap();
    let interface = Interface::new(3, &spec);
    let loss = Loss::new(spec, interface, None).unwrap();
    let [train, freeze] = [train, freeze].map(|names| names.iter().map(|name| (*name).to_owned()).collect());
    let selection = Selection { train, freeze, ..Selection::default() };
    let plan = TrainingPlan { loss: &loss, recipe: None, labels: None, selection: &selection };
    training(&host, &head, plan).map_err(|error| error.to_string())
}

fn trained(made: &Training) -> Vec<&str> {
    made.manifest.carried.iter().map(|carried| carried.port.name.as_str()).collect()
}

/// w decides only which elements are chosen: the loss is flat wherever it has a slope by it.
#[test]
fn a_parameter_without_influence_on_the_loss_is_left_out_and_told() {
    let nodes = [
        "MatMul x w -> h",
        "Greater h x -> chosen",
        "Cast chosen -> mask",
        "Mul mask x -> k",
        "MatMul k head -> logits",
    ];
    let bytes = model(&nodes, &["logits"]);
    let made = gradients(&bytes, &[]).unwrap();
    assert_eq!(trained(&made), ["head"]);
    assert_eq!(made.left_out, [("w".to_owned(), "the loss has no gradient by it".to_owned())]);
    let error = gradients(&bytes, &["w"]).unwrap_err();
    assert!(error.contains("`w` does not influence the loss"), "{error}");
}

#[test]
fn a_parameter_of_another_output_alone_is_not_trained() {
    let nodes = ["MatMul x w -> k", "MatMul k head -> logits", "MatMul x idle -> other"];
    let bytes = model(&nodes, &["logits", "other"]);
    assert_eq!(trained(&gradients(&bytes, &[]).unwrap()), ["w", "head"]);
    let error = gradients(&bytes, &["idle"]).unwrap_err();
    assert!(error.contains("--train idle matches none of the parameters"), "{error}");
}

#[test]
fn a_dropout_in_training_mode_without_its_mask_is_refused_by_name() {
    let with = |dropout: &str| model(&["MatMul x w -> h", dropout, "MatMul k head -> logits"], &["logits"]);
    let error = gradients(&with("Dropout h ratio on -> k"), &[]).unwrap_err();
    for words in ["Dropout", "`k`", "its mask is not an output"] {
        assert!(error.contains(words), "{error}");
    }
    for dropout in ["Dropout h ratio on -> k mask", "Dropout h ratio -> k"] {
        assert_eq!(trained(&gradients(&with(dropout), &[]).unwrap()), ["w", "head"], "{dropout}");
    }
}

/// The branch of an If reads h, which w has a part in. The message is followed to the end: types, then --freeze.
#[test]
fn an_if_is_refused_by_name_and_the_advice_helps() {
    let nodes = ["MatMul x w -> h", "If on -> k", "MatMul k head -> logits"];
    let mut model = ModelProto::decode(model(&nodes, &["logits"]).as_slice()).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let branch = GraphProto { node: vec![node("Tanh h -> t")], ..GraphProto::default() };
    graph.node[1].attribute = ["then_branch", "else_branch"]
        .map(|name| AttributeProto {
            name: Some(name.into()),
            g: Some(Box::new(branch.clone())),
            ..AttributeProto::default()
        })
        .into();
    let error = gradients(&model.encode_to_vec(), &[]).unwrap_err();
    for words in ["gradient through the If that makes `k`", "onnx.shape_inference.infer_shapes", "--freeze"] {
        assert!(error.contains(words), "{error}");
    }
    let ty = TensorType::new(DType::F32, &[Dim::symbol("N"), Dim::Fixed(5)]);
    model.graph.as_mut().unwrap().value_info = vec![port("k", &ty)];
    let bytes = model.encode_to_vec();
    let error = gradients(&bytes, &[]).unwrap_err();
    assert!(error.contains("gradient through If (which makes `k`)"), "{error}");
    assert_eq!(trained(&selected(&bytes, &[], &["w"]).unwrap()), ["head"]);
}
