//! A batch: what goes in and out, and how the work is divided.
//!
//! A batch of many rows is divided by rows: a task measures a few of them (maximum, sum of exponentials, feature norm),
//! runs the row program on them in float64, and writes their gradients while they are still in the cache. A batch of few,
//! long rows is divided within rows, in two rounds. Invariant: results do not depend on the number of threads.

mod block;
mod finish;
mod labels;
mod measure;
mod pieces;
mod ports;
mod single;
#[cfg(test)]
mod tests;
mod work;

pub use ports::{BatchError, Inputs, Labels, Outputs, Scalars};

use std::ops::Range;

use crate::descriptor::{Descriptor, Reduction};
use crate::element::Element;
use crate::evaluate::ROWS;
use crate::math::Real;
use crate::simd::{Isa, Job, Level, fence};
use block::Block;
use measure::Scratch;
use work::Work;

// Miri is slow: for it, few elements are many, so that it sees every division.
/// Elements that one task works on, if there are so many: 20 to 100 microseconds, against 1 to start a task.
const TASK: usize = if cfg!(miri) { 1 << 10 } else { 1 << 16 };
/// Elements that a task must have, about 4 microseconds; a batch of fewer than twice as many is one task.
const LEAST: usize = if cfg!(miri) { 1 << 8 } else { 1 << 13 };
/// Tasks up to which those of a small batch are doubled, so that they divide evenly between two, four or eight threads.
const EVEN: usize = 8;
/// What a row costs beside its elements, in elements.
const ROW: usize = 64;
/// Elements of a row from which a batch of at most [`ROWS`] rows is divided within rows.
const LONG: usize = if cfg!(miri) { 1 << 6 } else { 1 << 15 };

/// Something that runs work on several threads.
pub trait Pool {
    /// Calls `work` with 0 to `count - 1`, in any order, on any thread; returns when all calls have.
    ///
    /// # Errors
    /// What the pool says. Not all calls may have been made then.
    fn for_each(&self, count: usize, work: &(dyn Fn(usize) + Sync)) -> Result<(), BatchError>;
}

/// The calling thread.
#[derive(Debug, Clone, Copy)]
pub struct Serial;

impl Pool for Serial {
    fn for_each(&self, count: usize, work: &(dyn Fn(usize) + Sync)) -> Result<(), BatchError> {
        (0..count).for_each(work);
        Ok(())
    }
}

/// Computes a loss and its gradients.
///
/// # Errors
/// Sizes that do not fit together, inputs or outputs that the loss does not have, and a label out of range where the
/// loss does not check labels.
pub fn run<T: Element>(
    loss: &Descriptor,
    inputs: &Inputs<'_, T>,
    mut outputs: Outputs<'_, T>,
    pool: &dyn Pool,
    isa: Isa,
) -> Result<(), BatchError> {
    inputs.check(loss)?;
    outputs.check(loss, inputs)?;
    let labels = labels::resolve(loss, inputs)?;
    let mut shares = vec![0.0; inputs.rows];
    let total = outputs.loss.take_if(|_| loss.reduction != Reduction::None);
    let work = Work::new(loss, inputs, labels, outputs, &mut shares);
    let row = loss.classes + work.width;
    if inputs.rows <= ROWS && row >= LONG {
        within_rows(&work, pool, isa)?;
    } else if inputs.rows > 0 {
        by_rows(&work, row, pool, isa)?;
    }
    // The mean of no rows is 0/0, as in PyTorch.
    let nothing = loss.reduction == Reduction::Mean && work.shared.count == 0.0;
    if let Some(total) = total {
        // From +0, which no rows leave as it is; the sum of an iterator begins at -0.
        let sum = if nothing { f64::NAN } else { shares.iter().fold(0.0, |sum, share| sum + share) };
        total[0] = Real::from_f64(sum);
    }
    Ok(())
}

/// A task is some rows, from first to last thing.
fn by_rows<T: Element>(work: &Work<'_, T>, row: usize, pool: &dyn Pool, isa: Isa) -> Result<(), BatchError> {
    let rows = work.inputs.rows;
    let block = block::rows_for::<T>(row);
    let elements = rows.saturating_mul(row + ROW);
    let even = (elements / LEAST).clamp(1, EVEN);
    let tasks = (elements / TASK).max(1 << even.ilog2());
    let task = rows.div_ceil(tasks).next_multiple_of(block).min(rows);
    let job = |index: usize| {
        let first = index * task;
        isa.run(RowTask { work, rows: first..(first + task).min(rows), block });
    };
    if task == rows { Serial.for_each(1, &job) } else { pool.for_each(rows.div_ceil(task), &job) }
}

struct RowTask<'a, 'w, T: Element> {
    work: &'a Work<'w, T>,
    rows: Range<usize>,
    /// Rows that are worked on together.
    block: usize,
}

impl<T: Element> Job for RowTask<'_, '_, T> {
    #[inline(always)]
    fn run<L: Level>(self) {
        let mut block = Block::new(self.work, self.block);
        let mut scratch = Scratch::default();
        let single = self.work.single();
        let mut first = self.rows.start;
        while first < self.rows.end {
            let rows = first..(first + self.block).min(self.rows.end);
            // SAFETY: this thread alone has the block, and no other task has these rows.
            unsafe {
                // The first is known when this is compiled, and leaves this way out for half types.
                if T::LARGEST.is_none() && single {
                    self.single::<L>(&mut block, rows.clone());
                } else {
                    self.in_parts::<L>(&mut block, rows.clone(), &mut scratch);
                }
            }
            first = rows.end;
        }
        if self.work.away {
            fence();
        }
    }
}

impl<T: Element> RowTask<'_, '_, T> {
    /// # Safety
    /// No one else has the block, or these rows.
    #[inline(always)]
    unsafe fn single<L: Level>(&self, block: &mut Block<T::Matrix>, rows: Range<usize>) {
        // SAFETY: the caller's promise.
        unsafe {
            self.work.measure_single::<L>(block, rows.clone());
            block.evaluate::<L, T>(self.work, rows.clone());
            self.work.finish_single::<L>(block, rows);
        }
    }

    /// # Safety
    /// No one else has the block, or these rows.
    #[inline(always)]
    unsafe fn in_parts<L: Level>(
        &self,
        block: &mut Block<T::Matrix>,
        rows: Range<usize>,
        scratch: &mut Scratch<T::Matrix>,
    ) {
        let parts = self.work.parts();
        for (place, part) in spots(&rows, parts) {
            let spot = self.work.spot(rows.start, place, part);
            // SAFETY: the caller's promise.
            unsafe { self.work.measure::<L>(block, &spot, scratch) };
        }
        block.gather(self.work, rows.clone());
        block.evaluate::<L, T>(self.work, rows.clone());
        for (place, part) in spots(&rows, parts) {
            let spot = self.work.spot(rows.start, place, part);
            // SAFETY: the caller's promise.
            unsafe { self.work.finish::<L>(block, &spot, scratch) };
        }
    }
}

/// The parts of the rows of a block: the place of the row, and the number of the part.
#[inline(always)]
fn spots(rows: &Range<usize>, parts: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows.len()).flat_map(move |place| (0..parts).map(move |part| (place, part)))
}

/// A task is a part of a row: first all are measured, then all are finished.
fn within_rows<T: Element>(work: &Work<'_, T>, pool: &dyn Pool, isa: Isa) -> Result<(), BatchError> {
    let rows = work.inputs.rows;
    if rows == 0 {
        return Ok(());
    }
    let mut block = Block::new(work, rows);
    let count = rows * work.parts();
    let shared = &block;
    pool.for_each(count, &|index| isa.run(PartTask { work, block: shared, index, finish: false }))?;
    isa.run(EvaluateTask { work, block: &mut block });
    let shared = &block;
    pool.for_each(count, &|index| isa.run(PartTask { work, block: shared, index, finish: true }))
}

struct PartTask<'a, 'w, T: Element> {
    work: &'a Work<'w, T>,
    block: &'a Block<T::Matrix>,
    index: usize,
    finish: bool,
}

impl<T: Element> Job for PartTask<'_, '_, T> {
    #[inline(always)]
    fn run<L: Level>(self) {
        let mut scratch = Scratch::default();
        let parts = self.work.parts();
        let spot = self.work.spot(0, self.index / parts, self.index % parts);
        // SAFETY: no two tasks of a round have the same part of the same row.
        unsafe {
            if self.finish {
                self.work.finish::<L>(self.block, &spot, &mut scratch);
            } else {
                self.work.measure::<L>(self.block, &spot, &mut scratch);
            }
        }
        if self.finish && self.work.away {
            fence();
        }
    }
}

struct EvaluateTask<'a, 'w, T: Element> {
    work: &'a Work<'w, T>,
    block: &'a mut Block<T::Matrix>,
}

impl<T: Element> Job for EvaluateTask<'_, '_, T> {
    #[inline(always)]
    fn run<L: Level>(self) {
        self.block.gather(self.work, 0..self.work.inputs.rows);
        self.block.evaluate::<L, T>(self.work, 0..self.work.inputs.rows);
    }
}
