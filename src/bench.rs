//! Benchmarks: what to measure, measuring it so that it can be believed, and the results.
//!
//! Stands after the check: a [`Plan`] goes in, results come out, one cell after another. Invariant: no time is
//! reported of an arm whose numbers were not compared with the reference in the same run.

mod arms;
mod cell;
mod data;
mod entrant;
mod environment;
mod measure;
mod memory;
mod numerics;
pub mod plan;
pub mod results;
mod run;
pub mod stats;
mod steps;

pub use arms::{ArmError, PeerProcess, Peers, Started};
pub use data::loss;
pub use environment::{BUSY, Environment, Gpu};
pub use memory::Layout;
pub use plan::Plan;
pub use results::Results;
pub use run::{BenchError, Event, Setup, begin, prepare, run};

use sha2::{Digest, Sha256};

/// SHA-256 in lower-case hexadecimal.
fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
