//! The reference against central differences, and against the published formula where that keeps its precision.

use super::*;
use crate::loss::{Interface, Tables, builtin};

fn loss(name: &str, reduction: Reduction) -> Loss {
    let spec = builtin::load(name).unwrap().unwrap();
    smoothed(spec, reduction, None)
}

fn smoothed(mut spec: crate::loss::LossSpec, reduction: Reduction, smoothing: Option<f64>) -> Loss {
    if let Some(value) = smoothing {
        spec.set("label_smoothing", value).unwrap();
    }
    let mut interface = Interface::new(4, &spec);
    interface.reduction = reduction;
    interface.class_weighting = crate::loss::ClassWeighting::Stored;
    let weights = Some(vec![0.5, 1.0, 2.0, 0.25]);
    let tables = Tables::new(&spec, weights, Some(&[500.0, 60.0, 7.0, 1.0]), 4).unwrap();
    Loss::with_tables(spec, interface, tables).unwrap()
}

fn batch() -> Batch {
    Batch {
        logits: vec![
            1.0, -0.5, 0.25, 2.0, //
            -3.0, 4.0, 0.5, 0.0, //
            0.0, 0.0, 0.0, 0.0,
        ],
        labels: vec![0, 1, 3],
        features: vec![0.5, -1.5, 2.0, 0.1, -0.2, 0.3],
        ..Batch::default()
    }
}

/// Central differences at step h err by h² f'''/6 + eps f/h; at h = 1e-5 that is about 1e-10 of the loss's scale, and
/// the losses here have gradients within a factor 1e3 of it.
const CENTRAL_DIFFERENCE: f64 = 1e-6;
const STEP: f64 = 1e-5;

fn check_gradients(loss: &Loss, batch: &Batch) {
    let at = |b: &Batch| evaluate(loss, b).unwrap().loss.iter().sum::<f64>();
    let exact = evaluate(loss, batch).unwrap();
    let check = |values: fn(&mut Batch) -> &mut Vec<f64>, gradient: &[f64]| {
        for (k, got) in gradient.iter().enumerate() {
            let (mut up, mut down) = (batch.clone(), batch.clone());
            values(&mut up)[k] += STEP;
            values(&mut down)[k] -= STEP;
            let slope = (at(&up) - at(&down)) / (2.0 * STEP);
            let scale = gradient.iter().fold(1e-3, |m: f64, g| m.max(g.abs()));
            assert!((got - slope).abs() <= CENTRAL_DIFFERENCE * scale, "{k}: {got} and {slope}");
        }
    };
    check(|b| &mut b.logits, &exact.logits_grad);
    if loss.has_features() {
        check(|b| &mut b.features, &exact.features_grad);
    }
}

#[test]
fn gradients_agree_with_central_differences() {
    for name in builtin::names() {
        for reduction in [Reduction::Mean, Reduction::WeightedMean, Reduction::Sum, Reduction::None] {
            let loss = loss(name, reduction);
            let mut batch = batch();
            if !loss.has_features() {
                batch.features.clear();
            }
            check_gradients(&loss, &batch);
        }
    }
}

#[test]
fn smoothed_gradients_agree_with_central_differences() {
    let spec = builtin::load("cross-entropy").unwrap().unwrap();
    let batch = Batch { features: vec![], ..batch() };
    check_gradients(&smoothed(spec, Reduction::Mean, Some(0.1)), &batch);
}

#[test]
fn label_smoothing_is_cross_entropy_with_a_smoothed_target() {
    // Term by term: -Σ target_j log p_j with target = (1 - s)·onehot + s/C, times the label's weight.
    let spec = builtin::load("cross-entropy").unwrap().unwrap();
    let batch = Batch { features: vec![], ..batch() };
    let got = evaluate(&smoothed(spec, Reduction::None, Some(0.2)), &batch).unwrap();
    for (i, y) in batch.labels.iter().map(|y| *y as usize).enumerate() {
        let z = &batch.logits[4 * i..4 * i + 4];
        let log_sum = z.iter().map(|v| v.exp()).sum::<f64>().ln();
        let target = |j: usize| 0.2 / 4.0 + if j == y { 0.8 } else { 0.0 };
        let want: f64 = z.iter().enumerate().map(|(j, z)| target(j) * (log_sum - z)).sum();
        let want = want * [0.5, 1.0, 2.0, 0.25][y];
        assert!((got.loss[i] - want).abs() < 1e-14, "{} and {want}", got.loss[i]);
    }
}

#[test]
fn adjusted_logits_are_scaled_shifted_and_set_back() {
    // ldam and balanced-softmax from the adjusted logits themselves, by the textbook formula.
    for (name, adjusted) in [
        ("ldam", [30.0 * (1.0 - 0.5 / 500f64.powf(0.25)), -15.0, 7.5, 60.0]),
        ("balanced-softmax", {
            let log_prior = |n: f64| (n / 568.0).ln();
            [1.0 + log_prior(500.0), -0.5 + log_prior(60.0), 0.25 + log_prior(7.0), 2.0 + log_prior(1.0)]
        }),
    ] {
        let batch = Batch { logits: vec![1.0, -0.5, 0.25, 2.0], labels: vec![0], ..Batch::default() };
        let got = evaluate(&loss(name, Reduction::Sum), &batch).unwrap().loss[0];
        let highest = adjusted.iter().fold(f64::MIN, |m, z| m.max(*z));
        let sum: f64 = adjusted.iter().map(|z| (z - highest).exp()).sum();
        let want = 0.5 * (highest + sum.ln() - adjusted[0]);
        assert!((got / want - 1.0).abs() < 1e-13, "{name}: {got} and {want}");
    }
}

#[test]
fn ib_equals_the_published_formula() {
    // Term by term as published: softmax, one-hot, L1 norms, weighted cross entropy.
    let loss = loss("ib", Reduction::Mean);
    let batch = batch();
    let mut total = 0.0;
    for (i, y) in batch.labels.iter().map(|y| *y as usize).enumerate() {
        let z = &batch.logits[4 * i..4 * i + 4];
        let sum: f64 = z.iter().map(|v| v.exp()).sum();
        let p: Vec<f64> = z.iter().map(|v| v.exp() / sum).collect();
        let grads: f64 = p.iter().enumerate().map(|(j, p)| (p - f64::from(u8::from(j == y))).abs()).sum();
        let features: f64 = batch.features[2 * i..2 * i + 2].iter().map(|f| f.abs()).sum();
        let weight = loss.class_weights().unwrap()[y];
        total += weight * -p[y].ln() * 1000.0 / (grads * features + 0.001);
    }
    let got = evaluate(&loss, &batch).unwrap().loss[0];
    assert!((got / (total / 3.0) - 1.0).abs() < 1e-13, "{got}");
}

#[test]
fn a_sure_sample_keeps_its_precision() {
    // u = ln(3) - 60, far below where 1 - p rounds to 0; there IB is nll·α/ε to first order in q.
    let loss = loss("ib", Reduction::Sum);
    let batch =
        Batch { logits: vec![60.0, 0.0, 0.0, 0.0], labels: vec![0], features: vec![1.0], ..Batch::default() };
    let q = 3.0 * (-60f64).exp();
    let got = evaluate(&loss, &batch).unwrap();
    assert!((got.loss[0] / (0.5 * q * 1e6) - 1.0).abs() < 1e-14);
    assert!((got.logits_grad[1] / (0.5 * q * 1e6 / 3.0) - 1.0).abs() < 1e-14);
}

#[test]
fn impossible_others_mean_no_loss_and_no_gradient() {
    let loss = loss("ib", Reduction::Mean);
    let batch = Batch {
        logits: vec![1.0, f64::NEG_INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY],
        labels: vec![0],
        features: vec![1.0],
        ..Batch::default()
    };
    let got = evaluate(&loss, &batch).unwrap();
    assert_eq!(got.loss, [0.0]);
    assert!(got.logits_grad.iter().chain(&got.features_grad).all(|g| *g == 0.0));
}
