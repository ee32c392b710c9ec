//! Operators that move elements, pick them, or compute shapes.

use super::arguments::{Arguments, all_from_front, from_front, known_integers, make};
use crate::graph::{Builder, F32, Op, Pad, ScalarValue, SliceAxis, UnaryOp, ValueId};
use crate::tensor::{DType, Tensor};

/// The node's outputs; `None` where its operator is of another group.
pub(super) fn translate(b: &mut Builder, of: &Arguments<'_>) -> Option<Result<Vec<ValueId>, String>> {
    Some(match of.operator() {
        "Reshape" => reshape(b, of),
        "Flatten" => flatten(b, of),
        "Transpose" => transpose(b, of),
        "Concat" => with_axis(b, of, 1, Op::Concat),
        "Split" => split(b, of),
        "Slice" => slice(b, of),
        "Pad" => pad(b, of),
        "Expand" => of.one(b, Op::Expand),
        "Squeeze" => squeeze(b, of),
        "Unsqueeze" => unsqueeze(b, of),
        "Gather" => with_axis(b, of, 0, Op::Gather),
        "GatherElements" => with_axis(b, of, 0, Op::GatherElements),
        "ScatterElements" => match of.text("reduction").as_deref() {
            None | Some("none") => with_axis(b, of, 0, |axis| Op::ScatterElements { axis, add: false }),
            Some("add") => with_axis(b, of, 0, |axis| Op::ScatterElements { axis, add: true }),
            Some(other) => Err(format!("its reduction is `{other}`")),
        },
        "OneHot" if of.int("axis", -1) == -1 => of.one(b, Op::OneHot),
        "Shape" => shape(b, of),
        "ConstantOfShape" => constant_of_shape(b, of),
        "Range" => of.one(b, Op::Range),
        _ => return None,
    })
}

fn with_axis(
    b: &mut Builder,
    of: &Arguments<'_>,
    default: i64,
    op: fn(usize) -> Op,
) -> Result<Vec<ValueId>, String> {
    let rank = b.ty(of.need(0)?).rank();
    of.one(b, op(of.axis(default, rank)?))
}

fn reshape(b: &mut Builder, of: &Arguments<'_>) -> Result<Vec<ValueId>, String> {
    if of.int("allowzero", 0) != 0 && known_integers(b, of.need(1)?).is_none_or(|shape| shape.contains(&0)) {
        return Err("a 0 in its shape may stand for no elements".into());
    }
    of.one(b, Op::Reshape)
}

fn flatten(b: &mut Builder, of: &Arguments<'_>) -> Result<Vec<ValueId>, String> {
    let rank = b.ty(of.need(0)?).rank();
    let axis = of.int("axis", 1);
    let axis = if axis == rank as i64 { rank } else { from_front(axis, rank)? };
    of.one(b, Op::Flatten(axis))
}

fn transpose(b: &mut Builder, of: &Arguments<'_>) -> Result<Vec<ValueId>, String> {
    let rank = b.ty(of.need(0)?).rank();
    let reversed = || (0..rank as i64).rev().collect();
    let perm = of.ints("perm").unwrap_or_else(reversed);
    let perm: Result<Vec<usize>, String> = perm.iter().map(|axis| from_front(*axis, rank)).collect();
    of.one(b, Op::Transpose(perm?))
}

fn split(b: &mut Builder, of: &Arguments<'_>) -> Result<Vec<ValueId>, String> {
    let x = of.need(0)?;
    let axis = of.axis(0, b.ty(x).rank())?;
    let parts = of.node.output.len();
    let extents = match of.integers(b, "split", 1)? {
        Some(extents) => {
            let extents: Result<Vec<usize>, _> = extents.into_iter().map(usize::try_from).collect();
            extents.map_err(|_| "a part of it is negative")?
        }
        None => {
            let extent = b.ty(x).shape[axis].fixed();
            let extent = extent.ok_or("it splits an axis whose extent is not known before the graph runs")?;
            let part = extent.div_ceil(parts);
            (0..parts).map(|k| part.min(extent.saturating_sub(k * part))).collect()
        }
    };
    make(b, Op::Split(axis, extents), &[x], parts)
}

fn slice(b: &mut Builder, of: &Arguments<'_>) -> Result<Vec<ValueId>, String> {
    let x = of.need(0)?;
    let rank = b.ty(x).rank();
    let starts = of.integers(b, "starts", 1)?.ok_or("it has no starts")?;
    let ends = of.integers(b, "ends", 2)?.ok_or("it has no ends")?;
    let axes = of.integers(b, "axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = of.integers(b, "steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()].iter().any(|n| *n != starts.len()) || steps.contains(&0) {
        return Err("its starts, ends, axes and steps do not fit each other".into());
    }
    let part = |k: usize| -> Result<SliceAxis, String> {
        Ok(SliceAxis { axis: from_front(axes[k], rank)?, start: starts[k], end: ends[k], step: steps[k] })
    };
    let parts: Result<Vec<SliceAxis>, String> = (0..starts.len()).map(part).collect();
    make(b, Op::Slice(parts?), &[x], 1)
}

fn pad(b: &mut Builder, of: &Arguments<'_>) -> Result<Vec<ValueId>, String> {
    let x = of.need(0)?;
    let rank = b.ty(x).rank();
    let given = of.integers(b, "pads", 1)?.ok_or("it has no pads")?;
    let all: Vec<i64> = (0..rank as i64).collect();
    let axes = match of.get(3) {
        Some(axes) => known_integers(b, axes).ok_or("its axes are computed when the graph runs")?,
        None => all,
    };
    if given.len() != 2 * axes.len() {
        return Err("its pads do not fit its axes".into());
    }
    let mut pads = vec![(0, 0); rank];
    for (k, axis) in axes.iter().enumerate() {
        pads[from_front(*axis, rank)?] = (given[k], given[k + axes.len()]);
    }
    let mode = of.text("mode").unwrap_or_else(|| "constant".to_owned());
    let value = match of.get(2) {
        Some(value) => b.constant_value(value).map(|t| t.to_f64_vec()).and_then(|v| v.first().copied()),
        None => Some(of.float("value", 0.0).wide()),
    };
    let value = F32::new(value.ok_or("its value is computed when the graph runs")? as f32);
    make(b, Op::Pad(Pad { pads, mode, value }), &[x], 1)
}

fn squeeze(b: &mut Builder, of: &Arguments<'_>) -> Result<Vec<ValueId>, String> {
    let x = of.need(0)?;
    let shape = b.ty(x).shape.clone();
    let axes = match of.integers(b, "axes", 1)? {
        Some(axes) => all_from_front(&axes, shape.len())?,
        None if shape.iter().any(|d| d.fixed().is_none()) => {
            return Err("which of its axes have extent 1 is not known before the graph runs".into());
        }
        None => (0..shape.len()).filter(|k| shape[*k].fixed() == Some(1)).collect(),
    };
    if axes.is_empty() {
        return make(b, Op::Unary(UnaryOp::Identity), &[x], 1);
    }
    make(b, Op::Squeeze(axes), &[x], 1)
}

fn unsqueeze(b: &mut Builder, of: &Arguments<'_>) -> Result<Vec<ValueId>, String> {
    let x = of.need(0)?;
    let axes = of.integers(b, "axes", 1)?.ok_or("it has no axes")?;
    let axes = all_from_front(&axes, b.ty(x).rank() + axes.len())?;
    make(b, Op::Unsqueeze(axes), &[x], 1)
}

fn shape(b: &mut Builder, of: &Arguments<'_>) -> Result<Vec<ValueId>, String> {
    let rank = b.ty(of.need(0)?).rank() as i64;
    let place = |axis: i64| {
        let counted = if axis < 0 { axis.saturating_add(rank) } else { axis };
        usize::try_from(counted.clamp(0, rank)).expect("an axis between 0 and the rank")
    };
    let (start, end) = (place(of.int("start", 0)), place(of.int("end", rank)));
    of.one(b, Op::Shape(start, end.max(start)))
}

fn constant_of_shape(b: &mut Builder, of: &Arguments<'_>) -> Result<Vec<ValueId>, String> {
    let value = match of.tensor("value") {
        None => ScalarValue::new(DType::F32, 0.0),
        Some(proto) => {
            let tensor = Tensor::try_from(proto).map_err(|error| error.to_string())?;
            let values = tensor.to_f64_vec();
            ScalarValue::new(tensor.dtype(), *values.first().ok_or("it has no value")?)
        }
    };
    of.one(b, Op::ConstantOfShape(value))
}
