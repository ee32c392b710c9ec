//! Gradients of every parameter of real classifiers, and training steps, against float64 references.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ibgraph::graft::{Selection, Training, TrainingPlan, Wishes, discover, training};
use ibgraph::graph::{Dim, TensorType};
use ibgraph::loss::{ClassWeighting, ClassWeights, Interface, Loss, Tables, builtin};
use ibgraph::onnx::{self, Host, port_type, splice};
use ibgraph::runtime::{Engine, OrtEngine, OrtOptions, Provider};
use ibgraph::tensor::{DType, Tensor, TensorData};
use ibgraph::train::manifest::{Initial, InputRole, Manifest, OutputRole};
use ibgraph::train::{Betas, Optimizer, Recipe};
use prost::Message;
use serde::Deserialize;

/// Relative error of a gradient, and the share of the norm of all gradients below which float32 noise hides it
/// (`tests/data/classifiers/README.md`).
const RELATIVE: f64 = 1e-4;
const FLOOR: f64 = 2e-7;
/// Relative error of a loss after up to seven steps, by the same document's measure of PyTorch in float32 (4e-6), with
/// room for another order of summation.
const LOSS: f64 = 1e-4;

const CLASSIFIERS: [&str; 5] = ["mlp", "cnn", "resnet", "mobilenet", "vit"];

#[derive(Deserialize)]
struct Case {
    class_counts: Vec<f64>,
    training_losses: Losses,
    parameters: usize,
}

#[derive(Deserialize)]
struct Losses {
    sgd_momentum: Vec<f64>,
    adamw: Vec<f64>,
}

fn directory(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/classifiers").join(name)
}

fn case(name: &str) -> Case {
    let text = std::fs::read_to_string(directory(name).join("case.yaml")).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

fn tensor(name: &str, file: &str) -> (String, Tensor) {
    let path = directory(name).join("test_data_set_0").join(file);
    onnx::tensor(&std::fs::read(path).unwrap()).unwrap()
}

fn engine() -> OrtEngine {
    let library = std::env::var_os("IBGRAPH_TEST_ORT").unwrap_or_else(|| {
        panic!("set IBGRAPH_TEST_ORT to an ONNX Runtime library; `ci/test` installs one and does")
    });
    OrtEngine::open(Path::new(&library), Provider::Cpu, OrtOptions::default()).unwrap()
}

fn loss(case: &Case) -> Loss {
    let spec = builtin::load("ib").unwrap().unwrap();
    let classes = case.class_counts.len();
    let weights = ClassWeights::Inverse.resolve(Some(&case.class_counts), classes).unwrap();
    let mut interface = Interface::new(classes, &spec);
    interface.class_weighting = ClassWeighting::Stored;
    let tables = Tables::new(&spec, weights, Some(&case.class_counts), classes).unwrap();
    Loss::with_tables(spec, interface, tables).unwrap()
}

fn model(name: &str) -> Vec<u8> {
    std::fs::read(directory(name).join("model.onnx")).unwrap()
}

/// The training graph of a classifier: what was made, and the bytes.
fn trained(name: &str, bytes: &[u8], recipe: Option<&Recipe>) -> (Training, Vec<u8>) {
    let host = Host::read(bytes).unwrap();
    let head = discover(&host, Wishes::default()).unwrap();
    let loss = loss(&case(name));
    let plan = TrainingPlan { loss: &loss, recipe, labels: None, selection: &Selection::default() };
    let made = training(&host, &head, plan).unwrap_or_else(|e| panic!("{name}: {e}"));
    let bytes = splice(&host, &made.delta).unwrap().to_vec();
    (made, bytes)
}

fn norm(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// Gradients of a classifier, as these bytes have it, that are not the reference's.
fn wrong_gradients(name: &str, bytes: &[u8]) -> String {
    let mut failures = String::new();
    let (made, bytes) = trained(name, bytes, None);
    let (x, labels) = (tensor(name, "input_0.pb").1, tensor(name, "input_1.pb").1);
    let gradients = made.manifest.outputs.iter().filter(|o| o.role == OutputRole::Gradient);
    let outputs: Vec<&str> = gradients.map(|o| o.port.name.as_str()).collect();
    let mut session = engine().load(&bytes).unwrap();
    let found = session.run(&[("x", &x), ("labels", &labels)], &outputs).unwrap();
    let found: HashMap<&str, Vec<f64>> =
        outputs.iter().copied().zip(found.iter().map(Tensor::to_f64_vec)).collect();
    let count = case(name).parameters;
    let references: Vec<(String, Vec<f64>)> = (2..2 + count)
        .map(|k| tensor(name, &format!("output_{k}.pb")))
        .map(|(name, tensor)| (name, tensor.to_f64_vec()))
        .collect();
    assert_eq!(outputs.len(), count, "{name}: {outputs:?}");
    let all = norm(references.iter().flat_map(|(_, values)| values.iter().copied()));
    for (gradient, expected) in references {
        let got = found.get(gradient.as_str()).unwrap_or_else(|| panic!("{name} has no {gradient}"));
        assert_eq!(got.len(), expected.len(), "{name} {gradient}");
        let off = norm(got.iter().zip(&expected).map(|(a, b)| a - b));
        let bound = RELATIVE * norm(expected.iter().copied()) + FLOOR * all;
        if off.is_nan() || off > bound {
            failures += &format!("{name} {gradient}: off by {off:e}, bound {bound:e}\n");
        }
    }
    failures
}

#[test]
fn every_gradient_of_every_classifier_is_that_of_pytorch_in_float64() {
    let failures: String = CLASSIFIERS.iter().map(|name| wrong_gradients(name, &model(name))).collect();
    assert!(failures.is_empty(), "{failures}");
}

/// Losses before each of eight steps on the one batch.
fn losses(name: &str, recipe: &Recipe, learning_rate: f32) -> Vec<f64> {
    let (made, bytes) = trained(name, &model(name), Some(recipe));
    let manifest: &Manifest = &made.manifest;
    let model = onnx::read(&bytes).unwrap();
    let stored = &model.graph.as_ref().unwrap().initializer;
    let mut state: Vec<Tensor> = Vec::new();
    for carried in &manifest.carried {
        state.push(match &carried.initial {
            Initial::Initializer(name) => {
                Tensor::try_from(stored.iter().find(|t| t.name.as_ref() == Some(name)).unwrap()).unwrap()
            }
            _ => {
                let shape = carried.port.fixed_shape().unwrap();
                let zeros = TensorData::F32(vec![0.0; shape.iter().product()]);
                Tensor::new(shape, zeros).unwrap()
            }
        });
    }
    let (x, labels) = (tensor(name, "input_0.pb").1, tensor(name, "input_1.pb").1);
    let mut session = engine().load(&bytes).unwrap();
    let mut found = Vec::new();
    for step in 1..=8 {
        let rate = Tensor::scalar_f32(learning_rate);
        let number = Tensor::new(vec![], TensorData::I64(vec![step])).unwrap();
        let mut inputs: Vec<(&str, &Tensor)> = vec![("x", &x), ("labels", &labels)];
        for input in &manifest.inputs {
            match input.role {
                InputRole::LearningRate => inputs.push((&input.port.name, &rate)),
                InputRole::Step => inputs.push((&input.port.name, &number)),
                _ => {}
            }
        }
        inputs.extend(manifest.carried.iter().zip(&state).map(|(c, t)| (c.port.name.as_str(), t)));
        let next = manifest.carried.iter().map(|c| c.next.as_deref().unwrap());
        let outputs: Vec<&str> = ["loss"].into_iter().chain(next).collect();
        let mut made = session.run(&inputs, &outputs).unwrap();
        state = made.split_off(1);
        found.push(made[0].to_f64_vec()[0]);
    }
    found
}

fn assert_losses(name: &str, found: &[f64], expected: &[f64]) {
    assert_eq!(expected.len(), 8);
    for (step, (got, want)) in found.iter().zip(expected).enumerate() {
        let error = (got / want - 1.0).abs();
        assert!(error <= LOSS, "{name}: loss {got} before step {step}, not {want}: {error:e}");
    }
}

/// Height and width become names, and what the file says of inner shapes goes.
fn of_any_size(bytes: &[u8]) -> Vec<u8> {
    let mut model = onnx::read(bytes).unwrap();
    let graph = model.graph.as_mut().unwrap();
    graph.value_info.clear();
    let ty = TensorType::new(DType::F32, &["N", "C", "H", "W"].map(Dim::symbol));
    let channels = port_type(&graph.input[0]).unwrap().shape[1].clone();
    let shape = [&ty.shape[..1], &[channels], &ty.shape[2..]].concat();
    graph.input[0] = onnx::port("x", &TensorType { shape, ..ty });
    model.encode_to_vec()
}

#[test]
fn convolutional_nets_of_any_height_and_width_have_the_same_gradients() {
    let nets = ["cnn", "resnet", "mobilenet"];
    let failures: String =
        nets.iter().map(|name| wrong_gradients(name, &of_any_size(&model(name)))).collect();
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn eight_steps_of_sgd_with_momentum_follow_pytorch_in_float64() {
    let mut recipe = Recipe::new(Optimizer::Momentum { momentum: 0.9, nesterov: false });
    recipe.weight_decay = 2e-4;
    for name in CLASSIFIERS {
        assert_losses(name, &losses(name, &recipe, 1e-5), &case(name).training_losses.sgd_momentum);
    }
}

#[test]
fn eight_steps_of_adamw_follow_pytorch_in_float64() {
    let recipe = Recipe::new(Optimizer::AdamW(Betas::default()));
    for name in CLASSIFIERS {
        assert_losses(name, &losses(name, &recipe, 1e-4), &case(name).training_losses.adamw);
    }
}
