//! The published loss op by op in float32, with the backward that differentiating it op by op gives: what a framework
//! does. Written by hand until the autodiff makes it.

use ibgraph::onnx::messages::{
    ATTRIBUTE_INT, AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use ibgraph::tensor::{DType, Tensor, TensorData};
use prost::Message;

/// (operator, inputs, output, attributes)
type Line = (&'static str, &'static str, &'static str, &'static [(&'static str, i64)]);

const KEEP: &[(&str, i64)] = &[("keepdims", 1)];
const LAST: &[(&str, i64)] = &[("axis", -1)];
const TO_FLOAT: &[(&str, i64)] = &[("to", 1)];

const FORWARD: [Line; 19] = [
    ("Softmax", "logits", "p", LAST),
    ("OneHot", "labels depth off_on", "y", LAST),
    ("Sub", "p y", "error", &[]),
    ("Abs", "error", "abs_error", &[]),
    ("ReduceSum", "abs_error axis", "grads", KEEP),
    ("Abs", "features", "abs_features", &[]),
    ("ReduceSum", "abs_features axis", "norm", KEEP),
    ("Mul", "grads norm", "influence", &[]),
    ("Add", "influence epsilon", "denominator", &[]),
    ("Div", "alpha denominator", "ib", &[]),
    ("LogSoftmax", "logits", "log_p", LAST),
    ("Mul", "log_p y", "log_p_y", &[]),
    ("ReduceSum", "log_p_y axis", "log_likelihood", KEEP),
    ("Neg", "log_likelihood", "nll", &[]),
    ("Gather", "class_weights labels", "weight_row", &[]),
    ("Unsqueeze", "weight_row axis", "weight", &[]),
    ("Mul", "nll weight", "ce", &[]),
    ("Mul", "ce ib", "row_loss", &[]),
    ("ReduceMean", "row_loss", "loss", &[("keepdims", 0)]),
];

const BACKWARD: [Line; 26] = [
    ("Shape", "labels", "shape", &[]),
    ("Cast", "shape", "count", TO_FLOAT),
    ("Reciprocal", "count", "seed", &[]),
    ("Mul", "seed ib", "ce_grad", &[]),
    ("Mul", "ce_grad weight", "nll_grad", &[]),
    ("Neg", "nll_grad", "log_likelihood_grad", &[]),
    ("Mul", "log_likelihood_grad y", "log_p_grad", &[]),
    ("Exp", "log_p", "softmax", &[]),
    ("ReduceSum", "log_p_grad axis", "log_p_grad_sum", KEEP),
    ("Mul", "softmax log_p_grad_sum", "log_p_shift", &[]),
    ("Sub", "log_p_grad log_p_shift", "logits_grad_ce", &[]),
    ("Mul", "seed ce", "ib_grad", &[]),
    ("Mul", "ib ib", "ib_squared", &[]),
    ("Div", "ib_squared minus_alpha", "ib_slope", &[]),
    ("Mul", "ib_grad ib_slope", "influence_grad", &[]),
    ("Mul", "influence_grad norm", "grads_grad", &[]),
    ("Mul", "influence_grad grads", "norm_grad", &[]),
    ("Sign", "error", "error_sign", &[]),
    ("Mul", "error_sign grads_grad", "p_grad", &[]),
    ("Mul", "p_grad p", "p_grad_p", &[]),
    ("ReduceSum", "p_grad_p axis", "p_grad_mean", KEEP),
    ("Sub", "p_grad p_grad_mean", "p_grad_centred", &[]),
    ("Mul", "p_grad_centred p", "logits_grad_ib", &[]),
    ("Add", "logits_grad_ce logits_grad_ib", "logits_grad", &[]),
    ("Sign", "features", "feature_sign", &[]),
    ("Mul", "feature_sign norm_grad", "features_grad", &[]),
];

/// The bytes of the model, with alpha 1000, epsilon 0.001 and class weights of 1.
pub fn model(classes: usize) -> Vec<u8> {
    let float = |values: Vec<f32>, shape: Vec<usize>| Tensor::new(shape, TensorData::F32(values)).unwrap();
    let int = |value: i64| Tensor::new(vec![1], TensorData::I64(vec![value])).unwrap();
    let constants = [
        ("depth", int(classes as i64)),
        ("axis", int(1)),
        ("off_on", float(vec![0.0, 1.0], vec![2])),
        ("epsilon", float(vec![0.001], vec![])),
        ("alpha", float(vec![1000.0], vec![])),
        ("minus_alpha", float(vec![-1000.0], vec![])),
        ("class_weights", float(vec![1.0; classes], vec![classes])),
    ];
    let c = || dim(Some(classes as i64), "");
    let graph = GraphProto {
        name: Some("direct".into()),
        node: FORWARD.iter().chain(&BACKWARD).map(node).collect(),
        initializer: constants.iter().map(|(name, tensor)| initializer(name, tensor)).collect(),
        input: vec![
            port("logits", DType::F32, vec![dim(None, "N"), c()]),
            port("labels", DType::I64, vec![dim(None, "N")]),
            port("features", DType::F32, vec![dim(None, "N"), dim(None, "D")]),
        ],
        output: vec![
            port("loss", DType::F32, vec![]),
            port("logits_grad", DType::F32, vec![dim(None, "N"), c()]),
            port("features_grad", DType::F32, vec![dim(None, "N"), dim(None, "D")]),
        ],
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

fn node((operator, inputs, output, attributes): &Line) -> NodeProto {
    let attribute = attributes.iter().map(|(name, value)| AttributeProto {
        name: Some((*name).into()),
        i: Some(*value),
        r#type: Some(ATTRIBUTE_INT),
        ..AttributeProto::default()
    });
    NodeProto {
        input: inputs.split(' ').map(str::to_owned).collect(),
        output: vec![(*output).into()],
        op_type: Some((*operator).into()),
        attribute: attribute.collect(),
        ..NodeProto::default()
    }
}

fn initializer(name: &str, tensor: &Tensor) -> TensorProto {
    TensorProto {
        dims: tensor.shape().iter().map(|n| *n as i64).collect(),
        data_type: Some(tensor.dtype().onnx_code()),
        name: Some(name.into()),
        raw_data: Some(tensor.to_le_bytes()),
        ..TensorProto::default()
    }
}

fn dim(value: Option<i64>, name: &str) -> DimensionProto {
    DimensionProto { dim_value: value, dim_param: value.is_none().then(|| name.to_owned()) }
}

fn port(name: &str, dtype: DType, dim: Vec<DimensionProto>) -> ValueInfoProto {
    let tensor =
        TensorTypeProto { elem_type: Some(dtype.onnx_code()), shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: Some(name.into()), r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
}
