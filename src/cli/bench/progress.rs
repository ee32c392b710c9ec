//! Which cell is being measured, and how long the rest will take at the most.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::bench::Plan;

/// Steps of the line a cell.
const STEPS: u64 = 100;

/// A progress line that vanishes when it is dropped; nothing where standard error is no terminal.
pub struct CellProgress {
    bar: ProgressBar,
    cells: u64,
}

impl CellProgress {
    /// A line for the cells of a plan.
    pub fn new(plan: &Plan) -> Self {
        let cells = plan.cells.len() as u64;
        let bar = ProgressBar::new(cells * STEPS);
        let style = ProgressStyle::with_template("{spinner} {msg} {wide_bar} {percent} %, {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, cells }
    }

    /// The cell of this index begins.
    pub fn cell(&self, index: usize, name: &str) {
        self.bar.set_position(index as u64 * STEPS);
        self.bar.set_message(format!("{} of {}: {name}", index + 1, self.cells));
    }

    /// Share of the cell's time that is spent.
    pub fn share(&self, share: f64) {
        let done = self.bar.position() / STEPS * STEPS;
        self.bar.set_position(done + (share * (STEPS - 1) as f64) as u64);
    }
}

impl Drop for CellProgress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
