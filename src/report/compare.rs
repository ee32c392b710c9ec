//! Two results against each other.
//!
//! The ratio head/base of the medians has a bootstrap interval. Beside it stands a noise floor: by how much the medians
//! of blocks stray in the two series, since a later run of the same program differs by as much for no reason. A verdict
//! needs the whole interval on one side: of the threshold for a regression, of the floor for anything else.

use crate::bench::plan::Cell;
use crate::bench::results::{ArmResult, CellResult, Status};
use crate::bench::stats::ratio_interval;
use crate::bench::{BUSY, Plan, Results};

/// What no pair of runs is taken to resolve, however steady they look: frequency, memory layout.
const LEAST_NOISE: f64 = 0.01;

/// What a comparison says of an arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Slower by more than the threshold.
    Regression,
    /// Slower, but by no more than the threshold.
    Slower,
    /// Within noise and threshold.
    Same,
    /// Faster.
    Faster,
    /// The interval allows a regression and does not prove one.
    Inconclusive,
}

/// An arm in both results.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// Identifies the cell.
    pub cell: String,
    /// Name of the arm.
    pub arm: String,
    /// Median seconds of the baseline.
    pub base: f64,
    /// Median seconds now.
    pub head: f64,
    /// Head over base: lower end, centre, upper end.
    pub ratio: (f64, f64, f64),
    /// What the series do not resolve, as a share.
    pub noise: f64,
    /// How much slower the arm may be, as a share.
    pub threshold: f64,
    /// What that comes to.
    pub verdict: Verdict,
}

/// A comparison.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Comparison {
    /// Arms that both have times of.
    pub compared: Vec<Compared>,
    /// Arms that the baseline has times of, and that fail or whose numbers are off now.
    pub broken: Vec<String>,
    /// Arms that the baseline has times of, and that were not measured now.
    pub missing: Vec<String>,
    /// What else only one has times of, and why.
    pub unmatched: Vec<String>,
    /// What makes the environments unfit for a comparison.
    pub unfit: Vec<String>,
}

/// Why two results are not compared at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the results come from different machines ({0}), so their times do not compare the programs; measure both on one \
     machine"
)]
pub struct Refusal(String);

/// Compares `head` with `base`. `max_regression` is how much slower an arm may be where `plan` has no threshold of its
/// own for it. Results of different machines are compared only with `force`.
///
/// # Errors
/// [`Refusal`].
pub fn compare(
    base: &Results,
    head: &Results,
    plan: Option<&Plan>,
    max_regression: f64,
    force: bool,
) -> Result<Comparison, Refusal> {
    let differences = base.environment.differences(&head.environment);
    if !differences.is_empty() && !force {
        return Err(Refusal(differences.join("; ")));
    }
    let mut comparison = Comparison { unfit: differences, ..Comparison::default() };
    for cell in &head.cells {
        let Some(before) = base.cells.iter().find(|other| other.id == cell.id) else {
            comparison.unmatched.push(format!("{}: not in the baseline", cell.id));
            continue;
        };
        for (which, cell) in [("baseline", before), ("head", cell)] {
            if let Some(share) = cell.others_cpu.filter(|share| *share > BUSY) {
                let percent = share * 100.0;
                let note =
                    format!("{}: other programs took {percent:.0} % of the processors ({which})", cell.id);
                comparison.unfit.push(note);
            }
        }
        comparison.cell(before, cell, plan, max_regression);
    }
    let gone = base.cells.iter().filter(|cell| head.cells.iter().all(|other| other.id != cell.id));
    let gone = gone.map(|cell| format!("{}: only in the baseline", cell.id));
    // A plan may have dropped the cell; a run that ended early owes it.
    if head.cells.len() < head.planned {
        comparison.missing.extend(gone);
    } else {
        comparison.unmatched.extend(gone);
    }
    Ok(comparison)
}

impl Comparison {
    /// Whether any arm regressed: it is slower, or it fails or has become wrong.
    pub fn regressed(&self) -> bool {
        !self.broken.is_empty() || self.compared.iter().any(|arm| arm.verdict == Verdict::Regression)
    }

    /// Whether nothing can be concluded: an open verdict, an arm that was not measured again, an unfit environment, or
    /// nothing in common.
    pub fn is_inconclusive(&self) -> bool {
        let open = self.compared.iter().any(|arm| arm.verdict == Verdict::Inconclusive);
        open || !self.missing.is_empty() || !self.unfit.is_empty() || self.compared.is_empty()
    }

    fn cell(&mut self, base: &CellResult, head: &CellResult, plan: Option<&Plan>, max_regression: f64) {
        let planned = plan.and_then(|plan| plan.cells.iter().find(|cell| cell.id() == head.id));
        let own = |cell: &Cell, arm: &str| plan.and_then(|plan| plan.max_regression(cell, arm));
        // The copy is the machine's own speed, not the program's.
        for arm in head.arms.iter().filter(|arm| arm.arm != "copy") {
            let before = base.arm(&arm.arm);
            let threshold = planned.and_then(|cell| own(cell, &arm.arm)).unwrap_or(max_regression);
            match before.and_then(|before| pair(head, before, arm, threshold)) {
                Some(compared) => self.compared.push(compared),
                None => self.lone(head, before, arm),
            }
        }
        let gone = base.arms.iter().filter(|arm| arm.cold.is_some() && head.arm(&arm.arm).is_none());
        self.unmatched.extend(gone.map(|arm| format!("{}, {}: only in the baseline", base.id, arm.arm)));
    }

    /// Files an arm that not both have times of.
    fn lone(&mut self, cell: &CellResult, before: Option<&ArmResult>, now: &ArmResult) {
        let timed = before.is_some_and(|before| before.cold.is_some());
        let (list, what) = match (before, now.status) {
            (None, _) => (&mut self.unmatched, "not in the baseline"),
            (Some(_), Status::Measured) => (&mut self.unmatched, "no times in the baseline"),
            (Some(_), _) if !timed => (&mut self.unmatched, "no times in either"),
            (Some(_), Status::Wrong) => (&mut self.broken, "its numbers are off now"),
            (Some(_), Status::Failed) => (&mut self.broken, "it fails now"),
            (Some(_), Status::Absent) => (&mut self.missing, "it is absent now"),
        };
        let reason = now.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
        list.push(format!("{}, {}: {what}{reason}", cell.id, now.arm));
    }
}

fn pair(cell: &CellResult, base: &ArmResult, head: &ArmResult, threshold: f64) -> Option<Compared> {
    let (before, after) = (base.cold.as_ref()?, head.cold.as_ref()?);
    let (centre, low, high) = ratio_interval(&after.blocks(), &before.blocks())?;
    let noise = before.summary.noise.max(after.summary.noise).max(LEAST_NOISE);
    Some(Compared {
        cell: cell.id.clone(),
        arm: head.arm.clone(),
        base: before.summary.median,
        head: after.summary.median,
        ratio: (low, centre, high),
        noise,
        threshold,
        verdict: verdict((low, high), noise, threshold),
    })
}

fn verdict((low, high): (f64, f64), noise: f64, threshold: f64) -> Verdict {
    if low > 1.0 + threshold.max(noise) {
        Verdict::Regression
    } else if high < 1.0 - noise {
        Verdict::Faster
    } else if high > 1.0 + threshold || noise > threshold {
        Verdict::Inconclusive
    } else if low > 1.0 + noise {
        Verdict::Slower
    } else {
        Verdict::Same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_needs_the_whole_interval_on_one_side() {
        // ((low, high), noise, threshold)
        let cases = [
            ((1.08, 1.10), 0.02, 0.05, Verdict::Regression),
            ((1.04, 1.10), 0.02, 0.05, Verdict::Inconclusive),
            ((1.03, 1.04), 0.02, 0.05, Verdict::Slower),
            ((0.99, 1.02), 0.02, 0.05, Verdict::Same),
            ((0.90, 0.95), 0.02, 0.05, Verdict::Faster),
            ((0.90, 1.20), 0.02, 0.05, Verdict::Inconclusive),
            // Noise above the threshold: only what stands out of the noise counts.
            ((0.99, 1.02), 0.10, 0.05, Verdict::Inconclusive),
            ((1.08, 1.09), 0.10, 0.05, Verdict::Inconclusive),
            ((1.20, 1.30), 0.10, 0.05, Verdict::Regression),
            ((0.50, 0.60), 0.10, 0.05, Verdict::Faster),
        ];
        for (interval, noise, threshold, expected) in cases {
            assert_eq!(verdict(interval, noise, threshold), expected, "{interval:?} {noise}");
        }
    }
}
