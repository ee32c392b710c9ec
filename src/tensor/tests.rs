use half::{bf16, f16};
use proptest::prelude::*;

use super::*;

fn sample(dtype: DType) -> Tensor {
    let values = Tensor::new(vec![2, 2], TensorData::F64(vec![0.0, -1.5, 2.25, 100.0]));
    values.unwrap().cast(dtype)
}

#[test]
fn bytes_come_back_as_the_same_tensor_for_every_type() {
    for dtype in DType::ALL {
        let tensor = sample(dtype);
        let bytes = tensor.to_le_bytes();
        assert_eq!(bytes.len(), 4 * dtype.size_of(), "{dtype}");
        let back = Tensor::from_le_bytes(dtype, vec![2, 2], &bytes).unwrap();
        assert_eq!(back, tensor, "{dtype}");
    }
}

#[test]
fn bytes_are_little_endian() {
    let one = Tensor::new(vec![], TensorData::F32(vec![1.0])).unwrap();
    assert_eq!(one.to_le_bytes(), [0, 0, 0x80, 0x3f]);
    let half = Tensor::new(vec![1], TensorData::F16(vec![f16::from_f32(1.0)])).unwrap();
    assert_eq!(half.to_le_bytes(), [0, 0x3c]);
    let brain = Tensor::new(vec![1], TensorData::BF16(vec![bf16::from_f32(1.0)])).unwrap();
    assert_eq!(brain.to_le_bytes(), [0x80, 0x3f]);
}

#[test]
fn a_scalar_has_no_axes_and_one_element() {
    assert_eq!(Tensor::scalar_f32(3.0).shape(), &[] as &[usize]);
    assert_eq!(Tensor::scalar_bool(true).len(), 1);
}

#[test]
fn a_batch_of_zero_is_a_tensor() {
    let empty = Tensor::new(vec![0, 7], TensorData::F32(vec![])).unwrap();
    assert!(empty.is_empty());
    assert_eq!(Tensor::from_le_bytes(DType::F32, vec![0, 7], &[]).unwrap(), empty);
}

#[test]
fn a_shape_that_overflows_is_an_error_even_beside_a_zero() {
    for shape in [vec![usize::MAX, 2], vec![0, usize::MAX, 2]] {
        let error = Tensor::new(shape.clone(), TensorData::F32(vec![])).unwrap_err();
        assert_eq!(error, TensorError::TooLarge { shape });
    }
    let shape = vec![usize::MAX / 4];
    let error = Tensor::from_le_bytes(DType::F64, shape.clone(), &[]).unwrap_err();
    assert_eq!(error, TensorError::TooLarge { shape });
}

#[test]
fn a_wrong_number_of_elements_is_named() {
    let error = Tensor::new(vec![2, 3], TensorData::Bool(vec![true])).unwrap_err();
    assert_eq!(error.to_string(), "shape [2, 3] holds 6 elements, but 1 were given");
}

#[test]
fn casts_truncate_saturate_and_round_to_nearest_even() {
    let floats = Tensor::new(vec![5], TensorData::F64(vec![f64::NAN, 1e300, -1e300, -1.9, 65520.0])).unwrap();
    assert_eq!(floats.cast(DType::I32).data(), &TensorData::I32(vec![0, i32::MAX, i32::MIN, -1, 65520]));
    assert_eq!(floats.cast(DType::Bool).data(), &TensorData::Bool(vec![true; 5]));
    // 65520 lies halfway between 65504, the largest float16, and 2^16: the tie goes to infinity (IEEE 754, 4.3.1).
    let TensorData::F16(halves) = floats.cast(DType::F16).into_parts().1 else {
        panic!("not float16");
    };
    assert_eq!(halves[4], f16::INFINITY);
}

#[test]
fn onnx_codes_are_those_of_tensor_proto() {
    let codes: Vec<_> = DType::ALL.iter().map(|dtype| dtype.onnx_code()).collect();
    assert_eq!(codes, [1, 11, 10, 16, 6, 7, 9]);
    assert_eq!(DType::from_onnx_code(16), Some(DType::BF16));
    assert_eq!(DType::from_onnx_code(8), None);
}

proptest! {
    #[test]
    fn no_shape_and_bytes_panic(shape in proptest::collection::vec(any::<usize>(), 0..4), bytes: Vec<u8>, code in 0i32..20) {
        if let Some(dtype) = DType::from_onnx_code(code) {
            let _ = Tensor::from_le_bytes(dtype, shape, &bytes);
        }
    }
}
