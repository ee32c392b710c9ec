//! Types of a node's output from the types of its inputs.

use super::op::{Op, UnaryOp};
use super::types::{Dim, TensorType};
use crate::tensor::DType;

/// Inputs that an operator does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operator} does not take ({inputs}): {why}")]
pub struct InferError {
    operator: &'static str,
    inputs: String,
    why: String,
}

impl Op {
    /// Type of the output.
    ///
    /// # Errors
    /// A wrong number of inputs, types that the operator does not take, or shapes that do not fit.
    pub fn infer(&self, inputs: &[&TensorType]) -> Result<TensorType, InferError> {
        let outcome = if inputs.len() == self.arity() {
            self.output_type(inputs)
        } else {
            Err(format!("{} inputs, not {}", self.arity(), inputs.len()))
        };
        outcome.map_err(|why| InferError {
            operator: self.name(),
            inputs: inputs.iter().map(|t| t.to_string()).collect::<Vec<_>>().join(", "),
            why,
        })
    }

    fn output_type(&self, inputs: &[&TensorType]) -> Result<TensorType, String> {
        let first = inputs[0];
        match self {
            Op::Unary(UnaryOp::Identity) | Op::Stop => Ok(first.clone()),
            Op::Unary(UnaryOp::Not) => need_dtype(first, DType::Bool).map(|()| first.clone()),
            Op::Unary(_) | Op::Softmax => need_float(first).map(|()| first.clone()),
            Op::Binary(_) => need_dtype(inputs[1], first.dtype).and_then(|()| stretched(first.dtype, inputs)),
            Op::Compare(_) => {
                need_dtype(inputs[1], first.dtype).and_then(|()| stretched(DType::Bool, inputs))
            }
            Op::And => {
                inputs.iter().try_for_each(|t| need_dtype(t, DType::Bool))?;
                stretched(DType::Bool, inputs)
            }
            Op::Where => {
                need_dtype(first, DType::Bool)?;
                need_dtype(inputs[2], inputs[1].dtype)?;
                stretched(inputs[1].dtype, inputs)
            }
            Op::Clip => {
                need_float(first)?;
                let scalar = |bound: &&TensorType| need_dtype(bound, first.dtype).and(need_rank(bound, 0));
                inputs[1..].iter().try_for_each(scalar)?;
                Ok(first.clone())
            }
            Op::Cast(dtype) => Ok(TensorType { dtype: *dtype, shape: first.shape.clone() }),
            Op::Reduce(_, axis) => reduced(first, *axis),
            Op::Gather => {
                need_rank(first, 1)?;
                picked(first, inputs[1])
            }
            Op::GatherElements => need_rank(first, 2).and_then(|()| picked(first, inputs[1])),
            Op::ScatterElements => {
                need_rank(first, 2)?;
                if *inputs[2] != picked(first, inputs[1])? {
                    return Err("updates are not of the data's type and the indices' shape".into());
                }
                Ok(first.clone())
            }
            Op::UnsqueezeLast => {
                let last = [Dim::Fixed(1)];
                Ok(TensorType::new(first.dtype, &[first.shape.as_slice(), &last].concat()))
            }
            Op::SqueezeLast => match first.shape.split_last() {
                Some((Dim::Fixed(1), shape)) => Ok(TensorType::new(first.dtype, shape)),
                _ => Err("the last axis is not 1".into()),
            },
        }
    }
}

fn stretched(dtype: DType, inputs: &[&TensorType]) -> Result<TensorType, String> {
    broadcast(inputs).map(|shape| TensorType { dtype, shape })
}

fn reduced(ty: &TensorType, axis: Option<usize>) -> Result<TensorType, String> {
    let mut ty = ty.clone();
    match axis {
        Some(axis) => *ty.shape.get_mut(axis).ok_or("no such axis")? = Dim::Fixed(1),
        None => ty.shape.clear(),
    }
    Ok(ty)
}

/// Elements of `data` in the shape of `indices`.
fn picked(data: &TensorType, indices: &TensorType) -> Result<TensorType, String> {
    need_dtype(indices, DType::I64)?;
    Ok(TensorType { dtype: data.dtype, shape: indices.shape.clone() })
}

fn need_rank(ty: &TensorType, rank: usize) -> Result<(), String> {
    if ty.rank() == rank { Ok(()) } else { Err(format!("{ty} has not {rank} axes")) }
}

fn need_dtype(ty: &TensorType, dtype: DType) -> Result<(), String> {
    if ty.dtype == dtype { Ok(()) } else { Err(format!("{ty} is not {dtype}")) }
}

fn need_float(ty: &TensorType) -> Result<(), String> {
    match ty.dtype {
        DType::F32 | DType::F64 | DType::F16 | DType::BF16 => Ok(()),
        DType::I32 | DType::I64 | DType::Bool => Err(format!("{ty} is not a float type")),
    }
}

/// ONNX's (numpy's) broadcasting: axes align at the end, and an extent of 1 stretches.
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
                (a, b) if a == b => {}
                (a, b) => return Err(format!("{a} and {b} do not broadcast")),
            }
        }
    }
    Ok(shape)
}
