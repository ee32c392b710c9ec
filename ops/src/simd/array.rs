//! Arrays for vectors, where nothing is known of the machine.

use super::{Level, Vector};
use crate::math::Real;

/// No instruction set in particular.
#[derive(Debug, Clone, Copy)]
pub(super) struct Baseline;

impl Level for Baseline {
    type F32 = Array<f32, 8, false>;
    type F64 = Array<f64, 8, false>;
    const FMA: bool = false;
}

/// Elements side by side. One alone is for loops that the compiler makes vectors of.
#[derive(Debug, Clone, Copy)]
pub struct Array<M, const LEN: usize, const FMA: bool>(pub [M; LEN]);

impl<M: Real, const LEN: usize, const FMA: bool> Array<M, LEN, FMA> {
    #[inline(always)]
    fn zip(self, b: Self, f: impl Fn(M, M) -> M) -> Self {
        let mut out = self;
        for (o, b) in out.0.iter_mut().zip(b.0) {
            *o = f(*o, b);
        }
        out
    }
}

impl<M: Real, const LEN: usize, const FMA: bool> Vector for Array<M, LEN, FMA> {
    type Element = M;
    const LEN: usize = LEN;
    const FMA: bool = FMA;

    #[inline(always)]
    fn splat(x: M) -> Self {
        Self([x; LEN])
    }

    #[inline(always)]
    fn load(from: &[M]) -> Self {
        let mut array = [M::ZERO; LEN];
        array.copy_from_slice(&from[..LEN]);
        Self(array)
    }

    #[inline(always)]
    fn store(self, to: &mut [M]) {
        to[..LEN].copy_from_slice(&self.0);
    }

    #[inline(always)]
    fn load_part(from: &[M], fill: M) -> Self {
        let mut array = [fill; LEN];
        array[..from.len()].copy_from_slice(from);
        Self(array)
    }

    #[inline(always)]
    fn store_part(self, to: &mut [M]) {
        to.copy_from_slice(&self.0[..to.len()]);
    }

    #[inline(always)]
    fn stream(self, to: &mut [M]) {
        self.store(to);
    }

    #[inline(always)]
    fn add(self, b: Self) -> Self {
        self.zip(b, |x, y| x + y)
    }

    #[inline(always)]
    fn sub(self, b: Self) -> Self {
        self.zip(b, |x, y| x - y)
    }

    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        self.zip(b, |x, y| x * y)
    }

    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        let mut out = self;
        for k in 0..LEN {
            out.0[k] = if FMA { self.0[k].fused(b.0[k], c.0[k]) } else { self.0[k] * b.0[k] + c.0[k] };
        }
        out
    }

    #[inline(always)]
    fn max(self, b: Self) -> Self {
        self.zip(b, |x, y| if x > y { x } else { y })
    }

    #[inline(always)]
    fn magnitude(self) -> Self {
        self.zip(self, |x, _| x.magnitude())
    }

    #[inline(always)]
    fn select_above(self, b: Self, x: Self, y: Self) -> Self {
        let mut out = y;
        for k in 0..LEN {
            out.0[k] = if self.0[k] > b.0[k] { x.0[k] } else { y.0[k] };
        }
        out
    }

    #[inline(always)]
    fn scaled(self, shifted: Self, least: M) -> Self {
        self.zip(shifted, |p, shifted| if shifted < least { M::ZERO } else { p.scaled(shifted) })
    }

    #[inline(always)]
    fn or_nan_of(self, x: Self) -> Self {
        self.zip(x, |seen, x| if x.partial_cmp(&x).is_none() { x } else { seen })
    }

    #[inline(always)]
    fn has_nan(self) -> bool {
        self.0.iter().any(|x| x.partial_cmp(x).is_none())
    }

    #[inline(always)]
    fn times_sign_of(self, x: Self) -> Self {
        let mut out = self;
        for k in 0..LEN {
            let below = if x.0[k] < M::ZERO { M::ZERO - self.0[k] } else { M::ZERO };
            out.0[k] = if x.0[k] > M::ZERO { self.0[k] } else { below };
        }
        out
    }

    #[inline(always)]
    fn replaced(mut self, lane: usize, x: M) -> Self {
        if let Some(place) = self.0.get_mut(lane) {
            *place = x;
        }
        self
    }

    #[inline(always)]
    fn replaced_first(mut self, count: usize, x: M) -> Self {
        self.0[..count].fill(x);
        self
    }

    #[inline(always)]
    fn max_across(self) -> M {
        self.0.into_iter().fold(M::LOWEST, |a, b| if b > a { b } else { a })
    }

    #[inline(always)]
    fn sum_across(self) -> f64 {
        let mut wide = self.0.map(Real::to_f64);
        let mut width = LEN / 2;
        while width > 0 {
            for k in 0..width {
                wide[k] += wide[k + width];
            }
            width /= 2;
        }
        wide[0]
    }
}
