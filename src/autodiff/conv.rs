//! Rule of the convolution: y = W * x + b. The gradient of W has a file of its own.

use super::conv_weight;
use super::vjp::{Gradients, Vjp};
use crate::graph::{Conv, Op, ValueId, Window};

// dx = the transposed convolution of g with W, db = Σ g over all but the channels
pub(super) fn conv(v: &mut Vjp<'_>, conv: &Conv) -> Gradients {
    let g = v.g()?;
    let dx = if v.needed[0] { Some(of_input(v, conv, g)?) } else { None };
    let dw = if v.needed[1] { Some(conv_weight::gradient(v, conv, g)?) } else { None };
    let mut found = vec![dx, dw];
    if v.node.inputs.len() > 2 {
        let axes: Vec<usize> = (0..v.rank(g)).filter(|k| *k != 1).collect();
        found.push(v.needed[2].then(|| v.sum(g, &axes, false)));
    }
    Ok(found)
}

fn of_input(v: &mut Vjp<'_>, conv: &Conv, g: ValueId) -> Result<ValueId, String> {
    let (x, w) = (v.x(0), v.x(1));
    let window = &conv.window;
    let left = if window.strides.iter().all(|s| *s == 1) {
        vec![0; window.axes()]
    } else {
        left_over(window, &extents(v, x)?)
    };
    Ok(v.b.node(Op::ConvTranspose(conv.clone(), left), &[g, w]))
}

/// Extents of the axes that a window slides over.
pub(super) fn extents(v: &Vjp<'_>, x: ValueId) -> Result<Vec<usize>, String> {
    let extents: Option<Vec<usize>> = v.ty(x).shape[2..].iter().map(|d| d.fixed()).collect();
    extents.ok_or_else(|| "it slides over axes whose extents are not known before the graph runs".to_owned())
}

/// Elements at the end of every axis that no window reaches.
pub(super) fn left_over(window: &Window, extents: &[usize]) -> Vec<usize> {
    let left = |k: usize| {
        let room = (extents[k] + window.padding(k)).saturating_sub(window.span(k));
        room % window.strides[k]
    };
    (0..window.axes()).map(left).collect()
}
