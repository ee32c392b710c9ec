//! Random formulas, compiled and run: the gradients of the graph are the slopes of the graph's own loss.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::path::Path;

use ibgraph::artifact;
use ibgraph::loss::{ClassWeighting, Interface, Loss, LossSpec, Reduction, Tables};
use ibgraph::onnx::Versions;
use ibgraph::runtime::{Engine, OrtEngine, OrtOptions, Provider};
use ibgraph::tensor::{DType, Tensor, TensorData};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

const CLASSES: usize = 3;
const FEATURES: usize = 2;
/// What is changed, one at a time: logits, then features.
const INPUTS: usize = CLASSES + FEATURES;
const STEP: f64 = 1e-5;
/// A difference of losses of size L is off by a few roundings of L, 1e-15 L, over the step: 1e-10 L. That L is what the
/// formula's parts reach, which may be some hundred times the loss (they are kept below that).
const ROUNDING: f64 = 1e-8;

/// Formulas that are smooth but for kinks, and defined everywhere. They leave out `stop`, which differences do not see.
fn formula() -> impl Strategy<Value = String> {
    let names = ["nll", "p", "q", "error_l1", "margin", "mean_nll", "feature_l1", "class_weight", "k"];
    let leaf = prop_oneof![
        4 => proptest::sample::select(names.to_vec()).prop_map(str::to_owned),
        1 => (1u32..24).prop_map(|n| format!("{}", f64::from(n) / 8.0)),
    ];
    leaf.prop_recursive(4, 16, 2, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            pair.clone().prop_map(|(a, b)| format!("({a} + {b})")),
            pair.clone().prop_map(|(a, b)| format!("({a} - {b})")),
            pair.clone().prop_map(|(a, b)| format!("{a} * {b}")),
            pair.clone().prop_map(|(a, b)| format!("{a} / (0.5 + abs({b}))")),
            pair.clone().prop_map(|(a, b)| format!("min({a}, {b})")),
            pair.clone().prop_map(|(a, b)| format!("max({a}, {b})")),
            pair.prop_map(|(a, b)| format!("(0.25 + abs({a})) ^ (1 - q * {b} / (1 + abs({b})))")),
            inner.clone().prop_map(|a| format!("exp(-abs({a}))")),
            inner.clone().prop_map(|a| format!("one_minus_exp(-abs({a}))")),
            inner.clone().prop_map(|a| format!("log(0.5 + abs({a}))")),
            inner.clone().prop_map(|a| format!("sqrt(0.125 + abs({a}))")),
            inner.clone().prop_map(|a| format!("pow(0.25 + abs({a}), 1.5)")),
            inner.clone().prop_map(|a| format!("abs({a})")),
            inner.prop_map(|a| format!("-({a})")),
        ]
    })
}

fn loss(formula: &str, at_run_time: bool) -> Loss {
    let yaml = format!(
        "name: random\nparameters: {{k: 1.75}}\nrow: {{part: \"{formula}\"}}\nloss: nll * part + q\n"
    );
    let spec = LossSpec::from_yaml("random.yaml", &yaml).unwrap_or_else(|e| panic!("{e}"));
    let mut interface = Interface::new(CLASSES, &spec);
    interface.dtype = DType::F64;
    interface.reduction = Reduction::None;
    if at_run_time {
        interface.runtime_parameters = vec!["k".to_owned()];
    }
    let weighted = spec.uses(ibgraph::loss::Quantity::ClassWeight, &[]);
    if weighted {
        interface.class_weighting = ClassWeighting::Stored;
    }
    let tables = Tables { class_weights: weighted.then(|| vec![0.5, 1.0, 2.5]), ..Tables::default() };
    Loss::with_tables(spec, interface, tables).unwrap()
}

/// Row 0 is `point`; the others have one input less or more by the step: input j in rows 2j + 1 and 2j + 2.
fn rows(point: &[f64; INPUTS]) -> Vec<[f64; INPUTS]> {
    let mut rows = vec![*point];
    for j in 0..INPUTS {
        for step in [-STEP, STEP] {
            let mut row = *point;
            row[j] += step;
            rows.push(row);
        }
    }
    rows
}

fn matrix(rows: &[[f64; INPUTS]], columns: std::ops::Range<usize>) -> Tensor {
    let values: Vec<f64> = rows.iter().flat_map(|row| row[columns.clone()].to_vec()).collect();
    Tensor::new(vec![rows.len(), columns.len()], TensorData::F64(values)).unwrap()
}

/// Losses of the rows, and the gradient of row 0 by all inputs.
fn run(engine: &dyn Engine, loss: &Loss, label: i64, rows: &[[f64; INPUTS]]) -> (Vec<f64>, Vec<f64>) {
    let bytes = artifact::emit(loss, Versions::default()).unwrap();
    let n = rows.len();
    let vector = |data| Tensor::new(vec![n], data).unwrap();
    let tensors = [
        ("logits", matrix(rows, 0..CLASSES)),
        ("labels", vector(TensorData::I64(vec![label; n]))),
        ("features", matrix(rows, CLASSES..INPUTS)),
        ("loss_grad", vector(TensorData::F64(vec![1.0; n]))),
        ("k", Tensor::new(vec![], TensorData::F64(vec![1.75])).unwrap()),
    ];
    let wanted: Vec<String> = loss.inputs().into_iter().map(|port| port.name).collect();
    let inputs: Vec<(&str, &Tensor)> =
        tensors.iter().filter(|(name, _)| wanted.iter().any(|w| w == name)).map(|(n, t)| (*n, t)).collect();
    let outputs: Vec<String> = loss.outputs().into_iter().map(|port| port.name).collect();
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let mut session = engine.load(&bytes).unwrap();
    let values: Vec<Vec<f64>> =
        session.run(&inputs, &outputs).unwrap().iter().map(Tensor::to_f64_vec).collect();
    let mut gradient = values[1][..CLASSES].to_vec();
    gradient.extend(values.get(2).map_or(vec![0.0; FEATURES], |grad| grad[..FEATURES].to_vec()));
    (values[0].clone(), gradient)
}

#[test]
fn the_gradients_of_a_graph_are_the_slopes_of_its_loss() {
    let library = std::env::var_os("IBGRAPH_TEST_ORT").unwrap_or_else(|| {
        panic!("set IBGRAPH_TEST_ORT to an ONNX Runtime library; `ci/test` installs one and does")
    });
    let engine = OrtEngine::open(Path::new(&library), Provider::Cpu, OrtOptions::default()).unwrap();
    let point = proptest::array::uniform5(-3.0..3.0f64);
    let cases = (formula(), point, 0..CLASSES as i64, any::<bool>());
    let config = Config { cases: 200, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&cases, |(formula, point, label, at_run_time)| {
            let loss = loss(&formula, at_run_time);
            let (losses, gradient) = run(&engine, &loss, label, &rows(&point));
            let here = losses[0];
            prop_assume!(losses.iter().all(|l| l.abs() < 1e3));
            for (j, got) in gradient.iter().enumerate() {
                let (before, after) = ((here - losses[2 * j + 1]) / STEP, (losses[2 * j + 2] - here) / STEP);
                // At a kink the gradient is between the slopes of the two sides; elsewhere these differ by the step
                // times the curvature, ten times what the mean of the two is off.
                let slack =
                    (after - before).abs() + ROUNDING * losses.iter().fold(1.0, |m: f64, l| m.max(l.abs()));
                let slope = (before + after) / 2.0;
                prop_assert!(
                    (got - slope).abs() <= slack,
                    "{formula} at {point:?}, input {j}: {got}, {slope}"
                );
            }
            Ok(())
        })
        .unwrap_or_else(|e| panic!("{e}"));
}
