//! Exponential and logarithm in a form that the compiler makes vectors of: no branches, no tables.

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
    /// e^x for x ≤ 0, -∞ and NaN; 0 where the result would be subnormal. Relative error below 2 roundings.
    fn exp_below<const FMA: bool>(self) -> Self;
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

    /// e^x = 2^n · e^r with n = round(x / ln 2) and |r| ≤ ln(2)/2; ln 2 is taken off in two parts, the first of which has
    /// zeros where n·it would round. e^r = 1 + r + r²·P(r), where P interpolates at the Chebyshev nodes: 1.1e-8.
    #[inline(always)]
    fn exp_below<const FMA: bool>(self) -> Self {
        // 1.5 · 2^23: adding it leaves the nearest integer in the low bits.
        const ROUND: f32 = 12_582_912.0;
        const LN_2_HIGH: f32 = 355.0 / 512.0;
        const LN_2_LOW: f32 = -2.121_944_4e-4;
        const P: [f32; 5] = [0.5, 0.166_665_76, 0.041_666_467, 0.008_363_182, 0.001_393_365_2];
        const SMALLEST: f32 = -87.33;
        // This order of the comparison keeps NaN.
        let x = if self < SMALLEST { SMALLEST } else { self };
        let shifted = fma!(x, std::f32::consts::LOG2_E, ROUND);
        let n = shifted - ROUND;
        let r = fma!(n, -LN_2_HIGH, x);
        let r = fma!(n, -LN_2_LOW, r);
        let mut p = P[4];
        p = fma!(p, r, P[3]);
        p = fma!(p, r, P[2]);
        p = fma!(p, r, P[1]);
        p = fma!(p, r, P[0]);
        let e = fma!(p, r * r, r) + 1.0;
        let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
        if self < SMALLEST { 0.0 } else { e * power }
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

    /// As for f32, with the series Σ r^k / k! to k = 13, whose remainder is below 5e-18.
    #[inline(always)]
    fn exp_below<const FMA: bool>(self) -> Self {
        // 1.5 · 2^52
        const ROUND: f64 = 6_755_399_441_055_744.0;
        // ln 2 to 33 bits, and the rest.
        const LN_2_HIGH: f64 = f64::from_bits(0x3FE6_2E42_FEE0_0000);
        const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
        const INVERSE_FACTORIALS: [f64; 10] = [
            1.0 / 6_227_020_800.0,
            1.0 / 479_001_600.0,
            1.0 / 39_916_800.0,
            1.0 / 3_628_800.0,
            1.0 / 362_880.0,
            1.0 / 40_320.0,
            1.0 / 5_040.0,
            1.0 / 720.0,
            1.0 / 120.0,
            1.0 / 24.0,
        ];
        const SMALLEST: f64 = -708.39;
        let x = if self < SMALLEST { SMALLEST } else { self };
        let shifted = fma!(x, std::f64::consts::LOG2_E, ROUND);
        let n = shifted - ROUND;
        let r = fma!(n, -LN_2_HIGH, x);
        let r = fma!(n, -LN_2_LOW, r);
        let mut p = INVERSE_FACTORIALS[0];
        for coefficient in &INVERSE_FACTORIALS[1..] {
            p = fma!(p, r, *coefficient);
        }
        p = fma!(p, r, 1.0 / 6.0);
        p = fma!(p, r, 0.5);
        let e = fma!(p, r * r, r) + 1.0;
        let power = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52));
        if self < SMALLEST { 0.0 } else { e * power }
    }
}

/// ln x for every x: NaN below 0, -∞ at 0.
///
/// x = 2^k · m with m in [√½, √2]; f = m - 1, s = f / (2 + f): ln m = 2 atanh(s) = f - s·(f - R), where
/// R = 2·(s²/3 + s⁴/5 + …); s² < 0.03, and ten terms leave 1e-17.
#[inline(always)]
pub fn ln<const FMA: bool>(x: f64) -> f64 {
    const LN_2_HIGH: f64 = f64::from_bits(0x3FE6_2E42_FEE0_0000);
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
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
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let mut p: f64 = 2.0 / 21.0;
    for odd in [19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0] {
        p = fma!(p, z, 2.0 / odd);
    }
    let low = fma!(k, LN_2_LOW, f - s * (f - p * z));
    let value = fma!(k, LN_2_HIGH, low);
    let value = if x == f64::INFINITY { x } else { value };
    let value = if x == 0.0 { f64::NEG_INFINITY } else { value };
    if x >= 0.0 { value } else { f64::NAN }
}

/// ln(1 + e) for 0 ≤ e ≤ 1: with w = 1 + e rounded, ln(w) - ((w - 1) - e) / w.
#[inline(always)]
pub fn ln_1p<const FMA: bool>(e: f64) -> f64 {
    let w = 1.0 + e;
    ln::<FMA>(w) - ((w - 1.0) - e) / w
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(low: f64, high: f64) -> impl Iterator<Item = f64> {
        let count = if cfg!(miri) { 50 } else { 200_000 };
        (0..=count).map(move |k| low + (high - low) * f64::from(k) / f64::from(count))
    }

    #[test]
    fn exp_is_good_to_two_roundings() {
        for x in points(-87.3, 0.0) {
            let (x32, want) = (x as f32, f64::from(x as f32).exp());
            for got in [x32.exp_below::<false>(), Real::exp_below::<true>(x32)] {
                assert!((f64::from(got) / want - 1.0).abs() < 2.0 * f64::from(f32::EPSILON), "{x32} {got}");
            }
        }
        for x in points(-708.0, 0.0) {
            for got in [Real::exp_below::<false>(x), Real::exp_below::<true>(x)] {
                assert!((got / x.exp() - 1.0).abs() < 2.0 * f64::EPSILON, "{x} {got}");
            }
        }
    }

    #[test]
    fn exp_at_the_ends() {
        for x in [f32::NEG_INFINITY, -1e30, -88.0] {
            assert_eq!(Real::exp_below::<false>(x), 0.0);
        }
        assert_eq!(Real::exp_below::<false>(0.0_f32), 1.0);
        assert!(Real::exp_below::<false>(f32::NAN).is_nan());
        assert_eq!(Real::exp_below::<false>(f64::NEG_INFINITY), 0.0);
        assert_eq!(Real::exp_below::<false>(0.0_f64), 1.0);
        assert!(Real::exp_below::<false>(f64::NAN).is_nan());
    }

    #[test]
    fn ln_is_good_to_two_roundings() {
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
