//! Element types of logits, features and their gradients, and the type that arithmetic on them is in.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::math::Real;

/// An element type.
pub trait Element: Copy + Send + Sync + 'static {
    /// What `[N, C]` and `[N, D]` arithmetic is in, and the type of losses and row entries.
    type Matrix: Real;
    /// Where gradients saturate: the largest finite number of a half type.
    const LARGEST: Option<f64>;

    /// The elements themselves, where no conversion is needed.
    fn direct(values: &[Self]) -> Option<&[Self::Matrix]>;

    /// The elements themselves, where no conversion is needed.
    fn direct_mut(values: &mut [Self]) -> Option<&mut [Self::Matrix]>;

    /// One element, exactly.
    fn widen(self) -> Self::Matrix;

    /// All elements, exactly; both slices have the same length.
    fn widen_all(from: &[Self], to: &mut [Self::Matrix]);

    /// All elements, rounded; both slices have the same length.
    fn narrow_all(from: &[Self::Matrix], to: &mut [Self]);
}

macro_rules! full {
    ($type:ty) => {
        impl Element for $type {
            type Matrix = $type;
            const LARGEST: Option<f64> = None;

            #[inline(always)]
            fn direct(values: &[Self]) -> Option<&[Self]> {
                Some(values)
            }

            #[inline(always)]
            fn direct_mut(values: &mut [Self]) -> Option<&mut [Self]> {
                Some(values)
            }

            #[inline(always)]
            fn widen(self) -> Self {
                self
            }

            #[inline(always)]
            fn widen_all(from: &[Self], to: &mut [Self]) {
                to.copy_from_slice(from);
            }

            #[inline(always)]
            fn narrow_all(from: &[Self], to: &mut [Self]) {
                to.copy_from_slice(from);
            }
        }
    };
}

macro_rules! half {
    ($type:ty, $largest:expr) => {
        impl Element for $type {
            type Matrix = f32;
            const LARGEST: Option<f64> = Some($largest);

            #[inline(always)]
            fn direct(_: &[Self]) -> Option<&[f32]> {
                None
            }

            #[inline(always)]
            fn direct_mut(_: &mut [Self]) -> Option<&mut [f32]> {
                None
            }

            #[inline(always)]
            fn widen(self) -> f32 {
                self.to_f32()
            }

            #[inline(always)]
            fn widen_all(from: &[Self], to: &mut [f32]) {
                from.convert_to_f32_slice(to);
            }

            #[inline(always)]
            fn narrow_all(from: &[f32], to: &mut [Self]) {
                to.convert_from_f32_slice(from);
            }
        }
    };
}

full!(f32);
full!(f64);
half!(f16, 65504.0);
// 2^127 · (2 - 2^-7)
half!(bf16, 338_953_138_925_153_547_590_470_800_371_487_866_880.0);
