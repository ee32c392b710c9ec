//! Host tensors: what goes into an engine and what comes out of it.
//!
//! Data and shape live together and always agree: the only constructors check that the product of the shape is the
//! number of elements. Data is row-major (the last axis is contiguous), as ONNX has it.

use std::fmt;

use half::{bf16, f16};

mod bytes;
mod cast;
mod rows;

/// Element type of a [`Tensor`]; displayed by its ONNX name (`float32`, `bfloat16`, …).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit IEEE float.
    F32,
    /// 64-bit IEEE float.
    F64,
    /// 16-bit IEEE float.
    F16,
    /// The upper half of a 32-bit float.
    BF16,
    /// 32-bit signed integer.
    I32,
    /// 64-bit signed integer.
    I64,
    /// Truth value, one byte an element.
    Bool,
}

impl DType {
    /// Every element type, in the order of declaration.
    pub const ALL: [DType; 7] =
        [DType::F32, DType::F64, DType::F16, DType::BF16, DType::I32, DType::I64, DType::Bool];

    /// The number that `TensorProto.DataType` of the ONNX specification gives this type.
    pub fn onnx_code(self) -> i32 {
        match self {
            DType::F32 => 1,
            DType::I32 => 6,
            DType::I64 => 7,
            DType::Bool => 9,
            DType::F16 => 10,
            DType::F64 => 11,
            DType::BF16 => 16,
        }
    }

    /// The type of a `TensorProto.DataType` number; `None` for a type that a [`Tensor`] cannot hold.
    pub fn from_onnx_code(code: i32) -> Option<DType> {
        DType::ALL.into_iter().find(|dtype| dtype.onnx_code() == code)
    }

    /// Bytes that one element takes in memory and in [`Tensor::to_le_bytes`].
    pub fn size_of(self) -> usize {
        match self {
            DType::Bool => 1,
            DType::F16 | DType::BF16 => 2,
            DType::F32 | DType::I32 => 4,
            DType::F64 | DType::I64 => 8,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "float32",
            DType::F64 => "float64",
            DType::F16 => "float16",
            DType::BF16 => "bfloat16",
            DType::I32 => "int32",
            DType::I64 => "int64",
            DType::Bool => "bool",
        })
    }
}

/// The elements of a [`Tensor`], row-major.
#[derive(Debug, Clone, PartialEq)]
pub enum TensorData {
    /// [`DType::F32`].
    F32(Vec<f32>),
    /// [`DType::F64`].
    F64(Vec<f64>),
    /// [`DType::F16`].
    F16(Vec<f16>),
    /// [`DType::BF16`].
    BF16(Vec<bf16>),
    /// [`DType::I32`].
    I32(Vec<i32>),
    /// [`DType::I64`].
    I64(Vec<i64>),
    /// [`DType::Bool`].
    Bool(Vec<bool>),
}

/// Runs `$body` with `$values` bound to the vector of whichever variant `$data` is.
macro_rules! for_each_dtype {
    ($data:expr, $values:ident => $body:expr) => {
        match $data {
            $crate::tensor::TensorData::F32($values) => $body,
            $crate::tensor::TensorData::F64($values) => $body,
            $crate::tensor::TensorData::F16($values) => $body,
            $crate::tensor::TensorData::BF16($values) => $body,
            $crate::tensor::TensorData::I32($values) => $body,
            $crate::tensor::TensorData::I64($values) => $body,
            $crate::tensor::TensorData::Bool($values) => $body,
        }
    };
}
pub(crate) use for_each_dtype;

impl TensorData {
    /// Element type.
    pub fn dtype(&self) -> DType {
        match self {
            TensorData::F32(_) => DType::F32,
            TensorData::F64(_) => DType::F64,
            TensorData::F16(_) => DType::F16,
            TensorData::BF16(_) => DType::BF16,
            TensorData::I32(_) => DType::I32,
            TensorData::I64(_) => DType::I64,
            TensorData::Bool(_) => DType::Bool,
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        for_each_dtype!(self, values => values.len())
    }

    /// Whether there are no elements (a shape with a zero in it).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Why a [`Tensor`] could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TensorError {
    /// The shape describes another number of elements than were given.
    #[error("shape {shape:?} holds {expected} elements, but {actual} were given")]
    Count {
        /// The shape.
        shape: Vec<usize>,
        /// Product of the shape.
        expected: usize,
        /// Elements given.
        actual: usize,
    },
    /// The product of the shape, or its size in bytes, does not fit into this machine's address space.
    #[error("shape {shape:?} is too large for this machine")]
    TooLarge {
        /// The shape.
        shape: Vec<usize>,
    },
    /// The bytes given are not those of a tensor of this type and shape.
    #[error("a {dtype} tensor of shape {shape:?} takes {expected} bytes, but {actual} were given")]
    ByteCount {
        /// Element type.
        dtype: DType,
        /// The shape.
        shape: Vec<usize>,
        /// Bytes the tensor takes.
        expected: usize,
        /// Bytes given.
        actual: usize,
    },
}

/// A dense row-major tensor in host memory. A scalar has the shape `[]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: TensorData,
}

impl Tensor {
    /// A tensor of `shape` over `data`.
    ///
    /// # Errors
    /// [`TensorError::Count`] when the product of `shape` is not the number of elements, [`TensorError::TooLarge`]
    /// when that product overflows.
    pub fn new(shape: Vec<usize>, data: TensorData) -> Result<Tensor, TensorError> {
        let expected = element_count(&shape)?;
        let actual = data.len();
        if expected != actual {
            return Err(TensorError::Count { shape, expected, actual });
        }
        Ok(Tensor { shape, data })
    }

    /// A float32 scalar, shape `[]`.
    pub fn scalar_f32(value: f32) -> Tensor {
        Tensor { shape: Vec::new(), data: TensorData::F32(vec![value]) }
    }

    /// A bool scalar, shape `[]`.
    pub fn scalar_bool(value: bool) -> Tensor {
        Tensor { shape: Vec::new(), data: TensorData::Bool(vec![value]) }
    }

    /// Extent of every axis; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.data.dtype()
    }

    /// The elements, row-major.
    pub fn data(&self) -> &TensorData {
        &self.data
    }

    /// Takes the tensor apart into shape and elements.
    pub fn into_parts(self) -> (Vec<usize>, TensorData) {
        (self.shape, self.data)
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether there are no elements (a shape with a zero in it).
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The elements if they are float32; `None` for any other type.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match &self.data {
            TensorData::F32(values) => Some(values),
            _ => None,
        }
    }

    /// The elements if they are int64; `None` for any other type.
    pub fn as_i64(&self) -> Option<&[i64]> {
        match &self.data {
            TensorData::I64(values) => Some(values),
            _ => None,
        }
    }
}

/// Product of a shape, by checked arithmetic; 1 for a scalar.
///
/// A product that overflows is an error even where another axis is zero: no ONNX runtime could describe the tensor.
fn element_count(shape: &[usize]) -> Result<usize, TensorError> {
    let too_large = || TensorError::TooLarge { shape: shape.to_vec() };
    let product = |axis_of: fn(usize) -> usize| {
        shape
            .iter()
            .try_fold(1usize, |product, &axis| product.checked_mul(axis_of(axis)))
            .ok_or_else(too_large)
    };
    product(|axis| axis.max(1))?;
    product(|axis| axis)
}

#[cfg(test)]
mod tests;
