//! How much memory a cell takes, before any of it is allocated.

use super::data;
use super::plan::{ArmKind, Cell, format_bytes};
use crate::loss::Loss;

/// Values of the size of the logits that a graph holds at once beside its inputs and outputs: float32 softmax, one-hot
/// labels, and the terms of the backward in the formula as published.
const INTERMEDIATE: u128 = 8;
/// Most sets of inputs and outputs; a larger number would find no more of them out of the cache.
const MOST_SETS: u128 = 4096;
/// Most sets where runs are recorded as CUDA graphs: one is kept for each set, and recording takes milliseconds.
const MOST_RECORDED: u128 = 64;
/// Fewest, so that a run never finds its own outputs.
const FEWEST_SETS: u128 = 2;

/// How a cell is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Bytes that a run must move; `None` for a training step.
    pub bytes: Option<u64>,
    /// Sets of inputs and outputs for each arm.
    pub sets: usize,
    /// Whether they are twice as large as the last cache.
    pub cold: bool,
    /// Estimate of the memory that all arms take together, in bytes.
    pub memory: u64,
}

/// Lays a cell out for a last cache of `cache` bytes and at most `limit` bytes of memory.
///
/// # Errors
/// A message when even the fewest sets need more than `limit`.
pub fn layout(cell: &Cell, loss: &Loss, cache: u64, limit: u64) -> Result<Layout, String> {
    let bytes = data::bytes(cell, loss);
    let wanted = (2 * u128::from(cache)).div_ceil(bytes.max(1)).clamp(FEWEST_SETS, most_sets(cell));
    let fixed = fixed_memory(cell);
    let each = bytes * (arms(cell) + 1);
    let affordable = u128::from(limit).saturating_sub(fixed) / each.max(1);
    if affordable < FEWEST_SETS {
        return Err(too_large(cell, fixed + FEWEST_SETS * each, limit));
    }
    let sets = wanted.min(affordable);
    let memory = fixed + sets * each;
    Ok(Layout {
        bytes: Some(u64::try_from(bytes).unwrap_or(u64::MAX)),
        sets: usize::try_from(sets).expect("there are at most MOST_SETS sets"),
        cold: sets * bytes >= 2 * u128::from(cache),
        memory: u64::try_from(memory).unwrap_or(u64::MAX),
    })
}

/// Refuses a cell whose logits alone do not fit, before even the `[C]` tables of its loss are made.
///
/// # Errors
/// The message of [`layout`].
pub fn fits(cell: &Cell, limit: u64) -> Result<(), String> {
    let logits = cell.rows as u128 * cell.classes as u128 * cell.dtype.size_of() as u128;
    let least = fixed_memory(cell) + FEWEST_SETS * logits * (arms(cell) + 1);
    if least > u128::from(limit) { Err(too_large(cell, least, limit)) } else { Ok(()) }
}

fn most_sets(cell: &Cell) -> u128 {
    let records = |arm: &ArmKind| matches!(arm, ArmKind::Lowering { cuda_graph: true, .. });
    if cell.arms.iter().any(records) { MOST_RECORDED } else { MOST_SETS }
}

fn too_large(cell: &Cell, needed: u128, limit: u64) -> String {
    format!(
        "the cell {} needs about {} of memory, and there are {}; exclude it, or raise `budget: memory` if you know better",
        cell.id(),
        format_bytes(u64::try_from(needed).unwrap_or(u64::MAX)),
        format_bytes(limit)
    )
}

fn arms(cell: &Cell) -> u128 {
    cell.arms.len() as u128
}

/// What does not grow with the sets: intermediate values of every arm, and the reference.
fn fixed_memory(cell: &Cell) -> u128 {
    let logits = cell.rows as u128 * cell.classes as u128;
    let graphs = cell.arms.iter().filter(|arm| !matches!(arm, ArmKind::Copy)).count() as u128;
    let reference = 3 * 8 * logits.min(super::numerics::MOST_LOGITS as u128);
    graphs * INTERMEDIATE * logits * (cell.dtype.size_of() as u128).max(4) + reference
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Plan;

    /// The layout of the one cell of a plan, for a cache of a megabyte and memory without end.
    fn laid_out(more: &str) -> Layout {
        let text = format!(
            "{{name: t, losses: [ib], rows: [4], classes: [5], features: [3], lowerings: [portable]{more}}}"
        );
        let plan = Plan::from_yaml("plan", &text).unwrap();
        let loss = data::loss(&plan.cells[0]).unwrap();
        layout(&plan.cells[0], &loss, 1 << 20, u64::MAX).unwrap()
    }

    #[test]
    fn sets_pass_the_cache_unless_each_would_be_recorded() {
        let rotated = laid_out("");
        // 292 bytes a set, of which 4096 are 1.2 MB.
        assert_eq!((rotated.bytes, rotated.sets, rotated.cold), (Some(292), 4096, false));
        let recorded = laid_out(", cuda_graphs: [false, true]");
        assert_eq!((recorded.sets, recorded.cold), (64, false));
    }
}
