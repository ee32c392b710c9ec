//! Models that are nearly right: whatever was changed in them, a training graph is refused with a reason, or is a model that
//! can be read again. The fuzz target `training` looks further.

#![allow(clippy::unwrap_used, clippy::drop_non_drop, missing_docs)]
#![allow(dropping_copy_types, reason = "a change that finds nothing to change is none")]

use std::path::Path;

use fastrand::Rng;
use ibgraph::graft::{Selection, TrainingPlan, Wishes, discover, prospect, training};
use ibgraph::loss::{Interface, Loss, builtin};
use ibgraph::onnx::messages::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};
use ibgraph::onnx::{Host, inline, splice};
use ibgraph::train::{Betas, Optimizer, Recipe};
use prost::Message;

const MODELS: [&str; 10] = [
    "graft_cases/fixed_batch.onnx",
    "graft_cases/half.onnx",
    "graft_cases/linear.onnx",
    "graft_cases/opset9.onnx",
    "graft_cases/sklearn_mlp.onnx",
    "exports/keras_cnn.onnx",
    "exports/dynamo_plain.onnx",
    "functions/layers.onnx",
    "functions/flat.onnx",
    "classifiers/mobilenet/model.onnx",
];
/// Changed models of each kind.
const ROUNDS: usize = 120;
const OPERATORS: [&str; 42] = [
    "Abs",
    "Add",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "Clip",
    "Concat",
    "Conv",
    "Dropout",
    "Expand",
    "Flatten",
    "Gather",
    "GatherElements",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "HardSwish",
    "Identity",
    "If",
    "InstanceNormalization",
    "LayerNormalization",
    "LogSoftmax",
    "MatMul",
    "MaxPool",
    "Mul",
    "Pad",
    "Pow",
    "PRelu",
    "Range",
    "ReduceMean",
    "ReduceSum",
    "Reshape",
    "ScatterElements",
    "Shape",
    "Slice",
    "Softmax",
    "Split",
    "Squeeze",
    "Sum",
    "Transpose",
    "Unsqueeze",
    "Where",
];
const NUMBERS: [i64; 10] = [0, 1, -1, 2, 3, 7, -5, 1 << 20, i64::MAX, i64::MIN];

#[test]
fn a_model_that_was_changed_anywhere_trains_or_is_refused() {
    let (mut made, mut panicked) = (0, Vec::new());
    for (k, file) in MODELS.iter().enumerate() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file);
        let model = ModelProto::decode(std::fs::read(path).unwrap().as_slice()).unwrap();
        let mut rng = Rng::with_seed(k as u64);
        for round in 0..ROUNDS {
            let mut changed = model.clone();
            for _ in 0..rng.usize(1..4) {
                change(&mut changed, &mut rng);
            }
            let bytes = changed.encode_to_vec();
            match std::panic::catch_unwind(|| trains(&bytes)) {
                Ok(trained) => made += usize::from(trained),
                Err(_) => panicked.push(format!("{file}, round {round}")),
            }
        }
    }
    assert!(panicked.is_empty(), "{panicked:?}");
    // Most changes are harmless: to a name, an extent that nothing depends on, a weight.
    assert!(made > MODELS.len() * ROUNDS / 10, "{made} models were trained");
}

/// Whether a training graph was made of a model.
fn trains(bytes: &[u8]) -> bool {
    let Ok(host) = Host::read(bytes) else { return false };
    let Ok(written) = inline(&host) else { return false };
    let host = match &written {
        Some(bytes) => match Host::read(bytes) {
            Ok(host) => host,
            Err(_) => return false,
        },
        None => host,
    };
    let Ok(head) = discover(&host, Wishes::default()) else { return false };
    let _ = prospect(&host, &head);
    let spec = builtin::load("cross-entropy").unwrap().unwrap();
    let mut interface = Interface::new(head.classes.unwrap_or(3).clamp(2, 100), &spec);
    interface.dtype = head.logits.dtype.unwrap_or(ibgraph::tensor::DType::F32);
    let Ok(loss) = Loss::new(spec, interface, None) else { return false };
    let recipe = Recipe { loss_scale: true, ..Recipe::new(Optimizer::AdamW(Betas::default())) };
    let selection = Selection::default();
    let plan = TrainingPlan { loss: &loss, recipe: Some(&recipe), labels: None, selection: &selection };
    let Ok(made) = training(&host, &head, plan) else { return false };
    let out = splice(&host, &made.delta).unwrap().to_vec();
    Host::read(&out).unwrap();
    true
}

fn pick<'a, T>(all: &'a mut [T], rng: &mut Rng) -> Option<&'a mut T> {
    let at = rng.usize(0..all.len().max(1));
    all.get_mut(at)
}

fn change(model: &mut ModelProto, rng: &mut Rng) {
    let names: Vec<String> =
        model.graph.iter().flat_map(|g| &g.node).flat_map(|n| n.output.clone()).collect();
    let graph = model.graph.as_mut().unwrap();
    match rng.u32(0..8) {
        0 => drop(pick(&mut graph.initializer, rng).map(|tensor| tensor_change(tensor, rng))),
        1 => shape_change(graph, rng),
        2 if !model.functions.is_empty() => {
            let function = pick(&mut model.functions, rng).unwrap();
            drop(pick(&mut function.node, rng).map(|node| node_change(node, &names, rng)));
        }
        3 => graph.value_info.clear(),
        4 => drop(pick(&mut model.opset_import, rng).map(|i| i.version = Some(rng.i64(6..27)))),
        _ => drop(pick(&mut graph.node, rng).map(|node| node_change(node, &names, rng))),
    }
}

fn tensor_change(tensor: &mut TensorProto, rng: &mut Rng) {
    match rng.u32(0..4) {
        0 => tensor.data_type = Some([1, 6, 7, 9, 10, 11, 16][rng.usize(0..7)]),
        1 => tensor.dims.push(NUMBERS[rng.usize(0..NUMBERS.len())]),
        2 => drop(tensor.dims.pop()),
        _ => drop(pick(&mut tensor.dims, rng).map(|n| *n = NUMBERS[rng.usize(0..NUMBERS.len())])),
    }
}

fn shape_change(graph: &mut GraphProto, rng: &mut Rng) {
    let mut ports: Vec<_> =
        graph.input.iter_mut().chain(&mut graph.value_info).chain(&mut graph.output).collect();
    let tensor = pick(&mut ports, rng).and_then(|port| port.r#type.as_mut()?.tensor_type.as_mut());
    let Some(tensor) = tensor else { return };
    match rng.u32(0..5) {
        0 => tensor.elem_type = Some(rng.i32(0..17)),
        1 => tensor.shape = None,
        2 => drop(tensor.shape.as_mut().map(|shape| shape.dim.pop())),
        _ => {
            let dim = tensor.shape.as_mut().and_then(|shape| pick(&mut shape.dim, rng));
            let Some(dim) = dim else { return };
            dim.dim_value = rng.bool().then(|| NUMBERS[rng.usize(0..NUMBERS.len())]);
            dim.dim_param = rng.bool().then(|| "H".to_owned());
        }
    }
}

fn node_change(node: &mut NodeProto, names: &[String], rng: &mut Rng) {
    match rng.u32(0..7) {
        0 => node.op_type = Some(OPERATORS[rng.usize(0..OPERATORS.len())].to_owned()),
        1 => drop(pick(&mut node.input, rng).map(|name| *name = names[rng.usize(0..names.len())].clone())),
        2 => drop(node.input.pop()),
        3 => node.input.push(names[rng.usize(0..names.len())].clone()),
        4 => drop(pick(&mut node.input, rng).map(String::clear)),
        5 => drop(pick(&mut node.attribute, rng).map(|attribute| attribute_change(attribute, rng))),
        _ => node.output.push(format!("more {}", rng.u32(..))),
    }
}

fn attribute_change(attribute: &mut AttributeProto, rng: &mut Rng) {
    let number = NUMBERS[rng.usize(0..NUMBERS.len())];
    match rng.u32(0..5) {
        0 => attribute.i = Some(number),
        1 => drop(pick(&mut attribute.ints, rng).map(|n| *n = number)),
        2 => drop(attribute.ints.pop()),
        3 => attribute.ints.push(number),
        _ => drop(attribute.t.as_mut().map(|tensor| tensor_change(tensor, rng))),
    }
}
