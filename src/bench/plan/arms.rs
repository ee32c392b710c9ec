//! What can be compared in a cell.

use std::fmt;

use crate::lower::Lowering;

/// The lowerings that can be measured, by name, in the order of reports.
pub const LOWERINGS: [(&str, Lowering); 3] =
    [("direct", Lowering::Direct), ("portable", Lowering::Portable), ("fused", Lowering::Fused)];

/// Name of a lowering in plans and reports.
fn lowering_name(lowering: Lowering) -> &'static str {
    LOWERINGS.iter().find(|(_, known)| *known == lowering).map_or("other", |(name, _)| name)
}

/// Another program that computes the same loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Peer {
    /// The published formula in PyTorch, forward and backward, as it is written.
    PytorchEager,
    /// The same through `torch.compile`.
    PytorchCompile,
    /// ONNX Runtime Training 1.19.2, which differentiates a graph of the loss by itself.
    OrtTraining,
}

/// The program that a peer is an arm of; one process of it serves every cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Program {
    /// PyTorch.
    Pytorch,
    /// ONNX Runtime Training.
    OrtTraining,
}

/// What of a training step a graph computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Graft {
    /// The classifier as it is: the logits.
    Forward,
    /// The loss, and its gradients by logits and features.
    LossGrad,
    /// The loss, and its gradient by every parameter.
    Gradients,
    /// All of it: the loss, and every parameter after the step.
    TrainStep,
}

impl Graft {
    /// Every kind by its name in plans and reports, which is that of `ibgraph graft --emit`.
    pub const ALL: [(&'static str, Graft); 4] = [
        ("forward", Graft::Forward),
        ("loss-grad", Graft::LossGrad),
        ("gradients", Graft::Gradients),
        ("train-step", Graft::TrainStep),
    ];

    /// Name in plans and reports.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, known)| *known == self).map_or("other", |(name, _)| name)
    }
}

impl Peer {
    /// Every peer, in the order of reports.
    pub const ALL: [Peer; 3] = [Peer::PytorchEager, Peer::PytorchCompile, Peer::OrtTraining];

    /// Name in plans and reports.
    pub fn name(self) -> &'static str {
        match self {
            Peer::PytorchEager => "pytorch-eager",
            Peer::PytorchCompile => "pytorch-compile",
            Peer::OrtTraining => "ort-training",
        }
    }

    /// The program that it is an arm of.
    pub fn program(self) -> Program {
        match self {
            Peer::PytorchEager | Peer::PytorchCompile => Program::Pytorch,
            Peer::OrtTraining => Program::OrtTraining,
        }
    }
}

/// One of the things that a cell compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArmKind {
    /// Copying as many bytes as the loss must read and write: the roofline.
    Copy,
    /// A graph on ONNX Runtime.
    Lowering {
        /// How the graph was made.
        lowering: Lowering,
        /// Whether runs are replayed as a CUDA graph.
        cuda_graph: bool,
    },
    /// A part of a training step, or all of it, on ONNX Runtime.
    Graft(Graft),
    /// Another program.
    Peer(Peer),
}

impl fmt::Display for ArmKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArmKind::Copy => f.write_str("copy"),
            ArmKind::Lowering { lowering, cuda_graph: false } => f.write_str(lowering_name(*lowering)),
            ArmKind::Lowering { lowering, cuda_graph: true } => {
                write!(f, "{}+cuda-graph", lowering_name(*lowering))
            }
            ArmKind::Graft(graft) => f.write_str(graft.name()),
            ArmKind::Peer(peer) => f.write_str(peer.name()),
        }
    }
}
