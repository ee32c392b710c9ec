//! [`Results`]: what a benchmark found, in the form of `results.json`.
//!
//! `docs/bench.md` documents the form and `docs/results.schema.json` is its JSON schema. Times are in seconds, sizes in
//! bytes, shares are fractions of 1. Invariant: an arm has times only if its status is [`Status::Measured`], else it has
//! a reason.

use serde::{Deserialize, Serialize};

use super::environment::Environment;
use super::plan::Cell;
use super::stats::{Blocks, Summary};

/// Version of the form that this program writes.
pub const FORMAT: u32 = 2;
/// The oldest version that it reads: what was added since is absent there.
pub const OLDEST_FORMAT: u32 = 1;

/// What a benchmark found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// Version of this form.
    pub format: u32,
    /// Version of ibgraph that measured.
    pub ibgraph: String,
    /// Name of the plan.
    pub plan: String,
    /// Its title.
    pub title: Option<String>,
    /// SHA-256 of the plan's source; a run is resumed only under the same plan.
    pub plan_sha256: String,
    /// When it started, in UTC, such as `2026-11-24T12:00:00Z`.
    pub started: String,
    /// Where it ran.
    pub environment: Environment,
    /// What makes the figures less trustworthy.
    pub warnings: Vec<String>,
    /// Number of cells that the plan has.
    pub planned: usize,
    /// What was measured, in the plan's order.
    pub cells: Vec<CellResult>,
}

/// One problem and how its arms did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellResult {
    /// Identifies the cell in baselines.
    pub id: String,
    /// Name of the loss.
    pub loss: String,
    /// The classifier whose training step this is; `None` for a loss by itself.
    #[serde(default)]
    pub classifier: Option<String>,
    /// What updates its parameters.
    #[serde(default)]
    pub optimizer: Option<String>,
    /// Element type: `f32`, `f16`, `bf16`, `f64`.
    pub dtype: String,
    /// N
    pub rows: usize,
    /// C
    pub classes: usize,
    /// D
    pub features: usize,
    /// Execution provider.
    pub provider: String,
    /// Threads that an operator may use.
    pub threads: usize,
    /// Bytes that a run must read and write: inputs and outputs, once. `None` for a training step, which moves what its
    /// activations and parameters take, many times over.
    pub bytes: Option<u64>,
    /// Sets of inputs and outputs that the cold series went through in turn.
    pub sets: usize,
    /// Whether those sets together are at least twice the last cache's size, so that none is found in it.
    pub cold: bool,
    /// Share of the machine's processors that other programs took while this was measured.
    pub others_cpu: Option<f64>,
    /// The device right after this was measured; `None` on the host.
    #[serde(default)]
    pub device: Option<DeviceState>,
    /// Seconds that measuring took, checks and warm-up included.
    pub seconds: f64,
    /// How the arms did.
    pub arms: Vec<ArmResult>,
}

/// A device at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceState {
    /// Megahertz of the multiprocessors.
    pub clock: Option<u32>,
    /// Degrees Celsius.
    pub temperature: Option<u32>,
    /// Why the clock is lower than it could be.
    pub throttle: Vec<String>,
}

/// How one arm did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArmResult {
    /// Name of the arm.
    pub arm: String,
    /// How it ended.
    pub status: Status,
    /// Why it was not measured.
    pub reason: Option<String>,
    /// What a reader of its times must know.
    #[serde(default)]
    pub note: Option<String>,
    /// The graph, where the arm is one.
    pub model: Option<ModelInfo>,
    /// How far its numbers are off.
    pub numerics: Option<Numerics>,
    /// Most memory that this arm added to the process, or to the device, in bytes.
    pub peak_memory: Option<u64>,
    /// Runs before measuring began.
    pub warm_up: Option<WarmUp>,
    /// Each run on the next set of inputs.
    pub cold: Option<Series>,
    /// Each run on the same inputs as the one before.
    pub warm: Option<Series>,
    /// What the median of the cold series comes to.
    pub figures: Option<Figures>,
}

/// How an arm ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It has times.
    Measured,
    /// It is not on this machine, or not for this cell.
    Absent,
    /// It could not be loaded or run.
    Failed,
    /// Its numbers are off, so its times mean nothing.
    Wrong,
}

/// A graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelInfo {
    /// Of the file.
    pub sha256: String,
    /// Nodes of the file.
    pub nodes: usize,
    /// Kernels that the engine runs after its optimizations.
    pub kernels: Option<usize>,
    /// Copies between devices among them.
    pub copies: Option<usize>,
}

/// How far an arm's numbers are off from the float64 reference, relatively.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numerics {
    /// Error of the loss; `None` where the batch is too large for the reference and only rows of it were checked.
    pub loss: Option<f64>,
    /// Error of the worst row of a gradient, of a parameter's gradient in a training step, or of the logits of a forward
    /// pass; `None` where only losses were compared.
    pub worst_row: Option<f64>,
    /// What that may be, or the loss where there is no row.
    pub tolerance: f64,
    /// Rows that were checked.
    pub rows: usize,
}

/// What happened before measuring began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmUp {
    /// Runs.
    pub runs: usize,
    /// Whether times had become steady, or the time for it had run out.
    pub steady: bool,
}

/// Times of an arm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Series {
    /// Its statistics.
    pub summary: Summary,
    /// Whether the interval became as narrow as the plan asks.
    pub precise: bool,
    /// Nanoseconds of each run, in blocks of consecutive runs.
    pub samples_ns: Vec<Vec<u64>>,
}

/// Throughput.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// Rows a second.
    pub samples_per_second: f64,
    /// Bytes that the run must move, a second.
    pub bytes_per_second: Option<f64>,
    /// That, as a share of the copy in the same cell.
    pub share_of_copy: Option<f64>,
}

impl Series {
    /// A series from its times in seconds; `None` without any.
    pub fn new(blocks: &Blocks, precision: f64) -> Option<Self> {
        let summary = Summary::of(blocks)?;
        let nanoseconds = |block: &Vec<f64>| block.iter().map(|s| (s * 1e9).round() as u64).collect();
        Some(Self {
            summary,
            precise: summary.precision() <= precision,
            samples_ns: blocks.iter().map(nanoseconds).collect(),
        })
    }

    /// The times in seconds.
    pub fn blocks(&self) -> Blocks {
        let seconds = |block: &Vec<u64>| block.iter().map(|ns| *ns as f64 * 1e-9).collect();
        self.samples_ns.iter().map(seconds).collect()
    }
}

impl ArmResult {
    /// An arm without times.
    pub fn without_times(arm: String, status: Status, reason: String) -> Self {
        Self {
            arm,
            status,
            reason: Some(reason),
            note: None,
            model: None,
            numerics: None,
            peak_memory: None,
            warm_up: None,
            cold: None,
            warm: None,
            figures: None,
        }
    }

    /// Median seconds of the cold series.
    pub fn median(&self) -> Option<f64> {
        self.cold.as_ref().map(|series| series.summary.median)
    }
}

impl CellResult {
    /// A cell without arms.
    pub fn new(cell: &Cell, bytes: Option<u64>, sets: usize, cold: bool) -> Self {
        Self {
            id: cell.id(),
            loss: cell.loss.clone(),
            classifier: cell.step.as_ref().map(|step| step.classifier.clone()),
            optimizer: cell.step.as_ref().map(|step| step.optimizer.name().to_owned()),
            dtype: cell.dtype_name().to_owned(),
            rows: cell.rows,
            classes: cell.classes,
            features: cell.features,
            provider: cell.provider.to_string(),
            threads: cell.threads,
            bytes,
            sets,
            cold,
            others_cpu: None,
            device: None,
            seconds: 0.0,
            arms: Vec::new(),
        }
    }

    /// The arm of this name.
    pub fn arm(&self, name: &str) -> Option<&ArmResult> {
        self.arms.iter().find(|arm| arm.arm == name)
    }

    /// Fills in what the medians come to, once all arms are there.
    pub fn finish(&mut self) {
        let copy = self.arm("copy").and_then(ArmResult::median);
        for arm in &mut self.arms {
            arm.figures = arm.median().map(|median| Figures {
                samples_per_second: self.rows as f64 / median,
                bytes_per_second: self.bytes.map(|bytes| bytes as f64 / median),
                share_of_copy: copy.map(|copy| copy / median),
            });
        }
    }
}
