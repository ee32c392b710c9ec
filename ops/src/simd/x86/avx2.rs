//! Vectors of AVX2 and FMA.
//!
//! Every `unsafe` here calls an instruction of the level, and reads or writes slices whose length was looked at; the level is
//! there, as the file above says.

use std::arch::x86_64::*;

use crate::simd::Vector;

/// Ones in the first lanes, from an offset that leaves as many as asked for.
const FIRST_32: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
const FIRST_64: [i64; 8] = [-1, -1, -1, -1, 0, 0, 0, 0];
/// Numbers of the lanes.
const LANES_32: [i32; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
const LANES_64: [i64; 4] = [0, 1, 2, 3];

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
    fn scaled(self, shifted: Self, least: f32) -> Self {
        // SAFETY: see the top of the file. Positive numbers are in the order of their bits.
        unsafe {
            let (bits, shifted) = (_mm256_castps_si256(self.0), _mm256_castps_si256(shifted.0));
            let scaled = _mm256_add_epi32(bits, _mm256_slli_epi32::<23>(shifted));
            let under = _mm256_cmpgt_epi32(_mm256_castps_si256(_mm256_set1_ps(least)), shifted);
            Self(_mm256_castsi256_ps(_mm256_andnot_si256(under, scaled)))
        }
    }

    #[inline(always)]
    fn or_nan_of(self, x: Self) -> Self {
        // SAFETY: see the top of the file. Ones in every bit are NaN.
        Self(unsafe { _mm256_or_ps(self.0, _mm256_cmp_ps::<_CMP_UNORD_Q>(x.0, x.0)) })
    }

    #[inline(always)]
    fn has_nan(self) -> bool {
        // SAFETY: see the top of the file.
        unsafe { _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_UNORD_Q>(self.0, self.0)) != 0 }
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
    fn replaced(self, lane: usize, x: f32) -> Self {
        // SAFETY: see the top of the file.
        unsafe {
            let lanes = _mm256_loadu_si256(LANES_32.as_ptr().cast());
            let here = _mm256_cmpeq_epi32(lanes, _mm256_set1_epi32(lane as i32));
            Self(_mm256_blendv_ps(self.0, _mm256_set1_ps(x), _mm256_castsi256_ps(here)))
        }
    }

    #[inline(always)]
    fn replaced_first(self, count: usize, x: f32) -> Self {
        let mask = &FIRST_32[8 - count..][..8];
        // SAFETY: as many numbers are in the mask.
        unsafe {
            let mask = _mm256_castsi256_ps(_mm256_loadu_si256(mask.as_ptr().cast()));
            Self(_mm256_blendv_ps(self.0, _mm256_set1_ps(x), mask))
        }
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
    fn scaled(self, shifted: Self, least: f64) -> Self {
        // SAFETY: see the top of the file. Positive numbers are in the order of their bits.
        unsafe {
            let (bits, shifted) = (_mm256_castpd_si256(self.0), _mm256_castpd_si256(shifted.0));
            let scaled = _mm256_add_epi64(bits, _mm256_slli_epi64::<52>(shifted));
            let under = _mm256_cmpgt_epi64(_mm256_castpd_si256(_mm256_set1_pd(least)), shifted);
            Self(_mm256_castsi256_pd(_mm256_andnot_si256(under, scaled)))
        }
    }

    #[inline(always)]
    fn or_nan_of(self, x: Self) -> Self {
        // SAFETY: see the top of the file. Ones in every bit are NaN.
        Self(unsafe { _mm256_or_pd(self.0, _mm256_cmp_pd::<_CMP_UNORD_Q>(x.0, x.0)) })
    }

    #[inline(always)]
    fn has_nan(self) -> bool {
        // SAFETY: see the top of the file.
        unsafe { _mm256_movemask_pd(_mm256_cmp_pd::<_CMP_UNORD_Q>(self.0, self.0)) != 0 }
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
    fn replaced(self, lane: usize, x: f64) -> Self {
        // SAFETY: see the top of the file.
        unsafe {
            let lanes = _mm256_loadu_si256(LANES_64.as_ptr().cast());
            let here = _mm256_cmpeq_epi64(lanes, _mm256_set1_epi64x(lane as i64));
            Self(_mm256_blendv_pd(self.0, _mm256_set1_pd(x), _mm256_castsi256_pd(here)))
        }
    }

    #[inline(always)]
    fn replaced_first(self, count: usize, x: f64) -> Self {
        let mask = &FIRST_64[4 - count..][..4];
        // SAFETY: as many numbers are in the mask.
        unsafe {
            let mask = _mm256_castsi256_pd(_mm256_loadu_si256(mask.as_ptr().cast()));
            Self(_mm256_blendv_pd(self.0, _mm256_set1_pd(x), mask))
        }
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
