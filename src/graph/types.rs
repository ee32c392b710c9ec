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
    /// Known when the graph runs; nothing is known of how it relates to others.
    Unknown,
}

/// Element type and shape of a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// Element type.
    pub dtype: DType,
    /// One extent an axis; empty for a scalar.
    pub shape: Vec<Dim>,
}

/// An element of an int64 value (or 0 and 1 of a bool) that is known before the graph runs, or of which something is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Element {
    /// A number.
    Int(i64),
    /// An extent.
    Extent(Arc<str>),
    /// Nothing is known.
    Unknown,
}

impl Dim {
    /// An extent known when the graph runs.
    pub fn symbol(name: &str) -> Self {
        Dim::Symbol(name.into())
    }

    /// The extent, where it is known.
    pub fn fixed(&self) -> Option<usize> {
        match self {
            Dim::Fixed(n) => Some(*n),
            Dim::Symbol(_) | Dim::Unknown => None,
        }
    }

    /// Whether two extents are certainly the same.
    pub fn same(&self, other: &Dim) -> bool {
        *self != Dim::Unknown && self == other
    }
}

impl From<&Dim> for Element {
    fn from(dim: &Dim) -> Self {
        match dim {
            Dim::Fixed(n) => i64::try_from(*n).map_or(Element::Unknown, Element::Int),
            Dim::Symbol(name) => Element::Extent(name.clone()),
            Dim::Unknown => Element::Unknown,
        }
    }
}

impl Element {
    /// As an extent of a shape.
    pub fn dim(&self) -> Dim {
        match self {
            Element::Int(n) => usize::try_from(*n).map_or(Dim::Unknown, Dim::Fixed),
            Element::Extent(name) => Dim::Symbol(name.clone()),
            Element::Unknown => Dim::Unknown,
        }
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

    /// Whether a value of this type could be held in memory: no product of its extents overflows.
    pub fn is_possible(&self) -> bool {
        let bytes = self.shape.iter().filter_map(Dim::fixed).try_fold(8usize, |a, n| a.checked_mul(n.max(1)));
        bytes.is_some_and(|bytes| isize::try_from(bytes).is_ok())
    }

    /// Every extent, where all are known.
    pub fn fixed_shape(&self) -> Option<Vec<usize>> {
        self.shape.iter().map(Dim::fixed).collect()
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dim::Fixed(n) => write!(f, "{n}"),
            Dim::Symbol(name) => f.write_str(name),
            Dim::Unknown => f.write_str("?"),
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
