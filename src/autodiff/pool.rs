//! Rules of pooling over windows.

use super::vjp::{Gradients, Vjp};
use crate::graph::{Conv, Op, Pool, ScalarValue, ValueId, Window};

// dx = g at the index of the largest element, added up where windows overlap
pub(super) fn max_pool(v: &mut Vjp<'_>, pool: &Pool) -> Gradients {
    let (x, g) = (v.x(0), v.g()?);
    // The file may have left the indices off; then the pool runs once more with them.
    let [_, indices] = v.b.nodes(v.node.op.clone(), &[x], 2)[..] else {
        return Err("it has no indices".into());
    };
    let zeros = v.zeros_like(x);
    let [zeros, indices, g] = [zeros, indices, g].map(|value| v.reshape(value, &[-1]));
    let add = overlaps(&pool.window);
    let dx = v.b.node(Op::ScatterElements { axis: 0, add }, &[zeros, indices, g]);
    Ok(vec![Some(v.reshape_like(dx, x))])
}

fn overlaps(window: &Window) -> bool {
    (0..window.axes()).any(|k| window.span(k) > window.strides[k])
}

// dx = Σ over the windows that an element is in of g / elements of the window
pub(super) fn average_pool(v: &mut Vjp<'_>, pool: &Pool) -> Gradients {
    let (x, g) = (v.x(0), v.g()?);
    let extents: Option<Vec<usize>> = v.ty(x).shape[2..].iter().map(|d| d.fixed()).collect();
    let extents = extents.ok_or("it slides over axes whose extents are not known before the graph runs")?;
    let window = &pool.window;
    let share = shared(v, pool, &extents, x, g);
    let tiles = |k: usize| {
        let exact = window.kernel[k] == window.strides[k] && window.padding(k) == 0;
        exact && window.dilations[k] == 1 && extents[k].is_multiple_of(window.kernel[k])
    };
    if (0..window.axes()).all(tiles) {
        return Ok(vec![Some(tiled(v, window, x, share))]);
    }
    Ok(vec![Some(spread(v, window, &extents, x, share))])
}

/// g / elements of the window, which are fewer at the border where padding does not count.
fn shared(v: &mut Vjp<'_>, pool: &Pool, extents: &[usize], x: ValueId, g: ValueId) -> ValueId {
    let whole: usize = pool.window.kernel.iter().product();
    let full = (pool.count_include_pad || pool.window.pads.iter().all(|p| *p == 0)) && !pool.ceil;
    if full {
        return v.scaled(g, 1.0 / whole as f64);
    }
    // The average of ones and padded zeros over the whole window is the share of elements that count.
    let dtype = v.dtype(x);
    let shape: Vec<i64> = [1, 1].into_iter().chain(extents.iter().map(|n| *n as i64)).collect();
    let shape = v.b.integers(&shape);
    let ones = v.b.node(Op::ConstantOfShape(ScalarValue::new(dtype, 1.0)), &[shape]);
    let kernel: Vec<i64> = [1, 1].into_iter().chain(pool.window.kernel.iter().map(|n| *n as i64)).collect();
    let kernel = v.b.integers(&kernel);
    let kernel = v.b.node(Op::ConstantOfShape(ScalarValue::new(dtype, 1.0)), &[kernel]);
    let conv = Conv { group: 1, window: pool.window.clone() };
    let counts = v.b.node(Op::Conv(conv), &[ones, kernel]);
    v.div(g, counts)
}

/// Every share repeated over its window, where windows tile the axes: along one axis after the other, from the last, as
/// copies side by side, which takes a fraction of the time of `Expand` on ONNX Runtime's CPU provider.
fn tiled(v: &mut Vjp<'_>, window: &Window, x: ValueId, share: ValueId) -> ValueId {
    let mut repeated = share;
    let mut inner = 1;
    for k in (0..window.axes()).rev() {
        let single = v.reshape(repeated, &[-1, 1, inner]);
        repeated = match window.kernel[k] {
            1 => single,
            times => v.b.node(Op::Concat(1), &vec![single; times]),
        };
        inner *= v.ty(x).shape[k + 2].fixed().map_or(1, |n| n as i64);
    }
    v.reshape_like(repeated, x)
}

/// The transposed convolution with ones, every channel as an image of its own.
fn spread(v: &mut Vjp<'_>, window: &Window, extents: &[usize], x: ValueId, share: ValueId) -> ValueId {
    let dtype = v.dtype(x);
    let kernel: Vec<i64> = [1, 1].into_iter().chain(window.kernel.iter().map(|n| *n as i64)).collect();
    let kernel = v.b.integers(&kernel);
    let ones = v.b.node(Op::ConstantOfShape(ScalarValue::new(dtype, 1.0)), &[kernel]);
    let images: Vec<i64> = [-1, 1].into_iter().chain(spatial(v, share)).collect();
    let images = v.reshape(share, &images);
    let conv = Conv { group: 1, window: window.clone() };
    let left = super::conv::left_over(window, extents);
    let dx = v.b.node(Op::ConvTranspose(conv, left), &[images, ones]);
    v.reshape_like(dx, x)
}

fn spatial(v: &Vjp<'_>, value: ValueId) -> Vec<i64> {
    v.ty(value).shape[2..].iter().map(|d| d.fixed().map_or(-1, |n| n as i64)).collect()
}
