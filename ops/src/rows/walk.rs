//! The walk of a pass over the vectors of a part of a row.

use super::NOWHERE;
use crate::math::Real;
use crate::simd::{Level, Vector};

/// Terms of a lane that are added up in the element type before the sum is widened. With the label's vector and the last one,
/// and with the sides that are added up, a sum in f32 errs by at most (16 + 4) · 2^-24 = 1.2e-6, where all roundings go one way:
/// many equal terms after a large one come near it. Few for Miri, which is slow.
const GROUP: usize = if cfg!(miri) { 4 } else { 16 };
/// The most vectors that a pass works on side by side, so that one addition need not wait for the last.
pub(super) const SIDE: usize = 4;
/// Vectors of a part up to which every vector is looked at for the label, instead of the one that has it.
const SHORT: usize = 16;

/// What a pass does with the vectors of a part.
pub(super) trait Pass<V> {
    /// Vectors side by side: 2 to [`SIDE`].
    const SIDE: usize;
    /// Takes a vector, and gives what is to be written in its place. `side` is below [`Pass::SIDE`]; vectors in a row
    /// have different ones.
    fn take(&mut self, side: usize, x: V) -> V;
    /// Called between groups of at most [`GROUP`] vectors of every side. After the last call there is at most a group, and two
    /// vectors of a side.
    fn group(&mut self);
}

/// A part of a row on the way through a pass.
pub(super) struct Walk<'a, M> {
    pub from: &'a [M],
    /// As long as `from`, or empty where nothing is written.
    pub to: &'a mut [M],
    pub label: usize,
    /// Instead of the label, and of what a vector has twice or too much.
    pub fill: M,
}

impl<M: Real> Walk<'_, M> {
    /// Takes every vector of the part through `pass`.
    #[inline(always)]
    pub fn run<L: Level, const WRITES: bool, P: Pass<M::Vector<L>>>(mut self, pass: &mut P) {
        assert!(!WRITES || self.to.len() == self.from.len());
        let (wide, len) = (M::Vector::<L>::LEN, self.from.len());
        let full = len - len % wide;
        if full == 0 {
            return self.part::<L, WRITES, P>(pass);
        }
        // The last vector comes first: what it writes where it overlaps is overwritten.
        if full < len {
            let at = len - wide;
            // SAFETY: a whole vector is left at `at`.
            unsafe { self.labelled::<L, WRITES, P>(at, full - at, 0, pass) };
        }
        // SAFETY: up to `full` there are whole vectors.
        unsafe {
            if full <= SHORT * wide && self.label != NOWHERE {
                return self.each_labelled::<L, WRITES, P>(full, pass);
            }
            let at = if self.label < full { self.label - self.label % wide } else { full };
            self.stretch::<L, WRITES, P>(0, at, pass);
            if at < full {
                pass.group();
                self.labelled::<L, WRITES, P>(at, 0, 1, pass);
                self.stretch::<L, WRITES, P>(at + wide, full, pass);
            }
        }
    }

    /// A part that is shorter than a vector.
    #[inline(always)]
    fn part<L: Level, const WRITES: bool, P: Pass<M::Vector<L>>>(&mut self, pass: &mut P) {
        if self.from.is_empty() {
            return;
        }
        let x = M::Vector::<L>::load_part(self.from, self.fill).replaced(self.label, self.fill);
        let out = pass.take(0, x);
        if WRITES {
            out.store_part(self.to);
        }
    }

    /// Every vector up to `end`, one of which may have the label.
    ///
    /// # Safety
    /// `end` is a number of whole vectors, and within the part.
    #[inline(always)]
    unsafe fn each_labelled<L: Level, const WRITES: bool, P: Pass<M::Vector<L>>>(
        &mut self,
        end: usize,
        pass: &mut P,
    ) {
        let wide = M::Vector::<L>::LEN;
        let mut at = 0;
        // SAFETY: the caller's promise.
        unsafe {
            while at + 2 * wide <= end {
                self.labelled::<L, WRITES, P>(at, 0, 0, pass);
                self.labelled::<L, WRITES, P>(at + wide, 0, 1, pass);
                at += 2 * wide;
            }
            if at < end {
                self.labelled::<L, WRITES, P>(at, 0, 0, pass);
            }
        }
    }

    /// The vectors from `at` to `end`, without the label.
    ///
    /// # Safety
    /// From `at` to `end` is a number of whole vectors, and within the part.
    #[inline(always)]
    unsafe fn stretch<L: Level, const WRITES: bool, P: Pass<M::Vector<L>>>(
        &mut self,
        mut at: usize,
        end: usize,
        pass: &mut P,
    ) {
        let wide = M::Vector::<L>::LEN;
        // SAFETY: the caller's promise.
        unsafe {
            while at + P::SIDE * wide <= end {
                let group = end.min(at + GROUP * P::SIDE * wide);
                while at + P::SIDE * wide <= group {
                    for side in 0..P::SIDE {
                        self.plain::<L, WRITES, P>(at + side * wide, side, pass);
                    }
                    at += P::SIDE * wide;
                }
                if at == group && at + P::SIDE * wide <= end {
                    pass.group();
                }
            }
            for side in 0..P::SIDE - 1 {
                if at < end {
                    self.plain::<L, WRITES, P>(at, side, pass);
                    at += wide;
                }
            }
        }
    }

    /// # Safety
    /// A whole vector is left at `at`.
    #[inline(always)]
    unsafe fn plain<L: Level, const WRITES: bool, P: Pass<M::Vector<L>>>(
        &mut self,
        at: usize,
        side: usize,
        pass: &mut P,
    ) {
        // SAFETY: the caller's promise.
        let x = M::Vector::<L>::load(unsafe { self.from.get_unchecked(at..at + M::Vector::<L>::LEN) });
        let out = pass.take(side, x);
        if WRITES {
            // SAFETY: as above; `to` is as long.
            out.store(unsafe { self.to.get_unchecked_mut(at..at + M::Vector::<L>::LEN) });
        }
    }

    /// As [`Walk::plain`], without the label and the `first` lanes.
    ///
    /// # Safety
    /// A whole vector is left at `at`.
    #[inline(always)]
    unsafe fn labelled<L: Level, const WRITES: bool, P: Pass<M::Vector<L>>>(
        &mut self,
        at: usize,
        first: usize,
        side: usize,
        pass: &mut P,
    ) {
        // SAFETY: the caller's promise.
        let x = M::Vector::<L>::load(unsafe { self.from.get_unchecked(at..at + M::Vector::<L>::LEN) });
        let x = x.replaced(self.label.wrapping_sub(at), self.fill);
        let out = pass.take(side, if first > 0 { x.replaced_first(first, self.fill) } else { x });
        if WRITES {
            // SAFETY: as above; `to` is as long.
            out.store(unsafe { self.to.get_unchecked_mut(at..at + M::Vector::<L>::LEN) });
        }
    }
}
