use proptest::prelude::*;

use super::*;
use crate::tensor::TensorData;

fn model(name: &str) -> Vec<u8> {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    std::fs::read(dir.join(name).with_extension("onnx")).unwrap()
}

fn session(name: &str) -> Box<dyn Session> {
    EmbeddedEngine::new(Some(1)).load(&model(name)).unwrap()
}

fn load_error(name: &str) -> RuntimeError {
    EmbeddedEngine::default().load(&model(name)).err().unwrap()
}

#[test]
fn types_it_has_or_converts_exactly_come_back() {
    let values = Tensor::new(vec![2, 2], TensorData::F64(vec![0.0, 1.0, 1.0, 7.0])).unwrap();
    for dtype in [DType::F32, DType::I32, DType::I64, DType::Bool] {
        let empty = Tensor::from_le_bytes(dtype, vec![0, 3], &[]).unwrap();
        for tensor in [values.cast(dtype), empty] {
            let mut matrix = session(&format!("identity_{dtype}"));
            assert_eq!(matrix.run(&[("x", &tensor)], &["y"]).unwrap(), std::slice::from_ref(&tensor));
            let mut bound = matrix.bind(&[("x", &tensor)], &["y"]).unwrap();
            bound.run().unwrap();
            assert_eq!(bound.outputs().unwrap(), [tensor], "{dtype}");
        }
        let scalar = Tensor::scalar_f32(1.0).cast(dtype);
        let out = session(&format!("scalar_{dtype}")).run(&[("x", &scalar)], &["y"]);
        assert_eq!(out.unwrap(), [scalar], "{dtype}");
    }
}

#[test]
fn an_initializer_that_is_also_an_input_can_be_overridden() {
    let x = Tensor::new(vec![1], TensorData::F32(vec![3.0])).unwrap();
    let mut session = session("overridable");
    let run = |session: &mut dyn Session, more: &[(&str, &Tensor)]| {
        let inputs: Vec<_> = [("x", &x)].into_iter().chain(more.iter().copied()).collect();
        session.run(&inputs, &["y"]).unwrap()[0].as_f32().unwrap()[0]
    };
    // y = x · w, with w = 2 in the file.
    assert_eq!(run(session.as_mut(), &[]), 6.0);
    assert_eq!(run(session.as_mut(), &[("w", &Tensor::scalar_f32(5.0))]), 15.0);
    assert_eq!(run(session.as_mut(), &[("w", &Tensor::scalar_f32(7.0))]), 21.0);
    assert_eq!(run(session.as_mut(), &[]), 6.0);
}

#[test]
fn types_it_would_narrow_are_refused_by_name() {
    for dtype in [DType::F64, DType::F16, DType::BF16] {
        let error = load_error(&format!("identity_{dtype}"));
        assert!(matches!(error, RuntimeError::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains(&format!("input `x` is {dtype}")), "{error}");
    }
}

#[test]
fn an_int64_that_does_not_fit_is_refused_and_not_changed() {
    let large = Tensor::new(vec![1, 1], TensorData::I64(vec![1 << 40])).unwrap();
    let error = session("identity_int64").run(&[("x", &large)], &["y"]);
    assert!(matches!(error, Err(RuntimeError::Unsupported { .. })));
}

#[test]
fn operators_it_lacks_are_named() {
    for (name, operator) in
        [("unknown_op", "NoSuchOperator"), ("unknown_domain", "MarginLoss"), ("function", "Twice")]
    {
        let error = load_error(name);
        assert!(matches!(error, RuntimeError::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains(operator), "{error}");
    }
}

#[test]
fn wrong_names_and_types_are_errors_that_name_them() {
    let x = Tensor::new(vec![1, 2], TensorData::F32(vec![0.0, 0.0])).unwrap();
    let ints = x.cast(DType::I64);
    let mut softmax = session("softmax");
    for (inputs, outputs, words) in [
        (&[("x", &x)][..], "q", "no output `q`"),
        (&[("z", &x)][..], "p", "no input `z`"),
        (&[("x", &ints)][..], "p", "input `x` is float32, not int64"),
        (&[][..], "p", "x"),
    ] {
        let error = softmax.run(inputs, &[outputs]).unwrap_err();
        assert!(matches!(error, RuntimeError::Run { .. }), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn softmax_sums_to_one() {
    let x = Tensor::new(vec![1, 2], TensorData::F32(vec![3.0, 3.0])).unwrap();
    let out = session("softmax").run(&[("x", &x)], &["s", "p"]).unwrap();
    assert_eq!(out[0].as_f32().unwrap(), [1.0]);
    assert_eq!(out[1].as_f32().unwrap(), [0.5, 0.5]);
}

#[test]
fn the_version_is_the_pinned_one() {
    let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    let pin = format!("rten = {{ version = \"={VERSION}\"");
    assert!(manifest.unwrap().contains(&pin), "Cargo.toml has no {pin}");
}

/// Loads and runs a model with one byte replaced.
fn run_damaged(at: usize, byte: u8) {
    let mut bytes = model("softmax");
    let at = at % bytes.len();
    bytes[at] = byte;
    if let Ok(mut session) = EmbeddedEngine::new(Some(1)).load(&bytes) {
        let x = Tensor::new(vec![1, 2], TensorData::F32(vec![0.0, 0.0])).unwrap();
        let _ = session.run(&[("x", &x)], &["p"]);
    }
}

/// Found by the property below: a field of number 0.
#[test]
fn a_model_that_starts_with_a_zero_does_not_panic() {
    run_damaged(0, 0);
}

proptest! {
    #[test]
    fn no_bytes_given_as_a_model_panic(bytes: Vec<u8>) {
        let _ = EmbeddedEngine::default().load(&bytes);
    }

    #[test]
    fn no_damaged_model_panics(at in 0usize..200, byte: u8) {
        run_damaged(at, byte);
    }
}
