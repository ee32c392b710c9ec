//! The program as a user runs it.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use tempfile::TempDir;

/// A directory to work in, where the program finds no ONNX Runtime.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::cargo_bin("ibgraph").unwrap();
        command.args(line.split_whitespace()).current_dir(self.0.path());
        command.env("IBGRAPH_CACHE", self.path("cache")).env("PATH", "");
        command.env_remove("ORT_DYLIB_PATH").env_remove("VIRTUAL_ENV");
        command
    }

    /// Runs a line that must succeed; returns standard output.
    fn ok(&self, line: &str) -> String {
        let output = self.run(line);
        assert!(output.status.success(), "{line}\n{}{}", stdout(&output), stderr(&output));
        stdout(&output)
    }

    /// Runs a line that must fail with `code`; returns standard error.
    fn fails(&self, line: &str, code: i32) -> String {
        let output = self.run(line);
        assert_eq!(output.status.code(), Some(code), "{line}\n{}{}", stdout(&output), stderr(&output));
        let text = stderr(&output);
        assert!(!text.contains("panicked"), "{line}\n{text}");
        text
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn onnx_runtime() -> String {
    std::env::var("IBGRAPH_TEST_ORT").unwrap_or_else(|_| {
        panic!("set IBGRAPH_TEST_ORT to an ONNX Runtime library; `ci/test` installs one and does")
    })
}

#[test]
fn the_first_command_works_where_there_is_no_onnx_runtime() {
    let place = Place::new();
    let text = place.ok("emit --classes 100 -o ib_loss.onnx --check");
    assert!(text.contains("rten") && text.contains("PASS"), "{text}");
    assert!(text.contains("outputs: loss, logits_grad, features_grad"), "{text}");
    let size = std::fs::metadata(place.path("ib_loss.onnx")).unwrap().len();
    assert!(size < 10_000, "{size} bytes");
    assert!(place.ok("check ib_loss.onnx").contains("PASS"));
}

#[test]
fn check_says_which_onnx_runtime_did_the_work() {
    let place = Place::new();
    place.ok("emit --classes 7 -o a.onnx");
    let text = place.ok(&format!("check a.onnx --runtime {}", onnx_runtime()));
    assert!(text.contains("engine: ONNX Runtime 1.") && text.contains(&onnx_runtime()), "{text}");
    assert!(text.contains("PASS"), "{text}");
}

#[test]
fn the_same_arguments_give_the_same_bytes_and_dash_is_standard_output() {
    let place = Place::new();
    let line = "emit ib-focal --classes 9 --set gamma=2 --ignore-index -1 --outputs loss,influence_weight -o";
    place.ok(&format!("{line} a.onnx"));
    place.ok(&format!("{line} b.onnx"));
    let a = std::fs::read(place.path("a.onnx")).unwrap();
    assert_eq!(a, std::fs::read(place.path("b.onnx")).unwrap());
    let streamed = place.run(&format!("{line} -"));
    assert_eq!(streamed.stdout, a);
    assert!(stderr(&streamed).contains("wrote standard output"));
    let checked = place.command("check -").write_stdin(a).output().unwrap();
    assert!(checked.status.success(), "{}", stderr(&checked));
}

#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_is_no_error() {
    use std::io::Read;
    use std::process::Stdio;
    let place = Place::new();
    // More bytes than a pipe holds, so that the writer is still at it when the reader has gone.
    let counts: Vec<String> = (1..=20_000).map(|n| n.to_string()).collect();
    std::fs::write(place.path("counts.csv"), counts.join("\n")).unwrap();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_ibgraph"))
        .args("emit --class-counts counts.csv --class-weights inverse -o -".split(' '))
        .current_dir(place.path(""))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    out.read_exact(&mut [0; 10]).unwrap();
    drop(out);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
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
fn help_is_written_for_the_command_line() {
    let place = Place::new();
    let names = [
        "emit",
        "graft",
        "inspect",
        "init",
        "train",
        "export",
        "check",
        "bench",
        "report",
        "losses",
        "explain",
        "ops",
        "ops path",
        "runtime",
        "runtime list",
        "runtime install",
    ];
    let all = place.ok("--help");
    let listed =
        all.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // What is indented further goes on with the line before.
    let commands: Vec<&str> = listed
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.len() > 10, "{all}");
    commands.iter().for_each(|name| assert!(names.contains(name), "{name} is not looked at"));
    for name in names {
        let text = place.ok(&format!("{name} --help"));
        assert!(
            !text.contains("[`") && !text.contains("`]"),
            "{name}: a link of the library's documentation\n{text}"
        );
    }
}

#[test]
fn the_file_does_not_grow_with_the_number_of_classes() {
    let place = Place::new();
    place.ok("emit --classes 1000000 -o large.onnx");
    assert!(std::fs::metadata(place.path("large.onnx")).unwrap().len() < 10_000);
}

#[test]
fn class_counts_are_read_from_every_form() {
    let place = Place::new();
    std::fs::write(place.path("c.json"), "[500, 20, 3]").unwrap();
    std::fs::write(place.path("c.yaml"), "0: 500\n1: 20\n2: 3\n").unwrap();
    std::fs::write(place.path("c.csv"), "class,count\n2,3\n0,500\n1,20\n").unwrap();
    let emit = |counts: &str| {
        place.ok(&format!("emit --class-counts {counts} --class-weights inverse -o x.onnx"));
        std::fs::read(place.path("x.onnx")).unwrap()
    };
    let listed = emit("500,20,3");
    for file in ["c.json", "c.yaml", "c.csv"] {
        assert_eq!(emit(file), listed, "{file}");
    }
}

#[test]
fn class_counts_that_nothing_uses_are_told() {
    let place = Place::new();
    let note = |options: &str| stderr(&place.run(&format!("emit {options} -o x.onnx")));
    let unused = note("cross-entropy --class-counts 1,2,3");
    let advice = "weigh by them with --class-weights inverse or effective";
    assert!(unused.contains("note: --class-counts only gave the number of classes"), "{unused}");
    assert!(unused.contains(advice), "{unused}");
    std::fs::write(place.path("plain.yaml"), "name: plain\nloss: nll\n").unwrap();
    let plain = note("plain.yaml --class-counts 1,2,3");
    assert!(
        plain.contains("the loss `plain` does not use class_weight") && !plain.contains(advice),
        "{plain}"
    );
    for used in [
        "cross-entropy --class-counts 1,2,3 --class-weights inverse",
        "cross-entropy --class-counts 1,2,3 --class-weights none",
        "cross-entropy --class-counts 1,2,3 --runtime-input class_weights",
        "cross-entropy --classes 3",
        "ldam --class-counts 1,2,3",
        "balanced-softmax --class-counts 1,2,3",
        "ib-cb --class-counts 1,2,3",
    ] {
        assert_eq!(note(used), "", "{used}");
    }
}

#[test]
fn a_loss_file_of_another_name_is_told_what_to_be_called() {
    let place = Place::new();
    for name in ["noext", "my.YAML"] {
        std::fs::write(place.path(name), "name: a\nloss: nll\n").unwrap();
        let text = place.fails(&format!("emit ./{name} --classes 3 -o x.onnx"), 2);
        assert!(text.contains("is a file, but its name does not end in .yaml or .yml"), "{text}");
    }
    assert!(place.fails("emit ./absent --classes 3 -o x.onnx", 2).contains("no loss `./absent`"));
}

#[test]
fn the_readme_has_the_number_of_cases_that_the_first_command_checks() {
    let place = Place::new();
    let text = place.ok("emit --classes 100 -o ib_loss.onnx --check --engine embedded");
    let cases = text.lines().filter(|line| line.trim_end().ends_with("  ok")).count();
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    assert!(readme.contains(&format!("checks it on {cases} kinds of batches")), "{cases}\n{text}");
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
fn wrong_use_is_told_plainly_and_leaves_the_old_file() {
    let place = Place::new();
    std::fs::write(place.path("old.onnx"), "old").unwrap();
    let lines = [
        ("--classes 1", "2 classes or more"),
        ("--classes 0", "2 classes or more"),
        ("", "how many classes"),
        ("--classes 10 --set alpha=0", "alpha is 0; it must be above 0"),
        ("--classes 10 --set alpha=-1", "alpha is -1"),
        ("--classes 10 --set alpha=nan", "finite"),
        ("--classes 10 --set epsilon=0", "epsilon is 0"),
        ("--classes 10 --set alhpa=1", "did you mean `alpha`"),
        ("--classes 10 --set alpha", "NAME=NUMBER"),
        ("--classes 10 --set beta=0.9", "effective"),
        ("--classes 3 --class-counts 1,2 --class-weights inverse", "2 class counts for 3 classes"),
        ("--class-counts 1,0 --class-weights inverse", "the count of class 1 is 0"),
        ("--class-counts 1,-5 --class-weights effective", "the count of class 1 is -5"),
        ("--classes 3 --class-weights inverse", "give --class-counts"),
        ("--class-counts 1,2 --class-weights effective --set beta=1", "beta is 1"),
        ("--classes 2 --class-weights nowhere.json", "cannot read nowhere.json"),
        ("--classes 2 --class-weights nan.csv", "the weight of class 1 is NaN"),
        ("--classes 10 --dtype f8", "invalid value 'f8'"),
        ("--classes 10 --opset 8", "opset 8 is not supported; choose one from 9"),
        ("--classes 10 --opset 99", "opset 99 is not supported"),
        ("--classes 10 --ir-version 3", "IR version 3"),
        ("--classes 10 --outputs los", "did you mean `loss`"),
        ("--classes 10 --runtime-input alfa", "did you mean `alpha`"),
        ("--classes 10 --runtime-input alpha,alpha", "given twice"),
        ("--class-counts 1,2 --class-weights inverse --runtime-input class_weights", "one of the two"),
        ("nothing --classes 10", "built in are ib"),
        ("cross-entropy --classes 10 --influence-gradient stopped", "influence_weight"),
        ("cross-entropy --classes 10 --outputs features_grad", "no output `features_grad`"),
        ("cross-entropy --classes 10 --feature-input norm", "does not use the features"),
        ("broken.yaml --classes 10", "broken.yaml:2:13: unknown name `nul`; did you mean `nll`?"),
    ];
    std::fs::write(place.path("nan.csv"), "1\nnan\n").unwrap();
    std::fs::write(place.path("broken.yaml"), "name: broken\nloss: 2.0 * nul\n").unwrap();
    for (line, message) in lines {
        let text = place.fails(&format!("emit {line} -o old.onnx"), 2);
        assert!(text.contains(message), "{line}\n{text}");
    }
    assert_eq!(std::fs::read_to_string(place.path("old.onnx")).unwrap(), "old");
}

#[test]
fn outputs_that_cannot_be_written_are_told() {
    let place = Place::new();
    std::fs::create_dir(place.path("dir")).unwrap();
    assert!(place.fails("emit --classes 10 -o dir", 2).contains("is a directory"));
    assert!(place.fails("emit --classes 10 -o nowhere/x.onnx", 2).contains("cannot write nowhere/x.onnx"));
    let left: Vec<_> = std::fs::read_dir(place.0.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["dir"], "nothing is left behind");
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
fn a_formula_of_ones_own_compiles_and_checks() {
    let place = Place::new();
    let yaml = "name: mine\nparameters: {tau: 2.0}\nrow:\n  ease: one_minus_exp(-tau * nll)\n\
                loss: class_weight * nll * ease ^ 0.5 + 0.1 * sqrt(q) + 1e-3 * log(1 + feature_l1)\n";
    std::fs::write(place.path("mine.yaml"), yaml).unwrap();
    let engine = format!("--runtime {}", onnx_runtime());
    place.ok(&format!(
        "emit mine.yaml --classes 5 --outputs loss,logits_grad,features_grad,ease -o m.onnx --check {engine}"
    ));
}

#[test]
fn formulas_that_would_cancel_are_right_for_sure_samples() {
    let place = Place::new();
    std::fs::write(place.path("textbook.yaml"), "name: textbook\nloss: -log(p) + (1 - p) ^ 2\n").unwrap();
    let engine = format!("--runtime {}", onnx_runtime());
    let text = place.ok(&format!("emit textbook.yaml --classes 5 -o t.onnx --check {engine}"));
    assert!(text.contains("margin 80 right") && text.contains("PASS"), "{text}");
    assert!(place.ok("explain textbook.yaml").contains("L     = nll + q ^ 2"));
}
