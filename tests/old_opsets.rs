//! Operators that old operator sets lack, put together from older ones, on ONNX Runtime.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::path::Path;

use ibgraph::graph::{Builder, CompareOp, Dim, Graph, Op, TensorType};
use ibgraph::onnx::{OLDEST_OPSET, SpellError, Versions, WriteOptions, write};
use ibgraph::runtime::{Engine, OrtEngine, OrtOptions, Provider};
use ibgraph::tensor::{DType, Tensor, TensorData};

/// The first operator set that has every operator under test.
const MODERN: i64 = 13;

fn engine() -> OrtEngine {
    let library = std::env::var_os("IBGRAPH_TEST_ORT").expect("ci/test sets IBGRAPH_TEST_ORT");
    OrtEngine::open(Path::new(&library), Provider::Cpu, OrtOptions::default()).unwrap()
}

fn bytes(graph: &Graph, opset: i64) -> Result<Vec<u8>, SpellError> {
    let versions = Versions::new(opset, None).unwrap();
    write(graph, &WriteOptions { versions, ..WriteOptions::default() })
}

/// Every pair of these numbers, as two vectors.
fn pairs(numbers: &[f64]) -> (Vec<f64>, Vec<f64>) {
    numbers.iter().flat_map(|a| numbers.iter().map(move |b| (*a, *b))).unzip()
}

fn tensor(values: &[f64], dtype: DType) -> Tensor {
    Tensor::new(vec![values.len()], TensorData::F64(values.to_vec())).unwrap().cast(dtype)
}

type Comparison = (&'static str, CompareOp, fn(&f64, &f64) -> bool);

const COMPARISONS: [Comparison; 5] = [
    ("equal", CompareOp::Equal, f64::eq),
    ("less", CompareOp::Less, f64::lt),
    ("less_or_equal", CompareOp::LessOrEqual, f64::le),
    ("greater", CompareOp::Greater, f64::gt),
    ("greater_or_equal", CompareOp::GreaterOrEqual, f64::ge),
];

#[test]
fn comparisons_are_those_of_ieee_754_at_every_operator_set() {
    let engine = engine();
    let all = [-1.5, 0.0, -0.0, 2.0, 1e-30, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    let integers = [-3.0, 0.0, 7.0];
    for (dtype, numbers) in [(DType::F32, &all[..]), (DType::F64, &all), (DType::I64, &integers)] {
        let mut b = Builder::new("comparisons");
        let ty = TensorType::new(dtype, &[Dim::symbol("N")]);
        let [x, y] = ["x", "y"].map(|name| b.input(name, ty.clone()));
        let outputs = COMPARISONS.map(|(name, op, _)| (name.to_owned(), b.compare(op, x, y)));
        let graph = b.finish(&outputs);
        let (a, c) = pairs(numbers);
        let inputs = [("x", &tensor(&a, dtype)), ("y", &tensor(&c, dtype))];
        for opset in OLDEST_OPSET..=MODERN {
            let mut session = engine.load(&bytes(&graph, opset).unwrap()).unwrap();
            for (name, _, holds) in COMPARISONS {
                let got = session.run(&inputs, &[name]).unwrap().remove(0).to_f64_vec();
                let want: Vec<f64> =
                    a.iter().zip(&c).map(|(a, c)| f64::from(u8::from(holds(a, c)))).collect();
                assert_eq!(got, want, "{name} of {dtype} at opset {opset}");
            }
        }
    }
}

#[test]
fn a_clip_bounds_both_float_types_at_every_operator_set() {
    let engine = engine();
    for dtype in [DType::F32, DType::F64] {
        let mut b = Builder::new("clip");
        let x = b.input("x", TensorType::new(dtype, &[Dim::symbol("N")]));
        let [low, high] = [-1.0, 2.0].map(|v| b.scalar(dtype, v));
        let y = b.node(Op::Clip, &[x, low, high]);
        let graph = b.finish(&[("y".to_owned(), y)]);
        for opset in OLDEST_OPSET..=MODERN {
            let mut session = engine.load(&bytes(&graph, opset).unwrap()).unwrap();
            let x = tensor(&[-7.0, -1.0, 0.5, 2.0, f64::INFINITY], dtype);
            let got = session.run(&[("x", &x)], &["y"]).unwrap().remove(0).to_f64_vec();
            assert_eq!(got, [-1.0, -1.0, 0.5, 2.0, 2.0], "{dtype} at opset {opset}");
        }
    }
}

#[test]
fn what_cannot_be_put_together_names_the_operator_set_that_has_it() {
    let mut b = Builder::new("softmax");
    let x = b.input("x", TensorType::new(DType::F32, &[Dim::symbol("N"), Dim::Fixed(3), Dim::Fixed(4)]));
    let y = b.node(Op::Softmax(1), &[x]);
    let graph = b.finish(&[("y".to_owned(), y)]);
    let message = bytes(&graph, 12).unwrap_err().to_string();
    assert!(message.contains("needs opset 13") && message.contains("onnx.version_converter"), "{message}");
    assert!(bytes(&graph, 13).is_ok());

    for essential in [true, false] {
        let mut b = Builder::new("stop");
        let x = b.input("x", TensorType::new(DType::F32, &[Dim::symbol("N")]));
        let y = b.node(Op::Stop { essential }, &[x]);
        let graph = b.finish(&[("y".to_owned(), y)]);
        assert!(bytes(&graph, 11).is_ok());
        match bytes(&graph, 10) {
            Err(error) => assert!(essential && error.to_string().contains("needs opset 11"), "{error}"),
            Ok(_) => assert!(!essential),
        }
    }
}
