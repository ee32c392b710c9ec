//! Logits and features of one generated sample.

use fastrand::Rng;

use crate::loss::{FeatureInput, Interface};
use crate::tensor::DType;

/// What the logits of a row are like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum LogitKind {
    /// Normal, standard deviation 2.
    Random,
    /// Random, with the label's logit set so that u is about this.
    Margin(f64),
    /// All the same.
    Equal,
    /// Random around an offset so large that a part of every logit's digits is lost.
    Offset,
    /// -inf, but for the label's.
    OthersImpossible,
    /// NaN; for rows that do not count.
    NotANumber,
}

/// What the features of a row are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FeatureKind {
    /// As after a ReLU.
    Positive,
    /// Both signs, and an exact zero.
    Signed,
    /// Dead.
    Zero,
    /// About 1e-6.
    Tiny,
    /// About 1e6, or as large as the type allows.
    Huge,
    /// NaN; for rows that do not count.
    NotANumber,
}

/// Normal with mean 0 and variance 1, by the Box-Muller transform.
fn normal(rng: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.f64()).cos()
}

impl LogitKind {
    pub fn push(self, logits: &mut Vec<f64>, classes: usize, label: usize, dtype: DType, rng: &mut Rng) {
        let start = logits.len();
        let offset = match (self, dtype) {
            (LogitKind::Offset, DType::F16 | DType::BF16) => 500.0,
            (LogitKind::Offset, _) => 1e5,
            _ => 0.0,
        };
        for class in 0..classes {
            logits.push(match self {
                LogitKind::Random | LogitKind::Margin(_) | LogitKind::Offset => offset + 2.0 * normal(rng),
                LogitKind::Equal => 1.25,
                LogitKind::OthersImpossible if class == label => 0.5,
                LogitKind::OthersImpossible => f64::NEG_INFINITY,
                LogitKind::NotANumber => f64::NAN,
            });
        }
        if let LogitKind::Margin(u) = self {
            let row = &mut logits[start..];
            let others = row.iter().enumerate().filter(|(class, _)| *class != label);
            let sum: f64 = others.map(|(_, z)| z.exp()).sum();
            row[label] = sum.ln() - u;
        }
    }
}

impl FeatureKind {
    /// Appends `width` features, or their norm where that is what the graph takes.
    pub fn push(self, features: &mut Vec<f64>, width: usize, interface: &Interface, rng: &mut Rng) {
        let scale = match (self, interface.dtype) {
            (FeatureKind::Zero, _) => 0.0,
            (FeatureKind::Tiny, DType::F16) => 1e-4,
            (FeatureKind::Tiny, _) => 1e-6,
            (FeatureKind::Huge, DType::F16) => 1e3,
            (FeatureKind::Huge, _) => 1e6,
            (FeatureKind::NotANumber, _) => f64::NAN,
            (FeatureKind::Positive | FeatureKind::Signed, _) => 1.0,
        };
        let raw = interface.feature_input == FeatureInput::Raw;
        for k in 0..width {
            let value = scale * normal(rng);
            features.push(match self {
                FeatureKind::Signed if raw && k == 0 => 0.0,
                FeatureKind::Signed if raw => value,
                FeatureKind::Positive if raw && k % 3 == 2 => 0.0,
                _ => value.abs(),
            });
        }
    }
}
