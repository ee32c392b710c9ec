//! Types of operators that move elements: reshapes, transposes, parts, padding.

use super::elements::sliced_extent;
use super::{broadcast, need_axis, need_dtype, need_index};
use crate::graph::Value;
use crate::graph::op::SliceAxis;
use crate::graph::types::{Dim, Element, TensorType};
use crate::tensor::DType;

/// Extents that a shape input gives, or `None` for each of them where only their number is known.
fn target(shape: &Value) -> Result<Vec<Element>, String> {
    need_dtype(&shape.ty, DType::I64)?;
    if let Some(elements) = &shape.elements {
        return Ok(elements.clone());
    }
    match shape.ty.shape.as_slice() {
        [Dim::Fixed(rank)] => Ok(vec![Element::Unknown; *rank]),
        _ => Err("the number of axes of the shape is not known before the graph runs".into()),
    }
}

pub(super) fn of_shape(dtype: DType, shape: &Value) -> Result<TensorType, String> {
    Ok(TensorType { dtype, shape: target(shape)?.iter().map(Element::dim).collect() })
}

pub(super) fn reshape(x: &TensorType, shape: &Value) -> Result<TensorType, String> {
    let elements = target(shape)?;
    let mut dims = Vec::new();
    for (k, element) in elements.iter().enumerate() {
        dims.push(match element {
            Element::Int(0) => x.shape.get(k).cloned().ok_or("a 0 beyond the input's axes")?,
            Element::Int(-1) => rest(x, &elements, k),
            other => other.dim(),
        });
    }
    Ok(TensorType { dtype: x.dtype, shape: dims })
}

/// The extent that a -1 stands for: what the other axes leave. Extents without a number cancel by name.
fn rest(x: &TensorType, elements: &[Element], place: usize) -> Dim {
    let mut left: Vec<Dim> = x.shape.clone();
    let mut divisor = 1usize;
    for (k, element) in elements.iter().enumerate().filter(|(k, _)| *k != place) {
        let dim = match element {
            Element::Int(0) => x.shape.get(k).cloned().unwrap_or(Dim::Unknown),
            other => other.dim(),
        };
        match dim {
            Dim::Fixed(n) => divisor = divisor.saturating_mul(n),
            Dim::Unknown => return Dim::Unknown,
            symbol => match left.iter().position(|d| *d == symbol) {
                Some(at) => drop(left.remove(at)),
                None => return Dim::Unknown,
            },
        }
    }
    let (fixed, open): (Vec<Dim>, Vec<Dim>) = left.into_iter().partition(|d| d.fixed().is_some());
    let product = fixed.iter().filter_map(Dim::fixed).try_fold(1usize, |a, n| a.checked_mul(n));
    match (product, open.as_slice()) {
        (Some(product), []) if divisor != 0 && product % divisor == 0 => Dim::Fixed(product / divisor),
        (Some(product), [only]) if product == divisor => only.clone(),
        _ => Dim::Unknown,
    }
}

pub(super) fn flatten(x: &TensorType, axis: usize) -> Result<TensorType, String> {
    if axis > x.rank() {
        return Err(format!("no axis {axis}"));
    }
    let shape = [product(&x.shape[..axis]), product(&x.shape[axis..])];
    Ok(TensorType::new(x.dtype, &shape))
}

fn product(dims: &[Dim]) -> Dim {
    match dims.iter().filter(|d| **d != Dim::Fixed(1)).collect::<Vec<_>>().as_slice() {
        [only] => (*only).clone(),
        _ => {
            let extents: Option<Vec<usize>> = dims.iter().map(Dim::fixed).collect();
            let product = extents.and_then(|e| e.into_iter().try_fold(1usize, |a, n| a.checked_mul(n)));
            product.map_or(Dim::Unknown, Dim::Fixed)
        }
    }
}

pub(super) fn transpose(x: &TensorType, perm: &[usize]) -> Result<TensorType, String> {
    let mut sorted = perm.to_vec();
    sorted.sort_unstable();
    if sorted != (0..x.rank()).collect::<Vec<_>>() {
        return Err(format!("{perm:?} is no order of the axes of {x}"));
    }
    Ok(TensorType { dtype: x.dtype, shape: perm.iter().map(|k| x.shape[*k].clone()).collect() })
}

pub(super) fn concat(inputs: &[&TensorType], axis: usize) -> Result<TensorType, String> {
    let first = inputs[0];
    let mut shape = first.shape.clone();
    let mut total = Some(0);
    for ty in inputs {
        need_axis(ty, axis)?;
        need_dtype(ty, first.dtype)?;
        super::need_rank(ty, first.rank())?;
        total = total.zip(ty.shape[axis].fixed()).and_then(|(a, n): (usize, _)| a.checked_add(n));
        for (k, dim) in ty.shape.iter().enumerate().filter(|(k, _)| *k != axis) {
            if shape[k].fixed().is_none() && dim.fixed().is_some() {
                shape[k] = dim.clone();
            }
        }
    }
    shape[axis] = total.map_or(Dim::Unknown, Dim::Fixed);
    Ok(TensorType { dtype: first.dtype, shape })
}

pub(super) fn split(x: &TensorType, axis: usize, extents: &[usize]) -> Result<Vec<TensorType>, String> {
    need_axis(x, axis)?;
    let part = |n: &usize| {
        let mut ty = x.clone();
        ty.shape[axis] = Dim::Fixed(*n);
        ty
    };
    Ok(extents.iter().map(part).collect())
}

pub(super) fn slice(x: &TensorType, parts: &[SliceAxis]) -> Result<TensorType, String> {
    let mut ty = x.clone();
    for part in parts {
        need_axis(x, part.axis)?;
        ty.shape[part.axis] = sliced_extent(part, &x.shape[part.axis]);
    }
    Ok(ty)
}

pub(super) fn crop(x: &TensorType, extents: &Value, axis: usize) -> Result<TensorType, String> {
    let extents = target(extents)?;
    if axis > x.rank() || extents.len() != x.rank() - axis {
        return Err(format!("{} extents for the axes of {x} from {axis} on", extents.len()));
    }
    let shape = x.shape[..axis].iter().cloned().chain(extents.iter().map(Element::dim)).collect();
    Ok(TensorType { dtype: x.dtype, shape })
}

pub(super) fn pad(x: &TensorType, pads: &[(i64, i64)]) -> Result<TensorType, String> {
    if pads.len() != x.rank() {
        return Err(format!("pads for {} axes", pads.len()));
    }
    let padded = |(dim, (before, after)): (&Dim, &(i64, i64))| match dim {
        _ if (*before, *after) == (0, 0) => Some(dim.clone()),
        Dim::Fixed(n) => {
            let extent = i64::try_from(*n).ok()?.checked_add(*before)?.checked_add(*after)?;
            usize::try_from(extent).ok().map(Dim::Fixed)
        }
        _ => Some(Dim::Unknown),
    };
    let shape: Option<Vec<Dim>> = x.shape.iter().zip(pads).map(padded).collect();
    Ok(TensorType { dtype: x.dtype, shape: shape.ok_or("pads that leave less than nothing")? })
}

pub(super) fn expand(x: &TensorType, shape: &Value) -> Result<TensorType, String> {
    let to = of_shape(x.dtype, shape)?;
    Ok(TensorType { dtype: x.dtype, shape: broadcast(&[x, &to])? })
}

pub(super) fn unsqueeze(x: &TensorType, axes: &[usize]) -> Result<TensorType, String> {
    let rank = x.rank() + axes.len();
    let mut rest = x.shape.iter();
    let mut shape = Vec::new();
    for k in 0..rank {
        let dim = if axes.contains(&k) { Some(Dim::Fixed(1)) } else { rest.next().cloned() };
        shape.push(dim.ok_or("new axes that are not there, or twice")?);
    }
    Ok(TensorType { dtype: x.dtype, shape })
}

pub(super) fn squeeze(x: &TensorType, axes: &[usize]) -> Result<TensorType, String> {
    for axis in axes {
        need_axis(x, *axis)?;
        if x.shape[*axis].fixed().is_some_and(|n| n != 1) {
            return Err(format!("axis {axis} is not 1"));
        }
    }
    let kept = x.shape.iter().enumerate().filter(|(k, _)| !axes.contains(k));
    Ok(TensorType { dtype: x.dtype, shape: kept.map(|(_, dim)| dim.clone()).collect() })
}

pub(super) fn range(inputs: &[&Value]) -> Dim {
    let bounds: Option<Vec<&[Element]>> = inputs.iter().map(|v| v.elements.as_deref()).collect();
    match bounds.as_deref() {
        Some([[Element::Int(0)], [limit], [Element::Int(1)]]) => limit.dim(),
        _ => Dim::Unknown,
    }
}

/// (indices, depth, values)
pub(super) fn one_hot(inputs: &[&Value]) -> Result<TensorType, String> {
    need_index(&inputs[0].ty)?;
    let depth = match inputs[1].elements.as_deref() {
        Some([depth]) => depth.dim(),
        _ => Dim::Unknown,
    };
    let shape = [inputs[0].ty.shape.as_slice(), &[depth]].concat();
    Ok(TensorType { dtype: inputs[2].ty.dtype, shape })
}
