//! What a node of a file says: attributes with their defaults, inputs, and inputs that must be known.

use super::super::messages::{AttributeProto, NodeProto, TensorProto};
use crate::graph::{Builder, Element, F32, Op, ValueId};
use crate::tensor::{Tensor, TensorData};

/// A node with its inputs found.
pub(super) struct Arguments<'a> {
    pub node: &'a NodeProto,
    /// `None` for an optional input that is left out.
    pub inputs: Vec<Option<ValueId>>,
    pub opset: i64,
}

impl Arguments<'_> {
    pub fn operator(&self) -> &str {
        self.node.op_type.as_deref().unwrap_or("")
    }

    /// Number of outputs, counted up to the last that is not left out.
    pub fn outputs(&self) -> usize {
        self.node.output.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1)
    }

    /// An input that the operator needs.
    pub fn need(&self, k: usize) -> Result<ValueId, String> {
        self.get(k).ok_or_else(|| format!("its input {k} is missing"))
    }

    pub fn get(&self, k: usize) -> Option<ValueId> {
        self.inputs.get(k).copied().flatten()
    }

    fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.node.attribute.iter().find(|a| a.name.as_deref() == Some(name))
    }

    pub fn has(&self, name: &str) -> bool {
        self.attribute(name).is_some()
    }

    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).and_then(|a| a.i).unwrap_or(default)
    }

    pub fn float(&self, name: &str, default: f32) -> F32 {
        F32::new(self.attribute(name).and_then(|a| a.f).unwrap_or(default))
    }

    pub fn ints(&self, name: &str) -> Option<Vec<i64>> {
        self.attribute(name).map(|a| a.ints.clone())
    }

    pub fn text(&self, name: &str) -> Option<String> {
        self.attribute(name)?.s.as_ref().map(|s| String::from_utf8_lossy(s).into_owned())
    }

    pub fn tensor(&self, name: &str) -> Option<&TensorProto> {
        self.attribute(name)?.t.as_deref()
    }

    /// An attribute in old operator sets, an input in new ones, whose integers are known; `None` where it is left out.
    pub fn integers(&self, b: &Builder, name: &str, k: usize) -> Result<Option<Vec<i64>>, String> {
        if let Some(values) = self.ints(name) {
            return Ok(Some(values));
        }
        let Some(id) = self.get(k) else { return Ok(None) };
        known_integers(b, id).map(Some).ok_or_else(|| format!("its {name} are computed when the graph runs"))
    }

    /// An axis counted from the front.
    pub fn axis(&self, default: i64, rank: usize) -> Result<usize, String> {
        from_front(self.int("axis", default), rank)
    }

    /// The one node that this becomes, with the inputs as they are.
    pub fn one(&self, b: &mut Builder, op: Op) -> Result<Vec<ValueId>, String> {
        let inputs: Option<Vec<ValueId>> = self.inputs.iter().copied().collect();
        let inputs = inputs.ok_or("an input in the middle is left out")?;
        make(b, op, &inputs, self.outputs().max(1))
    }
}

/// A node, or why there is none.
pub(super) fn make(
    b: &mut Builder,
    op: Op,
    inputs: &[ValueId],
    count: usize,
) -> Result<Vec<ValueId>, String> {
    b.try_nodes(op, inputs, count).map_err(|error| error.to_string())
}

/// Elements of an int64 value, where all are known.
pub(super) fn known_integers(b: &Builder, id: ValueId) -> Option<Vec<i64>> {
    let constant = b.constant_value(id).map(|t| t.to_f64_vec().iter().map(|v| *v as i64).collect());
    constant.or_else(|| {
        let elements = b.graph().value(id).elements.as_ref()?;
        let number = |e: &Element| match e {
            Element::Int(n) => Some(*n),
            Element::Extent(_) | Element::Unknown => None,
        };
        elements.iter().map(number).collect()
    })
}

pub(super) fn from_front(axis: i64, rank: usize) -> Result<usize, String> {
    let counted = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    let found = usize::try_from(counted).ok().filter(|axis| *axis < rank.max(1));
    found.ok_or_else(|| format!("axis {axis} of a value with {rank} axes"))
}

/// Axes counted from the front, ascending.
pub(super) fn all_from_front(axes: &[i64], rank: usize) -> Result<Vec<usize>, String> {
    let axes: Result<Vec<usize>, String> = axes.iter().map(|axis| from_front(*axis, rank)).collect();
    let mut axes = axes?;
    axes.sort_unstable();
    axes.dedup();
    Ok(axes)
}

/// The value of a `Constant` in its spellings without a tensor.
pub(super) fn constant(attribute: &AttributeProto) -> Option<Tensor> {
    let (shape, data) = match attribute.name.as_deref()? {
        "value_int" => (vec![], TensorData::I64(vec![attribute.i?])),
        "value_ints" => (vec![attribute.ints.len()], TensorData::I64(attribute.ints.clone())),
        "value_float" => (vec![], TensorData::F32(vec![attribute.f?])),
        "value_floats" => (vec![attribute.floats.len()], TensorData::F32(attribute.floats.clone())),
        _ => return None,
    };
    Tensor::new(shape, data).ok()
}
