//! Arms of training steps: loaded, and held to the reference beside the classifier.

use serde_json::{Value, json};

use super::Problem;
use super::arm::StepArm;
use super::graphs::{self, Made};
use crate::bench::arms::{Arm, ArmError, GraphArm, PeerArm};
use crate::bench::cell::{CellError, awaken, engine};
use crate::bench::entrant::{Checked, Entrant, model_info};
use crate::bench::environment::peak_on;
use crate::bench::plan::{ArmKind, Cell, Graft, Peer, Program};
use crate::bench::results::Status;
use crate::bench::run::Setup;
use crate::runtime::{Engine, OrtEngine};
use crate::tensor::Tensor;
use crate::train::manifest::CarriedRole;
use crate::train::state::State;

/// Loads an arm of a cell of training steps.
///
/// # Errors
/// An engine that cannot be had. An arm that cannot be loaded, or whose numbers are off, is a result.
pub fn enter(kind: ArmKind, cell: &Cell, problem: &Problem, setup: &Setup) -> Result<Entrant, CellError> {
    match kind {
        ArmKind::Graft(graft) => {
            let engine = engine(cell, setup, false, Some(problem.directory()))?;
            Ok(graph_entrant(kind, graft, problem, &engine))
        }
        ArmKind::Peer(peer) => Ok(peer_entrant(peer, cell, problem, setup)),
        ArmKind::Copy | ArmKind::Lowering { .. } => {
            let reason = "a lowering is of a loss by itself, and this cell is of a classifier".to_owned();
            Ok(Entrant::without_times(kind, Status::Absent, reason))
        }
    }
}

fn graph_entrant(kind: ArmKind, graft: Graft, problem: &Problem, engine: &OrtEngine) -> Entrant {
    let mut entrant = Entrant::new(kind);
    let made = problem.host().and_then(|(host, head)| {
        let recipe = problem.step.optimizer.recipe();
        let made = graphs::make(&host, problem.source.bytes(), &head, &problem.loss, &recipe, graft)?;
        let state = match &made.manifest {
            Some(manifest) => State::initial(manifest, &host, Some(&problem.directory()), false).map(Some),
            None => Ok(None),
        };
        Ok((made, state.map_err(|error| error.to_string())?))
    });
    let (made, state) = match made {
        Ok(made) => made,
        Err(reason) => {
            entrant.end(Status::Failed, reason);
            return entrant;
        }
    };
    entrant.result.model = Some(model_info(engine, &made.bytes));
    awaken(engine);
    let (loaded, peak) = peak_on(engine.info().provider, || load(&made, state, graft, problem, engine));
    entrant.result.peak_memory = peak;
    match loaded {
        Ok((arm, checked)) => entrant.judge(arm, checked),
        Err(error) => entrant.end(Status::Failed, error.to_string()),
    }
    entrant
}

type Loaded = (Box<dyn Arm>, Checked);

/// Loads a graph and runs it on the batch of the reference.
fn load(
    made: &Made,
    state: Option<State>,
    graft: Graft,
    problem: &Problem,
    engine: &OrtEngine,
) -> Result<Loaded, ArmError> {
    let session = engine.load(&made.bytes)?;
    let inputs = problem.reference_inputs();
    if let (Graft::TrainStep, Some(manifest), Some(state)) = (graft, &made.manifest, state) {
        let loss = made.outputs.first().cloned().unwrap_or_default();
        let mut arm = StepArm::new(session, manifest.clone(), state, loss);
        let optimizer = problem.step.optimizer;
        let want = problem.case.losses(optimizer);
        let got = arm.losses(&inputs, optimizer.learning_rate(), want.len())?;
        return Ok((Box::new(arm), problem.reference.check_losses(&got, want)));
    }
    let (data, labels) = problem.names.clone();
    let wanted = if graft == Graft::Forward { vec![data] } else { vec![data, labels] };
    let mut arm = GraphArm::with_inputs(session, made.outputs.clone(), wanted);
    let outputs = arm.compute(&inputs)?;
    let checked = checked(&outputs, made, graft, problem);
    Ok((Box::new(arm), checked))
}

fn checked(outputs: &[(String, Tensor)], made: &Made, graft: Graft, problem: &Problem) -> Checked {
    let reference = &problem.reference;
    let first = outputs.first().map(|(_, tensor)| tensor);
    let loss = first.and_then(|tensor| tensor.to_f64_vec().first().copied()).unwrap_or(f64::NAN);
    match (graft, first) {
        (Graft::Forward, Some(logits)) => reference.check_logits(logits),
        (Graft::Gradients, _) => {
            let named = made.of.iter().zip(outputs.iter().skip(1));
            let gradients: Vec<(String, Tensor)> =
                named.map(|(of, (_, tensor))| (format!("{of}_grad"), tensor.clone())).collect();
            reference.check_gradients(loss, &gradients)
        }
        _ => reference.check_loss(loss),
    }
}

fn peer_entrant(peer: Peer, cell: &Cell, problem: &Problem, setup: &Setup) -> Entrant {
    let mut entrant = Entrant::new(ArmKind::Peer(peer));
    let process = match setup.peers.serving(peer.program(), cell) {
        Ok(process) => process,
        Err(why) => {
            entrant.end(Status::Absent, why);
            return entrant;
        }
    };
    let optimizer = problem.step.optimizer;
    let want = problem.case.losses(optimizer);
    let loaded = peer_step(peer, problem).and_then(|(about, model)| {
        let tables = (&problem.loss, problem.case.class_counts.as_slice());
        let batches = [&[problem.reference_inputs()][..], &problem.sets];
        let mut arm = PeerArm::step(process, peer, cell, tables, about, model.as_deref(), batches)?;
        let got = arm.losses(optimizer.learning_rate(), want.len())?;
        Ok((arm, got))
    });
    match loaded {
        Ok((arm, got)) => {
            entrant.result.note = arm.note();
            entrant.judge(Box::new(arm), problem.reference.check_losses(&got, want));
        }
        Err(error) => entrant.end(Status::Failed, error.to_string()),
    }
    entrant
}

/// What a peer is told of a step, and for a program that differentiates graphs the classifier with the loss on it.
fn peer_step(peer: Peer, problem: &Problem) -> Result<(Value, Option<Vec<u8>>), ArmError> {
    let failed = |error: String| ArmError::new(error);
    let (host, head) = problem.host().map_err(failed)?;
    let recipe = problem.step.optimizer.recipe();
    let source = problem.source.bytes();
    let step =
        graphs::make(&host, source, &head, &problem.loss, &recipe, Graft::TrainStep).map_err(failed)?;
    let carried = step.manifest.iter().flat_map(|manifest| &manifest.carried);
    let parameters: Vec<&str> = carried
        .filter(|carried| carried.role == CarriedRole::Parameter)
        .map(|carried| carried.port.name.as_str())
        .collect();
    let model = match peer.program() {
        Program::Pytorch => None,
        Program::OrtTraining => {
            Some(graphs::for_ort_training(&host, &head, &problem.loss).map_err(failed)?.bytes)
        }
    };
    let about = json!({
        "model": std::path::absolute(&problem.step.path).unwrap_or_else(|_| problem.step.path.clone()),
        "logits": head.logits.name,
        "features": head.features.as_ref().map(|place| &place.name),
        "parameters": parameters,
        "shape": problem.shape,
        "reference_rows": problem.reference.rows(),
        "recipe": recipe,
    });
    Ok((about, model))
}
