//! The program as a user runs it.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::path::PathBuf;
use std::process::Output;

use assert_cmd::Command;
use tempfile::TempDir;

mod check;
mod emit;

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

#[cfg(target_os = "linux")]
#[test]
fn what_a_full_disk_does_not_take_is_an_error() {
    let place = Place::new();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("ibgraph"));
    command.arg("losses").current_dir(place.path("")).stdout(full);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).starts_with("error: cannot write to standard output: "), "{}", stderr(&output));
}
