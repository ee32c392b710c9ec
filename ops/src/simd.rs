//! One source for every instruction set.
//!
//! Kernels are written once, over the vectors of a [`Level`], and inlined into a function for each instruction set. The set
//! is chosen at run time, once a call. Where a machine has none of those known here, arrays stand in for vectors, which
//! Miri can read too.

/// The methods of a [`Vector`] that differ in nothing but the names of instructions. Their level is there wherever they
/// run, which each file of a level sees to.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! common {
    ($len:literal $element:ty: $splat:ident $load:ident $store:ident $add:ident $sub:ident $mul:ident) => {
        type Element = $element;
        const LEN: usize = $len;
        const FMA: bool = true;

        #[inline(always)]
        fn splat(x: $element) -> Self {
            // SAFETY: the level is there.
            Self(unsafe { $splat(x) })
        }

        #[inline(always)]
        fn load(from: &[$element]) -> Self {
            assert!(from.len() >= $len);
            // SAFETY: so many elements there are.
            Self(unsafe { $load(from.as_ptr()) })
        }

        #[inline(always)]
        fn store(self, to: &mut [$element]) {
            assert!(to.len() >= $len);
            // SAFETY: so many elements there are.
            unsafe { $store(to.as_mut_ptr(), self.0) }
        }

        #[inline(always)]
        fn add(self, b: Self) -> Self {
            // SAFETY: the level is there.
            Self(unsafe { $add(self.0, b.0) })
        }

        #[inline(always)]
        fn sub(self, b: Self) -> Self {
            // SAFETY: the level is there.
            Self(unsafe { $sub(self.0, b.0) })
        }

        #[inline(always)]
        fn mul(self, b: Self) -> Self {
            // SAFETY: the level is there.
            Self(unsafe { $mul(self.0, b.0) })
        }
    };
}

mod array;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use array::Array;

use crate::math::Real;

/// A level of instruction sets, as the vectors that it has.
pub trait Level: Copy + 'static {
    /// of f32
    type F32: Vector<Element = f32>;
    /// of f64
    type F64: Vector<Element = f64>;
    /// Whether a fused multiply-add is one instruction.
    const FMA: bool;
}

/// A register of elements. Slices that are read or written whole have at least [`Vector::LEN`] elements, and parts have
/// fewer.
pub trait Vector: Copy {
    /// f32 or f64
    type Element: Real;
    /// Elements in it.
    const LEN: usize;
    /// Whether a fused multiply-add is one instruction.
    const FMA: bool;

    /// `x` in every place.
    fn splat(x: Self::Element) -> Self;
    /// The first elements of `from`.
    fn load(from: &[Self::Element]) -> Self;
    /// To the first elements of `to`.
    fn store(self, to: &mut [Self::Element]);
    /// All of `from`, and then `fill`.
    fn load_part(from: &[Self::Element], fill: Self::Element) -> Self;
    /// As many elements as `to` has.
    fn store_part(self, to: &mut [Self::Element]);
    /// As [`Vector::store`], past the caches where the machine can do that. `to` is aligned to
    /// a vector.
    fn stream(self, to: &mut [Self::Element]);

    /// self + b
    fn add(self, b: Self) -> Self;
    /// self - b
    fn sub(self, b: Self) -> Self;
    /// self · b
    fn mul(self, b: Self) -> Self;
    /// self · b + c, rounded once where that is one instruction
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// The larger; `b` where one is NaN.
    fn max(self, b: Self) -> Self;
    /// Without signs.
    fn magnitude(self) -> Self;
    /// `x` where self > b, else `y`.
    fn select_above(self, b: Self, x: Self, y: Self) -> Self;
    /// self · 2^n with n in the lowest bits of `shifted`, and 0 where `shifted` is below `least`, which is positive. From
    /// `least` on, neither self nor the result is 0, subnormal or infinite. Anything where `shifted` is NaN.
    fn scaled(self, shifted: Self, least: Self::Element) -> Self;
    /// NaN in every lane where one of the two is NaN; anything but NaN in the others.
    fn or_nan_of(self, x: Self) -> Self;
    /// Whether a lane is NaN.
    fn has_nan(self) -> bool;
    /// Itself where x > 0, with the other sign where x < 0, and 0 where x is 0. Anything where x is NaN.
    fn times_sign_of(self, x: Self) -> Self;
    /// `x` in one lane; itself where it has no such lane.
    fn replaced(self, lane: usize, x: Self::Element) -> Self;
    /// `x` in the first lanes, which are `count`.
    fn replaced_first(self, count: usize, x: Self::Element) -> Self;

    /// The largest element; NaN may be passed over.
    fn max_across(self) -> Self::Element;
    /// Σ of the elements, each widened first.
    fn sum_across(self) -> f64;
}

/// Work that is compiled for each instruction set. `run` must be `#[inline(always)]`, and so must all it calls in loops.
pub trait Job {
    /// Does the work with the vectors of `L`.
    fn run<L: Level>(self);
}

/// An instruction set that this machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// AVX-512 F, BW, DQ and VL
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX2, FMA and F16C
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Every 64-bit ARM machine has it.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// Arrays; on x86-64 the compiler has SSE2 for them.
    Baseline,
}

const WIDEST_FIRST: &[Kind] = &[
    #[cfg(target_arch = "x86_64")]
    Kind::Avx512,
    #[cfg(target_arch = "x86_64")]
    Kind::Avx2,
    #[cfg(target_arch = "aarch64")]
    Kind::Neon,
    Kind::Baseline,
];

impl Kind {
    /// Whether this machine has it. The standard library asks the processor once and remembers.
    fn is_here(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        use std::arch::is_x86_feature_detected as has;
        match self {
            Kind::Baseline => true,
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            _ if cfg!(miri) => false,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => {
                Kind::Avx2.is_here()
                    && has!("avx512f")
                    && has!("avx512bw")
                    && has!("avx512dq")
                    && has!("avx512vl")
            }
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => has!("avx2") && has!("fma") && has!("f16c"),
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => true,
        }
    }
}

impl Isa {
    /// The widest that this machine has.
    pub fn detect() -> Self {
        Isa::here().next().unwrap_or(Isa(Kind::Baseline))
    }

    /// All that this machine has, the widest first.
    pub fn supported() -> Vec<Self> {
        Isa::here().collect()
    }

    fn here() -> impl Iterator<Item = Self> {
        WIDEST_FIRST.iter().copied().filter(|kind| kind.is_here()).map(Isa)
    }

    /// Runs `job` with this instruction set.
    pub fn run(self, job: impl Job) {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `here` found the set on this machine, and nothing else makes an `Isa`.
            Kind::Avx512 => unsafe { x86::avx512(job) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Kind::Avx2 => unsafe { x86::avx2(job) },
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => job.run::<neon::Neon>(),
            Kind::Baseline => job.run::<array::Baseline>(),
        }
    }
}

/// Makes what was written past the caches visible to other threads.
#[inline(always)]
pub fn fence() {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: every x86-64 machine has SSE.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

#[cfg(test)]
mod tests;
