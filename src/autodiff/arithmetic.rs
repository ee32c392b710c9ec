//! Rules of functions of two values, with broadcasting; of choices, casts and dropout. `⇢ a` is the sum of a gradient
//! over the axes along which `a` was broadcast.

use super::is_float;
use super::vjp::{Gradients, Vjp};
use crate::graph::{BinaryOp, CompareOp, UnaryOp, ValueId};

pub(super) fn binary(v: &mut Vjp<'_>, op: BinaryOp) -> Gradients {
    let (a, b, g) = (v.x(0), v.x(1), v.g()?);
    let (da, db) = match op {
        // da = g ⇢ a, db = g ⇢ b
        BinaryOp::Add => (Some(g), Some(g)),
        // da = g ⇢ a, db = -g ⇢ b
        BinaryOp::Sub => (Some(g), v.needed[1].then(|| v.neg(g))),
        // da = g · b ⇢ a, db = g · a ⇢ b
        BinaryOp::Mul => (v.needed[0].then(|| v.mul(g, b)), v.needed[1].then(|| v.mul(g, a))),
        // da = g / b ⇢ a, db = -(g / b) · y ⇢ b
        BinaryOp::Div => {
            let share = v.div(g, b);
            let db = v.needed[1].then(|| {
                let y = v.y();
                let product = v.mul(share, y);
                v.neg(product)
            });
            (Some(share), db)
        }
        BinaryOp::Pow => return power(v, a, b, g),
        BinaryOp::Min => extreme(v, CompareOp::Less, a, b, g),
        BinaryOp::Max => extreme(v, CompareOp::Greater, a, b, g),
    };
    Ok(summed(v, [(a, da), (b, db)]))
}

/// Gradients summed to their values, where they are needed.
fn summed(v: &mut Vjp<'_>, of: [(ValueId, Option<ValueId>); 2]) -> Vec<Option<ValueId>> {
    let mut found = Vec::new();
    for (k, (value, gradient)) in of.into_iter().enumerate() {
        found.push(gradient.filter(|_| v.needed[k]).map(|gradient| v.sum_to(gradient, value)));
    }
    found
}

// da = g · b · a^(b-1) ⇢ a, and 0 where b is 0; db = g · y · ln a ⇢ b, and 0 where a is 0
fn power(v: &mut Vjp<'_>, a: ValueId, b: ValueId, g: ValueId) -> Gradients {
    let mut da = None;
    if v.needed[0] {
        da = match v.constant(b) {
            Some(0.0) => None,
            Some(2.0) => {
                let twice = v.scaled(a, 2.0);
                Some(v.mul(g, twice))
            }
            exponent => {
                let one = v.scalar(b, 1.0);
                let lower = match exponent {
                    Some(value) => v.scalar(b, value - 1.0),
                    None => v.sub(b, one),
                };
                let power = v.b.binary(BinaryOp::Pow, a, lower);
                let exponent_in_type = {
                    let dtype = v.dtype(a);
                    v.b.cast(b, dtype)
                };
                let mut slope = v.mul(power, exponent_in_type);
                if exponent.is_none() {
                    let zero = v.scalar(b, 0.0);
                    let flat = v.compare(CompareOp::Equal, b, zero);
                    let nothing = v.scalar(slope, 0.0);
                    slope = v.b.choose(flat, nothing, slope);
                }
                Some(v.mul(g, slope))
            }
        };
    }
    let mut db = None;
    if v.needed[1] {
        let y = v.y();
        let log = v.unary(UnaryOp::Log, a);
        let slope = v.mul(y, log);
        let zero = v.scalar(a, 0.0);
        let flat = v.compare(CompareOp::Equal, a, zero);
        let slope = v.b.choose(flat, zero, slope);
        db = Some(v.mul(g, slope));
    }
    Ok(summed(v, [(a, da), (b, db)]))
}

// da = g where a is the extreme one, g/2 where both are ⇢ a; db the rest ⇢ b
fn extreme(
    v: &mut Vjp<'_>,
    wins: CompareOp,
    a: ValueId,
    b: ValueId,
    g: ValueId,
) -> (Option<ValueId>, Option<ValueId>) {
    let half = v.scaled(g, 0.5);
    let tie = v.compare(CompareOp::Equal, a, b);
    let mut side = |first, second| {
        let ahead = v.compare(wins, first, second);
        let alone = v.only_where(ahead, g);
        v.b.choose(tie, half, alone)
    };
    (Some(side(a, b)), Some(side(b, a)))
}

// (condition, a, b): da = g where the condition holds, else 0 ⇢ a; db the other way round ⇢ b
pub(super) fn choose(v: &mut Vjp<'_>) -> Gradients {
    let (condition, a, b, g) = (v.x(0), v.x(1), v.x(2), v.g()?);
    let zero = v.scalar(g, 0.0);
    let da = v.needed[1].then(|| v.b.choose(condition, g, zero));
    let db = v.needed[2].then(|| v.b.choose(condition, zero, g));
    let da = da.map(|gradient| v.sum_to(gradient, a));
    let db = db.map(|gradient| v.sum_to(gradient, b));
    Ok(vec![None, da, db])
}

// dx = g in the type of x
pub(super) fn cast(v: &mut Vjp<'_>) -> Gradients {
    let (x, g) = (v.x(0), v.g()?);
    let dtype = v.dtype(x);
    Ok(vec![is_float(dtype).then(|| v.b.cast(g, dtype))])
}

// (x, ratio, training): dx = g · mask / (1 - ratio) in training, g otherwise
pub(super) fn dropout(v: &mut Vjp<'_>) -> Gradients {
    let (x, ratio, g) = (v.x(0), v.x(1), v.g()?);
    if v.constant(v.x(2)) == Some(0.0) || v.constant(ratio) == Some(0.0) {
        return Ok(vec![Some(g), None, None]);
    }
    if v.constant(v.x(2)) != Some(1.0) {
        return Err("whether it is in training mode is not known before the graph runs".into());
    }
    let [_, mask] = v.node.outputs[..] else {
        return Err("its mask is not an output; export the model with the mask, or with the ratio 0".into());
    };
    let dtype = v.dtype(x);
    let one = v.scalar(ratio, 1.0);
    let kept = v.sub(one, ratio);
    let kept = v.b.cast(kept, dtype);
    let grown = v.div(g, kept);
    Ok(vec![Some(v.only_where(mask, grown)), None, None])
}
