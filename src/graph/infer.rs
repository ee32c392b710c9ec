//! Types of a node's outputs from what its inputs are.
//!
//! Beside types, the elements of small int64 values are followed (`elements`), so that shapes that a file computes are
//! known where they can be.

use super::Value;
use super::op::{Op, UnaryOp};
use super::types::{Dim, Element, TensorType};
use crate::tensor::DType;

mod elements;
mod layers;
mod layout;

/// Inputs that an operator does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operator} does not take ({inputs}): {why}")]
pub struct InferError {
    operator: String,
    inputs: String,
    why: String,
}

impl InferError {
    pub(super) fn outputs(op: &Op, has: usize, asked: usize) -> Self {
        let why = format!("it has {has} outputs, not {asked}");
        Self { operator: op.name().to_owned(), inputs: "…".to_owned(), why }
    }
}

/// What is known of an output.
#[derive(Debug, Clone, PartialEq)]
pub struct Inferred {
    /// Its type.
    pub ty: TensorType,
    /// Its elements, for an int64 value of few elements.
    pub elements: Option<Vec<Element>>,
}

impl Op {
    /// What is known of every output that the operator can have, in order.
    ///
    /// # Errors
    /// A wrong number of inputs, types that the operator does not take, or shapes that do not fit.
    pub fn infer(&self, inputs: &[&Value]) -> Result<Vec<Inferred>, InferError> {
        let outcome = if self.arity().contains(&inputs.len()) {
            self.output_types(inputs)
        } else {
            let arity = self.arity();
            Err(format!("{} to {} inputs, not {}", arity.start(), arity.end(), inputs.len()))
        };
        let possible = |types: Vec<TensorType>| match types.iter().find(|ty| !ty.is_possible()) {
            Some(ty) => Err(format!("it would make {ty}, which is too large for any memory")),
            None => Ok(types),
        };
        let types = outcome.and_then(possible).map_err(|why| InferError {
            operator: self.name().to_owned(),
            inputs: inputs.iter().map(|v| v.ty.to_string()).collect::<Vec<_>>().join(", "),
            why,
        })?;
        let elements = elements::of(self, inputs);
        let mut known: Vec<Inferred> = types.into_iter().map(|ty| Inferred { ty, elements: None }).collect();
        if let Some(first) = known.first_mut() {
            first.elements = elements;
        }
        Ok(known)
    }

    fn output_types(&self, values: &[&Value]) -> Result<Vec<TensorType>, String> {
        let types: Vec<&TensorType> = values.iter().map(|v| &v.ty).collect();
        let one = match self {
            Op::Opaque(opaque) => return Ok(opaque.outputs.clone()),
            Op::MaxPool(pool) => return layers::max_pool(pool, types[0]),
            Op::BatchNorm(norm) => return layers::batch_norm(norm, &types),
            Op::LayerNorm(norm) => return layers::layer_norm(*norm, &types),
            Op::Split(axis, extents) => return layout::split(types[0], *axis, extents),
            Op::Dropout(_) => {
                need_float(types[0])?;
                let mask = TensorType { dtype: DType::Bool, shape: types[0].shape.clone() };
                return Ok(vec![types[0].clone(), mask]);
            }
            Op::MatMul => layers::mat_mul(types[0], types[1]),
            Op::Gemm(gemm) => layers::gemm(*gemm, &types),
            Op::Conv(conv) => layers::conv(conv, &types),
            Op::ConvTranspose(conv, extra) => layers::conv_transpose(conv, extra, &types),
            Op::AveragePool(pool) => layers::pool(pool, types[0]),
            Op::MaxUnpool(_) => layout::of_shape(types[0].dtype, values[2]),
            Op::Reshape => layout::reshape(types[0], values[1]),
            Op::Flatten(axis) => layout::flatten(types[0], *axis),
            Op::Transpose(perm) => layout::transpose(types[0], perm),
            Op::Concat(axis) => layout::concat(&types, *axis),
            Op::Slice(parts) => layout::slice(types[0], parts),
            Op::Crop(axis) => layout::crop(types[0], values[1], *axis),
            Op::Pad(pad) => layout::pad(types[0], &pad.pads),
            Op::Expand => layout::expand(types[0], values[1]),
            Op::Unsqueeze(axes) => layout::unsqueeze(types[0], axes),
            Op::Squeeze(axes) => layout::squeeze(types[0], axes),
            Op::Shape(start, end) if start <= end && *end <= types[0].rank() => {
                Ok(TensorType::new(DType::I64, &[Dim::Fixed(end - start)]))
            }
            Op::Shape(..) => Err("no such axes".into()),
            Op::ConstantOfShape(value) => layout::of_shape(value.dtype, values[0]),
            Op::Range => Ok(TensorType::new(types[0].dtype, &[layout::range(values)])),
            Op::OneHot => layout::one_hot(values),
            _ => self.elementwise(&types),
        };
        one.map(|ty| vec![ty])
    }

    /// Operators that work element by element, reduce, or pick elements.
    fn elementwise(&self, inputs: &[&TensorType]) -> Result<TensorType, String> {
        let first = inputs[0];
        match self {
            Op::Unary(UnaryOp::Identity) | Op::Stop { .. } => Ok(first.clone()),
            Op::Unary(UnaryOp::Not) => need_dtype(first, DType::Bool).map(|()| first.clone()),
            Op::Unary(UnaryOp::Abs | UnaryOp::Neg | UnaryOp::Sign) => {
                need_number(first).map(|()| first.clone())
            }
            Op::Unary(_) | Op::Activation(_) => need_float(first).map(|()| first.clone()),
            Op::Softmax(axis) | Op::LogSoftmax(axis) => {
                need_axis(first, *axis)?;
                need_float(first).map(|()| first.clone())
            }
            Op::Binary(_) => need_dtype(inputs[1], first.dtype).and_then(|()| stretched(first.dtype, inputs)),
            Op::Compare(_) => {
                need_dtype(inputs[1], first.dtype).and_then(|()| stretched(DType::Bool, inputs))
            }
            Op::And | Op::Or => {
                inputs.iter().try_for_each(|t| need_dtype(t, DType::Bool))?;
                stretched(DType::Bool, inputs)
            }
            Op::Where => {
                need_dtype(first, DType::Bool)?;
                need_dtype(inputs[2], inputs[1].dtype)?;
                stretched(inputs[1].dtype, inputs)
            }
            Op::Clip => {
                need_number(first)?;
                let scalar = |bound: &&TensorType| need_dtype(bound, first.dtype).and(need_rank(bound, 0));
                inputs[1..].iter().try_for_each(scalar)?;
                Ok(first.clone())
            }
            Op::Cast(dtype) => Ok(TensorType { dtype: *dtype, shape: first.shape.clone() }),
            Op::Reduce { axes, keep, .. } => reduced(first, axes.as_deref(), *keep),
            Op::Gather(axis) => gathered(first, inputs[1], *axis),
            Op::GatherElements(axis) => picked(first, inputs[1], *axis),
            Op::ScatterElements { axis, .. } => {
                let updates = picked(first, inputs[1], *axis)?;
                need_dtype(inputs[2], updates.dtype)?;
                let fits = |(a, b): (&Dim, &Dim)| a == b || a.fixed().is_none() || b.fixed().is_none();
                if inputs[2].rank() != updates.rank() || !inputs[2].shape.iter().zip(&updates.shape).all(fits)
                {
                    return Err("updates are not of the indices' shape".into());
                }
                Ok(first.clone())
            }
            _ => Err("this operator has no types here".into()),
        }
    }
}

fn stretched(dtype: DType, inputs: &[&TensorType]) -> Result<TensorType, String> {
    broadcast(inputs).map(|shape| TensorType { dtype, shape })
}

fn reduced(ty: &TensorType, axes: Option<&[usize]>, keep: bool) -> Result<TensorType, String> {
    let all: Vec<usize> = (0..ty.rank()).collect();
    let axes = axes.unwrap_or(&all);
    axes.iter().try_for_each(|axis| need_axis(ty, *axis))?;
    let mut shape = Vec::new();
    for (k, dim) in ty.shape.iter().enumerate() {
        match (axes.contains(&k), keep) {
            (false, _) => shape.push(dim.clone()),
            (true, true) => shape.push(Dim::Fixed(1)),
            (true, false) => {}
        }
    }
    Ok(TensorType { dtype: ty.dtype, shape })
}

/// Slices of `data`: its shape with the indices' in the place of the axis.
fn gathered(data: &TensorType, indices: &TensorType, axis: usize) -> Result<TensorType, String> {
    need_index(indices)?;
    need_axis(data, axis)?;
    let shape = [&data.shape[..axis], &indices.shape, &data.shape[axis + 1..]].concat();
    Ok(TensorType { dtype: data.dtype, shape })
}

/// Elements of `data` in the shape of `indices`.
fn picked(data: &TensorType, indices: &TensorType, axis: usize) -> Result<TensorType, String> {
    need_index(indices)?;
    need_axis(data, axis)?;
    need_rank(indices, data.rank())?;
    Ok(TensorType { dtype: data.dtype, shape: indices.shape.clone() })
}

fn need_axis(ty: &TensorType, axis: usize) -> Result<(), String> {
    if axis < ty.rank() { Ok(()) } else { Err(format!("{ty} has no axis {axis}")) }
}

fn need_rank(ty: &TensorType, rank: usize) -> Result<(), String> {
    if ty.rank() == rank { Ok(()) } else { Err(format!("{ty} has not {rank} axes")) }
}

fn need_dtype(ty: &TensorType, dtype: DType) -> Result<(), String> {
    if ty.dtype == dtype { Ok(()) } else { Err(format!("{ty} is not {dtype}")) }
}

fn need_index(ty: &TensorType) -> Result<(), String> {
    match ty.dtype {
        DType::I64 | DType::I32 => Ok(()),
        _ => Err(format!("{ty} is not an index type")),
    }
}

fn need_number(ty: &TensorType) -> Result<(), String> {
    if ty.dtype == DType::Bool { Err(format!("{ty} is not a number type")) } else { Ok(()) }
}

fn need_float(ty: &TensorType) -> Result<(), String> {
    match ty.dtype {
        DType::F32 | DType::F64 | DType::F16 | DType::BF16 => Ok(()),
        DType::I32 | DType::I64 | DType::Bool => Err(format!("{ty} is not a float type")),
    }
}

/// ONNX's (numpy's) broadcasting: axes align at the end, and an extent of 1 stretches. Where two extents are not known,
/// neither is the result's, unless they are the same.
fn broadcast(inputs: &[&TensorType]) -> Result<Vec<Dim>, String> {
    let rank = inputs.iter().map(|t| t.rank()).max().unwrap_or(0);
    let mut shape = vec![Dim::Fixed(1); rank];
    for ty in inputs {
        let offset = rank - ty.rank();
        for (k, dim) in ty.shape.iter().enumerate() {
            let slot = &mut shape[offset + k];
            match (&*slot, dim) {
                (Dim::Fixed(1), _) => *slot = dim.clone(),
                (_, Dim::Fixed(1)) => {}
                (Dim::Fixed(a), Dim::Fixed(b)) if a == b => {}
                (Dim::Fixed(a), Dim::Fixed(b)) => return Err(format!("{a} and {b} do not broadcast")),
                (Dim::Fixed(_), _) => {}
                (_, Dim::Fixed(_)) => *slot = dim.clone(),
                (a, b) if a.same(b) => {}
                _ => *slot = Dim::Unknown,
            }
        }
    }
    Ok(shape)
}

#[cfg(test)]
mod tests;
