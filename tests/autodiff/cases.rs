//! The cases: every operator with a rule, with the attributes that its rule tells apart.

use ibgraph::graph::{
    Activation, BatchNorm, BinaryOp, Builder, CompareOp, Conv, F32, Gemm, LayerNorm, Op, Pad, Pool, ReduceOp,
    SliceAxis, UnaryOp, ValueId, Window,
};
use ibgraph::tensor::{DType, Tensor, TensorData};

use crate::harness::Case;

fn constant(b: &mut Builder, shape: &[usize], values: &[f64]) -> ValueId {
    b.constant(Tensor::new(shape.to_vec(), TensorData::F64(values.to_vec())).unwrap())
}

fn indices(b: &mut Builder, shape: &[usize], values: &[i64]) -> ValueId {
    b.constant(Tensor::new(shape.to_vec(), TensorData::I64(values.to_vec())).unwrap())
}

fn op(name: &str, shapes: &[&[usize]], op: Op) -> Case {
    Case::new(name, shapes, move |b, x| b.node(op.clone(), x))
}

pub fn functions() -> Vec<Case> {
    use UnaryOp::{
        Abs, Erf, Exp, HardSwish, Identity, Log, Neg, Reciprocal, Relu, Sigmoid, Softplus, Sqrt, Tanh,
    };
    let unary = |function: UnaryOp| op(function.name(), &[&[3, 4]], Op::Unary(function));
    let mut cases: Vec<Case> =
        [Abs, Exp, Identity, Neg, Relu, Sigmoid, Softplus, Tanh].into_iter().map(unary).collect();
    cases.extend([Log, Reciprocal, Sqrt].into_iter().map(|f| unary(f).positive()));
    // Beyond the kinks at ±3 too.
    cases.extend([unary(Erf).in_f32(), unary(HardSwish).in_f32().between(-5.0, 5.0)]);
    let f = F32::new;
    let activations = [
        ("HardSigmoid", Activation::HardSigmoid { alpha: f(0.3), beta: f(0.45) }, 18),
        ("LeakyRelu", Activation::LeakyRelu(f(0.2)), 18),
        ("Elu", Activation::Elu(f(1.5)), 18),
        ("Gelu", Activation::Gelu { tanh: false }, 20),
        ("Gelu by tanh", Activation::Gelu { tanh: true }, 20),
    ];
    cases.extend(
        activations.map(|(name, a, opset)| op(name, &[&[3, 5]], Op::Activation(a)).in_f32().opset(opset)),
    );
    cases.push(Case::new("Clip", &[&[3, 4]], |b, x| {
        let (low, high) = (b.scalar(DType::F64, -0.7), b.scalar(DType::F64, 1.1));
        b.node(Op::Clip, &[x[0], low, high])
    }));
    cases.push(
        Case::new("Cast", &[&[3, 4]], |b, x| {
            let narrow = b.cast(x[0], DType::F32);
            b.binary(BinaryOp::Mul, narrow, narrow)
        })
        .in_f32(),
    );
    cases
}

pub fn arithmetic() -> Vec<Case> {
    let mut cases = Vec::new();
    let shapes: [[&[usize]; 2]; 5] =
        [[&[2, 3], &[2, 3]], [&[2, 3], &[3]], [&[2, 3], &[2, 1]], [&[2, 3], &[]], [&[2, 3], &[4, 1, 3]]];
    for function in [BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul, BinaryOp::Min, BinaryOp::Max] {
        cases.extend(shapes.map(|s| op(function.name(), &s, Op::Binary(function))));
    }
    for function in [BinaryOp::Div, BinaryOp::Pow] {
        cases.extend(shapes.map(|s| op(function.name(), &s, Op::Binary(function)).positive()));
    }
    for exponent in [2.0, 3.0, 1.0, -1.5] {
        cases.push(
            Case::new("Pow of a constant", &[&[2, 3]], move |b, x| {
                let exponent = b.scalar(DType::F64, exponent);
                b.binary(BinaryOp::Pow, x[0], exponent)
            })
            .positive(),
        );
    }
    cases.push(Case::new("Where", &[&[2, 3], &[3]], |b, x| {
        let zero = b.scalar(DType::F64, 0.0);
        let condition = b.compare(CompareOp::Greater, x[0], zero);
        b.choose(condition, x[1], x[0])
    }));
    cases
}

pub fn reductions() -> Vec<Case> {
    use ReduceOp::{L1, L2, LogSumExp, Max, Mean, Min, Sum, SumSquare};
    let mut cases = Vec::new();
    for function in [Sum, Mean, Max, Min, L1, L2, SumSquare, LogSumExp] {
        for axes in [None, Some(vec![1]), Some(vec![0, 2])] {
            for keep in [false, true] {
                let reduce = Op::Reduce { op: function, axes: axes.clone(), keep };
                let case = op(function.name(), &[&[2, 3, 4]], reduce);
                // ONNX Runtime has ReduceL1 and ReduceL2 in float32 alone.
                cases.push(if matches!(function, L1 | L2) { case.in_f32() } else { case });
            }
        }
    }
    for axis in 0..3 {
        cases.push(op("Softmax", &[&[2, 3, 4]], Op::Softmax(axis)));
        cases.push(op("LogSoftmax", &[&[2, 3, 4]], Op::LogSoftmax(axis)));
    }
    cases
}

pub fn picks() -> Vec<Case> {
    let gather = |name: &str, axis: usize, shape: &'static [usize], values: &'static [i64]| {
        Case::new(name, &[&[3, 4, 2]], move |b, x| {
            let at = indices(b, shape, values);
            b.node(Op::Gather(axis), &[x[0], at])
        })
    };
    let mut cases = vec![
        gather("Gather of one", 1, &[], &[2]),
        gather("Gather of the last", 1, &[], &[-1]),
        gather("Gather of one, kept", 1, &[1], &[0]),
        gather("Gather with repeats", 1, &[3], &[0, 3, 0]),
        gather("Gather of a matrix of indices", 2, &[2, 2], &[1, 0, 1, 1]),
        gather("Gather along the first axis", 0, &[2, 2], &[2, 0, 2, 1]),
    ];
    for (name, at) in
        [("GatherElements", &[0, 1, 1, 3, 2, 2][..]), ("GatherElements with repeats", &[1, 1, 0, 0, 3, 3])]
    {
        cases.push(Case::new(name, &[&[3, 4]], move |b, x| {
            let at = indices(b, &[3, 2], at);
            b.node(Op::GatherElements(1), &[x[0], at])
        }));
    }
    cases.push(Case::new("GatherElements of one a row", &[&[3, 4]], |b, x| {
        let at = indices(b, &[3, 1], &[3, 0, 2]);
        b.node(Op::GatherElements(1), &[x[0], at])
    }));
    for add in [false, true] {
        cases.push(Case::new("ScatterElements", &[&[3, 4], &[3, 2]], move |b, x| {
            let at = indices(b, &[3, 2], &[0, 1, 3, 2, 1, 0]);
            b.node(Op::ScatterElements { axis: 1, add }, &[x[0], at, x[1]])
        }));
    }
    let slices: [&[(usize, i64, i64, i64)]; 5] = [
        &[(1, 1, 4, 1)],
        &[(1, -3, i64::MAX, 1), (2, 0, 2, 1)],
        &[(1, 0, 5, 2)],
        &[(1, 4, i64::MIN, -1)],
        &[(2, 2, 0, -2), (1, 1, 3, 1)],
    ];
    for parts in slices {
        let parts = parts.iter().map(|(axis, start, end, step)| SliceAxis {
            axis: *axis,
            start: *start,
            end: *end,
            step: *step,
        });
        cases.push(op("Slice", &[&[2, 5, 3]], Op::Slice(parts.collect())));
    }
    cases
}

pub fn moves() -> Vec<Case> {
    let mut cases = vec![
        op("Flatten", &[&[2, 3, 2]], Op::Flatten(1)),
        op("Flatten to a row", &[&[2, 3, 2]], Op::Flatten(0)),
        op("Unsqueeze", &[&[2, 3]], Op::Unsqueeze(vec![0, 2])),
        op("Squeeze", &[&[2, 1, 3]], Op::Squeeze(vec![1])),
        op("Transpose", &[&[2, 3, 4]], Op::Transpose(vec![2, 0, 1])),
        op("Concat", &[&[2, 3], &[2, 2], &[2, 1]], Op::Concat(1)),
        op("Concat of rows", &[&[2, 3], &[1, 3]], Op::Concat(0)).fixed(),
    ];
    for shape in [&[-1, 6][..], &[0, -1], &[3, 4]] {
        cases.push(Case::new("Reshape", &[&[2, 3, 2]], move |b, x| {
            let shape = b.integers(shape);
            b.node(Op::Reshape, &[x[0], shape])
        }));
    }
    // The middle part is not used.
    cases.push(Case::new("Split", &[&[2, 6]], |b, x| {
        let parts = b.nodes(Op::Split(1, vec![2, 1, 3]), x, 3);
        b.node(Op::Concat(1), &[parts[2], parts[0]])
    }));
    for pads in [vec![(0, 0), (1, 2)], vec![(0, 0), (2, -1)]] {
        let pad = Pad { pads, mode: "constant".into(), value: F32::new(0.5) };
        cases.push(op("Pad", &[&[2, 4]], Op::Pad(pad)));
    }
    for (from, to) in [(&[1, 3][..], &[4, 3][..]), (&[3], &[2, 4, 3]), (&[2, 1, 3], &[2, 4, 1])] {
        cases.push(
            Case::new("Expand", &[from], move |b, x| {
                let shape: Vec<i64> = to.iter().map(|n| *n as i64).collect();
                let shape = b.integers(&shape);
                b.node(Op::Expand, &[x[0], shape])
            })
            .fixed(),
        );
    }
    cases
}

pub fn products() -> Vec<Case> {
    let shapes: [[&[usize]; 2]; 9] = [
        [&[2, 3], &[3, 4]],
        [&[5, 2, 3], &[3, 4]],
        [&[5, 2, 3], &[5, 3, 4]],
        [&[2, 1, 2, 3], &[4, 3, 2]],
        [&[2, 3], &[4, 3, 2]],
        [&[3], &[3]],
        [&[3], &[2, 3, 4]],
        [&[2, 3], &[3]],
        [&[5, 2, 3], &[3]],
    ];
    let mut cases: Vec<Case> = shapes.into_iter().map(|s| op("MatMul", &s, Op::MatMul)).collect();
    for (trans_a, trans_b) in [(false, false), (true, false), (false, true), (true, true)] {
        let a: &[usize] = if trans_a { &[3, 2] } else { &[2, 3] };
        let b: &[usize] = if trans_b { &[4, 3] } else { &[3, 4] };
        let gemm = Gemm { alpha: F32::new(0.5), beta: F32::new(1.5), trans_a, trans_b };
        for c in [&[2, 4][..], &[4], &[2, 1], &[]] {
            cases.push(op("Gemm", &[a, b, c], Op::Gemm(gemm)));
        }
        cases.push(op("Gemm of two", &[a, b], Op::Gemm(gemm)));
    }
    cases
}

fn window(kernel: &[usize], strides: &[usize], dilations: &[usize], pads: &[usize]) -> Window {
    Window {
        kernel: kernel.to_vec(),
        strides: strides.to_vec(),
        dilations: dilations.to_vec(),
        pads: pads.to_vec(),
    }
}

fn convolution(x: &[usize], w: &[usize], group: usize, window: Window, bias: bool) -> Case {
    let name = format!("Conv of {x:?} with {w:?}, {window:?}");
    let channels = [w[0]];
    let shapes: &[&[usize]] = if bias { &[x, w, &channels] } else { &[x, w] };
    op(&name, shapes, Op::Conv(Conv { group, window })).in_f32().sliding()
}

pub fn convolutions() -> Vec<Case> {
    let ones: &[usize] = &[1, 1];
    vec![
        convolution(&[2, 2, 5, 4], &[3, 2, 3, 3], 1, window(&[3, 3], ones, ones, &[1, 1, 1, 1]), true),
        // A row is left over by the stride, and none of the columns.
        convolution(&[2, 2, 6, 5], &[3, 2, 3, 3], 1, window(&[3, 3], &[2, 2], ones, &[0, 0, 0, 0]), false),
        convolution(&[1, 2, 7, 6], &[2, 2, 2, 3], 1, window(&[2, 3], &[1, 2], &[2, 1], &[1, 0, 2, 1]), true),
        convolution(&[2, 4, 4, 4], &[6, 2, 3, 3], 2, window(&[3, 3], &[2, 1], ones, &[1, 1, 1, 1]), false),
        convolution(&[2, 3, 5, 5], &[3, 1, 3, 3], 3, window(&[3, 3], &[2, 2], ones, &[1, 1, 1, 1]), true),
        convolution(&[1, 2, 6, 6], &[2, 1, 5, 5], 2, window(&[5, 5], ones, ones, &[2, 2, 2, 2]), false),
        convolution(&[2, 2, 4, 4], &[4, 1, 3, 3], 2, window(&[3, 3], ones, ones, &[1, 1, 1, 1]), false),
        convolution(&[3, 4, 3, 3], &[2, 4, 1, 1], 1, window(&[1, 1], ones, ones, &[0, 0, 0, 0]), true),
        convolution(&[2, 3, 5, 4], &[2, 3, 1, 1], 1, window(&[1, 1], &[2, 2], ones, &[0, 0, 0, 0]), false),
        convolution(
            &[1, 17, 4, 5],
            &[2, 17, 3, 2],
            1,
            window(&[3, 2], &[2, 1], &[1, 2], &[1, 1, 1, 0]),
            false,
        ),
        convolution(&[2, 16, 4, 5], &[2, 16, 1, 1], 1, window(&[1, 1], &[2, 1], ones, &[0, 0, 0, 0]), false),
        convolution(&[2, 2, 7], &[3, 2, 3], 1, window(&[3], &[2], &[1], &[1, 1]), true),
        convolution(&[2, 17, 5], &[2, 17, 3], 1, window(&[3], &[1], &[1], &[1, 0]), true),
        convolution(&[2, 3, 6], &[3, 1, 3], 3, window(&[3], &[1], &[2], &[2, 2]), false),
    ]
}

pub fn pools() -> Vec<Case> {
    let ones: &[usize] = &[1, 1];
    let pool = |window: Window, ceil: bool, count_include_pad: bool| Pool { window, ceil, count_include_pad };
    let max = |x: &[usize], p: Pool| op(&format!("MaxPool {p:?}"), &[x], Op::MaxPool(p)).sliding();
    let average =
        |x: &[usize], p: Pool| op(&format!("AveragePool {p:?}"), &[x], Op::AveragePool(p)).in_f32().sliding();
    let tiles = || window(&[2, 2], &[2, 2], ones, &[0, 0, 0, 0]);
    let overlapping = || window(&[3, 3], &[2, 2], ones, &[1, 1, 1, 1]);
    vec![
        max(&[2, 2, 4, 6], pool(tiles(), false, false)),
        max(&[2, 2, 5, 5], pool(overlapping(), false, false)),
        max(&[1, 2, 6, 5], pool(window(&[2, 2], ones, &[2, 1], &[0, 0, 0, 0]), false, false)),
        average(&[2, 2, 4, 6], pool(tiles(), false, false)),
        average(&[2, 2, 5, 4], pool(tiles(), false, false)),
        average(&[2, 2, 5, 5], pool(overlapping(), false, false)),
        average(&[2, 2, 5, 5], pool(overlapping(), false, true)),
        average(&[2, 1, 5], pool(window(&[2], &[1], &[1], &[0, 0]), false, false)),
        // The last window hangs over the end, where nothing counts, of one axis or of both; then it has padding, too.
        max(&[2, 2, 4, 5], pool(window(&[2, 3], &[2, 2], ones, &[0, 0, 0, 0]), true, false)),
        max(&[1, 2, 6, 4], pool(overlapping(), true, false)),
        average(&[2, 2, 5, 4], pool(tiles(), true, false)),
        average(&[2, 2, 6, 5], pool(overlapping(), true, false)),
        average(&[2, 2, 6, 5], pool(overlapping(), true, true)),
        // A window that would begin behind the elements is not there; the shape inference of ONNX knows that from opset 22
        // on.
        average(&[1, 2, 5, 4], pool(window(&[2, 2], &[3, 3], ones, &[0, 0, 1, 1]), true, true)).opset(22),
        max(&[1, 2, 5, 4], pool(window(&[2, 2], &[3, 3], ones, &[0, 0, 1, 1]), true, false)).opset(22),
        average(&[2, 2, 7], pool(window(&[2], &[3], &[1], &[1, 0]), false, true)),
    ]
}

pub fn normalizations() -> Vec<Case> {
    let batch = |training: bool| BatchNorm { epsilon: F32::new(1e-3), momentum: F32::new(0.9), training };
    let statistics = |b: &mut Builder| {
        let mean = constant(b, &[3], &[0.1, -0.2, 0.3]);
        let variance = constant(b, &[3], &[0.5, 1.0, 1.5]);
        [mean, variance]
    };
    let norm = move |training: bool, shape: &[usize]| {
        Case::new("BatchNormalization", &[shape, &[3], &[3]], move |b, x| {
            let [mean, variance] = statistics(b);
            let count = if training { 3 } else { 1 };
            b.nodes(Op::BatchNorm(batch(training)), &[x[0], x[1], x[2], mean, variance], count)[0]
        })
    };
    let layer = |axis: usize| LayerNorm { axis, epsilon: F32::new(1e-3) };
    vec![
        norm(true, &[2, 3, 2, 3]),
        norm(true, &[4, 3]),
        norm(false, &[2, 3, 2, 3]),
        norm(false, &[4, 3]),
        op("LayerNormalization", &[&[2, 3, 4], &[4], &[4]], Op::LayerNorm(layer(2))),
        op("LayerNormalization", &[&[2, 3, 4], &[3, 4], &[3, 4]], Op::LayerNorm(layer(1))),
        op("LayerNormalization without bias", &[&[2, 3, 4], &[4]], Op::LayerNorm(layer(2))).in_f32(),
        op("LayerNormalization", &[&[2, 3, 4], &[3, 4], &[3, 4]], Op::LayerNorm(layer(1))).in_f32(),
    ]
}
