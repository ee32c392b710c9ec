//! How far an output may be off, with derivations. A tolerance is never widened to pass.

use crate::runtime::EngineInfo;
use crate::tensor::DType;

/// Relative errors that are accepted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// Of a whole output, in the Euclidean norm.
    pub whole: f64,
    /// Of the worst row of a gradient, relative to the row's own norm.
    pub row: f64,
}

/// float32 on ONNX Runtime. `[N, 1]` work is in float64, so what remains is float32 `[N, C]` work: softmax (exponential,
/// sum and division, 2 ulp each), one product and the feature norm; each rounds to 2^-24 = 6e-8, and a norm over D
/// features adds rounding like sqrt(D) at most. 1e-6 is 17 such roundings.
pub const FLOAT32: Tolerance = Tolerance { whole: 1e-6, row: 2e-6 };

/// float64 on ONNX Runtime. Its exponential and logarithm are good to 1e-15, and the margin form loses up to four
/// digits where the two parts of an influence gradient nearly cancel (1 - p·nll/q, at q down to 1e-4).
pub const FLOAT64: Tolerance = Tolerance { whole: 1e-11, row: 1e-11 };

/// float32 on an engine that computes float64 nodes in float32: a margin of 80 rounds to 80·2^-24 = 5e-6, which is
/// its exponential's relative error; a few such factors meet in an influence gradient. Where two terms of a derivative
/// cancel, float32 cannot keep the digits that are left, so errors are relative to the size of the terms.
pub const EMBEDDED: Tolerance = Tolerance { whole: 2e-5, row: 2e-5 };

impl Tolerance {
    /// For an output of `dtype`, computed by an engine with tolerance `self` before it is rounded to `dtype`.
    fn rounded_to(self, dtype: DType) -> Tolerance {
        // Half a unit in the last place of the significand: 11 bits of float16, 8 of bfloat16.
        let rounding = match dtype {
            DType::F16 => 2f64.powi(-11),
            DType::BF16 => 2f64.powi(-8),
            _ => 0.0,
        };
        Tolerance { whole: self.whole + rounding, row: self.row + rounding }
    }
}

/// Whether the engine computes the scalars of a row in float32, whatever the graph says.
pub(super) fn narrows_scalars(engine: &EngineInfo) -> bool {
    engine.name == crate::runtime::EmbeddedEngine::NAME
}

/// The tolerance for an output of type `dtype` of a graph whose arithmetic is in `scalar`.
pub fn tolerance(engine: &EngineInfo, scalar: DType, dtype: DType) -> Tolerance {
    let computed = if narrows_scalars(engine) {
        EMBEDDED
    } else if scalar == DType::F64 {
        FLOAT64
    } else {
        FLOAT32
    };
    computed.rounded_to(dtype)
}

/// Smallest normal number of a type: magnitudes below it count as zero.
pub(super) fn smallest_normal(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => half::f16::MIN_POSITIVE.to_f64(),
        DType::F64 => f64::MIN_POSITIVE,
        _ => f64::from(f32::MIN_POSITIVE),
    }
}

/// Largest finite number of a type; gradients of half types saturate there.
pub(super) fn largest(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => half::f16::MAX.to_f64(),
        DType::BF16 => half::bf16::MAX.to_f64(),
        DType::F64 => f64::MAX,
        _ => f64::from(f32::MAX),
    }
}
