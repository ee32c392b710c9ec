//! Our tensors as `rten`'s: float32 as it is, int32 for every integer and bool.

use rten::Value;
use rten_tensor::prelude::*;

use super::signature;
use super::{run_error, unsupported};
use crate::runtime::error::RuntimeError;
use crate::tensor::{DType, Tensor, TensorData};

/// `tensor` for the model's input `declared`, in the type that `rten` has for it.
pub(super) fn input(declared: &signature::Value, tensor: &Tensor) -> Result<Value, RuntimeError> {
    let name = &declared.name;
    if let Some(code) = declared.elem_type
        && code != tensor.dtype().onnx_code()
    {
        let wanted = DType::from_onnx_code(code)
            .map_or_else(|| format!("ONNX element type {code}"), |d| d.to_string());
        let message = format!("input `{name}` is {wanted}, not {}", tensor.dtype());
        return Err(run_error(message));
    }
    let shape = tensor.shape();
    let value = match tensor.data() {
        TensorData::F32(values) => Value::from_shape(shape, values.clone()).map_err(text),
        TensorData::I32(values) => Value::from_shape(shape, values.clone()).map_err(text),
        TensorData::I64(values) => Value::from_shape(shape, narrowed(name, values)?).map_err(text),
        TensorData::Bool(values) => {
            let ints: Vec<i32> = values.iter().map(|&value| i32::from(value)).collect();
            Value::from_shape(shape, ints).map_err(text)
        }
        TensorData::F64(_) | TensorData::F16(_) | TensorData::BF16(_) => {
            let dtype = tensor.dtype();
            return Err(unsupported(format!("input `{name}` is {dtype}")));
        }
    };
    value.map_err(|error| run_error(format!("input `{name}`: {error}")))
}

/// int64 as int32; an element that does not fit is an error, never another number.
fn narrowed(name: &str, values: &[i64]) -> Result<Vec<i32>, RuntimeError> {
    let narrow = |&value| {
        i32::try_from(value).map_err(|_| {
            unsupported(format!("input `{name}` holds {value}, and it has 32-bit integers only"))
        })
    };
    values.iter().map(narrow).collect()
}

/// What the model put into its output `declared`, in the type that the model declares.
pub(super) fn output(declared: &signature::Value, value: &Value) -> Result<Tensor, RuntimeError> {
    let name = &declared.name;
    let (shape, data) = match value {
        Value::FloatTensor(values) => (values.shape().to_vec(), TensorData::F32(values.to_vec())),
        Value::Int32Tensor(values) => (values.shape().to_vec(), TensorData::I32(values.to_vec())),
        other => {
            let dtype = other.dtype();
            return Err(unsupported(format!("output `{name}` is {dtype}")));
        }
    };
    let tensor = Tensor::new(shape, data).map_err(|error| run_error(format!("output `{name}`: {error}")))?;
    let declared_type = declared.elem_type.and_then(DType::from_onnx_code);
    match (declared_type, tensor.dtype()) {
        (Some(wanted @ (DType::I64 | DType::Bool)), DType::I32) => Ok(tensor.cast(wanted)),
        (Some(wanted), actual) if wanted != actual => {
            Err(run_error(format!("output `{name}` is {actual}, but the model declares {wanted}")))
        }
        _ => Ok(tensor),
    }
}

fn text(error: impl std::error::Error) -> String {
    error.to_string()
}
