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

/// Elements that one task works on, if there are so many: 20 to 100 microseconds, against 1 to start a task.
const TASK: usize = 1 << 16;
/// Elements of a row from which a batch of at most [`ROWS`] rows is divided within rows.
const LONG: usize = 1 << 15;

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
    let block = block::rows_for(row);
    let task = (TASK / row).max(1).next_multiple_of(block).min(rows);
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
        let mut first = self.rows.start;
        while first < self.rows.end {
            let rows = first..(first + self.block).min(self.rows.end);
            let count = rows.len() * self.work.parts();
            for index in 0..count {
                // SAFETY: this thread alone has the block, and no other task has these rows.
                unsafe { self.work.measure::<L>(&block, rows.start, index, &mut scratch) };
            }
            block.evaluate::<L, T>(self.work, rows.clone());
            for index in 0..count {
                // SAFETY: as above.
                unsafe { self.work.finish::<L>(&block, rows.start, index, &mut scratch) };
            }
            first = rows.end;
        }
        if self.work.away {
            fence();
        }
    }
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
        // SAFETY: no two tasks of a round have the same part of the same row.
        unsafe {
            if self.finish {
                self.work.finish::<L>(self.block, 0, self.index, &mut scratch);
            } else {
                self.work.measure::<L>(self.block, 0, self.index, &mut scratch);
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
        self.block.evaluate::<L, T>(self.work, 0..self.work.inputs.rows);
    }
}
