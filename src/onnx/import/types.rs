//! Types that a file declares.

use super::super::messages::{DimensionProto, TensorProto, ValueInfoProto};
use crate::graph::{Dim, TensorType};
use crate::tensor::DType;

/// The type of a tensor; `None` where its element type is not known here, or its shape is none.
pub(super) fn stored_type(tensor: &TensorProto) -> Option<TensorType> {
    let dtype = DType::from_onnx_code(tensor.data_type?)?;
    let shape: Option<Vec<Dim>> =
        tensor.dims.iter().map(|n| usize::try_from(*n).ok().map(Dim::Fixed)).collect();
    Some(TensorType { dtype, shape: shape? }).filter(TensorType::is_possible)
}

/// The declared type of a value; `None` where the element type or the rank is not known here, or no
/// memory holds such a value.
pub fn port_type(port: &ValueInfoProto) -> Option<TensorType> {
    let tensor = port.r#type.as_ref()?.tensor_type.as_ref()?;
    let dtype = DType::from_onnx_code(tensor.elem_type?)?;
    let dim = |dim: &DimensionProto| match (dim.dim_value, dim.dim_param.as_deref()) {
        (Some(n), _) => usize::try_from(n).map_or(Dim::Unknown, Dim::Fixed),
        (None, Some(name)) if !name.is_empty() => Dim::symbol(name),
        _ => Dim::Unknown,
    };
    let shape = tensor.shape.as_ref()?.dim.iter().map(dim).collect();
    Some(TensorType { dtype, shape }).filter(TensorType::is_possible)
}
