//! `ibgraph losses` and `ibgraph explain` as a user runs them.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::path::Path;
use std::process::Output;

use assert_cmd::Command;
use tempfile::TempDir;

fn run_in(place: &Path, line: &str) -> Output {
    let mut command = Command::cargo_bin("ibgraph").unwrap();
    command.args(line.split_whitespace()).current_dir(place).output().unwrap()
}

fn run(line: &str) -> Output {
    run_in(Path::new("."), line)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Standard output of a line that must succeed.
fn ok_in(place: &Path, line: &str) -> String {
    let output = run_in(place, line);
    assert!(output.status.success(), "{line}\n{}", text(&output.stderr));
    text(&output.stdout)
}

fn ok(line: &str) -> String {
    ok_in(Path::new("."), line)
}

/// Standard error of a line that must be refused as wrong use.
fn refused(line: &str) -> String {
    let output = run(line);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{line}\n{error}");
    assert!(output.stdout.is_empty() && !error.contains("panicked"), "{line}\n{error}");
    error
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Cross entropy of a row whose label leads by `margin`.
fn nll(margin: f64) -> f64 {
    (-margin).exp().ln_1p()
}

/// Loss and slope of the Influence-Balanced loss (Park et al., ICCV 2021, eq. 6) at its published parameters.
fn influence_balanced(margin: f64, h: f64) -> (f64, f64) {
    let (p, q) = (sigmoid(margin), sigmoid(-margin));
    let divisor = 2.0 * q * h + 0.001;
    let loss = 1000.0 * nll(margin) / divisor;
    let slope = 1000.0 * q / divisor - 1000.0 * nll(margin) * 2.0 * p * q * h / (divisor * divisor);
    (loss, slope.abs())
}

/// The lines of numbers in an explanation: margin, then loss and slope of each curve.
fn table(explanation: &str) -> Vec<Vec<f64>> {
    let numbers = |line: &str| line.split_whitespace().map(|n| n.parse().ok()).collect::<Option<Vec<f64>>>();
    let lines = explanation.lines().skip_while(|line| !line.trim_start().starts_with("margin  ")).skip(1);
    lines.take_while(|line| !line.is_empty()).map(|line| numbers(line).unwrap()).collect()
}

/// Three digits are printed, so that half a unit of the third is off at most.
const THREE_DIGITS: f64 = 0.0051;

fn assert_printed(got: f64, want: f64, what: &str) {
    assert!((got - want).abs() <= THREE_DIGITS * want.abs(), "{what}: {got}, not {want}");
}

#[test]
fn losses_lists_what_is_built_in() {
    insta::assert_snapshot!(ok("losses"));
}

#[test]
fn losses_tells_one_loss_in_detail() {
    insta::assert_snapshot!(ok("losses ib-focal"));
}

#[test]
fn show_prints_the_source_byte_for_byte() {
    for name in ["ib", "ib-focal", "cross-entropy"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("graphs/{name}.yaml"));
        assert_eq!(run(&format!("losses {name} --show")).stdout, std::fs::read(file).unwrap(), "{name}");
    }
}

#[test]
fn a_shown_loss_can_be_explained_and_emitted_from_its_file() {
    let place = TempDir::new().unwrap();
    std::fs::write(place.path().join("mine.yaml"), ok("losses ib --show")).unwrap();
    assert_eq!(ok_in(place.path(), "explain mine.yaml"), ok("explain ib"));
    ok_in(place.path(), "emit mine.yaml --classes 5 -o mine.onnx");
}

#[test]
fn wrong_use_is_told_with_what_was_meant() {
    let lines = [
        ("losses ib-focl", "no built-in loss `ib-focl`; did you mean `ib-focal`?"),
        ("losses nothing-like-it", "known here: ib, ib-cb, ib-focal"),
        ("losses --show", "<NAME>"),
        ("explain nothing", "built in are ib"),
        ("explain absent.yaml", "cannot read absent.yaml"),
        ("explain ib --set alhpa=1", "did you mean `alpha`"),
        ("explain ib --set alpha", "NAME=NUMBER"),
        ("explain ib --set epsilon=0", "epsilon is 0; it must be above 0"),
        ("explain ib --classes 1", "not in 2..=1000000"),
    ];
    for (line, message) in lines {
        let error = refused(line);
        assert!(error.contains(message), "{line}\n{error}");
    }
}

#[test]
fn explanations_of_the_built_in_losses() {
    for name in ["ib", "ib-focal", "cross-entropy"] {
        insta::assert_snapshot!(name, ok(&format!("explain {name}")));
    }
}

#[test]
fn the_table_has_the_published_loss_and_its_slope() {
    let rows = table(&ok("explain ib"));
    assert_eq!((rows[0][0], rows.last().unwrap()[0]), (-10.0, 20.0));
    for row in rows {
        let margin = row[0];
        assert_printed(row[1], nll(margin), "cross entropy");
        assert_printed(row[2], sigmoid(-margin), "slope of cross entropy");
        for (k, h) in [0.0, 1.0, 32.0].into_iter().enumerate() {
            let (loss, slope) = influence_balanced(margin, h);
            assert_printed(row[3 + 2 * k], loss, "loss");
            assert_printed(row[4 + 2 * k], slope, "slope");
        }
    }
}

#[test]
fn parameters_change_the_numbers_and_classes_do_not() {
    // The focal loss of Lin et al. (ICCV 2017), q² nll; its slope is q² · q + nll · 2 q · p q.
    let place = TempDir::new().unwrap();
    let yaml = "name: focal\nparameters: {gamma: 1}\nloss: q ^ gamma * nll\n";
    std::fs::write(place.path().join("focal.yaml"), yaml).unwrap();
    let explained = ok_in(place.path(), "explain focal.yaml --set gamma=2");
    assert!(explained.contains("parameters: gamma = 2"), "{explained}");
    assert!(explained.contains("  L     = nll * q ^ 2\n"), "{explained}");
    for row in table(&explained) {
        let (p, q, nll) = (sigmoid(row[0]), sigmoid(-row[0]), nll(row[0]));
        assert_printed(row[3], q * q * nll, "loss");
        assert_printed(row[4], q * q * q + 2.0 * nll * q * p * q, "slope");
    }
    let classes = |c| ok_in(place.path(), &format!("explain focal.yaml --set gamma=2 --classes {c}"));
    assert_eq!(classes(2), explained);
    assert_eq!(classes(1000), explained);
}

#[test]
fn a_formula_too_long_to_print_is_told() {
    let place = TempDir::new().unwrap();
    let mut yaml = "name: long\nrow:\n  a0: nll\n".to_owned();
    for k in 1..10 {
        yaml += &format!("  a{k}: exp(-a{0}) + log(1 + a{0})\n", k - 1);
    }
    std::fs::write(place.path().join("long.yaml"), yaml + "loss: a9\n").unwrap();
    let explained = ok_in(place.path(), "explain long.yaml");
    assert!(explained.contains("∂L/∂u is too long to print; the row program below has it"), "{explained}");
}

/// `x y` pairs of the path whose element starts so; nth of them.
fn points(svg: &str, start: &str, nth: usize) -> Vec<(f64, f64)> {
    let element =
        svg.lines().filter(|line| line.starts_with(start) && line.contains("clip-path")).nth(nth).unwrap();
    let d = element.split(" d=\"M").nth(1).unwrap().split('"').next().unwrap();
    let pair = |p: &str| p.split_once(' ').map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap())).unwrap();
    d.split('L').map(pair).collect()
}

/// x and y of the first text with this content.
fn place_of(svg: &str, content: &str) -> (f64, f64) {
    let line = svg.lines().find(|line| line.ends_with(&format!(">{content}</text>"))).unwrap();
    let attribute = |name: &str| {
        line.split(&format!(" {name}=\"")).nth(1).unwrap().split('"').next().unwrap().parse().unwrap()
    };
    (attribute("x"), attribute("y"))
}

#[test]
fn the_picture_has_the_curves_where_its_axes_say() {
    let place = TempDir::new().unwrap();
    let explained = ok_in(place.path(), "explain ib -o ib.svg");
    assert!(explained.ends_with("wrote ib.svg\n"), "{explained}");
    let svg = std::fs::read_to_string(place.path().join("ib.svg")).unwrap();
    assert!(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\"") && svg.ends_with("</svg>\n"));
    assert!(svg.contains("@media (prefers-color-scheme: dark)"));
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
    for label in
        ["loss L", "slope |∂L/∂u|", "cross entropy", "h = 0", "h = 1", "h = 32", "margin of the label, −u"]
    {
        assert!(svg.contains(&format!(">{label}</text>")), "{label}");
    }
    // Ticks stand 4.5 below their line.
    let (low, high) = (place_of(&svg, "10⁻⁶").1 - 4.5, place_of(&svg, "10⁶").1 - 4.5);
    let decade = (high - low) / 12.0;
    let (left, right) = (place_of(&svg, "−10").0, place_of(&svg, "20").0);
    let curves = [
        ("<path class=\"curve base\"", None),
        ("<path class=\"curve c0\"", Some(0.0)),
        ("<path class=\"curve c1\"", Some(1.0)),
        ("<path class=\"curve c2\"", Some(32.0)),
    ];
    for (start, norm) in curves {
        for (x, y) in points(&svg, start, 0) {
            let margin = -10.0 + (x - left) / (right - left) * 30.0;
            let loss = norm.map_or(nll(margin), |h| influence_balanced(margin, h).0);
            let want = low + (loss.log10() + 6.0) * decade;
            // Coordinates have one decimal, and no curve is steeper than its frame's diagonal by much.
            assert!((y - want).abs() < 0.5, "{start} at margin {margin}: {y}, not {want}");
        }
    }
}

#[test]
fn dash_puts_the_picture_alone_on_standard_output() {
    let output = run("explain cross-entropy -o -");
    assert!(text(&output.stdout).starts_with("<svg") && text(&output.stdout).ends_with("</svg>\n"));
    assert!(text(&output.stderr).starts_with("cross-entropy: Cross entropy"));
    assert_eq!(run("explain cross-entropy -o -").stdout, output.stdout, "the same every time");
}

#[test]
fn a_loss_below_zero_or_undefined_still_makes_a_picture() {
    let place = TempDir::new().unwrap();
    for formula in ["-nll", "p - 1", "log(margin)", "nll * 1e300 * 1e300", "exp(-100 * nll)", "max(q - 2, 0)"]
    {
        let yaml = format!("name: odd\ntitle: a < b & c\nloss: {formula}\n");
        std::fs::write(place.path().join("odd.yaml"), yaml).unwrap();
        let svg = ok_in(place.path(), "explain odd.yaml -o -");
        assert!(
            svg.contains("a &lt; b &amp; c") && !svg.contains("NaN") && !svg.contains("inf"),
            "{formula}"
        );
        // All but the one that is infinite reach 0, or go below it.
        let left_out = svg.contains("values of 0 or less are left out");
        assert_eq!(left_out, !formula.contains("1e300"), "{formula}");
    }
}

#[test]
fn a_picture_that_cannot_be_written_is_told() {
    assert!(refused("explain ib -o nowhere/x.svg").contains("cannot write nowhere/x.svg"));
}
