//! Every method of the vectors of every level that the machine has, lane by lane, against what it is said to do.

use super::*;

/// Numbers that instructions may treat apart. 1e-40 is subnormal in f32, 1e-310 in f64.
const APART: [f64; 13] = [
    0.0,
    -0.0,
    1.5,
    -2.25,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
    1e-40,
    -1e-310,
    3e38,
    -7.0,
    0.1,
    -f64::NAN,
];

/// Each of these numbers is in each lane for one of as many turns.
fn turned<V: Vector>(turn: usize) -> Vec<V::Element> {
    (0..V::LEN).map(|k| V::Element::from_f64(APART[(k + turn) % APART.len()])).collect()
}

/// Turns of two operands: all, so that each number meets each other one in each lane; some for Miri, which is slow.
fn pairs() -> impl Iterator<Item = (usize, usize)> {
    let step = if cfg!(miri) { 5 } else { 1 };
    (0..APART.len()).step_by(step).flat_map(move |s| (0..APART.len()).step_by(step).map(move |t| (s, t)))
}

fn lanes<V: Vector>(vector: V) -> Vec<f64> {
    let mut lanes = vec![V::Element::ZERO; V::LEN];
    vector.store(&mut lanes);
    lanes.into_iter().map(Real::to_f64).collect()
}

/// The same number, or NaN both; zeros of both signs are one number.
fn equal(a: f64, b: f64) -> bool {
    a == b || a.is_nan() && b.is_nan()
}

/// As [`equal`], but zeros have signs.
fn same(a: f64, b: f64) -> bool {
    equal(a, b) && (a.is_nan() || a.is_sign_negative() == b.is_sign_negative())
}

fn assert_lanes<V: Vector>(got: V, what: &str, right: impl Fn(usize, f64) -> bool) {
    for (k, lane) in lanes(got).into_iter().enumerate() {
        assert!(right(k, lane), "{what} of {}: {lane} in lane {k}", std::any::type_name::<V>());
    }
}

#[inline(always)]
fn arithmetic<V: Vector>() {
    for (s, t) in pairs() {
        let (x, y, z) = (turned::<V>(s), turned::<V>(t), turned::<V>(s + 2 * t + 1));
        let (a, b, c) = (V::load(&x), V::load(&y), V::load(&z));
        assert_lanes(a.add(b), "add", |k, got| same(got, (x[k] + y[k]).to_f64()));
        assert_lanes(a.sub(b), "sub", |k, got| same(got, (x[k] - y[k]).to_f64()));
        assert_lanes(a.mul(b), "mul", |k, got| same(got, (x[k] * y[k]).to_f64()));
        let fused = |k: usize| if V::FMA { x[k].fused(y[k], z[k]) } else { x[k] * y[k] + z[k] };
        assert_lanes(a.mul_add(b, c), "mul_add", |k, got| same(got, fused(k).to_f64()));
    }
    // What is rounded once: (1 + 3e)(1 - 3e) - 1 = -9e²
    let e = if size_of::<V::Element>() == 4 { 2_f64.powi(-13) } else { 2_f64.powi(-30) };
    let [a, b, c] = [1.0 + 3.0 * e, 1.0 - 3.0 * e, -1.0].map(|x| V::splat(V::Element::from_f64(x)));
    let want = if V::FMA { -9.0 * e * e } else { lanes(a.mul(b).add(c))[0] };
    assert_lanes(a.mul_add(b, c), "mul_add", |_, got| got == want);
}

#[inline(always)]
fn choices<V: Vector>() {
    for (s, t) in pairs() {
        let (x, y) = (turned::<V>(s), turned::<V>(t));
        let (a, b) = (V::load(&x), V::load(&y));
        let (x, y) = (lanes(a), lanes(b));
        assert_lanes(a.max(b), "max", |k, got| equal(got, if x[k] > y[k] { x[k] } else { y[k] }));
        assert_lanes(a.magnitude(), "magnitude", |k, got| same(got, x[k].abs()));
        let (one, two) = (V::splat(V::Element::from_f64(1.0)), V::splat(V::Element::from_f64(2.0)));
        let above = |k: usize| if x[k] > y[k] { 1.0 } else { 2.0 };
        assert_lanes(a.select_above(b, one, two), "select_above", |k, got| got == above(k));
        assert_lanes(a.times_sign_of(b), "times_sign_of", |k, got| match y[k].partial_cmp(&0.0) {
            Some(std::cmp::Ordering::Greater) => equal(got, x[k]),
            Some(std::cmp::Ordering::Less) => equal(got, -x[k]),
            Some(std::cmp::Ordering::Equal) => got == 0.0,
            None => true,
        });
        assert_lanes(a.or_nan_of(b), "or_nan_of", |k, got| got.is_nan() == (x[k].is_nan() || y[k].is_nan()));
        assert_eq!(a.has_nan(), x.iter().any(|x| x.is_nan()));
    }
}

/// Whole vectors and parts of them; what is beyond a part stays.
#[inline(always)]
fn memory<V: Vector>() {
    let number = |k: usize| V::Element::from_f64(k as f64 + 1.0);
    let from: Vec<V::Element> = (0..V::LEN).map(number).collect();
    let whole = V::load(&from);
    assert_lanes(whole, "load", |k, got| got == k as f64 + 1.0);
    for n in 0..V::LEN {
        let part = V::load_part(&from[..n], number(98));
        assert_lanes(part, "load_part", |k, got| got == if k < n { k as f64 + 1.0 } else { 99.0 });
        let mut to = vec![number(98); V::LEN];
        whole.store_part(&mut to[..n]);
        assert_lanes(V::load(&to), "store_part", |k, got| got == if k < n { k as f64 + 1.0 } else { 99.0 });
    }
    let mut to = vec![V::Element::ZERO; 2 * V::LEN];
    let start = to.as_ptr().align_offset(size_of::<V::Element>() * V::LEN);
    whole.stream(&mut to[start..]);
    fence();
    assert_lanes(V::load(&to[start..]), "stream", |k, got| got == k as f64 + 1.0);
}

#[inline(always)]
fn single_lanes<V: Vector>() {
    let number = |k: usize| V::Element::from_f64(k as f64 + 1.0);
    let whole = V::load(&(0..V::LEN).map(number).collect::<Vec<_>>());
    for lane in (0..=V::LEN).chain([usize::MAX]) {
        let got = whole.replaced(lane, number(98));
        assert_lanes(got, "replaced", |k, got| got == if k == lane { 99.0 } else { k as f64 + 1.0 });
    }
    for count in 0..=V::LEN {
        let got = whole.replaced_first(count, number(98));
        assert_lanes(got, "replaced_first", |k, got| got == if k < count { 99.0 } else { k as f64 + 1.0 });
    }
    for lane in 0..V::LEN {
        for (low, high) in [(-3.0, -2.0), (3.0, f64::INFINITY), (f64::NEG_INFINITY, -1e30)] {
            let got = V::splat(V::Element::from_f64(low)).replaced(lane, V::Element::from_f64(high));
            assert_eq!(
                got.max_across().to_f64(),
                V::Element::from_f64(high).to_f64(),
                "lane {lane} in {}",
                V::LEN
            );
        }
        let nan = V::splat(V::Element::ZERO).replaced(lane, V::Element::from_f64(f64::NAN));
        assert!(nan.has_nan(), "lane {lane} in {}", V::LEN);
    }
    // No lane's share of Σ 3^k can be another's, and all are exact; 2^24 + 1 is not, unless widened first.
    let powers: Vec<f64> = (0..V::LEN).map(|k| 3_f64.powi(k as i32)).collect();
    let vector = V::load(&powers.iter().map(|x| V::Element::from_f64(*x)).collect::<Vec<_>>());
    assert_eq!(vector.sum_across(), powers.iter().sum::<f64>());
    let wide = V::splat(number(0)).replaced(0, V::Element::from_f64(16_777_216.0));
    assert_eq!(wide.sum_across(), 16_777_215.0 + V::LEN as f64);
}

#[inline(always)]
fn scales<V: Vector>() {
    // 1.5 · 2^23, or 1.5 · 2^52: integers are the low bits of what is near.
    let middle = if size_of::<V::Element>() == 4 { 12_582_912.0 } else { 6_755_399_441_055_744.0 };
    let least = -100;
    for first in [-125, -101, -99, -7, 0, 9] {
        let power = |k: usize| first + k as i32 % 16;
        let shifted: Vec<V::Element> =
            (0..V::LEN).map(|k| V::Element::from_f64(middle + f64::from(power(k)))).collect();
        let got = V::splat(V::Element::from_f64(1.25))
            .scaled(V::load(&shifted), V::Element::from_f64(middle + f64::from(least)));
        let want = |k: usize| if power(k) < least { 0.0 } else { 1.25 * 2_f64.powi(power(k)) };
        assert_lanes(got, "scaled", |k, got| same(got, want(k)));
    }
    for below in [f64::NEG_INFINITY, -1e30, -1.0, 0.0, 1e-40] {
        let got = V::splat(V::Element::from_f64(1.25))
            .scaled(V::splat(V::Element::from_f64(below)), V::Element::from_f64(middle));
        assert_lanes(got, "scaled", |_, got| got == 0.0);
    }
}

#[inline(always)]
fn vector<V: Vector>() {
    arithmetic::<V>();
    choices::<V>();
    memory::<V>();
    single_lanes::<V>();
    scales::<V>();
}

struct EveryMethod;

impl Job for EveryMethod {
    #[inline(always)]
    fn run<L: Level>(self) {
        vector::<L::F32>();
        vector::<L::F64>();
    }
}

#[test]
fn every_method_of_every_vector_does_what_it_says_in_each_lane() {
    for isa in Isa::supported() {
        isa.run(EveryMethod);
    }
    vector::<Array<f32, 1, true>>();
    vector::<Array<f64, 1, true>>();
}
