//! Second half of a row: its gradients.

use super::block::{Block, Part, Slopes};
use super::labels::IGNORED;
use super::measure::{Scratch, widened};
use super::work::Work;
use crate::descriptor::FeatureInput;
use crate::element::Element;
use crate::math::Real;
use crate::rows;
use crate::simd::Level;

impl<T: Element> Work<'_, T> {
    /// Writes the gradients of a part of a row: `index` counts the parts of the rows from `first` on.
    ///
    /// # Safety
    /// No one else uses this part of this row, of the block or of the outputs.
    #[inline(always)]
    pub unsafe fn finish<L: Level>(
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
                self.finish_logits::<L>(block, (place, row), index, slopes);
            } else {
                self.finish_features::<L>(block, (row, index), slopes, scratch);
            }
            if part == 0 && self.loss.features != FeatureInput::Raw {
                self.finish_norm(row, slopes);
            }
        }
    }

    /// logits_grad = others · r + shift, and `label` at the label.
    #[inline(always)]
    unsafe fn finish_logits<L: Level>(
        &self,
        block: &Block<T::Matrix>,
        (place, row): (usize, usize),
        index: usize,
        slopes: &Slopes,
    ) {
        let Some(grad) = &self.out.logits_grad else { return };
        let (columns, _) = self.columns(index % self.parts());
        let (class, start) = (self.classes[row] as usize, row * self.loss.classes);
        let range = start + columns.start..start + columns.end;
        // SAFETY: the caller's promise.
        let keep = unsafe { self.keep(block, place, row, &columns) };
        let keep = keep.expect("there is a gradient, which needs the exponentials");
        // SAFETY: the caller's promise; exponentials are kept apart then.
        let away = self.away.then(|| T::direct_mut(unsafe { grad.piece(range.clone()) })).flatten();
        let done = if class >= self.loss.classes {
            let fill = if self.classes[row] == IGNORED { 0.0 } else { f64::NAN };
            let place = away.unwrap_or(keep);
            place.fill(T::Matrix::from_f64(fill));
            place
        } else {
            // SAFETY: all parts were measured before the first is finished.
            let part = unsafe { block.part(index) };
            let factors = [self.factor(&part, slopes), bounded::<T>(slopes.shift)];
            let place = scaled::<_, L>(keep, factors.map(T::Matrix::from_f64), away);
            if columns.contains(&class) {
                place[class - columns.start] = T::Matrix::from_f64(bounded::<T>(slopes.label));
            }
            place
        };
        if let Some(largest) = T::LARGEST {
            rows::saturate(done, T::Matrix::from_f64(largest));
            // SAFETY: the caller's promise; a half type keeps its exponentials elsewhere.
            T::narrow_all(done, unsafe { grad.piece(range) });
        }
    }

    /// Of the exponentials of a part.
    #[inline(always)]
    fn factor(&self, part: &Part, slopes: &Slopes) -> f64 {
        let others = bounded::<T>(slopes.others);
        // Where the sum is 0 every other logit is -inf, and r · others is 0 or NaN.
        if part.sum == 0.0 {
            return if others.is_infinite() { 0.0 } else { others * 0.0 };
        }
        if self.logit_parts() == 1 {
            return others / slopes.total;
        }
        let weight = (part.exponent(slopes.highest, self.loss.scale) - slopes.above).exp();
        others * weight / slopes.total
    }

    /// features_grad = by_norm · sign(features)
    #[inline(always)]
    unsafe fn finish_features<L: Level>(
        &self,
        block: &Block<T::Matrix>,
        (row, index): (usize, usize),
        slopes: &Slopes,
        scratch: &mut Scratch<T::Matrix>,
    ) {
        let Some(grad) = &self.out.features_grad else { return };
        let (columns, _) = self.columns(index % self.parts());
        let range = row * self.width + columns.start..row * self.width + columns.end;
        let values = &self.inputs.features[range.clone()];
        // SAFETY: the caller's promise.
        let out = unsafe { grad.piece(range) };
        let Scratch { wide, signs, .. } = scratch;
        // Where the loss is off or the row does not count, the features do not matter, whatever they are.
        let idle = !self.inputs.enabled || self.classes[row] == IGNORED;
        let slope = T::Matrix::from_f64(saturated::<T>(slopes.by_norm));
        let half = T::LARGEST.is_some();
        if half {
            signs.resize(out.len(), T::Matrix::ZERO);
        }
        let Some(place) = (if half { Some(&mut signs[..]) } else { T::direct_mut(out) }) else { return };
        if idle {
            place.fill(T::Matrix::ZERO);
        } else {
            // A norm that is finite has no NaN in it.
            // SAFETY: all parts were measured before the first is finished.
            let nan = !self.normed || !unsafe { block.part(index) }.l1.is_finite();
            rows::signed::<_, L>(widened::<T>(values, wide), slope, place, nan, self.away);
        }
        if half {
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

/// e · factor + shift: to `away`, past the caches, or in place.
#[inline(always)]
fn scaled<'p, M: Real, L: Level>(
    e: &'p mut [M],
    [factor, shift]: [M; 2],
    away: Option<&'p mut [M]>,
) -> &'p mut [M] {
    match away {
        Some(place) => {
            rows::scale_away::<_, L>(e, factor, shift, place);
            place
        }
        None => {
            rows::scale::<_, L>(e, factor, shift);
            e
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
