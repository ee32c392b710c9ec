//! Rows of a tensor: what a mini-batch is made of.

use super::{Tensor, TensorData};

impl Tensor {
    /// The entries along axis 0 at `indices`, in that order; `None` for a scalar and for an index beyond the end.
    pub fn rows(&self, indices: &[usize]) -> Option<Tensor> {
        let (&count, rest) = self.shape.split_first()?;
        if indices.iter().any(|index| *index >= count) {
            return None;
        }
        let width: usize = rest.iter().product();
        let data = match &self.data {
            TensorData::F32(values) => TensorData::F32(pick(values, width, indices)),
            TensorData::F64(values) => TensorData::F64(pick(values, width, indices)),
            TensorData::F16(values) => TensorData::F16(pick(values, width, indices)),
            TensorData::BF16(values) => TensorData::BF16(pick(values, width, indices)),
            TensorData::I32(values) => TensorData::I32(pick(values, width, indices)),
            TensorData::I64(values) => TensorData::I64(pick(values, width, indices)),
            TensorData::Bool(values) => TensorData::Bool(pick(values, width, indices)),
        };
        let mut shape = self.shape.clone();
        shape[0] = indices.len();
        Some(Tensor { shape, data })
    }

    /// Zeros (false) of a type and shape.
    ///
    /// # Errors
    /// A shape that is too large for this machine.
    pub fn zeros(dtype: super::DType, shape: Vec<usize>) -> Result<Tensor, super::TensorError> {
        let count = super::element_count(&shape)?;
        let zeros = Tensor { shape, data: TensorData::Bool(vec![false; count]) };
        Ok(zeros.cast(dtype))
    }
}

fn pick<T: Copy>(values: &[T], width: usize, indices: &[usize]) -> Vec<T> {
    indices.iter().flat_map(|index| &values[index * width..(index + 1) * width]).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::DType;

    #[test]
    fn rows_come_in_the_order_asked_for() {
        let tensor = Tensor::new(vec![3, 2], TensorData::I64(vec![0, 1, 10, 11, 20, 21])).unwrap();
        let rows = tensor.rows(&[2, 0, 2]).unwrap();
        assert_eq!((rows.shape(), rows.as_i64().unwrap()), (&[3, 2][..], &[20, 21, 0, 1, 20, 21][..]));
        assert_eq!(tensor.rows(&[]).unwrap().shape(), [0, 2]);
        assert_eq!(tensor.rows(&[3]), None);
        assert_eq!(Tensor::scalar_f32(1.0).rows(&[]), None);
    }

    #[test]
    fn zeros_have_their_type_and_shape() {
        let zeros = Tensor::zeros(DType::F16, vec![2, 0, 3]).unwrap();
        assert_eq!((zeros.dtype(), zeros.shape()), (DType::F16, &[2, 0, 3][..]));
        assert!(Tensor::zeros(DType::F32, vec![usize::MAX, 2]).is_err());
    }
}
