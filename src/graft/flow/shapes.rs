//! What is known of a value's type: what the model declares, completed through the operators near the end of
//! classifiers. Everything here may be unknown, and nothing here is a guess.

use super::{Flow, integer, op};
use crate::onnx::messages::{NodeProto, TensorTypeProto};

/// Nodes that a type is followed through.
const REACH: usize = 64;

/// An extent of a shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extent {
    /// The model does not say.
    Unknown,
    /// A number.
    Fixed(usize),
    /// A name.
    Symbol(String),
}

/// What is known of a type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Its number in `TensorProto.DataType`.
    pub element: Option<i32>,
    /// Its shape; `None` where not even the rank is known.
    pub shape: Option<Vec<Extent>>,
}

impl Known {
    /// The extent of an axis, where it is known.
    pub fn extent(&self, axis: usize) -> Option<&Extent> {
        self.shape.as_ref()?.get(axis).filter(|extent| **extent != Extent::Unknown)
    }

    /// The number of axes, where it is known.
    pub fn rank(&self) -> Option<usize> {
        self.shape.as_ref().map(Vec::len)
    }

    /// This, with what only `other` knows. Where both know something, this stands.
    pub fn completed(mut self, other: Known) -> Known {
        self.element = self.element.or(other.element);
        self.shape = match (self.shape, other.shape) {
            (Some(mine), Some(others)) if mine.len() == others.len() => {
                let pick = |(a, b): (Extent, Extent)| if a == Extent::Unknown { b } else { a };
                Some(mine.into_iter().zip(others).map(pick).collect())
            }
            (mine, others) => mine.or(others),
        };
        self
    }

    fn is_complete(&self) -> bool {
        self.element.is_some() && self.shape.as_ref().is_some_and(|s| !s.contains(&Extent::Unknown))
    }
}

impl Flow<'_> {
    /// What is known of a value's type.
    pub fn known(&self, value: &str) -> Known {
        let known = self.backward(value, REACH);
        if known.is_complete() { known } else { known.completed(self.forward(value)) }
    }

    /// From the declaration, or else from what the value is made of.
    fn backward(&self, value: &str, reach: usize) -> Known {
        if let Some(known) = self.found.borrow().get(value) {
            return known.clone();
        }
        let mut known = self.declared(value);
        if let (false, Some(node), Some(reach)) =
            (known.is_complete(), self.maker(value), reach.checked_sub(1))
        {
            known = known.completed(self.made(node, reach));
        }
        self.found.borrow_mut().insert(value.to_owned(), known.clone());
        known
    }

    /// From a declared value that has the same shape.
    fn forward(&self, value: &str) -> Known {
        let (mut value, mut known, mut element) = (value, Known::default(), true);
        for _ in 0..REACH {
            let readers = self.readers.get(value).into_iter().flatten();
            let Some(node) = readers.into_iter().find(|node| is_same_shape(op(node))) else {
                break;
            };
            let (Some(input), Some(output)) = (node.input.first(), node.output.first()) else {
                break;
            };
            if input != value {
                break;
            }
            element &= op(node) != "Cast" && op(node) != "QuantizeLinear";
            let mut declared = self.declared(output);
            declared.element = declared.element.filter(|_| element);
            known = known.completed(declared);
            value = output;
        }
        known
    }

    fn declared(&self, value: &str) -> Known {
        if let Some(tensor) = self.stored.get(value) {
            let shape =
                tensor.dims.iter().map(|n| usize::try_from(*n).map_or(Extent::Unknown, Extent::Fixed));
            return Known { element: tensor.data_type, shape: Some(shape.collect()) };
        }
        self.types.get(value).map(|ty| from_declaration(ty)).unwrap_or_default()
    }

    /// The type of a node's first output.
    fn made(&self, node: &NodeProto, reach: usize) -> Known {
        let input = |index: usize| {
            let name = node.input.get(index).filter(|name| !name.is_empty());
            name.map(|name| self.backward(name, reach)).unwrap_or_default()
        };
        match op(node) {
            "Cast" => {
                let element = integer(node, "to").and_then(|code| i32::try_from(code).ok());
                Known { element, ..input(0) }
            }
            "DequantizeLinear" => Known { element: input(1).element, ..input(0) },
            "QuantizeLinear" => Known { element: None, ..input(0) },
            "Gemm" => gemm(node, input(0), &input(1)),
            "MatMul" => matmul(input(0), &input(1)),
            "Add" | "Sub" | "Mul" | "Div" => broadcast(input(0), input(1)),
            "Transpose" => transposed(node, input(0)),
            "Flatten" => Known { shape: Some(flattened(node, input(0).shape)), element: input(0).element },
            "Constant" => constant(node),
            name if is_same_shape(name) => input(0),
            _ => Known::default(),
        }
    }
}

/// Operators whose first output has the shape, and but for casts the element type, of their first input.
fn is_same_shape(op: &str) -> bool {
    matches!(
        op,
        "Relu"
            | "LeakyRelu"
            | "PRelu"
            | "Elu"
            | "Selu"
            | "Celu"
            | "Gelu"
            | "Sigmoid"
            | "HardSigmoid"
            | "HardSwish"
            | "Mish"
            | "Swish"
            | "Tanh"
            | "Erf"
            | "Abs"
            | "Clip"
            | "Softplus"
            | "Softmax"
            | "LogSoftmax"
            | "Identity"
            | "Dropout"
            | "BatchNormalization"
            | "LayerNormalization"
            | "LpNormalization"
            | "Cast"
            | "QuantizeLinear"
            | "DequantizeLinear"
    )
}

fn from_declaration(ty: &TensorTypeProto) -> Known {
    let extent = |dim: &crate::onnx::messages::DimensionProto| match (dim.dim_value, &dim.dim_param) {
        (Some(n), _) => usize::try_from(n).map_or(Extent::Unknown, Extent::Fixed),
        (None, Some(name)) if !name.is_empty() => Extent::Symbol(name.clone()),
        (None, _) => Extent::Unknown,
    };
    let shape = ty.shape.as_ref().map(|shape| shape.dim.iter().map(extent).collect());
    Known { element: ty.elem_type.filter(|code| *code != 0), shape }
}

fn axis(known: &Known, axis: usize) -> Extent {
    known.extent(axis).cloned().unwrap_or(Extent::Unknown)
}

fn gemm(node: &NodeProto, a: Known, b: &Known) -> Known {
    let side = |name: &str, plain: usize| {
        if integer(node, name).unwrap_or(0) == 0 { plain } else { 1 - plain }
    };
    let shape = vec![axis(&a, side("transA", 0)), axis(b, side("transB", 1))];
    Known { element: a.element.or(b.element), shape: Some(shape) }
}

/// Only for a matrix on the right: then the left side keeps its axes but the last.
fn matmul(a: Known, b: &Known) -> Known {
    let element = a.element.or(b.element);
    if b.rank() != Some(2) {
        return Known { element, shape: None };
    }
    let shape = a.shape.filter(|shape| !shape.is_empty()).map(|mut shape| {
        shape.pop();
        shape.push(axis(b, 1));
        shape
    });
    Known { element, shape }
}

fn broadcast(a: Known, b: Known) -> Known {
    let element = a.element.or(b.element);
    let shape = match (a.shape, b.shape) {
        (Some(mut a), Some(mut b)) => {
            let rank = a.len().max(b.len());
            for shape in [&mut a, &mut b] {
                let missing = rank - shape.len();
                shape.splice(0..0, vec![Extent::Fixed(1); missing]);
            }
            Some(a.into_iter().zip(b).map(stretched).collect())
        }
        _ => None,
    };
    Known { element, shape }
}

fn stretched(extents: (Extent, Extent)) -> Extent {
    match extents {
        (Extent::Fixed(1), other) | (other, Extent::Fixed(1)) => other,
        (Extent::Fixed(n), _) | (_, Extent::Fixed(n)) => Extent::Fixed(n),
        (a, b) if a == b => a,
        _ => Extent::Unknown,
    }
}

fn transposed(node: &NodeProto, input: Known) -> Known {
    let permutation = node.attribute.iter().find(|a| a.name.as_deref() == Some("perm")).map(|a| &a.ints);
    let shape = input.shape.map(|shape| match permutation {
        Some(order) => order
            .iter()
            .map(|k| usize::try_from(*k).ok().and_then(|k| shape.get(k).cloned()).unwrap_or(Extent::Unknown))
            .collect(),
        None => shape.into_iter().rev().collect(),
    });
    Known { shape, ..input }
}

fn flattened(node: &NodeProto, input: Option<Vec<Extent>>) -> Vec<Extent> {
    let input = input.unwrap_or_default();
    if integer(node, "axis").unwrap_or(1) != 1 || input.is_empty() {
        return vec![Extent::Unknown; 2];
    }
    let product = input[1..].iter().try_fold(1usize, |product, extent| match extent {
        Extent::Fixed(n) => product.checked_mul(*n),
        _ => None,
    });
    vec![input[0].clone(), product.map_or(Extent::Unknown, Extent::Fixed)]
}

fn constant(node: &NodeProto) -> Known {
    let tensor = node.attribute.iter().find_map(|a| a.t.as_deref());
    tensor.map_or_else(Known::default, |tensor| {
        let shape = tensor.dims.iter().map(|n| usize::try_from(*n).map_or(Extent::Unknown, Extent::Fixed));
        Known { element: tensor.data_type, shape: Some(shape.collect()) }
    })
}
