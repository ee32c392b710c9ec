//! Second half of a row: its gradients.

use super::block::{Block, Slopes};
use super::labels::IGNORED;
use super::measure::{Scratch, widened};
use super::work::Work;
use crate::descriptor::FeatureInput;
use crate::element::Element;
use crate::math::Real;
use crate::rows;

impl<T: Element> Work<'_, T> {
    /// Writes the gradients of a part of a row: `index` counts the parts of the rows from `first` on.
    ///
    /// # Safety
    /// No one else uses this part of this row, of the block or of the outputs.
    #[inline(always)]
    pub unsafe fn finish(
        &self,
        block: &Block<T::Matrix>,
        first: usize,
        index: usize,
        scratch: &mut Scratch<T::Matrix>,
    ) {
        let (place, part) = (index / self.parts(), index % self.parts());
        let row = first + place;
        let slopes = block.slopes(place);
        // SAFETY: the caller's promise.
        unsafe {
            let (_, logits) = self.columns(part);
            if logits {
                self.finish_logits(block, (place, row), index, slopes);
            } else {
                self.finish_features(row, part, slopes, scratch);
            }
            if part == 0 && self.loss.features != FeatureInput::Raw {
                self.finish_norm(row, slopes);
            }
        }
    }

    /// logits_grad = others · r + shift, and `label` at the label.
    #[inline(always)]
    unsafe fn finish_logits(
        &self,
        block: &Block<T::Matrix>,
        (place, row): (usize, usize),
        index: usize,
        slopes: &Slopes,
    ) {
        let Some(grad) = &self.out.logits_grad else { return };
        let (columns, _) = self.columns(index % self.parts());
        let classes = self.loss.classes;
        // SAFETY: the caller's promise.
        let keep = unsafe { self.keep(block, place, row, &columns) };
        let keep = keep.expect("there is a gradient, which needs the exponentials");
        let class = self.classes[row] as usize;
        if class >= classes {
            let fill = if self.classes[row] == IGNORED { 0.0 } else { f64::NAN };
            keep.fill(T::Matrix::from_f64(fill));
        } else {
            // SAFETY: all parts were measured before the first is finished.
            let part = unsafe { block.part(index) };
            let weight = if self.logit_parts() == 1 {
                1.0
            } else {
                (part.exponent(slopes.highest, self.loss.scale) - slopes.above).exp()
            };
            let others = bounded::<T>(slopes.others);
            // Where the sum is 0 every other logit is -inf, and r · others is 0 or NaN.
            let factor = if part.sum == 0.0 { others * 0.0 } else { others * weight / slopes.total };
            let factor = if part.sum == 0.0 && others.is_infinite() { 0.0 } else { factor };
            let [factor, shift] = [factor, bounded::<T>(slopes.shift)].map(T::Matrix::from_f64);
            rows::scale(keep, factor, shift);
            if columns.contains(&class) {
                keep[class - columns.start] = T::Matrix::from_f64(bounded::<T>(slopes.label));
            }
        }
        if let Some(largest) = T::LARGEST {
            rows::saturate(keep, T::Matrix::from_f64(largest));
            // SAFETY: the caller's promise; a half type keeps its exponentials elsewhere.
            let out = unsafe { grad.piece(row * classes + columns.start..row * classes + columns.end) };
            T::narrow_all(keep, out);
        }
    }

    /// features_grad = by_norm · sign(features)
    #[inline(always)]
    unsafe fn finish_features(
        &self,
        row: usize,
        part: usize,
        slopes: &Slopes,
        scratch: &mut Scratch<T::Matrix>,
    ) {
        let Some(grad) = &self.out.features_grad else { return };
        let (columns, _) = self.columns(part);
        let range = row * self.width + columns.start..row * self.width + columns.end;
        let values = &self.inputs.features[range.clone()];
        // SAFETY: the caller's promise.
        let out = unsafe { grad.piece(range) };
        let Scratch { wide, signs, .. } = scratch;
        // Where the loss is off or the row does not count, the features do not matter, whatever they are.
        let idle = !self.inputs.enabled || self.classes[row] == IGNORED;
        let slope = T::Matrix::from_f64(saturated::<T>(slopes.by_norm));
        let fill = |to: &mut [T::Matrix], wide: &mut Vec<T::Matrix>| match idle {
            true => to.fill(T::Matrix::ZERO),
            false => rows::signed(widened::<T>(values, wide), slope, to),
        };
        if T::LARGEST.is_none() {
            if let Some(out) = T::direct_mut(out) {
                fill(out, wide);
            }
        } else {
            signs.resize(out.len(), T::Matrix::ZERO);
            fill(signs, wide);
            T::narrow_all(signs, out);
        }
    }

    /// The gradient by a norm that is given.
    #[inline(always)]
    unsafe fn finish_norm(&self, row: usize, slopes: &Slopes) {
        if let Some(grad) = &self.out.features_grad {
            let slope = [T::Matrix::from_f64(saturated::<T>(slopes.by_norm))];
            // SAFETY: the caller's promise.
            T::narrow_all(&slope, unsafe { grad.piece(row..row + 1) });
        }
    }
}

/// For half types, bounded by float32's largest number: products with r saturate later. NaN stays.
#[inline(always)]
fn bounded<T: Element>(slope: f64) -> f64 {
    if T::LARGEST.is_some() { slope.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) } else { slope }
}

/// For half types, bounded by their largest number. NaN stays.
#[inline(always)]
fn saturated<T: Element>(slope: f64) -> f64 {
    T::LARGEST.map_or(slope, |largest| slope.clamp(-largest, largest))
}
