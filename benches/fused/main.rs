//! The fused operator against a copy of the same tensors, an ONNX Runtime run of `Identity`, and the portable lowering.
//!
//! `ORT_DYLIB_PATH=… cargo bench --bench fused` prints, for each shape, the median time of a run of each and the ratios
//! to the fused operator's; shapes named after `--`, as `128x10x64`, are the only ones then. Arms take turns in blocks of runs, so
//! that what else the machine does falls on all; only ratios mean something. Two threads each.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark stops at the first error"
)]

mod copy;

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use copy::Copier;
use ibgraph::artifact;
use ibgraph::graph::{Builder, Dim, TensorType};
use ibgraph::loss::{ClassWeighting, Interface, Loss, builtin};
use ibgraph::lower::Lowering;
use ibgraph::onnx::{self, Versions, WriteOptions};
use ibgraph::runtime::{BoundRun, Engine, OrtEngine, OrtOptions, Provider};
use ibgraph::tensor::{DType, Tensor, TensorData};

/// (N, C, D)
const SHAPES: [(usize, usize, usize); 8] = [
    (128, 10, 64),
    (128, 100, 64),
    (256, 1000, 2048),
    (2048, 1000, 512),
    (128, 8142, 2048),
    (64, 100_000, 512),
    (4, 100_000, 512),
    (1024, 100, 512),
];
const TIME: Duration = Duration::from_secs(4);
/// Longer than the threads of ONNX Runtime spin for work before they sleep.
const PAUSE: Duration = Duration::from_millis(6);
/// Of an arm before the next has its turn.
const BLOCK: Duration = Duration::from_millis(20);
/// Runs at the start of a block that are not counted.
const WAKING: usize = 3;
const OUTPUTS: [&str; 3] = ["loss", "logits_grad", "features_grad"];

fn main() {
    let engine = engine(Vec::new());
    let kernels = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let with_kernels = self::engine(vec![kernels.join(format!("{DLL_PREFIX}ibgraph_ops{DLL_SUFFIX}"))]);
    println!(
        "{} {}, 2 threads; median over blocks of runs, arms in turn",
        engine.info().name,
        engine.info().version
    );
    println!(
        "{:>20}  {:>11}  {:>10}  {:>14}  {:>14}",
        "(N, C, D)", "fused", "over copy", "over Identity", "portable/fused"
    );
    let named: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let all = SHAPES.map(|(n, c, d)| format!("{n}x{c}x{d}"));
    let unknown: Vec<&String> = named.iter().filter(|name| !all.contains(name)).collect();
    assert!(unknown.is_empty(), "no shapes are {unknown:?}; they are {}", all.join(" "));
    let picked = |name: &String| named.is_empty() || named.contains(name);
    for ((n, c, d), _) in SHAPES.into_iter().zip(&all).filter(|(_, name)| picked(name)) {
        let [fused, portable, identity, copy] = compare(&engine, &with_kernels, n, c, d);
        println!(
            "{:>20}  {fused:>8.1} µs  {:>10.2}  {:>14.2}  {:>14.2}",
            format!("({n}, {c}, {d})"),
            fused / copy,
            fused / identity,
            portable / fused
        );
    }
}

fn engine(operator_libraries: Vec<PathBuf>) -> OrtEngine {
    let library = ["IBGRAPH_TEST_ORT", "ORT_DYLIB_PATH"].into_iter().find_map(std::env::var_os);
    let library = PathBuf::from(library.expect("name an ONNX Runtime library in ORT_DYLIB_PATH"));
    let mut options = OrtOptions::default();
    options.threads = Some(2);
    options.operator_libraries = operator_libraries;
    OrtEngine::open(&library, Provider::Cpu, options).unwrap()
}

fn loss(classes: usize) -> Loss {
    let spec = builtin::load("ib").unwrap().unwrap();
    let mut interface = Interface::new(classes, &spec);
    interface.class_weighting = ClassWeighting::Stored;
    Loss::new(spec, interface, Some(vec![1.0; classes])).unwrap()
}

/// Logits and features, each to an output of its own.
fn identity(classes: usize) -> Vec<u8> {
    let mut b = Builder::new("identity");
    let (n, d) = (Dim::symbol("N"), Dim::symbol("D"));
    let logits = b.input("logits", TensorType::new(DType::F32, &[n.clone(), Dim::Fixed(classes)]));
    let features = b.input("features", TensorType::new(DType::F32, &[n, d]));
    let graph = b.finish(&[("logits_grad".to_owned(), logits), ("features_grad".to_owned(), features)]);
    onnx::write(&graph, &WriteOptions::default()).unwrap()
}

/// Median microseconds of a run: fused, portable, Identity, copy.
fn compare(engine: &OrtEngine, with_kernels: &OrtEngine, n: usize, classes: usize, d: usize) -> [f64; 4] {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut floats = |count: usize| TensorData::F32((0..count).map(|_| 6.0 * rng.f32() - 3.0).collect());
    let (logits, features) = (floats(n * classes), floats(n * d));
    let labels = TensorData::I64((0..n).map(|i| ((i * 7919) % classes) as i64).collect());
    let tensors = [
        ("logits", Tensor::new(vec![n, classes], logits).unwrap()),
        ("features", Tensor::new(vec![n, d], features).unwrap()),
        ("labels", Tensor::new(vec![n], labels).unwrap()),
    ];
    let inputs: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
    let loss = loss(classes);
    let emit = |lowering| artifact::emit_as(&loss, lowering, Versions::default()).unwrap();
    let mut fused = with_kernels.load(&emit(Lowering::Fused)).unwrap();
    let mut portable = engine.load(&emit(Lowering::Portable)).unwrap();
    let mut identity = engine.load(&identity(classes)).unwrap();
    let mut runs = [
        fused.bind(&inputs, &OUTPUTS).unwrap(),
        portable.bind(&inputs, &OUTPUTS).unwrap(),
        identity.bind(&inputs[..2], &OUTPUTS[1..]).unwrap(),
    ];
    assert_same_loss(&mut runs[..2]);
    let mut copier = Copier::new(&[n * classes, n * d]);
    interleaved(&mut runs, &mut copier)
}

/// The two must compute the same thing, else their times mean nothing.
fn assert_same_loss(runs: &mut [Box<dyn BoundRun + '_>]) {
    let losses = runs.iter_mut().map(|run| {
        run.run().unwrap();
        run.outputs().unwrap()[0].to_f64_vec()[0]
    });
    let losses: Vec<f64> = losses.collect();
    assert!((losses[0] / losses[1] - 1.0).abs() < 1e-6, "fused {} and portable {}", losses[0], losses[1]);
}

/// Medians of the arms in microseconds. Arms take turns in blocks; before each the threads that the arm before left
/// spinning go to sleep, and its first runs, which wake its own, are not counted.
fn interleaved(runs: &mut [Box<dyn BoundRun + '_>; 3], copier: &mut Copier) -> [f64; 4] {
    let mut samples: [Vec<f64>; 4] = Default::default();
    let mut lengths = [WAKING + 3; 4];
    let start = Instant::now();
    while start.elapsed() < TIME || samples[0].len() < 10 {
        for arm in 0..4 {
            std::thread::sleep(PAUSE);
            let times = match runs.get_mut(arm) {
                Some(run) => timed(run.as_mut(), lengths[arm]),
                None => copier.block(lengths[arm]),
            };
            let counted = &times[WAKING..];
            let runs = BLOCK.as_secs_f64() / median(counted.to_vec());
            lengths[arm] = WAKING + (runs as usize).clamp(3, 200);
            samples[arm].extend_from_slice(counted);
        }
    }
    samples.map(|samples| 1e6 * median(samples))
}

/// Seconds of each of `count` runs.
fn timed(run: &mut dyn BoundRun, count: usize) -> Vec<f64> {
    let one = |_| {
        let start = Instant::now();
        run.run().unwrap();
        start.elapsed().as_secs_f64()
    };
    (0..count).map(one).collect()
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
