//! Rule of the convolution: y = W * x + b. The gradient of W has a file of its own.

use super::vjp::{Gradients, Vjp};
use super::{conv_weight, open};
use crate::graph::{Conv, ValueId};

// dx = the transposed convolution of g with W, db = Σ g over all but the channels
pub(super) fn conv(v: &mut Vjp<'_>, conv: &Conv) -> Gradients {
    let g = v.g()?;
    let dx = v.needed[0].then(|| open::transposed(v, conv, [g, v.x(1)], v.x(0)));
    let dw = if v.needed[1] { Some(conv_weight::gradient(v, conv, g)?) } else { None };
    let mut found = vec![dx, dw];
    if v.node.inputs.len() > 2 {
        let axes: Vec<usize> = (0..v.rank(g)).filter(|k| *k != 1).collect();
        found.push(v.needed[2].then(|| v.sum(g, &axes, false)));
    }
    Ok(found)
}

/// Extents of the axes that a window slides over; `None` where one is not known before the graph runs.
pub(super) fn extents(v: &Vjp<'_>, x: ValueId) -> Option<Vec<usize>> {
    v.ty(x).shape[2..].iter().map(|d| d.fixed()).collect()
}
