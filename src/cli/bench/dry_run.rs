//! `--dry-run`: what a plan would measure.

use super::super::output::say;
use super::super::{Exit, Failure};
use crate::bench::plan::format_bytes;
use crate::bench::{Plan, prepare};

/// Prints the cells of a plan, the bytes that a run of each must move, and what they need.
pub fn run(plan: &Plan) -> Result<Exit, Failure> {
    let title = plan.title.as_deref().map(|title| format!(": {title}")).unwrap_or_default();
    say(format!("{}{title}", plan.name));
    for cell in &plan.cells {
        let arms: Vec<String> = cell.arms.iter().map(ToString::to_string).collect();
        let (_, layout) = prepare(plan, cell).map_err(Failure::usage)?;
        let cold = if layout.cold { "" } else { ", which may stay in the cache" };
        let (sets, memory) = (layout.sets, format_bytes(layout.memory));
        let what = match layout.bytes {
            Some(bytes) => {
                format!("moves {} a run, {sets} sets{cold}, about {memory} of memory", format_bytes(bytes))
            }
            None => format!("a training step, {sets} batches in turn, {memory} of memory or more"),
        };
        say(format!("  {:<44} {what}\n    {}", cell.id(), arms.join(", ")));
    }
    let seconds = plan.measuring_time().as_secs_f64();
    say(format!(
        "{} cells, at most {seconds:.0} s of measuring; loading, checking and compilers of peers come on top",
        plan.cells.len()
    ));
    Ok(Exit::Good)
}
