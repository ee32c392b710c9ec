//! Second half of a row: its gradients.

use super::block::{Block, Part, Slopes, vanishing};
use super::labels::without_class;
use super::measure::{Scratch, widened};
use super::work::{Spot, Work};
use crate::descriptor::FeatureInput;
use crate::element::Element;
use crate::math::Real;
use crate::rows;
use crate::simd::Level;

impl<T: Element> Work<'_, T> {
    /// Writes the gradients of a part of a row.
    ///
    /// # Safety
    /// No one else uses this part of this row, of the block or of the outputs.
    #[inline(always)]
    pub unsafe fn finish<L: Level>(
        &self,
        block: &Block<T::Matrix>,
        spot: &Spot,
        scratch: &mut Scratch<T::Matrix>,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            if spot.logits {
                self.finish_logits::<L>(block, spot);
            } else {
                self.finish_features::<L>(block, spot, scratch);
            }
            if spot.logits && spot.columns.start == 0 && self.loss.features != FeatureInput::Raw {
                self.finish_norm(spot.row, block.slopes().by_norm[spot.place]);
            }
        }
    }

    /// logits_grad = others · r + shift, and `label` at the label.
    #[inline(always)]
    unsafe fn finish_logits<L: Level>(&self, block: &Block<T::Matrix>, spot: &Spot) {
        let Some(grad) = &self.out.logits_grad else { return };
        let (columns, slopes, class) = (&spot.columns, block.slopes(), self.classes[spot.row]);
        let range = self.among_logits(spot.row, spot);
        // SAFETY: the caller's promise.
        let keep = unsafe { self.keep(block, spot) };
        let keep = keep.expect("there is a gradient, which needs the exponentials");
        // SAFETY: the caller's promise; exponentials are kept apart then.
        let away = self.away.then(|| T::direct_mut(unsafe { grad.piece(range.clone()) })).flatten();
        let done = if let Some(value) = without_class(class) {
            let place = away.unwrap_or(keep);
            place.fill(T::Matrix::from_f64(value));
            place
        } else {
            // SAFETY: all parts were measured before the first is finished.
            let part = unsafe { block.part(spot.index) };
            let certain = block.quantities.lead[spot.place] == f64::NEG_INFINITY;
            let factor = if certain || part.sum == 0.0 {
                vanishing(slopes.others[spot.place])
            } else {
                self.factor(&part, slopes, spot.place)
            };
            let factors = [factor, bounded::<T>(slopes.shift[spot.place])];
            let place = scaled::<_, L>(keep, factors.map(T::Matrix::from_f64), away);
            let class = class as usize;
            if columns.contains(&class) {
                place[class - columns.start] = T::Matrix::from_f64(bounded::<T>(slopes.label[spot.place]));
            }
            place
        };
        if let Some(largest) = T::LARGEST {
            rows::saturate(done, T::Matrix::from_f64(largest));
            // SAFETY: the caller's promise; a half type keeps its exponentials elsewhere.
            T::narrow_all(done, unsafe { grad.piece(range) });
        }
    }

    /// Of the exponentials of a part, not all of which are 0.
    #[inline(always)]
    fn factor(&self, part: &Part, slopes: &Slopes, place: usize) -> f64 {
        let others = bounded::<T>(slopes.others[place]);
        if self.logit_parts() == 1 {
            return others / slopes.total[place];
        }
        let weight = (part.exponent(slopes.highest[place], self.loss.scale) - slopes.above[place]).exp();
        others * weight / slopes.total[place]
    }

    /// features_grad = by_norm · sign(features)
    #[inline(always)]
    unsafe fn finish_features<L: Level>(
        &self,
        block: &Block<T::Matrix>,
        spot: &Spot,
        scratch: &mut Scratch<T::Matrix>,
    ) {
        let Some(grad) = &self.out.features_grad else { return };
        let start = spot.row * self.width;
        let range = start + spot.columns.start..start + spot.columns.end;
        let values = &self.inputs.features[range.clone()];
        // SAFETY: the caller's promise.
        let out = unsafe { grad.piece(range) };
        let Scratch { wide, signs, .. } = scratch;
        let slope = T::Matrix::from_f64(saturated::<T>(block.slopes().by_norm[spot.place]));
        let half = T::LARGEST.is_some();
        if half {
            signs.resize(out.len(), T::Matrix::ZERO);
        }
        let Some(place) = (if half { Some(&mut signs[..]) } else { T::direct_mut(out) }) else { return };
        if self.idle(spot.row) {
            place.fill(T::Matrix::ZERO);
        } else {
            // A norm that is finite has no NaN in it.
            // SAFETY: all parts were measured before the first is finished.
            let nan = !self.normed || !unsafe { block.part(spot.index) }.l1.is_finite();
            rows::signed::<_, L>(widened::<T>(values, wide), slope, place, nan, self.away);
        }
        if half {
            T::narrow_all(signs, out);
        }
    }

    /// The gradient by a norm that is given.
    #[inline(always)]
    unsafe fn finish_norm(&self, row: usize, by_norm: f64) {
        if let Some(grad) = &self.out.features_grad {
            let slope = [T::Matrix::from_f64(saturated::<T>(by_norm))];
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
