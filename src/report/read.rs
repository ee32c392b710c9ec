//! Results from a file.

use serde::Deserialize;

use crate::bench::Results;
use crate::bench::results::{FORMAT, OLDEST_FORMAT, Series, Status};

/// Why a file has no results that can be used.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct ReadError {
    /// The file.
    pub file: String,
    /// What is wrong and what to do.
    pub problem: String,
}

/// What every version of the form has.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

/// Reads `results.json`. `file` is named in errors only.
///
/// # Errors
/// What is no such file, is of another version of the form, or contradicts itself.
pub fn read(file: &str, bytes: &[u8]) -> Result<Results, ReadError> {
    let wrong = |problem: String| ReadError { file: file.to_owned(), problem };
    let version: Version = serde_json::from_slice(bytes)
        .map_err(|e| wrong(format!("not the results of `ibgraph bench`: {e}; measure again")))?;
    if !(OLDEST_FORMAT..=FORMAT).contains(&version.format) {
        return Err(wrong(format!(
            "the results have format {}, and this ibgraph reads {OLDEST_FORMAT} to {FORMAT}; measure again with this version",
            version.format
        )));
    }
    let mut results: Results =
        serde_json::from_slice(bytes).map_err(|e| wrong(format!("damaged results: {e}; measure again")))?;
    results.format = FORMAT;
    match problem(&results) {
        Some(problem) => Err(wrong(format!("damaged results: {problem}; measure again"))),
        None => Ok(results),
    }
}

fn problem(results: &Results) -> Option<String> {
    for (index, cell) in results.cells.iter().enumerate() {
        if results.cells[..index].iter().any(|other| other.id == cell.id) {
            return Some(format!("the cell {} is there twice", cell.id));
        }
        for arm in &cell.arms {
            let series: Vec<&Series> = arm.cold.iter().chain(&arm.warm).collect();
            let name = format!("{}, {}", cell.id, arm.arm);
            if (arm.status == Status::Measured) != (series.len() == 2) {
                return Some(format!("{name}: its status does not go with its series"));
            }
            if series.iter().any(|series| !is_sound(series)) {
                return Some(format!("{name}: times must be above 0, and no block empty"));
            }
        }
    }
    None
}

fn is_sound(series: &Series) -> bool {
    let summary = series.summary;
    let figures = [summary.median, summary.low, summary.high, summary.p95];
    let positive = |value: &f64| value.is_finite() && *value > 0.0;
    let blocks = &series.samples_ns;
    figures.iter().all(positive)
        && summary.noise.is_finite()
        && !blocks.is_empty()
        && blocks.iter().all(|block| !block.is_empty() && block.iter().all(|ns| *ns > 0))
}
