//! `emit`: losses, options and files.

use crate::{Place, onnx_runtime, stderr};

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

/// An interrupt during the check, which runs before anything is written, ends the program as any other and loses nothing.
#[cfg(unix)]
#[test]
fn an_interrupt_during_the_check_leaves_the_old_file() {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Stdio;
    let place = Place::new();
    std::fs::write(place.path("old.onnx"), "old").unwrap();
    // So many classes that the check takes far longer than the wait below.
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_ibgraph"))
        .args("emit --classes 300000 -o old.onnx --check --engine embedded".split(' '))
        .current_dir(place.path(""))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    let id = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    const SIGINT: i32 = 2;
    assert_eq!(child.wait().unwrap().signal(), Some(SIGINT), "it was still at work");
    assert_eq!(std::fs::read_to_string(place.path("old.onnx")).unwrap(), "old");
    assert_eq!(std::fs::read_dir(place.path("")).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn so_many_classes_that_no_file_could_list_them_are_refused() {
    let place = Place::new();
    let output = place.run("emit --classes 2147483647 --opset 9 -o loss.onnx");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--opset 11"), "{output:?}");
    place.ok("emit --classes 2147483647 -o loss.onnx");
}
