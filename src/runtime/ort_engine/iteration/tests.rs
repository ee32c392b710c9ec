use super::*;
use crate::graph::{BinaryOp, ReduceOp};
use crate::runtime::embedded::EmbeddedEngine;
use crate::runtime::{Engine, OrtEngine, OrtOptions, Provider};
use crate::tensor::{DType, TensorData};

/// x ← x + scale · y, with total = Σ x before the step; `scale` is carried and does not change.
fn model() -> Vec<u8> {
    let mut b = Builder::new("walk");
    let x = b.input("x", TensorType::new(DType::F32, &[Dim::Fixed(3)]));
    let y = b.input("y", TensorType::new(DType::F32, &[Dim::Fixed(3)]));
    let scale = b.input("scale", TensorType::new(DType::F32, &[]));
    let change = b.binary(BinaryOp::Mul, y, scale);
    let next = b.binary(BinaryOp::Add, x, change);
    let total = b.reduce(ReduceOp::Sum, x, None);
    let graph = b.finish(&[("total".to_owned(), total), ("x_next".to_owned(), next)]);
    write(&graph, &WriteOptions::default()).unwrap()
}

fn vector(values: [f32; 3]) -> Tensor {
    Tensor::new(vec![3], TensorData::F32(values.to_vec())).unwrap()
}

fn carried() -> Vec<CarriedValue> {
    let next = Some("x_next".to_owned());
    vec![
        CarriedValue { input: "x".to_owned(), next, value: vector([1.0, 2.0, 3.0]) },
        CarriedValue { input: "scale".to_owned(), next: None, value: Tensor::scalar_f32(10.0) },
    ]
}

fn ort() -> OrtEngine {
    let library = std::env::var("IBGRAPH_TEST_ORT")
        .expect("set IBGRAPH_TEST_ORT to an ONNX Runtime library; `ci/test` installs one and does");
    OrtEngine::open(library.as_ref(), Provider::Cpu, OrtOptions::default()).unwrap()
}

#[test]
fn what_is_carried_feeds_the_next_run_on_every_engine() {
    for engine in [&ort() as &dyn Engine, &EmbeddedEngine::new(None)] {
        let mut session = engine.load(&model()).unwrap();
        let mut iteration = session.iterate(carried(), &["total"]).unwrap();
        let mut want = [1.0, 2.0, 3.0];
        for step in 0..5 {
            let values = iteration.carried().unwrap();
            assert_eq!(values, [vector(want), Tensor::scalar_f32(10.0)], "{step}");
            let y = [step as f32, 1.0, -1.0];
            let outputs = iteration.run(&[("y", &vector(y))]).unwrap();
            assert_eq!(outputs, [Tensor::scalar_f32(want.iter().sum())], "{step}");
            want = std::array::from_fn(|k| want[k] + 10.0 * y[k]);
        }
    }
}

#[test]
fn placed_sets_feed_the_same_loop() {
    for engine in [&ort() as &dyn Engine, &EmbeddedEngine::new(None)] {
        let mut session = engine.load(&model()).unwrap();
        let mut iteration = session.iterate(carried(), &["total"]).unwrap();
        let (up, down) = (vector([1.0, 1.0, 1.0]), vector([0.0, 0.0, -2.0]));
        // Placing runs once with the first set.
        iteration.place(&[&[("y", &up)], &[("y", &down)]]).unwrap();
        assert_eq!(iteration.carried().unwrap()[0], vector([11.0, 12.0, 13.0]));
        for set in [1, 0, 0] {
            iteration.run_placed(set).unwrap();
        }
        assert_eq!(iteration.carried().unwrap()[0], vector([31.0, 32.0, 13.0]));
        let total = iteration.run(&[("y", &down)]).unwrap();
        assert_eq!(total, [Tensor::scalar_f32(76.0)]);
        iteration.run_placed(1).unwrap();
        assert_eq!(iteration.carried().unwrap()[0], vector([31.0, 32.0, -27.0]));
        assert!(iteration.run_placed(2).is_err());
        assert!(iteration.place(&[&[("z", &up)]]).is_err());
    }
}

#[test]
fn a_run_that_fails_leaves_what_is_carried() {
    for engine in [&ort() as &dyn Engine, &EmbeddedEngine::new(None)] {
        let mut session = engine.load(&model()).unwrap();
        let mut iteration = session.iterate(carried(), &["total"]).unwrap();
        let y = vector([1.0, 1.0, 1.0]);
        iteration.run(&[("y", &y)]).unwrap();
        let before = iteration.carried().unwrap();
        let wrong = Tensor::new(vec![2], TensorData::F32(vec![0.0; 2])).unwrap();
        assert!(iteration.run(&[("y", &wrong)]).is_err());
        assert!(iteration.run(&[("z", &y)]).is_err());
        assert_eq!(iteration.carried().unwrap(), before);
        iteration.run(&[("y", &y)]).unwrap();
        assert_eq!(iteration.carried().unwrap()[0], vector([21.0, 22.0, 23.0]));
    }
}

#[test]
fn names_that_the_model_does_not_have_are_errors() {
    let engine = ort();
    let mut session = engine.load(&model()).unwrap();
    let mut wrong = carried();
    wrong[0].next = Some("nothing".to_owned());
    let error = session.iterate(wrong, &["total"]).err().unwrap();
    assert!(error.to_string().contains("`nothing`"), "{error}");
    let mut wrong = carried();
    wrong[0].input = "nothing".to_owned();
    assert!(session.iterate(wrong, &["total"]).is_err());
    assert!(session.iterate(carried(), &["nothing"]).is_err());
}

#[test]
fn the_model_that_copies_off_a_device_copies() {
    let engine = ort();
    let inner = engine.builder().unwrap().commit_from_memory(&model()).unwrap();
    let mut session = OrtSession::new(inner, engine.clone(), &model());
    let mut iteration = OrtIteration::new(&mut session, carried(), &["total"]).unwrap();
    iteration.run(&[("y", &vector([1.0, 2.0, 3.0]))]).unwrap();
    let set = &iteration.buffers[iteration.turn()];
    let names = ["value_0".to_owned()];
    let copies = iteration.off_device(set, &names).unwrap();
    assert_eq!(values::output("copy", &copies[0]).unwrap(), vector([11.0, 22.0, 33.0]));
}
