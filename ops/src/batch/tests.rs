//! Batches against the textbook formulas in float64, on every instruction set, and divided in every way.

mod single;

use half::{bf16, f16};

use super::*;
use crate::descriptor::parse;

/// Relative error of float32 results: a few roundings of 2^-24 in the exponential and the sums.
const FLOAT32: f64 = 5e-7;
const FLOAT64: f64 = 1e-13;

/// Threads that are made for each call.
struct Threads;

impl Pool for Threads {
    fn for_each(&self, count: usize, work: &(dyn Fn(usize) + Sync)) -> Result<(), BatchError> {
        std::thread::scope(|scope| {
            for thread in 0..3 {
                scope.spawn(move || (thread..count).step_by(3).for_each(work));
            }
        });
        Ok(())
    }
}

fn cross_entropy(classes: usize, extra: &str) -> Descriptor {
    let head =
        format!("ibgraph-loss 1\nclasses {classes}\ninputs logits labels\noutputs loss logits_grad 0\n");
    parse(&(head + extra + "reduction mean\nnll\ncount\ndiv 0 1\nq\ndiv 3 1\non share=2 others=4\n")).unwrap()
}

struct Results<T: Element> {
    loss: f64,
    grad: Vec<T>,
    rows: Vec<T::Matrix>,
}

/// A batch without tables and parameters.
fn batch<'a, T>(logits: &'a [T], labels: &'a [i64], features: &'a [T]) -> Inputs<'a, T> {
    Inputs {
        rows: labels.len(),
        logits,
        labels: Labels::I64(labels),
        features,
        loss_grad: None,
        class_weights: None,
        logit_bias: None,
        label_margin: None,
        enabled: true,
        parameters: Vec::new(),
    }
}

fn compute<T: Element>(
    loss: &Descriptor,
    logits: &[T],
    labels: &[i64],
    pool: &dyn Pool,
    isa: Isa,
) -> Result<Results<T>, BatchError> {
    let zero = T::Matrix::ZERO;
    let (mut total, mut rows) = (vec![zero], vec![zero; labels.len()]);
    let mut grad = logits.to_vec();
    let inputs = batch(logits, labels, &[]);
    let outputs = Outputs {
        loss: Some(&mut total),
        logits_grad: Some(&mut grad),
        features_grad: None,
        row_loss: None,
        entries: vec![&mut rows],
    };
    run(loss, &inputs, outputs, pool, isa)?;
    Ok(Results { loss: total[0].to_f64(), grad, rows })
}

fn logits(count: usize) -> Vec<f64> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / (1_u64 << 24) as f64
    };
    (0..count).map(|_| f64::from((8.0 * next() - 4.0) as f32)).collect()
}

/// Mean cross entropy and its gradient: p - onehot, over N.
fn textbook(logits: &[f64], labels: &[i64], classes: usize) -> (f64, Vec<f64>) {
    let (mut total, mut grad) = (0.0, Vec::new());
    for (row, label) in logits.chunks(classes).zip(labels) {
        let sum: f64 = row.iter().map(|z| z.exp()).sum();
        total += sum.ln() - row[*label as usize];
        let n = labels.len() as f64;
        grad.extend(row.iter().enumerate().map(|(j, z)| {
            let onehot = f64::from(u8::from(j as i64 == *label));
            (z.exp() / sum - onehot) / n
        }));
    }
    (total / labels.len() as f64, grad)
}

fn assert_close(got: impl Iterator<Item = f64>, want: &[f64], tolerance: f64, what: &str) {
    let norm = |values: &[f64]| values.iter().map(|x| x * x).sum::<f64>().sqrt();
    let difference: Vec<f64> = got.zip(want).map(|(g, w)| g - w).collect();
    assert_eq!(difference.len(), want.len());
    let error = norm(&difference) / norm(want);
    assert!(error <= tolerance, "{what}: {error:e}");
}

#[test]
fn every_division_and_instruction_set_agrees_with_the_textbook() {
    // Rows shorter and longer than an array of lanes, than a part, and few rows long enough to be divided within.
    let shapes = if cfg!(miri) {
        vec![(3, 5), (36, 2), (3, 25), (17, 40), (2, 70)]
    } else {
        vec![(1, 2), (40, 3), (33, 31), (33, 33), (700, 100), (3, 4096), (5, 9000), (2, 70_000), (17, 33_000)]
    };
    for (n, classes) in shapes {
        let z = logits(n * classes);
        let labels: Vec<i64> = (0..n).map(|i| ((i * 7919) % classes) as i64).collect();
        let (want, grad) = textbook(&z, &labels, classes);
        let loss = cross_entropy(classes, "");
        let single: Vec<f32> = z.iter().map(|x| *x as f32).collect();
        for isa in Isa::supported() {
            let what = format!("{n} x {classes} {isa:?}");
            let got = compute(&loss, &single, &labels, &Threads, isa).unwrap();
            assert!((got.loss - want).abs() <= FLOAT32 * want.abs(), "{what}: {} {want}", got.loss);
            assert_close(got.grad.iter().map(|x| f64::from(*x)), &grad, FLOAT32, &what);
            let got = compute(&loss, &z, &labels, &Threads, isa).unwrap();
            assert!((got.loss - want).abs() <= FLOAT64 * want.abs(), "{what}: {} {want}", got.loss);
            assert_close(got.grad.iter().copied(), &grad, FLOAT64, &what);
        }
    }
}

#[test]
fn a_single_class_is_certain() {
    let got = compute(&cross_entropy(1, ""), &[3.0_f32, -1e30], &[0, 0], &Serial, Isa::detect()).unwrap();
    assert_eq!((got.loss, got.grad, got.rows), (0.0, vec![0.0; 2], vec![0.0; 2]));
}

#[test]
fn results_do_not_depend_on_threads() {
    let shapes = if cfg!(miri) { [(36, 5), (2, 70)] } else { [(300, 40), (2, 40_000)] };
    for (n, classes) in shapes {
        let z: Vec<f32> = logits(n * classes).iter().map(|x| *x as f32).collect();
        let labels: Vec<i64> = (0..n).map(|i| (i % classes) as i64).collect();
        let loss = cross_entropy(classes, "");
        let [a, b] = [&Serial as &dyn Pool, &Threads]
            .map(|pool| compute(&loss, &z, &labels, pool, Isa::detect()).unwrap());
        assert_eq!((a.loss, a.grad, a.rows), (b.loss, b.grad, b.rows));
    }
}

#[test]
fn half_types_round_what_float32_computes() {
    let shapes = if cfg!(miri) { [(5, 20), (2, 70)] } else { [(5, 70), (2, 33_000)] };
    for (n, classes) in shapes {
        let labels: Vec<i64> = (0..n as i64).collect();
        let loss = cross_entropy(classes, "");
        let half: Vec<f16> = logits(n * classes).iter().map(|x| f16::from_f64(*x)).collect();
        let wide: Vec<f32> = half.iter().map(|x| x.to_f32()).collect();
        let got = compute(&loss, &half, &labels, &Serial, Isa::detect()).unwrap();
        let want = compute(&loss, &wide, &labels, &Serial, Isa::detect()).unwrap();
        assert_eq!(got.loss, want.loss);
        assert!(got.grad.iter().zip(&want.grad).all(|(g, w)| *g == f16::from_f32(*w)));
        let half: Vec<bf16> = half.iter().map(|x| bf16::from_f32(x.to_f32())).collect();
        let wide: Vec<f32> = half.iter().map(|x| x.to_f32()).collect();
        let got = compute(&loss, &half, &labels, &Serial, Isa::detect()).unwrap();
        let want = compute(&loss, &wide, &labels, &Serial, Isa::detect()).unwrap();
        assert!(got.grad.iter().zip(&want.grad).all(|(g, w)| *g == bf16::from_f32(*w)));
    }
}

#[test]
fn what_is_not_finite_stays_in_its_row() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let rows = [
        [1.0, nan, 2.0],
        [1.0, 2.0, 3.0],
        [-inf, 5.0, -inf],
        [inf, 0.0, 1.0],
        [1.0, 0.0, inf],
        [nan, 0.0, 0.0],
        [-inf, -inf, -inf],
        [-inf, nan, -inf],
    ];
    let (z, labels) = (rows.concat(), [0, 1, 1, 1, 2, 0, 1, 1]);
    let loss = cross_entropy(3, "");
    for isa in Isa::supported() {
        let got = compute(&loss, &z, &labels, &Serial, isa).unwrap();
        assert!(got.loss.is_nan());
        // NaN anywhere: NaN. Another class at +inf, or every class at -inf: NaN, as PyTorch.
        for row in [0, 3, 5, 6, 7] {
            assert!(
                got.rows[row].is_nan() && got.grad[3 * row..3 * row + 3].iter().all(|x| x.is_nan()),
                "{row}"
            );
        }
        assert!((got.rows[1] - 1.407_606).abs() < 1e-6);
        // Every other class impossible, or the label certain: no loss and no gradient.
        for row in [2, 4] {
            assert_eq!(got.rows[row], 0.0);
            assert!(got.grad[3 * row..3 * row + 3].iter().all(|x| *x == 0.0), "{row}");
        }
    }
}

#[test]
fn subnormal_logits_are_zeros_to_softmax() {
    let loss = cross_entropy(4, "");
    let got = compute(&loss, &[1e-40_f32, -1e-42, 0.0, 1e-45], &[3], &Serial, Isa::detect()).unwrap();
    assert!((got.loss - 4_f64.ln()).abs() < 1e-7);
    assert!((f64::from(got.grad[3]) + 0.75).abs() < 1e-7);
}

#[test]
fn ignored_rows_are_zeros_whatever_they_hold() {
    let loss = cross_entropy(3, "ignore -100\n");
    let z = [f32::NAN, f32::NAN, f32::INFINITY, 1.0, 2.0, 3.0];
    let got = compute(&loss, &z, &[-100, 2], &Serial, Isa::detect()).unwrap();
    assert_eq!(got.grad[..3], [0.0; 3]);
    assert!((got.loss - 0.407_605_964).abs() < 1e-6);
    let nothing = compute(&loss, &z, &[-100, -100], &Serial, Isa::detect()).unwrap();
    assert!(nothing.loss.is_nan() && nothing.grad == [0.0; 6]);
}

#[test]
fn labels_out_of_range_are_errors_or_nan_rows() {
    let z = [0.0_f32; 6];
    let error = compute(&cross_entropy(3, ""), &z, &[0, 3], &Serial, Isa::detect()).err().unwrap();
    assert_eq!(error.0, "row 1: the label is 3, and the classes are 0 to 2");
    let got = compute(&cross_entropy(3, "check_labels\n"), &z, &[0, 3], &Serial, Isa::detect()).unwrap();
    assert!(got.loss.is_nan() && got.grad[3..].iter().all(|x| x.is_nan()));
    assert!((f64::from(got.grad[1]) - 1.0 / 6.0).abs() < 1e-7);
}

#[test]
fn sizes_that_do_not_fit_are_errors() {
    let loss = cross_entropy(3, "");
    let error = compute(&loss, &[0.0_f32; 5], &[0, 1], &Serial, Isa::detect()).err().unwrap();
    assert_eq!(error.0, "logits have 5 elements, not 2 rows of 3 classes");
    let empty = compute::<f32>(&loss, &[], &[], &Serial, Isa::detect()).unwrap();
    assert!(empty.loss.is_nan() && empty.grad.is_empty());
    let sum = Descriptor { reduction: Reduction::Sum, ..loss };
    let empty = compute::<f32>(&sum, &[], &[], &Serial, Isa::detect()).unwrap();
    assert_eq!(empty.loss.to_bits(), 0.0_f64.to_bits());
}

#[test]
fn many_equal_terms_after_a_large_one_lose_no_digits() {
    // A lane that holds the 1 of the maximum rounds all of the terms that follow in the same direction.
    for classes in if cfg!(miri) { vec![40] } else { vec![130, 1000, 2200, 4096, 9000] } {
        let mut z = vec![f64::from(-12.922_f32); classes];
        z[0] = 0.0;
        let label = classes / 2 - 3;
        let (want, grad) = textbook(&z, &[label as i64], classes);
        let single: Vec<f32> = z.iter().map(|x| *x as f32).collect();
        for isa in Isa::supported() {
            let what = format!("{classes} {isa:?}");
            let got = compute(&cross_entropy(classes, ""), &single, &[label as i64], &Serial, isa).unwrap();
            assert!((got.loss - want).abs() <= 1e-6 * want, "{what}: {} {want}", got.loss);
            assert_close(got.grad.iter().map(|x| f64::from(*x)), &grad, 1e-6, &what);
        }
    }
}

#[test]
fn a_norm_that_is_given_has_its_gradient_also_where_the_program_does_not_read_it() {
    let text = "ibgraph-loss 1\nclasses 2\ninputs logits labels features\noutputs loss logits_grad features_grad\n\
                reduction mean\nfeatures norm\nnll\nq\nconst 0.5\non share=0 others=1 by_norm=2\n";
    let loss = parse(text).unwrap();
    let (mut total, mut z_grad, mut h_grad) = (vec![9.0_f32], vec![9.0_f32; 4], vec![9.0_f32; 2]);
    let inputs = batch(&[0.0, 1.0, 2.0, 3.0], &[0, 1], &[3.0, 4.0]);
    let outputs = Outputs {
        loss: Some(&mut total),
        logits_grad: Some(&mut z_grad),
        features_grad: Some(&mut h_grad),
        row_loss: None,
        entries: Vec::new(),
    };
    run(&loss, &inputs, outputs, &Serial, Isa::detect()).unwrap();
    assert_eq!(h_grad, [0.5, 0.5]);
}
