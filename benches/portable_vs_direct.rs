//! The portable lowering against the direct one, the published formula op by op, on ONNX Runtime, in one run.
//!
//! `ORT_DYLIB_PATH=… cargo bench --bench portable_vs_direct` prints, for each shape, the median time of a run of both
//! and the ratio. Runs are interleaved, so that what else the machine does falls on both; only ratios mean something.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "a benchmark stops at the first error"
)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ibgraph::artifact;
use ibgraph::loss::{ClassWeighting, Interface, Loss, builtin};
use ibgraph::lower::Lowering;
use ibgraph::onnx::Versions;
use ibgraph::runtime::{BoundRun, Engine, OrtEngine, OrtOptions, Provider};
use ibgraph::tensor::{Tensor, TensorData};

/// (N, C, D)
const SHAPES: [(usize, usize, usize); 6] =
    [(32, 10, 64), (128, 10, 64), (128, 100, 64), (256, 1000, 2048), (128, 8142, 2048), (64, 100_000, 512)];
const TIME: Duration = Duration::from_secs(4);
const OUTPUTS: [&str; 3] = ["loss", "logits_grad", "features_grad"];

fn main() {
    let library = ["IBGRAPH_TEST_ORT", "ORT_DYLIB_PATH"].into_iter().find_map(std::env::var_os);
    let library = PathBuf::from(library.expect("name an ONNX Runtime library in ORT_DYLIB_PATH"));
    let mut options = OrtOptions::default();
    options.threads = Some(2);
    let engine = OrtEngine::open(&library, Provider::Cpu, options).unwrap();
    println!("{} {}, 2 threads; median of interleaved runs", engine.info().name, engine.info().version);
    println!("{:>20}  {:>12}  {:>12}  {:>16}", "(N, C, D)", "direct", "portable", "portable/direct");
    for (n, c, d) in SHAPES {
        let (direct, portable) = compare(&engine, n, c, d);
        let ratio = portable / direct;
        println!("{:>20}  {direct:>9.1} µs  {portable:>9.1} µs  {ratio:>16.2}", format!("({n}, {c}, {d})"));
    }
}

fn loss(classes: usize) -> Loss {
    let spec = builtin::load("ib").unwrap().unwrap();
    let mut interface = Interface::new(classes, &spec);
    interface.class_weighting = ClassWeighting::Stored;
    Loss::new(spec, interface, Some(vec![1.0; classes])).unwrap()
}

/// Median microseconds of a run: (direct, portable).
fn compare(engine: &OrtEngine, n: usize, classes: usize, d: usize) -> (f64, f64) {
    let mut rng = fastrand::Rng::with_seed(7);
    let mut floats = |count: usize| TensorData::F32((0..count).map(|_| 6.0 * rng.f32() - 3.0).collect());
    let (logits, features) = (floats(n * classes), floats(n * d));
    let labels = TensorData::I64((0..n).map(|i| ((i * 7919) % classes) as i64).collect());
    let tensors = [
        ("logits", Tensor::new(vec![n, classes], logits).unwrap()),
        ("labels", Tensor::new(vec![n], labels).unwrap()),
        ("features", Tensor::new(vec![n, d], features).unwrap()),
    ];
    let inputs: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
    let loss = loss(classes);
    let mut sessions = [Lowering::Direct, Lowering::Portable].map(|lowering| {
        let bytes = artifact::emit_as(&loss, lowering, Versions::default()).unwrap();
        engine.load(&bytes).unwrap()
    });
    let mut runs: Vec<Box<dyn BoundRun>> =
        sessions.iter_mut().map(|session| session.bind(&inputs, &OUTPUTS).unwrap()).collect();
    assert_same_loss(&mut runs);
    let times = interleaved(&mut runs);
    (times[0], times[1])
}

/// The two must compute the same thing, else their times mean nothing. Random samples: the direct form keeps its digits.
fn assert_same_loss(runs: &mut [Box<dyn BoundRun + '_>]) {
    let losses: Vec<f64> = runs
        .iter_mut()
        .map(|run| {
            run.run().unwrap();
            run.outputs().unwrap()[0].to_f64_vec()[0]
        })
        .collect();
    assert!((losses[0] / losses[1] - 1.0).abs() < 1e-4, "direct {} and portable {}", losses[0], losses[1]);
}

fn interleaved(runs: &mut [Box<dyn BoundRun + '_>]) -> Vec<f64> {
    let mut samples = vec![Vec::new(); runs.len()];
    let start = Instant::now();
    while start.elapsed() < TIME || samples[0].len() < 10 {
        for (run, samples) in runs.iter_mut().zip(&mut samples) {
            let start = Instant::now();
            run.run().unwrap();
            samples.push(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    samples.into_iter().map(median).collect()
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}
