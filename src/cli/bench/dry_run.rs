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
        say(format!(
            "  {:<44} moves {} a run, {} sets{cold}, about {} of memory\n    {}",
            cell.id(),
            format_bytes(layout.bytes),
            layout.sets,
            format_bytes(layout.memory),
            arms.join(", ")
        ));
    }
    let seconds = plan.measuring_time().as_secs_f64();
    say(format!(
        "{} cells, at most {seconds:.0} s of measuring; loading, checking and compilers of peers come on top",
        plan.cells.len()
    ));
    Ok(Exit::Good)
}
