//! The direct lowering against the float64 reference, in float64, where what cancels still leaves digits.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::path::Path;

use ibgraph::artifact;
use ibgraph::loss::reference::{Batch, evaluate};
use ibgraph::loss::{
    ClassWeighting, FeatureInput, InfluenceGradient, Interface, Loss, Reduction, Tables, builtin,
};
use ibgraph::lower::Lowering;
use ibgraph::onnx::Versions;
use ibgraph::runtime::{Engine, OrtEngine, OrtOptions, Provider};
use ibgraph::tensor::{DType, Tensor, TensorData};

/// Logits within ±3 of 7 classes: 1 - p is above 4e-4, so that it keeps all but four of float64's sixteen digits.
const TOLERANCE: f64 = 1e-11;
const N: usize = 9;
const C: usize = 7;
const D: usize = 5;

fn engine() -> OrtEngine {
    let library = std::env::var_os("IBGRAPH_TEST_ORT").unwrap_or_else(|| {
        panic!("set IBGRAPH_TEST_ORT to an ONNX Runtime library; `ci/test` installs one and does")
    });
    OrtEngine::open(Path::new(&library), Provider::Cpu, OrtOptions::default()).unwrap()
}

fn loss(name: &str, edit: impl FnOnce(&mut Interface)) -> Loss {
    let spec = builtin::load(name).unwrap().unwrap();
    let mut interface = Interface::new(C, &spec);
    interface.dtype = DType::F64;
    edit(&mut interface);
    let weights: Vec<f64> = (0..C).map(|k| 0.5 + 0.25 * k as f64).collect();
    let weights = (interface.class_weighting == ClassWeighting::Stored).then_some(weights);
    let counts: Vec<f64> = (0..C).map(|k| 100.0 / (k + 1) as f64).collect();
    let tables = Tables::new(&spec, weights, Some(&counts), C).unwrap();
    Loss::with_tables(spec, interface, tables).unwrap()
}

fn batch(loss: &Loss) -> Batch {
    let mut rng = fastrand::Rng::with_seed(11);
    let mut floats = |count: usize| (0..count).map(|_| 6.0 * rng.f64() - 3.0).collect::<Vec<f64>>();
    let logits = floats(N * C);
    let features = match (loss.has_features(), loss.interface().feature_input) {
        (false, _) => Vec::new(),
        (true, FeatureInput::Raw) => floats(N * D),
        (true, _) => floats(N).into_iter().map(f64::abs).collect(),
    };
    let mut labels: Vec<i64> = (0..N as i64).map(|i| (i * 5) % C as i64).collect();
    if let Some(ignored) = loss.interface().ignore_index {
        labels[3] = ignored;
    }
    let loss_grad = if loss.interface().reduction == Reduction::None { floats(N) } else { Vec::new() };
    let class_weights = (loss.interface().class_weighting == ClassWeighting::Runtime)
        .then(|| (1..=C).map(|k| k as f64).collect());
    Batch { logits, labels, features, loss_grad, class_weights, ..Batch::default() }
}

fn assert_agrees(loss: &Loss) {
    let batch = batch(loss);
    let expected = evaluate(loss, &batch).unwrap();
    let bytes = artifact::emit_as(loss, Lowering::Direct, Versions::default()).unwrap();
    let f64s =
        |shape: Vec<usize>, values: &[f64]| Tensor::new(shape, TensorData::F64(values.to_vec())).unwrap();
    let mut inputs = vec![
        ("logits", f64s(vec![N, C], &batch.logits)),
        ("labels", Tensor::new(vec![N], TensorData::I64(batch.labels.clone())).unwrap()),
    ];
    if loss.has_features() {
        let shape = match loss.interface().feature_input {
            FeatureInput::Raw => vec![N, D],
            FeatureInput::Norm => vec![N],
            FeatureInput::NormColumn => vec![N, 1],
        };
        inputs.push(("features", f64s(shape, &batch.features)));
    }
    if let Some(weights) = &batch.class_weights {
        inputs.push(("class_weights", f64s(vec![C], weights)));
    }
    if !batch.loss_grad.is_empty() {
        inputs.push(("loss_grad", f64s(vec![N], &batch.loss_grad)));
    }
    if loss.interface().enabled_input {
        inputs.push(("enabled", Tensor::scalar_bool(true)));
    }
    let ports = loss.inputs();
    let cast = |name: &str, t: &Tensor| t.cast(ports.iter().find(|p| p.name == name).unwrap().dtype);
    let inputs: Vec<(&str, Tensor)> = inputs.iter().map(|(name, t)| (*name, cast(name, t))).collect();
    let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, t)| (*name, t)).collect();
    let names: Vec<String> = loss.outputs().into_iter().map(|p| p.name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let found = engine().load(&bytes).unwrap().run(&inputs, &names).unwrap();
    for (name, tensor) in names.iter().zip(found) {
        let expected = expected.output(name).unwrap();
        let norm = expected.iter().map(|v| v * v).sum::<f64>().sqrt();
        let got = tensor.to_f64_vec();
        assert_eq!(got.len(), expected.len(), "{name}");
        let off: f64 = got.iter().zip(expected).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        assert!(off <= TOLERANCE * norm, "{} {name}: off by {off:e} of {norm:e}", loss.spec().name);
    }
}

#[test]
fn every_built_in_loss_agrees_with_the_reference() {
    for name in builtin::names() {
        assert_agrees(&loss(name, |_| ()));
    }
}

#[test]
fn options_agree_with_the_reference() {
    for reduction in [Reduction::Mean, Reduction::WeightedMean, Reduction::Sum, Reduction::None] {
        assert_agrees(&loss("ib", |i| {
            i.reduction = reduction;
            i.class_weighting = ClassWeighting::Stored;
            i.ignore_index = Some(-100);
            i.enabled_input = true;
        }));
    }
    for feature_input in [FeatureInput::Norm, FeatureInput::NormColumn] {
        assert_agrees(&loss("ib-focal", |i| {
            i.feature_input = feature_input;
            i.influence_gradient = InfluenceGradient::Stopped;
            i.class_weighting = ClassWeighting::Runtime;
            i.outputs = ["loss", "logits_grad", "features_grad", "row_loss", "influence_weight"]
                .map(String::from)
                .to_vec();
        }));
    }
}
