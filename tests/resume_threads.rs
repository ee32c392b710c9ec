//! A run that is cut and goes on in another session ends where one that was never cut does, with several threads too.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::path::Path;

use ibgraph::graft::{Selection, TrainingPlan, Wishes, discover, training};
use ibgraph::loss::{Interface, Loss, builtin};
use ibgraph::npz::Npz;
use ibgraph::onnx::{Host, splice};
use ibgraph::runtime::{Engine, OrtEngine, OrtOptions, Provider};
use ibgraph::tensor::{Tensor, TensorData};
use ibgraph::train::data::Dataset;
use ibgraph::train::fit::{Fit, Schedule, Settings};
use ibgraph::train::state::State;
use ibgraph::train::{Betas, Manifest, Optimizer, Recipe};
use indexmap::IndexMap;

const SAMPLES: usize = 96;
const THREADS: usize = 2;

/// A training step of a convolutional net large enough that ONNX Runtime gives its operators to both threads.
fn step() -> (Vec<u8>, Manifest) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/classifiers/resnet/model.onnx");
    let bytes = std::fs::read(path).unwrap();
    let host = Host::read(&bytes).unwrap();
    let head = discover(&host, Wishes::default()).unwrap();
    let spec = builtin::load("ib").unwrap().unwrap();
    let interface = Interface::new(head.classes.unwrap(), &spec);
    let loss = Loss::new(spec, interface, None).unwrap();
    let recipe = Recipe::new(Optimizer::AdamW(Betas::default()));
    let selection = Selection::default();
    let plan = TrainingPlan { loss: &loss, recipe: Some(&recipe), labels: None, selection: &selection };
    let made = training(&host, &head, plan).unwrap();
    (splice(&host, &made.delta).unwrap().to_vec(), made.manifest)
}

fn data(manifest: &Manifest) -> Dataset {
    let mut rng = fastrand::Rng::with_seed(11);
    let x = (0..SAMPLES * 3 * 32 * 32).map(|_| 2.0 * rng.f32() - 1.0).collect();
    let labels = (0..SAMPLES as i64).map(|k| k % 10).collect();
    let arrays = IndexMap::from([
        ("x".to_owned(), Tensor::new(vec![SAMPLES, 3, 32, 32], TensorData::F32(x)).unwrap()),
        ("labels".to_owned(), Tensor::new(vec![SAMPLES], TensorData::I64(labels)).unwrap()),
    ]);
    Dataset::new(&arrays, manifest).unwrap()
}

/// Runs in a session of its own until `batches` are done in all.
fn run(step: &(Vec<u8>, Manifest), data: &Dataset, state: State, batches: u64) -> State {
    let library = std::env::var_os("IBGRAPH_TEST_ORT").unwrap_or_else(|| {
        panic!("set IBGRAPH_TEST_ORT to an ONNX Runtime library; `ci/test` installs one and does")
    });
    let mut options = OrtOptions::default();
    options.threads = Some(THREADS);
    let engine = OrtEngine::open(Path::new(&library), Provider::Cpu, options).unwrap();
    let mut session = engine.load(&step.0).unwrap();
    let settings = Settings {
        epochs: 2,
        batch: 32,
        learning_rate: 1e-3,
        schedule: Schedule::Cosine,
        warmup: 0,
        seed: 5,
        first_phase: 0,
        class_weights: None,
        loss_parameters: IndexMap::new(),
        loss_scale: 1.0,
    };
    let mut fit = Fit::new(session.as_mut(), &step.1, data, &settings, state).unwrap();
    while !fit.is_done() && fit.position().runs < batches {
        fit.step().unwrap();
    }
    fit.state().unwrap()
}

#[test]
fn a_run_with_two_threads_goes_on_bit_for_bit() {
    let step = step();
    let data = data(&step.1);
    let host = Host::read(&step.0).unwrap();
    let start = State::initial(&step.1, &host, None, false).unwrap();
    let whole = run(&step, &data, start.clone(), 6);
    let part = run(&step, &data, start.clone(), 2).to_npz().to_bytes().unwrap();
    let part = State::from_npz(Npz::read(std::io::Cursor::new(part)).unwrap()).unwrap();
    let resumed = run(&step, &data, part, 6);
    assert_eq!(whole.losses.len(), 6);
    assert_ne!(whole.values, start.values, "what did not move proves nothing");
    assert_eq!(resumed.losses, whole.losses);
    let differ = |(name, value): (&String, &Tensor)| (resumed.values[name] != *value).then(|| name.clone());
    assert_eq!(whole.values.iter().filter_map(differ).collect::<Vec<_>>(), Vec::<String>::new());
}
