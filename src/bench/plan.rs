//! [`Plan`]: what to measure, as its YAML source says it, checked and expanded.
//!
//! First step of a benchmark. Invariant: every cell of a plan has at least one arm, every loss in it is built in, every
//! classifier was there when it was read, and no cell is listed twice.

use std::time::Duration;

use crate::loss::SpecError;
use crate::runtime::Provider;
use crate::tensor::DType;

mod arms;
mod matrix;
pub(crate) mod step;
mod threshold;
mod units;
mod yaml;

pub use arms::{ArmKind, Graft, LOWERINGS, Peer, Program};
pub use step::{Step, StepOptimizer};
pub use threshold::{CellPattern, Threshold};
pub use units::{format_bytes, parse_bytes, parse_share};

/// What to measure.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Short name, for reports.
    pub name: String,
    /// One line for people.
    pub title: Option<String>,
    /// What is measured, in order.
    pub cells: Vec<Cell>,
    /// How long, and how much memory, that may take.
    pub budget: Budget,
    /// How much slower than a baseline a cell may be.
    pub thresholds: Vec<Threshold>,
}

/// One problem, which every arm of it solves.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// Name of a built-in loss.
    pub loss: String,
    /// N
    pub rows: usize,
    /// C
    pub classes: usize,
    /// D
    pub features: usize,
    /// Element type of logits, features and gradients.
    pub dtype: DType,
    /// Where the arms run.
    pub provider: Provider,
    /// Threads that an operator may use.
    pub threads: usize,
    /// The classifier whose training step the cell is; `None` for a loss by itself.
    pub step: Option<Step>,
    /// What is compared, in the order of reports.
    pub arms: Vec<ArmKind>,
}

/// Limits of a plan.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// Measuring time of one cell, all its arms together.
    pub cell: Duration,
    /// Measuring stops before this when the confidence interval of every median is no wider than ± this share of it.
    pub precision: f64,
    /// Most memory, host or device, in bytes; `None` is 80 % of what is free.
    pub memory: Option<u64>,
    /// Most samples that a series keeps.
    pub samples: usize,
}

impl Plan {
    /// Reads and checks a YAML source. `file` is named in errors, and classifiers are looked for relative to it.
    ///
    /// # Errors
    /// Anything that is not a plan, with its place in the file.
    pub fn from_yaml(file: &str, text: &str) -> Result<Self, SpecError> {
        yaml::read(file, text)
    }

    /// The largest time that measuring takes; loading, checking and peers' compilers come on top.
    pub fn measuring_time(&self) -> Duration {
        self.budget.cell * u32::try_from(self.cells.len()).unwrap_or(u32::MAX)
    }

    /// How much slower than its baseline an arm of `cell` may be, as a share: the first threshold that fits.
    pub fn max_regression(&self, cell: &Cell, arm: &str) -> Option<f64> {
        self.thresholds.iter().find(|t| t.pattern.matches(cell, arm)).map(|t| t.max_regression)
    }
}

impl Cell {
    /// Identifies the cell in results and baselines, such as `ib f32 N=32 C=10 D=64 cpu t=2` or, for a training step,
    /// `resnet ib adamw N=32 cpu t=2`.
    pub fn id(&self) -> String {
        if let Some(step) = &self.step {
            let (classifier, optimizer) = (&step.classifier, step.optimizer.name());
            let Self { loss, rows, provider, threads, .. } = self;
            return format!("{classifier} {loss} {optimizer} N={rows} {provider} t={threads}");
        }
        format!(
            "{} {} N={} C={} D={} {} t={}",
            self.loss,
            units::dtype_name(self.dtype),
            self.rows,
            self.classes,
            self.features,
            self.provider,
            self.threads
        )
    }

    /// Short name of the element type: `f32`, `f16`, `bf16`, `f64`.
    pub fn dtype_name(&self) -> &'static str {
        units::dtype_name(self.dtype)
    }
}
