//! Products, convolutions, pools, normalizations, dropout.

use super::arguments::{Arguments, make};
use crate::graph::{
    BatchNorm, BinaryOp, Builder, Conv, Dropout, Gemm, LayerNorm, Op, Pool, ReduceOp, UnaryOp, ValueId,
    Window,
};
use crate::tensor::{DType, Tensor, TensorData};

/// The node's outputs; `None` where its operator is of another group.
pub(super) fn translate(b: &mut Builder, of: &Arguments<'_>) -> Option<Result<Vec<ValueId>, String>> {
    Some(match of.operator() {
        "MatMul" => of.one(b, Op::MatMul),
        "Gemm" => gemm(b, of),
        "Conv" => conv(b, of),
        "MaxPool" | "AveragePool" => pool(b, of),
        "GlobalAveragePool" => global(b, of, ReduceOp::Mean),
        "GlobalMaxPool" => global(b, of, ReduceOp::Max),
        "BatchNormalization" => batch_norm(b, of),
        "LayerNormalization" => layer_norm(b, of),
        "InstanceNormalization" => instance_norm(b, of),
        "Dropout" => dropout(b, of),
        _ => return None,
    })
}

fn gemm(b: &mut Builder, of: &Arguments<'_>) -> Result<Vec<ValueId>, String> {
    if of.opset < 7 {
        return Err(format!("its broadcasting is that of opset {}", of.opset));
    }
    let gemm = Gemm {
        alpha: of.float("alpha", 1.0),
        beta: of.float("beta", 1.0),
        trans_a: of.int("transA", 0) != 0,
        trans_b: of.int("transB", 0) != 0,
    };
    of.one(b, Op::Gemm(gemm))
}

/// The window of a convolution or pool; `kernel` are the weight's extents, where there is a weight.
fn window(b: &Builder, of: &Arguments<'_>, kernel: Option<Vec<usize>>) -> Result<Window, String> {
    let sizes = |name: &str| -> Result<Option<Vec<usize>>, String> {
        let values = of.ints(name).unwrap_or_default();
        let sizes: Result<Vec<usize>, _> = values.into_iter().map(usize::try_from).collect();
        let sizes = sizes.map_err(|_| format!("its {name} are negative"))?;
        Ok(Some(sizes).filter(|sizes| !sizes.is_empty()))
    };
    let kernel = sizes("kernel_shape")?.or(kernel).ok_or("its window is not known")?;
    let axes = kernel.len();
    let strides = sizes("strides")?.unwrap_or_else(|| vec![1; axes]);
    let dilations = sizes("dilations")?.unwrap_or_else(|| vec![1; axes]);
    let pads = sizes("pads")?.unwrap_or_else(|| vec![0; 2 * axes]);
    let fit = [strides.len(), dilations.len(), pads.len() / 2].iter().all(|n| *n == axes);
    if !fit || kernel.contains(&0) || strides.contains(&0) || dilations.contains(&0) {
        return Err("its window, strides, dilations and pads do not fit each other".into());
    }
    let mut window = Window { kernel, strides, dilations, pads };
    match of.text("auto_pad").as_deref() {
        None | Some("NOTSET") => {}
        Some("VALID") => window.pads = vec![0; 2 * axes],
        Some(same @ ("SAME_UPPER" | "SAME_LOWER")) => same_size(b, of.need(0)?, &mut window, same)?,
        Some(other) => return Err(format!("its auto_pad is `{other}`")),
    }
    Ok(window)
}

/// Pads with which an axis of n elements gives ⌈n/stride⌉ positions.
fn same_size(b: &Builder, x: ValueId, window: &mut Window, side: &str) -> Result<(), String> {
    let axes = window.axes();
    for k in 0..axes {
        let extent = b.ty(x).shape.get(k + 2).and_then(|d| d.fixed());
        let extent =
            extent.ok_or("its padding depends on extents that are not known before the graph runs")?;
        let positions = extent.div_ceil(window.strides[k]);
        let reach = (positions.saturating_sub(1)) * window.strides[k] + window.span(k);
        let total = reach.saturating_sub(extent);
        let (small, large) = (total / 2, total - total / 2);
        let (before, after) = if side == "SAME_UPPER" { (small, large) } else { (large, small) };
        window.pads[k] = before;
        window.pads[k + axes] = after;
    }
    Ok(())
}

fn conv(b: &mut Builder, of: &Arguments<'_>) -> Result<Vec<ValueId>, String> {
    let weight = of.need(1)?;
    let kernel: Option<Vec<usize>> = b.ty(weight).shape.iter().skip(2).map(|d| d.fixed()).collect();
    let kernel = kernel.ok_or("the extents of its weight are not known")?;
    let group =
        usize::try_from(of.int("group", 1)).ok().filter(|g| *g > 0).ok_or("its group is not above 0")?;
    let window = window(b, of, Some(kernel.clone()))?;
    if window.kernel != kernel {
        return Err("its kernel_shape is not that of its weight".into());
    }
    of.one(b, Op::Conv(Conv { group, window }))
}

fn pool(b: &mut Builder, of: &Arguments<'_>) -> Result<Vec<ValueId>, String> {
    if of.int("storage_order", 0) != 0 {
        return Err("its indices are column-major".into());
    }
    let pool = Pool {
        window: window(b, of, None)?,
        ceil: of.int("ceil_mode", 0) != 0,
        count_include_pad: of.int("count_include_pad", 0) != 0,
    };
    of.one(b, if of.operator() == "MaxPool" { Op::MaxPool(pool) } else { Op::AveragePool(pool) })
}

/// Over every axis after the channels.
fn global(b: &mut Builder, of: &Arguments<'_>, op: ReduceOp) -> Result<Vec<ValueId>, String> {
    let axes: Vec<usize> = (2..b.ty(of.need(0)?).rank()).collect();
    of.one(b, Op::Reduce { op, axes: Some(axes), keep: true })
}

fn batch_norm(b: &mut Builder, of: &Arguments<'_>) -> Result<Vec<ValueId>, String> {
    let training = of.int("training_mode", 0) != 0;
    if of.opset < 14 && of.outputs() > 1 {
        return Err(format!(
            "its training mode is that of opset {}; convert the model to 14 or newer",
            of.opset
        ));
    }
    if of.opset < 7 || of.int("spatial", 1) == 0 {
        return Err("it normalizes every element apart".into());
    }
    let norm =
        BatchNorm { epsilon: of.float("epsilon", 1e-5), momentum: of.float("momentum", 0.9), training };
    of.one(b, Op::BatchNorm(norm))
}

fn layer_norm(b: &mut Builder, of: &Arguments<'_>) -> Result<Vec<ValueId>, String> {
    let rank = b.ty(of.need(0)?).rank();
    let norm = LayerNorm { axis: of.axis(-1, rank)?, epsilon: of.float("epsilon", 1e-5) };
    of.one(b, Op::LayerNorm(norm))
}

// scale · (x - mean)/√(variance + ε) + bias, over every axis after the channels
fn instance_norm(b: &mut Builder, of: &Arguments<'_>) -> Result<Vec<ValueId>, String> {
    let x = of.need(0)?;
    let (rank, dtype) = (b.ty(x).rank(), b.ty(x).dtype);
    if rank < 3 {
        return Err("its input has no axes after the channels".into());
    }
    let axes: Vec<usize> = (2..rank).collect();
    let step = |b: &mut Builder, op: Op, inputs: &[ValueId]| make(b, op, inputs, 1).map(|made| made[0]);
    let mean = Op::Reduce { op: ReduceOp::Mean, axes: Some(axes.clone()), keep: true };
    let centre = step(b, mean.clone(), &[x])?;
    let centred = step(b, Op::Binary(BinaryOp::Sub), &[x, centre])?;
    let square = step(b, Op::Binary(BinaryOp::Mul), &[centred, centred])?;
    let variance = step(b, mean, &[square])?;
    let epsilon = b.scalar(dtype, of.float("epsilon", 1e-5).wide());
    let variance = step(b, Op::Binary(BinaryOp::Add), &[variance, epsilon])?;
    let deviation = step(b, Op::Unary(UnaryOp::Sqrt), &[variance])?;
    let normal = step(b, Op::Binary(BinaryOp::Div), &[centred, deviation])?;
    let axes: Vec<usize> = (1..rank - 1).collect();
    let column = Op::Unsqueeze(axes);
    let scale = step(b, column.clone(), &[of.need(1)?])?;
    let bias = step(b, column, &[of.need(2)?])?;
    let scaled = step(b, Op::Binary(BinaryOp::Mul), &[normal, scale])?;
    Ok(vec![step(b, Op::Binary(BinaryOp::Add), &[scaled, bias])?])
}

/// Before opset 12 dropout does nothing outside of training, and there is no training.
fn dropout(b: &mut Builder, of: &Arguments<'_>) -> Result<Vec<ValueId>, String> {
    let x = of.need(0)?;
    let flag = |b: &mut Builder, value: bool| {
        let tensor = Tensor::new(vec![], TensorData::Bool(vec![value]));
        b.constant(tensor.expect("a scalar has one element"))
    };
    let ratio = match of.get(1) {
        Some(ratio) => ratio,
        None => b.scalar(DType::F32, of.float("ratio", 0.5).wide()),
    };
    let training = match of.get(2) {
        Some(training) => training,
        None => flag(b, false),
    };
    let seed = of.has("seed").then(|| of.int("seed", 0));
    let number = b.graph().nodes().len();
    make(b, Op::Dropout(Dropout { seed, number }), &[x, ratio, training], of.outputs())
}
