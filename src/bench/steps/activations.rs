//! What the activations of a classifier take, from its shapes, before anything of it runs.

use std::collections::HashSet;

use crate::bench::plan::{ArmKind, Graft};
use crate::graft::{Wishes, discover};
use crate::graph::{Dim, TensorType};
use crate::onnx::{Host, import};

/// Bytes of the values between a classifier's input and its logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Activations {
    /// All of them.
    all: u128,
    /// The largest.
    largest: u128,
}

impl Activations {
    /// Those of a batch of so many rows. A value with open extents has at least `rows` times what its known extents say;
    /// one without depends on no batch, unless the model's batch is not open at all. A model whose shapes cannot be known
    /// counts as one without activations: its arms say what is wrong with it.
    pub fn of(host: &Host<'_>, rows: usize, open: bool) -> Self {
        let Ok(head) = discover(host, Wishes::default()) else { return Self::default() };
        let Ok(imported) = import(host, &[head.logits.name.as_str()]) else { return Self::default() };
        let stored: HashSet<_> = imported.initializers.iter().copied().collect();
        let values: HashSet<_> = imported.values.values().filter(|value| !stored.contains(value)).collect();
        let sizes = values.into_iter().map(|value| size(imported.builder.ty(*value), rows, open));
        sizes.fold(Self::default(), |sum, size| Self {
            all: sum.all.saturating_add(size),
            largest: sum.largest.max(size),
        })
    }

    /// What an arm holds of them, about. A backward pass needs the activations, of which engines drop some, and the
    /// gradients of an operator's input and output at a time; a forward pass holds one operator's input and output.
    pub fn held_by(&self, arm: ArmKind) -> u128 {
        match arm {
            ArmKind::Graft(Graft::Forward | Graft::LossGrad) => self.largest.saturating_mul(2),
            _ => self.all.saturating_add(self.largest.saturating_mul(2)),
        }
    }
}

/// Bytes of a value.
fn size(ty: &TensorType, rows: usize, open: bool) -> u128 {
    let fixed = ty.shape.iter().filter_map(|dim| match dim {
        Dim::Fixed(n) => Some(*n as u128),
        Dim::Symbol(_) | Dim::Unknown => None,
    });
    let known = fixed.fold(ty.dtype.size_of() as u128, u128::saturating_mul);
    let of_batch = ty.shape.iter().any(|dim| !matches!(dim, Dim::Fixed(_)));
    match (of_batch, open) {
        (true, _) => known.saturating_mul(rows as u128),
        (false, true) => 0,
        (false, false) => known,
    }
}
