//! The kernel without ONNX Runtime around it: batches on one thread and on two, beside copying the same tensors; and its
//! passes over a row, beside a copy of it and beside those of SIMD libraries.
//!
//! `cargo bench -p ibgraph-ops` runs all; a word after `--` picks groups.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark stops at the first error")]

mod aligned;
mod libraries;
mod passes;
mod pool;

use aligned::Aligned;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ibgraph_ops::batch::{Inputs, Labels, Outputs, Pool, Scalars, Serial, run};
use ibgraph_ops::descriptor::{Descriptor, parse};
use ibgraph_ops::simd::Isa;
use pool::Two;

/// (N, C, D)
const SHAPES: [(usize, usize, usize); 7] = [
    (128, 10, 64),
    (128, 100, 64),
    (256, 1000, 2048),
    (2048, 1000, 512),
    (128, 8142, 2048),
    (64, 100_000, 512),
    (4, 100_000, 512),
];

/// Tensors of a batch, in float32.
struct Batch {
    logits: Aligned,
    features: Aligned,
    labels: Vec<i64>,
    weights: Vec<f32>,
    logits_grad: Aligned,
    features_grad: Aligned,
}

impl Batch {
    fn new(n: usize, classes: usize, d: usize) -> Self {
        let mut state = 1_u64;
        let mut next = |_: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1_u64 << 24) as f32 * 6.0 - 3.0
        };
        Self {
            logits: Aligned::new((0..n * classes).map(&mut next)),
            features: Aligned::new((0..n * d).map(&mut next)),
            labels: (0..n).map(|i| ((i * 7919) % classes) as i64).collect(),
            weights: vec![1.0; classes],
            logits_grad: Aligned::new((0..n * classes).map(|_| 1.0)),
            features_grad: Aligned::new((0..n * d).map(|_| 1.0)),
        }
    }

    fn run(&mut self, loss: &Descriptor, pool: &dyn Pool, isa: Isa) {
        let mut total = [0.0];
        let inputs = Inputs {
            rows: self.labels.len(),
            logits: &self.logits,
            labels: Labels::I64(&self.labels),
            features: &self.features,
            loss_grad: None,
            class_weights: Some(Scalars::F32(&self.weights)),
            logit_bias: None,
            label_margin: None,
            enabled: true,
            parameters: Vec::new(),
        };
        let outputs = Outputs {
            loss: Some(&mut total),
            logits_grad: Some(&mut self.logits_grad),
            features_grad: Some(&mut self.features_grad),
            row_loss: None,
            entries: Vec::new(),
        };
        run(loss, &inputs, outputs, pool, isa).unwrap();
        std::hint::black_box(total);
    }

    /// Each tensor in two halves.
    fn copy(&mut self, pool: &dyn Pool) {
        copy(&self.logits, &mut self.logits_grad, pool);
        copy(&self.features, &mut self.features_grad, pool);
    }
}

fn copy(from: &[f32], to: &mut [f32], pool: &dyn Pool) {
    let half = from.len().div_ceil(2);
    let to = std::sync::Mutex::new(to.chunks_mut(half).map(Some).collect::<Vec<_>>());
    let part = |index: usize| {
        let part = to.lock().unwrap()[index].take().unwrap();
        part.copy_from_slice(&from[index * half..][..part.len()]);
    };
    pool.for_each(from.len().div_ceil(half), &part).unwrap();
}

/// The influence-balanced loss, as `ibgraph emit --lowering fused` writes it.
fn loss(classes: usize) -> Descriptor {
    parse(&include_str!("ib.txt").replace("CLASSES", &classes.to_string())).unwrap()
}

fn batches(c: &mut Criterion) {
    let two = Two::new();
    for (n, classes, d) in SHAPES {
        let mut batch = Batch::new(n, classes, d);
        let mut group = c.benchmark_group(format!("batch/{n}x{classes}x{d}"));
        group.throughput(Throughput::Bytes(8 * (n * (classes + d)) as u64));
        group.sample_size(20);
        let loss = loss(classes);
        group.bench_function("copy on two threads", |b| b.iter(|| batch.copy(&two)));
        for isa in Isa::supported() {
            let id = BenchmarkId::new("two threads", format!("{isa:?}"));
            group.bench_function(id, |b| b.iter(|| batch.run(&loss, &two, isa)));
        }
        group.bench_function("copy on one thread", |b| b.iter(|| batch.copy(&Serial)));
        group.bench_function("one thread", |b| b.iter(|| batch.run(&loss, &Serial, Isa::detect())));
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(200))
        .measurement_time(std::time::Duration::from_millis(600));
    targets = batches, passes::passes, libraries::softmax, libraries::l1_norm
}
criterion_main!(benches);
