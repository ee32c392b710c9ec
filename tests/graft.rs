//! Grafts as a user makes them, run on ONNX Runtime.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod graft_support;

use graft_support::{Case, Place, ROW, classifier, classifiers, data, difference, norm, worst_row};
use ibgraph::onnx;
use ibgraph::tensor::{DType, Tensor, TensorData};

/// The classifiers' losses were computed in float64; in float32 the classifier itself is off by about 1e-6.
const LOSS: f64 = 1e-5;

#[test]
fn every_classifier_computes_the_loss_that_it_was_differentiated_with() {
    for name in classifiers() {
        for emit in ["loss-grad", "loss", "loss --explicit-backward"] {
            let place = Place::new();
            let (case, dir) = (Case::read(name), classifier(name));
            place.ok(&format!(
                "graft {} --emit {emit} --class-counts {} --class-weights inverse -o g.onnx",
                dir.join("model.onnx").display(),
                case.counts()
            ));
            let inputs = [("x", &case.tensor("input_0")), ("labels", &case.tensor("input_1"))];
            let got = place.run_model("g.onnx", &inputs, &["loss"]);
            let want = case.tensor("output_0").to_f64_vec()[0];
            let error = (got[0].to_f64_vec()[0] - want).abs() / want;
            assert!(error <= LOSS, "{name} --emit {emit}: {error}");
        }
    }
}

#[test]
fn the_outputs_that_a_classifier_had_are_the_same_bit_for_bit() {
    for name in classifiers() {
        let place = Place::new();
        let (case, model) = (Case::read(name), classifier(name).join("model.onnx"));
        place.ok(&format!("graft {} --emit loss-grad -o g.onnx", model.display()));
        let x = case.tensor("input_0");
        let before = place.run_model(model.to_str().unwrap(), &[("x", &x)], &["logits"]);
        let labels = case.tensor("input_1");
        let after = place.run_model("g.onnx", &[("x", &x), ("labels", &labels)], &["logits"]);
        let bits = |tensor: &Tensor| tensor.to_le_bytes();
        assert_eq!(bits(&before[0]), bits(&after[0]), "{name}");
    }
}

#[test]
fn gradients_are_those_of_the_formula_at_the_models_own_logits_and_features() {
    for name in classifiers() {
        let place = Place::new();
        let (case, model) = (Case::read(name), classifier(name).join("model.onnx"));
        let weights = format!("--class-counts {} --class-weights inverse", case.counts());
        place.ok(&format!("graft {} --emit loss-grad {weights} -o g.onnx", model.display()));
        let inputs = [("x", &case.tensor("input_0")), ("labels", &case.tensor("input_1"))];
        place.assert_gradients("g.onnx", &inputs, &format!("--classes 10 {weights}"), ("loss", "labels"));
    }
}

/// What the tests know of a file of `graft_cases`: its inputs, and the loss's names in it.
struct Graft {
    dir: &'static str,
    file: &'static str,
    input: &'static str,
    rows: usize,
    /// Of one row.
    shape: &'static [usize],
    classes: i64,
    half: bool,
    labels: &'static str,
    loss: &'static str,
}

const GRAFT: Graft = Graft {
    dir: "graft_cases",
    file: "",
    input: "x",
    rows: 6,
    shape: &[64],
    classes: 10,
    half: false,
    labels: "labels",
    loss: "loss",
};

const GRAFTS: [Graft; 11] = [
    Graft { file: "dynamo_external", ..GRAFT },
    Graft { file: "fixed_batch", rows: 4, ..GRAFT },
    Graft { file: "half", half: true, ..GRAFT },
    Graft { file: "linear", shape: &[5], classes: 3, ..GRAFT },
    Graft { file: "metadata", ..GRAFT },
    Graft { file: "opset9", ..GRAFT },
    Graft { file: "name_clash", input: "labels", labels: "labels_1", loss: "loss_1", ..GRAFT },
    Graft { file: "sklearn_mlp", input: "X", ..GRAFT },
    Graft { file: "softmax_tail", ..GRAFT },
    Graft { file: "two_outputs", ..GRAFT },
    Graft { dir: "exports", file: "keras_cnn", input: "keras_tensor", shape: &[8, 8, 1], ..GRAFT },
];

impl Graft {
    fn inputs(&self) -> (Tensor, Tensor) {
        let mut random = fastrand::Rng::with_seed(7);
        let shape = [&[self.rows], self.shape].concat();
        let x = (0..shape.iter().product()).map(|_| random.f64() * 2.0 - 1.0).collect();
        let x = Tensor::new(shape, TensorData::F64(x)).unwrap();
        let labels = (0..self.rows as i64).map(|row| row % self.classes).collect();
        let x = x.cast(if self.half { DType::F16 } else { DType::F32 });
        (x, Tensor::new(vec![self.rows], TensorData::I64(labels)).unwrap())
    }

    fn path(&self) -> String {
        data(self.dir).join(format!("{}.onnx", self.file)).display().to_string()
    }
}

#[test]
fn every_case_grafts_and_gives_the_gradients_of_the_formula() {
    for case in GRAFTS {
        let place = Place::new();
        let file = format!("{}.onnx", case.file);
        place.ok(&format!("graft {} --emit loss-grad -o {file}", case.path()));
        let (x, labels) = case.inputs();
        let inputs = [(case.input, &x), (case.labels, &labels)];
        place.assert_gradients(
            &file,
            &inputs,
            &format!("--classes {}", case.classes),
            (case.loss, case.labels),
        );
    }
}

#[test]
fn every_case_keeps_its_outputs_in_order_and_bit_for_bit() {
    for case in GRAFTS {
        let place = Place::new();
        for emit in ["loss", "loss-grad"] {
            place.ok(&format!("graft {} --emit {emit} -o {emit}.onnx", case.path()));
        }
        let outputs = |file: &str| -> Vec<String> {
            let graph = onnx::read(&std::fs::read(place.path(file)).unwrap()).unwrap().graph.unwrap();
            graph.output.into_iter().map(|output| output.name.unwrap()).collect()
        };
        let old = outputs(&case.path());
        let new = [case.loss, "logits_grad", "features_grad"].map(str::to_owned);
        assert_eq!(outputs("loss-grad.onnx"), [&old[..], &new].concat());
        assert_eq!(outputs("loss.onnx"), [&new[..1], &old].concat());
        let (x, labels) = case.inputs();
        // A tensor cannot hold ZipMap's sequence of maps.
        let old: Vec<&str> =
            old.iter().map(String::as_str).filter(|name| *name != "output_probability").collect();
        let before = place.run_model(&case.path(), &[(case.input, &x)], &old);
        for file in ["loss.onnx", "loss-grad.onnx"] {
            let after = place.run_model(file, &[(case.input, &x), (case.labels, &labels)], &old);
            for ((name, before), after) in old.iter().zip(&before).zip(after) {
                assert_eq!(before.to_le_bytes(), after.to_le_bytes(), "{} {file} {name}", case.file);
            }
        }
    }
}

#[test]
fn what_cannot_be_grafted_is_refused_with_the_reason_and_nothing_is_written() {
    let cases = [
        ("bad_external_path", "tensor `w` keeps its data in `../../../../etc/passwd`"),
        ("cycle", "the graph has a cycle"),
        ("dangling", "the MatMul that makes `z` reads `nowhere`, which nothing makes"),
        ("not_onnx", "this is no ONNX model"),
        ("truncated", "cut off"),
    ];
    for (file, message) in cases {
        let place = Place::new();
        let path = data("graft_cases").join(format!("{file}.onnx")).display().to_string();
        for line in [format!("graft {path} -o out.onnx"), format!("inspect {path}")] {
            let text = place.fails(&line, 2);
            assert!(text.contains(message) && text.contains(&path), "{line}\n{text}");
        }
        assert!(!place.path("out.onnx").exists());
    }
}

#[test]
fn the_metadata_and_unknown_fields_of_a_classifier_survive() {
    let place = Place::new();
    let path = data("graft_cases/metadata.onnx").display().to_string();
    place.ok(&format!("graft {path} -o g.onnx"));
    let (before, after) = (std::fs::read(&path).unwrap(), std::fs::read(place.path("g.onnx")).unwrap());
    let fields = |bytes: &[u8], number: u64| -> Vec<Vec<u8>> {
        let fields = onnx::wire::fields(bytes).unwrap().into_iter().filter(|f| f.number == number);
        fields.map(|f| bytes[f.whole].to_vec()).collect()
    };
    for number in [1, 2, 3, 4, 5, 6, 8, 1007] {
        assert_eq!(fields(&before, number), fields(&after, number), "field {number}");
    }
    assert!(!fields(&before, 1007).is_empty() && !fields(&before, 14).is_empty());
    let (old, new) = (fields(&before, 14), fields(&after, 14));
    assert_eq!(new[..old.len()], old);
    let graft = onnx::read(&after).unwrap().metadata_props.pop().unwrap();
    assert_eq!(graft.key.as_deref(), Some("ibgraph.graft"));
    let text: serde_json::Value = serde_json::from_str(&graft.value.unwrap()).unwrap();
    assert_eq!(text["inputs"]["features"], "/Relu_output_0");
    assert_eq!(text["loss"]["loss"]["name"], "ib");
}

#[test]
fn tolerances_can_fail() {
    let a = [1.0, 2.0, 3.0, 4.0];
    assert_eq!(difference(&a, &a), 0.0);
    let b = [1.0, 2.0, 3.0, 4.0 + 1e-4];
    assert!(worst_row(&b, &a, 2) > ROW && norm(&b) > norm(&a));
}
