//! The float64 vectors of `tests/data/vectors`: the reference, and the portable lowering on both engines.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "support/libraries.rs"]
mod libraries;

use std::path::{Path, PathBuf};

use ibgraph::artifact;
use ibgraph::check::{Report, check, compare, read_directory};
use ibgraph::loss::reference::{Batch, evaluate};
use ibgraph::loss::{ClassWeighting, ClassWeights, InfluenceGradient, Interface, Loss, Tables, builtin};
use ibgraph::lower::Lowering;
use ibgraph::onnx::{DEFAULT_OPSET, NEWEST_OPSET, OLDEST_OPSET, Versions};
use ibgraph::runtime::{EmbeddedEngine, Engine, OrtEngine, OrtOptions, Provider};
use ibgraph::tensor::{DType, Tensor};
use serde::Deserialize;

use libraries::{onnx_runtime_path, operator_library};

/// Cast to and from bfloat16 is of operator set 13.
const OLDEST_WITH_BFLOAT16: i64 = 13;

/// The vectors were computed by another program in float64 and are themselves good to 3e-13
/// (`tests/data/vectors/README.md`); the reference adds its own rounding.
const REFERENCE: f64 = 1e-12;

/// First operator set with sequences, of which stops are made that the gradient depends on.
const OLDEST_WITH_STOPS: i64 = 11;

#[derive(Deserialize)]
struct Case {
    loss: String,
    shape: Shape,
    class_counts: Vec<f64>,
    class_weights: Option<String>,
    alpha: Option<f64>,
    epsilon: Option<f64>,
    gamma: Option<f64>,
    beta: Option<f64>,
    influence_gradient: Option<String>,
    max_margin: Option<f64>,
    scale: Option<f64>,
}

#[derive(Deserialize)]
struct Shape {
    classes: usize,
}

/// Directories of the vectors whose loss is built in.
fn directories() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/vectors");
    let mut found: Vec<PathBuf> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir() && builtin::names().contains(&case(path).loss.as_str()))
        .collect();
    found.sort();
    assert!(found.len() == 36, "{} vectors", found.len());
    found
}

fn case(dir: &Path) -> Case {
    let text = std::fs::read_to_string(dir.join("case.yaml")).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
}

fn loss(case: &Case, dtype: DType) -> Loss {
    let mut spec = builtin::load(&case.loss).unwrap().unwrap();
    let parameters = [
        ("alpha", case.alpha),
        ("epsilon", case.epsilon),
        ("gamma", case.gamma),
        ("max_margin", case.max_margin),
        ("scale", case.scale),
    ];
    for (name, value) in parameters {
        if let Some(value) = value {
            spec.set(name, value).unwrap();
        }
    }
    let weights = match case.class_weights.as_deref() {
        None | Some("none") => ClassWeights::None,
        Some("inverse") => ClassWeights::Inverse,
        Some("effective") => ClassWeights::Effective { beta: case.beta.unwrap() },
        Some(other) => panic!("class weights {other}"),
    };
    let weights = weights.resolve(Some(&case.class_counts), case.shape.classes).unwrap();
    let mut interface = Interface::new(case.shape.classes, &spec);
    interface.dtype = dtype;
    if weights.is_some() {
        interface.class_weighting = ClassWeighting::Stored;
    }
    if case.influence_gradient.as_deref() == Some("stopped") {
        interface.influence_gradient = InfluenceGradient::Stopped;
    }
    let tables = Tables::new(&spec, weights, Some(&case.class_counts), case.shape.classes).unwrap();
    Loss::with_tables(spec, interface, tables).unwrap()
}

fn onnx_runtime() -> OrtEngine {
    OrtEngine::open(Path::new(&onnx_runtime_path()), Provider::Cpu, OrtOptions::default()).unwrap()
}

/// ONNX Runtime with the operator library registered.
fn with_kernels() -> OrtEngine {
    let mut options = OrtOptions::default();
    options.operator_libraries = vec![operator_library()];
    OrtEngine::open(Path::new(&onnx_runtime_path()), Provider::Cpu, options).unwrap()
}

fn checked(dir: &Path, dtype: DType, (lowering, opset): (Lowering, i64), engine: &dyn Engine) -> Report {
    let loss = loss(&case(dir), dtype);
    let bytes = artifact::emit_as(&loss, lowering, Versions::new(opset, None).unwrap()).unwrap();
    check("vector", &bytes, engine, Some(dir), &mut |_, _| ()).unwrap()
}

/// Every vector passes on `engine`; all failures are shown together.
fn assert_all_pass(engine: &dyn Engine, dtype: DType, opsets: &[i64]) {
    assert_all_pass_as(Lowering::Portable, engine, dtype, opsets);
}

fn assert_all_pass_as(lowering: Lowering, engine: &dyn Engine, dtype: DType, opsets: &[i64]) {
    let mut failures = String::new();
    for dir in directories() {
        for opset in opsets {
            let report = checked(&dir, dtype, (lowering, *opset), engine);
            // A body that ran instead of the kernel would have many nodes.
            if let (Lowering::Fused, Some(placement)) = (lowering, &report.placement) {
                assert_eq!(placement.assignment.len(), 1, "{}", dir.display());
            }
            // float32 vectors are compared with what is stored; other types with the reference on rounded inputs.
            let against: Vec<&str> = report.cases.iter().map(|c| c.against).collect();
            let expected: &[&str] = match dtype {
                DType::F32 => &["the stored outputs", "the reference"],
                _ => &["the reference"],
            };
            assert_eq!(against, expected);
            if !report.passed() {
                failures += &format!("{} {report}\n", dir.display());
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn the_reference_agrees_with_every_vector() {
    for dir in directories() {
        let loss = loss(&case(&dir), DType::F64);
        for set in read_directory(&dir, &loss).unwrap() {
            let input = |name: &str| set.inputs.iter().find(|(n, _)| n == name).map(|(_, tensor)| tensor);
            let batch = Batch {
                logits: input("logits").unwrap().to_f64_vec(),
                labels: input("labels").unwrap().as_i64().unwrap().to_vec(),
                features: input("features").map(Tensor::to_f64_vec).unwrap_or_default(),
                ..Batch::default()
            };
            let evaluated = evaluate(&loss, &batch).unwrap();
            assert_eq!(set.outputs.len(), loss.outputs().len(), "{}", dir.display());
            for (name, want) in &set.outputs {
                let width = want.len() / batch.labels.len().min(want.len());
                let got = evaluated.output(name).unwrap();
                let deviation = compare(got, &want.to_f64_vec(), width, None, DType::F64);
                let place = dir.display();
                assert!(deviation.whole <= REFERENCE, "{place} {name}: {deviation:?}");
            }
        }
    }
}

#[test]
fn every_vector_passes_on_onnx_runtime() {
    assert_all_pass(&onnx_runtime(), DType::F32, &[OLDEST_OPSET, DEFAULT_OPSET, NEWEST_OPSET]);
}

/// Operator sets 9 to 12 have other forms of many operators; 13 is the first of the forms that are written from there on.
#[test]
fn every_vector_passes_at_old_operator_sets() {
    let engine = onnx_runtime();
    assert_all_pass(&engine, DType::F32, &[10, 11, 12, 13]);
    assert_all_pass(&engine, DType::F64, &[9, 11, 12]);
    assert_all_pass(&engine, DType::F16, &[9, 11, 12]);
}

/// The value alone: the backward of these graphs is for ONNX Runtime Training to find.
#[test]
fn the_losses_for_training_have_the_value_of_every_vector() {
    let engine = onnx_runtime();
    for dir in directories() {
        for lowering in [Lowering::Trainable, Lowering::ExplicitBackward] {
            for opset in [OLDEST_OPSET, OLDEST_WITH_STOPS, DEFAULT_OPSET] {
                let loss = loss(&case(&dir), DType::F32);
                let stops = lowering == Lowering::ExplicitBackward
                    || loss.interface().influence_gradient == InfluenceGradient::Stopped;
                if stops && opset < OLDEST_WITH_STOPS {
                    continue;
                }
                let bytes = artifact::emit_as(&loss, lowering, Versions::new(opset, None).unwrap()).unwrap();
                let report = check("vector", &bytes, &engine, Some(&dir), &mut |_, _| ()).unwrap();
                assert!(report.passed(), "{} {lowering:?} {report}", dir.display());
                assert_eq!(report.cases.len(), 2);
            }
        }
    }
}

#[test]
fn every_vector_passes_in_float64_on_onnx_runtime() {
    assert_all_pass(&onnx_runtime(), DType::F64, &[DEFAULT_OPSET]);
}

#[test]
fn every_vector_passes_in_half_types_on_onnx_runtime() {
    for dtype in [DType::F16, DType::BF16] {
        assert_all_pass(&onnx_runtime(), dtype, &[DEFAULT_OPSET]);
    }
}

#[test]
fn every_vector_passes_through_the_kernel() {
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        let oldest = if dtype == DType::BF16 { OLDEST_WITH_BFLOAT16 } else { OLDEST_OPSET };
        assert_all_pass_as(Lowering::Fused, &with_kernels(), dtype, &[oldest, NEWEST_OPSET]);
    }
}

#[test]
fn every_vector_passes_where_the_body_of_the_fused_node_runs() {
    let opsets = [OLDEST_OPSET, DEFAULT_OPSET, NEWEST_OPSET];
    for dir in directories() {
        for opset in opsets {
            let report = checked(&dir, DType::F32, (Lowering::Fused, opset), &onnx_runtime());
            assert!(report.passed(), "{} {report}", dir.display());
        }
    }
}

#[test]
fn every_vector_passes_on_the_embedded_engine() {
    assert_all_pass(&EmbeddedEngine::default(), DType::F32, &[OLDEST_OPSET, DEFAULT_OPSET]);
}

#[test]
fn the_embedded_engine_refuses_what_it_cannot_judge() {
    let dir = &directories()[0];
    let bytes = artifact::emit(&loss(&case(dir), DType::F64), Versions::default()).unwrap();
    let error = check("vector", &bytes, &EmbeddedEngine::default(), None, &mut |_, _| ()).unwrap_err();
    assert!(error.to_string().contains("float64"), "{error}");
}
