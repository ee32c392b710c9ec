//! Times of several arms, taken so that they can be compared.
//!
//! Arms take turns in an order drawn anew for every round, so that whatever the machine does falls on all of them. A
//! turn is a block: a pause, in which the threads that the arm before left spinning go to sleep; a run that is not
//! counted, which wakes the arm's own; a few runs on one set of inputs after the other (cold); and as many on the
//! last set (warm). Measuring ends when every interval is as narrow as asked, or when the time is up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::arms::{ArmError, Timed};
use super::results::WarmUp;
use super::stats::{Blocks, Summary, median};

/// Longer than the thread pools of ONNX Runtime and OpenMP spin by default before they sleep.
const PAUSE: Duration = Duration::from_millis(4);
/// A block is this long, or one run.
const BLOCK: Duration = Duration::from_millis(8);
/// Most runs of a block; more would say little more.
const LONGEST_BLOCK: usize = 20;
/// Fewest blocks of a series that can be resampled.
const FEWEST_BLOCKS: usize = 5;
/// Runs between two looks at whether times are steady.
const WINDOW: usize = 5;
/// Times are steady when two windows differ by less.
const STEADY: f64 = 0.02;
/// Share of the budget that warming up may take, all arms together.
const WARM_UP_SHARE: f64 = 0.25;

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Measuring time, all arms together.
    pub budget: Duration,
    /// Half the width of every interval, as a share of the median.
    pub precision: f64,
    /// Most samples of a series.
    pub samples: usize,
}

/// What was measured of one arm.
#[derive(Debug, Default)]
pub struct Times {
    /// Before measuring.
    pub warm_up: Option<WarmUp>,
    /// Seconds, each run on the next set.
    pub cold: Blocks,
    /// Seconds, each run on the same set.
    pub warm: Blocks,
    /// Why the arm dropped out.
    pub error: Option<ArmError>,
    /// Runs of a block.
    block: usize,
}

/// Measures arms that are bound to `sets` sets of inputs; `None` when `stop` was set before the end. `progress` is told
/// the share of the budget that is spent.
pub fn measure(
    arms: &mut [Box<dyn Timed + '_>],
    sets: usize,
    policy: Policy,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(f64),
) -> Option<Vec<Times>> {
    let mut times: Vec<Times> = arms.iter().map(|_| Times::default()).collect();
    let warm_up = policy.budget.mul_f64(WARM_UP_SHARE / arms.len().max(1) as f64);
    for (arm, times) in arms.iter_mut().zip(&mut times) {
        times.error = warm(arm.as_mut(), sets, warm_up, times).err();
        if stop.load(Ordering::Relaxed) {
            return None;
        }
    }
    let start = Instant::now();
    let mut rng = Rng::with_seed(0x0d_e5);
    let mut order: Vec<usize> = (0..arms.len()).collect();
    let mut next_look = FEWEST_BLOCKS;
    for round in 1.. {
        rng.shuffle(&mut order);
        for &index in &order {
            if stop.load(Ordering::Relaxed) {
                return None;
            }
            turn(arms[index].as_mut(), sets, &mut times[index]);
        }
        let spent = start.elapsed().as_secs_f64() / policy.budget.as_secs_f64();
        progress(spent.min(1.0));
        if round >= next_look {
            // Looking costs time too: a bootstrap of everything so far.
            next_look += (round / 4).max(1);
            if spent >= 1.0 || times.iter().all(|times| times.enough(policy)) {
                break;
            }
        } else if spent >= 2.0 && round >= 2 {
            break;
        }
    }
    Some(times)
}

/// Runs an arm until its times are steady or `budget` is spent, and finds the length of its blocks.
fn warm(arm: &mut dyn Timed, sets: usize, budget: Duration, times: &mut Times) -> Result<(), ArmError> {
    let start = Instant::now();
    let mut runs = 0;
    let mut before: Option<f64> = None;
    loop {
        let window: Vec<usize> = (0..WINDOW).map(|k| (runs + k) % sets).collect();
        let seconds = median(&arm.block(&window)?).unwrap_or(0.0);
        runs += WINDOW;
        let steady = before.is_some_and(|before| (seconds / before - 1.0).abs() < STEADY);
        if steady || start.elapsed() >= budget {
            times.warm_up = Some(WarmUp { runs, steady });
            let fitting = BLOCK.as_secs_f64() / seconds.max(1e-9);
            times.block = (fitting as usize).clamp(1, LONGEST_BLOCK);
            return Ok(());
        }
        before = Some(seconds);
    }
}

/// One block of an arm that has not dropped out.
fn turn(arm: &mut dyn Timed, sets: usize, times: &mut Times) {
    if times.error.is_some() {
        return;
    }
    sleep(PAUSE);
    let (count, first) = (times.block, times.cold.iter().map(Vec::len).sum::<usize>() + times.cold.len());
    let rotated: Vec<usize> = (0..=count).map(|k| (first + k) % sets).collect();
    let last = rotated.last().copied().unwrap_or(0);
    let mut run = || {
        let cold = arm.block(&rotated)?;
        let warm = arm.block(&vec![last; count])?;
        Ok((cold, warm))
    };
    match run() {
        Ok((cold, warm)) => {
            times.cold.push(cold[1..].to_vec());
            times.warm.push(warm);
        }
        Err(error) => times.error = Some(error),
    }
}

impl Times {
    /// Whether nothing more is to be learned of this arm.
    fn enough(&self, policy: Policy) -> bool {
        let precise = |blocks| Summary::of(blocks).is_none_or(|s| s.precision() <= policy.precision);
        let full = self.cold.iter().map(Vec::len).sum::<usize>() >= policy.samples;
        self.error.is_some() || full || (precise(&self.cold) && precise(&self.warm))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says that a run takes `seconds`, with a ripple, and is as slow as that at first for `slow` runs.
    struct Clockwork {
        seconds: f64,
        slow: usize,
        runs: usize,
    }

    impl Timed for Clockwork {
        fn block(&mut self, sets: &[usize]) -> Result<Vec<f64>, ArmError> {
            let time = |_| {
                self.runs += 1;
                let slowness = if self.runs <= self.slow { 3.0 + self.runs as f64 } else { 1.0 };
                self.seconds * slowness * (1.0 + 0.001 * (self.runs % 7) as f64)
            };
            Ok(sets.iter().map(time).collect())
        }
    }

    struct Broken;

    impl Timed for Broken {
        fn block(&mut self, _: &[usize]) -> Result<Vec<f64>, ArmError> {
            Err(ArmError::new("no more runs"))
        }
    }

    const POLICY: Policy = Policy { budget: Duration::from_millis(400), precision: 0.02, samples: 100 };

    fn run(arms: Vec<Box<dyn Timed>>) -> Vec<Times> {
        let mut arms: Vec<Box<dyn Timed + '_>> = arms.into_iter().map(|arm| arm as _).collect();
        measure(&mut arms, 3, POLICY, &AtomicBool::new(false), &mut |_| ()).unwrap()
    }

    #[test]
    fn the_slow_start_is_not_measured_and_the_ratio_is_right() {
        let fast = Clockwork { seconds: 1e-4, slow: 40, runs: 0 };
        let slow = Clockwork { seconds: 3e-4, slow: 0, runs: 0 };
        let times = run(vec![Box::new(fast), Box::new(slow)]);
        let medians: Vec<f64> = times.iter().map(|t| Summary::of(&t.cold).unwrap().median).collect();
        assert!((medians[1] / medians[0] - 3.0).abs() < 0.02, "{medians:?}");
        assert!(times[0].warm_up.unwrap().runs > 40);
        assert!(times[0].warm_up.unwrap().steady);
        assert!(times[0].cold.iter().flatten().all(|seconds| *seconds < 1.1e-4));
    }

    #[test]
    fn an_arm_that_fails_drops_out_and_the_others_go_on() {
        let times = run(vec![Box::new(Broken), Box::new(Clockwork { seconds: 1e-4, slow: 0, runs: 0 })]);
        assert!(times[0].error.is_some() && times[0].cold.is_empty());
        assert!(times[1].error.is_none() && times[1].cold.len() >= FEWEST_BLOCKS);
    }

    #[test]
    fn a_stop_ends_the_measurement_without_a_result() {
        let mut arms: Vec<Box<dyn Timed>> = vec![Box::new(Clockwork { seconds: 1e-4, slow: 0, runs: 0 })];
        assert!(measure(&mut arms, 1, POLICY, &AtomicBool::new(true), &mut |_| ()).is_none());
    }
}
