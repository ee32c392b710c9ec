//! Markdown, as a job summary on GitHub shows it.

use std::fmt::Write;

use super::compare::{Comparison, Verdict};
use super::text::{digits, percent, seconds};
use crate::bench::Results;
use crate::bench::results::{ArmResult, CellResult, Status};

/// What the other arms are measured in, the first that there is.
const UNITS: [&str; 4] = ["portable", "train-step", "fused", "direct"];

/// The results.
pub fn markdown(results: &Results) -> String {
    let mut out = String::new();
    let title = results.title.as_deref().unwrap_or("");
    line(&mut out, format_args!("# Benchmark `{}`\n", results.plan));
    if !title.is_empty() {
        line(&mut out, format_args!("{title}\n"));
    }
    environment(&mut out, results);
    if results.cells.len() < results.planned {
        let (done, planned) = (results.cells.len(), results.planned);
        line(&mut out, format_args!("> **Not complete**: {done} of {planned} cells were measured.\n"));
    }
    for warning in &results.warnings {
        line(&mut out, format_args!("> **Warning**: {warning}\n"));
    }
    for group in groups(results) {
        table(&mut out, &group);
    }
    left_out(&mut out, results);
    out
}

/// A comparison with a baseline.
pub fn comparison(comparison: &Comparison) -> String {
    let mut out = String::from("## Against the baseline\n\n");
    for unfit in &comparison.unfit {
        line(&mut out, format_args!("> **Unfit**: {unfit}\n"));
    }
    for (list, what) in [(&comparison.broken, "Broken"), (&comparison.missing, "Not measured")] {
        for note in list {
            line(&mut out, format_args!("> **{what}**: {note}\n"));
        }
    }
    if !comparison.compared.is_empty() {
        out.push_str("| cell | arm | baseline | now | ratio (95 %) | noise | allowed | verdict |\n");
        out.push_str("|---|---|---:|---:|---:|---:|---:|---|\n");
    }
    for arm in &comparison.compared {
        let (low, centre, high) = arm.ratio;
        line(
            &mut out,
            format_args!(
                "| {} | {} | {} | {} | {centre:.3} ({low:.3} – {high:.3}) | {} | +{} | {} |",
                arm.cell,
                arm.arm,
                seconds(arm.base),
                seconds(arm.head),
                percent(arm.noise),
                percent(arm.threshold),
                verdict(arm.verdict)
            ),
        );
    }
    if comparison.compared.is_empty() {
        out.push_str("Nothing to compare: no arm has times in both.\n");
    }
    out.push('\n');
    for note in &comparison.unmatched {
        line(&mut out, format_args!("- {note}"));
    }
    out
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Regression => "**regression**",
        Verdict::Slower => "slower",
        Verdict::Same => "same",
        Verdict::Faster => "faster",
        Verdict::Inconclusive => "inconclusive",
    }
}

/// Name of a status in every form.
pub(super) fn status(status: Status) -> &'static str {
    match status {
        Status::Measured => "measured",
        Status::Absent => "absent",
        Status::Failed => "failed",
        Status::Wrong => "wrong",
    }
}

fn environment(out: &mut String, results: &Results) {
    let e = &results.environment;
    let cpu = e.cpu.as_deref().unwrap_or("unknown processor");
    let mut parts = vec![format!("{cpu}, {} processors", e.cpus)];
    parts.extend(e.gpus.iter().map(|gpu| gpu.name.clone()));
    parts.extend(e.onnxruntime.iter().map(|version| format!("ONNX Runtime {version}")));
    parts.extend(e.cuda.iter().map(|version| format!("CUDA {version}")));
    parts.extend(e.peers.clone());
    parts.extend(e.git.iter().map(|revision| format!("revision {revision}")));
    line(
        out,
        format_args!("{}. Started {} with ibgraph {}.\n", parts.join("; "), results.started, results.ibgraph),
    );
}

/// Cells that differ in their sizes only.
fn groups(results: &Results) -> Vec<Vec<&CellResult>> {
    let key = |cell: &CellResult| {
        let step = (cell.classifier.clone(), cell.optimizer.clone());
        (cell.loss.clone(), step, cell.dtype.clone(), cell.provider.clone(), cell.threads)
    };
    let mut groups: Vec<Vec<&CellResult>> = Vec::new();
    for cell in &results.cells {
        match groups.iter_mut().find(|group| key(group[0]) == key(cell)) {
            Some(group) => group.push(cell),
            None => groups.push(vec![cell]),
        }
    }
    groups
}

fn table(out: &mut String, cells: &[&CellResult]) {
    let mut arms: Vec<&str> = Vec::new();
    for arm in cells.iter().flat_map(|cell| &cell.arms) {
        if !arms.contains(&arm.arm.as_str()) {
            arms.push(&arm.arm);
        }
    }
    let first = cells[0];
    let threads =
        if first.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", first.threads) };
    let (provider, is_step) = (&first.provider, first.classifier.is_some());
    match (&first.classifier, &first.optimizer) {
        (Some(classifier), Some(optimizer)) => {
            line(
                out,
                format_args!(
                    "## Training {classifier}: {}, {optimizer}, {provider}, {threads}\n",
                    first.loss
                ),
            );
        }
        _ => line(out, format_args!("## {}, {}, {provider}, {threads}\n", first.loss, first.dtype)),
    }
    let unit = UNITS.into_iter().find(|unit| arms.contains(unit));
    if let Some(unit) = unit {
        line(out, format_args!("Median time of a run, and in brackets how many times that of {unit}.\n"));
    }
    let sizes = if is_step { "| N |" } else { "| N | C | D | moves |" };
    line(out, format_args!("{sizes} {} |", arms.join(" | ")));
    line(
        out,
        format_args!(
            "{}{}",
            "|---:".repeat(sizes.matches('|').count() - 1),
            "|---:".repeat(arms.len()) + "|"
        ),
    );
    for cell in cells {
        let base = unit.and_then(|unit| cell.arm(unit)).and_then(ArmResult::median);
        let times: Vec<String> =
            arms.iter().map(|arm| time(cell.arm(arm), base, unit == Some(arm))).collect();
        let (n, c, d) = (cell.rows, cell.classes, cell.features);
        let sizes = match cell.bytes.filter(|_| !is_step) {
            Some(bytes) => format!("| {n} | {c} | {d} | {} |", crate::bench::plan::format_bytes(bytes)),
            None => format!("| {n} |"),
        };
        line(out, format_args!("{sizes} {} |", times.join(" | ")));
    }
    out.push('\n');
}

fn time(arm: Option<&ArmResult>, base: Option<f64>, is_base: bool) -> String {
    let Some(arm) = arm else {
        return String::new();
    };
    let Some(series) = &arm.cold else {
        return status(arm.status).to_owned();
    };
    let rough = if series.precise { "" } else { "~" };
    let median = series.summary.median;
    match base.filter(|_| !is_base) {
        Some(base) => format!("{rough}{} ({})", seconds(median), digits(median / base)),
        None => format!("{rough}{}", seconds(median)),
    }
}

/// What has no times, by reason, and what `~` means.
fn left_out(out: &mut String, results: &Results) {
    let arms = || results.cells.iter().flat_map(|cell| cell.arms.iter().map(move |arm| (cell, arm)));
    if arms().any(|(_, arm)| arm.cold.as_ref().is_some_and(|series| !series.precise)) {
        out.push_str("`~`: the confidence interval did not become as narrow as the plan asks.\n\n");
    }
    let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
    for (cell, arm) in arms() {
        if let Some(note) = arm.note.as_ref().or(arm.reason.as_ref()) {
            let text = format!("{} {}: {note}", arm.arm, status(arm.status));
            match reasons.iter_mut().find(|(known, _)| *known == text) {
                Some((_, cells)) => cells.push(&cell.id),
                None => reasons.push((text, vec![&cell.id])),
            }
        }
    }
    for (reason, cells) in reasons {
        let cells =
            if cells.len() == results.cells.len() { "every cell".to_owned() } else { cells.join("; ") };
        line(out, format_args!("- {reason} ({cells})"));
    }
}

fn line(out: &mut String, text: std::fmt::Arguments) {
    writeln!(out, "{text}").expect("writing to memory does not fail");
}
