//! Slopes where a function has none. The expected ones are what PyTorch 2.15 gives in float64 for the function named beside
//! each.

use ibgraph::graph::{Activation, Builder, F32, Op, UnaryOp, ValueId};

use crate::harness::{Case, assert_slopes};

fn case(name: &str, x: &[f64], function: impl Fn(&mut Builder, ValueId) -> ValueId + 'static) -> Case {
    Case::new(name, &[&[x.len()]], move |b, xs| function(b, xs[0])).in_f32()
}

fn check(name: &str, op: Op, x: &[f64], slopes: &[f64]) {
    assert_slopes(&case(name, x, move |b, x| b.node(op.clone(), &[x])), x, slopes);
}

fn check_clip(name: &str, (low, high): (f64, f64), x: &[f64], slopes: &[f64]) {
    let clip = move |b: &mut Builder, x: ValueId| {
        let dtype = b.ty(x).dtype;
        let bounds = [low, high].map(|bound| b.scalar(dtype, bound));
        b.node(Op::Clip, &[x, bounds[0], bounds[1]])
    };
    assert_slopes(&case(name, x, clip), x, slopes);
}

#[test]
fn slopes_at_kinks_are_those_of_pytorch() {
    let f = F32::new;
    let sixth = f(1.0 / 6.0);
    // torch.nn.functional: relu, hardswish, leaky_relu(0.1), hardsigmoid, elu(0.5); torch.abs
    check("Relu", Op::Unary(UnaryOp::Relu), &[-1.0, 0.0, 1.0], &[0.0, 0.0, 1.0]);
    check("Abs", Op::Unary(UnaryOp::Abs), &[-1.0, 0.0, 1.0], &[-1.0, 0.0, 1.0]);
    check("HardSwish", Op::Unary(UnaryOp::HardSwish), &[-3.0, 0.0, 3.0, 6.0], &[0.0, 0.5, 1.0, 1.0]);
    let hard_sigmoid = Activation::HardSigmoid { alpha: sixth, beta: f(0.5) };
    check("HardSigmoid", Op::Activation(hard_sigmoid), &[-3.0, 0.0, 3.0], &[0.0, 1.0 / 6.0, 0.0]);
    check("LeakyRelu", Op::Activation(Activation::LeakyRelu(f(0.1))), &[-1.0, 0.0, 1.0], &[0.1, 0.1, 1.0]);
    check("Elu", Op::Activation(Activation::Elu(f(0.5))), &[-1.0, 0.0, 1.0], &[0.183_939_720_6, 0.5, 1.0]);
    // relu6 and clamp(0, 6); hardtanh
    check_clip("Clip to 0 and 6", (0.0, 6.0), &[-1.0, 0.0, 3.0, 6.0, 7.0], &[0.0, 0.0, 1.0, 0.0, 0.0]);
    check_clip("Clip to -1 and 1", (-1.0, 1.0), &[-2.0, -1.0, 0.0, 1.0], &[0.0, 0.0, 1.0, 0.0]);
}
