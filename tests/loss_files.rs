//! Loss files that cannot be used: one clear message with the place in the file, and the old output left as it was.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use assert_cmd::Command;
use ibgraph::graph::{Dim, ValueId};
use ibgraph::{artifact, lower};
use tempfile::TempDir;

/// Standard error of `ibgraph emit` on a source that it must refuse.
fn refused(source: impl AsRef<[u8]>, options: &str) -> String {
    let place = TempDir::new().unwrap();
    std::fs::write(place.path().join("a.yaml"), source).unwrap();
    std::fs::write(place.path().join("old.onnx"), "old").unwrap();
    let mut command = Command::cargo_bin("ibgraph").unwrap();
    command.args(["emit", "a.yaml", "--classes", "3", "-o", "old.onnx"]).args(options.split_whitespace());
    let output = command.current_dir(place.path()).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(output.stdout.is_empty() && error.starts_with("error: "), "{error}");
    assert_eq!(std::fs::read_to_string(place.path().join("old.onnx")).unwrap(), "old");
    error
}

/// Each source is refused with a message that has all of the texts.
fn each_is_refused(cases: &[(&str, &[&str])]) {
    for (source, texts) in cases {
        let error = refused(source, "");
        for text in *texts {
            assert!(error.contains(text), "{source}\nlacks {text}:\n{error}");
        }
    }
}

/// A source with this formula.
fn formula(text: &str) -> String {
    format!("name: a\nparameters: {{k: 1}}\nloss: {text}\n")
}

#[test]
fn names_that_are_not_there_are_shown_with_the_nearest_known_one() {
    each_is_refused(&[
        (
            &formula("2.0 * nul"),
            &["a.yaml:3:13: unknown name `nul`; did you mean `nll`?", "\n  |             ^^^"],
        ),
        (&formula("\"nll + featur_l1\""), &["a.yaml:3:14: unknown", "did you mean `feature_l1`?"]),
        (
            &formula(">\n  nll +\n  clas_weight * q"),
            &["a.yaml:5:3: unknown", "5 |   clas_weight * q\n  |   ^^^^^^^^^^^\n"],
        ),
        (&formula("qrt(q)"), &["unknown function `qrt`; did you mean `sqrt`?"]),
        ("name: a\nloss: nll\nlogits: {bias: log(class_prio)}\n", &["3:20", "did you mean `class_prior`?"]),
        ("name: a\nrow: {x: &f nl}\nloss: *f\n", &["a.yaml:2:13: unknown name `nl`; did you mean `nll`?"]),
    ]);
}

#[test]
fn formulas_that_are_none_say_what_was_expected_and_where() {
    each_is_refused(&[
        (&formula("exp(nll, q)"), &["3:7: `exp` takes 1 argument, not 2", "^^^^^^^^^^^"]),
        (&formula("1 + min(nll)"), &["3:11: `min` takes 2 arguments, not 1"]),
        (&formula("nll +"), &["3:12: expected a number, a name or `(`, found the end"]),
        (&formula("(nll"), &["3:11: expected `)`, found the end"]),
        (&formula("nll q"), &["3:11: expected an operator", "found `q`"]),
        (&formula("nll ** 2"), &["3:12: expected a number", "a power is written a ^ b"]),
        (&formula("nll * 1e999"), &["3:13: 1e999 is beyond the largest float64"]),
        (&formula("[nll]"), &["3:7: expected a formula or a text"]),
    ]);
}

#[test]
fn row_entries_that_need_each_other_are_shown_where_the_circle_closes() {
    let circle = "name: a\nrow:\n  w: x\n  x: y + 1\n  y: z * nll\n  z: 2 * x\nloss: w\n";
    each_is_refused(&[
        (circle, &["a.yaml:6:10: ", "in a circle: x -> y -> z -> x"]),
        ("name: a\nrow: {x: x}\nloss: nll\n", &["2:10: ", "in a circle: x -> x"]),
    ]);
}

#[test]
fn constants_must_be_finite_and_divisors_other_than_zero() {
    each_is_refused(&[
        (&formula("nll / 0"), &["3:13: division by a constant that is 0"]),
        (&formula("nll / (k - 1)"), &["3:14: division by a constant that is 0", "^^^^^"]),
        ("name: a\nrow: {z: 3 - 3}\nloss: nll / (1 + z / z)\n", &["3:22: division by a constant that is 0"]),
        (&formula("nll * log(0)"), &["3:13: this constant is -inf"]),
        (&formula("nll + sqrt(-k)"), &["3:13: this constant is NaN"]),
        (&formula("nll * 1e200 ^ 2"), &["3:13: this constant is inf"]),
    ]);
    let error = refused(formula("nll / (k - 2)"), "--set k=2");
    assert!(error.contains("`k - 2` in `loss`: division by a constant that is 0"), "{error}");
}

#[test]
fn a_loss_without_a_gradient_is_refused() {
    let zero = "the gradient of the loss by the logits is 0 everywhere";
    each_is_refused(&[
        (&formula("2 + k"), &["3:7: the loss does not depend on the logits; use nll, p, q"]),
        (&formula("feature_l1 * class_weight"), &["does not depend on the logits"]),
        (&formula("stop(nll) * feature_l1"), &[zero]),
        (&formula("sign(margin)"), &[zero]),
        (&formula("(k - 1) * nll"), &[zero]),
        (&formula("nll ^ 0"), &[zero]),
        (&formula("q * p - q * p"), &[zero]),
    ]);
    assert!(refused(formula("k * nll"), "--set k=0").contains(zero));
    let stopped = "name: a\nrow: {influence_weight: q}\nloss: influence_weight * feature_l1\n";
    assert!(refused(stopped, "--influence-gradient stopped").contains(zero));
}

#[test]
fn a_loss_whose_slopes_cancel_is_refused_by_every_way_to_write_it() {
    // By calculus, with dq/du = pq, dp/du = -pq, d nll/du = q: each is 0 whatever u is.
    let formulas = [
        "p + q",
        "nll + log(p)",
        "nll * (p - p)",
        "q*(p-p)",
        "error_l1 - 2*q",
        "nll*(q-q)+feature_l1",
        "nll * stop(p) - q",
    ];
    let text = "the gradient of the loss `a` by the logits is 0 everywhere: in";
    for formula_text in formulas {
        let error = refused(formula(formula_text), "");
        assert!(error.contains(text) && error.contains(formula_text), "{formula_text}\n{error}");
    }
    for lowering in ["fused", "direct", "trainable", "explicit-backward"] {
        let error = refused(formula("nll*(q-q)+feature_l1"), &format!("--lowering {lowering}"));
        assert!(error.contains(text), "{lowering}\n{error}");
    }
    let place = TempDir::new().unwrap();
    std::fs::write(place.path().join("a.yaml"), formula("p + q")).unwrap();
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/graft_cases/linear.onnx");
    let graft = format!("graft {model} a.yaml -o g.onnx");
    for line in [graft.clone(), graft + " --emit train-step", "explain a.yaml".to_owned()] {
        let mut command = Command::cargo_bin("ibgraph").unwrap();
        let output = command.args(line.split_whitespace()).current_dir(place.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(text), "{line}");
    }
    assert!(!place.path().join("g.onnx").exists());
}

#[test]
fn keys_and_values_are_checked() {
    each_is_refused(&[
        ("name: a\nloss: nll\nlosss: q\n", &["3:1: unknown key `losss`; did you mean `loss`?"]),
        ("name: a\nloss: nll\nlogits: {bais: 1}\n", &["3:10: unknown key `bais`; did you mean `bias`?"]),
        ("name: a\nloss: nll\nloss: q\n", &["3:1: the key `loss` is given twice"]),
        ("name: a\nloss: x\nrow: {x: nll, x: q}\n", &["3:15: the key `x` is given twice"]),
        ("name: a\nloss: nll\nparameters: {k: 1, k: 2}\n", &["3:20: the key `k` is given twice"]),
        ("name: a\n", &["the key `loss` is missing"]),
        ("", &["the source is empty"]),
        ("name: a\nloss: nll\nreduction: men\n", &["3:12: unknown value `men`; did you mean `mean`?"]),
        ("name: a\nloss: nll\nparameters: {k: abc}\n", &["3:", "expected a number, or {default: NUMBER}"]),
        ("name: a\nloss: nll\nparameters: {k: 1e999}\n", &["3:17: `1e999` is not a finite number"]),
        ("name: a\nloss: nll\nparameters: {k: {default: 1, above: 2}}\n", &["k is 1; it must be above 2"]),
        ("name: a\nloss: nll\nparameters: {k: {default: 1, abov: 2}}\n", &["did you mean `above`?"]),
        ("name: a\nloss: nll\nrow: {logits: q}\n", &["3:7: `logits` is taken by the language"]),
        ("name: a\nrow:\n  loss: nll\nloss: nll\n", &["3:3: `loss` is taken by the language"]),
        ("name: a\nparameters:\n  nll: 1\nloss: nll\n", &["3:3: `nll` is taken by the language"]),
        ("name: a\nparameters:\n  k: 1\nrow:\n  k: q\nloss: nll\n", &["`k` is both a parameter"]),
        (
            "name: a\nloss: nll\nlogits: {scale: 0}\n",
            &["3:17: the logits are scaled by 0; the scale must be"],
        ),
        ("name: a\nloss: nll\nlogits:\n  scale: -1\n", &["4:10: the logits are scaled by -1"]),
        ("name: a\nloss: nll\nlogits:\n  scale: 1e39\n", &["4:10: the logits are scaled by 1e39; float32"]),
        ("name: a\nloss: nll\nlogits:\n  scale: 1e-44\n", &["4:10: ", "no such number with all its digits"]),
        ("name: a\nloss: nll\nrow: &r\n  c: *r\n", &["4:6: an alias stands inside what it refers to"]),
        ("name: a\nloss: !!python/object nll\n", &["2:23: the tag `!!python/object` has no meaning here"]),
        ("name: a\nloss: nll\nrow: {1x: q}\n", &["`1x` is not a name"]),
        ("name: a b\nloss: nll\n", &["1:7: `a b` cannot name a loss"]),
        ("name: \"a\\e[1m\"\nloss: nll\n", &["1:7: ", "cannot name a loss"]),
        ("name: a\ntitle: \"\\e[1m\"\nloss: nll\n", &["2:8: there is a control character"]),
        ("name: a\nloss: nll\n---\nname: b\nloss: q\n", &["a source is one YAML document"]),
        ("- name: a\n", &["1:1: expected keys and values"]),
        ("name: a\nloss: \"nll\n", &["2:7: unclosed quote"]),
        ("name: a\nloss: *x\n", &["unknown anchor"]),
    ]);
}

#[test]
fn text_that_is_not_utf_8_is_told() {
    assert!(refused(b"name: \xff\xfe\nloss: nll\n", "").contains("a.yaml is not UTF-8 text"));
}

/// Far more than a debug build needs to refuse any of these; the worst took minutes or the stack.
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn sources_that_would_grow_out_of_bounds_are_refused_at_once() {
    let list = |name: &str, what: &str| format!("{name}: &{name} [{}]\n", [what; 9].join(", "));
    let mut aliases = "name: a\nloss: nll\nparameters:\n  ".to_owned() + &list("a", "1");
    let mut chain = "name: a\nrow:\n  a0: nll\n".to_owned();
    let mut doubling = chain.clone();
    for k in 0..200 {
        let (name, last) = (format!("b{k}"), if k == 0 { "*a".to_owned() } else { format!("*b{}", k - 1) });
        aliases += &("  ".to_owned() + &list(&name, &last));
        writeln!(chain, "  a{}: exp(-(a{k}))", k + 1).unwrap();
        writeln!(doubling, "  a{}: a{k} * a{k}", k + 1).unwrap();
    }
    let terms: Vec<String> = (0..60).map(|k| format!("exp({k} * nll)")).collect();
    let entries: String = (0..40).map(|k| format!("  a{k}: {}\n", terms.join(" + "))).collect();
    let powers = ["2^".repeat(100) + "(1 + ", "nll".to_owned(), ")".to_owned()];
    let cases = [
        (aliases, "expected a number"),
        (chain + "loss: a200\n", "nests deeper than 256 levels"),
        (doubling + "loss: a200\n", "more than 10000 parts"),
        (format!("name: a\nrow:\n{entries}loss: a0\n"), "more than 4000 parts"),
        (
            formula(&(powers[0].repeat(15) + &powers[1] + &powers[2].repeat(15))),
            "nests deeper than 128 levels",
        ),
        (formula(&("(".repeat(2000) + "nll" + &")".repeat(2000))), "nests deeper than 128 levels"),
        (formula(&("-".repeat(4000) + "nll")), "nests deeper than 128 levels"),
        (formula(&["q"; 200].join(" + ")), "nests deeper than 128 levels"),
        (formula(&["q"; 2000].join(" + ")), "longer than 4096 bytes"),
        (format!("name: a\nloss: nll\ntitle: {}\n", "[".repeat(100_000)), "expected a formula or a text"),
        (format!("name: a\nloss: nll\ntitle: {}\n", "x".repeat(300_000)), "262144 are the most"),
        (
            format!(
                "name: a\nloss: nll\nrow:\n{}",
                (0..300).map(|k| format!("  r{k}: q\n")).collect::<String>()
            ),
            "`r250` is one too many",
        ),
    ];
    for (source, text) in cases {
        let start = Instant::now();
        let error = refused(&source, "");
        assert!(error.contains(text), "lacks {text}:\n{error}");
        assert!(error.lines().all(|line| line.chars().count() < 400), "{error}");
        assert!(start.elapsed() < PATIENCE, "{text}: {:?}", start.elapsed());
    }
}

/// What the program says; it must succeed.
fn said(place: &TempDir, line: &str) -> String {
    let mut command = Command::cargo_bin("ibgraph").unwrap();
    let output = command.args(line.split_whitespace()).current_dir(place.path()).output().unwrap();
    assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// How many nodes of a file's graph read or make a value with one column a class.
fn nodes_of_all_classes(file: &Path, classes: usize) -> usize {
    let loss = artifact::open(&std::fs::read(file).unwrap()).unwrap().loss;
    let graph = lower::portable(&loss);
    let wide = |id: &ValueId| graph.value(*id).ty.shape.get(1).and_then(Dim::fixed) == Some(classes);
    graph.nodes().iter().filter(|node| node.inputs.iter().chain(&node.outputs).any(wide)).count()
}

#[test]
fn the_worked_example_of_the_documentation_is_what_the_program_says() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/adding-a-loss.md")).unwrap();
    let blocks: Vec<&str> = page.split("```").skip(1).step_by(2).collect();
    let [source, explained, written] = blocks[..] else { panic!("{} blocks", blocks.len()) };
    let place = TempDir::new().unwrap();
    std::fs::write(place.path().join("poly.yaml"), source.strip_prefix("yaml\n").unwrap()).unwrap();
    let text = said(&place, "explain poly.yaml");
    assert!(text.contains(explained.trim()), "{text}");
    let text = said(&place, "emit poly.yaml --classes 10 -o poly.onnx --check --engine embedded");
    assert!(text.contains(written.trim()), "{text}");
    let model = ibgraph::onnx::read(&std::fs::read(place.path().join("poly.onnx")).unwrap()).unwrap();
    let nodes = model.graph.unwrap().node.len();
    assert!(page.contains(&format!("The file has {nodes} nodes")), "{nodes} nodes");
    assert_eq!(nodes_of_all_classes(&place.path().join("poly.onnx"), 10), 7);
    assert!(page.contains("Seven touch [N, C]"));
}

#[test]
fn more_classes_than_can_be_held_are_refused() {
    let place = TempDir::new().unwrap();
    let mut command = Command::cargo_bin("ibgraph").unwrap();
    command.args(["emit", "--classes", "2000000000", "-o", "a.onnx", "--check", "--engine", "embedded"]);
    let output = command.current_dir(place.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("check on data, with --data"));
    assert!(!place.path().join("a.onnx").exists());
    for classes in ["0", "1", "2000000000"] {
        let mut command = Command::cargo_bin("ibgraph").unwrap();
        assert_eq!(
            command.args(["explain", "ib", "--classes", classes]).output().unwrap().status.code(),
            Some(2)
        );
    }
}
