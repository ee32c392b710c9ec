//! Exit codes.

use std::fmt::Display;

use crate::bench::BenchError;
use crate::runtime::RuntimeError;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All good.
    Good = 0,
    /// A check or a comparison failed; its report says where.
    CheckFailed = 1,
    /// A comparison that shows neither, or an environment that does not allow one.
    Inconclusive = 4,
    /// Ended by Ctrl-C, with what was done so far written: 128 and the number of SIGINT.
    Interrupted = 130,
}

/// An error with its exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// 2 for wrong use and broken input, 3 for a missing engine or provider.
    pub code: u8,
    /// What is wrong and what to do.
    pub message: String,
}

impl Failure {
    /// Wrong use or broken input.
    pub fn usage(message: impl Display) -> Self {
        Self { code: 2, message: message.to_string() }
    }

    /// An engine or a provider that is not there.
    pub fn missing(message: impl Display) -> Self {
        Self { code: 3, message: message.to_string() }
    }
}

impl From<BenchError> for Failure {
    fn from(error: BenchError) -> Self {
        match error {
            BenchError::Runtime(error) => error.into(),
            other => Self::usage(other),
        }
    }
}

impl From<RuntimeError> for Failure {
    fn from(error: RuntimeError) -> Self {
        match error {
            RuntimeError::ProviderMissing { .. }
            | RuntimeError::LibraryMissing { .. }
            | RuntimeError::LibraryBroken { .. }
            | RuntimeError::TooOld { .. } => Self::missing(error),
            _ => Self::usage(error),
        }
    }
}
