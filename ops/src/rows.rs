//! Passes over a part of a row.
//!
//! A part is given in [`Pieces`]: what is before the label and what is after it, since most passes leave the label out. Sums
//! are added up in vectors over at most `GROUP` terms, and from there in float64, so that long rows lose no digits.

use crate::math::Real;
use crate::simd::{Level, Vector};

/// A part of a row without its label.
pub type Pieces<'a, M> = [&'a [M]; 2];

/// Terms of a lane that are added up in the element type before the sum is widened. What is left at the ends of the two
/// pieces joins the last group: at most 3 · 64 terms, which err by about 192^½ · 2^-25 = 4e-7 of a sum of that many, and
/// by less of a row's, where other groups do not.
const GROUP: usize = 64;
/// Vectors that are worked on side by side, so that one addition need not wait for the last.
const SIDE: usize = 4;

/// A function of every element. A type instead of a closure, which would not be compiled for the instruction set.
trait Function<V>: Copy {
    /// The result for a vector.
    fn of(self, x: V) -> V;
}

/// |x|
#[derive(Clone, Copy)]
struct Magnitude;
/// x - self
#[derive(Clone, Copy)]
struct Above<V>(V);
/// e^(x - self)
#[derive(Clone, Copy)]
struct ExpAbove<V>(V);
/// x · factor + shift
#[derive(Clone, Copy)]
struct Line<V>(V, V);
/// sign(x) · self; anything for NaN.
#[derive(Clone, Copy)]
struct SignTimes<V>(V);
/// (x - self.0) · self.1
#[derive(Clone, Copy)]
struct Scaled<V>(V, V);
/// `above` for x > 0, `below` for x < 0, else x + `nothing`.
#[derive(Clone, Copy)]
struct Sign<V> {
    zero: V,
    above: V,
    below: V,
    nothing: V,
}

macro_rules! function {
    ($name:ty, $self:ident, $x:ident, $of:expr) => {
        impl<V: Vector> Function<V> for $name {
            #[inline(always)]
            fn of($self, $x: V) -> V {
                $of
            }
        }
    };
}

function!(Magnitude, self, x, x.magnitude());
function!(Above<V>, self, x, x.sub(self.0));
function!(ExpAbove<V>, self, x, V::Element::exp_below(x.sub(self.0)));
function!(Line<V>, self, x, x.mul_add(self.0, self.1));
function!(Scaled<V>, self, x, x.sub(self.0).mul(self.1));
function!(SignTimes<V>, self, x, self.0.times_sign_of(x));
function!(Sign<V>, self, x, {
    let others = self.zero.select_above(x, self.below, x.add(self.nothing));
    x.select_above(self.zero, self.above, others)
});

/// The largest element; -∞ for none. NaN is passed over.
#[inline(always)]
pub fn max<M: Real, L: Level>(pieces: Pieces<'_, M>) -> M {
    let wide = M::Vector::<L>::LEN;
    let mut best = [M::Vector::<L>::splat(M::LOWEST); SIDE];
    for piece in pieces {
        let mut blocks = piece.chunks_exact(SIDE * wide);
        for block in &mut blocks {
            for (best, vector) in best.iter_mut().zip(block.chunks_exact(wide)) {
                *best = M::Vector::<L>::load(vector).max(*best);
            }
        }
        let mut rest = blocks.remainder().chunks_exact(wide);
        for (best, vector) in best.iter_mut().zip(&mut rest) {
            *best = M::Vector::<L>::load(vector).max(*best);
        }
        if !rest.remainder().is_empty() {
            best[0] = M::Vector::<L>::load_part(rest.remainder(), M::LOWEST).max(best[0]);
        }
    }
    let [a, b, c, d] = best;
    a.max(b).max(c.max(d)).max_across()
}

/// Σ f(x) over pieces, in vectors and then in float64. `f` makes 0 of `nothing`.
#[inline(always)]
fn sum<M: Real, L: Level>(pieces: Pieces<'_, M>, nothing: M, f: impl Function<M::Vector<L>>) -> f64 {
    let wide = M::Vector::<L>::LEN;
    let zero = M::Vector::<L>::splat(M::ZERO);
    let mut total = 0.0;
    let mut sums = [zero; SIDE];
    for piece in pieces {
        for group in piece.chunks(GROUP * SIDE * wide) {
            if group.len() == GROUP * SIDE * wide {
                total += across::<M, L>(sums);
                sums = [zero; SIDE];
            }
            let mut blocks = group.chunks_exact(SIDE * wide);
            for block in &mut blocks {
                for (sum, vector) in sums.iter_mut().zip(block.chunks_exact(wide)) {
                    *sum = sum.add(f.of(M::Vector::<L>::load(vector)));
                }
            }
            let mut rest = blocks.remainder().chunks_exact(wide);
            for (sum, vector) in sums.iter_mut().zip(&mut rest) {
                *sum = sum.add(f.of(M::Vector::<L>::load(vector)));
            }
            if !rest.remainder().is_empty() {
                sums[0] = sums[0].add(f.of(M::Vector::<L>::load_part(rest.remainder(), nothing)));
            }
        }
    }
    total + across::<M, L>(sums)
}

#[inline(always)]
fn across<M: Real, L: Level>([a, b, c, d]: [M::Vector<L>; SIDE]) -> f64 {
    a.add(b).add(c.add(d)).sum_across()
}

/// Σ |x|
#[inline(always)]
pub fn l1<M: Real, L: Level>(values: &[M]) -> f64 {
    sum::<M, L>([values, &[]], M::ZERO, Magnitude)
}

/// Σ (x - highest)
#[inline(always)]
pub fn lead<M: Real, L: Level>(pieces: Pieces<'_, M>, highest: M) -> f64 {
    let top = M::Vector::<L>::splat(highest);
    sum::<M, L>(pieces, highest, Above(top))
}

/// Σ e^(z - highest)
#[inline(always)]
pub fn exp_sum<M: Real, L: Level>(pieces: Pieces<'_, M>, highest: M) -> f64 {
    let top = M::Vector::<L>::splat(highest);
    sum::<M, L>(pieces, M::LOWEST, ExpAbove(top))
}

/// Σ e^(z - highest), with the terms kept in `to`, which is as long as `z`.
#[inline(always)]
pub fn exp_sum_into<M: Real, L: Level>(pieces: Pieces<'_, M>, highest: M, to: [&mut [M]; 2]) -> f64 {
    let wide = M::Vector::<L>::LEN;
    let (zero, top) = (M::Vector::<L>::splat(M::ZERO), M::Vector::<L>::splat(highest));
    let mut total = 0.0;
    let mut sums = [zero; 2];
    for (piece, to) in pieces.into_iter().zip(to) {
        for (group, to) in piece.chunks(GROUP * 2 * wide).zip(to.chunks_mut(GROUP * 2 * wide)) {
            if group.len() == GROUP * 2 * wide {
                total += sums[0].add(sums[1]).sum_across();
                sums = [zero; 2];
            }
            let (mut blocks, mut outs) = (group.chunks_exact(2 * wide), to.chunks_exact_mut(2 * wide));
            for (block, out) in (&mut blocks).zip(&mut outs) {
                for k in 0..2 {
                    let z = M::Vector::<L>::load(&block[k * wide..]);
                    let e = M::exp_below(z.sub(top));
                    e.store(&mut out[k * wide..]);
                    sums[k] = sums[k].add(e);
                }
            }
            let (mut rest, mut outs) = (blocks.remainder(), outs.into_remainder());
            if rest.len() >= wide {
                let e = M::exp_below(M::Vector::<L>::load(rest).sub(top));
                e.store(outs);
                sums[0] = sums[0].add(e);
                (rest, outs) = (&rest[wide..], &mut outs[wide..]);
            }
            if !rest.is_empty() {
                let e = M::exp_below(M::Vector::<L>::load_part(rest, M::LOWEST).sub(top));
                e.store_part(outs);
                sums[1] = sums[1].add(e);
            }
        }
    }
    total + sums[0].add(sums[1]).sum_across()
}

/// Writes `f` of every element of `from` to `to`, which is as long.
#[inline(always)]
fn map<M: Real, L: Level>(from: &[M], to: &mut [M], f: impl Function<M::Vector<L>>) {
    let wide = M::Vector::<L>::LEN;
    let (mut blocks, mut outs) = (from.chunks_exact(2 * wide), to.chunks_exact_mut(2 * wide));
    for (block, out) in (&mut blocks).zip(&mut outs) {
        f.of(M::Vector::<L>::load(block)).store(out);
        f.of(M::Vector::<L>::load(&block[wide..])).store(&mut out[wide..]);
    }
    let (mut rest, mut outs) = (blocks.remainder(), outs.into_remainder());
    if rest.len() >= wide && outs.len() >= wide {
        f.of(M::Vector::<L>::load(rest)).store(outs);
        (rest, outs) = (&rest[wide..], &mut outs[wide..]);
    }
    if !rest.is_empty() {
        f.of(M::Vector::<L>::load_part(rest, M::ZERO)).store_part(outs);
    }
}

/// As [`map`], in place.
#[inline(always)]
fn update<M: Real, L: Level>(values: &mut [M], f: impl Function<M::Vector<L>>) {
    let wide = M::Vector::<L>::LEN;
    let mut blocks = values.chunks_exact_mut(wide);
    for block in &mut blocks {
        f.of(M::Vector::<L>::load(block)).store(block);
    }
    let rest = blocks.into_remainder();
    if !rest.is_empty() {
        f.of(M::Vector::<L>::load_part(rest, M::ZERO)).store_part(rest);
    }
}

/// As [`map`], past the caches.
#[inline(always)]
fn stream<M: Real, L: Level>(from: &[M], to: &mut [M], f: impl Function<M::Vector<L>>) {
    let wide = M::Vector::<L>::LEN;
    let ahead = to.as_ptr().align_offset(64).min(to.len());
    let ((head, from), (head_to, to)) = (from.split_at(ahead), to.split_at_mut(ahead));
    map::<M, L>(head, head_to, f);
    let (mut blocks, mut outs) =
        (from.chunks_exact(64 / size_of::<M>()), to.chunks_exact_mut(64 / size_of::<M>()));
    for (block, out) in (&mut blocks).zip(&mut outs) {
        for (vector, out) in block.chunks_exact(wide).zip(out.chunks_exact_mut(wide)) {
            f.of(M::Vector::<L>::load(vector)).stream(out);
        }
    }
    map::<M, L>(blocks.remainder(), outs.into_remainder(), f);
}

/// e · factor + shift, in place.
#[inline(always)]
pub fn scale<M: Real, L: Level>(e: &mut [M], factor: M, shift: M) {
    let [factor, shift] = [factor, shift].map(M::Vector::<L>::splat);
    update::<M, L>(e, Line(factor, shift));
}

/// e · factor + shift, past the caches.
#[inline(always)]
pub fn scale_away<M: Real, L: Level>(e: &[M], factor: M, shift: M, to: &mut [M]) {
    let [factor, shift] = [factor, shift].map(M::Vector::<L>::splat);
    stream::<M, L>(e, to, Line(factor, shift));
}

/// (z - highest) · scale + bias
#[inline(always)]
pub fn adjust<M: Real, L: Level>(z: &[M], highest: M, scale: M, bias: Option<&[M]>, to: &mut [M]) {
    let [highest, scale] = [highest, scale].map(M::Vector::<L>::splat);
    map::<M, L>(z, to, Scaled(highest, scale));
    if let Some(bias) = bias {
        for (t, b) in to.iter_mut().zip(bias) {
            *t = *t + *b;
        }
    }
}

/// sign(x) · slope, past the caches if `away`. Where `nan` may be among the values, its sign is NaN, and so is everything
/// times NaN; 0 times infinity is 0, its limit.
#[inline(always)]
pub fn signed<M: Real, L: Level>(values: &[M], slope: M, to: &mut [M], nan: bool, away: bool) {
    let slope_is_nan = slope.partial_cmp(&slope).is_none();
    if !nan && !slope_is_nan {
        let f = SignTimes(M::Vector::<L>::splat(slope));
        return if away { stream::<M, L>(values, to, f) } else { map::<M, L>(values, to, f) };
    }
    let nothing = if slope_is_nan { slope } else { M::ZERO };
    let [zero, above, below, nothing] = [M::ZERO, slope, M::ZERO - slope, nothing].map(M::Vector::<L>::splat);
    map::<M, L>(values, to, Sign { zero, above, below, nothing });
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
mod tests;
