//! An arm on its way through a cell: loaded, held to what it must compute, bound, and timed with the others.

use std::sync::atomic::AtomicBool;

use super::arms::{Arm, ArmError, Inputs, Timed};
use super::measure::{Policy, Times, measure};
use super::plan::ArmKind;
use super::results::{ArmResult, ModelInfo, Numerics, Series, Status};
use super::sha256;
use crate::onnx;
use crate::runtime::OrtEngine;

/// How far numbers are off, or that and what is wrong with them.
pub(super) type Checked = Result<Numerics, (Numerics, String)>;

/// An arm that is loaded, and what is known of it so far.
pub(super) struct Entrant {
    pub result: ArmResult,
    /// `None` where it is not to be measured.
    pub arm: Option<Box<dyn Arm>>,
}

impl Entrant {
    /// An arm of which nothing is known.
    pub fn new(kind: ArmKind) -> Self {
        let mut result = ArmResult::without_times(kind.to_string(), Status::Measured, String::new());
        result.reason = None;
        Self { result, arm: None }
    }

    /// One that is not measured.
    pub fn without_times(kind: ArmKind, status: Status, reason: String) -> Self {
        Self { result: ArmResult::without_times(kind.to_string(), status, reason), arm: None }
    }

    /// It is not measured.
    pub fn end(&mut self, status: Status, reason: String) {
        self.result.status = status;
        self.result.reason = Some(reason);
        self.arm = None;
    }

    /// It is measured only if its numbers are right.
    pub fn judge(&mut self, arm: Box<dyn Arm>, checked: Checked) {
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

/// The graph of an arm, as the engine runs it.
pub(super) fn model_info(engine: &OrtEngine, bytes: &[u8]) -> ModelInfo {
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

/// Measures the entrants that are left; `None` when the user asked for an end.
pub(super) fn timed(
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
