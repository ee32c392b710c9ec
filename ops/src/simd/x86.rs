//! Vectors of AVX-512 and AVX2.
//!
//! Every `unsafe` here calls an instruction of the level, and reads or writes slices whose length was looked at.
//! Invariant: code over these vectors runs inside [`avx512()`] or [`avx2()`] only, which [`Isa`](super::Isa) calls where the
//! machine has the instructions.

use super::{Job, Level};

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
pub(super) fn avx512(job: impl Job) {
    job.run::<Avx512>();
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn avx2(job: impl Job) {
    job.run::<Avx2>();
}

/// AVX-512 F, BW, DQ and VL
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512;

impl Level for Avx512 {
    type F32 = F32x16;
    type F64 = F64x8;
    const FMA: bool = true;
}

/// AVX2 and FMA
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2;

impl Level for Avx2 {
    type F32 = F32x8;
    type F64 = F64x4;
    const FMA: bool = true;
}

/// A register, with what all have in common and what its instruction set does in its own way.
macro_rules! vector {
    ($name:ident($register:ty) of $len:literal $element:ty: $splat:ident $load:ident $store:ident $stream:ident
        $add:ident $sub:ident $mul:ident $mul_add:ident $max:ident { $($rest:item)* }) => {
        #[derive(Debug, Clone, Copy)]
        pub(in super::super) struct $name(pub(super) $register);

        impl Vector for $name {
            common! { $len $element: $splat $load $store $add $sub $mul }

            #[inline(always)]
            fn stream(self, to: &mut [$element]) {
                assert!(to.len() >= $len && to.as_ptr().addr().is_multiple_of(size_of::<$register>()));
                // SAFETY: so many elements there are, and they are aligned.
                unsafe { $stream(to.as_mut_ptr(), self.0) }
            }

            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                // SAFETY: see the top of the file.
                Self(unsafe { $mul_add(self.0, b.0, c.0) })
            }

            #[inline(always)]
            fn max(self, b: Self) -> Self {
                // SAFETY: see the top of the file.
                Self(unsafe { $max(self.0, b.0) })
            }

            $($rest)*
        }
    };
}

mod avx2;
mod avx512;

use avx2::{F32x8, F64x4};
use avx512::{F32x16, F64x8};
