//! Vectors of AVX-512.
//!
//! Every `unsafe` here calls an instruction of the level, and reads or writes slices whose length was looked at; the level is
//! there, as the file above says.

use std::arch::x86_64::*;

use super::avx2::{F32x8, F64x4};
use crate::simd::Vector;

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
    fn scaled(self, shifted: Self, least: f32) -> Self {
        // SAFETY: see the top of the file. Positive numbers are in the order of their bits.
        unsafe {
            let (bits, shifted) = (_mm512_castps_si512(self.0), _mm512_castps_si512(shifted.0));
            let least = _mm512_castps_si512(_mm512_set1_ps(least));
            let counts = _mm512_cmpge_epi32_mask(shifted, least);
            let exponent = _mm512_slli_epi32::<23>(shifted);
            Self(_mm512_castsi512_ps(_mm512_maskz_add_epi32(counts, bits, exponent)))
        }
    }

    #[inline(always)]
    fn or_nan_of(self, x: Self) -> Self {
        // SAFETY: see the top of the file.
        Self(unsafe { _mm512_mask_mov_ps(self.0, _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x.0, x.0), x.0) })
    }

    #[inline(always)]
    fn has_nan(self) -> bool {
        // SAFETY: see the top of the file.
        unsafe { _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.0, self.0) != 0 }
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
    fn replaced(self, lane: usize, x: f32) -> Self {
        let here = u16::from(lane < 16) << (lane % 16);
        // SAFETY: see the top of the file.
        Self(unsafe { _mm512_mask_mov_ps(self.0, here, _mm512_set1_ps(x)) })
    }

    #[inline(always)]
    fn replaced_first(self, count: usize, x: f32) -> Self {
        // SAFETY: see the top of the file.
        Self(unsafe { _mm512_mask_mov_ps(self.0, first(count), _mm512_set1_ps(x)) })
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
    fn scaled(self, shifted: Self, least: f64) -> Self {
        // SAFETY: see the top of the file. Positive numbers are in the order of their bits.
        unsafe {
            let (bits, shifted) = (_mm512_castpd_si512(self.0), _mm512_castpd_si512(shifted.0));
            let least = _mm512_castpd_si512(_mm512_set1_pd(least));
            let counts = _mm512_cmpge_epi64_mask(shifted, least);
            let exponent = _mm512_slli_epi64::<52>(shifted);
            Self(_mm512_castsi512_pd(_mm512_maskz_add_epi64(counts, bits, exponent)))
        }
    }

    #[inline(always)]
    fn or_nan_of(self, x: Self) -> Self {
        // SAFETY: see the top of the file.
        Self(unsafe { _mm512_mask_mov_pd(self.0, _mm512_cmp_pd_mask::<_CMP_UNORD_Q>(x.0, x.0), x.0) })
    }

    #[inline(always)]
    fn has_nan(self) -> bool {
        // SAFETY: see the top of the file.
        unsafe { _mm512_cmp_pd_mask::<_CMP_UNORD_Q>(self.0, self.0) != 0 }
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
    fn replaced(self, lane: usize, x: f64) -> Self {
        let here = u8::from(lane < 8) << (lane % 8);
        // SAFETY: see the top of the file.
        Self(unsafe { _mm512_mask_mov_pd(self.0, here, _mm512_set1_pd(x)) })
    }

    #[inline(always)]
    fn replaced_first(self, count: usize, x: f64) -> Self {
        // SAFETY: see the top of the file.
        Self(unsafe { _mm512_mask_mov_pd(self.0, first(count) as u8, _mm512_set1_pd(x)) })
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
