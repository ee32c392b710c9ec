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
}

impl Peer {
    /// Every peer, in the order of reports.
    pub const ALL: [Peer; 2] = [Peer::PytorchEager, Peer::PytorchCompile];

    /// Name in plans and reports.
    pub fn name(self) -> &'static str {
        match self {
            Peer::PytorchEager => "pytorch-eager",
            Peer::PytorchCompile => "pytorch-compile",
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
            ArmKind::Peer(peer) => f.write_str(peer.name()),
        }
    }
}
