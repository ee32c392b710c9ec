//! Rules of matrix products. ᵀ swaps the last two axes.

use super::vjp::{Gradients, Vjp};
use crate::graph::{F32, Gemm, Op, ValueId};

// dA = g · Bᵀ ⇢ A, dB = Aᵀ · g ⇢ B
pub(super) fn mat_mul(v: &mut Vjp<'_>) -> Gradients {
    let (a, b, g) = (v.x(0), v.x(1), v.g()?);
    if v.rank(a) < 2 || v.rank(b) < 2 {
        return vector(v, a, b, g);
    }
    let da = v.needed[0].then(|| {
        let transposed = v.swap_last(b);
        let product = v.b.node(Op::MatMul, &[g, transposed]);
        v.sum_to(product, a)
    });
    let db = v.needed[1].then(|| match v.rank(b) {
        2 => of_matrix(v, a, b, g),
        _ => {
            let transposed = v.swap_last(a);
            let product = v.b.node(Op::MatMul, &[transposed, g]);
            v.sum_to(product, b)
        }
    });
    Ok(vec![da, db])
}

/// Aᵀ · g for a matrix B: all rows of A and g as one matrix each, so that nothing is summed afterwards.
fn of_matrix(v: &mut Vjp<'_>, a: ValueId, b: ValueId, g: ValueId) -> ValueId {
    let extents: Vec<Option<usize>> = v.ty(b).shape.iter().map(|d| d.fixed()).collect();
    let (a, g) = match (extents[0], extents[1], v.rank(a)) {
        (_, _, 2) => (a, g),
        (Some(k), Some(n), _) => (v.reshape(a, &[-1, k as i64]), v.reshape(g, &[-1, n as i64])),
        _ => {
            let transposed = v.swap_last(a);
            let product = v.b.node(Op::MatMul, &[transposed, g]);
            return v.sum_to(product, b);
        }
    };
    let gemm = Gemm { alpha: F32::new(1.0), beta: F32::new(1.0), trans_a: true, trans_b: false };
    v.b.node(Op::Gemm(gemm), &[a, g])
}

/// A vector is a row on the left and a column on the right, without that axis in the product.
fn vector(v: &mut Vjp<'_>, a: ValueId, b: ValueId, g: ValueId) -> Gradients {
    let (mut rows, mut columns, mut g) = (a, b, g);
    if v.rank(b) == 1 {
        columns = v.b.node(Op::Unsqueeze(vec![1]), &[b]);
        let last = v.rank(g);
        g = v.b.node(Op::Unsqueeze(vec![last]), &[g]);
    }
    if v.rank(a) == 1 {
        rows = v.b.node(Op::Unsqueeze(vec![0]), &[a]);
        let place = v.rank(g) - 1;
        g = v.b.node(Op::Unsqueeze(vec![place]), &[g]);
    }
    let da = v.needed[0].then(|| {
        let transposed = v.swap_last(columns);
        let product = v.b.node(Op::MatMul, &[g, transposed]);
        let product = v.sum_to(product, rows);
        v.reshape_like(product, a)
    });
    let db = v.needed[1].then(|| {
        let transposed = v.swap_last(rows);
        let product = v.b.node(Op::MatMul, &[transposed, g]);
        let product = v.sum_to(product, columns);
        v.reshape_like(product, b)
    });
    Ok(vec![da, db])
}

// y = α A' · B' + β C:  dA' = α g · B'ᵀ, dB' = α A'ᵀ · g, dC = β g ⇢ C
pub(super) fn gemm(v: &mut Vjp<'_>, gemm: Gemm) -> Gradients {
    let (a, b, g) = (v.x(0), v.x(1), v.g()?);
    let product = |v: &mut Vjp<'_>, x: (ValueId, bool), y: (ValueId, bool)| {
        let op = Gemm { alpha: gemm.alpha, beta: F32::new(1.0), trans_a: x.1, trans_b: y.1 };
        v.b.node(Op::Gemm(op), &[x.0, y.0])
    };
    let da = v.needed[0].then(|| match gemm.trans_a {
        false => product(v, (g, false), (b, !gemm.trans_b)),
        true => product(v, (b, gemm.trans_b), (g, true)),
    });
    let db = v.needed[1].then(|| match gemm.trans_b {
        false => product(v, (a, !gemm.trans_a), (g, false)),
        true => product(v, (g, true), (a, gemm.trans_a)),
    });
    let mut found = vec![da, db];
    if let Some(c) = v.node.inputs.get(2) {
        found.push(v.needed[2].then(|| {
            let scaled = v.scaled(g, gemm.beta.wide());
            v.sum_to(scaled, *c)
        }));
    }
    Ok(found)
}
