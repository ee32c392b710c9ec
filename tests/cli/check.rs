//! `check` and the engines that it runs on.

use std::path::Path;

use crate::{Place, onnx_runtime, stdout};

#[test]
fn check_says_which_onnx_runtime_did_the_work() {
    let place = Place::new();
    place.ok("emit --classes 7 -o a.onnx");
    let text = place.ok(&format!("check a.onnx --runtime {}", onnx_runtime()));
    assert!(text.contains("engine: ONNX Runtime 1.") && text.contains(&onnx_runtime()), "{text}");
    assert!(text.contains("PASS"), "{text}");
}

#[test]
fn the_report_of_a_check_goes_to_standard_output_where_no_file_is_named() {
    let place = Place::new();
    place.ok("emit --classes 10 -o ib.onnx");
    let named = place.ok("check ib.onnx --engine embedded --json -");
    let bare = place.ok("check ib.onnx --engine embedded --json");
    assert!(bare.starts_with('{') && bare.contains("\"passed\": true"), "{bare}");
    assert_eq!(bare, named);
}

#[test]
fn a_graph_that_computes_something_else_fails_the_check() {
    let place = Place::new();
    place.ok("emit --classes 10 -o a.onnx");
    let mut bytes = std::fs::read(place.path("a.onnx")).unwrap();
    // alpha / 2, as the portable lowering has it, becomes 0.1 % more.
    let constant = (-500f64).to_le_bytes();
    let at = bytes.windows(8).position(|w| w == constant).unwrap();
    bytes[at..at + 8].copy_from_slice(&(-500.5f64).to_le_bytes());
    std::fs::write(place.path("b.onnx"), bytes).unwrap();
    for engine in ["--engine embedded".to_owned(), format!("--runtime {}", onnx_runtime())] {
        let output = place.run(&format!("check b.onnx --json report.json {engine}"));
        assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
        assert!(stdout(&output).ends_with("FAIL\n"));
        let text = std::fs::read_to_string(place.path("report.json")).unwrap();
        let report: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(report["passed"], false);
        let error = report["cases"][0]["outputs"][0]["error"].as_f64().unwrap();
        assert!((error - 1e-3).abs() < 1e-5, "{error}");
    }
}

#[test]
fn a_file_whose_ports_are_not_those_of_its_loss_fails_the_check() {
    let place = Place::new();
    place.ok("emit --classes 10 -o a.onnx");
    let bytes = std::fs::read(place.path("a.onnx")).unwrap();
    let changed = String::from_utf8_lossy(&bytes).matches("\"classes\":10").count();
    assert_eq!(changed, 1);
    let at = bytes.windows(12).position(|w| w == b"\"classes\":10").unwrap();
    let mut other = bytes;
    other[at + 11] = b'1';
    std::fs::write(place.path("b.onnx"), other).unwrap();
    let output = place.run("check b.onnx");
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("input `logits` is float32[N, 10], but the loss has float32[N, 11]"));
}

#[test]
fn a_file_that_is_no_loss_of_ours_is_told() {
    let place = Place::new();
    std::fs::write(place.path("text.onnx"), "this is not a model").unwrap();
    assert!(place.fails("check text.onnx", 2).contains("text.onnx: this is no ONNX model"));
    let foreign = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/softmax.onnx");
    std::fs::copy(foreign, place.path("foreign.onnx")).unwrap();
    assert!(place.fails("check foreign.onnx", 2).contains("no loss specification"));
    assert!(place.fails("check absent.onnx", 2).contains("cannot read absent.onnx"));
    place.ok("emit --classes 10 -o a.onnx");
    let bytes = std::fs::read(place.path("a.onnx")).unwrap();
    for length in [1, bytes.len() / 3, bytes.len() - 1] {
        std::fs::write(place.path("cut.onnx"), &bytes[..length]).unwrap();
        place.fails("check cut.onnx", 2);
    }
    assert!(place.fails("check a.onnx --data .", 2).contains("has no test_data_set_"));
}

#[test]
fn an_engine_or_provider_that_is_not_there_is_exit_code_3() {
    let place = Place::new();
    place.ok("emit --classes 10 -o a.onnx");
    assert!(place.fails("check a.onnx --engine ort", 3).contains("ibgraph runtime install"));
    assert!(place.fails("check a.onnx --runtime /nowhere/lib.so", 3).contains("/nowhere/lib.so"));
    assert!(place.fails("check a.onnx --engine embedded --provider cuda", 3).contains("cuda"));
    let text = place.fails(&format!("check a.onnx --provider cuda --runtime {}", onnx_runtime()), 3);
    assert!(text.contains("cuda"), "{text}");
    assert!(place.fails("check a.onnx --provider gpu", 2).contains("cuda"));
}

#[test]
fn a_float64_graph_needs_onnx_runtime_and_says_so() {
    let place = Place::new();
    place.ok("emit --classes 10 --dtype f64 -o a.onnx");
    assert!(place.fails("check a.onnx", 2).contains("float64"));
    assert!(place.ok(&format!("check a.onnx --runtime {}", onnx_runtime())).contains("PASS"));
}

#[test]
fn runtime_list_shows_what_is_found() {
    let place = Place::new();
    let text = place.ok("runtime list");
    assert!(text.contains("no ONNX Runtime found") && text.contains("rten (embedded)"), "{text}");
    let text = place.ok(&format!("runtime list --runtime {}", onnx_runtime()));
    assert!(text.contains("--runtime") && text.contains(&onnx_runtime()), "{text}");
}

#[test]
fn more_threads_than_any_machine_has_are_refused() {
    let place = Place::new();
    place.ok("emit --classes 10 -o ib.onnx");
    for threads in ["0", "100000"] {
        let text = place.fails(&format!("check ib.onnx --engine embedded --threads {threads}"), 2);
        assert!(text.contains(&format!("{threads} is not in 1..=1024")), "{text}");
    }
}
