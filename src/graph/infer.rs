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
            Op::Unary(UnaryOp::Identity) => Ok(first.clone()),
            Op::Unary(UnaryOp::Not) => need_dtype(first, DType::Bool).map(|()| first.clone()),
            Op::Unary(_) | Op::Softmax => need_float(first).map(|()| first.clone()),
            Op::Binary(_) => {
                need_dtype(inputs[1], first.dtype)?;
                broadcast(inputs).map(|shape| TensorType { dtype: first.dtype, shape })
            }
            Op::Compare(_) => {
                need_dtype(inputs[1], first.dtype)?;
                broadcast(inputs).map(|shape| TensorType { dtype: DType::Bool, shape })
            }
            Op::And => {
                inputs.iter().try_for_each(|t| need_dtype(t, DType::Bool))?;
                broadcast(inputs).map(|shape| TensorType { dtype: DType::Bool, shape })
            }
            Op::Where => {
                need_dtype(first, DType::Bool)?;
                need_dtype(inputs[2], inputs[1].dtype)?;
                broadcast(inputs).map(|shape| TensorType { dtype: inputs[1].dtype, shape })
            }
            Op::Clip => {
                need_float(first)?;
                for bound in &inputs[1..] {
                    need_dtype(bound, first.dtype)?;
                    need_rank(bound, 0)?;
                }
                Ok(first.clone())
            }
            Op::Cast(dtype) => Ok(TensorType { dtype: *dtype, shape: first.shape.clone() }),
            Op::Reduce(_, None) => Ok(TensorType { dtype: first.dtype, shape: Vec::new() }),
            Op::Reduce(_, Some(axis)) => {
                let mut ty = first.clone();
                *ty.shape.get_mut(*axis).ok_or("no such axis")? = Dim::Fixed(1);
                Ok(ty)
            }
            Op::Gather => {
                need_dtype(inputs[1], DType::I64)?;
                need_rank(first, 1)?;
                Ok(TensorType { dtype: first.dtype, shape: inputs[1].shape.clone() })
            }
            Op::GatherElements => {
                indexed(inputs).map(|()| TensorType { dtype: first.dtype, shape: inputs[1].shape.clone() })
            }
            Op::ScatterElements => {
                indexed(inputs)?;
                need_dtype(inputs[2], first.dtype)?;
                if inputs[2].shape != inputs[1].shape {
                    return Err("updates and indices differ in shape".into());
                }
                Ok(first.clone())
            }
            Op::UnsqueezeLast => {
                let mut ty = first.clone();
                ty.shape.push(Dim::Fixed(1));
                Ok(ty)
            }
            Op::SqueezeLast => {
                let mut ty = first.clone();
                match ty.shape.pop() {
                    Some(Dim::Fixed(1)) => Ok(ty),
                    _ => Err("the last axis is not 1".into()),
                }
            }
        }
    }
}

fn indexed(inputs: &[&TensorType]) -> Result<(), String> {
    need_dtype(inputs[1], DType::I64)?;
    need_rank(inputs[0], 2)?;
    need_rank(inputs[1], 2)
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
