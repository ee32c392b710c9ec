//! Runs a plan, cell by cell.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use super::arms::Peers;
use super::cell::{CellError, measure_cell};
use super::environment::{BUSY, Environment, available, last_cache, utc};
use super::memory::{Layout, fits, layout};
use super::plan::{Cell, Plan};
use super::results::{CellResult, DeviceState, FORMAT, Results};
use super::steps::case::Case;
use super::{data, environment, steps};
use crate::loss::Loss;
use crate::runtime::{OrtEngine, OrtOptions, Provider, RuntimeError};

/// Cache that is assumed where the system does not tell: larger than most.
const ASSUMED_CACHE: u64 = 64 << 20;
/// Share of the free memory that a plan may use unless it says otherwise.
const MEMORY_SHARE: f64 = 0.8;

/// What a plan runs on.
#[derive(Debug)]
pub struct Setup {
    /// The ONNX Runtime library.
    pub library: PathBuf,
    /// The library of the fused operator, if there is one.
    pub operator_library: Option<PathBuf>,
    /// Whether the bodies of fused files are measured in place of the operator library's kernels.
    pub fused_bodies: bool,
    /// Revision of the working directory, for the record.
    pub git: Option<String>,
    /// The peers.
    pub peers: Peers,
}

/// What happens while a plan runs.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A cell begins: its number from 0, and its name.
    Cell(usize, String),
    /// Share of the cell's budget that is spent.
    Measuring(f64),
    /// A cell is done; results so far.
    Done(&'a Results),
}

/// Why a plan cannot run, or not on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// A cell cannot be.
    #[error("{0}")]
    Plan(String),
    /// The runtime or a provider is not there.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// What is told of an event failed; the message says why.
    #[error("{0}")]
    Observer(String),
}

/// Runs what `results` does not have yet of `plan`; `results` comes from [`begin`] or from an earlier run that ended
/// early. Returns when all is done or `stop` is set.
///
/// # Errors
/// A cell that cannot be, a provider that is not there. An arm that fails is a result, not an error.
pub fn run(
    plan: &Plan,
    setup: &Setup,
    results: &mut Results,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(Event) -> Result<(), String>,
) -> Result<(), BenchError> {
    check(plan, setup)?;
    for (index, cell) in plan.cells.iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        if results.cells.iter().any(|done| done.id == cell.id()) {
            continue;
        }
        observe(Event::Cell(index, cell.id())).map_err(BenchError::Observer)?;
        let (loss, layout) = prepare(plan, cell).map_err(BenchError::Plan)?;
        let start = Instant::now();
        let mut progress = |share: f64| {
            // Progress that cannot be shown is no reason to lose a measurement.
            let _ = observe(Event::Measuring(share));
        };
        match measure_cell(cell, &loss, layout, plan.budget, setup, stop, &mut progress) {
            Ok(mut done) => {
                done.seconds = start.elapsed().as_secs_f64();
                results.cells.push(done);
                results.warnings = warnings(results);
            }
            Err(CellError::Stopped) => break,
            Err(CellError::Runtime(error)) => return Err(error.into()),
            Err(CellError::Reference(message)) => return Err(BenchError::Plan(message)),
        }
        observe(Event::Done(results)).map_err(BenchError::Observer)?;
    }
    Ok(())
}

/// Results without cells: what is known before measuring. `source` is the plan's text.
///
/// # Errors
/// A runtime or a provider that is not there.
pub fn begin(plan: &Plan, source: &str, setup: &Setup) -> Result<Results, BenchError> {
    check(plan, setup)?;
    let provider = plan.cells.first().map_or(Provider::Cpu, |cell| cell.provider);
    let engine = OrtEngine::open(&setup.library, provider, OrtOptions::default())?;
    let info = crate::runtime::Engine::info(&engine);
    let mut environment = Environment::capture(Some(&info), setup.git.clone());
    let names: Vec<String> = setup.peers.running().map(|peer| peer.borrow().name().to_owned()).collect();
    environment.peers = (!names.is_empty()).then(|| names.join(", "));
    Ok(Results {
        format: FORMAT,
        ibgraph: env!("CARGO_PKG_VERSION").to_owned(),
        plan: plan.name.clone(),
        title: plan.title.clone(),
        plan_sha256: super::sha256(source.as_bytes()),
        started: utc(SystemTime::now()),
        warnings: environment.warnings(),
        environment,
        planned: plan.cells.len(),
        cells: Vec::new(),
    })
}

/// Finds, before anything is measured, the provider that is not there and the cell that is too large.
fn check(plan: &Plan, setup: &Setup) -> Result<(), BenchError> {
    let mut providers: Vec<Provider> = Vec::new();
    for cell in &plan.cells {
        if !providers.contains(&cell.provider) {
            OrtEngine::open(&setup.library, cell.provider, OrtOptions::default())?;
            providers.push(cell.provider);
        }
        prepare(plan, cell).map_err(BenchError::Plan)?;
    }
    Ok(())
}

/// The loss of a cell and how its data is laid out.
///
/// # Errors
/// A cell that takes more memory than the plan may use, found before anything of its size is made; a loss that cannot be.
pub fn prepare(plan: &Plan, cell: &Cell) -> Result<(Loss, Layout), String> {
    let limit = memory(plan, cell.provider);
    if let Some(step) = &cell.step {
        let loss = Case::read(&step.path)?.loss()?;
        return Ok((loss, steps::layout(cell, step, limit)?));
    }
    fits(cell, limit)?;
    let loss = data::loss(cell).map_err(|message| format!("{}: {message}", cell.id()))?;
    let layout = layout(cell, &loss, cache(cell.provider), limit)?;
    Ok((loss, layout))
}

/// Bytes of the cache that a rotation must pass.
fn cache(provider: Provider) -> u64 {
    match provider {
        Provider::Cpu => last_cache().unwrap_or(ASSUMED_CACHE),
        // The largest second-level cache of a device today, and no way to ask.
        _ => ASSUMED_CACHE,
    }
}

/// Bytes that a cell may take.
fn memory(plan: &Plan, provider: Provider) -> u64 {
    let free = match provider {
        Provider::Cuda | Provider::TensorRt => environment::device_memory().map(|(_, free)| free),
        _ => available(),
    };
    let share = |bytes: u64| (bytes as f64 * MEMORY_SHARE) as u64;
    plan.budget.memory.or(free.map(share)).unwrap_or(u64::MAX)
}

/// What was known at the start, and what others did meanwhile.
fn warnings(results: &Results) -> Vec<String> {
    let mut warnings = results.environment.warnings();
    let busy = |cell: &&CellResult| cell.others_cpu.is_some_and(|share| share > BUSY);
    let cells: Vec<&CellResult> = results.cells.iter().filter(busy).collect();
    let most = cells.iter().filter_map(|cell| cell.others_cpu).fold(0.0, f64::max);
    if !cells.is_empty() {
        warnings.push(format!(
            "other programs took up to {:.0} % of the processors while {} of {} cells were measured; stop them and \
             measure again",
            most * 100.0,
            cells.len(),
            results.cells.len()
        ));
    }
    let slowed: Vec<&DeviceState> = results
        .cells
        .iter()
        .filter_map(|cell| cell.device.as_ref())
        .filter(|d| !d.throttle.is_empty())
        .collect();
    if !slowed.is_empty() {
        let mut reasons: Vec<&str> = slowed.iter().flat_map(|d| &d.throttle).map(String::as_str).collect();
        reasons.sort_unstable();
        reasons.dedup();
        warnings.push(format!(
            "the device ran below its clock after {} of {} cells: {}",
            slowed.len(),
            results.cells.len(),
            reasons.join(", ")
        ));
    }
    warnings
}
