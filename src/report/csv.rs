//! One line an arm, for spreadsheets.

use crate::bench::Results;
use crate::bench::results::{ArmResult, CellResult, Series};

const HEADER: [&str; 27] = [
    "cell",
    "loss",
    "classifier",
    "optimizer",
    "dtype",
    "rows",
    "classes",
    "features",
    "provider",
    "threads",
    "arm",
    "status",
    "reason",
    "cold_median_s",
    "cold_low_s",
    "cold_high_s",
    "cold_p95_s",
    "cold_mad_s",
    "cold_samples",
    "warm_median_s",
    "samples_per_s",
    "bytes_per_s",
    "share_of_copy",
    "worst_row_error",
    "kernels",
    "copies",
    "peak_memory_bytes",
];

/// The results as CSV, with a header.
pub fn csv(results: &Results) -> String {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let lines = results.cells.iter().flat_map(|cell| cell.arms.iter().map(move |arm| line(cell, arm)));
    writer.write_record(HEADER).expect("writing to memory does not fail");
    for line in lines {
        writer.write_record(line).expect("every line has the header's length, and memory does not fail");
    }
    let bytes = writer.into_inner().expect("memory does not fail");
    String::from_utf8(bytes).expect("every field is text")
}

fn line(cell: &CellResult, arm: &ArmResult) -> [String; 27] {
    let cold = |figure: fn(&Series) -> f64| text(arm.cold.as_ref().map(figure));
    let model = arm.model.as_ref();
    [
        cell.id.clone(),
        cell.loss.clone(),
        cell.classifier.clone().unwrap_or_default(),
        cell.optimizer.clone().unwrap_or_default(),
        cell.dtype.clone(),
        cell.rows.to_string(),
        cell.classes.to_string(),
        cell.features.to_string(),
        cell.provider.clone(),
        cell.threads.to_string(),
        arm.arm.clone(),
        super::markdown::status(arm.status).to_owned(),
        arm.reason.clone().unwrap_or_default(),
        cold(|s| s.summary.median),
        cold(|s| s.summary.low),
        cold(|s| s.summary.high),
        cold(|s| s.summary.p95),
        cold(|s| s.summary.mad),
        text(arm.cold.as_ref().map(|s| s.summary.samples)),
        text(arm.warm.as_ref().map(|s| s.summary.median)),
        text(arm.figures.map(|f| f.samples_per_second)),
        text(arm.figures.and_then(|f| f.bytes_per_second)),
        text(arm.figures.and_then(|f| f.share_of_copy)),
        text(arm.numerics.and_then(|n| n.worst_row)),
        text(model.and_then(|m| m.kernels)),
        text(model.and_then(|m| m.copies)),
        text(arm.peak_memory),
    ]
}

fn text<T: ToString>(value: Option<T>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}
