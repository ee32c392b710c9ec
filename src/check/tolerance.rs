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
    /// What a norm is at least, relative to what it would be if no two terms of a derivative cancelled. Digits that
    /// cancel are lost to the rounding of the row's scalars, whatever computes them.
    pub cancelled: f64,
}

/// float32 on ONNX Runtime. `[N, 1]` work is in float64, so what remains is float32 `[N, C]` and `[N, D]` work: the
/// exponential, sum and division of the softmax and the sum of the feature norm, each a few roundings of 2^-24 = 6e-8,
/// with sums that are added up in blocks (of very many classes in float64). 1e-6 is 17 roundings; 5e-7 was measured at
/// C = D = 10000.
///
/// The scalars round at 2^-53 = 1e-16, about a hundred times over a row program: 1e-14 of what cancels, 1e-8 of 1e-6.
pub const FLOAT32: Tolerance = Tolerance { whole: 1e-6, row: 2e-6, cancelled: 1e-8 };

/// float64 on ONNX Runtime: its exponential and logarithm are good to 1e-15, and a few dozen such factors meet.
///
/// Where terms cancel, the same 1e-14 as above, 1e-3 of 1e-11: the gradient of ib is a difference whose relative size is
/// about q + epsilon/(2·q·h), so large features and small epsilon cost sure samples digits in any precision.
pub const FLOAT64: Tolerance = Tolerance { whole: 1e-11, row: 1e-11, cancelled: 1e-3 };

/// float32 on an engine that computes float64 nodes in float32: a margin of 80 rounds to 80·2^-24 = 5e-6, which is
/// its exponential's relative error; a few such factors meet in an influence gradient. Where two terms of a derivative
/// cancel, float32 cannot keep the digits that are left, so errors are relative to the size of the terms.
pub const EMBEDDED: Tolerance = Tolerance { whole: 2e-5, row: 2e-5, cancelled: 1.0 };

impl Tolerance {
    /// For an output of `dtype`, computed by an engine with tolerance `self` before it is rounded to `dtype`.
    fn rounded_to(self, dtype: DType) -> Tolerance {
        // Half a unit in the last place of the significand: 11 bits of float16, 8 of bfloat16.
        let rounding = match dtype {
            DType::F16 => 2f64.powi(-11),
            DType::BF16 => 2f64.powi(-8),
            _ => 0.0,
        };
        Tolerance { whole: self.whole + rounding, row: self.row + rounding, ..self }
    }
}

/// The tolerance for an output of type `dtype` of a graph whose arithmetic is in `scalar`.
pub fn tolerance(engine: &EngineInfo, scalar: DType, dtype: DType) -> Tolerance {
    let computed = if engine.name == crate::runtime::EmbeddedEngine::NAME {
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
