use super::*;
use crate::onnx::messages::{
    GraphProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, ValueInfoProto,
};
use crate::tensor::TensorData;

fn model() -> ModelProto {
    let entry = |key: &str, value: &str| StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    };
    let tensor = |name: &str| TensorProto {
        dims: vec![2],
        data_type: Some(1),
        name: Some(name.to_owned()),
        ..TensorProto::default()
    };
    let raw = TensorProto { raw_data: Some(vec![0; 8]), ..tensor("raw") };
    let typed = TensorProto { float_data: vec![1.0, 2.0], ..tensor("typed") };
    let external = TensorProto {
        data_location: Some(1),
        external_data: vec![entry("location", "w.bin"), entry("offset", "4"), entry("length", "8")],
        ..tensor("external")
    };
    let node = |inputs: [&str; 2], output: &str| NodeProto {
        op_type: Some("Add".into()),
        input: inputs.map(str::to_owned).to_vec(),
        output: vec![output.into()],
        ..NodeProto::default()
    };
    let graph = GraphProto {
        initializer: vec![raw, typed, external],
        node: vec![node(["raw", "typed"], "a"), node(["a", "external"], "b")],
        output: vec![ValueInfoProto { name: Some("b".into()), ..ValueInfoProto::default() }],
        ..GraphProto::default()
    };
    let opset = OperatorSetIdProto { domain: None, version: Some(17) };
    ModelProto { ir_version: Some(8), graph: Some(graph), opset_import: vec![opset], ..ModelProto::default() }
}

fn vector(values: [f32; 2]) -> Tensor {
    Tensor::new(vec![2], TensorData::F32(values.to_vec())).unwrap()
}

#[test]
fn values_are_read_wherever_they_are() {
    let directory = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = [9f32, 5.0, 6.0, 9.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(directory.path().join("w.bin"), bytes).unwrap();
    let bytes = model().encode_to_vec();
    let host = Host::read(&bytes).unwrap();
    let stored = Stored::new(&host, Some(directory.path()));
    assert_eq!(stored.value("raw").unwrap(), vector([0.0, 0.0]));
    assert_eq!(stored.value("typed").unwrap(), vector([1.0, 2.0]));
    assert_eq!(stored.value("external").unwrap(), vector([5.0, 6.0]));
    assert!(matches!(stored.value("other"), Err(StoredError::Missing(name)) if name == "other"));
    assert!(Stored::new(&host, None).value("external").is_err());
}

#[test]
fn a_raw_value_is_replaced_in_place() {
    let bytes = model().encode_to_vec();
    let values = IndexMap::from([("raw".to_owned(), vector([1.0, -1.0]))]);
    let new = replace(&bytes, &values).unwrap();
    let mut want = model();
    want.graph.as_mut().unwrap().initializer[0].raw_data = Some(vector([1.0, -1.0]).to_le_bytes());
    assert_eq!(new, want.encode_to_vec());
}

#[test]
fn any_spelling_is_replaced() {
    let bytes = model().encode_to_vec();
    let names = ["external", "typed", "raw"];
    let values = names.map(|name| (name.to_owned(), vector([name.len() as f32, 0.5]))).into_iter().collect();
    let new = replace(&bytes, &values).unwrap();
    let host = Host::read(&new).unwrap();
    let stored = Stored::new(&host, None);
    for (name, value) in &values {
        assert_eq!(stored.value(name).unwrap(), *value, "{name}");
    }
    let mut graph = host.graph().clone();
    let order = graph.initializer.iter().map(|t| t.name.clone().unwrap()).collect::<Vec<_>>();
    assert_eq!(order, ["raw", "typed", "external"]);
    graph.initializer = model().graph.unwrap().initializer;
    assert_eq!(Some(graph), model().graph, "nothing else changes");
}

#[test]
fn values_of_another_model_are_refused() {
    let bytes = model().encode_to_vec();
    let of = |name: &str, value: Tensor| replace(&bytes, &IndexMap::from([(name.to_owned(), value)]));
    let wide = Tensor::new(vec![3], TensorData::F32(vec![0.0; 3])).unwrap();
    let error = of("raw", wide).unwrap_err().to_string();
    assert!(error.contains("float32 [2]") && error.contains("float32 [3]"), "{error}");
    assert!(of("typed", vector([0.0, 0.0]).cast(DType::F64)).is_err());
    assert!(matches!(of("other", vector([0.0, 0.0])), Err(StoredError::Missing(_))));
}
