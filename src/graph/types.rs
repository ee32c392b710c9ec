//! Element types and shapes of values.

use std::fmt;
use std::sync::Arc;

use crate::tensor::DType;

/// An extent of a shape.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Dim {
    /// Known.
    Fixed(usize),
    /// Known when the graph runs; equal names are equal extents.
    Symbol(Arc<str>),
}

/// Element type and shape of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorType {
    /// Element type.
    pub dtype: DType,
    /// One extent an axis; empty for a scalar.
    pub shape: Vec<Dim>,
}

impl Dim {
    /// An extent known when the graph runs.
    pub fn symbol(name: &str) -> Self {
        Dim::Symbol(name.into())
    }
}

impl TensorType {
    /// A type.
    pub fn new(dtype: DType, shape: &[Dim]) -> Self {
        Self { dtype, shape: shape.to_vec() }
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Fixed(n) => write!(f, "{n}"),
            Dim::Symbol(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.dtype)?;
        for (k, dim) in self.shape.iter().enumerate() {
            let comma = if k > 0 { ", " } else { "" };
            write!(f, "{comma}{dim}")?;
        }
        f.write_str("]")
    }
}
