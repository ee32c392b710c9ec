//! Exponential and logarithm without branches and tables.

use crate::simd::{Array, Level, Vector};

/// Elements of a matrix in arithmetic: f32 or f64.
pub trait Real:
    Copy
    + PartialOrd
    + Send
    + Sync
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + 'static
{
    /// 0
    const ZERO: Self;
    /// -∞
    const LOWEST: Self;
    /// Exact or rounded.
    fn from_f64(x: f64) -> Self;
    /// Exact.
    fn to_f64(self) -> f64;
    /// Without its sign.
    fn magnitude(self) -> Self;
    /// self · b + c, rounded once.
    fn fused(self, b: Self, c: Self) -> Self;
    /// self · 2^n with n in the lowest bits of `shifted`, where neither self nor the result is 0, subnormal or infinite.
    fn scaled(self, shifted: Self) -> Self;
    /// e^x for x ≤ 0 and -∞, and anything for NaN; 0 where the result would be below 2^-125.5 (2^-1021.5 for f64), about
    /// the smallest normal number. Relative error below 2 epsilons, and for f32 |x| · 0.023 of an epsilon beyond that.
    fn exp_below<V: Vector<Element = Self>>(x: V) -> V;
    /// The vectors of a level.
    type Vector<L: Level>: Vector<Element = Self>;
}

/// a · b + c, rounded once where that is one instruction
macro_rules! fma {
    ($a:expr, $b:expr, $c:expr) => {
        if FMA { $a.mul_add($b, $c) } else { $a * $b + $c }
    };
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const LOWEST: Self = f32::NEG_INFINITY;

    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        x as f32
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn magnitude(self) -> Self {
        self.abs()
    }

    #[inline(always)]
    fn fused(self, b: Self, c: Self) -> Self {
        self.mul_add(b, c)
    }

    #[inline(always)]
    fn scaled(self, shifted: Self) -> Self {
        f32::from_bits(self.to_bits().wrapping_add(shifted.to_bits() << 23))
    }

    type Vector<L: Level> = L::F32;

    /// e^x = 2^n · e^r with n = round(x / ln 2) and |r| ≤ ln(2)/2. With a fused multiply-add, ln 2 is one f32, which errs by
    /// n · 1.9e-9, that is |x| · 2.7e-9 (a difference of logits is itself rounded, by up to |x| · 6e-8); without, it is taken
    /// off in two parts, the first of which has zeros where n·it would round. e^r = 1 + r + r²·P(r), where P is the minimax
    /// polynomial with the coefficients rounded to f32: 1.1e-7.
    #[inline(always)]
    fn exp_below<V: Vector<Element = f32>>(x: V) -> V {
        // 1.5 · 2^23: adding it leaves the nearest integer in the low bits.
        const ROUND: f32 = 12_582_912.0;
        const LN_2_HIGH: f32 = 355.0 / 512.0;
        const LN_2_LOW: f32 = -2.121_944_4e-4;
        const P: [f32; 4] = [0.499_992_3, 0.166_671_14, 0.041_890_256, 0.008_312_613];
        let shifted = x.mul_add(V::splat(std::f32::consts::LOG2_E), V::splat(ROUND));
        let n = shifted.sub(V::splat(ROUND));
        let r = if V::FMA {
            n.mul_add(V::splat(-std::f32::consts::LN_2), x)
        } else {
            n.mul_add(V::splat(-LN_2_LOW), n.mul_add(V::splat(-LN_2_HIGH), x))
        };
        let [a, b, c, d] = P.map(V::splat);
        let square = r.mul(r);
        let p = d.mul_add(r, c).mul_add(square, b.mul_add(r, a));
        p.mul_add(square, r.add(V::splat(1.0))).scaled(shifted, ROUND - 125.0)
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const LOWEST: Self = f64::NEG_INFINITY;

    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        x
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }

    #[inline(always)]
    fn magnitude(self) -> Self {
        self.abs()
    }

    #[inline(always)]
    fn fused(self, b: Self, c: Self) -> Self {
        self.mul_add(b, c)
    }

    #[inline(always)]
    fn scaled(self, shifted: Self) -> Self {
        f64::from_bits(self.to_bits().wrapping_add(shifted.to_bits() << 52))
    }

    type Vector<L: Level> = L::F64;

    /// As for f32, with the series Σ r^k / k! to k = 13, whose remainder is below 5e-18.
    #[inline(always)]
    fn exp_below<V: Vector<Element = f64>>(x: V) -> V {
        // 1.5 · 2^52
        const ROUND: f64 = 6_755_399_441_055_744.0;
        let shifted = x.mul_add(V::splat(std::f64::consts::LOG2_E), V::splat(ROUND));
        let n = shifted.sub(V::splat(ROUND));
        let r = n.mul_add(V::splat(-LN_2_HIGH), x);
        let r = n.mul_add(V::splat(-LN_2_LOW), r);
        let (r2, r4) = (r.mul(r), r.mul(r).mul(r.mul(r)));
        let pair = |low: f64, high: f64| V::splat(1.0 / high).mul_add(r, V::splat(1.0 / low));
        // 2! to 5!, 6! to 9!, 10! to 13!.
        let first = pair(24.0, 120.0).mul_add(r2, pair(2.0, 6.0));
        let second = pair(40_320.0, 362_880.0).mul_add(r2, pair(720.0, 5_040.0));
        let third = pair(479_001_600.0, 6_227_020_800.0).mul_add(r2, pair(3_628_800.0, 39_916_800.0));
        let p = third.mul_add(r4, second).mul_add(r4, first);
        p.mul_add(r2, r).add(V::splat(1.0)).scaled(shifted, ROUND - 1021.0)
    }
}

/// ln 2 to 33 bits.
const LN_2_HIGH: f64 = f64::from_bits(0x3FE6_2E42_FEE0_0000);
/// ln 2 without [`LN_2_HIGH`]
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// e^x, as [`Real::exp_below`], in a form that the compiler makes vectors of.
#[inline(always)]
pub fn exp_below<M: Real, const FMA: bool>(x: M) -> M {
    M::exp_below(Array::<M, 1, FMA>([x])).0[0]
}

/// k · ln 2 + ln(1 + f) for f in [√½ - 1, √2 - 1]: with s = f / (2 + f), ln(1 + f) = 2 atanh(s) = f - s·(f - R), where
/// R = 2·(s²/3 + s⁴/5 + …); s² < 0.03, and ten terms leave 1e-17.
#[inline(always)]
fn ln_near_one<const FMA: bool>(f: f64, k: f64) -> f64 {
    let s = f / (2.0 + f);
    let z = s * s;
    let (z2, z4) = (z * z, (z * z) * (z * z));
    let pair = |low: f64, high: f64| fma!(2.0 / high, z, 2.0 / low);
    // 3 to 9, 11 to 17, 19 and 21.
    let first = fma!(pair(7.0, 9.0), z2, pair(3.0, 5.0));
    let second = fma!(pair(15.0, 17.0), z2, pair(11.0, 13.0));
    let p = fma!(fma!(pair(19.0, 21.0), z4, second), z4, first);
    let low = fma!(k, LN_2_LOW, f - s * (f - p * z));
    fma!(k, LN_2_HIGH, low)
}

/// ln x for every x: NaN below 0, -∞ at 0. x = 2^k · m with m in [√½, √2].
#[inline(always)]
pub fn ln<const FMA: bool>(x: f64) -> f64 {
    const SUBNORMAL: f64 = 18_014_398_509_481_984.0; // 2^54
    const TWO_52: f64 = 4_503_599_627_370_496.0;
    let small = x < f64::MIN_POSITIVE;
    let scaled = if small { x * SUBNORMAL } else { x };
    let bits = scaled.to_bits();
    // The biased exponent as a float: placed in the low bits of 2^52.
    let exponent = f64::from_bits((bits >> 52) | TWO_52.to_bits()) - (TWO_52 + 1023.0);
    let fraction = f64::from_bits((bits & 0x000F_FFFF_FFFF_FFFF) | 0x3FF0_0000_0000_0000);
    let high = fraction > std::f64::consts::SQRT_2;
    let m = if high { fraction * 0.5 } else { fraction };
    let k = if high { exponent + 1.0 } else { exponent };
    let k = if small { k - 54.0 } else { k };
    let value = ln_near_one::<FMA>(m - 1.0, k);
    let value = if x == f64::INFINITY { x } else { value };
    let value = if x == 0.0 { f64::NEG_INFINITY } else { value };
    if x >= 0.0 { value } else { f64::NAN }
}

/// ln(1 + e) for 0 ≤ e ≤ 1, as [`ln`]: with f = e, or (e - 1) / 2 and one ln 2 more where 1 + e > √2, no digit of e is lost.
#[inline(always)]
pub fn ln_1p<const FMA: bool>(e: f64) -> f64 {
    let high = e > std::f64::consts::SQRT_2 - 1.0;
    let f = if high { 0.5 * (e - 1.0) } else { e };
    let k = if high { 1.0 } else { 0.0 };
    ln_near_one::<FMA>(f, k)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(low: f64, high: f64) -> impl Iterator<Item = f64> {
        let count = if cfg!(miri) { 50 } else { 200_000 };
        (0..=count).map(move |k| low + (high - low) * f64::from(k) / f64::from(count))
    }

    #[test]
    fn exp_is_good_to_two_epsilons() {
        for x in points(-86.9, 0.0) {
            let (x32, want) = (x as f32, f64::from(x as f32).exp());
            for got in [exp_below::<f32, false>(x32), exp_below::<f32, true>(x32)] {
                let bound = (2.0 - 0.023 * x) * f64::from(f32::EPSILON);
                assert!((f64::from(got) / want - 1.0).abs() < bound, "{x32} {got}");
            }
        }
        for x in points(-708.0, 0.0) {
            for got in [exp_below::<f64, false>(x), exp_below::<f64, true>(x)] {
                assert!((got / x.exp() - 1.0).abs() < 2.0 * f64::EPSILON, "{x} {got}");
            }
        }
    }

    #[test]
    fn exp_at_the_ends() {
        for x in [f32::NEG_INFINITY, -1e30, -88.0] {
            assert_eq!(exp_below::<_, false>(x), 0.0);
        }
        assert_eq!(exp_below::<_, false>(0.0_f32), 1.0);
        assert_eq!(exp_below::<_, false>(f64::NEG_INFINITY), 0.0);
        assert_eq!(exp_below::<_, false>(0.0_f64), 1.0);
    }

    #[test]
    fn ln_is_good_to_two_epsilons() {
        let decades = points(-300.0, 300.0).map(|e| 10f64.powf(e));
        for x in points(0.5, 2.0).chain(decades).chain([5e-324, 1e-310, f64::MIN_POSITIVE, f64::MAX]) {
            for got in [ln::<false>(x), ln::<true>(x)] {
                assert!((got - x.ln()).abs() <= 2.0 * f64::EPSILON * x.ln().abs(), "{x} {got} {}", x.ln());
            }
        }
        assert_eq!(ln::<false>(0.0), f64::NEG_INFINITY);
        assert_eq!(ln::<false>(f64::INFINITY), f64::INFINITY);
        assert_eq!(ln::<false>(1.0), 0.0);
        assert!(ln::<false>(-1.0).is_nan() && ln::<false>(f64::NAN).is_nan());
    }

    #[test]
    fn ln_1p_keeps_small_numbers() {
        for x in points(-40.0, 0.0).map(f64::exp).chain([0.0, 1e-300]) {
            assert!((ln_1p::<false>(x) - x.ln_1p()).abs() <= 2.0 * f64::EPSILON * x.ln_1p(), "{x}");
        }
    }
}
