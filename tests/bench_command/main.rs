//! `ibgraph bench` and `ibgraph report` as a user runs them.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use ibgraph::bench::Results;
use serde_json::Value;
use tempfile::TempDir;

mod compare;

use compare::results;

const PLAN: &str = "\
name: small
losses: [ib, cross-entropy]
rows: [4, 9]
classes: [5]
features: [3]
threads: [1]
lowerings: [portable]
peers: [pytorch-eager]
exclude:
  - {losses: cross-entropy, rows: 9}
budget: {cell: 0.05, samples: 20}
max_regression: 10%
";

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(files: &[(&str, &str)]) -> Self {
        let place = Self::new();
        for (name, text) in files {
            std::fs::write(place.path(name), text).unwrap();
        }
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, line: &str) -> Output {
        let mut command = Command::cargo_bin("ibgraph").unwrap();
        command.args(line.split_whitespace()).current_dir(self.0.path());
        command.env("ORT_DYLIB_PATH", onnx_runtime()).env_remove("IBGRAPH_PEER_PYTHON");
        command.output().unwrap()
    }

    /// Runs a line that must end with `code`; returns both outputs.
    fn ends(&self, line: &str, code: i32) -> String {
        let output = self.run(line);
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        assert_eq!(output.status.code(), Some(code), "{line}\n{text}");
        assert!(!text.contains("panicked"), "{line}\n{text}");
        text
    }

    fn write(&self, name: &str, results: &Results) {
        std::fs::write(self.path(name), serde_json::to_vec(results).unwrap()).unwrap();
    }
}

fn onnx_runtime() -> String {
    std::env::var("IBGRAPH_TEST_ORT").expect("set IBGRAPH_TEST_ORT to an ONNX Runtime library; ci/test does")
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_plan_is_measured_and_every_report_is_written() {
    let place = Place::with(&[("plan.yaml", PLAN)]);
    let text = place.ends("bench plan.yaml -o out", 0);
    assert!(text.contains("## ib, f32, cpu, 1 thread"), "{text}");
    assert!(text.contains("no Python with PyTorch was named"), "an absent peer is told\n{text}");
    let results = json(&place.path("out/results.json"));
    let cells = results["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 3);
    for cell in cells {
        let arms = cell["arms"].as_array().unwrap();
        let statuses: Vec<&str> = arms.iter().map(|arm| arm["status"].as_str().unwrap()).collect();
        assert_eq!(statuses, ["measured", "absent", "measured"]);
        let portable = &arms[0];
        assert!(portable["cold"]["summary"]["median"].as_f64().unwrap() > 0.0);
        assert!(portable["numerics"]["worst_row"].as_f64().unwrap() <= 2e-6);
        assert!(portable["model"]["kernels"].as_u64().unwrap() > 5);
        assert_eq!(portable["model"]["copies"], 0);
    }
    // 2·(N·C + N·D)·4 bytes of logits and features, 8·N of labels, 4 of the loss.
    assert_eq!(cells[0]["bytes"], 2 * (4 * 5 + 4 * 3) * 4 + 8 * 4 + 4);
    for name in ["report.md", "report.html", "results.csv", "github-action.json"] {
        assert!(place.path("out").join(name).metadata().unwrap().len() > 100, "{name}");
    }
    let action = json(&place.path("out/github-action.json"));
    assert_eq!(action.as_array().unwrap().len(), 6);
    let csv = std::fs::read_to_string(place.path("out/results.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + 9);
}

#[cfg(unix)]
#[test]
fn a_peer_that_does_not_start_is_told_with_its_command_and_what_to_do() {
    let place = Place::with(&[("plan.yaml", PLAN)]);
    place.ends("bench plan.yaml -o out --peer-python /bin/false", 0);
    let results = json(&place.path("out/results.json"));
    let peer = &results["cells"][0]["arms"][1];
    assert_eq!((&peer["arm"], &peer["status"]), (&"pytorch-eager".into(), &"absent".into()));
    let reason = peer["reason"].as_str().unwrap();
    for words in ["PyTorch", "`/bin/false pytorch.py`", "`ci/peers`", "--peer-python"] {
        assert!(reason.contains(words), "{reason}");
    }
}

#[test]
fn without_an_operator_library_the_body_is_measured_and_told() {
    let plan = PLAN.replace("lowerings: [portable]", "lowerings: [fused]");
    let place = Place::with(&[("plan.yaml", &plan)]);
    // A program on its own: libraries are looked for beside it.
    let program = place.path("ibgraph");
    std::fs::copy(assert_cmd::cargo::cargo_bin("ibgraph"), &program).unwrap();
    let mut alone = std::process::Command::new(program);
    alone.args(["bench", "plan.yaml", "-o", "out"]).current_dir(place.0.path());
    alone.env("ORT_DYLIB_PATH", onnx_runtime()).env_remove("IBGRAPH_PEER_PYTHON").env_remove("IBGRAPH_OPS");
    assert!(alone.output().unwrap().status.success());
    for cell in json(&place.path("out/results.json"))["cells"].as_array().unwrap() {
        let fused = cell["arms"].as_array().unwrap().iter().find(|arm| arm["arm"] == "fused").unwrap();
        assert_eq!(fused["status"], "measured");
        let note = fused["note"].as_str().unwrap();
        assert!(note.contains("there is no operator library") && note.contains("cargo build"), "{note}");
    }
}

#[test]
fn without_fused_kernels_the_body_is_measured_and_told() {
    let plan = PLAN.replace("lowerings: [portable]", "lowerings: [fused]");
    let place = Place::with(&[("plan.yaml", &plan)]);
    place.ends("bench plan.yaml -o out --no-fused-kernels", 0);
    for cell in json(&place.path("out/results.json"))["cells"].as_array().unwrap() {
        let fused = cell["arms"].as_array().unwrap().iter().find(|arm| arm["arm"] == "fused").unwrap();
        assert_eq!(fused["status"], "measured");
        assert!(fused["note"].as_str().unwrap().starts_with("the function's body"), "{fused}");
        // The kernel would be one.
        assert!(fused["model"]["kernels"].as_u64().unwrap() > 5, "{fused}");
    }
    let text = place.ends("bench plan.yaml --no-fused-kernels --operator-library x.so", 2);
    assert!(text.contains("cannot be used with"), "{text}");
}

#[test]
fn a_run_that_ended_early_goes_on_where_it_was() {
    let place = Place::with(&[("plan.yaml", PLAN)]);
    place.ends("bench plan.yaml -o out", 0);
    let path = place.path("out/results.json");
    let whole = json(&path);
    let mut part = whole.clone();
    part["cells"].as_array_mut().unwrap().truncate(1);
    std::fs::write(&path, part.to_string()).unwrap();
    let before = part["cells"][0].clone();
    place.ends("bench plan.yaml -o out --resume", 0);
    let resumed = json(&path);
    assert_eq!(resumed["cells"].as_array().unwrap().len(), 3);
    assert_eq!(resumed["cells"][0], before, "what was measured is kept");
    assert_eq!(resumed["started"], whole["started"]);
    std::fs::write(place.path("plan.yaml"), PLAN.replace("[5]", "[6]")).unwrap();
    let text = place.ends("bench plan.yaml -o out --resume", 2);
    assert!(text.contains("is of another plan"), "{text}");
}

#[cfg(unix)]
#[test]
fn an_interrupt_keeps_what_was_measured() {
    let long = PLAN.replace("cell: 0.05, samples: 20", "cell: 2, samples: 100000, precision: 0.001%");
    let place = Place::with(&[("plan.yaml", &long)]);
    let program = assert_cmd::cargo::cargo_bin("ibgraph");
    let mut child = std::process::Command::new(program)
        .args(["bench", "plan.yaml", "-o", "out"])
        .current_dir(place.0.path())
        .env("ORT_DYLIB_PATH", onnx_runtime())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let path = place.path("out/results.json");
    let cells = || std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let start = std::time::Instant::now();
    while cells().is_none_or(|results| results["cells"].as_array().unwrap().is_empty()) {
        assert!(start.elapsed().as_secs() < 60, "no cell was done in a minute");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let kept = json(&path);
    let done = kept["cells"].as_array().unwrap().len();
    assert!((1..3).contains(&done), "{done} cells");
    assert!(place.path("out/report.html").exists());
    let text = std::fs::read_to_string(place.path("out/report.md")).unwrap();
    assert!(text.contains("Not complete"), "{text}");
}

#[test]
fn a_dry_run_says_what_must_be_moved_and_measures_nothing() {
    let place = Place::with(&[("plan.yaml", PLAN)]);
    let text = place.ends("bench plan.yaml -o out --dry-run", 0);
    assert!(text.contains("ib f32 N=4 C=5 D=3 cpu t=1"), "{text}");
    assert!(text.contains("moves 292 B a run"), "{text}");
    assert!(text.contains("3 cells, at most 0 s"), "{text}");
    assert!(!place.path("out").exists());
    for plan in ["quick", "cpu", "gpu", "ci"] {
        place.ends(&format!("bench {plan} --dry-run"), 0);
    }
}

#[test]
fn mistakes_in_a_plan_are_shown_at_their_place() {
    let cases = [
        ("classes: [5]", "clases: [5]", "plan.yaml:4", "did you mean `classes`?"),
        ("[portable]", "[portabel]", "plan.yaml:7:13", "no lowering `portabel`; did you mean `portable`?"),
        ("[ib, cross-entropy]", "[ib, cross-entopy]", "plan.yaml:2:14", "did you mean `cross-entropy`?"),
        ("rows: [4, 9]", "rows: []", "plan.yaml:", "`rows` has no entry"),
        ("rows: [4, 9]", "rows: [4, 4]", "plan.yaml:3:11", "listed twice"),
        ("rows: [4, 9]", "rows: [4, -1]", "plan.yaml:3:11", "a whole number is wanted here, without a sign"),
        ("rows: [4, 9]", "rows: 4", "plan.yaml:3:7", "a list is wanted here"),
        ("name: small", "name: [", "plan.yaml:1:7", "a word or a text is wanted here"),
        ("cell: 0.05", "cell: soon", "plan.yaml:11:16", "a number is wanted here"),
        (PLAN, "", "plan.yaml: ", "the plan is empty"),
        ("classes: [5]", "classes: [1]", "plan.yaml:4:11", "`classes` are 2 to"),
        ("losses: cross-entropy, rows: 9", "rows: [4, 9]", "plan.yaml:", "`exclude` leaves no cell"),
        ("losses: cross-entropy, rows: 9", "arms: [portabel]", "plan.yaml:10", "no arm `portabel`"),
        ("cell: 0.05", "cell: -1", "plan.yaml:11:16", "0.01 to 3600 seconds"),
        ("10%", "ten", "plan.yaml:12:17", "`ten` is no share"),
        ("samples: 20", "memory: 5 apples", "plan.yaml:11", "`5 apples` is no size"),
    ];
    for (from, to, place_in_file, message) in cases {
        let place = Place::with(&[("plan.yaml", &PLAN.replace(from, to))]);
        let text = place.ends("bench plan.yaml -o out", 2);
        assert!(text.contains(place_in_file) && text.contains(message), "{to}\n{text}");
        assert!(!place.path("out").exists());
    }
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_measured() {
    let place = Place::with(&[
        ("plan.yaml", PLAN),
        ("huge.yaml", &PLAN.replace("[4, 9]", "[2000000000]").replace("[5]", "[2000000000]")),
        ("file", "in the way"),
        ("broken.json", "{\"format\": 1, \"cells\": [}"),
        ("newer.json", "{\"format\": 99}"),
    ]);
    let text = place.ends("bench huge.yaml -o out", 2);
    assert!(text.contains("of memory, and there are"), "{text}");
    let text = place.ends("bench plan.yaml -o file/out", 2);
    assert!(text.contains("cannot make the directory file/out"), "{text}");
    let text = place.ends("bench plan.yaml -o out --provider cuda", 3);
    assert!(text.contains("provider `cuda` is not available"), "{text}");
    let text = place.ends("bench plan.yaml -o out --baseline broken.json", 2);
    assert!(text.contains("broken.json: not the results"), "{text}");
    let text = place.ends("bench plan.yaml -o out --baseline newer.json", 2);
    assert!(text.contains("format 99"), "{text}");
    let text = place.ends("bench nothing.yaml", 2);
    assert!(text.contains("cannot read nothing.yaml"), "{text}");
    assert!(!place.path("out").exists());
}

#[test]
fn a_name_with_markup_does_not_break_out_of_the_page() {
    let place = Place::new();
    let mut evil = results(1e-3);
    evil.plan = "</script><script>alert(1)</script>".to_owned();
    evil.warnings.push("</script><img src=x>".to_owned());
    place.write("evil.json", &evil);
    place.ends("report evil.json --format html -o page.html", 0);
    let page = std::fs::read_to_string(place.path("page.html")).unwrap();
    assert_eq!(page.matches("</script>").count(), 2, "the data's and the script's own");
    assert!(!page.contains("<img"));
    assert!(!page.contains("http://") || page.matches("http://").count() == 1, "only the SVG namespace");
    assert!(!page.contains("https://"));
}
