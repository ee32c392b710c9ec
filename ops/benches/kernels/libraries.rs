//! Passes over rows of float32, written with the vectors of this crate, with `rten-vecmath` and with `pulp`.
//!
//! All choose the widest instruction set of the machine, AVX-512 included, once a call; a call takes one row, as the
//! functions of `rten-vecmath` do. The passes with `pulp` have the polynomial of `ibgraph_ops::math`.

use std::mem::MaybeUninit;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use ibgraph_ops::rows::{self, NOWHERE};
use ibgraph_ops::simd::{Isa, Job, Level};
use pulp::{Arch, Simd, WithSimd};
use rten_simd::SimdOp;
use rten_vecmath::{Softmax, SumAbs};

/// Elements of a row
const WIDTHS: [usize; 4] = [10, 100, 1000, 8142];
/// Rows of one measurement, all of which fit into the second-level cache.
const ROWS: usize = 16;
/// Difference from float64 at which an arm is wrong: 8142 sums and some roundings of float32 stay far below it.
const RELATIVE: f64 = 1e-4;

/// From a row to another.
type SoftmaxOf = fn(&[f32], &mut [f32]);
/// Of a row.
type L1Norm = fn(&[f32]) -> f64;

fn values(width: usize) -> Vec<f32> {
    (0..ROWS * width).map(|k| ((k * 7919) % 1009) as f32 / 100.0 - 5.0).collect()
}

fn group<'a>(c: &'a mut Criterion, pass: &str, width: usize) -> BenchmarkGroup<'a, WallTime> {
    let mut group = c.benchmark_group(format!("{pass}/{width}"));
    group.throughput(Throughput::Elements((ROWS * width) as u64));
    group
}

/// Softmax of every row, to another buffer: maximum; exponentials and their sum; division.
pub fn softmax(c: &mut Criterion) {
    let arms: [(&str, SoftmaxOf); 3] =
        [("ibgraph", softmax_own), ("rten-vecmath", softmax_rten), ("pulp", softmax_pulp)];
    for width in WIDTHS {
        let (z, mut out) = (values(width), vec![f32::NAN; ROWS * width]);
        let mut group = group(c, "softmax", width);
        for (name, arm) in arms {
            let mut all = || {
                let rows = std::hint::black_box(&z).chunks_exact(width);
                rows.zip(out.chunks_exact_mut(width)).for_each(|(z, out)| arm(z, out));
            };
            all();
            group.bench_function(BenchmarkId::from_parameter(name), |b| b.iter(&mut all));
            check_softmax(name, &z[..width], &out[..width]);
        }
        group.finish();
    }
}

fn check_softmax(name: &str, z: &[f32], p: &[f32]) {
    let sum: f64 = z.iter().map(|z| f64::from(*z).exp()).sum();
    for (z, p) in z.iter().zip(p) {
        let want = f64::from(*z).exp() / sum;
        assert!((f64::from(*p) / want - 1.0).abs() < RELATIVE, "{name}: {p} {want}");
    }
}

/// Σ |x| of every row.
pub fn l1_norm(c: &mut Criterion) {
    let arms: [(&str, L1Norm); 3] = [("ibgraph", l1_own), ("rten-vecmath", l1_rten), ("pulp", l1_pulp)];
    for width in WIDTHS {
        let x = values(width);
        let want: f64 = x.iter().map(|x| f64::from(x.abs())).sum();
        let mut group = group(c, "l1", width);
        for (name, arm) in arms {
            let all = || std::hint::black_box(&x).chunks_exact(width).map(arm).sum::<f64>();
            assert!((all() / want - 1.0).abs() < RELATIVE, "{name}");
            group.bench_function(BenchmarkId::from_parameter(name), |b| b.iter(all));
        }
        group.finish();
    }
}

struct Own<'a>(&'a [f32], &'a mut [f32]);

impl Job for Own<'_> {
    #[inline(always)]
    fn run<L: Level>(self) {
        let (highest, _) = rows::highest::<f32, L>(self.0, NOWHERE);
        let sum = rows::exp_sum_into::<f32, L>(self.0, NOWHERE, highest, self.1);
        rows::scale::<f32, L>(self.1, (1.0 / sum) as f32, 0.0);
    }
}

fn softmax_own(z: &[f32], out: &mut [f32]) {
    Isa::detect().run(Own(z, out));
}

struct OwnL1<'a>(&'a [f32], &'a mut f64);

impl Job for OwnL1<'_> {
    #[inline(always)]
    fn run<L: Level>(self) {
        *self.1 = rows::l1::<f32, L>(self.0);
    }
}

fn l1_own(x: &[f32]) -> f64 {
    let mut sum = 0.0;
    Isa::detect().run(OwnL1(x, &mut sum));
    sum
}

fn softmax_rten(z: &[f32], out: &mut [f32]) {
    let length = out.len();
    // SAFETY: the same elements, and `Softmax` writes no element that is not initialised.
    let out = unsafe { std::slice::from_raw_parts_mut(out.as_mut_ptr().cast::<MaybeUninit<f32>>(), length) };
    Softmax::new(z, out).dispatch();
}

fn l1_rten(x: &[f32]) -> f64 {
    f64::from(SumAbs::new(x).dispatch())
}

struct Pulp<'a>(&'a [f32], &'a mut [f32]);

impl WithSimd for Pulp<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (z, z_rest) = S::as_simd_f32s(self.0);
        let (out, out_rest) = S::as_mut_simd_f32s(self.1);
        let top = simd.splat_f32s(max_pulp(simd, z, z_rest));
        let mut sums = [simd.splat_f32s(0.0); 2];
        for (k, (z, out)) in z.iter().zip(out.iter_mut()).enumerate() {
            *out = exp_pulp(simd, simd.sub_f32s(*z, top));
            sums[k % 2] = simd.add_f32s(sums[k % 2], *out);
        }
        let rest = exp_pulp(simd, simd.sub_f32s(simd.partial_load_f32s(z_rest), top));
        simd.partial_store_f32s(out_rest, rest);
        // Once more from there: places beyond the end are 0.
        let rest = simd.partial_load_f32s(out_rest);
        let sum = simd.reduce_sum_f32s(simd.add_f32s(simd.add_f32s(sums[0], sums[1]), rest));
        let factor = simd.splat_f32s(1.0 / sum);
        for out in out {
            *out = simd.mul_f32s(*out, factor);
        }
        simd.partial_store_f32s(out_rest, simd.mul_f32s(rest, factor));
    }
}

#[inline(always)]
fn max_pulp<S: Simd>(simd: S, z: &[S::f32s], rest: &[f32]) -> f32 {
    let mut best = [simd.splat_f32s(f32::NEG_INFINITY); 4];
    let mut blocks = z.chunks_exact(4);
    for block in &mut blocks {
        for (best, z) in best.iter_mut().zip(block) {
            *best = simd.max_f32s(*z, *best);
        }
    }
    for (best, z) in best.iter_mut().zip(blocks.remainder()) {
        *best = simd.max_f32s(*z, *best);
    }
    let [a, b, c, d] = best;
    let best = simd.reduce_max_f32s(simd.max_f32s(simd.max_f32s(a, b), simd.max_f32s(c, d)));
    rest.iter().fold(best, |best, z| if *z > best { *z } else { best })
}

/// e^x as [`ibgraph_ops::math::Real::exp_below`] has it.
#[inline(always)]
fn exp_pulp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let c = |x: f32| simd.splat_f32s(x);
    let shifted = simd.mul_add_e_f32s(x, c(std::f32::consts::LOG2_E), c(12_582_912.0));
    let n = simd.sub_f32s(shifted, c(12_582_912.0));
    let r = simd.mul_add_e_f32s(n, c(-std::f32::consts::LN_2), x);
    let square = simd.mul_f32s(r, r);
    let high = simd.mul_add_e_f32s(c(0.008_312_613), r, c(0.041_890_256));
    let low = simd.mul_add_e_f32s(c(0.166_671_14), r, c(0.499_992_3));
    let p = simd.mul_add_e_f32s(high, square, low);
    let p = simd.mul_add_e_f32s(p, square, simd.add_f32s(r, c(1.0)));
    let power = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    let scaled = simd.transmute_f32s_u32s(simd.add_u32s(simd.transmute_u32s_f32s(p), power));
    simd.select_f32s(simd.less_than_f32s(shifted, c(12_582_912.0 - 125.0)), c(0.0), scaled)
}

fn softmax_pulp(z: &[f32], out: &mut [f32]) {
    Arch::new().dispatch(Pulp(z, out));
}

struct PulpL1<'a>(&'a [f32]);

impl WithSimd for PulpL1<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        let (x, rest) = S::as_simd_f32s(self.0);
        let mut sums = [simd.splat_f32s(0.0); 4];
        let mut blocks = x.chunks_exact(4);
        for block in &mut blocks {
            for (sum, x) in sums.iter_mut().zip(block) {
                *sum = simd.add_f32s(*sum, simd.abs_f32s(*x));
            }
        }
        for (sum, x) in sums.iter_mut().zip(blocks.remainder()) {
            *sum = simd.add_f32s(*sum, simd.abs_f32s(*x));
        }
        let [a, b, c, d] = sums;
        let rest = simd.add_f32s(d, simd.abs_f32s(simd.partial_load_f32s(rest)));
        f64::from(simd.reduce_sum_f32s(simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, rest))))
    }
}

fn l1_pulp(x: &[f32]) -> f64 {
    Arch::new().dispatch(PulpL1(x))
}
