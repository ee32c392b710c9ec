//! Whether a model file computes the loss that it claims: structure, numbers and placement.
//!
//! Stands after the runtime: a file, an engine and cases go in, a [`Report`] comes out. Invariant: a report passes only
//! if every part of it was looked at and held; what could not be looked at is an error, never a pass.

mod cases;
mod compare;
mod data;
mod placement;
mod report;
mod run;
mod structure;
mod tolerance;

pub use cases::{Case, generate};
pub use compare::{Deviation, compare};
pub use data::{DataError, read_directory};
pub use placement::Placement;
pub use report::{CaseReport, OutputReport, Report};
pub use run::{CheckError, check};
pub use tolerance::{Tolerance, tolerance};
