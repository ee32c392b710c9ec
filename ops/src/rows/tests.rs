//! Passes at every level that the machine has.

use super::*;
use crate::simd::{Isa, Job};

/// Calls a test for the vectors of every level of this machine.
macro_rules! at_every_level {
    ($test:ident) => {{
        struct Test;
        impl Job for Test {
            #[inline(always)]
            fn run<L: Level>(self) {
                $test::<L>();
            }
        }
        Isa::supported().into_iter().for_each(|isa| isa.run(Test));
    }};
}

#[inline(always)]
fn agree_with_plain_loops<L: Level>() {
    let every: Vec<usize> =
        if cfg!(miri) { vec![0, 1, 7, 9, 17, 131, 267] } else { (0..140).chain([1000, 4099]).collect() };
    for n in every {
        let z: Vec<f32> = (0..n).map(|k| ((k * 7919) % 101) as f32 / 7.0 - 9.0).collect();
        for label in [0, 1, (n * 3) / 7, n.saturating_sub(1), n, NOWHERE] {
            agree_with_a_plain_loop::<L>(&z, label);
        }
    }
}

#[inline(always)]
fn agree_with_a_plain_loop<L: Level>(z: &[f32], label: usize) {
    let all = || z.iter().enumerate().filter(|(k, _)| *k != label).map(|(_, z)| *z);
    let highest = all().fold(f32::NEG_INFINITY, f32::max);
    assert_eq!(super::highest::<f32, L>(z, label), (highest, false));
    let l1_want: f64 = z.iter().map(|x| f64::from(x.abs())).sum();
    assert!((l1::<f32, L>(z) - l1_want).abs() <= 1e-6 * l1_want);
    if highest == f32::NEG_INFINITY {
        // No other class, for which no pass but the maximum is made.
        return;
    }
    let lead_want: f64 = all().map(|x| f64::from(x - highest)).sum();
    assert!((lead::<f32, L>(z, label, highest) - lead_want).abs() <= 1e-6 * lead_want.abs());
    let want: f64 = all().map(|x| f64::from(x - highest).exp()).sum();
    let mut e = vec![f32::NAN; z.len()];
    let got = exp_sum_into::<f32, L>(z, label, highest, &mut e);
    assert!((got - want).abs() <= 1e-6 * want, "{}, {label}: {got} {want}", z.len());
    assert!((exp_sum::<f32, L>(z, label, highest) - want).abs() <= 1e-6 * want);
    let right = |(e, z): (&f32, &f32)| (e / (z - highest).exp() - 1.0).abs() < 1e-6;
    assert!(e.iter().zip(z).enumerate().all(|(k, pair)| if k == label {
        *pair.0 == 0.0
    } else {
        right(pair)
    }));
    let mut away = vec![f32::NAN; z.len()];
    e.fill(3.0);
    scale_away::<f32, L>(&e, 2.0, 1.0, &mut away);
    scale::<f32, L>(&mut e, 2.0, 1.0);
    assert!(e.iter().chain(&away).all(|x| *x == 7.0));
}

#[test]
fn passes_agree_with_plain_loops_at_every_length() {
    at_every_level!(agree_with_plain_loops);
}

#[inline(always)]
fn exponentials<L: Level>() {
    // Through whole vectors and parts of one.
    for n in [5_u32, if cfg!(miri) { 139 } else { 4099 }] {
        let low = |k: u32| -86.9 * k as f32 / n as f32;
        let z: Vec<f32> = (0..n).map(low).collect();
        let mut e = vec![0.0; z.len()];
        exp_sum_into::<f32, L>(&z, NOWHERE, 0.0, &mut e);
        for (e, z) in e.iter().zip(&z) {
            let want = f64::from(*z).exp();
            let bound = (2.0 - 0.023 * f64::from(*z)) * f64::from(f32::EPSILON);
            assert!((f64::from(*e) / want - 1.0).abs() < bound, "{z} {e}");
        }
        let wide: Vec<f64> = z.iter().map(|z| 8.0 * f64::from(*z)).collect();
        let mut e = vec![0.0; z.len()];
        exp_sum_into::<f64, L>(&wide, NOWHERE, 0.0, &mut e);
        for (e, z) in e.iter().zip(&wide) {
            assert!((e / z.exp() - 1.0).abs() < 2.0 * f64::EPSILON, "{z} {e}");
        }
    }
    let ends = [f32::NEG_INFINITY, f32::MIN, -1e30, -1.5e7, -1e6, -88.0, -87.3, 0.0];
    for n in [5, 8, 16] {
        let ends: Vec<f32> = ends.into_iter().cycle().take(n).collect();
        let mut e = vec![9.0; n];
        exp_sum_into::<f32, L>(&ends, NOWHERE, 0.0, &mut e);
        assert!(ends.iter().zip(e).all(|(x, e)| e == if *x == 0.0 { 1.0 } else { 0.0 }));
    }
}

#[test]
fn exponentials_are_good_to_two_epsilons_at_every_level() {
    at_every_level!(exponentials);
}

#[inline(always)]
fn not_a_number<L: Level>() {
    for n in [3, 16, 40, if cfg!(miri) { 17 } else { 1000 }] {
        for at in 0..n {
            let mut z = vec![1.0_f32; n];
            z[at] = f32::from_bits(if at % 2 == 0 { 0x7FC0_0001 } else { 0xFFC0_0000 });
            assert_eq!(super::highest::<f32, L>(&z, NOWHERE), (1.0, true), "{at} of {n}");
            assert_eq!(super::highest::<f32, L>(&z, at), (1.0, false), "{at} of {n}");
            let wide: Vec<f64> = z.iter().map(|x| f64::from(*x)).collect();
            assert_eq!(super::highest::<f64, L>(&wide, NOWHERE), (1.0, true), "{at} of {n}");
        }
    }
}

#[test]
fn nan_is_found_wherever_it_is() {
    at_every_level!(not_a_number);
}

fn zero_for_nan(x: f64) -> f64 {
    if x.is_nan() { 0.0 } else { x }
}

#[inline(always)]
fn signs<L: Level>() {
    for away in [false, true] {
        // As many as a vector of every level has, and then some.
        let values = [2.0, -3.0, 0.0, -0.0, f64::NAN, 2.0, -1e-310, 0.0, 1.0, 5.0, -7.0];
        let mut out = [9.0; 11];
        signed::<_, L>(&values[..4], 5.0, &mut out[..4], false, away);
        assert_eq!(out[..4], [5.0, -5.0, 0.0, 0.0]);
        signed::<_, L>(&values[5..], f64::INFINITY, &mut out[5..], false, away);
        assert_eq!(out[5..], [5.0, -5.0, 0.0, 5.0, 5.0, -5.0].map(|x| x * f64::INFINITY).map(zero_for_nan));
        signed::<_, L>(&values, 5.0, &mut out, true, away);
        assert_eq!(out[..4], [5.0, -5.0, 0.0, 0.0]);
        assert!(out[4].is_nan());
        assert_eq!(out[5..], [5.0, -5.0, 0.0, 5.0, 5.0, -5.0]);
        signed::<_, L>(&[1.0, 0.0], f64::INFINITY, &mut out[..2], true, away);
        assert_eq!(out[..2], [f64::INFINITY, 0.0]);
        signed::<_, L>(&[1.0, -1.0, 0.0], f64::NAN, &mut out[..3], false, away);
        assert!(out[..3].iter().all(|x| x.is_nan()));
    }
}

#[test]
fn signs_of_what_is_not_finite() {
    at_every_level!(signs);
}

#[test]
fn saturation_keeps_nan() {
    let mut values = [1e9, -1e9, f32::INFINITY, 3.0, f32::NAN];
    saturate(&mut values, 65504.0);
    assert_eq!(values[..4], [65504.0, -65504.0, 65504.0, 3.0]);
    assert!(values[4].is_nan());
}
