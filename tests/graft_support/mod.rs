//! What the tests of grafts share: a directory to work in, the classifiers' data, and the comparison of gradients.

#![allow(dead_code, reason = "each test program uses a part of this")]

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use ibgraph::artifact;
use ibgraph::loss::reference::{Batch, evaluate};
use ibgraph::onnx::messages::ValueInfoProto;
use ibgraph::onnx::{self, Delta, Host};
use ibgraph::runtime::{Engine, OrtEngine, OrtOptions, Provider};
use ibgraph::tensor::Tensor;
use serde::Deserialize;
use tempfile::TempDir;

/// A float32 row of the portable lowering is right to 5e-6 at its worst (`docs/accuracy.md`).
pub const ROW: f64 = 5e-6;
/// A float16 number is right to half of 2^-10. That holds for the loss too: ONNX Runtime's CPU provider runs a float16
/// classifier in float32 and rounds where an output asks for float16, so the loss sees logits that are not rounded.
pub const HALF: f64 = 4.9e-4;

/// A directory to work in.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::cargo_bin("ibgraph").unwrap();
        command.args(line.split_whitespace()).current_dir(self.0.path());
        command.env("IBGRAPH_CACHE", self.path("cache")).env("PATH", "");
        command
    }

    /// Runs a line that must succeed; returns standard output.
    pub fn ok(&self, line: &str) -> String {
        let output = self.command(line).output().unwrap();
        let [out, err] =
            [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        assert!(output.status.success(), "{line}\n{out}{err}");
        out
    }

    /// Runs a line that must fail with `code`; returns standard error.
    pub fn fails(&self, line: &str, code: i32) -> String {
        let output = self.command(line).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{line}\n{text}");
        assert!(!text.contains("panicked"), "{line}\n{text}");
        text
    }

    /// Outputs of a model on ONNX Runtime, with no optimization, which could reorder a sum.
    pub fn run_model(&self, file: &str, inputs: &[(&str, &Tensor)], outputs: &[&str]) -> Vec<Tensor> {
        self.run_bytes(&std::fs::read(self.path(file)).unwrap(), &self.path(file), inputs, outputs)
    }

    fn run_bytes(
        &self,
        bytes: &[u8],
        path: &Path,
        inputs: &[(&str, &Tensor)],
        outputs: &[&str],
    ) -> Vec<Tensor> {
        let library = std::env::var_os("IBGRAPH_TEST_ORT").unwrap_or_else(|| {
            panic!("set IBGRAPH_TEST_ORT to an ONNX Runtime library; `ci/test` installs one and does")
        });
        let mut options = OrtOptions::default();
        options.optimize = false;
        options.data_dir = path.parent().map(Path::to_owned);
        let engine = OrtEngine::open(Path::new(&library), Provider::Cpu, options).unwrap();
        let mut session = engine.load(bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        session.run(inputs, outputs).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// The grafted gradients are the reference's at the logits and features that the classifier computes. `names` are
    /// the loss and the labels in the model; `loss` are the options of `emit` that describe the loss.
    pub fn assert_gradients(&self, file: &str, inputs: &[(&str, &Tensor)], loss: &str, names: (&str, &str)) {
        let bytes = std::fs::read(self.path(file)).unwrap();
        let host = Host::read(&bytes).unwrap();
        let description: serde_json::Value =
            serde_json::from_str(host.metadata("ibgraph.graft").unwrap()).unwrap();
        let name = |ours: &str| {
            let name = description["inputs"].get(ours).or_else(|| description["outputs"].get(ours));
            name.unwrap().as_str().unwrap().to_owned()
        };
        let (logits, features) = (name("logits"), name("features"));
        assert_eq!((name("loss").as_str(), name("labels").as_str()), names);
        // Inner values become outputs, to be seen. Their types are inferred.
        let mut shown: Vec<&str> = vec![&logits, &features];
        shown.retain(|value| !host.graph().output.iter().any(|o| o.name.as_deref() == Some(value)));
        shown.retain(|value| !inputs.iter().any(|(input, _)| input == value));
        let port =
            |value: &&str| ValueInfoProto { name: Some((*value).to_owned()), ..ValueInfoProto::default() };
        let delta = Delta { outputs: shown.iter().map(port).collect(), ..Delta::default() };
        let open = onnx::splice(&host, &delta).unwrap().to_vec();
        let value = |name: &str| match inputs.iter().find(|(input, _)| *input == name) {
            Some((_, tensor)) => (*tensor).clone(),
            None => self.run_bytes(&open, &self.path(file), inputs, &[name]).remove(0),
        };
        self.ok(&format!("emit {loss} -o loss.onnx"));
        let loss = artifact::open(&std::fs::read(self.path("loss.onnx")).unwrap()).unwrap().loss;
        let labels = inputs.iter().find(|(input, _)| *input == names.1).unwrap().1;
        let batch = Batch {
            logits: value(&logits).to_f64_vec(),
            labels: labels.as_i64().unwrap().to_vec(),
            features: value(&features).to_f64_vec(),
            ..Batch::default()
        };
        let want = evaluate(&loss, &batch).unwrap();
        let half = value(&logits).dtype() == ibgraph::tensor::DType::F16;
        let allowed = if half { HALF } else { ROW };
        for (ours, want) in [("logits_grad", &want.logits_grad), ("features_grad", &want.features_grad)] {
            let got = value(&name(ours));
            let error = worst_row(&got.to_f64_vec(), want, want.len() / batch.labels.len());
            assert!(error <= allowed, "{file} {ours}: worst row off by {error}");
        }
        let error = difference(&value(&name("loss")).to_f64_vec(), &want.loss);
        assert!(error <= allowed, "{file} loss: {error}");
    }
}

/// A path in `tests/data`.
pub fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
}

/// A directory of `tests/data/classifiers`.
pub fn classifier(name: &str) -> PathBuf {
    data("classifiers").join(name)
}

pub fn classifiers() -> [&'static str; 5] {
    ["mlp", "cnn", "resnet", "vit", "mobilenet"]
}

/// The data of a classifier.
#[derive(Deserialize)]
pub struct Case {
    #[serde(skip)]
    dir: PathBuf,
    class_counts: Vec<f64>,
}

impl Case {
    pub fn read(name: &str) -> Self {
        let dir = classifier(name);
        let text = std::fs::read_to_string(dir.join("case.yaml")).unwrap();
        Self { dir, ..serde_saphyr::from_str(&text).unwrap() }
    }

    /// The class counts with commas.
    pub fn counts(&self) -> String {
        let counts: Vec<String> = self.class_counts.iter().map(f64::to_string).collect();
        counts.join(",")
    }

    pub fn tensor(&self, file: &str) -> Tensor {
        let path = self.dir.join("test_data_set_0").join(format!("{file}.pb"));
        onnx::tensor(&std::fs::read(path).unwrap()).unwrap().1
    }
}

pub fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// ‖got - want‖ / ‖want‖; an error where something is expected and 0 is wanted is infinite.
pub fn difference(got: &[f64], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let errors: Vec<f64> = got.iter().zip(want).map(|(a, b)| a - b).collect();
    if norm(&errors) == 0.0 { 0.0 } else { norm(&errors) / norm(want) }
}

/// The largest [`difference`] of a row.
pub fn worst_row(got: &[f64], want: &[f64], width: usize) -> f64 {
    assert_eq!(got.len(), want.len());
    got.chunks(width).zip(want.chunks(width)).map(|(a, b)| difference(a, b)).fold(0.0, f64::max)
}
