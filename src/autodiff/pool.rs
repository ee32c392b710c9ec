//! Rules of pooling over windows.

use super::conv::extents;
use super::index::scattered;
use super::open;
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
    let dx = scattered(v, (0, add), [zeros, indices, g]);
    Ok(vec![Some(v.reshape_like(dx, x))])
}

fn overlaps(window: &Window) -> bool {
    (0..window.axes()).any(|k| window.span(k) > window.strides[k])
}

// dx = Σ over the windows that an element is in of g / elements of the window
pub(super) fn average_pool(v: &mut Vjp<'_>, pool: &Pool) -> Gradients {
    let (x, g) = (v.x(0), v.g()?);
    let share = shared(v, pool, x, g);
    let window = &pool.window;
    let tiles = |k: usize, extent: usize| {
        let exact = window.kernel[k] == window.strides[k] && window.padding(k) == 0;
        exact && window.dilations[k] == 1 && extent.is_multiple_of(window.kernel[k])
    };
    let extents = extents(v, x);
    if extents.is_some_and(|extents| extents.into_iter().enumerate().all(|(k, n)| tiles(k, n))) {
        return Ok(vec![Some(tiled(v, window, x, share))]);
    }
    Ok(vec![Some(spread(v, window, x, share))])
}

/// g / elements of the window, which are fewer at the border: padding counts or does not, and what is behind it never does.
fn shared(v: &mut Vjp<'_>, pool: &Pool, x: ValueId, g: ValueId) -> ValueId {
    let window = &pool.window;
    let whole: usize = window.kernel.iter().product();
    let full = (pool.count_include_pad || window.pads.iter().all(|p| *p == 0)) && !pool.ceil;
    if full {
        return v.scaled(g, 1.0 / whole as f64);
    }
    // The sum of ones over the window, with zeros where nothing counts. A window that hangs over the end needs a stride
    // of zeros there; should that make room for one more, it is cut off.
    let axes = window.axes();
    let counted = |k: usize| if pool.count_include_pad { window.padding(k) as i64 } else { 0 };
    let ones = open::ones(v, x, &(0..axes).map(counted).collect::<Vec<_>>());
    let mut around = if pool.count_include_pad { vec![0; 2 * axes] } else { window.pads.clone() };
    if pool.ceil {
        (0..axes).for_each(|k| around[axes + k] += window.strides[k] - 1);
    }
    let kernel: Vec<i64> = [1, 1].into_iter().chain(window.kernel.iter().map(|n| *n as i64)).collect();
    let kernel = v.b.integers(&kernel);
    let kernel = v.b.node(Op::ConstantOfShape(ScalarValue::new(v.dtype(x), 1.0)), &[kernel]);
    let conv = Conv { group: 1, window: Window { pads: around, ..window.clone() } };
    let mut counts = v.b.node(Op::Conv(conv), &[ones, kernel]);
    if pool.ceil {
        counts = open::crop(v, counts, g);
    }
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
fn spread(v: &mut Vjp<'_>, window: &Window, x: ValueId, share: ValueId) -> ValueId {
    let dtype = v.dtype(x);
    let kernel: Vec<i64> = [1, 1].into_iter().chain(window.kernel.iter().map(|n| *n as i64)).collect();
    let kernel = v.b.integers(&kernel);
    let ones = v.b.node(Op::ConstantOfShape(ScalarValue::new(dtype, 1.0)), &[kernel]);
    let images = open::images(v, share);
    let conv = Conv { group: 1, window: window.clone() };
    let dx = open::transposed(v, &conv, [images, ones], x);
    v.reshape_like(dx, x)
}
