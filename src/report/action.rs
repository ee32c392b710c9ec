//! The form that the GitHub action `benchmark-action/github-action-benchmark` takes under `customSmallerIsBetter`.

use serde::Serialize;

use crate::bench::Results;

/// One figure; the names of the fields are the action's.
#[derive(Serialize)]
struct Entry {
    name: String,
    unit: &'static str,
    value: f64,
    range: String,
    extra: String,
}

/// A list of median times in microseconds, as JSON.
pub fn action(results: &Results) -> String {
    let mut entries = Vec::new();
    for cell in &results.cells {
        for arm in &cell.arms {
            let Some(summary) = arm.cold.as_ref().map(|series| series.summary) else {
                continue;
            };
            entries.push(Entry {
                name: format!("{} | {}", cell.id, arm.arm),
                unit: "µs",
                value: summary.median * 1e6,
                range: format!("± {:.2}", (summary.high - summary.low) / 2.0 * 1e6),
                extra: format!("{} samples\nnoise {:.1} %", summary.samples, summary.noise * 100.0),
            });
        }
    }
    let mut text = serde_json::to_string_pretty(&entries).expect("text and finite numbers are JSON");
    text.push('\n');
    text
}
