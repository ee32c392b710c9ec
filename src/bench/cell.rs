//! One cell: its arms are loaded, held to the reference, and measured together.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use super::arms::{ArmError, CopyArm, GraphArm, Inputs, PeerArm, WIDE, identity_model};
use super::data;
use super::entrant::{Checked, Entrant, model_info, timed};
use super::environment::{CpuClock, device_state, peak_on};
use super::measure::Policy;
use super::memory::Layout;
use super::numerics::Expected;
use super::plan::{ArmKind, Budget, Cell, Peer, Program};
use super::results::{CellResult, Status};
use super::run::Setup;
use super::steps::{self, Problem};
use crate::artifact;
use crate::loss::Loss;
use crate::lower::Lowering;
use crate::onnx::Versions;
use crate::runtime::{Engine, OrtEngine, OrtOptions, Provider, RuntimeError};
use crate::tensor::{DType, Tensor};

/// What a reader of the fused lowering's times must know without its kernels.
const BODIES: &str = "the function's body, without the operator library's kernels";
/// The same where they were not left out on purpose.
const NO_LIBRARY: &str = "the function's body: there is no operator library; build it with `cargo build --release -p \
                          ibgraph-ops`, or name it with --operator-library";

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
    let (sets, mut entrants) = match &cell.step {
        Some(step) => {
            let problem = Problem::open(cell, step, layout).map_err(CellError::Reference)?;
            let entrants = cell.arms.iter().map(|kind| steps::enter(*kind, cell, &problem, setup));
            let entrants = entrants.collect::<Result<Vec<_>, _>>()?;
            (problem.sets, entrants)
        }
        None => entrants(cell, loss, layout, setup)?,
    };
    let own: Vec<u32> = setup.peers.running().map(|process| process.borrow().id()).collect();
    let before = CpuClock::now(&own);
    let policy = Policy { budget: budget.cell, precision: budget.precision, samples: budget.samples };
    let arms = timed(&mut entrants, &sets, policy, stop, progress).ok_or(CellError::Stopped)?;
    let mut result = CellResult::new(cell, layout.bytes, layout.sets, layout.cold);
    result.others_cpu = CpuClock::now(&own).zip(before).and_then(|(now, before)| now.others_since(before));
    result.device =
        if matches!(cell.provider, Provider::Cuda | Provider::TensorRt) { device_state() } else { None };
    result.arms = arms;
    result.finish();
    Ok(result)
}

/// Batches of a loss by itself, and the arms that are loaded for them.
fn entrants(
    cell: &Cell,
    loss: &Loss,
    layout: Layout,
    setup: &Setup,
) -> Result<(Vec<Inputs>, Vec<Entrant>), CellError> {
    let batches: Vec<_> = (0..layout.sets).map(|number| data::batch(cell, loss, number)).collect();
    let expected = match batches.first() {
        Some(batch) => Expected::of(loss, batch).map_err(CellError::Reference)?,
        None => return Err(CellError::Reference("a cell without input".to_owned())),
    };
    let sets: Vec<Inputs> = batches.into_iter().map(|batch| batch.inputs).collect();
    let entrants = cell.arms.iter().map(|kind| enter(*kind, cell, loss, &expected, &sets, setup));
    let entrants = entrants.collect::<Result<Vec<_>, _>>()?;
    Ok((sets, entrants))
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
            let bodies = lowering == Lowering::Fused && setup.operator_library.is_none();
            let engine = engine(cell, setup, cuda_graph, None)?;
            let allowed = match lowering {
                Lowering::Direct => expected.as_published(loss),
                _ => expected.margin_form(loss, &engine.info()),
            };
            let mut entrant = match artifact::emit_as(loss, lowering, Versions::default()) {
                Ok(bytes) => graph_arm(kind, &bytes, &engine, &loss.interface().outputs, sets, |outputs| {
                    expected.check(outputs, allowed)
                }),
                Err(error) => Entrant::without_times(kind, Status::Failed, error.to_string()),
            };
            if bodies {
                let why = if setup.fused_bodies { BODIES } else { NO_LIBRARY };
                entrant.result.note = Some(why.to_owned());
            }
            Ok(entrant)
        }
        // A plan gives these to cells of classifiers only.
        ArmKind::Graft(_) => {
            let reason = "a graft needs a classifier, and this cell has none".to_owned();
            Ok(Entrant::without_times(kind, Status::Absent, reason))
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
    let process = match setup.peers.serving(peer.program(), cell) {
        Ok(process) => process,
        Err(why) => {
            entrant.end(Status::Absent, why);
            return entrant;
        }
    };
    let counts = data::class_counts(cell.classes);
    let model = match peer.program() {
        Program::Pytorch => Ok(None),
        Program::OrtTraining => trainable(loss).map(Some),
    };
    let loaded = model.and_then(|model| {
        let mut arm = PeerArm::new(process, peer, cell, (loss, &counts), sets, model.as_deref())?;
        let outputs = arm.compute()?;
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

/// The loss by itself, for a program that differentiates it.
fn trainable(loss: &Loss) -> Result<Vec<u8>, ArmError> {
    artifact::emit_as(loss, Lowering::Trainable, Versions::default())
        .map_err(|error| ArmError::new(error.to_string()))
}

/// The engine of a cell; `data` is where a model's external data stands.
pub(super) fn engine(
    cell: &Cell,
    setup: &Setup,
    cuda_graph: bool,
    data: Option<PathBuf>,
) -> Result<OrtEngine, CellError> {
    let operator_libraries = setup.operator_library.iter().cloned().collect();
    let options = OrtOptions {
        threads: Some(cell.threads),
        cuda_graph,
        operator_libraries,
        data_dir: data,
        ..OrtOptions::default()
    };
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
    awaken(engine);
    let (loaded, peak) = peak_on(engine.info().provider, || {
        let mut arm = GraphArm::new(engine.load(bytes)?, outputs.to_vec());
        let outputs = arm.compute(&sets[0])?;
        Ok::<_, ArmError>((arm, outputs))
    });
    entrant.result.peak_memory = peak;
    match loaded {
        Ok((arm, outputs)) => entrant.judge(Box::new(arm), check(&outputs)),
        Err(error) => entrant.end(Status::Failed, error.to_string()),
    }
    entrant
}

/// Makes a device's context before memory is measured: the first model that is loaded would be charged with it.
pub(super) fn awaken(engine: &OrtEngine) {
    if engine.info().provider != Provider::Cpu {
        // One that does not load is told by the arm that does not load either.
        drop(engine.load(&identity_model(DType::F32, &WIDE)));
    }
}

/// The roofline: on the host by hand, on a device as a graph.
fn copy_arm(cell: &Cell, setup: &Setup) -> Result<Entrant, CellError> {
    let mut entrant = Entrant::new(ArmKind::Copy);
    if cell.provider == Provider::Cpu {
        entrant.arm = Some(Box::new(CopyArm { threads: cell.threads }));
        return Ok(entrant);
    }
    let engine = engine(cell, setup, false, None)?;
    match engine.load(&identity_model(cell.dtype, &WIDE)) {
        Ok(session) => entrant.arm = Some(Box::new(GraphArm::identity(session, &WIDE))),
        Err(error) => entrant.end(Status::Failed, error.to_string()),
    }
    Ok(entrant)
}
