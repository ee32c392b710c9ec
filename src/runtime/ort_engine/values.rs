//! Our tensors as ONNX Runtime's, without a copy on the way in.

use ort::session::SessionInputValue;

use ort::value::{
    DynTensorValueType, DynValue, PrimitiveTensorElementType, TensorElementType, TensorRef, ValueType,
};

use super::NAME;
use crate::runtime::error::RuntimeError;
use crate::tensor::{DType, Tensor, TensorData, for_each_dtype};

/// A view of `tensor`, which ONNX Runtime reads in place.
pub(super) fn input(tensor: &Tensor) -> ort::Result<SessionInputValue<'_>> {
    for_each_dtype!(tensor.data(), values => {
        TensorRef::from_array_view((tensor.shape(), values.as_slice())).map(SessionInputValue::from)
    })
}

/// A copy of `tensor` that ONNX Runtime owns, for binding: `ort` rc.15 copies a view that is bound, by a way that locks
/// the same mutex twice and never returns.
pub(super) fn owned_input(tensor: &Tensor) -> ort::Result<DynValue> {
    for_each_dtype!(tensor.data(), values => {
        ort::value::Tensor::from_array((tensor.shape(), values.clone().into_boxed_slice()))
            .map(ort::value::Value::into_dyn)
    })
}

/// ONNX Runtime's name for the element type of `tensor`.
pub(super) fn element_type(tensor: &Tensor) -> TensorElementType {
    match tensor.dtype() {
        DType::F32 => TensorElementType::Float32,
        DType::F64 => TensorElementType::Float64,
        DType::F16 => TensorElementType::Float16,
        DType::BF16 => TensorElementType::Bfloat16,
        DType::I32 => TensorElementType::Int32,
        DType::I64 => TensorElementType::Int64,
        DType::Bool => TensorElementType::Bool,
    }
}

/// A copy of what the model put into its output `name`.
pub(super) fn output(name: &str, value: &DynValue) -> Result<Tensor, RuntimeError> {
    let ValueType::Tensor { ty, .. } = value.dtype() else {
        return Err(RuntimeError::Unsupported {
            engine: NAME,
            what: format!("output `{name}` is {}, not a tensor", value.dtype()),
        });
    };
    match ty {
        TensorElementType::Float32 => copy(name, value, TensorData::F32),
        TensorElementType::Float64 => copy(name, value, TensorData::F64),
        TensorElementType::Float16 => copy(name, value, TensorData::F16),
        TensorElementType::Bfloat16 => copy(name, value, TensorData::BF16),
        TensorElementType::Int32 => copy(name, value, TensorData::I32),
        TensorElementType::Int64 => copy(name, value, TensorData::I64),
        TensorElementType::Bool => copy(name, value, TensorData::Bool),
        other => Err(RuntimeError::Unsupported {
            engine: NAME,
            what: format!("output `{name}` has the element type {other}, which ibgraph does not read"),
        }),
    }
}

fn copy<T: PrimitiveTensorElementType + Clone>(
    name: &str,
    value: &DynValue,
    wrap: fn(Vec<T>) -> TensorData,
) -> Result<Tensor, RuntimeError> {
    let failed =
        |message: String| RuntimeError::Run { engine: NAME, message: format!("output `{name}`: {message}") };
    let (shape, values) =
        value.try_extract_tensor::<T>().map_err(|error| failed(error.message().to_owned()))?;
    let shape = shape.iter().map(|&axis| usize::try_from(axis));
    let shape = shape.collect::<Result<Vec<_>, _>>().map_err(|_| failed("a negative axis".to_owned()))?;
    Tensor::new(shape, wrap(values.to_vec())).map_err(|error| failed(error.to_string()))
}

/// Whether the value's memory can be read here.
pub(super) fn is_on_host(value: &DynValue) -> bool {
    value.view().downcast::<DynTensorValueType>().is_ok_and(|tensor| tensor.memory_info().is_cpu_accessible())
}
