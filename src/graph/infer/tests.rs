//! Shapes as ONNX's operator specification and numpy have them.

use super::*;
use crate::graph::Builder;
use crate::graph::op::{BinaryOp, SliceAxis};

/// A type from "N 3 ?": numbers, names of extents, and what is not known.
fn f32(shape: &str) -> TensorType {
    let dim = |word: &str| match word {
        "?" => Dim::Unknown,
        _ => word.parse().map_or_else(|_| Dim::symbol(word), Dim::Fixed),
    };
    TensorType { dtype: DType::F32, shape: shape.split_whitespace().map(dim).collect() }
}

/// The shape of the first output, or the error.
fn shape(op: Op, shapes: &[&str], target: Option<&[i64]>) -> String {
    let mut b = Builder::new("shapes");
    let mut inputs: Vec<_> = shapes.iter().map(|shape| b.input("x", f32(shape))).collect();
    inputs.extend(target.map(|target| b.integers(target)));
    let made = b.try_nodes(op, &inputs, 1);
    made.map_or_else(|e| e.to_string(), |made| b.ty(made[0]).to_string())
}

#[test]
fn extents_without_a_number_broadcast_by_name() {
    let cases = [
        (["N 3", "3"], "float32[N, 3]"),
        (["N 1", "1 C"], "float32[N, C]"),
        (["N", "N"], "float32[N]"),
        (["N 4", "M 4"], "float32[?, 4]"),
        (["?", "?"], "float32[?]"),
        (["N 1 5", "7 5"], "float32[N, 7, 5]"),
        (["N", "3"], "float32[3]"),
        (["", "2 N"], "float32[2, N]"),
    ];
    for (shapes, expected) in cases {
        let [a, b] = shapes;
        for shapes in [[a, b], [b, a]] {
            assert_eq!(shape(Op::Binary(BinaryOp::Add), &shapes, None), expected, "{shapes:?}");
        }
    }
    let refused = shape(Op::Binary(BinaryOp::Add), &["2 3", "2 4"], None);
    assert!(refused.contains("3 and 4 do not broadcast") && refused.contains("float32[2, 3]"), "{refused}");
}

#[test]
fn a_reshape_keeps_by_0_and_fills_by_minus_1() {
    let cases: [(&str, &[i64], &str); 7] = [
        ("2 3 4", &[6, 4], "float32[6, 4]"),
        ("2 3 4", &[0, -1], "float32[2, 12]"),
        ("N 3 4", &[0, -1], "float32[N, 12]"),
        ("N 3 4", &[-1, 12], "float32[N, 12]"),
        ("N 3 4", &[-1, 6], "float32[?, 6]"),
        ("N M", &[-1], "float32[?]"),
        ("N 1 5", &[0, 5], "float32[N, 5]"),
    ];
    for (from, target, expected) in cases {
        assert_eq!(shape(Op::Reshape, &[from], Some(target)), expected, "{from} to {target:?}");
    }
    let refused = shape(Op::Reshape, &["2 3"], Some(&[6, 1, 0]));
    assert!(refused.contains("a 0 beyond the input's axes"), "{refused}");
}

/// The counts are those of `range(…)[start:end:step]` in Python.
#[test]
fn slices_count_from_both_ends_and_in_both_directions() {
    let cases = [
        ("10", (2, 8, 3), "2"),
        ("10", (-3, i64::MAX, 1), "3"),
        ("10", (8, 2, -3), "2"),
        ("10", (-1, i64::MIN, -1), "10"),
        ("10", (-1, -11, -1), "10"),
        ("10", (7, 1, -2), "3"),
        ("10", (2, 8, -1), "0"),
        ("10", (100, 0, -4), "3"),
        ("N", (0, i64::MAX, 1), "N"),
        ("N", (1, i64::MAX, 1), "?"),
        ("N", (-1, i64::MIN, -1), "?"),
    ];
    for (extent, (start, end, step), expected) in cases {
        let found = shape(Op::Slice(vec![SliceAxis { axis: 0, start, end, step }]), &[extent], None);
        assert_eq!(found, format!("float32[{expected}]"), "{extent}: {start}:{end}:{step}");
    }
    let refused = shape(Op::Slice(vec![SliceAxis { axis: 1, start: 0, end: 1, step: 1 }]), &["3"], None);
    assert!(refused.contains("no axis 1"), "{refused}");
}

#[test]
fn a_concatenation_adds_along_its_axis_and_learns_the_others() {
    let cases = [
        (1, ["2 3", "2 4"], "float32[2, 7]"),
        (1, ["N 3", "N 4"], "float32[N, 7]"),
        (1, ["N 3", "2 4"], "float32[2, 7]"),
        (0, ["N 3", "2 3"], "float32[?, 3]"),
        (0, ["5 ?", "2 3"], "float32[7, 3]"),
    ];
    for (axis, shapes, expected) in cases {
        assert_eq!(shape(Op::Concat(axis), &shapes, None), expected, "{shapes:?}");
    }
    let refused = shape(Op::Concat(0), &["2 3", "3"], None);
    assert!(refused.starts_with("Concat does not take (float32[2, 3], float32[3])"), "{refused}");
}

/// As exporters write a flattening: Shape, its first element, and -1.
#[test]
fn a_shape_that_is_computed_from_a_shape_is_known() {
    let mut b = Builder::new("flatten");
    let x = b.input("x", f32("N 3 4"));
    let whole = b.node(Op::Shape(0, 3), &[x]);
    let first = b.integers(&[0]);
    let rows = b.node(Op::Gather(0), &[whole, first]);
    let rest = b.integers(&[-1]);
    let target = b.node(Op::Concat(0), &[rows, rest]);
    let flat = b.node(Op::Reshape, &[x, target]);
    assert_eq!(b.ty(flat).to_string(), "float32[N, 12]");
}
