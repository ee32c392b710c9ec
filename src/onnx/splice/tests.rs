use super::*;
use crate::onnx;
use crate::onnx::wire::fields;

fn mlp() -> Vec<u8> {
    std::fs::read("tests/data/classifiers/mlp/model.onnx").unwrap()
}

fn port(name: &str) -> ValueInfoProto {
    ValueInfoProto { name: Some(name.into()), ..ValueInfoProto::default() }
}

fn relu(input: &str, output: &str) -> NodeProto {
    NodeProto {
        op_type: Some("Relu".into()),
        input: vec![input.into()],
        output: vec![output.into()],
        ..NodeProto::default()
    }
}

fn delta() -> Delta {
    Delta {
        first_outputs: vec![port("first")],
        nodes: vec![relu("logits", "first"), relu("new", "last")],
        initializers: vec![TensorProto { name: Some("stored".into()), ..TensorProto::default() }],
        inputs: vec![port("new"), port("0.weight")],
        outputs: vec![port("last")],
        value_info: vec![port("logits")],
        opset_imports: vec![OperatorSetIdProto { domain: Some("other".into()), version: Some(1) }],
        functions: vec![FunctionProto { name: Some("f".into()), ..FunctionProto::default() }],
        metadata: vec![("key".into(), "value".into())],
        replaced: vec![],
        ir_version: None,
    }
}

#[test]
fn taking_the_insertions_out_gives_back_every_original_byte() {
    let bytes = mlp();
    let host = Host::read(&bytes).unwrap();
    let delta = delta();
    let out = splice(&host, &delta).unwrap().to_vec();
    let graph = |bytes: &[u8]| fields(bytes).unwrap().into_iter().find(|f| f.number == 7).unwrap();
    let (old, new) = (graph(&bytes), graph(&out));
    assert_eq!(out[..new.whole.start], bytes[..old.whole.start], "what stands before the graph");
    let first = messages(12, &delta.first_outputs).len();
    let old_content = old.content.unwrap();
    let kept = new.content.clone().unwrap().start + first;
    assert_eq!(out[kept..kept + old_content.len()], bytes[old_content.clone()], "the graph");
    let after = &bytes[old.whole.end..];
    assert_eq!(out[new.whole.end..new.whole.end + after.len()], *after, "what stands after the graph");
    let added = first + graph_tail(&delta).len() + model_tail(&delta).len();
    let header = |field: &onnx::wire::Field| field.content.clone().unwrap().start - field.whole.start;
    assert_eq!(out.len(), bytes.len() + added + header(&new) - (old.whole.len() - old_content.len()));
}

#[test]
fn the_additions_are_read_where_they_belong() {
    let bytes = mlp();
    let host = Host::read(&bytes).unwrap();
    let out = splice(&host, &delta()).unwrap();
    assert_eq!(out.len(), out.to_vec().len());
    let model = onnx::read(&out.to_vec()).unwrap();
    let graph = model.graph.unwrap();
    let names =
        |ports: &[ValueInfoProto]| -> Vec<String> { ports.iter().map(|p| p.name.clone().unwrap()).collect() };
    assert_eq!(names(&graph.output), ["first", "logits", "last"]);
    assert_eq!(names(&graph.input), ["x", "new", "0.weight"]);
    assert_eq!(graph.node.len(), host.graph().node.len() + 2);
    assert_eq!(graph.initializer.last().unwrap().name.as_deref(), Some("stored"));
    assert_eq!(model.opset_import.len(), 2);
    assert_eq!(model.functions[0].name.as_deref(), Some("f"));
    assert_eq!(model.metadata_props.last().unwrap().value.as_deref(), Some("value"));
}

#[test]
fn a_replaced_initializer_leaves_all_others_as_they_are() {
    let bytes = mlp();
    let host = Host::read(&bytes).unwrap();
    let values = TensorProto {
        name: Some("2.bias".into()),
        dims: vec![2],
        data_type: Some(1),
        float_data: vec![1.0, 2.0],
        ..TensorProto::default()
    };
    let delta = Delta { replaced: vec![values.clone()], ..Delta::default() };
    let out = onnx::read(&splice(&host, &delta).unwrap().to_vec()).unwrap();
    let mut expected = onnx::read(&bytes).unwrap();
    let graph = expected.graph.as_mut().unwrap();
    let tensor = graph.initializer.iter_mut().find(|t| t.name == values.name).unwrap();
    *tensor = values;
    assert_eq!(out, expected);
}

#[test]
fn additions_that_would_break_the_model_are_refused() {
    let bytes = mlp();
    let host = Host::read(&bytes).unwrap();
    let refused = |delta: Delta| splice(&host, &delta).unwrap_err().to_string();
    let with = |nodes: Vec<NodeProto>| Delta { nodes, ..Delta::default() };
    assert!(refused(with(vec![relu("nowhere", "y")])).contains("reads `nowhere`, which nothing makes"));
    assert!(refused(with(vec![relu("x", "logits")])).contains("two values are named `logits`"));
    let absent = TensorProto { name: Some("absent".into()), ..TensorProto::default() };
    let delta = Delta { replaced: vec![absent], ..Delta::default() };
    assert!(refused(delta).contains("no initializer `absent`"));
}

#[test]
fn initializers_are_found_in_the_bytes() {
    let bytes = mlp();
    let host = Host::read(&bytes).unwrap();
    let ranges = host.initializer_ranges();
    assert_eq!(ranges.len(), host.graph().initializer.len());
    for (range, slim) in ranges.iter().zip(&host.graph().initializer) {
        let tensor = TensorProto::decode(&bytes[range.clone()]).unwrap();
        assert_eq!((&tensor.name, &tensor.dims), (&slim.name, &slim.dims));
        assert!(tensor.raw_data.is_some());
    }
}
