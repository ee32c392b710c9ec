//! The random numbers that nodes of a training step draw, decided by the run's seed.
//!
//! ONNX knows no random numbers from an input: a node draws by its attribute `seed`, and without one by what the engine
//! starts with. So the attribute is set when a step is loaded. ONNX Runtime's CPU Dropout draws its mask anew at every run,
//! from a generator that starts at `seed` plus the number of runs before; a session that goes on after `runs` batches
//! therefore starts at `seed + runs`. Invariant: batch k of a run has the same masks in whatever session it comes.

use crate::onnx::Host;
use crate::onnx::attributes::{float, integer};
use crate::onnx::messages::NodeProto;
use crate::onnx::retouch::set_attributes;
use crate::tensor::Tensor;

/// Keeps these numbers apart from those that shuffle samples, which start at the run's seed too. The digits of π.
const APART: u64 = 0x3243_f6a8_885a_308d;
/// Operators whose `seed` is a number with a fraction; they go on drawing from run to run.
const GENERATORS: [&str; 6] =
    ["RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli"];
/// Whole numbers up to here are exact as float32.
const EXACT: u32 = 1 << 24;

/// Whether a node of this model's graph draws random numbers.
pub fn draws(host: &Host<'_>, node: &NodeProto) -> bool {
    if !matches!(node.domain.as_deref(), None | Some("" | "ai.onnx")) {
        return false;
    }
    match node.op_type.as_deref() {
        Some("Dropout") => node.input.get(2).is_some_and(|mode| !mode.is_empty() && !is_false(host, mode)),
        Some(name) => GENERATORS.contains(&name),
        None => false,
    }
}

/// Whether a value is an initializer that holds `false`.
fn is_false(host: &Host<'_>, name: &str) -> bool {
    let mut stored = host.graph().initializer.iter().filter(|tensor| tensor.name.as_deref() == Some(name));
    let value = stored.next().and_then(|proto| Tensor::try_from(proto).ok());
    value.is_some_and(|value| value.to_f64_vec() == [0.0])
}

/// The step with a seed in every node of its graph that draws, for a session that starts after `runs` batches; `None`
/// where no node draws. A seed that a node has is replaced.
pub fn seeded(host: &Host<'_>, seed: u64, runs: u64) -> Option<Vec<u8>> {
    let mut random = fastrand::Rng::with_seed(seed ^ APART);
    set_attributes(host, &mut |node| {
        if !draws(host, node) {
            return None;
        }
        // Nodes differ in their seeds, so that no two masks are the same.
        let own = u64::from(random.u32(..) >> 1).wrapping_add(runs);
        Some(match node.op_type.as_deref() {
            Some("Dropout") => integer("seed", own.cast_signed()),
            _ => float("seed", (own % u64::from(EXACT)) as f32),
        })
    })
}
