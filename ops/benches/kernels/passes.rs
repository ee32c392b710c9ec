//! What the passes over a row cost beside copying it: how far above a copy the kernel must be, wherever its data is.

use criterion::{BenchmarkId, Criterion, Throughput};
use ibgraph_ops::rows;
use ibgraph_ops::simd::{Isa, Job, Level};

use crate::aligned::Aligned;

/// Elements of a row: with its gradient, 32 kB, the first level of the cache.
const WIDTH: usize = 4096;
/// The label of the row.
const LABEL: usize = WIDTH / 3;

/// A pass, from a row and to another.
#[derive(Clone, Copy)]
enum Pass {
    Copy,
    Maximum,
    Exponentials,
    Scaling,
    L1Norm,
    Signs,
}

const PASSES: [(&str, Pass); 6] = [
    ("copy", Pass::Copy),
    ("maximum of the logits", Pass::Maximum),
    ("exponentials of the logits", Pass::Exponentials),
    ("scaling of the exponentials", Pass::Scaling),
    ("L1 norm of the features", Pass::L1Norm),
    ("signs of the features", Pass::Signs),
];

struct One<'a>(Pass, &'a [f32], &'a mut [f32]);

impl Job for One<'_> {
    #[inline(always)]
    fn run<L: Level>(self) {
        let One(pass, from, to) = self;
        match pass {
            Pass::Copy => to.copy_from_slice(from),
            Pass::Maximum => to[0] = rows::highest::<f32, L>(from, LABEL).0,
            Pass::Exponentials => drop(rows::exp_sum_into::<f32, L>(from, LABEL, 3.0, to)),
            Pass::Scaling => rows::scale::<f32, L>(to, 0.999, 1e-3),
            Pass::L1Norm => to[0] = rows::l1::<f32, L>(from) as f32,
            Pass::Signs => rows::signed::<f32, L>(from, 0.5, to, false, false),
        }
    }
}

/// Each pass over a row in the first level of the cache, on one thread.
pub fn passes(c: &mut Criterion) {
    let values = (0..WIDTH).map(|k| ((k * 7919) % 1009) as f32 / 200.0 - 3.0);
    let (from, mut to) = (Aligned::new(values), Aligned::new((0..WIDTH).map(|_| 1.0)));
    let mut group = c.benchmark_group(format!("pass/{WIDTH}"));
    group.throughput(Throughput::Elements(WIDTH as u64));
    for (name, pass) in PASSES {
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| Isa::detect().run(One(pass, std::hint::black_box(&from), &mut to)));
        });
        assert!(to.iter().all(|x| x.is_finite()), "{name}");
    }
    group.finish();
}
