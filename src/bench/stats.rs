//! Robust statistics of a series of times.
//!
//! Times of runs are skewed and have outliers, so the median stands for a series. Its confidence interval is a
//! percentile bootstrap (Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993, chapter 13) over blocks of
//! consecutive runs and not over single ones: neighbours share the machine's state, and an interval that took them for
//! independent would be too narrow (Künsch, *The Jackknife and the Bootstrap for General Stationary Observations*,
//! Annals of Statistics 17, 1989). Everything here is deterministic.

use fastrand::Rng;
use serde::{Deserialize, Serialize};

/// Resamples of a bootstrap; the ends of a 95 % interval then stand on 12 of them.
const RESAMPLES: usize = 500;
/// Seed of the bootstrap, so that the same samples give the same interval.
const SEED: u64 = 0x5eed;
/// Makes the median absolute deviation of a normal distribution its standard deviation: 1/Φ⁻¹(3/4).
const NORMAL: f64 = 1.4826;

/// A series in blocks of consecutive runs, in seconds.
pub type Blocks = Vec<Vec<f64>>;

/// What a series says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Seconds.
    pub median: f64,
    /// Lower end of the 95 % confidence interval of the median, in seconds.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
    /// 95th percentile, in seconds.
    pub p95: f64,
    /// Median absolute deviation from the median, in seconds.
    pub mad: f64,
    /// How far the medians of blocks stray from each other: 1.4826 times their median absolute deviation, as a share of
    /// the median. A run of the same program at another time differs by this much for no reason.
    pub noise: f64,
    /// Number of samples.
    pub samples: usize,
}

impl Summary {
    /// The summary of a series; `None` without samples.
    pub fn of(blocks: &Blocks) -> Option<Self> {
        let all = pooled(blocks.iter());
        let centre = median(&all)?;
        let (low, high) = interval(resampled_medians(blocks, SEED));
        let block_medians: Vec<f64> = blocks.iter().filter_map(|block| median(block)).collect();
        Some(Self {
            median: centre,
            low,
            high,
            p95: quantile(&all, 0.95)?,
            mad: mad(&all, centre),
            noise: NORMAL * mad(&block_medians, median(&block_medians)?) / centre,
            samples: all.len(),
        })
    }

    /// Half the width of the confidence interval, as a share of the median.
    pub fn precision(&self) -> f64 {
        (self.high - self.low) / 2.0 / self.median
    }
}

/// 95 % confidence interval of (median of `head`) / (median of `base`), two independent series; `None` without samples.
pub fn ratio_interval(head: &Blocks, base: &Blocks) -> Option<(f64, f64, f64)> {
    let centre = median(&pooled(head.iter()))? / median(&pooled(base.iter()))?;
    let (head, base) = (resampled_medians(head, SEED), resampled_medians(base, !SEED));
    let (low, high) = interval(head.iter().zip(&base).map(|(h, b)| h / b).collect());
    Some((centre, low, high))
}

/// Median of the values; `None` without any.
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// Quantile by linear interpolation between order statistics (type 7 of Hyndman and Fan, 1996).
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let at = share.clamp(0.0, 1.0) * last as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    Some(below + (above - below) * at.fract())
}

fn mad(values: &[f64], centre: f64) -> f64 {
    let distances: Vec<f64> = values.iter().map(|value| (value - centre).abs()).collect();
    median(&distances).unwrap_or(0.0)
}

fn pooled<'a>(blocks: impl Iterator<Item = &'a Vec<f64>>) -> Vec<f64> {
    blocks.flatten().copied().collect()
}

/// Medians of series that are put together from randomly drawn blocks.
fn resampled_medians(blocks: &Blocks, seed: u64) -> Vec<f64> {
    let mut rng = Rng::with_seed(seed);
    let resample = |_| {
        let drawn = (0..blocks.len()).map(|_| &blocks[rng.usize(..blocks.len())]);
        median(&pooled(drawn))
    };
    (0..RESAMPLES).filter_map(resample).collect()
}

fn interval(medians: Vec<f64>) -> (f64, f64) {
    let end = |share| quantile(&medians, share).unwrap_or(f64::NAN);
    (end(0.025), end(0.975))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_between_order_statistics() {
        // numpy.quantile([3, 1, 2, 4], [0, 0.5, 0.95, 1])
        let values = [3.0, 1.0, 2.0, 4.0];
        let all = [0.0, 0.5, 0.95, 1.0].map(|share| quantile(&values, share).unwrap());
        for (got, want) in all.iter().zip([1.0, 2.5, 3.85, 4.0]) {
            assert!((got - want).abs() < 1e-12, "{got} {want}");
        }
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn one_wild_sample_moves_neither_median_nor_deviation() {
        let blocks = vec![vec![1.0, 1.1, 0.9], vec![1.0, 1.05, 100.0]];
        let summary = Summary::of(&blocks).unwrap();
        assert!((summary.median - 1.025).abs() < 1e-12);
        assert!(summary.mad < 0.1);
        assert!(summary.p95 > 10.0);
    }

    /// Draws `blocks` blocks of ten values around 1, each block with a mean of its own.
    fn series(rng: &mut Rng, blocks: usize, between: f64, within: f64) -> Blocks {
        let normal = |rng: &mut Rng| {
            // Sum of twelve uniform numbers (Irwin-Hall): variance 1.
            (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0
        };
        (0..blocks)
            .map(|_| {
                let centre = 1.0 + between * normal(rng);
                (0..10).map(|_| centre + within * normal(rng)).collect()
            })
            .collect()
    }

    #[test]
    fn the_interval_covers_the_true_median_about_as_often_as_it_says() {
        let mut rng = Rng::with_seed(1);
        let trials = 60;
        let covered = (0..trials).filter(|_| {
            let summary = Summary::of(&series(&mut rng, 20, 0.05, 0.02)).unwrap();
            summary.low <= 1.0 && 1.0 <= summary.high
        });
        // 95 % of 60 is 57, with a standard deviation of 1.7; percentile intervals of a median fall somewhat short.
        let covered = covered.count();
        assert!((51..=60).contains(&covered), "{covered} of {trials}");
    }

    #[test]
    fn blocks_that_differ_make_the_interval_wide_however_many_samples_they_have() {
        let mut rng = Rng::with_seed(2);
        let steady = Summary::of(&series(&mut rng, 20, 0.0, 0.02)).unwrap();
        let drifting = Summary::of(&series(&mut rng, 20, 0.1, 0.02)).unwrap();
        assert!(drifting.precision() > 3.0 * steady.precision());
        assert!(drifting.noise > 0.05 && steady.noise < 0.02);
    }

    #[test]
    fn the_ratio_of_equal_series_covers_one_and_a_slowdown_shows() {
        let mut rng = Rng::with_seed(3);
        let (a, b) = (series(&mut rng, 30, 0.01, 0.02), series(&mut rng, 30, 0.01, 0.02));
        let (_, low, high) = ratio_interval(&a, &b).unwrap();
        assert!(low < 1.0 && 1.0 < high);
        let slow: Blocks = a.iter().map(|block| block.iter().map(|v| v * 1.1).collect()).collect();
        let (ratio, low, high) = ratio_interval(&slow, &b).unwrap();
        assert!(low > 1.05 && high < 1.15 && (ratio - 1.1).abs() < 0.03);
    }
}
