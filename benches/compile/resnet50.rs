//! A residual net of the size of ResNet-50 (He et al., CVPR 2016, table 1): 53 convolutions and normalizations in training
//! mode, 25.6 million parameters, all zero.

use ibgraph::graph::{
    BatchNorm, BinaryOp, Builder, Conv, Dim, F32, Gemm, Op, Pool, ReduceOp, TensorType, UnaryOp, ValueId,
    Window,
};
use ibgraph::onnx::{WriteOptions, write};
use ibgraph::tensor::{DType, Tensor, TensorData};

/// Blocks of each stage, and the channels inside them; a block makes four times as many.
const STAGES: [(usize, usize); 4] = [(3, 64), (4, 128), (6, 256), (3, 512)];
const EXPANSION: usize = 4;
const CLASSES: usize = 1000;

/// The model file, for images `[batch, 3, 224, 224]`.
pub fn model() -> Vec<u8> {
    let mut net = Net { b: Builder::new("resnet50"), parameters: 0 };
    let shape = [Dim::symbol("batch"), Dim::Fixed(3), Dim::Fixed(224), Dim::Fixed(224)];
    let x = net.b.input("x", TensorType::new(DType::F32, &shape));
    let mut x = net.layer(x, [3, 64], 7, 2);
    x = net.b.unary(UnaryOp::Relu, x);
    let pool = Pool { window: window(3, 2), ceil: false, count_include_pad: false };
    x = net.b.node(Op::MaxPool(pool), &[x]);
    let mut channels = 64;
    for (stage, (blocks, inner)) in STAGES.into_iter().enumerate() {
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            x = net.bottleneck(x, [channels, inner], stride);
            channels = inner * EXPANSION;
        }
    }
    let mean = Op::Reduce { op: ReduceOp::Mean, axes: Some(vec![2, 3]), keep: false };
    let features = net.b.node(mean, &[x]);
    let weight = net.parameter(&[CLASSES, channels]);
    let bias = net.parameter(&[CLASSES]);
    let gemm = Gemm { alpha: F32::new(1.0), beta: F32::new(1.0), trans_a: false, trans_b: true };
    let logits = net.b.node(Op::Gemm(gemm), &[features, weight, bias]);
    let graph = net.b.finish(&[("logits".to_owned(), logits)]);
    write(&graph, &WriteOptions::default()).unwrap()
}

struct Net {
    b: Builder,
    parameters: usize,
}

impl Net {
    fn parameter(&mut self, shape: &[usize]) -> ValueId {
        self.parameters += 1;
        let zeros = TensorData::F32(vec![0.0; shape.iter().product()]);
        let tensor = Tensor::new(shape.to_vec(), zeros).unwrap();
        self.b.named_constant(&format!("parameter{}", self.parameters), tensor)
    }

    /// A convolution and its normalization.
    fn layer(&mut self, x: ValueId, [from, to]: [usize; 2], kernel: usize, stride: usize) -> ValueId {
        let weight = self.parameter(&[to, from, kernel, kernel]);
        let conv = Conv { group: 1, window: window(kernel, stride) };
        let y = self.b.node(Op::Conv(conv), &[x, weight]);
        let [scale, bias, mean, variance] = [(); 4].map(|()| self.parameter(&[to]));
        let norm = BatchNorm { epsilon: F32::new(1e-5), momentum: F32::new(0.9), training: true };
        self.b.nodes(Op::BatchNorm(norm), &[y, scale, bias, mean, variance], 3)[0]
    }

    fn bottleneck(&mut self, x: ValueId, [from, inner]: [usize; 2], stride: usize) -> ValueId {
        let to = inner * EXPANSION;
        let mut y = self.layer(x, [from, inner], 1, 1);
        y = self.b.unary(UnaryOp::Relu, y);
        y = self.layer(y, [inner, inner], 3, stride);
        y = self.b.unary(UnaryOp::Relu, y);
        y = self.layer(y, [inner, to], 1, 1);
        let shortcut = if from == to && stride == 1 { x } else { self.layer(x, [from, to], 1, stride) };
        let sum = self.b.binary(BinaryOp::Add, y, shortcut);
        self.b.unary(UnaryOp::Relu, sum)
    }
}

/// A square window with half its extent as padding.
fn window(kernel: usize, stride: usize) -> Window {
    Window {
        kernel: vec![kernel; 2],
        strides: vec![stride; 2],
        dilations: vec![1; 2],
        pads: vec![kernel / 2; 4],
    }
}
