//! How a loss's rows are spread over threads.

use super::Kind;

/// Threads of a block whose rows are a warp each.
const OF_WARPS: u32 = 128;
const WARP: u32 = 32;
const MOST: u32 = 1024;
/// Bytes of logits, as arithmetic has them, that a lane keeps: 32 registers where a row is a warp, 16 where it is a block,
/// of at most 64 that a thread of the largest block has.
const BYTES_OF_WARP_LANE: usize = 128;
const BYTES_OF_BLOCK_LANE: usize = 64;
/// Bytes of features that a lane keeps, where a row is a warp; a block has so many lanes that one vector is enough.
const FEATURE_BYTES: usize = 64;

/// Who shares a row, and where its logits are between the passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A warp a row, in registers; several rows a block.
    Warp,
    /// A block a row, in registers.
    Block,
    /// A block a row, in shared memory as far as there is room.
    Streamed,
}

/// A kernel's threads and registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Who shares a row.
    pub shape: Shape,
    /// Threads of a block.
    pub threads: u32,
    /// Vectors of 16 bytes of logits that a lane keeps.
    pub slots: usize,
    /// Vectors of 16 bytes of features that a lane keeps.
    pub feature_slots: usize,
}

impl Plan {
    /// The plan for rows of `classes` logits.
    pub fn new(classes: usize, element: Kind) -> Self {
        let fits = |shape, threads| {
            let plan = Self::of(shape, threads, classes, element);
            let most = if shape == Shape::Warp { BYTES_OF_WARP_LANE } else { BYTES_OF_BLOCK_LANE };
            (plan.slots * element.width() * element.arithmetic() <= most).then_some(plan)
        };
        let blocks = [128, 256, 512, MOST].into_iter().find_map(|threads| fits(Shape::Block, threads));
        let kept = fits(Shape::Warp, OF_WARPS).or(blocks);
        kept.unwrap_or_else(|| Self::of(Shape::Streamed, MOST, classes, element))
    }

    /// A plan of this shape, whether or not it is a good one.
    pub fn shaped(shape: Shape, classes: usize, element: Kind) -> Self {
        let threads = match shape {
            Shape::Warp => OF_WARPS,
            Shape::Block => 256,
            Shape::Streamed => MOST,
        };
        Self::of(shape, threads, classes, element)
    }

    fn of(shape: Shape, threads: u32, classes: usize, element: Kind) -> Self {
        let lanes = if shape == Shape::Warp { WARP } else { threads } as usize;
        let slots = (classes / element.width()).div_ceil(lanes).max(1);
        let feature_bytes = if shape == Shape::Warp { FEATURE_BYTES } else { 0 };
        let feature_slots = (feature_bytes / (element.width() * element.arithmetic())).max(1);
        Self { shape, threads, slots, feature_slots }
    }

    /// Lanes that share a row.
    pub fn lanes(&self) -> u32 {
        if self.shape == Shape::Warp { WARP } else { self.threads }
    }

    /// Rows of a block.
    pub fn rows(&self) -> u32 {
        self.threads / self.lanes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_rows_are_warps_longer_ones_blocks_and_the_longest_are_streamed() {
        let shape = |classes, element| Plan::new(classes, element).shape;
        assert_eq!(shape(10, Kind::F32), Shape::Warp);
        assert_eq!(shape(1000, Kind::F16), Shape::Warp);
        assert_eq!(shape(8142, Kind::BF16), Shape::Block);
        assert_eq!(shape(16384, Kind::F32), Shape::Block);
        assert_eq!(shape(16388, Kind::F32), Shape::Streamed);
        assert_eq!(shape(8194, Kind::F64), Shape::Streamed);
    }

    #[test]
    fn lanes_have_room_for_a_whole_row() {
        for element in [Kind::F32, Kind::F64, Kind::F16, Kind::BF16] {
            for classes in (1..20_000).step_by(7) {
                let plan = Plan::new(classes, element);
                let room = plan.slots * plan.lanes() as usize * element.width();
                // Up to one vector less than the row is whole vectors; what is left is edges.
                assert!(room + element.width() > classes, "{classes} of {element:?}: {plan:?}");
                assert!(plan.threads.is_multiple_of(plan.lanes()) && plan.rows() >= 1);
            }
        }
    }
}
