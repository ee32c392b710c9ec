//! Passes over a part of a row.
//!
//! Each works on arrays of `LANES` elements, which the compiler keeps in vector registers. Sums are added up in lanes
//! over at most `GROUP` arrays, and from there in float64, so that long rows lose no digits.

use crate::math::Real;

/// Elements that are worked on together: an AVX-512 register of f32.
const LANES: usize = 16;
/// Arrays that are added up in the element type, on two accumulators or one: 64 terms err by about 64^½ · 2^-25, 2.4e-7.
const GROUP: usize = 64;

/// `rest` at the front of an array of `fill`.
#[inline(always)]
fn padded<M: Real>(rest: &[M], fill: M) -> [M; LANES] {
    let mut array = [fill; LANES];
    array[..rest.len()].copy_from_slice(rest);
    array
}

/// The largest element; -∞ for none. NaN is passed over.
#[inline(always)]
pub fn max<M: Real>(z: &[M]) -> M {
    let mut best = [M::LOWEST; LANES];
    let (blocks, rest) = z.as_chunks::<LANES>();
    for block in blocks {
        larger(&mut best, block);
    }
    if !rest.is_empty() {
        larger(&mut best, &padded(rest, M::LOWEST));
    }
    let mut width = LANES / 2;
    while width > 0 {
        for l in 0..width {
            best[l] = if best[l + width] > best[l] { best[l + width] } else { best[l] };
        }
        width /= 2;
    }
    best[0]
}

#[inline(always)]
fn larger<M: Real>(best: &mut [M; LANES], block: &[M; LANES]) {
    for (b, x) in best.iter_mut().zip(block) {
        *b = if *x > *b { *x } else { *b };
    }
}

/// Σ f(x) over a slice, in lanes and then in float64. `f` makes 0 of `nothing`.
#[inline(always)]
fn sum<M: Real>(values: &[M], nothing: M, f: impl Fn(M) -> M) -> f64 {
    let (blocks, rest) = values.as_chunks::<LANES>();
    let mut total = 0.0;
    for group in blocks.chunks(GROUP) {
        // Two accumulators, so that one addition need not wait for the last.
        let (pairs, last) = group.as_chunks::<2>();
        let (mut even, mut odd) = ([M::ZERO; LANES], [M::ZERO; LANES]);
        for [a, b] in pairs {
            for l in 0..LANES {
                even[l] = even[l] + f(a[l]);
            }
            for l in 0..LANES {
                odd[l] = odd[l] + f(b[l]);
            }
        }
        for block in last {
            for l in 0..LANES {
                even[l] = even[l] + f(block[l]);
            }
        }
        total += across(&even) + across(&odd);
    }
    if !rest.is_empty() {
        let mut terms = padded(rest, nothing);
        for term in &mut terms {
            *term = f(*term);
        }
        total += across(&terms);
    }
    total
}

#[inline(always)]
fn across<M: Real>(lanes: &[M; LANES]) -> f64 {
    let mut wide = [0.0; LANES];
    for (w, lane) in wide.iter_mut().zip(lanes) {
        *w = lane.to_f64();
    }
    let mut width = LANES / 2;
    while width > 0 {
        for l in 0..width {
            wide[l] += wide[l + width];
        }
        width /= 2;
    }
    wide[0]
}

/// Σ |x|
#[inline(always)]
pub fn l1<M: Real>(values: &[M]) -> f64 {
    sum(values, M::ZERO, M::magnitude)
}

/// Σ (x - highest)
#[inline(always)]
pub fn lead<M: Real>(values: &[M], highest: M) -> f64 {
    sum(values, highest, |x| x - highest)
}

/// Σ e^(z - highest)
#[inline(always)]
pub fn exp_sum<M: Real, const FMA: bool>(z: &[M], highest: M) -> f64 {
    sum(z, M::LOWEST, |x| (x - highest).exp_below::<FMA>())
}

/// Σ e^(z - highest), with the terms kept in `e`, which is as long as `z`.
#[inline(always)]
pub fn exp_sum_into<M: Real, const FMA: bool>(z: &[M], highest: M, e: &mut [M]) -> f64 {
    let (blocks, rest) = z.as_chunks::<LANES>();
    let (outs, out_rest) = e.as_chunks_mut::<LANES>();
    let mut total = 0.0;
    for (group, outs) in blocks.chunks(GROUP).zip(outs.chunks_mut(GROUP)) {
        let mut lanes = [M::ZERO; LANES];
        for (block, out) in group.iter().zip(outs) {
            for ((x, o), lane) in block.iter().zip(out).zip(&mut lanes) {
                let term = (*x - highest).exp_below::<FMA>();
                *o = term;
                *lane = *lane + term;
            }
        }
        total += across(&lanes);
    }
    if !rest.is_empty() {
        let mut terms = padded(rest, M::LOWEST);
        for term in &mut terms {
            *term = (*term - highest).exp_below::<FMA>();
        }
        out_rest.copy_from_slice(&terms[..rest.len()]);
        total += across(&terms);
    }
    total
}

/// e · factor + shift, in place.
#[inline(always)]
pub fn scale<M: Real>(e: &mut [M], factor: M, shift: M) {
    for x in e {
        *x = *x * factor + shift;
    }
}

/// (z - highest) · scale + bias
#[inline(always)]
pub fn adjust<M: Real>(z: &[M], highest: M, scale: M, bias: Option<&[M]>, to: &mut [M]) {
    for (t, x) in to.iter_mut().zip(z) {
        *t = (*x - highest) * scale;
    }
    if let Some(bias) = bias {
        for (t, b) in to.iter_mut().zip(bias) {
            *t = *t + *b;
        }
    }
}

/// sign(x) · slope. The sign of NaN is NaN, and so is everything times NaN; 0 times infinity is 0, its limit.
#[inline(always)]
pub fn signed<M: Real>(values: &[M], slope: M, to: &mut [M]) {
    let negative = M::ZERO - slope;
    let nan = slope.partial_cmp(&slope).is_none();
    let nothing = if nan { slope } else { M::ZERO };
    for (t, x) in to.iter_mut().zip(values) {
        let below = if *x < M::ZERO { negative } else { *x + nothing };
        *t = if *x > M::ZERO { slope } else { below };
    }
}

/// Bounds every element by ±`largest`; NaN stays.
#[inline(always)]
pub fn saturate<M: Real>(values: &mut [M], largest: M) {
    let smallest = M::ZERO - largest;
    for x in values {
        let bounded = if *x > largest { largest } else { *x };
        *x = if bounded < smallest { smallest } else { bounded };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_agree_with_plain_loops_at_every_length() {
        for n in (0..140).chain([1000, 4099]) {
            let z: Vec<f32> = (0..n).map(|k| ((k * 7919) % 101) as f32 / 7.0 - 9.0).collect();
            let highest = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert_eq!(max(&z), highest);
            let l1_want: f64 = z.iter().map(|x| f64::from(x.abs())).sum();
            assert!((l1(&z) - l1_want).abs() <= 1e-6 * l1_want);
            let want: f64 = z.iter().map(|x| f64::from(x - highest).exp()).sum();
            let mut e = vec![f32::NAN; n];
            let got = exp_sum_into::<f32, false>(&z, highest, &mut e);
            assert!((got - want).abs() <= 1e-6 * want, "{n}: {got} {want}");
            assert!((exp_sum::<f32, false>(&z, highest) - want).abs() <= 1e-6 * want);
            assert!(e.iter().zip(&z).all(|(e, z)| (e / (z - highest).exp() - 1.0).abs() < 1e-6));
        }
    }

    #[test]
    fn signs_of_what_is_not_finite() {
        let mut out = [9.0; 5];
        signed(&[2.0, -3.0, 0.0, -0.0, f64::NAN], 5.0, &mut out);
        assert_eq!(out[..4], [5.0, -5.0, 0.0, 0.0]);
        assert!(out[4].is_nan());
        signed(&[1.0, 0.0], f64::INFINITY, &mut out[..2]);
        assert_eq!(out[..2], [f64::INFINITY, 0.0]);
        signed(&[1.0, -1.0, 0.0], f64::NAN, &mut out[..3]);
        assert!(out[..3].iter().all(|x| x.is_nan()));
    }

    #[test]
    fn saturation_keeps_nan() {
        let mut values = [1e9, -1e9, f32::INFINITY, 3.0, f32::NAN];
        saturate(&mut values, 65504.0);
        assert_eq!(values[..4], [65504.0, -65504.0, 65504.0, 3.0]);
        assert!(values[4].is_nan());
    }
}
