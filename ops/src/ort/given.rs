//! The inputs of a call, and whether their shapes and types fit the loss, wherever their elements are.

use ort_sys::ONNXTensorElementDataType as Kind;

use super::api::Failure;
use super::tensor::Tensor;
use crate::descriptor::{Descriptor, FeatureInput, Input};

/// The inputs of a call, in the order of the loss's.
pub(super) struct Given<'a> {
    pub loss: &'a Descriptor,
    pub tensors: &'a [Tensor],
}

impl Given<'_> {
    pub fn find(&self, input: Input) -> Option<&Tensor> {
        self.loss.position(input).map(|index| &self.tensors[index])
    }

    pub fn tensor(&self, input: Input) -> Result<&Tensor, Failure> {
        self.find(input).ok_or_else(|| format!("the input {input:?} is missing").into())
    }

    /// N, where logits, features and labels agree on it.
    pub fn rows(&self) -> Result<usize, Failure> {
        let logits = self.tensor(Input::Logits)?;
        let rows = match logits.dims.as_slice() {
            [n, c] if usize::try_from(*c) == Ok(self.loss.classes) => usize::try_from(*n).unwrap_or(0),
            dims => {
                return Err(format!("logits have the shape {dims:?}, not [N, {}]", self.loss.classes).into());
            }
        };
        self.check_features(logits, rows)?;
        self.check_labels(rows)?;
        Ok(rows)
    }

    fn check_features(&self, logits: &Tensor, rows: usize) -> Result<(), Failure> {
        let Some(features) = self.find(Input::Features) else { return Ok(()) };
        if features.kind != logits.kind {
            return Err("features are not of the type of the logits".into());
        }
        let n = i64::try_from(rows).unwrap_or(i64::MAX);
        let (fits, want) = match (self.loss.features, features.dims.as_slice()) {
            (FeatureInput::Raw, dims) => (matches!(dims, [m, _] if *m == n), "[N, D]"),
            (FeatureInput::Norm, dims) => (dims == [n], "[N]"),
            (FeatureInput::NormColumn, dims) => (dims == [n, 1], "[N, 1]"),
        };
        if fits {
            return Ok(());
        }
        Err(format!("features have the shape {:?}, not {want} with N = {rows}", features.dims).into())
    }

    fn check_labels(&self, rows: usize) -> Result<(), Failure> {
        let tensor = self.tensor(Input::Labels)?;
        if tensor.dims == [i64::try_from(rows).unwrap_or(i64::MAX)] {
            return Ok(());
        }
        Err(format!("labels have the shape {:?}, not [{rows}]", tensor.dims).into())
    }

    /// Inputs that stand for a number each row, each class, or the batch, with how many numbers they have.
    pub fn scalar_inputs(&self, rows: usize) -> Vec<(Input, usize)> {
        let classes = self.loss.classes;
        let tables = [
            (Input::LossGrad, rows),
            (Input::ClassWeights, classes),
            (Input::LogitBias, classes),
            (Input::LabelMargin, classes),
        ];
        let parameters = (0..self.loss.parameters()).map(|index| (Input::Parameter(index), 1));
        let all = tables.into_iter().chain(parameters);
        all.filter(|(input, _)| self.loss.position(*input).is_some()).collect()
    }
}

/// Whether `tensor` has `size` numbers.
pub(super) fn check_size(tensor: &Tensor, input: Input, size: usize) -> Result<(), Failure> {
    if tensor.len() == size {
        return Ok(());
    }
    Err(format!("the input {input:?} has the shape {:?}, not {size} values", tensor.dims).into())
}

/// Whether `tensor` is one bool.
pub(super) fn check_switch(tensor: &Tensor) -> Result<(), Failure> {
    if tensor.kind == Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL && tensor.len() == 1 {
        return Ok(());
    }
    Err("the input enabled is not one bool".into())
}
