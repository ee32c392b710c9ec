//! Rules of operators that move elements: the gradient goes the way back.

use super::index::zero_padded;
use super::vjp::{Gradients, Vjp};
use crate::graph::{Op, Pad, SliceAxis};

// dx = g in the shape of x
pub(super) fn reshape(v: &mut Vjp<'_>) -> Gradients {
    let (x, g) = (v.x(0), v.g()?);
    let dx = v.reshape_like(g, x);
    let others = v.node.inputs.len() - 1;
    Ok([vec![Some(dx)], vec![None; others]].concat())
}

// dx = g with the inverse order of axes
pub(super) fn transpose(v: &mut Vjp<'_>, perm: &[usize]) -> Gradients {
    let g = v.g()?;
    let mut inverse = vec![0; perm.len()];
    perm.iter().enumerate().for_each(|(k, axis)| inverse[*axis] = k);
    Ok(vec![Some(v.transpose(g, &inverse))])
}

// dx_k = the part of g that came from x_k
pub(super) fn concat(v: &mut Vjp<'_>, axis: usize) -> Gradients {
    let g = v.g()?;
    let mut start = 0usize;
    let mut found = Vec::new();
    for (k, x) in v.node.inputs.iter().enumerate() {
        let extent = v.ty(*x).shape[axis].fixed();
        let extent = extent.ok_or("it joins parts whose extents are not known before the graph runs")?;
        let part = SliceAxis { axis, start: start as i64, end: (start + extent) as i64, step: 1 };
        found.push(v.needed[k].then(|| v.b.node(Op::Slice(vec![part]), &[g])));
        start += extent;
    }
    Ok(found)
}

// dx = the parts' gradients joined; zeros for a part that is not used
pub(super) fn split(v: &mut Vjp<'_>, axis: usize) -> Gradients {
    let mut parts = Vec::new();
    for (y, gradient) in v.node.outputs.iter().zip(v.gradients) {
        parts.push(match gradient {
            Some(gradient) => *gradient,
            None => v.zeros_like(*y),
        });
    }
    Ok(vec![Some(v.b.node(Op::Concat(axis), &parts))])
}

// dx = g without the padding
pub(super) fn pad(v: &mut Vjp<'_>, pad: &Pad) -> Gradients {
    let g = v.g()?;
    if pad.mode != "constant" {
        return Err(format!("padding in the mode `{}` has no rule", pad.mode));
    }
    let pads = pad.pads.iter().map(|(before, after)| (-before, -after)).collect();
    Ok(vec![Some(zero_padded(v, g, pads))])
}

// dx = g ⇢ x
pub(super) fn expand(v: &mut Vjp<'_>) -> Gradients {
    let (x, g) = (v.x(0), v.g()?);
    Ok(vec![Some(v.sum_to(g, x)), None])
}
