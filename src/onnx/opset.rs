//! Operator-set and IR versions.

/// Oldest operator set that a loss graph is written for.
pub const OLDEST_OPSET: i64 = 9;
/// Operator set without `--opset`: runs on ONNX Runtime 1.14 and newer.
pub const DEFAULT_OPSET: i64 = 18;
/// Newest operator set that a loss graph is written for; ONNX Runtime 1.32 runs it.
pub const NEWEST_OPSET: i64 = 28;
/// Newest IR version that ONNX 1.23 knows.
const NEWEST_IR: i64 = 14;

/// The versions that a file is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    opset: i64,
    ir: i64,
}

/// Versions that a file cannot be written for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpsetError {
    /// Operator set out of range.
    #[error("opset {0} is not supported; choose one from {OLDEST_OPSET} to {NEWEST_OPSET}")]
    Opset(i64),
    /// IR version out of range.
    #[error("IR version {ir} is not supported for opset {opset}; choose one from {oldest} to {NEWEST_IR}")]
    Ir {
        /// As asked.
        ir: i64,
        /// The operator set.
        opset: i64,
        /// Oldest IR version for it.
        oldest: i64,
    },
}

/// The IR version that came out with an operator set: the oldest that a file of it should have.
pub fn oldest_ir(opset: i64) -> i64 {
    match opset {
        ..=9 => 4,
        10 => 5,
        11 => 6,
        12..=14 => 7,
        15..=18 => 8,
        19..=20 => 9,
        21..=22 => 10,
        23 => 11,
        24 => 12,
        25..=27 => 13,
        28.. => 14,
    }
}

impl Versions {
    /// Versions to write; without `ir` the oldest that goes with the operator set.
    ///
    /// # Errors
    /// Versions that this program does not write.
    pub fn new(opset: i64, ir: Option<i64>) -> Result<Self, OpsetError> {
        if !(OLDEST_OPSET..=NEWEST_OPSET).contains(&opset) {
            return Err(OpsetError::Opset(opset));
        }
        let oldest = oldest_ir(opset);
        let ir = ir.unwrap_or(oldest);
        if !(oldest..=NEWEST_IR).contains(&ir) {
            return Err(OpsetError::Ir { ir, opset, oldest });
        }
        Ok(Self { opset, ir })
    }

    /// The same with an IR version that has model-local functions: 8, of ONNX 1.10, or newer.
    pub fn with_functions(self) -> Self {
        Self { ir: self.ir.max(8), ..self }
    }

    /// Operator set.
    pub fn opset(self) -> i64 {
        self.opset
    }

    /// IR version.
    pub fn ir(self) -> i64 {
        self.ir
    }
}

impl Default for Versions {
    fn default() -> Self {
        Self { opset: DEFAULT_OPSET, ir: oldest_ir(DEFAULT_OPSET) }
    }
}
