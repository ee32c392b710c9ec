//! Training steps in `ibgraph bench`, as a user measures them.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

const PLAN: &str = "\
name: steps
classifiers: [cnn/model.onnx]
emit: [forward, loss-grad, gradients, train-step]
optimizers: [momentum, adamw]
rows: [4]
threads: [1]
peers: [pytorch-eager, ort-training]
exclude:
  - {optimizers: momentum, arms: [forward, loss-grad, gradients]}
budget: {cell: 0.05, samples: 20}
thresholds:
  - {classifiers: cnn, max_regression: 20%}
";

/// A directory with the plan and a classifier with its reference.
struct Place(TempDir);

impl Place {
    fn new(plan: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/classifiers/cnn");
        copy(&from, &place.path("cnn"));
        std::fs::write(place.path("plan.yaml"), plan).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a line that must end with `code`; returns both outputs.
    fn ends(&self, line: &str, code: i32) -> String {
        let library = std::env::var("IBGRAPH_TEST_ORT");
        let library = library.expect("set IBGRAPH_TEST_ORT to an ONNX Runtime library; ci/test does");
        let mut command = Command::cargo_bin("ibgraph").unwrap();
        command.args(line.split_whitespace()).current_dir(self.0.path()).env("ORT_DYLIB_PATH", library);
        command.env_remove("IBGRAPH_PEER_PYTHON").env_remove("IBGRAPH_ORT_TRAINING_PEER");
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        assert_eq!(output.status.code(), Some(code), "{line}\n{text}");
        assert!(!text.contains("panicked"), "{line}\n{text}");
        text
    }

    fn results(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.path("out/results.json")).unwrap()).unwrap()
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn arm<'a>(results: &'a Value, cell: usize, name: &str) -> &'a Value {
    let arms = results["cells"][cell]["arms"].as_array().unwrap();
    arms.iter().find(|arm| arm["arm"] == name).unwrap_or_else(|| panic!("no arm {name}"))
}

#[test]
fn a_training_step_is_measured_once_it_has_followed_the_reference() {
    let place = Place::new(PLAN);
    let text = place.ends("bench plan.yaml -o out", 0);
    assert!(text.contains("## Training cnn: ib, momentum, cpu, 1 thread"), "{text}");
    assert!(text.contains("no Python with PyTorch was named"), "{text}");
    assert!(text.contains("no Python with ONNX Runtime Training was named"), "{text}");
    let results = place.results();
    let ids: Vec<_> = results["cells"].as_array().unwrap().iter().map(|cell| cell["id"].clone()).collect();
    assert_eq!(ids, ["cnn ib momentum N=4 cpu t=1", "cnn ib adamw N=4 cpu t=1"]);
    for name in ["forward", "loss-grad", "gradients", "train-step"] {
        let arm = arm(&results, 1, name);
        assert_eq!(arm["status"], "measured", "{name}: {}", arm["reason"]);
        assert!(arm["figures"]["samples_per_second"].as_f64().unwrap() > 0.0);
        assert_eq!(arm["figures"]["bytes_per_second"], Value::Null);
        assert!(arm["model"]["kernels"].as_u64().unwrap() > 5);
    }
    // All but the classifier alone were held to a loss, and these two to rows.
    assert!(arm(&results, 1, "train-step")["numerics"]["loss"].as_f64().unwrap() < 1e-4);
    assert!(arm(&results, 1, "gradients")["numerics"]["worst_row"].as_f64().unwrap() < 1e-4);
    assert!(arm(&results, 1, "forward")["numerics"]["worst_row"].as_f64().unwrap() < 1e-5);
    assert_eq!(arm(&results, 0, "pytorch-eager")["status"], "absent");
    // A copy of the inputs says nothing of a training step.
    assert_eq!(results["cells"][0]["arms"].as_array().unwrap().len(), 3);
}

#[test]
fn a_step_that_strays_from_the_reference_is_not_timed() {
    let place = Place::new(PLAN);
    place.ends("bench plan.yaml -o sound", 0);
    let case = std::fs::read_to_string(place.path("cnn/case.yaml")).unwrap();
    // The last loss but one of AdamW, by a tenth of a percent.
    let altered = case.replace("418.385", "418.800");
    assert_ne!(case, altered);
    std::fs::write(place.path("cnn/case.yaml"), altered).unwrap();
    let gradient = place.path("cnn/test_data_set_0/output_5.pb");
    let mut bytes = std::fs::read(&gradient).unwrap();
    let last = bytes.len() - 2;
    bytes[last] ^= 0x7f;
    std::fs::write(&gradient, bytes).unwrap();
    let text = place.ends("bench plan.yaml -o out", 1);
    assert!(text.contains("numbers are off, so these have no times: "), "{text}");
    let text = format!("{text}{}", place.ends("report --compare sound/results.json out/results.json", 1));
    assert!(text.contains(", gradients: its numbers are off now: "), "{text}");
    let results = place.results();
    for name in ["gradients", "train-step"] {
        let arm = arm(&results, 1, name);
        assert_eq!((&arm["status"], &arm["cold"]), (&Value::from("wrong"), &Value::Null), "{name}");
    }
    assert!(text.contains("a loss of 8 steps is 9."), "{text}");
    assert_eq!(arm(&results, 1, "forward")["status"], "measured");
    assert_eq!(arm(&results, 0, "train-step")["status"], "measured", "momentum's losses are as they were");
}

/// Six arms' batches take 30 MB here, so that it is the activations that do not fit.
#[test]
fn activations_count_before_anything_is_allocated() {
    let plan =
        PLAN.replace("rows: [4]", "rows: [4096]").replace("samples: 20", "samples: 20, memory: 100 MB");
    let place = Place::new(&plan);
    let text = place.ends("bench plan.yaml -o out", 2);
    assert!(text.contains("of memory, and there are 100 MB"), "{text}");
    assert!(!place.path("out").exists());
}

#[test]
fn mistakes_in_a_plan_of_classifiers_are_told() {
    let cases = [
        ("cnn/model.onnx", "cnn/modle.onnx", "plan.yaml:2:15", "cannot read cnn/modle.onnx"),
        ("cnn/model.onnx", "plan.yaml", "plan.yaml:2:15", "plan.yaml"),
        ("[momentum, adamw]", "[adam]", "plan.yaml:4:14", "no optimizer `adam`; did you mean `adamw`?"),
        ("gradients, train-step", "train_step", "plan.yaml:3:28", "did you mean `train-step`?"),
        ("rows: [4]", "losses: [ib]\nrows: [4]", "plan.yaml", "`losses` does not go with `classifiers`"),
        (
            "classifiers: [cnn/model.onnx]",
            "losses: [ib]",
            "plan.yaml",
            "`emit` is of plans with `classifiers`",
        ),
        ("classifiers: cnn, max", "classifiers: cmm, max", "plan.yaml:12", "no classifier `cmm`"),
        (", max_regression: 20%", "", "plan.yaml:12", "a threshold needs `max_regression`"),
        ("arms: [forward, loss-grad, gradients]", "max_regression: 5%", "plan.yaml:9", "not of `exclude`"),
        ("rows: [4]", "rows: [2000000000]", "", "of memory, and there are"),
    ];
    for (from, to, place_in_file, message) in cases {
        let plan = PLAN.replace(from, to);
        assert_ne!(plan, PLAN, "{from}");
        let place = Place::new(&plan);
        let text = place.ends("bench plan.yaml -o out", 2);
        assert!(text.contains(place_in_file) && text.contains(message), "{to}\n{text}");
        assert!(!place.path("out").exists());
    }
    let place = Place::new(PLAN);
    std::fs::remove_file(place.path("cnn/case.yaml")).unwrap();
    let text = place.ends("bench plan.yaml --dry-run", 2);
    assert!(text.contains("case.yaml") && text.contains("docs/bench.md"), "{text}");
}

#[test]
fn the_plan_of_the_repository_is_one() {
    let place = Place::new(PLAN);
    let plan = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench-configs/train-step.yaml");
    let text = place.ends(&format!("bench {} --dry-run", plan.display()), 0);
    for cell in ["resnet ib adamw N=32", "mobilenet ib momentum N=32", "vit ib adamw N=32"] {
        assert!(text.contains(cell), "{cell}\n{text}");
    }
}

#[test]
fn results_of_the_form_before_are_read() {
    let place = Place::new(PLAN);
    let first = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench-results/cpu/results.json");
    let mut data: Value = serde_json::from_slice(&std::fs::read(first).unwrap()).unwrap();
    data["format"] = 1.into();
    for cell in data["cells"].as_array_mut().unwrap() {
        for key in ["classifier", "optimizer", "device"] {
            cell.as_object_mut().unwrap().remove(key);
        }
        for arm in cell["arms"].as_array_mut().unwrap() {
            arm.as_object_mut().unwrap().remove("note");
        }
    }
    std::fs::write(place.path("old.json"), data.to_string()).unwrap();
    let text = place.ends("report old.json --format markdown", 0);
    assert!(text.contains("## ib, f32, cpu, 2 threads"), "{text}");
}
