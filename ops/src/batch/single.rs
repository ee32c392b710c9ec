//! Rows that are taken in one piece, whose logits are used as they are: what most losses of most classifiers are made of.
//! Between the passes over such a row there is little to do, so little must be asked.

use std::ops::Range;

use super::block::{Block, alone, vanishing};
use super::labels::without_class;
use super::work::Work;
use crate::descriptor::FeatureInput;
use crate::element::Element;
use crate::evaluate::ROWS;
use crate::math::Real;
use crate::rows;
use crate::simd::Level;

/// Logits that a pass takes before the next does: with the gradients that they become, half of the first level of the
/// cache.
const TOGETHER: usize = 2048;

/// Logits or features of a row that is taken in one piece: with their gradients at most 128 kB of f32 each, a quarter of
/// an L2 cache of 512 kB. Longer ones are measured and finished in parts, each still in the first level.
const SINGLE: usize = if cfg!(miri) { 1 << 5 } else { 1 << 14 };

/// What [`Work::single`] has made sure of.
const DIRECT: &str = "the gradient by the logits is asked for, and its elements are those of the arithmetic";

impl<T: Element> Work<'_, T> {
    /// Whether rows are of this kind.
    pub fn single(&self) -> bool {
        let direct = T::LARGEST.is_none() && !self.away && self.out.logits_grad.is_some();
        let whole = self.loss.classes.max(self.width) <= SINGLE;
        direct && whole && self.plain() && !self.smoothed && self.loss.features == FeatureInput::Raw
    }

    /// Measures rows: their quantities, and exponentials where the gradient will be.
    ///
    /// A pass takes some rows before the next does, so that what one row waits for is spent on others.
    ///
    /// # Safety
    /// No one else uses these rows of the outputs.
    #[inline(always)]
    pub unsafe fn measure_single<L: Level>(&self, block: &mut Block<T::Matrix>, rows: Range<usize>) {
        let together = (TOGETHER / self.loss.classes).clamp(1, ROWS);
        let mut first = rows.start;
        while first < rows.end {
            let some = first..(first + together).min(rows.end);
            let mut found = [(T::Matrix::LOWEST, false); ROWS];
            for (found, row) in found.iter_mut().zip(some.clone()) {
                let logits = &self.inputs.logits[self.logits_of(row)];
                let z = T::direct(logits).expect(DIRECT);
                *found = rows::highest::<_, L>(z, self.classes[row] as usize);
            }
            for (found, row) in found.iter().zip(some.clone()) {
                // SAFETY: the caller's promise.
                unsafe { self.exponentials::<L>(block, row - rows.start, row, *found) };
            }
            first = some.end;
        }
        for (place, row) in rows.enumerate().filter(|_| self.normed) {
            let values = &self.inputs.features[row * self.width..(row + 1) * self.width];
            let values = T::direct(values).expect(DIRECT);
            block.quantities.feature_l1[place] = rows::l1::<_, L>(values);
        }
    }

    /// Where the logits of a row are.
    #[inline(always)]
    fn logits_of(&self, row: usize) -> Range<usize> {
        row * self.loss.classes..(row + 1) * self.loss.classes
    }

    /// Keeps the exponentials of a row of which the highest other logit is known, and whether one is NaN.
    ///
    /// # Safety
    /// As for [`Work::measure_single`].
    #[inline(always)]
    unsafe fn exponentials<L: Level>(
        &self,
        block: &mut Block<T::Matrix>,
        place: usize,
        row: usize,
        (highest, nan): (T::Matrix, bool),
    ) {
        let grad = self.out.logits_grad.as_ref().expect(DIRECT);
        let class = self.classes[row];
        if without_class(class).is_some() {
            return;
        }
        let class = class as usize;
        block.given(self.inputs, place, row, class);
        let logits = &self.inputs.logits[self.logits_of(row)];
        // SAFETY: the caller's promise.
        let grad = unsafe { grad.piece(self.logits_of(row)) };
        let (z, keep) = (T::direct(logits).expect(DIRECT), T::direct_mut(grad).expect(DIRECT));
        let (top, label) = (highest.to_f64(), z[class].to_f64());
        let found = &mut block.quantities;
        (found.lead[place], found.total[place]) = if !nan && top.is_finite() {
            let margin = self.inputs.label_margin.map_or(0.0, |margins| margins.at(class));
            (top - label + margin, rows::exp_sum_into::<_, L>(z, class, highest, keep))
        } else {
            keep.fill(T::Matrix::ZERO);
            if !nan && top == f64::NEG_INFINITY { alone(label) } else { (f64::NAN, f64::NAN) }
        };
    }

    /// Writes the gradients of rows.
    ///
    /// # Safety
    /// No one else uses these rows of the outputs.
    #[inline(always)]
    pub unsafe fn finish_single<L: Level>(&self, block: &Block<T::Matrix>, rows: Range<usize>) {
        let grad = self.out.logits_grad.as_ref().expect(DIRECT);
        let (slopes, found) = (block.slopes(), &block.quantities);
        let mut factors = [0.0; ROWS];
        for (k, factor) in factors.iter_mut().enumerate() {
            let certain = found.lead[k] == f64::NEG_INFINITY;
            let others = slopes.others[k];
            *factor = if certain { vanishing(others) } else { others / found.total[k] };
        }
        let [factors, shifts, labels] =
            [&factors, &slopes.shift, &slopes.label].map(|rows| rows.map(T::Matrix::from_f64));
        for (place, row) in rows.clone().enumerate() {
            // SAFETY: the caller's promise.
            let grad = unsafe { grad.piece(self.logits_of(row)) };
            let grad = T::direct_mut(grad).expect(DIRECT);
            let class = self.classes[row];
            if let Some(value) = without_class(class) {
                grad.fill(T::Matrix::from_f64(value));
                continue;
            }
            rows::scale::<_, L>(grad, factors[place], shifts[place]);
            grad[class as usize] = labels[place];
        }
        // SAFETY: the caller's promise.
        unsafe { self.finish_single_features::<L>(block, rows) };
    }

    /// # Safety
    /// As for [`Work::finish_single`].
    #[inline(always)]
    unsafe fn finish_single_features<L: Level>(&self, block: &Block<T::Matrix>, rows: Range<usize>) {
        let Some(grad) = &self.out.features_grad else { return };
        let width = self.width;
        let slopes = block.slopes().by_norm.map(T::Matrix::from_f64);
        // A norm that is finite has no NaN in it.
        let norms = &block.quantities.feature_l1[..rows.len()];
        let nan = !self.normed || !norms.iter().all(|norm| norm.is_finite());
        for (slope, row) in slopes.into_iter().zip(rows) {
            let range = row * width..(row + 1) * width;
            let values = &self.inputs.features[range.clone()];
            // SAFETY: the caller's promise.
            let grad = unsafe { grad.piece(range) };
            let (values, grad) = (T::direct(values).expect(DIRECT), T::direct_mut(grad).expect(DIRECT));
            if self.idle(row) {
                grad.fill(T::Matrix::ZERO);
            } else {
                rows::signed::<_, L>(values, slope, grad, nan, false);
            }
        }
    }
}
