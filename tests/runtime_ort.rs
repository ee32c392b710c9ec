//! ONNX Runtime itself. These tests need a library: name one in IBGRAPH_TEST_ORT (`ibgraph runtime list` shows what
//! there is). A process keeps the first one it loads, so all of them use that one.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};

use half::{bf16, f16};
use ibgraph::runtime::{Engine, OrtEngine, OrtOptions, Provider, RuntimeError, Session};
use ibgraph::tensor::{DType, Tensor, TensorData};
use proptest::prelude::*;

fn library() -> PathBuf {
    match std::env::var_os("IBGRAPH_TEST_ORT") {
        Some(path) => PathBuf::from(path),
        None => panic!(
            "set IBGRAPH_TEST_ORT to an ONNX Runtime library of 1.24 or newer, such as \
             site-packages/onnxruntime/capi/libonnxruntime.so.1.32.0"
        ),
    }
}

fn engine() -> OrtEngine {
    OrtEngine::open(&library(), Provider::Cpu, OrtOptions::default()).unwrap()
}

fn model(name: &str) -> Vec<u8> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    std::fs::read(dir.join(name).with_extension("onnx")).unwrap()
}

fn session(name: &str) -> Box<dyn Session> {
    engine().load(&model(name)).unwrap()
}

fn load_error(name: &str) -> RuntimeError {
    engine().load(&model(name)).err().unwrap()
}

#[test]
fn info_tells_the_librarys_own_version_and_place() {
    let info = engine().info();
    assert_eq!(info.name, "ONNX Runtime");
    assert!(info.version.starts_with("1."), "{}", info.version);
    let real = std::fs::canonicalize(library()).unwrap();
    assert_eq!(info.location, Some(real));
}

#[test]
fn every_type_goes_in_and_comes_out_also_as_a_scalar_and_for_an_empty_batch() {
    let values = Tensor::new(vec![2, 2], TensorData::F64(vec![0.0, 1.0, -2.0, 7.0])).unwrap();
    for dtype in DType::ALL {
        let mut matrix = session(&format!("identity_{dtype}"));
        let full = values.cast(dtype);
        let empty = Tensor::from_le_bytes(dtype, vec![0, 3], &[]).unwrap();
        for tensor in [full, empty] {
            let out = matrix.run(&[("x", &tensor)], &["y"]).unwrap();
            assert_eq!(out, [tensor], "{dtype}");
        }
        let scalar = Tensor::scalar_f32(1.0).cast(dtype);
        let out = session(&format!("scalar_{dtype}")).run(&[("x", &scalar)], &["y"]);
        assert_eq!(out.unwrap(), [scalar], "{dtype}");
    }
}

#[test]
fn half_types_keep_their_bits() {
    let halves = [f16::NAN, f16::INFINITY, f16::MIN_POSITIVE_SUBNORMAL];
    let tensor = Tensor::new(vec![1, 3], TensorData::F16(halves.to_vec())).unwrap();
    let out = session("identity_float16").run(&[("x", &tensor)], &["y"]).unwrap();
    assert_eq!(out[0].to_le_bytes(), tensor.to_le_bytes());
    let brains = [bf16::NAN, bf16::NEG_INFINITY, bf16::MAX];
    let tensor = Tensor::new(vec![1, 3], TensorData::BF16(brains.to_vec())).unwrap();
    let out = session("identity_bfloat16").run(&[("x", &tensor)], &["y"]).unwrap();
    assert_eq!(out[0].to_le_bytes(), tensor.to_le_bytes());
}

#[test]
fn outputs_come_in_the_order_asked_for() {
    let x = Tensor::new(vec![1, 2], TensorData::F32(vec![0.0, 0.0])).unwrap();
    let out = session("softmax").run(&[("x", &x)], &["s", "p"]).unwrap();
    assert_eq!(out[0].shape(), [1]);
    assert_eq!(out[1].as_f32().unwrap(), [0.5, 0.5]);
}

#[test]
fn a_bound_run_gives_what_a_run_gives_every_time() {
    for dtype in DType::ALL {
        let values = Tensor::new(vec![2, 2], TensorData::F64(vec![0.0, 1.0, -2.0, 7.0])).unwrap();
        for tensor in [values.cast(dtype), Tensor::from_le_bytes(dtype, vec![0, 3], &[]).unwrap()] {
            let mut session = session(&format!("identity_{dtype}"));
            let mut bound = session.bind(&[("x", &tensor)], &["y"]).unwrap();
            bound.run().unwrap();
            bound.run().unwrap();
            assert_eq!(bound.outputs().unwrap(), [tensor], "{dtype}");
        }
    }
    let x = Tensor::new(vec![1, 2], TensorData::F32(vec![0.0, 0.0])).unwrap();
    let mut softmax = session("softmax");
    let mut bound = softmax.bind(&[("x", &x)], &["s", "p"]).unwrap();
    bound.run().unwrap();
    assert_eq!(bound.outputs().unwrap()[1].as_f32().unwrap(), [0.5, 0.5]);
    drop(bound);
    assert!(softmax.bind(&[("x", &x)], &["q"]).is_err());
}

#[test]
fn sets_of_inputs_are_bound_side_by_side() {
    let set = |value: f32| Tensor::new(vec![1, 2], TensorData::F32(vec![0.0, value])).unwrap();
    let sets = [set(0.0), set(1.0)].map(|tensor| [("x", tensor)]);
    let pairs: Vec<[(&str, &Tensor); 1]> = sets.iter().map(|[(name, tensor)]| [(*name, tensor)]).collect();
    let pairs: Vec<&[(&str, &Tensor)]> = pairs.iter().map(|set| set.as_slice()).collect();
    let mut softmax = session("softmax");
    let mut bound = softmax.bind_sets(&pairs, &["p"]).unwrap();
    bound.run_set(1).unwrap();
    bound.run_set(0).unwrap();
    bound.run_set(1).unwrap();
    assert_eq!(bound.outputs().unwrap()[0].as_f32().unwrap(), [0.5, 0.5], "the outputs are the first set's");
    let error = bound.run_set(2).unwrap_err().to_string();
    assert!(error.contains("input set 2 is not bound; 2 are"), "{error}");
    drop(bound);
    assert!(softmax.bind_sets(&[], &["p"]).is_err());
}

#[test]
fn an_initializer_that_is_also_an_input_can_be_overridden() {
    let x = Tensor::new(vec![1], TensorData::F32(vec![3.0])).unwrap();
    let mut session = session("overridable");
    let default = session.run(&[("x", &x)], &["y"]).unwrap();
    assert_eq!(default[0].as_f32().unwrap(), [6.0]);
    let w = Tensor::scalar_f32(5.0);
    let given = session.run(&[("x", &x), ("w", &w)], &["y"]).unwrap();
    assert_eq!(given[0].as_f32().unwrap(), [15.0]);
}

#[test]
fn model_local_functions_are_inlined() {
    let x = Tensor::new(vec![1], TensorData::F32(vec![3.0])).unwrap();
    let out = session("function").run(&[("x", &x)], &["y"]).unwrap();
    assert_eq!(out[0].as_f32().unwrap(), [6.0]);
}

#[test]
fn wrong_names_types_and_shapes_are_errors_that_name_them() {
    let mut softmax = session("softmax");
    let x = Tensor::new(vec![1, 2], TensorData::F32(vec![0.0, 0.0])).unwrap();
    let ints = x.cast(DType::I64);
    let flat = Tensor::new(vec![2], TensorData::F32(vec![0.0, 0.0])).unwrap();
    type Case<'a> = (&'a [(&'a str, &'a Tensor)], &'a [&'a str], &'a str);
    let cases: [Case; 9] = [
        (&[("x", &x)], &["s", "p", "s"], "`s` was asked for twice"),
        (&[("x", &x)], &["q"], "no output `q`"),
        (&[("x", &x)], &[""], "no output ``"),
        (&[("x", &x)], &[], "no output was asked for"),
        (&[("z", &x)], &["p"], "z"),
        (&[("a\0b", &x)], &["p"], "no input"),
        (&[], &["p"], "x"),
        (&[("x", &ints)], &["p"], "x"),
        (&[("x", &flat)], &["p"], "x"),
    ];
    for (inputs, outputs, words) in cases {
        let error = softmax.run(inputs, outputs).unwrap_err();
        assert!(matches!(error, RuntimeError::Run { .. }), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn an_operator_it_lacks_is_unsupported_and_named() {
    for (name, operator) in [("unknown_op", "NoSuchOperator"), ("unknown_domain", "MarginLoss")] {
        let error = load_error(name);
        assert!(matches!(error, RuntimeError::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains(operator), "{error}");
    }
}

#[test]
fn every_node_says_where_it_runs() {
    let placements = session("softmax").placements().unwrap().unwrap();
    assert!(placements.iter().any(|node| node.op_type == "Softmax"));
    assert!(placements.iter().all(|node| node.provider == "CPUExecutionProvider"));
}

/// Operators of a graph, and of what its session says it placed, each sorted.
fn operators(name: &str, options: OrtOptions) -> [Vec<String>; 2] {
    let engine = OrtEngine::open(&library(), Provider::Cpu, options).unwrap();
    let written = engine.final_graph(&model(name)).unwrap().graph.unwrap();
    let placed = engine.load(&model(name)).unwrap().placements().unwrap().unwrap();
    let mut operators = [
        written.node.into_iter().map(|node| node.op_type.unwrap()).collect::<Vec<_>>(),
        placed.into_iter().map(|node| node.op_type).collect::<Vec<_>>(),
    ];
    operators.iter_mut().for_each(|list| list.sort());
    operators
}

#[test]
fn the_final_graph_has_the_nodes_that_were_placed() {
    let mut options = OrtOptions::default();
    options.optimize = false;
    for name in ["softmax", "function", "overridable"] {
        let [written, placed] = operators(name, options.clone());
        assert!(!written.is_empty(), "{name}");
        assert_eq!(written, placed, "{name}");
    }
    let [written, _] = operators("softmax", OrtOptions::default());
    assert!(written.iter().any(|operator| operator == "Softmax"), "{written:?}");
}

#[test]
fn the_final_graph_of_a_broken_model_is_the_error_of_loading_it() {
    for name in ["unknown_op", "unknown_domain"] {
        assert_eq!(engine().final_graph(&model(name)).unwrap_err(), load_error(name));
    }
    assert!(engine().final_graph(b"no model").is_err());
}

#[test]
fn a_provider_that_is_not_there_is_an_error_and_never_the_cpu() {
    for provider in Provider::ALL {
        match OrtEngine::open(&library(), provider, OrtOptions::default()) {
            Ok(engine) => assert_eq!(engine.info().provider, provider),
            Err(error) => {
                assert!(
                    matches!(&error, RuntimeError::ProviderMissing { provider: p, .. } if *p == provider),
                    "{error}"
                );
                assert!(error.is_environment());
                println!("{error}");
            }
        }
    }
}

#[test]
fn a_second_library_is_refused_and_the_first_opens_again() {
    let _first = engine();
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("libonnxruntime.so");
    std::fs::copy(library(), &copy).unwrap();
    let error = OrtEngine::open(&copy, Provider::Cpu, OrtOptions::default()).unwrap_err();
    assert!(matches!(error, RuntimeError::AlreadyLoaded { .. }), "{error}");
    let mut options = OrtOptions::default();
    options.threads = Some(1);
    options.optimize = false;
    OrtEngine::open(&library(), Provider::Cpu, options).unwrap();
}

#[test]
fn an_operator_library_that_is_missing_is_an_error() {
    let mut options = OrtOptions::default();
    options.operator_libraries.push("/nonexistent/libops.so".into());
    let error = OrtEngine::open(&library(), Provider::Cpu, options).unwrap_err();
    assert!(error.to_string().contains("libops"), "{error}");
}

proptest! {
    // An integration test has no place of its own for a file of regressions.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_given_as_a_model_panic(bytes: Vec<u8>) {
        let _ = engine().load(&bytes);
    }

    #[test]
    fn no_damaged_model_panics(at in 0usize..200, byte: u8) {
        let mut bytes = model("softmax");
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(mut session) = engine().load(&bytes) {
            let x = Tensor::new(vec![1, 2], TensorData::F32(vec![0.0, 0.0])).unwrap();
            let _ = session.run(&[("x", &x)], &["p"]);
        }
    }
}
