//! How long compiling takes: losses to files, losses onto classifiers, the backward of whole classifiers, among them one of
//! the size of ResNet-50.
//!
//! `cargo bench --bench compile`; `-- --test` runs each once.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark stops at the first error")]

mod resnet50;

use std::hint::black_box;
use std::path::Path;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ibgraph::artifact::emit_as;
use ibgraph::graft::{Kind, Plan, Selection, TrainingPlan, Wishes, attach, discover, training};
use ibgraph::loss::{Interface, Loss, builtin};
use ibgraph::lower::{Lowering, portable};
use ibgraph::onnx::{Host, Versions, splice};
use ibgraph::train::{Betas, Optimizer, Recipe};

/// (name, classes)
const CLASSIFIERS: [&str; 5] = ["mlp", "cnn", "mobilenet", "vit", "resnet"];

fn loss(name: &str, classes: usize) -> Loss {
    let spec = builtin::load(name).unwrap().unwrap();
    let interface = Interface::new(classes, &spec);
    Loss::new(spec, interface, None).unwrap()
}

fn model(name: &str) -> Vec<u8> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/classifiers");
    std::fs::read(directory.join(name).join("model.onnx")).unwrap()
}

fn emit(c: &mut Criterion) {
    let mut group = c.benchmark_group("emit");
    for name in ["cross-entropy", "focal", "ib", "ib-focal"] {
        let loss = loss(name, 1000);
        for lowering in [Lowering::Direct, Lowering::Portable, Lowering::Fused] {
            group.bench_function(BenchmarkId::new(format!("{lowering:?}").to_lowercase(), name), |b| {
                b.iter(|| emit_as(black_box(&loss), lowering, Versions::default()).unwrap())
            });
        }
    }
    group.finish();
}

fn graft(c: &mut Criterion) {
    let mut group = c.benchmark_group("graft");
    for name in CLASSIFIERS {
        let bytes = model(name);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(BenchmarkId::new("loss-grad", name), |b| {
            b.iter(|| {
                let host = Host::read(black_box(&bytes)).unwrap();
                let head = discover(&host, Wishes::default()).unwrap();
                let loss = loss("ib", head.classes.unwrap());
                let graph = portable(&loss);
                let plan = Plan { loss: &loss, graph: &graph, kind: Kind::LossGrad, labels: None };
                let attached = attach(&host, &head, plan).unwrap();
                splice(&host, &attached.delta).unwrap().to_vec()
            })
        });
    }
    group.finish();
}

fn train_step(c: &mut Criterion) {
    let recipe = Recipe::new(Optimizer::AdamW(Betas::default()));
    let mut group = c.benchmark_group("train-step");
    group.sample_size(20);
    let small = CLASSIFIERS.map(|name| (name, model(name)));
    for (name, bytes) in small.into_iter().chain([("resnet50", resnet50::model())]) {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                let host = Host::read(black_box(&bytes)).unwrap();
                let head = discover(&host, Wishes::default()).unwrap();
                let loss = loss("ib", head.classes.unwrap());
                let selection = Selection::default();
                let plan =
                    TrainingPlan { loss: &loss, recipe: Some(&recipe), labels: None, selection: &selection };
                let made = training(&host, &head, plan).unwrap();
                splice(&host, &made.delta).unwrap().to_vec()
            })
        });
    }
    group.finish();
}

criterion_group!(benches, emit, graft, train_step);
criterion_main!(benches);
