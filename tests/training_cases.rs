//! Training graphs on models of other exporters, opsets and types, and models that are refused by name.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::path::Path;

use ibgraph::graft::{
    Selection, Training, TrainingError, TrainingPlan, Wishes, discover, prospect, training,
};
use ibgraph::graph::{Dim, TensorType};
use ibgraph::loss::{Interface, Loss, builtin};
use ibgraph::onnx::messages::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
};
use ibgraph::onnx::{Host, port, splice};
use ibgraph::runtime::{Engine, OrtEngine, OrtOptions, Provider, Session};
use ibgraph::tensor::{DType, Tensor, TensorData};
use ibgraph::train::manifest::{Extent, InputRole};
use prost::Message;

/// Along the gradient at step h the difference is off by h²/6 times the third derivative, by the kinks of Relu that lie
/// within h, and by float32's rounding of the loss (1e-7 of about 2) over h: at 5e-4 by 4e-4 of slopes of order 1.
const STEP: f32 = 5e-4;
const SLOPE: f64 = 1e-2;
const BATCH: usize = 4;

fn engine(data: Option<&Path>) -> OrtEngine {
    let library = std::env::var_os("IBGRAPH_TEST_ORT").unwrap_or_else(|| {
        panic!("set IBGRAPH_TEST_ORT to an ONNX Runtime library; `ci/test` installs one and does")
    });
    let mut options = OrtOptions::default();
    options.data_dir = data.map(Path::to_owned);
    OrtEngine::open(Path::new(&library), Provider::Cpu, options).unwrap()
}

fn loss(classes: usize) -> Loss {
    let spec = builtin::load("cross-entropy").unwrap().unwrap();
    let interface = Interface::new(classes, &spec);
    Loss::new(spec, interface, None).unwrap()
}

fn gradients(bytes: &[u8], selection: &Selection) -> Result<(Training, Vec<u8>), TrainingError> {
    let host = Host::read(bytes).unwrap();
    let head = discover(&host, Wishes::default()).unwrap();
    let loss = loss(head.classes.unwrap());
    let made = training(&host, &head, TrainingPlan { loss: &loss, recipe: None, labels: None, selection })?;
    let bytes = splice(&host, &made.delta).unwrap().to_vec();
    Ok((made, bytes))
}

/// Asserts that the loss falls along its gradient by all parameters as fast as the gradient is long.
fn assert_slope(name: &str, bytes: &[u8], data: Option<&Path>) {
    let (made, bytes) = gradients(bytes, &Selection::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
    let model = ModelProto::decode(bytes.as_slice()).unwrap();
    let graph = model.graph.as_ref().unwrap();
    let mut session = engine(data).load(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
    let inputs = inputs(&made);
    let mut parameters: Vec<(String, Tensor)> = Vec::new();
    for carried in &made.manifest.carried {
        let stored =
            graph.initializer.iter().find(|t| t.name.as_deref() == Some(&carried.port.name)).unwrap();
        // Weights in another file are replaced, which a slope does not mind.
        let tensor = Tensor::try_from(stored).unwrap_or_else(|_| {
            let shape = carried.port.fixed_shape().unwrap();
            let mut rng = fastrand::Rng::with_seed(3);
            let values = (0..shape.iter().product()).map(|_| 0.4 * rng.f32() - 0.2).collect();
            Tensor::new(shape, TensorData::F32(values)).unwrap()
        });
        parameters.push((carried.port.name.clone(), tensor));
    }
    let outputs: Vec<&str> = made.manifest.outputs.iter().map(|o| o.port.name.as_str()).collect();
    let loss = outputs.iter().position(|o| o.starts_with("loss")).unwrap();
    let of = |o: &ibgraph::train::manifest::Output| o.of.clone();
    let wanted: Vec<(String, String)> =
        made.manifest.outputs.iter().filter_map(|o| Some((of(o)?, o.port.name.clone()))).collect();
    assert_eq!(wanted.len(), parameters.len(), "{name}");
    let names: Vec<&str> =
        [outputs[loss]].into_iter().chain(wanted.iter().map(|(_, g)| g.as_str())).collect();
    let found = run(session.as_mut(), &inputs, &parameters, &names);
    let gradients: Vec<Vec<f32>> = found[1..].iter().map(|t| t.as_f32().unwrap().to_vec()).collect();
    let norm = gradients.iter().flatten().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    assert!(norm > 1e-4, "{name}: a gradient of length {norm}");
    let mut side = |sign: f32| {
        let moved: Vec<(String, Tensor)> = parameters
            .iter()
            .zip(&gradients)
            .map(|((name, tensor), gradient)| {
                let step = |(v, g): (&f32, &f32)| v + sign * STEP * g / norm as f32;
                let values = tensor.as_f32().unwrap().iter().zip(gradient).map(step).collect();
                (name.clone(), Tensor::new(tensor.shape().to_vec(), TensorData::F32(values)).unwrap())
            })
            .collect();
        run(session.as_mut(), &inputs, &moved, &names[..1])[0].to_f64_vec()[0]
    };
    let slope = (side(1.0) - side(-1.0)) / (2.0 * f64::from(STEP));
    assert!((slope / norm - 1.0).abs() <= SLOPE, "{name}: slope {slope}, gradient {norm}");
}

/// A batch by the manifest.
fn inputs(made: &Training) -> Vec<(String, Tensor)> {
    let mut rng = fastrand::Rng::with_seed(5);
    let inputs = made.manifest.inputs.iter();
    inputs
        .map(|input| {
            let extent = |e: &Extent| match e {
                Extent::Fixed(n) => *n,
                Extent::Symbol(_) => BATCH,
            };
            let shape: Vec<usize> = input.port.shape.iter().map(extent).collect();
            let count = shape.iter().product();
            let data = match input.role {
                InputRole::Data => TensorData::F32((0..count).map(|_| 2.0 * rng.f32() - 1.0).collect()),
                InputRole::Labels => TensorData::I64((0..count as i64).map(|i| i % 3).collect()),
                other => panic!("an input for {other:?}"),
            };
            let tensor = Tensor::new(shape, data).unwrap().cast(input.port.dtype);
            (input.port.name.clone(), tensor)
        })
        .collect()
}

fn run(
    session: &mut dyn Session,
    inputs: &[(String, Tensor)],
    parameters: &[(String, Tensor)],
    outputs: &[&str],
) -> Vec<Tensor> {
    let all: Vec<(&str, &Tensor)> = inputs.iter().chain(parameters).map(|(n, t)| (n.as_str(), t)).collect();
    session.run(&all, outputs).unwrap()
}

#[test]
fn exports_of_every_kind_have_gradients_by_which_the_loss_falls() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let cases =
        ["dynamo_external", "fixed_batch", "linear", "name_clash", "opset9", "sklearn_mlp", "two_outputs"];
    let files = cases.map(|case| root.join(format!("graft_cases/{case}.onnx")));
    for file in files.into_iter().chain(
        ["exports/keras_cnn.onnx", "exports/dynamo_plain.onnx", "functions/flat.onnx"].map(|f| root.join(f)),
    ) {
        let bytes = std::fs::read(&file).unwrap();
        assert_slope(&file.display().to_string(), &bytes, file.parent());
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

fn matrix(name: &str, rows: usize, columns: usize) -> TensorProto {
    let mut rng = fastrand::Rng::with_seed(name.len() as u64);
    TensorProto {
        name: Some(name.into()),
        dims: vec![rows as i64, columns as i64],
        data_type: Some(1),
        float_data: (0..rows * columns).map(|_| rng.f32() - 0.5).collect(),
        ..TensorProto::default()
    }
}

fn typed(name: &str, columns: usize) -> ValueInfoProto {
    port(name, &TensorType::new(DType::F32, &[Dim::symbol("N"), Dim::Fixed(columns)]))
}

fn model(nodes: Vec<NodeProto>, initializer: Vec<TensorProto>) -> ModelProto {
    let graph = GraphProto {
        node: nodes,
        name: Some("g".into()),
        initializer,
        input: vec![typed("x", 5)],
        output: vec![typed("logits", 3)],
        value_info: vec![typed("h", 5), typed("k", 5)],
        ..GraphProto::default()
    };
    ModelProto {
        ir_version: Some(8),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(18) }],
        ..ModelProto::default()
    }
}

#[test]
fn a_parameter_that_two_layers_share_has_the_sum_of_their_gradients() {
    let nodes = vec![
        node("MatMul", &["x", "w"], "h"),
        node("Tanh", &["h"], "k"),
        node("MatMul", &["k", "w"], "features"),
        node("MatMul", &["features", "head"], "logits"),
    ];
    let model = model(nodes, vec![matrix("w", 5, 5), matrix("head", 5, 3)]);
    assert_slope("shared", &model.encode_to_vec(), None);
}

/// Operators that are taken apart have inner values that the file lacks: they are made again.
#[test]
fn operators_without_a_single_counterpart_have_gradients_too() {
    let mut slope = matrix("slope", 1, 5);
    slope.dims = vec![5];
    let nodes = vec![
        node("MatMul", &["x", "w"], "h"),
        node("PRelu", &["h", "slope"], "k"),
        node("Sum", &["k", "h", "x"], "features"),
        node("MatMul", &["features", "head"], "logits"),
    ];
    let model = model(nodes, vec![matrix("w", 5, 5), slope, matrix("head", 5, 3)]);
    assert_slope("composite", &model.encode_to_vec(), None);
}

fn middle(op: &str) -> Vec<u8> {
    let nodes = vec![
        node("MatMul", &["x", "w"], "h"),
        node(op, &["h"], "k"),
        node("MatMul", &["k", "head"], "logits"),
    ];
    model(nodes, vec![matrix("w", 5, 5), matrix("head", 5, 3)]).encode_to_vec()
}

#[test]
fn a_node_without_a_rule_is_named_beforehand_and_can_be_frozen_around() {
    let bytes = middle("Mish");
    let error = gradients(&bytes, &Selection::default()).unwrap_err().to_string();
    for part in ["Mish", "`k`", "--freeze"] {
        assert!(error.contains(part), "{error}");
    }
    let host = Host::read(&bytes).unwrap();
    let head = discover(&host, Wishes::default()).unwrap();
    let without_rule = prospect(&host, &head).without_rule;
    assert!(without_rule.len() == 1 && without_rule[0].contains("Mish"), "{without_rule:?}");
    let frozen = Selection { freeze: vec!["w".into()], ..Selection::default() };
    let (made, _) = gradients(&bytes, &frozen).unwrap();
    let names: Vec<&str> = made.manifest.carried.iter().map(|c| c.port.name.as_str()).collect();
    assert_eq!(names, ["head"]);
    assert_eq!(made.left_out, [("w".to_owned(), "frozen".to_owned())]);
}

#[test]
fn custom_domains_quantized_layers_and_control_flow_are_refused_by_name() {
    for (op, word) in
        [("my.domain:Layer", "standard domain"), ("If", "no rule"), ("QuantizeLinear", "no rule")]
    {
        let error = gradients(&middle(op), &Selection::default()).unwrap_err().to_string();
        let name = op.split(':').next_back().unwrap();
        assert!(error.contains(name) && error.contains(word), "{op}: {error}");
    }
}

#[test]
fn a_value_of_unknown_type_is_blamed_on_the_node_that_makes_it() {
    let mut model = ModelProto::decode(middle("Mish").as_slice()).unwrap();
    model.graph.as_mut().unwrap().value_info.clear();
    let error = gradients(&model.encode_to_vec(), &Selection::default()).unwrap_err().to_string();
    assert!(error.contains("the Mish that makes `k`"), "{error}");
}

/// What a node without a type is computed from is not forgotten: a parameter behind it is not simply left out.
#[test]
fn no_parameter_behind_a_value_of_unknown_type_is_left_out_in_silence() {
    let nodes = vec![
        node("MatMul", &["x", "w"], "h"),
        node("Mish", &["h"], "unknown"),
        node("Add", &["unknown", "x"], "k"),
        node("MatMul", &["k", "head"], "logits"),
    ];
    let bytes = model(nodes, vec![matrix("w", 5, 5), matrix("head", 5, 3)]).encode_to_vec();
    let error = gradients(&bytes, &Selection::default()).unwrap_err().to_string();
    for words in [
        "gradient through the Mish that makes `unknown`: this operator has no rule",
        "Add (which makes `k`)",
        "onnx.shape_inference",
    ] {
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn patterns_that_match_nothing_and_nothing_to_train_are_errors() {
    let bytes = middle("Tanh");
    let selection = |train: &[&str], freeze: &[&str]| Selection {
        train: train.iter().map(|s| (*s).to_owned()).collect(),
        freeze: freeze.iter().map(|s| (*s).to_owned()).collect(),
        ..Selection::default()
    };
    let cases = [(selection(&["heda"], &[]), "heda"), (selection(&[], &["*"]), "no parameter to train")];
    for (selection, word) in cases {
        let error = gradients(&bytes, &selection).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

/// The scale of a frozen normalization in training mode: statistics are no parameters, and are carried.
#[test]
fn statistics_of_a_normalization_are_carried_and_not_trained() {
    let vector = |name: &str| TensorProto { dims: vec![5], ..matrix(name, 1, 5) };
    let mut norm = node("BatchNormalization", &["h", "scale", "bias", "mean", "variance"], "k");
    norm.output.extend(["mean_out".to_owned(), "variance_out".to_owned()]);
    norm.attribute.push(AttributeProto {
        name: Some("training_mode".into()),
        i: Some(1),
        r#type: Some(2),
        ..AttributeProto::default()
    });
    let nodes = vec![node("MatMul", &["x", "w"], "h"), norm, node("MatMul", &["k", "head"], "logits")];
    let stored = ["scale", "bias", "mean", "variance"].map(vector);
    let bytes =
        model(nodes, [vec![matrix("w", 5, 5), matrix("head", 5, 3)], stored.into()].concat()).encode_to_vec();
    let (made, _) = gradients(&bytes, &Selection::default()).unwrap();
    let next: Vec<(&str, Option<&str>)> =
        made.manifest.carried.iter().map(|c| (c.port.name.as_str(), c.next.as_deref())).collect();
    let expected = [
        ("w", None),
        ("head", None),
        ("scale", None),
        ("bias", None),
        ("mean", Some("mean_next")),
        ("variance", Some("variance_next")),
    ];
    assert_eq!(next, expected);
}
