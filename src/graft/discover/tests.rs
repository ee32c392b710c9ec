use super::*;
use crate::graft::models::{F16, F32, I64, graph, model, node, port, stored};
use crate::onnx::messages::{AttributeProto, GraphProto, ValueInfoProto};

fn found(graph: GraphProto) -> Result<Head, DiscoverError> {
    wished(graph, Wishes::default())
}

fn wished(graph: GraphProto, wishes: Wishes<'_>) -> Result<Head, DiscoverError> {
    let bytes = model(graph);
    discover(&Host::read(&bytes).unwrap(), wishes)
}

fn names(head: &Head) -> (&str, Option<&str>, Option<usize>) {
    (&head.logits.name, head.features.as_ref().map(|place| place.name.as_str()), head.classes)
}

fn z() -> ValueInfoProto {
    port("z", F32, &["n", "3"])
}

#[test]
fn logits_are_found_through_what_only_presents_them() {
    let tails: [&[&str]; 7] = [
        &["Softmax"],
        &["LogSoftmax"],
        &["Softmax", "ArgMax", "Cast"],
        &["Identity", "Softmax", "ai.onnx.ml:ZipMap"],
        &["QuantizeLinear", "DequantizeLinear", "Softmax"],
        &["Cast", "Flatten"],
        &["Reshape"],
    ];
    for tail in tails {
        let mut nodes = vec![node("Relu", &["x"], "h"), node("Gemm", &["h", "w", "b"], "z")];
        for (k, op) in tail.iter().enumerate() {
            let input = nodes.last().unwrap().output[0].clone();
            nodes.push(node(op, &[&input], &format!("t{k}")));
        }
        let last = nodes.last().unwrap().output[0].clone();
        let head = found(graph(&nodes, &[ValueInfoProto { name: Some(last), r#type: None }])).unwrap();
        assert_eq!(names(&head), ("z", Some("h"), Some(3)), "{tail:?}");
        assert_eq!(head.logits.dtype, Some(DType::F32), "{tail:?}");
        assert_eq!(head.batch(), Some("n"), "{tail:?}");
    }
}

#[test]
fn a_layer_may_be_spelled_as_matmul_and_add_with_transposed_weights() {
    let mut transpose = node("Transpose", &["v"], "vt");
    transpose.attribute =
        vec![AttributeProto { name: Some("perm".into()), ints: vec![1, 0], ..AttributeProto::default() }];
    let nodes = [transpose, node("MatMul", &["x", "vt"], "m"), node("Add", &["b", "m"], "z")];
    let mut graph = graph(&nodes, &[port("z", F32, &["n", "?"])]);
    graph.initializer.push(stored("v", F32, &[3, 5]));
    let head = found(graph).unwrap();
    assert_eq!(names(&head), ("z", Some("x"), Some(3)));
    assert!(head.features.unwrap().why.contains("the data input of node `the m` (MatMul)"));
}

#[test]
fn two_heads_are_an_error_that_lists_both_and_a_name_settles_it() {
    let nodes = [node("Gemm", &["x", "w", "b"], "z"), node("Gemm", &["x", "w"], "other")];
    let graph = graph(&nodes, &[z(), port("other", F32, &["n", "3"])]);
    let error = found(graph.clone()).unwrap_err().to_string();
    assert!(error.contains("--logits"), "{error}");
    assert!(error.contains("  z: made by node `the z` (Gemm)"), "{error}");
    assert!(error.contains("  other: made by node `the other` (Gemm)"), "{error}");
    let head = wished(graph, Wishes { logits: Some("other"), features: None }).unwrap();
    assert_eq!(names(&head), ("other", Some("x"), Some(3)));
}

#[test]
fn a_layer_that_another_is_computed_from_makes_features() {
    let nodes = [
        node("Gemm", &["x", "v"], "embedding"),
        node("Relu", &["embedding"], "h"),
        node("Gemm", &["h", "w", "b"], "z"),
    ];
    let mut graph = graph(&nodes, &[port("embedding", F32, &["n", "5"]), z()]);
    graph.initializer.push(stored("v", F32, &[5, 5]));
    assert_eq!(names(&found(graph).unwrap()), ("z", Some("h"), Some(3)));
}

#[test]
fn without_a_linear_layer_there_are_logits_but_no_features() {
    let nodes = [
        node("GlobalAveragePool", &["i"], "pooled"),
        node("Flatten", &["pooled"], "z"),
        node("Softmax", &["z"], "p"),
    ];
    let mut graph = graph(&nodes, &[port("p", F32, &["n", "7"])]);
    graph.input.push(port("i", F32, &["n", "7", "4", "4"]));
    let head = found(graph.clone()).unwrap();
    assert_eq!(names(&head), ("z", None, Some(7)));
    assert!(head.no_features.unwrap().contains("`z` is not made by a linear layer"));
    let head = wished(graph, Wishes { logits: None, features: Some("x") }).unwrap();
    assert_eq!(names(&head), ("z", Some("x"), Some(7)));
}

#[test]
fn attention_is_no_linear_layer() {
    let nodes = [node("Relu", &["x"], "a"), node("MatMul", &["x", "a"], "z")];
    let head = found(graph(&nodes, &[z()])).unwrap();
    assert_eq!(names(&head), ("z", None, Some(3)));
}

#[test]
fn half_types_and_static_batches_are_seen() {
    let mut graph = graph(&[node("Gemm", &["h", "v"], "z"), node("Softmax", &["z"], "p")], &[]);
    graph.input = vec![port("h", F16, &["4", "5"])];
    graph.initializer = vec![stored("v", F16, &[5, 3])];
    graph.output = vec![ValueInfoProto { name: Some("p".into()), r#type: None }];
    let head = found(graph).unwrap();
    assert_eq!((head.logits.dtype, head.batch()), (Some(DType::F16), Some("4")));
}

#[test]
fn the_layer_tells_the_type_of_features_that_nothing_else_declares() {
    let mut transposed = node("Gemm", &["h", "v"], "z");
    transposed.attribute = vec![crate::onnx::attributes::integer("transB", 1)];
    for layer in [node("Gemm", &["h", "w"], "z"), node("MatMul", &["h", "w"], "z"), transposed] {
        let mut graph = graph(&[node("TopK", &["x"], "h"), layer], &[z()]);
        graph.initializer.push(stored("v", F32, &[3, 5]));
        let features = found(graph).unwrap().features.unwrap();
        assert_eq!(features.dtype, Some(DType::F32));
        assert_eq!(features.shape, Some(vec!["n".to_owned(), "5".to_owned()]));
    }
}

#[test]
fn what_is_no_classifier_is_told() {
    let sequence = graph(&[node("MatMul", &["s", "w"], "z")], &[port("z", F32, &["n", "7", "3"])]);
    let with_input = |mut graph: GraphProto| {
        graph.input.push(port("s", F32, &["n", "7", "5"]));
        graph
    };
    let cases = [
        (with_input(sequence.clone()), Wishes::default(), "no output leads back to a value of shape [N, C]"),
        (
            with_input(sequence),
            Wishes { logits: Some("z"), features: None },
            "the logits `z` have the shape [n, 7, 3]; [N, C] is needed",
        ),
        (graph(&[], &[port("x", F32, &["n", "5"])]), Wishes::default(), "no logits were found"),
        (
            graph(&[node("Gemm", &["x", "w"], "logits")], &[port("logits", F32, &["n", "3"])]),
            Wishes { logits: Some("logit"), features: None },
            "--logits logit: the model has no such value; did you mean `logits`?",
        ),
        (
            graph(&[node("ArgMax", &["x"], "c")], &[port("c", I64, &["n", "5"])]),
            Wishes { logits: Some("c"), features: None },
            "the logits `c` are int64; a float type is needed",
        ),
    ];
    for (graph, wishes, expected) in cases {
        let error = wished(graph, wishes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}\n{expected}");
    }
}

#[test]
fn many_sums_of_one_value_take_no_time() {
    let mut nodes: Vec<_> = (0..60)
        .map(|k| {
            let before = if k == 0 { "x".to_owned() } else { format!("s{}", k - 1) };
            node("Add", &[&before, &before], &format!("s{k}"))
        })
        .collect();
    nodes.push(node("MatMul", &["s59", "w"], "z"));
    let head = found(graph(&nodes, &[ValueInfoProto { name: Some("z".into()), r#type: None }])).unwrap();
    assert_eq!(names(&head), ("z", Some("s59"), Some(3)));
}
