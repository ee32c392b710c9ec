use super::*;
use crate::graft::discover::{Wishes, discover};
use crate::graft::models::{F16, F32, I32, I64, graph, model, node, port, stored};
use crate::loss::{ClassWeighting, FeatureInput, Interface, builtin};
use crate::lower;
use crate::onnx::messages::ModelProto;
use crate::onnx::{read, splice};
use crate::tensor::DType;

fn loss(name: &str, dtype: DType, feature_input: FeatureInput) -> Loss {
    let spec = builtin::load(name).unwrap().unwrap();
    let interface = Interface { dtype, feature_input, ..Interface::new(3, &spec) };
    Loss::new(spec, interface, None).unwrap()
}

fn ib() -> Loss {
    loss("ib", DType::F32, FeatureInput::Raw)
}

fn grafted(graph: GraphProto, loss: &Loss, labels: Option<&str>) -> Result<ModelProto, String> {
    grafted_bytes(&model(graph), loss, labels)
}

pub fn grafted_bytes(bytes: &[u8], loss: &Loss, labels: Option<&str>) -> Result<ModelProto, String> {
    let host = Host::read(bytes).map_err(|e| e.to_string())?;
    let head = discover(&host, Wishes { logits: None, features: None }).map_err(|e| e.to_string())?;
    let lowered = lower::portable(loss);
    let plan = Plan { loss, graph: &lowered, kind: Kind::LossGrad, labels };
    let attached = attach(&host, &head, plan).map_err(|e| e.to_string())?;
    let out = splice(&host, &attached.delta).map_err(|e| e.to_string())?.to_vec();
    Host::read(&out).map_err(|e| e.to_string())?;
    Ok(read(&out).unwrap())
}

/// As [`grafted_bytes`], with these logits and the plain loss.
pub fn grafted_at(bytes: &[u8], logits: Option<&str>) -> ModelProto {
    let (host, loss) = (Host::read(bytes).unwrap(), ib());
    let head = discover(&host, Wishes { logits, features: None }).unwrap();
    let lowered = lower::portable(&loss);
    let plan = Plan { loss: &loss, graph: &lowered, kind: Kind::LossGrad, labels: None };
    let attached = attach(&host, &head, plan).unwrap();
    read(&splice(&host, &attached.delta).unwrap().to_vec()).unwrap()
}

/// A loss that stores class weights.
pub fn weighted() -> Loss {
    let spec = builtin::load("ib").unwrap().unwrap();
    let interface = Interface { class_weighting: ClassWeighting::Stored, ..Interface::new(3, &spec) };
    Loss::new(spec, interface, Some(vec![0.5, 1.0, 1.5])).unwrap()
}

fn linear() -> GraphProto {
    graph(&[node("Gemm", &["x", "w", "b"], "z")], &[port("z", F32, &["n", "3"])])
}

/// The type of an input or output, as `7[n]`.
fn ty(ports: &[ValueInfoProto], name: &str) -> String {
    let port = ports.iter().find(|port| port.name.as_deref() == Some(name)).unwrap();
    let tensor = port.r#type.as_ref().unwrap().tensor_type.as_ref().unwrap();
    let dim = |dim: &crate::onnx::messages::DimensionProto| match (dim.dim_value, &dim.dim_param) {
        (Some(n), _) => n.to_string(),
        (None, name) => name.clone().unwrap_or("?".into()),
    };
    let shape: Vec<String> = tensor.shape.as_ref().unwrap().dim.iter().map(dim).collect();
    format!("{}[{}]", tensor.elem_type.unwrap(), shape.join(", "))
}

#[test]
fn the_batch_is_the_classifiers() {
    let model = grafted(linear(), &ib(), None).unwrap().graph.unwrap();
    assert_eq!(ty(&model.input, "labels"), "7[n]");
    assert_eq!(ty(&model.output, "logits_grad"), "1[n, 3]");
    assert_eq!(ty(&model.output, "features_grad"), "1[n, 5]");
    assert_eq!(ty(&model.output, "loss"), "1[]");
    let mut fixed = linear();
    fixed.input = vec![port("x", F32, &["4", "5"])];
    fixed.output = vec![port("z", F32, &["4", "3"])];
    let model = grafted(fixed, &ib(), None).unwrap().graph.unwrap();
    assert_eq!(ty(&model.input, "labels"), "7[4]");
    assert_eq!(ty(&model.output, "features_grad"), "1[4, 5]");
}

#[test]
fn a_symbol_of_the_classifier_is_not_taken_for_ours() {
    let mut other = linear();
    other.input = vec![port("x", F32, &["?", "5"]), port("unrelated", F32, &["N"])];
    other.output = vec![port("z", F32, &["?", "3"])];
    let model = grafted(other, &ib(), None).unwrap().graph.unwrap();
    assert_eq!(ty(&model.input, "labels"), "7[N_]");
}

#[test]
fn labels_that_the_classifier_has_are_used() {
    for (element, cast) in [(I64, false), (I32, true)] {
        let mut with_labels = linear();
        with_labels.input.push(port("y", element, &["n"]));
        let model = grafted(with_labels, &ib(), Some("y")).unwrap().graph.unwrap();
        assert_eq!(model.input.len(), 2);
        let widened = model.node.iter().any(|n| n.op_type.as_deref() == Some("Cast") && n.input == ["y"]);
        assert_eq!(widened, cast);
    }
    let mut matrix = linear();
    matrix.input.push(port("y", I64, &["n", "3"]));
    assert!(grafted(matrix, &ib(), Some("y")).unwrap_err().contains("[n, 3]; labels are [N]"));
    let mut float = linear();
    float.input.push(port("y", F32, &["n"]));
    assert!(grafted(float, &ib(), Some("y")).unwrap_err().contains("float32; labels are int64 or int32"));
    let model = grafted(linear(), &ib(), Some("target")).unwrap().graph.unwrap();
    assert_eq!(ty(&model.input, "target"), "7[n]");
}

#[test]
fn features_of_another_type_are_cast_and_so_is_their_gradient() {
    let mut mixed = graph(
        &[node("Gemm", &["h", "v"], "half"), {
            let mut cast = node("Cast", &["half"], "z");
            cast.attribute = vec![crate::onnx::attributes::integer("to", 1)];
            cast
        }],
        &[port("z", F32, &["n", "3"])],
    );
    mixed.input = vec![port("h", F16, &["n", "5"])];
    mixed.initializer = vec![stored("v", F16, &[5, 3])];
    let graph = grafted_at(&model(mixed), Some("z")).graph.unwrap();
    assert_eq!(ty(&graph.output, "logits_grad"), "1[n, 3]");
    assert_eq!(ty(&graph.output, "features_grad"), "10[n, 5]");
    let casts = graph.node.iter().filter(|n| n.op_type.as_deref() == Some("Cast"));
    assert!(casts.clone().any(|n| n.input == ["h"]));
    assert!(casts.clone().any(|n| n.output == ["features_grad"]));
}

#[test]
fn before_ir_version_4_what_is_stored_is_made_by_constants() {
    let mut old = ModelProto { ir_version: Some(3), ..read(&model(linear())).unwrap() };
    let graph = old.graph.as_mut().unwrap();
    graph.input.extend([port("w", F32, &["5", "3"]), port("b", F32, &["3"])]);
    let bytes = prost::Message::encode_to_vec(&old);
    let graph = grafted_bytes(&bytes, &ib(), None).unwrap().graph.unwrap();
    assert_eq!(graph.initializer.len(), 2, "the classifier's own");
    assert!(graph.node.iter().any(|n| n.op_type.as_deref() == Some("Constant")));
    assert_eq!(graph.input.len(), 4, "x, w, b, labels");
}

#[test]
fn what_does_not_fit_is_told() {
    let column = loss("ib", DType::F32, FeatureInput::NormColumn);
    let text = grafted(linear(), &column, None).unwrap_err();
    assert!(
        text.contains("the features `x` have the shape [n, 5]") && text.contains("norm-column"),
        "{text}"
    );
    let pooled = graph(&[node("Relu", &["x"], "z")], &[port("z", F32, &["n", "5"])]);
    let text = grafted(pooled, &ib(), None).unwrap_err();
    assert!(text.contains("the loss `ib` uses features, but `z` is not made by a linear layer"), "{text}");
    let twice = prost::Message::encode_to_vec(&grafted(linear(), &ib(), None).unwrap());
    assert!(grafted_bytes(&twice, &ib(), None).unwrap_err().contains("already has a graft"));
    for (opset, message) in [(7, "from"), (99, "up to")] {
        let mut other = read(&model(linear())).unwrap();
        other.opset_import[0].version = Some(opset);
        let text = grafted_bytes(&prost::Message::encode_to_vec(&other), &ib(), None).unwrap_err();
        assert!(text.contains(message) && text.contains("onnx.version_converter"), "{text}");
    }
}

#[test]
fn a_loss_without_features_needs_none() {
    let pooled = graph(&[node("Relu", &["x"], "z")], &[port("z", F32, &["n", "3"])]);
    let loss = loss("cross-entropy", DType::F32, FeatureInput::Raw);
    let graph = grafted(pooled, &loss, None).unwrap().graph.unwrap();
    assert!(graph.output.iter().all(|output| output.name.as_deref() != Some("features_grad")));
}
