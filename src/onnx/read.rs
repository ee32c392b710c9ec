//! Model and tensor files to messages and tensors.

use prost::Message;

use super::messages::{ModelProto, TensorProto};
use crate::tensor::{DType, Tensor, TensorData, TensorError};

/// `TensorProto.data_location` of data in another file.
const EXTERNAL: i32 = 1;

/// Bytes that are not what they should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Not protobuf, or cut off.
    #[error("this is no ONNX {what}: {error}")]
    Protobuf {
        /// "model" or "tensor"
        what: &'static str,
        /// Why.
        error: prost::DecodeError,
    },
    /// Protobuf, but without what every model has.
    #[error("this is no ONNX model: it has no {0}")]
    NotAModel(&'static str),
    /// An element type that this program has no use for.
    #[error("tensor `{name}` has element type {code} of TensorProto.DataType, which is not supported here")]
    ElementType {
        /// Name of the tensor.
        name: String,
        /// Its type's number.
        code: i32,
    },
    /// A negative extent.
    #[error("tensor `{name}` has an extent of {extent}")]
    Extent {
        /// Name of the tensor.
        name: String,
        /// The extent.
        extent: i64,
    },
    /// Data in another file.
    #[error("tensor `{0}` keeps its data in another file, which is not supported here")]
    External(String),
    /// Data and shape do not agree.
    #[error("tensor `{name}`: {error}")]
    Data {
        /// Name of the tensor.
        name: String,
        /// Why.
        error: TensorError,
    },
}

/// Reads a model.
///
/// # Errors
/// Bytes that are no model.
pub fn read(bytes: &[u8]) -> Result<ModelProto, ReadError> {
    let model = ModelProto::decode(bytes).map_err(|error| ReadError::Protobuf { what: "model", error })?;
    // Nearly any bytes decode as protobuf with unknown fields; a model has these.
    if model.ir_version.is_none() {
        return Err(ReadError::NotAModel("IR version"));
    }
    match &model.graph {
        None => Err(ReadError::NotAModel("graph")),
        Some(_) if model.opset_import.is_empty() => Err(ReadError::NotAModel("operator set")),
        Some(_) => Ok(model),
    }
}

/// Reads a tensor file, as in the ONNX backend tests. Returns its name and the tensor.
///
/// # Errors
/// Bytes that are no tensor of a supported type.
pub fn tensor(bytes: &[u8]) -> Result<(String, Tensor), ReadError> {
    let proto = TensorProto::decode(bytes).map_err(|error| ReadError::Protobuf { what: "tensor", error })?;
    let name = proto.name.clone().unwrap_or_default();
    Ok((name, Tensor::try_from(&proto)?))
}

impl TryFrom<&TensorProto> for Tensor {
    type Error = ReadError;

    fn try_from(proto: &TensorProto) -> Result<Self, ReadError> {
        let name = proto.name.clone().unwrap_or_default();
        let code = proto.data_type.unwrap_or(0);
        let Some(dtype) = DType::from_onnx_code(code) else {
            return Err(ReadError::ElementType { name, code });
        };
        if proto.data_location == Some(EXTERNAL) {
            return Err(ReadError::External(name));
        }
        let mut shape = Vec::with_capacity(proto.dims.len());
        for extent in &proto.dims {
            let known = usize::try_from(*extent);
            shape.push(known.map_err(|_| ReadError::Extent { name: name.clone(), extent: *extent })?);
        }
        let tensor = match &proto.raw_data {
            Some(raw) => Tensor::from_le_bytes(dtype, shape, raw),
            None => Tensor::new(shape, typed_data(dtype, proto)),
        };
        tensor.map_err(|error| ReadError::Data { name, error })
    }
}

/// The typed spelling of a tensor's data; half types stand in `int32_data` by their bits.
fn typed_data(dtype: DType, proto: &TensorProto) -> TensorData {
    let bits = || proto.int32_data.iter().map(|v| *v as u16);
    match dtype {
        DType::F32 => TensorData::F32(proto.float_data.clone()),
        DType::F64 => TensorData::F64(proto.double_data.clone()),
        DType::I64 => TensorData::I64(proto.int64_data.clone()),
        DType::I32 => TensorData::I32(proto.int32_data.clone()),
        DType::Bool => TensorData::Bool(proto.int32_data.iter().map(|v| *v != 0).collect()),
        DType::F16 => TensorData::F16(bits().map(half::f16::from_bits).collect()),
        DType::BF16 => TensorData::BF16(bits().map(half::bf16::from_bits).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::tensor_bytes;

    #[test]
    fn a_tensor_file_comes_back() {
        let tensor = Tensor::new(vec![2, 1], TensorData::F64(vec![1.5, -2.0])).unwrap();
        let (name, back) = super::tensor(&tensor_bytes("x", &tensor)).unwrap();
        assert_eq!((name.as_str(), back), ("x", tensor));
    }

    #[test]
    fn what_is_no_model_is_refused() {
        for bytes in [&b""[..], b"hello, this is text", b"\x08\x08", &[0xff; 40]] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn typed_data_is_read_too() {
        let proto = TensorProto {
            dims: vec![2],
            data_type: Some(10),
            int32_data: vec![0x3c00, 0xc000],
            name: Some("half".into()),
            ..TensorProto::default()
        };
        assert_eq!(Tensor::try_from(&proto).unwrap().to_f64_vec(), [1.0, -2.0]);
    }

    #[test]
    fn sizes_that_lie_are_refused() {
        let mut proto =
            TensorProto { dims: vec![1 << 62, 1 << 62], data_type: Some(1), ..TensorProto::default() };
        assert!(Tensor::try_from(&proto).is_err());
        proto.dims = vec![-1];
        assert!(matches!(Tensor::try_from(&proto), Err(ReadError::Extent { extent: -1, .. })));
    }
}
