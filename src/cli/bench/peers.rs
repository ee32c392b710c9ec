//! The processes of peers: those that a plan wants and the user has named an interpreter for.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

use super::Args;
use crate::bench::plan::{ArmKind, Program};
use crate::bench::{PeerProcess, Peers, Plan, Started};

/// How a user names a program's interpreter.
struct Named {
    program: Program,
    what: &'static str,
    option: &'static str,
    variable: &'static str,
    script: &'static str,
}

const PYTORCH: Named = Named {
    program: Program::Pytorch,
    what: "PyTorch",
    option: "--peer-python",
    variable: "IBGRAPH_PEER_PYTHON",
    script: "ci/peers",
};

const ORT_TRAINING: Named = Named {
    program: Program::OrtTraining,
    what: "ONNX Runtime Training",
    option: "--ort-training-python",
    variable: "IBGRAPH_ORT_TRAINING_PEER",
    script: "ci/ort-training --python",
};

/// Starts the peers of a plan; one that cannot be started is told in the report.
pub fn start(args: &Args, plan: &Plan) -> Peers {
    Peers {
        pytorch: PYTORCH.start(args.peer_python.clone(), plan),
        ort_training: ORT_TRAINING.start(args.ort_training_python.clone(), plan),
    }
}

impl Named {
    fn start(&self, given: Option<PathBuf>, plan: &Plan) -> Started {
        let mut arms = plan.cells.iter().flat_map(|cell| &cell.arms);
        if !arms.any(|arm| matches!(arm, ArmKind::Peer(peer) if peer.program() == self.program)) {
            return Err("the plan has no such peer".to_owned());
        }
        let set = std::env::var_os(self.variable).filter(|v| !v.is_empty()).map(PathBuf::from);
        let Self { program, what, option, variable, script } = self;
        let python = given.or(set).ok_or_else(|| {
            format!("no Python with {what} was named; make one with `{script}`, and name it with {option} or {variable}")
        })?;
        let process = PeerProcess::start(*program, &python).map_err(|error| {
            format!("no {what}: {error}; `{script}` makes a Python that has it, to be named with {option} or {variable}")
        })?;
        Ok(Rc::new(RefCell::new(process)))
    }
}
