//! Optimizers against PyTorch's values (`tests/data/optimizers`), on ONNX Runtime, through the graph of the update.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::collections::BTreeMap;

use ibgraph::graph::{Dim, TensorType};
use ibgraph::onnx::{WriteOptions, write};
use ibgraph::runtime::{Engine, OrtEngine, OrtOptions, Provider, Session};
use ibgraph::tensor::{DType, Tensor, TensorData};
use ibgraph::train::apply::{Target, graph};
use ibgraph::train::manifest::InputRole;
use ibgraph::train::{Betas, Manifest, Optimizer, Recipe};
use serde_json::Value;

/// Six steps of at most a dozen float32 roundings each, of values that stay below 8: 6 · 12 · 8 · 2⁻²⁴ at the worst.
const TOLERANCE: f64 = 6.0 * 12.0 * 8.0 / 16_777_216.0;
/// The same in float64, but that the learning rate is a float32 number: 6 steps · 0.1 · |direction| 4 · 2⁻²⁵.
const TOLERANCE_F64: f64 = 6.0 * 0.1 * 4.0 / 33_554_432.0;

fn engine() -> OrtEngine {
    let library = std::env::var("IBGRAPH_TEST_ORT")
        .expect("set IBGRAPH_TEST_ORT to an ONNX Runtime library; `ci/test` installs one and does");
    OrtEngine::open(library.as_ref(), Provider::Cpu, OrtOptions::default()).unwrap()
}

fn cases() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/optimizers/cases.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn recipe(case: &Value) -> Recipe {
    let options = &case["options"];
    let betas = options["betas"].as_array().map(|b| (b[0].as_f64().unwrap(), b[1].as_f64().unwrap()));
    let (beta1, beta2) = betas.unwrap_or((0.9, 0.999));
    let betas = Betas { beta1, beta2, epsilon: options["eps"].as_f64().unwrap_or(1e-8) };
    let optimizer = match (case["kind"].as_str().unwrap(), options["momentum"].as_f64()) {
        ("sgd", None) => Optimizer::Sgd,
        ("sgd", Some(momentum)) => {
            Optimizer::Momentum { momentum, nesterov: options["nesterov"].as_bool().unwrap_or(false) }
        }
        ("adam", _) => Optimizer::Adam(betas),
        ("adamw", _) => Optimizer::AdamW(betas),
        (other, _) => panic!("{other}"),
    };
    let mut recipe = Recipe::new(optimizer);
    if let Some(decay) = options["weight_decay"].as_f64() {
        recipe.weight_decay = decay;
    }
    recipe.clip_norm = case["clip"].as_f64();
    let micro = case["micro"].as_u64().unwrap();
    recipe.accumulate = (micro > 1).then_some(micro as u32);
    recipe
}

/// A graph of the update with its carried values.
struct Run {
    session: Box<dyn Session>,
    manifest: Manifest,
    dtype: DType,
    shapes: BTreeMap<String, Vec<usize>>,
    carried: BTreeMap<String, Tensor>,
}

impl Run {
    fn new(all: &Value, recipe: &Recipe, dtype: DType) -> Self {
        let shapes: BTreeMap<String, Vec<usize>> = serde_json::from_value(all["shapes"].clone()).unwrap();
        let target = |(name, shape): (&String, &Vec<usize>)| {
            let dims: Vec<Dim> = shape.iter().map(|n| Dim::Fixed(*n)).collect();
            let ty = TensorType::new(dtype, &dims);
            Target { name: name.clone(), ty, gradient: None, decay: true }
        };
        let targets: Vec<Target> = shapes.iter().map(target).collect();
        let (graph, manifest) = graph("update", &targets, recipe);
        graph.verify().unwrap();
        let session = engine().load(&write(&graph, &WriteOptions::default()).unwrap()).unwrap();
        let mut run = Self { session, manifest, dtype, shapes, carried: BTreeMap::new() };
        for carried in run.manifest.carried.clone() {
            let name = &carried.port.name;
            let parameter = run.shapes.keys().find(|p| name.starts_with(p.as_str())).unwrap().clone();
            let given = *name == parameter || name.ends_with("_master");
            let count = run.shapes[&parameter].iter().product();
            let values = if given { numbers(&all["start"][&parameter]) } else { vec![0.0; count] };
            let tensor = run.tensor(&parameter, values).cast(carried.port.dtype);
            run.carried.insert(name.clone(), tensor);
        }
        run
    }

    fn tensor(&self, parameter: &str, values: Vec<f64>) -> Tensor {
        Tensor::new(self.shapes[parameter].clone(), TensorData::F64(values)).unwrap()
    }

    /// One run; returns the outputs that are not carried.
    fn step(&mut self, gradients: &Value, rate: f64, step: i64, apply: bool, scale: f64) -> Vec<Tensor> {
        let mut given: Vec<(String, Tensor)> = Vec::new();
        for input in &self.manifest.inputs {
            let name = input.port.name.clone();
            let tensor = match input.role {
                InputRole::LearningRate => Tensor::scalar_f32(rate as f32),
                InputRole::LossScale => Tensor::scalar_f32(scale as f32),
                InputRole::Step => Tensor::new(vec![], TensorData::I64(vec![step])).unwrap(),
                InputRole::Apply => Tensor::scalar_bool(apply),
                InputRole::Gradient => {
                    let parameter = name.strip_suffix("_grad").unwrap();
                    let scaled = numbers(&gradients[parameter]).iter().map(|g| g * scale).collect();
                    self.tensor(parameter, scaled).cast(self.dtype)
                }
                other => panic!("{other:?}"),
            };
            given.push((name, tensor));
        }
        let carried = self.manifest.carried.clone();
        let mut inputs: Vec<(&str, &Tensor)> = given.iter().map(|(n, t)| (n.as_str(), t)).collect();
        inputs.extend(self.carried.iter().map(|(n, t)| (n.as_str(), t)));
        let mut outputs: Vec<&str> = carried.iter().map(|c| c.next.as_deref().unwrap()).collect();
        outputs.extend(self.manifest.outputs.iter().map(|o| o.port.name.as_str()));
        let mut values = self.session.run(&inputs, &outputs).unwrap();
        let rest = values.split_off(carried.len());
        for (carried, value) in carried.into_iter().zip(values) {
            self.carried.insert(carried.port.name, value);
        }
        rest
    }

    fn worst(&self, want: &Value) -> f64 {
        let distance = |parameter: &String| {
            let got = self.carried[parameter].to_f64_vec();
            let pairs = got.into_iter().zip(numbers(&want[parameter]));
            pairs.map(|(got, want)| (got - want).abs()).fold(0.0, f64::max)
        };
        self.shapes.keys().map(distance).fold(0.0, f64::max)
    }
}

fn follows_pytorch(dtype: DType, tolerance: f64) {
    let all = cases();
    let rates = numbers(&all["rates"]);
    for (name, case) in all["cases"].as_object().unwrap() {
        let mut run = Run::new(&all, &recipe(case), dtype);
        let micro = case["micro"].as_u64().unwrap() as usize;
        for (k, rate) in rates.iter().enumerate() {
            for part in 0..micro {
                let gradients = &all["gradients"][k * micro + part];
                let rest = run.step(gradients, *rate, k as i64 + 1, part + 1 == micro, 1.0);
                if let (Some(norm), true) = (case["norms"][k].as_f64(), part + 1 == micro) {
                    let got = rest[0].to_f64_vec()[0];
                    assert!((got - norm).abs() <= 1e-6 * norm, "{name} step {k}: norm {got}, not {norm}");
                }
            }
            let worst = run.worst(&case["after"][k]);
            assert!(worst <= tolerance, "{name} {dtype} step {k}: {worst:e} off");
        }
    }
}

#[test]
fn every_optimizer_follows_pytorch() {
    follows_pytorch(DType::F32, TOLERANCE);
}

#[test]
fn every_optimizer_follows_pytorch_in_float64() {
    follows_pytorch(DType::F64, TOLERANCE_F64);
}

#[test]
fn a_half_precision_parameter_is_updated_in_float32() {
    let all = cases();
    let case = &all["cases"]["adamw_decay"];
    let mut run = Run::new(&all, &recipe(case), DType::F16);
    for (k, rate) in numbers(&all["rates"]).iter().enumerate() {
        run.step(&all["gradients"][k], *rate, k as i64 + 1, true, 1.0);
    }
    for (name, want) in case["after"][5].as_object().unwrap() {
        let master = run.carried[&format!("{name}_master")].to_f64_vec();
        // Adam's direction is bounded, so the gradients' rounding to float16 moves a parameter by little.
        assert!(master.iter().zip(numbers(want)).all(|(got, want)| (got - want).abs() < 2e-3), "{name}");
        let rounded = run.carried[&format!("{name}_master")].cast(DType::F16);
        assert_eq!(run.carried[name], rounded, "the parameter is the rounded copy");
    }
}

#[test]
fn a_loss_scale_changes_nothing_but_leaves_out_steps_with_infinite_gradients() {
    let all = cases();
    let case = &all["cases"]["adamw"];
    let mut recipe = recipe(case);
    recipe.loss_scale = true;
    let mut run = Run::new(&all, &recipe, DType::F32);
    let rates = numbers(&all["rates"]);
    for k in 0..3 {
        let finite = run.step(&all["gradients"][k], rates[k], k as i64 + 1, true, 1024.0);
        assert_eq!(finite, [Tensor::scalar_bool(true)]);
    }
    let before = run.carried.clone();
    for scale in [f64::INFINITY, f64::NAN] {
        let finite = run.step(&all["gradients"][3], rates[3], 4, true, scale);
        assert_eq!(finite, [Tensor::scalar_bool(false)]);
        assert_eq!(run.carried, before, "nothing moves in a step that is left out");
    }
    run.step(&all["gradients"][3], rates[3], 4, true, 2.0);
    let worst = run.worst(&case["after"][3]);
    assert!(worst <= TOLERANCE, "{worst:e} off");
}

#[test]
fn micro_batches_move_nothing_until_they_are_applied() {
    let all = cases();
    let case = &all["cases"]["adam_accumulate"];
    let mut run = Run::new(&all, &recipe(case), DType::F32);
    let before = run.carried.clone();
    run.step(&all["gradients"][0], 0.1, 1, false, 1.0);
    for (name, value) in &run.carried {
        assert_eq!(*value == before[name], !name.ends_with("_accumulator"), "{name}");
    }
    run.step(&all["gradients"][1], 0.1, 1, true, 1.0);
    for name in run.shapes.keys() {
        let buffer = run.carried[&format!("{name}_accumulator")].to_f64_vec();
        assert!(buffer.iter().all(|v| *v == 0.0), "{name}: the buffer starts again");
    }
}
