//! First half of a row: its maximum, its sum of exponentials, its norm.

use std::ops::Range;

use super::block::{Block, Part};
use super::labels::without_class;
use super::work::{Spot, Work};
use crate::element::Element;
use crate::math::Real;
use crate::rows::{self, NOWHERE};
use crate::simd::Level;

/// Space that a task uses again and again.
#[derive(Debug)]
pub(super) struct Scratch<M> {
    /// Elements of a half type in the matrix type.
    pub wide: Vec<M>,
    /// Adjusted logits.
    adjusted: Vec<M>,
    /// Gradients by features, before they are rounded to a half type.
    pub signs: Vec<M>,
}

impl<M> Default for Scratch<M> {
    fn default() -> Self {
        Self { wide: Vec::new(), adjusted: Vec::new(), signs: Vec::new() }
    }
}

/// `values` in the matrix type: themselves, or converted into `space`.
#[inline(always)]
pub(super) fn widened<'s, T: Element>(values: &'s [T], space: &'s mut Vec<T::Matrix>) -> &'s [T::Matrix] {
    match T::direct(values) {
        Some(direct) => direct,
        None => {
            space.resize(values.len(), T::Matrix::ZERO);
            T::widen_all(values, space);
            space
        }
    }
}

impl<T: Element> Work<'_, T> {
    /// Measures a part of a row.
    ///
    /// # Safety
    /// No one else uses this part of this row, of the block or of the outputs.
    #[inline(always)]
    pub unsafe fn measure<L: Level>(
        &self,
        block: &Block<T::Matrix>,
        spot: &Spot,
        scratch: &mut Scratch<T::Matrix>,
    ) {
        let class = self.classes[spot.row];
        if without_class(class).is_some() {
            return;
        }
        let columns = &spot.columns;
        let found = if spot.logits {
            let values = &self.inputs.logits[spot.row * self.loss.classes..][columns.clone()];
            // SAFETY: the caller's promise.
            let keep = unsafe { self.keep(block, spot) };
            self.measure_logits::<L>(values, class as usize, columns, keep, scratch)
        } else if self.normed {
            let values = &self.inputs.features[spot.row * self.width..][columns.clone()];
            Part { l1: rows::l1::<_, L>(widened::<T>(values, &mut scratch.wide)), ..Part::default() }
        } else {
            return;
        };
        // SAFETY: the caller's promise.
        unsafe { block.set_part(spot.index, found) };
    }

    /// Where the exponentials of a part are kept; `None` where no gradient needs them.
    ///
    /// # Safety
    /// No one else uses this part of this row.
    #[inline(always)]
    #[expect(clippy::mut_from_ref, reason = "pieces and cells; see the safety section")]
    pub unsafe fn keep<'b>(
        &'b self,
        block: &'b Block<T::Matrix>,
        spot: &Spot,
    ) -> Option<&'b mut [T::Matrix]> {
        let grad = self.out.logits_grad.as_ref()?;
        // SAFETY: the caller's promise.
        unsafe {
            if self.keeps_apart() {
                Some(block.kept(self.among_logits(spot.place, spot)))
            } else {
                T::direct_mut(grad.piece(self.among_logits(spot.row, spot)))
            }
        }
    }

    /// A part of the logits of a row, among those of all.
    #[inline(always)]
    pub fn among_logits(&self, row: usize, spot: &Spot) -> Range<usize> {
        let start = row * self.loss.classes;
        start + spot.columns.start..start + spot.columns.end
    }

    #[inline(always)]
    fn measure_logits<L: Level>(
        &self,
        values: &[T],
        class: usize,
        columns: &Range<usize>,
        keep: Option<&mut [T::Matrix]>,
        scratch: &mut Scratch<T::Matrix>,
    ) -> Part {
        let Scratch { wide, adjusted, .. } = scratch;
        let z = widened::<T>(values, wide);
        let label = if columns.contains(&class) { class - columns.start } else { NOWHERE };
        let (highest, nan) = rows::highest::<_, L>(z, label);
        let mut part = Part { highest: highest.to_f64(), ..Part::default() };
        if nan || !part.highest.is_finite() {
            return without_exponentials(part, nan, z.len() - usize::from(label < z.len()), keep);
        }
        if self.smoothed {
            part.lead = rows::lead::<_, L>(z, label, highest);
        }
        let (z, top) = if self.plain() {
            (z, highest)
        } else {
            adjusted.resize(z.len(), T::Matrix::ZERO);
            let bias = self.bias.as_ref().map(|bias| &bias[columns.clone()]);
            rows::adjust::<_, L>(z, highest, T::Matrix::from_f64(self.loss.scale), bias, adjusted);
            let (above, nan) = rows::highest::<_, L>(adjusted, label);
            part.above = above.to_f64();
            if nan || !part.above.is_finite() {
                // Where the biases of all others are -inf, so are their logits.
                let highest = if part.above == f64::NEG_INFINITY { part.above } else { part.highest };
                return without_exponentials(Part { highest, above: 0.0, ..part }, nan, 1, keep);
            }
            (&adjusted[..], above)
        };
        part.sum = match keep {
            Some(keep) => rows::exp_sum_into::<_, L>(z, label, top, keep),
            None => rows::exp_sum::<_, L>(z, label, top),
        };
        part
    }
}

/// A part whose highest logit is not finite, or that has a NaN: it makes its row NaN, or, where every other class is at -∞,
/// has no share in the sum. `others` counts the other classes.
#[inline(always)]
fn without_exponentials<M: Real>(part: Part, nan: bool, others: usize, keep: Option<&mut [M]>) -> Part {
    if let Some(keep) = keep {
        keep.fill(M::ZERO);
    }
    let nothing = !nan && part.highest == f64::NEG_INFINITY;
    let sum = if nothing { 0.0 } else { f64::NAN };
    let lead = if others == 0 { 0.0 } else { part.highest };
    Part { sum, lead, ..part }
}
