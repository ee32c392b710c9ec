//! First half of a row: its maximum, its sum of exponentials, its norm.

use super::block::{Block, Part};
use super::labels::{IGNORED, INVALID};
use super::work::Work;
use crate::element::Element;
use crate::math::Real;
use crate::rows;
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
    /// Measures a part of a row: `index` counts the parts of the rows from `first` on.
    ///
    /// # Safety
    /// No one else uses this part of this row, of the block or of the outputs.
    #[inline(always)]
    pub unsafe fn measure<L: Level>(
        &self,
        block: &Block<T::Matrix>,
        first: usize,
        index: usize,
        scratch: &mut Scratch<T::Matrix>,
    ) {
        let (place, part) = (index / self.parts(), index % self.parts());
        let row = first + place;
        let class = self.classes[row];
        if class == IGNORED || class == INVALID {
            return;
        }
        let (columns, logits) = self.columns(part);
        let found = if logits {
            let classes = self.loss.classes;
            let values = &self.inputs.logits[row * classes..][columns.clone()];
            // SAFETY: the caller's promise.
            let keep = unsafe { self.keep(block, place, row, &columns) };
            self.measure_logits::<L>(values, class as usize, &columns, keep, scratch)
        } else if self.normed {
            let values = &self.inputs.features[row * self.width..][columns];
            Part { l1: rows::l1::<_, L>(widened::<T>(values, &mut scratch.wide)), ..Part::default() }
        } else {
            return;
        };
        // SAFETY: the caller's promise.
        unsafe { block.set_part(index, found) };
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
        place: usize,
        row: usize,
        columns: &std::ops::Range<usize>,
    ) -> Option<&'b mut [T::Matrix]> {
        let classes = self.loss.classes;
        let grad = self.out.logits_grad.as_ref()?;
        let range = |row: usize| row * classes + columns.start..row * classes + columns.end;
        // SAFETY: the caller's promise.
        unsafe {
            if self.keeps_apart() {
                Some(block.kept(range(place)))
            } else {
                T::direct_mut(grad.piece(range(row)))
            }
        }
    }

    #[inline(always)]
    fn measure_logits<L: Level>(
        &self,
        values: &[T],
        class: usize,
        columns: &std::ops::Range<usize>,
        keep: Option<&mut [T::Matrix]>,
        scratch: &mut Scratch<T::Matrix>,
    ) -> Part {
        let Scratch { wide, adjusted, .. } = scratch;
        let z = widened::<T>(values, wide);
        // Elements before the label, and those after it; all are before it where the label is elsewhere.
        let label = if columns.contains(&class) { class - columns.start } else { z.len() };
        let after = (label + 1).min(z.len());
        let highest = rows::max::<_, L>([&z[..label], &z[after..]]);
        if highest == T::Matrix::LOWEST {
            return nothing(z, label, keep);
        }
        let mut part = Part { highest: highest.to_f64(), ..Part::default() };
        if self.smoothed {
            part.lead = rows::lead::<_, L>([&z[..label], &z[after..]], highest);
        }
        let (z, top) = if self.plain() {
            (z, highest)
        } else {
            adjusted.resize(z.len(), T::Matrix::ZERO);
            let bias = self.bias.as_ref().map(|bias| &bias[columns.clone()]);
            rows::adjust::<_, L>(z, highest, T::Matrix::from_f64(self.loss.scale), bias, adjusted);
            let above = rows::max::<_, L>([&adjusted[..label], &adjusted[after..]]);
            part.above = above.to_f64();
            (&adjusted[..], above)
        };
        let others = [&z[..label], &z[after..]];
        part.sum = match keep {
            Some(keep) => {
                let (before, rest) = keep.split_at_mut(label);
                let (at_label, behind) = rest.split_at_mut(after - label);
                at_label.fill(T::Matrix::ZERO);
                rows::exp_sum_into::<_, L>(others, top, [before, behind])
            }
            None => rows::exp_sum::<_, L>(others, top),
        };
        part
    }
}

/// A part without a finite logit of another class: no share in the sum, or NaN where one is NaN.
#[inline(always)]
fn nothing<M: Real>(z: &[M], label: usize, keep: Option<&mut [M]>) -> Part {
    let others = z.iter().enumerate().filter(|(j, _)| *j != label);
    let nan = others.clone().any(|(_, x)| x.partial_cmp(x).is_none());
    let sum = if nan { f64::NAN } else { 0.0 };
    if let Some(keep) = keep {
        keep.fill(M::from_f64(sum));
    }
    let lead = if others.count() == 0 { 0.0 } else { f64::NEG_INFINITY };
    Part { highest: f64::NEG_INFINITY, above: 0.0, sum, lead, l1: 0.0 }
}
