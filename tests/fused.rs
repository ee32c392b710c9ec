//! The fused operator on ONNX Runtime: every loss with every option on generated cases, and what it refuses.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

#[path = "support/libraries.rs"]
mod libraries;

use std::path::Path;

use ibgraph::artifact;
use ibgraph::check::check;
use ibgraph::loss::{ClassWeighting, FeatureInput, Interface, Loss, Reduction, Tables, builtin};
use ibgraph::lower::Lowering;
use ibgraph::onnx::Versions;
use ibgraph::runtime::{Engine, OrtEngine, OrtOptions, Provider, RuntimeError, Session};
use ibgraph::tensor::{DType, Tensor, TensorData};

use libraries::{onnx_runtime_path, operator_library};

const CLASSES: usize = 7;

fn engine() -> OrtEngine {
    let mut options = OrtOptions::default();
    options.operator_libraries = vec![operator_library()];
    OrtEngine::open(Path::new(&onnx_runtime_path()), Provider::Cpu, options).unwrap()
}

/// A loss, or `None` where the options contradict each other.
fn loss(name: &str, edit: impl FnOnce(&mut Interface)) -> Option<Loss> {
    let spec = builtin::load(name).unwrap().unwrap();
    let mut interface = Interface::new(CLASSES, &spec);
    edit(&mut interface);
    let counts: Vec<f64> = (0..CLASSES).map(|k| 500.0 / (1.0 + k as f64)).collect();
    let weights = (interface.class_weighting == ClassWeighting::Stored)
        .then(|| (0..CLASSES).map(|k| 0.3 + k as f64 / 5.0).collect());
    let tables = Tables::new(&spec, weights, Some(&counts), CLASSES).unwrap();
    Loss::with_tables(spec, interface, tables).ok()
}

fn bytes(loss: &Loss) -> Vec<u8> {
    artifact::emit_as(loss, Lowering::Fused, Versions::default()).unwrap()
}

/// Checks a loss on the generated cases, through the kernel.
fn assert_passes(engine: &OrtEngine, loss: &Loss) {
    let report = check("fused", &bytes(loss), engine, None, &mut |_, _| ()).unwrap();
    let kernel = report.placement.as_ref().is_some_and(|p| p.assignment.len() == 1);
    let interface = loss.interface();
    assert!(report.passed() && kernel, "{interface:?}\n{report}");
}

#[test]
fn every_loss_passes_with_every_reduction_weighting_and_feature_input() {
    let engine = engine();
    let mut checked = 0;
    for name in builtin::names() {
        for reduction in [Reduction::Mean, Reduction::WeightedMean, Reduction::Sum, Reduction::None] {
            for weighting in [ClassWeighting::None, ClassWeighting::Stored, ClassWeighting::Runtime] {
                for input in [FeatureInput::Raw, FeatureInput::Norm, FeatureInput::NormColumn] {
                    let made = loss(name, |i| {
                        (i.reduction, i.class_weighting, i.feature_input) = (reduction, weighting, input);
                    });
                    let Some(made) = made.filter(|l| l.has_features() || input == FeatureInput::Raw) else {
                        continue;
                    };
                    assert_passes(&engine, &made);
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 150, "{checked}");
}

#[test]
fn every_loss_passes_with_switches_and_in_every_type() {
    let engine = engine();
    for name in builtin::names() {
        for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
            for switches in 0..8 {
                let made = loss(name, |i| {
                    i.dtype = dtype;
                    i.enabled_input = switches & 1 != 0;
                    i.check_labels = switches & 2 != 0;
                    i.ignore_index = (switches & 4 != 0).then_some(-100);
                });
                if let Some(made) = made {
                    assert_passes(&engine, &made);
                }
            }
        }
    }
}

#[test]
fn parameters_at_run_time_and_row_outputs_pass() {
    let engine = engine();
    for name in builtin::names() {
        let spec = builtin::load(name).unwrap().unwrap();
        let made = loss(name, |i| {
            i.runtime_parameters = spec.parameters.keys().cloned().collect();
            i.outputs = ["loss", "row_loss", "logits_grad"].map(String::from).to_vec();
            i.outputs.extend(spec.row.keys().cloned());
        });
        if let Some(made) = made {
            assert_passes(&engine, &made);
        }
    }
}

fn f32s(shape: &[usize]) -> Tensor {
    let count = shape.iter().product();
    let values = (0..count).map(|k| (k as f32 * 0.7).sin()).collect();
    Tensor::new(shape.to_vec(), TensorData::F32(values)).unwrap()
}

fn labels(values: &[i64]) -> Tensor {
    Tensor::new(vec![values.len()], TensorData::I64(values.to_vec())).unwrap()
}

fn run(
    session: &mut dyn Session,
    logits: &Tensor,
    labels: &Tensor,
    features: &Tensor,
) -> Result<Vec<Tensor>, RuntimeError> {
    let inputs = [("logits", logits), ("labels", labels), ("features", features)];
    session.run(&inputs, &["loss", "logits_grad", "features_grad"])
}

#[test]
fn a_label_out_of_range_is_an_error_with_its_row() {
    let mut session = engine().load(&bytes(&loss("ib", |_| ()).unwrap())).unwrap();
    for label in [7, -1, i64::MIN, i64::MAX] {
        let error =
            run(session.as_mut(), &f32s(&[3, 7]), &labels(&[0, 6, label]), &f32s(&[3, 4])).unwrap_err();
        let want = format!("row 2: the label is {label}, and the classes are 0 to 6");
        assert!(error.to_string().contains(&want), "{error}");
    }
    run(session.as_mut(), &f32s(&[3, 7]), &labels(&[0, 6, 1]), &f32s(&[3, 4])).unwrap();
}

#[test]
fn sizes_that_do_not_fit_are_errors_that_name_the_input() {
    let mut session = engine().load(&bytes(&loss("ib", |_| ()).unwrap())).unwrap();
    let mut message = |l: &[usize], y: usize, f: &[usize]| {
        run(session.as_mut(), &f32s(l), &labels(&vec![0; y]), &f32s(f)).unwrap_err().to_string()
    };
    assert!(message(&[3, 7], 2, &[3, 4]).contains("labels"), "{}", message(&[3, 7], 2, &[3, 4]));
    assert!(message(&[3, 7], 3, &[2, 4]).contains("features"), "{}", message(&[3, 7], 3, &[2, 4]));
}

#[test]
fn an_empty_batch_has_the_mean_of_nothing() {
    let mut session = engine().load(&bytes(&loss("ib", |_| ()).unwrap())).unwrap();
    let out = run(session.as_mut(), &f32s(&[0, 7]), &labels(&[]), &f32s(&[0, 4])).unwrap();
    assert!(out[0].to_f64_vec()[0].is_nan());
    assert_eq!((out[1].shape(), out[2].shape()), (&[0, 7][..], &[0, 4][..]));
}

#[test]
fn an_attribute_of_a_newer_version_is_refused_and_says_what_to_do() {
    let text = bytes(&loss("ib", |_| ()).unwrap());
    let at = text.windows(14).position(|w| w == b"ibgraph-loss 1").unwrap();
    let mut newer = text.clone();
    newer[at + 13] = b'2';
    let error = engine().load(&newer).err().unwrap().to_string();
    assert!(error.contains("format 2") && error.contains("operator library"), "{error}");
    let mut broken = text;
    broken[at] = b'x';
    let error = engine().load(&broken).err().unwrap().to_string();
    assert!(error.contains("no loss that ibgraph wrote"), "{error}");
}

/// A command that finds the operator library only where it is told.
fn command(line: &str, kernels: &Path) -> std::process::Output {
    let mut command = assert_cmd::Command::cargo_bin("ibgraph").unwrap();
    command
        .args(line.split_whitespace())
        .env("IBGRAPH_OPS", kernels)
        .env("ORT_DYLIB_PATH", onnx_runtime_path());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_program_finds_the_library_and_checks_through_it() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("fused.onnx").display().to_string();
    let library = operator_library();
    let path = command("ops path", &library);
    assert_eq!(text(&path.stdout).trim(), library.display().to_string());
    let missing = command("ops path", Path::new("/nowhere"));
    assert_eq!(missing.status.code(), Some(3));
    let emitted = command(&format!("emit --classes 5 --lowering fused --check -o {file}"), &library);
    assert!(emitted.status.success(), "{}", text(&emitted.stderr));
    let nodes = |line: &str| {
        let output = command(line, &library);
        assert!(output.status.success(), "{line} {}", text(&output.stderr));
        let report = text(&output.stdout);
        report
            .lines()
            .find_map(|l| l.strip_prefix("nodes: ")?.split(' ').next()?.parse::<usize>().ok())
            .unwrap()
    };
    assert_eq!(nodes(&format!("check {file}")), 1);
    assert!(nodes(&format!("check {file} --no-fused-kernels")) > 10);
}
