//! Elements of int64 values that are known before the graph runs: shapes, and what files compute of them.

use crate::graph::Value;
use crate::graph::op::{BinaryOp, CompareOp, Op, SliceAxis, UnaryOp};
use crate::graph::types::{Dim, Element};
use crate::tensor::DType;

/// Longest value whose elements are followed: more axes than any tensor has.
const FOLLOWED: usize = 64;

/// Elements of the first output; `None` where it is no int64 value, or nothing is known of it.
pub(super) fn of(op: &Op, inputs: &[&Value]) -> Option<Vec<Element>> {
    match op {
        Op::Shape(start, end) => Some(inputs[0].ty.shape[*start..*end].iter().map(Element::from).collect()),
        Op::Unary(UnaryOp::Identity) | Op::Unsqueeze(_) | Op::Squeeze(_) | Op::Reshape | Op::Flatten(_) => {
            inputs[0].elements.clone()
        }
        Op::Cast(DType::I64) => inputs[0].elements.clone(),
        Op::Gather(0) => gather(inputs[0].elements.as_ref()?, inputs[1].elements.as_ref()?),
        Op::Concat(_) => {
            let parts: Option<Vec<_>> = inputs.iter().map(|v| v.elements.clone()).collect();
            Some(parts?.concat()).filter(|all| all.len() <= FOLLOWED)
        }
        Op::Slice(parts) => slice(inputs[0].elements.as_ref()?, parts),
        Op::Binary(op) => binary(*op, inputs[0].elements.as_ref()?, inputs[1].elements.as_ref()?),
        Op::Compare(CompareOp::Equal) => {
            pairs(inputs[0].elements.as_ref()?, inputs[1].elements.as_ref()?, equal)
        }
        Op::Where => {
            let chosen = pairs(inputs[0].elements.as_ref()?, inputs[1].elements.as_ref()?, |c, a| match c {
                Element::Int(0) => None,
                Element::Int(_) => Some(a.clone()),
                _ => Some(Element::Unknown),
            });
            chosen_or(&chosen?, inputs[2].elements.as_ref()?)
        }
        Op::Range => range(inputs),
        Op::ConstantOfShape(value) if value.dtype == DType::I64 => {
            let [Element::Int(n)] = inputs[0].elements.as_deref()? else { return None };
            let n = usize::try_from(*n).ok().filter(|n| *n <= FOLLOWED)?;
            Some(vec![Element::Int(value.value() as i64); n])
        }
        _ => None,
    }
}

/// start, start + delta, … before the limit.
fn range(inputs: &[&Value]) -> Option<Vec<Element>> {
    let one = |value: &Value| match value.elements.as_deref() {
        Some([Element::Int(n)]) => Some(*n),
        _ => None,
    };
    let (start, limit, delta) = (one(inputs[0])?, one(inputs[1])?, one(inputs[2])?);
    let mut found = Vec::new();
    let mut next = start;
    while if delta < 0 { next > limit } else { next < limit } {
        if delta == 0 || found.len() == FOLLOWED {
            return None;
        }
        found.push(Element::Int(next));
        next = next.checked_add(delta)?;
    }
    Some(found)
}

fn gather(data: &[Element], indices: &[Element]) -> Option<Vec<Element>> {
    let pick = |index: &Element| match index {
        Element::Int(i) => {
            let i = if *i < 0 { i.checked_add(data.len() as i64)? } else { *i };
            data.get(usize::try_from(i).ok()?).cloned()
        }
        Element::Extent(_) | Element::Unknown => Some(Element::Unknown),
    };
    indices.iter().map(pick).collect()
}

fn slice(data: &[Element], parts: &[SliceAxis]) -> Option<Vec<Element>> {
    let [part] = parts else { return None };
    let picked = part.positions(data.len())?;
    Some(picked.into_iter().map(|i| data[i].clone()).collect())
}

fn binary(op: BinaryOp, a: &[Element], b: &[Element]) -> Option<Vec<Element>> {
    pairs(a, b, |a, b| combine(op, a, b))
}

/// Element by element, where one of the two may be a single element.
fn pairs<A, B, T>(a: &[A], b: &[B], of: impl Fn(&A, &B) -> T) -> Option<Vec<T>> {
    let count = a.len().max(b.len());
    if [a.len(), b.len()].iter().any(|n| *n != count && *n != 1) {
        return None;
    }
    Some((0..count).map(|k| of(&a[k.min(a.len() - 1)], &b[k.min(b.len() - 1)])).collect())
}

/// 1 or 0. No extent is negative, and extents of one name are the same.
fn equal(a: &Element, b: &Element) -> Element {
    match (a, b) {
        (Element::Int(a), Element::Int(b)) => Element::Int(i64::from(a == b)),
        (Element::Extent(a), Element::Extent(b)) if a == b => Element::Int(1),
        (Element::Extent(_), Element::Int(n)) | (Element::Int(n), Element::Extent(_)) if *n < 0 => {
            Element::Int(0)
        }
        _ => Element::Unknown,
    }
}

/// What is not chosen is of the other value.
fn chosen_or(chosen: &[Option<Element>], other: &[Element]) -> Option<Vec<Element>> {
    pairs(chosen, other, |chosen, other| chosen.clone().unwrap_or_else(|| other.clone()))
}

fn combine(op: BinaryOp, a: &Element, b: &Element) -> Element {
    let known = match (a, b) {
        (Element::Int(a), Element::Int(b)) => match op {
            BinaryOp::Add => a.checked_add(*b),
            BinaryOp::Sub => a.checked_sub(*b),
            BinaryOp::Mul => a.checked_mul(*b),
            BinaryOp::Div => a.checked_div(*b),
            BinaryOp::Min => Some(*a.min(b)),
            BinaryOp::Max => Some(*a.max(b)),
            BinaryOp::Pow => None,
        },
        _ => None,
    };
    match (known, op, a, b) {
        (Some(n), ..) => Element::Int(n),
        (None, BinaryOp::Mul, other, Element::Int(1)) | (None, BinaryOp::Mul, Element::Int(1), other) => {
            other.clone()
        }
        (None, BinaryOp::Add, other, Element::Int(0)) | (None, BinaryOp::Add, Element::Int(0), other) => {
            other.clone()
        }
        (None, BinaryOp::Div, other, Element::Int(1)) => other.clone(),
        _ => Element::Unknown,
    }
}

impl SliceAxis {
    /// Positions that it takes of an axis of this extent; `None` for a step of 0.
    pub fn positions(&self, extent: usize) -> Option<Vec<usize>> {
        let (first, count) = self.bounds(extent)?;
        let at = |k: usize| first + k as i64 * self.step;
        Some((0..count).map(|k| usize::try_from(at(k)).expect("a position within the axis")).collect())
    }

    /// The first position and the number of positions in an axis of this extent.
    pub fn bounds(&self, extent: usize) -> Option<(i64, usize)> {
        let n = i64::try_from(extent).ok()?;
        let from_front = |i: i64| if i < 0 { i.saturating_add(n) } else { i };
        let (start, end) = (from_front(self.start), from_front(self.end));
        let (first, distance) = match self.step {
            0 => return None,
            1.. => {
                let (first, end) = (start.clamp(0, n), end.clamp(0, n));
                (first, end - first)
            }
            _ => {
                let (first, end) = (start.clamp(-1, n - 1), end.clamp(-1, n - 1));
                (first, first - end)
            }
        };
        let step = self.step.unsigned_abs();
        let count = u64::try_from(distance.max(0)).expect("a distance is not negative").div_ceil(step);
        Some((first, usize::try_from(count).ok()?))
    }
}

/// The extent that a slice leaves of an axis.
pub(super) fn sliced_extent(part: &SliceAxis, dim: &Dim) -> Dim {
    match dim {
        Dim::Fixed(n) => part.bounds(*n).map_or(Dim::Unknown, |(_, count)| Dim::Fixed(count)),
        _ if part.start == 0 && part.step == 1 && part.end == i64::MAX => dim.clone(),
        _ => Dim::Unknown,
    }
}
