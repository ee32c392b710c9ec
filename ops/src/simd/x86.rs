//! Vectors of AVX-512 and AVX2.
//!
//! Every `unsafe` here calls an instruction of the level, and reads or writes slices whose length was looked at.
//! Invariant: code over these vectors runs inside [`avx512`] or [`avx2`] only, which [`Isa`](super::Isa) calls where the
//! machine has the instructions.

use std::arch::x86_64::*;

use super::{Job, Level, Vector};

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

/// The methods that differ in nothing but the names of instructions.
macro_rules! vector {
    ($name:ident($register:ty) of $len:literal $element:ty: $splat:ident $load:ident $store:ident $stream:ident
        $add:ident $sub:ident $mul:ident $mul_add:ident $max:ident { $($rest:item)* }) => {
        #[derive(Debug, Clone, Copy)]
        pub(super) struct $name($register);

        impl Vector for $name {
            type Element = $element;
            const LEN: usize = $len;

            #[inline(always)]
            fn splat(x: $element) -> Self {
                // SAFETY: see the top of the file.
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
            fn stream(self, to: &mut [$element]) {
                assert!(to.len() >= $len && to.as_ptr().addr().is_multiple_of(size_of::<$register>()));
                // SAFETY: so many elements there are, and they are aligned.
                unsafe { $stream(to.as_mut_ptr(), self.0) }
            }

            #[inline(always)]
            fn add(self, b: Self) -> Self {
                // SAFETY: see the top of the file.
                Self(unsafe { $add(self.0, b.0) })
            }

            #[inline(always)]
            fn sub(self, b: Self) -> Self {
                // SAFETY: see the top of the file.
                Self(unsafe { $sub(self.0, b.0) })
            }

            #[inline(always)]
            fn mul(self, b: Self) -> Self {
                // SAFETY: see the top of the file.
                Self(unsafe { $mul(self.0, b.0) })
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

/// Mask of the first `len` lanes.
#[inline(always)]
fn first(len: usize) -> u16 {
    ((1_u32 << len) - 1) as u16
}

vector! { F32x16(__m512) of 16 f32: _mm512_set1_ps _mm512_loadu_ps _mm512_storeu_ps _mm512_stream_ps
_mm512_add_ps _mm512_sub_ps _mm512_mul_ps _mm512_fmadd_ps _mm512_max_ps {
    #[inline(always)]
    fn load_part(from: &[f32], fill: f32) -> Self {
        assert!(from.len() < 16);
        // SAFETY: no element beyond the last is read.
        Self(unsafe { _mm512_mask_loadu_ps(_mm512_set1_ps(fill), first(from.len()), from.as_ptr()) })
    }

    #[inline(always)]
    fn store_part(self, to: &mut [f32]) {
        assert!(to.len() < 16);
        // SAFETY: no element beyond the last is written.
        unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr(), first(to.len()), self.0) }
    }

    #[inline(always)]
    fn magnitude(self) -> Self {
        // SAFETY: see the top of the file.
        Self(unsafe { _mm512_abs_ps(self.0) })
    }

    #[inline(always)]
    fn select_above(self, b: Self, x: Self, y: Self) -> Self {
        // SAFETY: see the top of the file.
        Self(unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, b.0), y.0, x.0) })
    }

    #[inline(always)]
    fn zero_below(self, x: Self, bound: Self) -> Self {
        // SAFETY: see the top of the file.
        Self(unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_NLT_UQ>(x.0, bound.0), self.0) })
    }

    #[inline(always)]
    fn times_sign_of(self, x: Self) -> Self {
        // SAFETY: see the top of the file.
        unsafe {
            let counts = _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(x.0, _mm512_setzero_ps());
            let sign = _mm512_and_ps(x.0, _mm512_set1_ps(-0.0));
            Self(_mm512_maskz_xor_ps(counts, sign, self.0))
        }
    }

    #[inline(always)]
    fn low_bits_as_exponent(self) -> Self {
        // SAFETY: see the top of the file.
        Self(unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_castps_si512(self.0))) })
    }

    #[inline(always)]
    fn max_across(self) -> f32 {
        // SAFETY: see the top of the file.
        unsafe {
            let (low, high) = (_mm512_castps512_ps256(self.0), _mm512_extractf32x8_ps::<1>(self.0));
            F32x8(_mm256_max_ps(low, high)).max_across()
        }
    }

    #[inline(always)]
    fn sum_across(self) -> f64 {
        // SAFETY: see the top of the file.
        unsafe {
            let (low, high) = (_mm512_castps512_ps256(self.0), _mm512_extractf32x8_ps::<1>(self.0));
            F64x8(_mm512_add_pd(_mm512_cvtps_pd(low), _mm512_cvtps_pd(high))).sum_across()
        }
    }
} }

vector! { F64x8(__m512d) of 8 f64: _mm512_set1_pd _mm512_loadu_pd _mm512_storeu_pd _mm512_stream_pd
_mm512_add_pd _mm512_sub_pd _mm512_mul_pd _mm512_fmadd_pd _mm512_max_pd {
    #[inline(always)]
    fn load_part(from: &[f64], fill: f64) -> Self {
        assert!(from.len() < 8);
        let mask = first(from.len()) as u8;
        // SAFETY: no element beyond the last is read.
        Self(unsafe { _mm512_mask_loadu_pd(_mm512_set1_pd(fill), mask, from.as_ptr()) })
    }

    #[inline(always)]
    fn store_part(self, to: &mut [f64]) {
        assert!(to.len() < 8);
        // SAFETY: no element beyond the last is written.
        unsafe { _mm512_mask_storeu_pd(to.as_mut_ptr(), first(to.len()) as u8, self.0) }
    }

    #[inline(always)]
    fn magnitude(self) -> Self {
        // SAFETY: see the top of the file.
        Self(unsafe { _mm512_abs_pd(self.0) })
    }

    #[inline(always)]
    fn select_above(self, b: Self, x: Self, y: Self) -> Self {
        // SAFETY: see the top of the file.
        Self(unsafe { _mm512_mask_blend_pd(_mm512_cmp_pd_mask::<_CMP_GT_OQ>(self.0, b.0), y.0, x.0) })
    }

    #[inline(always)]
    fn zero_below(self, x: Self, bound: Self) -> Self {
        // SAFETY: see the top of the file.
        Self(unsafe { _mm512_maskz_mov_pd(_mm512_cmp_pd_mask::<_CMP_NLT_UQ>(x.0, bound.0), self.0) })
    }

    #[inline(always)]
    fn times_sign_of(self, x: Self) -> Self {
        // SAFETY: see the top of the file.
        unsafe {
            let counts = _mm512_cmp_pd_mask::<_CMP_NEQ_UQ>(x.0, _mm512_setzero_pd());
            let sign = _mm512_and_pd(x.0, _mm512_set1_pd(-0.0));
            Self(_mm512_maskz_xor_pd(counts, sign, self.0))
        }
    }

    #[inline(always)]
    fn low_bits_as_exponent(self) -> Self {
        // SAFETY: see the top of the file.
        Self(unsafe { _mm512_castsi512_pd(_mm512_slli_epi64::<52>(_mm512_castpd_si512(self.0))) })
    }

    #[inline(always)]
    fn max_across(self) -> f64 {
        // SAFETY: see the top of the file.
        unsafe {
            let (low, high) = (_mm512_castpd512_pd256(self.0), _mm512_extractf64x4_pd::<1>(self.0));
            F64x4(_mm256_max_pd(low, high)).max_across()
        }
    }

    #[inline(always)]
    fn sum_across(self) -> f64 {
        // SAFETY: see the top of the file.
        unsafe {
            let (low, high) = (_mm512_castpd512_pd256(self.0), _mm512_extractf64x4_pd::<1>(self.0));
            F64x4(_mm256_add_pd(low, high)).sum_across()
        }
    }
} }

/// Ones in the first lanes, from an offset that leaves as many as asked for.
const FIRST_32: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
const FIRST_64: [i64; 8] = [-1, -1, -1, -1, 0, 0, 0, 0];

vector! { F32x8(__m256) of 8 f32: _mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps _mm256_stream_ps
_mm256_add_ps _mm256_sub_ps _mm256_mul_ps _mm256_fmadd_ps _mm256_max_ps {
    #[inline(always)]
    fn load_part(from: &[f32], fill: f32) -> Self {
        let mask = &FIRST_32[8 - from.len()..][..8];
        // SAFETY: eight numbers are in the mask, and no element beyond the last is read.
        unsafe {
            let mask = _mm256_loadu_si256(mask.as_ptr().cast());
            let found = _mm256_maskload_ps(from.as_ptr(), mask);
            Self(_mm256_blendv_ps(_mm256_set1_ps(fill), found, _mm256_castsi256_ps(mask)))
        }
    }

    #[inline(always)]
    fn store_part(self, to: &mut [f32]) {
        let mask = &FIRST_32[8 - to.len()..][..8];
        // SAFETY: eight numbers are in the mask, and no element beyond the last is written.
        unsafe { _mm256_maskstore_ps(to.as_mut_ptr(), _mm256_loadu_si256(mask.as_ptr().cast()), self.0) }
    }

    #[inline(always)]
    fn magnitude(self) -> Self {
        // SAFETY: see the top of the file.
        Self(unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), self.0) })
    }

    #[inline(always)]
    fn select_above(self, b: Self, x: Self, y: Self) -> Self {
        // SAFETY: see the top of the file.
        Self(unsafe { _mm256_blendv_ps(y.0, x.0, _mm256_cmp_ps::<_CMP_GT_OQ>(self.0, b.0)) })
    }

    #[inline(always)]
    fn zero_below(self, x: Self, bound: Self) -> Self {
        // SAFETY: see the top of the file.
        Self(unsafe { _mm256_and_ps(_mm256_cmp_ps::<_CMP_NLT_UQ>(x.0, bound.0), self.0) })
    }

    #[inline(always)]
    fn times_sign_of(self, x: Self) -> Self {
        // SAFETY: see the top of the file.
        unsafe {
            let counts = _mm256_cmp_ps::<_CMP_NEQ_UQ>(x.0, _mm256_setzero_ps());
            let sign = _mm256_and_ps(x.0, _mm256_set1_ps(-0.0));
            Self(_mm256_and_ps(counts, _mm256_xor_ps(sign, self.0)))
        }
    }

    #[inline(always)]
    fn low_bits_as_exponent(self) -> Self {
        // SAFETY: see the top of the file.
        Self(unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(self.0))) })
    }

    #[inline(always)]
    fn max_across(self) -> f32 {
        // SAFETY: see the top of the file.
        unsafe {
            let four = _mm_max_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        }
    }

    #[inline(always)]
    fn sum_across(self) -> f64 {
        // SAFETY: see the top of the file.
        unsafe {
            let (low, high) = (_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
            F64x4(_mm256_add_pd(_mm256_cvtps_pd(low), _mm256_cvtps_pd(high))).sum_across()
        }
    }
} }

vector! { F64x4(__m256d) of 4 f64: _mm256_set1_pd _mm256_loadu_pd _mm256_storeu_pd _mm256_stream_pd
_mm256_add_pd _mm256_sub_pd _mm256_mul_pd _mm256_fmadd_pd _mm256_max_pd {
    #[inline(always)]
    fn load_part(from: &[f64], fill: f64) -> Self {
        let mask = &FIRST_64[4 - from.len()..][..4];
        // SAFETY: four numbers are in the mask, and no element beyond the last is read.
        unsafe {
            let mask = _mm256_loadu_si256(mask.as_ptr().cast());
            let found = _mm256_maskload_pd(from.as_ptr(), mask);
            Self(_mm256_blendv_pd(_mm256_set1_pd(fill), found, _mm256_castsi256_pd(mask)))
        }
    }

    #[inline(always)]
    fn store_part(self, to: &mut [f64]) {
        let mask = &FIRST_64[4 - to.len()..][..4];
        // SAFETY: four numbers are in the mask, and no element beyond the last is written.
        unsafe { _mm256_maskstore_pd(to.as_mut_ptr(), _mm256_loadu_si256(mask.as_ptr().cast()), self.0) }
    }

    #[inline(always)]
    fn magnitude(self) -> Self {
        // SAFETY: see the top of the file.
        Self(unsafe { _mm256_andnot_pd(_mm256_set1_pd(-0.0), self.0) })
    }

    #[inline(always)]
    fn select_above(self, b: Self, x: Self, y: Self) -> Self {
        // SAFETY: see the top of the file.
        Self(unsafe { _mm256_blendv_pd(y.0, x.0, _mm256_cmp_pd::<_CMP_GT_OQ>(self.0, b.0)) })
    }

    #[inline(always)]
    fn zero_below(self, x: Self, bound: Self) -> Self {
        // SAFETY: see the top of the file.
        Self(unsafe { _mm256_and_pd(_mm256_cmp_pd::<_CMP_NLT_UQ>(x.0, bound.0), self.0) })
    }

    #[inline(always)]
    fn times_sign_of(self, x: Self) -> Self {
        // SAFETY: see the top of the file.
        unsafe {
            let counts = _mm256_cmp_pd::<_CMP_NEQ_UQ>(x.0, _mm256_setzero_pd());
            let sign = _mm256_and_pd(x.0, _mm256_set1_pd(-0.0));
            Self(_mm256_and_pd(counts, _mm256_xor_pd(sign, self.0)))
        }
    }

    #[inline(always)]
    fn low_bits_as_exponent(self) -> Self {
        // SAFETY: see the top of the file.
        Self(unsafe { _mm256_castsi256_pd(_mm256_slli_epi64::<52>(_mm256_castpd_si256(self.0))) })
    }

    #[inline(always)]
    fn max_across(self) -> f64 {
        // SAFETY: see the top of the file.
        unsafe {
            let two = _mm_max_pd(_mm256_castpd256_pd128(self.0), _mm256_extractf128_pd::<1>(self.0));
            _mm_cvtsd_f64(_mm_max_sd(two, _mm_unpackhi_pd(two, two)))
        }
    }

    #[inline(always)]
    fn sum_across(self) -> f64 {
        // SAFETY: see the top of the file.
        unsafe {
            let two = _mm_add_pd(_mm256_castpd256_pd128(self.0), _mm256_extractf128_pd::<1>(self.0));
            _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)))
        }
    }
} }
