//! Conversion between element types, by the rules of ONNX `Cast` where those are defined.

use half::{bf16, f16};

use super::{DType, Tensor, TensorData};

/// Conversions of one element. Float to integer truncates towards zero and saturates (NaN becomes 0), which is one of
/// the results that ONNX leaves open; float64 to a half type rounds once, to nearest even.
trait Element: Copy {
    fn to_f64(self) -> f64;
    fn to_i64(self) -> i64;
    fn to_bool(self) -> bool;
    fn to_f32(self) -> f32 {
        self.to_f64() as f32
    }
}

macro_rules! primitive_element {
    ($($element:ty),*) => {
        $(impl Element for $element {
            fn to_f64(self) -> f64 {
                self as f64
            }
            fn to_f32(self) -> f32 {
                self as f32
            }
            fn to_i64(self) -> i64 {
                self as i64
            }
            fn to_bool(self) -> bool {
                self != 0 as $element
            }
        })*
    };
}
primitive_element!(f32, f64, i32, i64);

macro_rules! half_element {
    ($($element:ty),*) => {
        $(impl Element for $element {
            fn to_f64(self) -> f64 {
                <$element>::to_f64(self)
            }
            fn to_i64(self) -> i64 {
                <$element>::to_f64(self) as i64
            }
            fn to_bool(self) -> bool {
                <$element>::to_f64(self) != 0.0
            }
        })*
    };
}
half_element!(f16, bf16);

impl Element for bool {
    fn to_f64(self) -> f64 {
        f64::from(u8::from(self))
    }
    fn to_i64(self) -> i64 {
        i64::from(self)
    }
    fn to_bool(self) -> bool {
        self
    }
}

/// float64 to int32, truncating and saturating; exact for every integer type a tensor holds except large int64,
/// which saturates as well.
fn to_i32(value: i64) -> i32 {
    i32::try_from(value).unwrap_or(if value < 0 { i32::MIN } else { i32::MAX })
}

fn convert<T: Element>(values: &[T], to: DType) -> TensorData {
    let iter = values.iter().copied();
    match to {
        DType::F32 => TensorData::F32(iter.map(T::to_f32).collect()),
        DType::F64 => TensorData::F64(iter.map(T::to_f64).collect()),
        DType::F16 => TensorData::F16(iter.map(|v| f16::from_f64(v.to_f64())).collect()),
        DType::BF16 => TensorData::BF16(iter.map(|v| bf16::from_f64(v.to_f64())).collect()),
        DType::I32 => TensorData::I32(iter.map(|v| to_i32(v.to_i64())).collect()),
        DType::I64 => TensorData::I64(iter.map(T::to_i64).collect()),
        DType::Bool => TensorData::Bool(iter.map(T::to_bool).collect()),
    }
}

impl Tensor {
    /// The same values in another element type, same shape. Float to integer truncates towards zero and saturates,
    /// NaN becomes 0; int64 to int32 saturates; anything but zero becomes true.
    pub fn cast(&self, to: DType) -> Tensor {
        if to == self.dtype() {
            return self.clone();
        }
        let data = super::for_each_dtype!(&self.data, values => convert(values, to));
        Tensor { shape: self.shape.clone(), data }
    }

    /// Every element as float64, row-major; exact but for int64 beyond 2^53. False is 0, true is 1.
    pub fn to_f64_vec(&self) -> Vec<f64> {
        super::for_each_dtype!(&self.data, values => values.iter().map(|v| Element::to_f64(*v)).collect())
    }
}
