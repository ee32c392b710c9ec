//! Every gradient rule against central differences on ONNX Runtime: in float64 where its CPU provider has the operator in
//! float64, else in float32 with a larger step.
//!
//! Each case runs twice, the second time with the first extent of the first input unknown.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod cases;
mod harness;
mod kinks;

use harness::{Case, assert_rule};
use ibgraph::graph::{BinaryOp, Builder, Op, TensorType, UnaryOp};
use ibgraph::tensor::DType;

#[test]
fn functions_of_one_value() {
    cases::functions().into_iter().for_each(assert_rule);
}

#[test]
fn functions_of_two_values_with_broadcasting() {
    cases::arithmetic().into_iter().for_each(assert_rule);
}

#[test]
fn reductions_and_softmax() {
    cases::reductions().into_iter().for_each(assert_rule);
}

#[test]
fn operators_that_pick_elements() {
    cases::picks().into_iter().for_each(assert_rule);
}

#[test]
fn operators_that_move_elements() {
    cases::moves().into_iter().for_each(assert_rule);
}

#[test]
fn matrix_products() {
    cases::products().into_iter().for_each(assert_rule);
}

#[test]
fn convolutions() {
    cases::convolutions().into_iter().for_each(assert_rule);
}

#[test]
fn pools() {
    cases::pools().into_iter().for_each(assert_rule);
}

#[test]
fn normalizations() {
    cases::normalizations().into_iter().for_each(assert_rule);
}

/// x is used three times, once through a transpose: gradients add up.
#[test]
fn gradients_of_a_value_that_is_used_more_than_once_add_up() {
    assert_rule(Case::new("shared", &[&[3, 3]], |b, x| {
        let transposed = b.node(Op::Transpose(vec![1, 0]), &[x[0]]);
        let product = b.node(Op::MatMul, &[x[0], transposed]);
        b.binary(BinaryOp::Mul, product, x[0])
    }));
}

#[test]
fn a_dropout_has_one_mask_for_forward_and_backward() {
    harness::assert_dropout();
}

#[test]
fn nothing_goes_back_through_what_is_held_constant() {
    let mut b = Builder::new("held");
    let x = b.input("x", TensorType::new(DType::F64, &[]));
    let held = b.unary(UnaryOp::Exp, x);
    let y = b.binary(BinaryOp::Mul, held, x);
    let one = b.scalar(DType::F64, 1.0);
    let gradient = ibgraph::autodiff::backward(&mut b, &[(y, one)], &[x], &[held]).unwrap();
    assert_eq!(gradient, [Some(held)]);
}

#[test]
fn a_value_that_the_seed_does_not_depend_on_has_no_gradient() {
    let mut b = Builder::new("apart");
    let ty = TensorType::new(DType::F64, &[]);
    let (x, other) = (b.input("x", ty.clone()), b.input("other", ty));
    let y = b.unary(UnaryOp::Exp, x);
    let one = b.scalar(DType::F64, 1.0);
    let found = ibgraph::autodiff::backward(&mut b, &[(y, one)], &[other], &[]).unwrap();
    assert_eq!(found, [None]);
}

#[test]
fn operators_without_a_rule_are_all_named() {
    let mut b = Builder::new("unknown");
    let x = b.input("x", TensorType::new(DType::F64, &[]));
    let opaque = |name: &str| {
        let ty = TensorType::new(DType::F64, &[]);
        Op::Opaque(
            ibgraph::graph::Opaque {
                name: name.into(),
                why: format!("{name} is new"),
                behind: None,
                outputs: vec![ty],
            }
            .into(),
        )
    };
    let first = b.node(opaque("First"), &[x]);
    let second = b.node(opaque("Second"), &[first]);
    let one = b.scalar(DType::F64, 1.0);
    let error = ibgraph::autodiff::backward(&mut b, &[(second, one)], &[x], &[]).unwrap_err();
    let operators: Vec<&str> = error.nodes.iter().map(|node| node.operator.as_str()).collect();
    assert_eq!(operators, ["First", "Second"]);
    assert!(error.to_string().contains("Second is new"), "{error}");
}
