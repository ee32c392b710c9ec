//! Tensors as little-endian bytes, the layout of `TensorProto.raw_data`.

use half::{bf16, f16};

use super::{DType, Tensor, TensorData, TensorError, element_count, for_each_dtype};

/// An element as little-endian bytes.
trait LittleEndian {
    fn push_to(&self, out: &mut Vec<u8>);
}

macro_rules! little_endian {
    ($($element:ty),*) => {
        $(impl LittleEndian for $element {
            fn push_to(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        })*
    };
}
little_endian!(f32, f64, f16, bf16, i32, i64);

impl LittleEndian for bool {
    fn push_to(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

/// Splits `bytes` into elements of `N` bytes.
fn elements<const N: usize, T>(bytes: &[u8], read: fn([u8; N]) -> T) -> Vec<T> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|chunk| read(*chunk)).collect()
}

impl Tensor {
    /// Reads a tensor from its little-endian bytes. A bool is one byte; every byte but 0 is true.
    ///
    /// # Errors
    /// [`TensorError::ByteCount`] when `bytes` has not the length that `dtype` and `shape` call for,
    /// [`TensorError::TooLarge`] when that length overflows.
    pub fn from_le_bytes(dtype: DType, shape: Vec<usize>, bytes: &[u8]) -> Result<Tensor, TensorError> {
        let Some(expected) = element_count(&shape)?.checked_mul(dtype.size_of()) else {
            return Err(TensorError::TooLarge { shape });
        };
        if bytes.len() != expected {
            return Err(TensorError::ByteCount { dtype, shape, expected, actual: bytes.len() });
        }
        let data = match dtype {
            DType::F32 => TensorData::F32(elements(bytes, f32::from_le_bytes)),
            DType::F64 => TensorData::F64(elements(bytes, f64::from_le_bytes)),
            DType::F16 => TensorData::F16(elements(bytes, f16::from_le_bytes)),
            DType::BF16 => TensorData::BF16(elements(bytes, bf16::from_le_bytes)),
            DType::I32 => TensorData::I32(elements(bytes, i32::from_le_bytes)),
            DType::I64 => TensorData::I64(elements(bytes, i64::from_le_bytes)),
            DType::Bool => TensorData::Bool(bytes.iter().map(|&byte| byte != 0).collect()),
        };
        Tensor::new(shape, data)
    }

    /// The elements as little-endian bytes, row-major; a bool is one byte, 0 or 1.
    pub fn to_le_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len() * self.dtype().size_of());
        for_each_dtype!(&self.data, values => values.iter().for_each(|value| value.push_to(&mut out)));
        out
    }
}
