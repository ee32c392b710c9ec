//! Passes over a part of a row.
//!
//! Most leave the label out, whose place they are given ([`NOWHERE`] where it is in no part that they see). A last vector ends
//! where the part ends, and overlaps the one before it; a part that is shorter than a vector is read and written in part.
//! Sums are added up in vectors over some terms, and from there in float64, so that long rows lose no digits.

mod walk;

use crate::math::Real;
use crate::simd::{Level, Vector};
use walk::{Pass, SIDE, Walk};

/// The place of a label that is in no part: no vector has a lane for it.
pub const NOWHERE: usize = usize::MAX;

/// A function of every element. A type instead of a closure, which would not be compiled for the instruction set.
trait Function<V>: Copy {
    /// Vectors side by side: fewer where one needs many registers.
    const SIDE: usize = SIDE;
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
function!(Line<V>, self, x, x.mul_add(self.0, self.1));
function!(Scaled<V>, self, x, x.sub(self.0).mul(self.1));
function!(SignTimes<V>, self, x, self.0.times_sign_of(x));
function!(Sign<V>, self, x, {
    let others = self.zero.select_above(x, self.below, x.add(self.nothing));
    x.select_above(self.zero, self.above, others)
});

impl<V: Vector> Function<V> for ExpAbove<V> {
    const SIDE: usize = 2;

    #[inline(always)]
    fn of(self, x: V) -> V {
        V::Element::exp_below(x.sub(self.0))
    }
}

/// The largest element, and whether one is NaN.
struct Highest<V> {
    best: [V; SIDE],
    nan: [V; SIDE],
}

impl<V: Vector> Pass<V> for Highest<V> {
    const SIDE: usize = SIDE;

    #[inline(always)]
    fn take(&mut self, side: usize, x: V) -> V {
        self.best[side] = x.max(self.best[side]);
        self.nan[side] = self.nan[side].or_nan_of(x);
        x
    }

    #[inline(always)]
    fn group(&mut self) {}
}

/// Σ f(x), in vectors and then in float64.
struct Sum<V, F> {
    f: F,
    sums: [V; SIDE],
    total: f64,
}

impl<V: Vector, F: Function<V>> Sum<V, F> {
    #[inline(always)]
    fn new(f: F) -> Self {
        Self { f, sums: [V::splat(V::Element::ZERO); SIDE], total: 0.0 }
    }

    #[inline(always)]
    fn finish(self) -> f64 {
        let [a, b, c, d] = self.sums;
        self.total + a.add(b).add(c.add(d)).sum_across()
    }
}

impl<V: Vector, F: Function<V>> Pass<V> for Sum<V, F> {
    const SIDE: usize = F::SIDE;

    #[inline(always)]
    fn take(&mut self, side: usize, x: V) -> V {
        let term = self.f.of(x);
        self.sums[side] = self.sums[side].add(term);
        term
    }

    #[inline(always)]
    fn group(&mut self) {
        let [a, b, c, d] = self.sums;
        self.total += a.add(b).add(c.add(d)).sum_across();
        self.sums = [V::splat(V::Element::ZERO); SIDE];
    }
}

/// The largest element but the label, -∞ for none, NaN passed over; and whether there is a NaN.
#[inline(always)]
pub fn highest<M: Real, L: Level>(z: &[M], label: usize) -> (M, bool) {
    let [lowest, zero] = [M::LOWEST, M::ZERO].map(|x| [M::Vector::<L>::splat(x); SIDE]);
    let mut highest = Highest { best: lowest, nan: zero };
    Walk { from: z, to: &mut [], label, fill: M::LOWEST }.run::<L, false, _>(&mut highest);
    let Highest { best: [a, b, c, d], nan: [m, n, o, p] } = highest;
    (a.max(b).max(c.max(d)).max_across(), m.or_nan_of(n).or_nan_of(o.or_nan_of(p)).has_nan())
}

/// Σ f(x) without the label. `f` makes 0 of `fill`.
#[inline(always)]
fn sum<M: Real, L: Level>(z: &[M], label: usize, fill: M, f: impl Function<M::Vector<L>>) -> f64 {
    let mut sum = Sum::new(f);
    Walk { from: z, to: &mut [], label, fill }.run::<L, false, _>(&mut sum);
    sum.finish()
}

/// Σ |x|
#[inline(always)]
pub fn l1<M: Real, L: Level>(values: &[M]) -> f64 {
    sum::<M, L>(values, NOWHERE, M::ZERO, Magnitude)
}

/// Σ (x - highest) without the label
#[inline(always)]
pub fn lead<M: Real, L: Level>(z: &[M], label: usize, highest: M) -> f64 {
    sum::<M, L>(z, label, highest, Above(M::Vector::<L>::splat(highest)))
}

/// Σ e^(z - highest) without the label. None of the others is NaN, and `highest` is finite.
#[inline(always)]
pub fn exp_sum<M: Real, L: Level>(z: &[M], label: usize, highest: M) -> f64 {
    sum::<M, L>(z, label, M::LOWEST, ExpAbove(M::Vector::<L>::splat(highest)))
}

/// As [`exp_sum`], with the terms kept in `to`, which is as long as `z`, and 0 at the label.
#[inline(always)]
pub fn exp_sum_into<M: Real, L: Level>(z: &[M], label: usize, highest: M, to: &mut [M]) -> f64 {
    let mut sum = Sum::new(ExpAbove(M::Vector::<L>::splat(highest)));
    Walk { from: z, to, label, fill: M::LOWEST }.run::<L, true, _>(&mut sum);
    sum.finish()
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
    let (rest, out) = (blocks.remainder(), outs.into_remainder());
    if rest.len() >= wide {
        f.of(M::Vector::<L>::load(rest)).store(out);
    }
    if rest.len() % wide == 0 {
        return;
    }
    match (from.len().checked_sub(wide), to.len().checked_sub(wide)) {
        (Some(last), Some(last_out)) => f.of(M::Vector::<L>::load(&from[last..])).store(&mut to[last_out..]),
        _ => f.of(M::Vector::<L>::load_part(from, M::ZERO)).store_part(to),
    }
}

/// As [`map`], in place.
#[inline(always)]
fn update<M: Real, L: Level>(values: &mut [M], f: impl Function<M::Vector<L>>) {
    let wide = M::Vector::<L>::LEN;
    let Some(last) = values.len().checked_sub(wide) else {
        if !values.is_empty() {
            f.of(M::Vector::<L>::load_part(values, M::ZERO)).store_part(values);
        }
        return;
    };
    // Before the loop changes the elements that it has too.
    let end = f.of(M::Vector::<L>::load(&values[last..]));
    for block in values.chunks_exact_mut(wide) {
        f.of(M::Vector::<L>::load(block)).store(block);
    }
    end.store(&mut values[last..]);
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
