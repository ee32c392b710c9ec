//! Vectors of NEON, which every 64-bit ARM machine has.
//!
//! Every `unsafe` here calls an instruction of NEON, and reads or writes slices whose length was looked at.

use std::arch::aarch64::*;

use super::{Level, Vector};

/// NEON
#[derive(Debug, Clone, Copy)]
pub(super) struct Neon;

impl Level for Neon {
    type F32 = F32x4;
    type F64 = F64x2;
    const FMA: bool = true;
}

macro_rules! vector {
    ($name:ident($register:ty) of $len:literal $element:ty: $splat:ident $load:ident $store:ident
        $add:ident $sub:ident $mul:ident $fused:ident $magnitude:ident $above:ident $equal:ident $select:ident $max_across:ident
        { $($rest:item)* }) => {
        #[derive(Debug, Clone, Copy)]
        pub(super) struct $name($register);

        impl Vector for $name {
            common! { $len $element: $splat $load $store $add $sub $mul }

            #[inline(always)]
            fn load_part(from: &[$element], fill: $element) -> Self {
                let mut array = [fill; $len];
                array[..from.len()].copy_from_slice(from);
                Self::load(&array)
            }

            #[inline(always)]
            fn store_part(self, to: &mut [$element]) {
                let mut array = [0.0; $len];
                self.store(&mut array);
                to.copy_from_slice(&array[..to.len()]);
            }

            #[inline(always)]
            fn stream(self, to: &mut [$element]) {
                self.store(to);
            }

            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                // SAFETY: see the top of the file.
                Self(unsafe { $fused(c.0, self.0, b.0) })
            }

            #[inline(always)]
            fn max(self, b: Self) -> Self {
                // The instruction for a maximum gives NaN where one of them is.
                self.select_above(b, self, b)
            }

            #[inline(always)]
            fn magnitude(self) -> Self {
                // SAFETY: see the top of the file.
                Self(unsafe { $magnitude(self.0) })
            }

            #[inline(always)]
            fn select_above(self, b: Self, x: Self, y: Self) -> Self {
                // SAFETY: see the top of the file.
                Self(unsafe { $select($above(self.0, b.0), x.0, y.0) })
            }

            #[inline(always)]
            fn scaled(self, shifted: Self, least: $element) -> Self {
                Self::splat(least).select_above(shifted, Self::splat(0.0), self.with_exponent(shifted))
            }

            #[inline(always)]
            fn or_nan_of(self, x: Self) -> Self {
                // SAFETY: see the top of the file.
                Self(unsafe { $select($equal(x.0, x.0), self.0, x.0) })
            }

            #[inline(always)]
            fn has_nan(self) -> bool {
                let mut array = [0.0; $len];
                self.store(&mut array);
                array.iter().any(|x| x.is_nan())
            }

            #[inline(always)]
            fn replaced(self, lane: usize, x: $element) -> Self {
                let mut array = [0.0; $len];
                self.store(&mut array);
                if let Some(place) = array.get_mut(lane) {
                    *place = x;
                }
                Self::load(&array)
            }

            #[inline(always)]
            fn replaced_first(self, count: usize, x: $element) -> Self {
                let mut array = [0.0; $len];
                self.store(&mut array);
                array[..count].fill(x);
                Self::load(&array)
            }

            #[inline(always)]
            fn times_sign_of(self, x: Self) -> Self {
                let zero = Self::splat(0.0);
                x.select_above(zero, self, zero.select_above(x, zero.sub(self), zero))
            }

            #[inline(always)]
            fn max_across(self) -> $element {
                // SAFETY: see the top of the file.
                unsafe { $max_across(self.0) }
            }

            $($rest)*
        }
    };
}

vector! { F32x4(float32x4_t) of 4 f32: vdupq_n_f32 vld1q_f32 vst1q_f32
vaddq_f32 vsubq_f32 vmulq_f32 vfmaq_f32 vabsq_f32 vcgtq_f32 vceqq_f32 vbslq_f32 vmaxnmvq_f32 {
    #[inline(always)]
    fn sum_across(self) -> f64 {
        // SAFETY: see the top of the file.
        unsafe {
            let (low, high) = (vcvt_f64_f32(vget_low_f32(self.0)), vcvt_high_f64_f32(self.0));
            vaddvq_f64(vaddq_f64(low, high))
        }
    }
} }

vector! { F64x2(float64x2_t) of 2 f64: vdupq_n_f64 vld1q_f64 vst1q_f64
vaddq_f64 vsubq_f64 vmulq_f64 vfmaq_f64 vabsq_f64 vcgtq_f64 vceqq_f64 vbslq_f64 vmaxnmvq_f64 {
    #[inline(always)]
    fn sum_across(self) -> f64 {
        // SAFETY: see the top of the file.
        unsafe { vaddvq_f64(self.0) }
    }
} }

impl F32x4 {
    /// self · 2^n with n in the lowest bits of `shifted`
    #[inline(always)]
    fn with_exponent(self, shifted: Self) -> Self {
        // SAFETY: see the top of the file.
        unsafe {
            let exponent = vshlq_n_u32::<23>(vreinterpretq_u32_f32(shifted.0));
            Self(vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(self.0), exponent)))
        }
    }
}

impl F64x2 {
    /// self · 2^n with n in the lowest bits of `shifted`
    #[inline(always)]
    fn with_exponent(self, shifted: Self) -> Self {
        // SAFETY: see the top of the file.
        unsafe {
            let exponent = vshlq_n_u64::<52>(vreinterpretq_u64_f64(shifted.0));
            Self(vreinterpretq_f64_u64(vaddq_u64(vreinterpretq_u64_f64(self.0), exponent)))
        }
    }
}
