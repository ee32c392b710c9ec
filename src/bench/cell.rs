//! One cell: its arms are loaded, held to the reference, and measured together.

use std::sync::atomic::AtomicBool;

use super::arms::{Arm, ArmError, CopyArm, GraphArm, Inputs, PeerArm, Timed, WIDE, identity_model};
use super::environment::{CpuClock, peak_of};
use super::measure::{Policy, Times, measure};
use super::memory::Layout;
use super::numerics::Expected;
use super::plan::{ArmKind, Budget, Cell, Peer};
use super::results::{ArmResult, CellResult, ModelInfo, Numerics, Series, Status};
use super::run::Setup;
use super::{data, sha256};
use crate::artifact;
use crate::loss::Loss;
use crate::lower::Lowering;
use crate::onnx::{self, Versions};
use crate::runtime::{Engine, OrtEngine, OrtOptions, Provider, RuntimeError};
use crate::tensor::Tensor;

/// Why the fused lowering cannot be measured.
const NO_LIBRARY: &str = "there is no operator library; build it with `cargo build --release -p ibgraph-ops`, or name it \
                          with --operator-library";

/// How far numbers are off, or that and what is wrong with them.
type Checked = Result<Numerics, (Numerics, String)>;

/// Why a cell has no result.
#[derive(Debug)]
pub(super) enum CellError {
    /// The user asked for an end.
    Stopped,
    /// The engine cannot be had.
    Runtime(RuntimeError),
    /// The reference does not evaluate the batch.
    Reference(String),
}

/// An arm that is loaded, and what is known of it so far.
struct Entrant {
    result: ArmResult,
    /// `None` where it is not to be measured.
    arm: Option<Box<dyn Arm>>,
}

/// Measures every arm of a cell.
pub(super) fn measure_cell(
    cell: &Cell,
    loss: &Loss,
    layout: Layout,
    budget: Budget,
    setup: &Setup,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(f64),
) -> Result<CellResult, CellError> {
    let batches: Vec<_> = (0..layout.sets).map(|number| data::batch(cell, loss, number)).collect();
    let expected = match batches.first() {
        Some(batch) => Expected::of(loss, batch).map_err(CellError::Reference)?,
        None => return Err(CellError::Reference("a cell without input".to_owned())),
    };
    let sets: Vec<Inputs> = batches.into_iter().map(|batch| batch.inputs).collect();
    let mut entrants = Vec::new();
    for kind in &cell.arms {
        entrants.push(enter(*kind, cell, loss, &expected, &sets, setup)?);
    }
    let own: Vec<u32> = setup.peers.iter().map(|process| process.borrow().id()).collect();
    let before = CpuClock::now(&own);
    let policy = Policy { budget: budget.cell, precision: budget.precision, samples: budget.samples };
    let arms = timed(&mut entrants, &sets, policy, stop, progress).ok_or(CellError::Stopped)?;
    let mut result = CellResult::new(cell, layout.bytes, layout.sets, layout.cold);
    result.others_cpu = CpuClock::now(&own).zip(before).and_then(|(now, before)| now.others_since(before));
    result.arms = arms;
    result.finish();
    Ok(result)
}

/// Loads an arm and compares its numbers with the reference.
fn enter(
    kind: ArmKind,
    cell: &Cell,
    loss: &Loss,
    expected: &Expected,
    sets: &[Inputs],
    setup: &Setup,
) -> Result<Entrant, CellError> {
    match kind {
        ArmKind::Copy => copy_arm(cell, setup),
        ArmKind::Lowering { lowering, cuda_graph } => {
            if lowering == Lowering::Fused && setup.operator_library.is_none() {
                return Ok(Entrant::without_times(kind, Status::Absent, NO_LIBRARY.to_owned()));
            }
            let engine = engine(cell, setup, cuda_graph)?;
            let allowed = match lowering {
                Lowering::Direct => expected.as_published(loss),
                _ => expected.margin_form(loss, &engine.info()),
            };
            Ok(match artifact::emit_as(loss, lowering, Versions::default()) {
                Ok(bytes) => graph_arm(kind, &bytes, &engine, &loss.interface().outputs, sets, |outputs| {
                    expected.check(outputs, allowed)
                }),
                Err(error) => Entrant::without_times(kind, Status::Failed, error.to_string()),
            })
        }
        ArmKind::Peer(peer) => Ok(peer_arm(peer, cell, loss, expected, sets, setup)),
    }
}

fn peer_arm(
    peer: Peer,
    cell: &Cell,
    loss: &Loss,
    expected: &Expected,
    sets: &[Inputs],
    setup: &Setup,
) -> Entrant {
    let mut entrant = Entrant::new(ArmKind::Peer(peer));
    let process = match &setup.peers {
        Ok(process) => process,
        Err(why) => {
            entrant.end(Status::Absent, why.clone());
            return entrant;
        }
    };
    if let Some(why) = process.borrow().lacks(cell) {
        entrant.end(Status::Absent, why);
        return entrant;
    }
    let loaded = PeerArm::new(process.clone(), peer, cell, sets).and_then(|mut arm| {
        let outputs = arm.compute(&sets[0])?;
        Ok((arm, outputs))
    });
    match loaded {
        Ok((arm, outputs)) => {
            entrant.judge(Box::new(arm), expected.check(&outputs, expected.as_published(loss)))
        }
        Err(error) => entrant.end(Status::Failed, error.to_string()),
    }
    entrant
}

fn engine(cell: &Cell, setup: &Setup, cuda_graph: bool) -> Result<OrtEngine, CellError> {
    let operator_libraries = setup.operator_library.iter().cloned().collect();
    let options =
        OrtOptions { threads: Some(cell.threads), cuda_graph, operator_libraries, ..OrtOptions::default() };
    OrtEngine::open(&setup.library, cell.provider, options).map_err(CellError::Runtime)
}

fn graph_arm(
    kind: ArmKind,
    bytes: &[u8],
    engine: &OrtEngine,
    outputs: &[String],
    sets: &[Inputs],
    check: impl FnOnce(&[(String, Tensor)]) -> Checked,
) -> Entrant {
    let mut entrant = Entrant::new(kind);
    entrant.result.model = Some(model_info(engine, bytes));
    let (loaded, peak) = peak_of(|| {
        let mut arm = GraphArm::new(engine.load(bytes)?, outputs.to_vec());
        let outputs = arm.compute(&sets[0])?;
        Ok::<_, ArmError>((arm, outputs))
    });
    // What the process takes says nothing of a device.
    entrant.result.peak_memory = peak.filter(|_| engine.info().provider == Provider::Cpu);
    match loaded {
        Ok((arm, outputs)) => entrant.judge(Box::new(arm), check(&outputs)),
        Err(error) => entrant.end(Status::Failed, error.to_string()),
    }
    entrant
}

/// The roofline: on the host by hand, on a device as a graph.
fn copy_arm(cell: &Cell, setup: &Setup) -> Result<Entrant, CellError> {
    let mut entrant = Entrant::new(ArmKind::Copy);
    if cell.provider == Provider::Cpu {
        entrant.arm = Some(Box::new(CopyArm { threads: cell.threads }));
        return Ok(entrant);
    }
    let engine = engine(cell, setup, false)?;
    match engine.load(&identity_model(cell.dtype, &WIDE)) {
        Ok(session) => entrant.arm = Some(Box::new(GraphArm::identity(session, &WIDE))),
        Err(error) => entrant.end(Status::Failed, error.to_string()),
    }
    Ok(entrant)
}

fn model_info(engine: &OrtEngine, bytes: &[u8]) -> ModelInfo {
    let nodes = |model: &onnx::messages::ModelProto| model.graph.as_ref().map_or(0, |graph| graph.node.len());
    // An engine that cannot write its graph still runs it; the counts stay unknown.
    let run = engine.final_graph(bytes).ok();
    let copies = run.as_ref().and_then(|model| model.graph.as_ref()).map(|graph| {
        let is_copy = |op: Option<&str>| op.is_some_and(|op| op.starts_with("Memcpy"));
        graph.node.iter().filter(|node| is_copy(node.op_type.as_deref())).count()
    });
    ModelInfo {
        sha256: sha256(bytes),
        nodes: onnx::read(bytes).map_or(0, |model| nodes(&model)),
        kernels: run.as_ref().map(nodes),
        copies,
    }
}

impl Entrant {
    fn new(kind: ArmKind) -> Self {
        let mut result = ArmResult::without_times(kind.to_string(), Status::Measured, String::new());
        result.reason = None;
        Self { result, arm: None }
    }

    fn without_times(kind: ArmKind, status: Status, reason: String) -> Self {
        Self { result: ArmResult::without_times(kind.to_string(), status, reason), arm: None }
    }

    /// It is not measured.
    fn end(&mut self, status: Status, reason: String) {
        self.result.status = status;
        self.result.reason = Some(reason);
        self.arm = None;
    }

    /// It is measured only if its numbers are right.
    fn judge(&mut self, arm: Box<dyn Arm>, checked: Checked) {
        match checked {
            Ok(numerics) => {
                self.result.numerics = Some(numerics);
                self.arm = Some(arm);
            }
            Err((numerics, problem)) => {
                self.result.numerics = Some(numerics);
                self.end(Status::Wrong, format!("not timed, because {problem}"));
            }
        }
    }
}

/// Measures the entrants that are left; `None` when the user asked for an end.
fn timed(
    entrants: &mut [Entrant],
    sets: &[Inputs],
    policy: Policy,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(f64),
) -> Option<Vec<ArmResult>> {
    let mut results: Vec<ArmResult> = entrants.iter().map(|entrant| entrant.result.clone()).collect();
    let mut bound: Vec<Box<dyn Timed + '_>> = Vec::new();
    let mut places = Vec::new();
    for (place, entrant) in entrants.iter_mut().enumerate() {
        match entrant.arm.as_mut().map(|arm| arm.bind(sets)) {
            Some(Ok(arm)) => {
                bound.push(arm);
                places.push(place);
            }
            Some(Err(error)) => fail(&mut results[place], &error),
            None => {}
        }
    }
    let times = measure(&mut bound, sets.len(), policy, stop, progress)?;
    for (place, times) in places.into_iter().zip(times) {
        record(&mut results[place], times, policy);
    }
    Some(results)
}

fn record(result: &mut ArmResult, times: Times, policy: Policy) {
    result.warm_up = times.warm_up;
    if let Some(error) = &times.error {
        return fail(result, error);
    }
    result.cold = Series::new(&times.cold, policy.precision);
    result.warm = Series::new(&times.warm, policy.precision);
}

fn fail(result: &mut ArmResult, error: &ArmError) {
    result.status = Status::Failed;
    result.reason = Some(error.to_string());
}
