//! Rows that are worked on together.

use std::cell::UnsafeCell;
use std::ops::Range;

use super::labels::without_class;
use super::ports::Inputs;
use super::work::Work;
use crate::element::Element;
use crate::evaluate::{Evaluator, Quantities, ROWS, Rows};
use crate::math::Real;
use crate::simd::Level;

/// Bytes of inputs and outputs that a block should have, to be found again in the second level of the cache.
const CACHED: usize = 448 << 10;

/// Rows of a block whose rows have `row` elements of `T`. What a half type keeps in float32 beside them is not counted.
pub(super) fn rows_for<T>(row: usize) -> usize {
    let bytes = 2 * size_of::<T>() * row.max(1);
    (CACHED / bytes).clamp(1, ROWS)
}

/// What is found out about a part of a row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Part {
    /// The highest of the other logits, as given.
    pub highest: f64,
    /// The maximum of scale · (z - highest + bias) over the other classes.
    pub above: f64,
    /// Σ e^(scale · (z - highest + bias) - above) over the other classes
    pub sum: f64,
    /// Σ (z - highest) over the other classes
    pub lead: f64,
    /// Σ |features|
    pub l1: f64,
}

/// What rows need to be finished.
#[derive(Debug, Clone)]
pub(super) struct Slopes {
    /// Factor of the softmax of the other classes.
    pub others: Rows,
    /// Gradient at the label.
    pub label: Rows,
    /// Added at the other classes.
    pub shift: Rows,
    /// Factor of the signs of the features.
    pub by_norm: Rows,
    /// The largest `highest` of a row's parts, the largest exponent above it, and the sum over all parts.
    pub highest: Rows,
    pub above: Rows,
    pub total: Rows,
}

impl Default for Slopes {
    fn default() -> Self {
        let zero = [0.0; ROWS];
        Self {
            others: zero,
            label: zero,
            shift: zero,
            by_norm: zero,
            highest: zero,
            above: zero,
            total: zero,
        }
    }
}

/// Rows that are worked on together: their measures, and then their slopes.
pub(super) struct Block<M> {
    parts: Vec<UnsafeCell<Part>>,
    /// Exponentials `[rows, C]`, where they are not kept in `logits_grad`: half types, and gradients that are written past the
    /// caches.
    kept: Vec<UnsafeCell<M>>,
    /// What the program is given.
    pub quantities: Quantities,
    slopes: Slopes,
    evaluator: Evaluator,
}

// SAFETY: cells are used through `part`, `set_part` and `kept`, whose callers promise that no two threads use one at a time.
unsafe impl<M: Send + Sync> Sync for Block<M> {}

impl<M: Real> Block<M> {
    /// Space for `rows` rows, at most [`ROWS`].
    pub fn new<T: Element<Matrix = M>>(work: &Work<'_, T>, rows: usize) -> Self {
        let keeps = work.out.logits_grad.is_some() && work.keeps_apart();
        let kept = if keeps { rows * work.loss.classes } else { 0 };
        let mut parts = Vec::new();
        parts.resize_with(rows * work.parts(), UnsafeCell::default);
        let mut space = Vec::new();
        space.resize_with(kept, || UnsafeCell::new(M::ZERO));
        Self {
            parts,
            kept: space,
            quantities: Quantities::default(),
            slopes: Slopes::default(),
            evaluator: Evaluator::default(),
        }
    }

    /// # Safety
    /// No other reference to the part is in use.
    #[inline(always)]
    pub unsafe fn set_part(&self, index: usize, part: Part) {
        // SAFETY: the caller's promise.
        unsafe { *self.parts[index].get() = part };
    }

    /// # Safety
    /// No one writes the part.
    #[inline(always)]
    pub unsafe fn part(&self, index: usize) -> Part {
        // SAFETY: the caller's promise.
        unsafe { *self.parts[index].get() }
    }

    /// # Safety
    /// No other reference to these elements is in use.
    #[inline(always)]
    #[expect(clippy::mut_from_ref, reason = "cells; see the safety section")]
    pub unsafe fn kept(&self, range: Range<usize>) -> &mut [M] {
        let cells = &self.kept[range];
        // SAFETY: `UnsafeCell<M>` has the layout of `M`, and the caller promises that no one else uses these.
        unsafe { std::slice::from_raw_parts_mut(cells.as_ptr().cast::<M>().cast_mut(), cells.len()) }
    }

    #[inline(always)]
    pub fn slopes(&self) -> &Slopes {
        &self.slopes
    }

    /// The parts of measured rows to their quantities.
    #[inline(always)]
    pub fn gather<T: Element<Matrix = M>>(&mut self, work: &Work<'_, T>, rows: Range<usize>) {
        for (place, row) in rows.enumerate() {
            self.combine(work, place, row);
        }
    }

    /// Runs the row program on measured rows, writes what it makes of each, and leaves the slopes.
    #[inline(always)]
    pub fn evaluate<L: Level, T: Element<Matrix = M>>(&mut self, work: &Work<'_, T>, rows: Range<usize>) {
        if L::FMA {
            self.evaluator.run::<true>(work.loss, &self.quantities, &work.shared);
        } else {
            self.evaluator.run::<false>(work.loss, &self.quantities, &work.shared);
        }
        for (place, class) in work.classes[rows.clone()].iter().enumerate() {
            if let Some(value) = without_class(*class) {
                self.evaluator.overwrite(place, value);
            }
        }
        self.leave(work, rows);
    }

    /// What a row's program is given as it is.
    #[inline(always)]
    pub fn given<T>(&mut self, inputs: &Inputs<'_, T>, place: usize, row: usize, class: usize) {
        if let Some(weights) = &inputs.class_weights {
            self.quantities.class_weight[place] = weights.at(class);
        }
        if let Some(upstream) = &inputs.loss_grad {
            self.quantities.upstream[place] = upstream.at(row);
        }
    }

    /// The parts of a row to its quantities.
    #[inline(always)]
    fn combine<T: Element<Matrix = M>>(&mut self, work: &Work<'_, T>, place: usize, row: usize) {
        let class = work.classes[row];
        if without_class(class).is_some() {
            return;
        }
        let class = class as usize;
        self.given(work.inputs, place, row, class);
        let (loss, inputs) = (work.loss, work.inputs);
        let per_row = work.parts();
        let parts = &mut self.parts[place * per_row..(place + 1) * per_row];
        let (logits, features) = parts.split_at_mut(work.logit_parts());
        let label = inputs.logits[row * loss.classes + class].widen().to_f64();
        let (slopes, quantities) = (&mut self.slopes, &mut self.quantities);
        let found = gather(logits, loss.scale);
        slopes.highest[place] = found.highest;
        slopes.above[place] = found.above;
        slopes.total[place] = found.sum;
        let at = |table: &Option<super::Scalars<'_>>| table.as_ref().map_or(0.0, |t| t.at(class));
        let (bias, margin) = (at(&inputs.logit_bias), at(&inputs.label_margin));
        if found.highest == f64::NEG_INFINITY && found.sum == 0.0 {
            (quantities.lead[place], quantities.total[place]) = alone(label);
        } else {
            let lead = (found.highest - label) - bias + margin;
            quantities.lead[place] = loss.scale * lead + found.above;
            quantities.total[place] = found.sum;
        }
        if work.smoothed {
            // Σ over j of z'_j - z'_y = scale · (z_j - z_y + bias_j - bias_y + margin_y), without j = y.
            let mut sum = work.bias_sum - loss.classes as f64 * bias + (loss.classes as f64 - 1.0) * margin;
            for (part, cell) in logits.iter_mut().enumerate() {
                let found = cell.get_mut();
                let columns = work.spot(row, 0, part).columns;
                let others = columns.len() - usize::from(columns.contains(&class));
                if others > 0 {
                    sum += found.lead + others as f64 * (found.highest - label);
                }
            }
            quantities.mean_lead[place] = loss.scale * sum / loss.classes as f64;
        }
        if work.normed {
            quantities.feature_l1[place] = features.iter_mut().fold(0.0, |sum, cell| sum + cell.get_mut().l1);
        } else if work.norms {
            quantities.feature_l1[place] = inputs.features[row].widen().to_f64();
        }
    }

    /// What the program made of rows: written where it is an output, kept where the gradients need it.
    #[inline(always)]
    fn leave<T: Element<Matrix = M>>(&mut self, work: &Work<'_, T>, rows: Range<usize>) {
        let evaluator = &self.evaluator;
        let root = |step: Option<usize>| step.map_or([0.0; ROWS], |step| *evaluator.at(step));
        let (out, roots, slopes) = (&work.out, &work.roots, &mut self.slopes);
        slopes.others = root(roots.others);
        slopes.label = roots.label.map_or(slopes.others.map(|x| -x), |step| *evaluator.at(step));
        slopes.shift = root(roots.shift);
        slopes.by_norm = root(roots.by_norm);
        // SAFETY: a row is in one block of one task.
        unsafe {
            out.shares.piece(rows.clone()).copy_from_slice(&root(roots.share)[..rows.len()]);
            for output in [&out.loss, &out.row_loss].into_iter().flatten() {
                write(output.piece(rows.clone()), &root(roots.row_loss));
            }
            for (step, output) in &out.entries {
                write(output.piece(rows.clone()), evaluator.at(*step));
            }
        }
    }
}

/// Factor of the exponentials of a row whose label is certain, or of exponentials that are all 0: it makes 0 of each, but where
/// the slope is NaN.
#[inline(always)]
pub(super) fn vanishing(others: f64) -> f64 {
    if others.is_infinite() { 0.0 } else { others * 0.0 }
}

/// Lead and total of a row whose other logits are all -inf: its label is certain, unless its own logit is no better.
#[inline(always)]
pub(super) fn alone(label: f64) -> (f64, f64) {
    (if label > f64::NEG_INFINITY { f64::NEG_INFINITY } else { f64::NAN }, 1.0)
}

#[inline(always)]
fn write<M: Real>(to: &mut [M], values: &Rows) {
    for (to, value) in to.iter_mut().zip(values) {
        *to = M::from_f64(*value);
    }
}

/// The parts of a row as one part.
fn gather(parts: &mut [UnsafeCell<Part>], scale: f64) -> Part {
    if let [only] = parts {
        return *only.get_mut();
    }
    let mut all = Part { highest: f64::NEG_INFINITY, above: f64::NEG_INFINITY, ..Part::default() };
    for part in parts.iter_mut().map(|p| p.get_mut()) {
        all.highest = if part.highest > all.highest { part.highest } else { all.highest };
    }
    for part in parts.iter_mut().map(|p| p.get_mut()) {
        let above = part.exponent(all.highest, scale);
        all.above = if above > all.above { above } else { all.above };
    }
    for part in parts.iter_mut().map(|p| p.get_mut()) {
        // A part of -inf alone has the sum 0, and no exponent.
        let weight = (part.exponent(all.highest, scale) - all.above).exp();
        all.sum += if part.sum == 0.0 { 0.0 } else { part.sum * weight };
    }
    all
}

impl Part {
    /// The largest exponent of the part, relative to `highest`.
    #[inline(always)]
    pub fn exponent(&self, highest: f64, scale: f64) -> f64 {
        if self.highest == highest { self.above } else { scale * (self.highest - highest) + self.above }
    }
}
