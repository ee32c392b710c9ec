//! `ibgraph report --compare`, and results that a report reads.

use ibgraph::bench::results::{ArmResult, CellResult, FORMAT, Series, Status};
use ibgraph::bench::{Environment, Results};
use serde_json::Value;

use crate::{PLAN, Place};

/// Results of one arm whose runs take `seconds`, give or take half a percent.
pub(crate) fn results(seconds: f64) -> Results {
    let block = |k: usize| (0..10).map(|i| seconds * (1.0 + 0.001 * ((i * 7 + k * 3) % 11) as f64)).collect();
    let series = Series::new(&(0..12).map(block).collect(), 0.02);
    let arm = ArmResult { reason: None, cold: series.clone(), warm: series, ..blank("portable") };
    let plan = ibgraph::bench::Plan::from_yaml("plan", PLAN).unwrap();
    let mut cell = CellResult::new(&plan.cells[0], Some(292), 2, true);
    cell.arms.push(arm);
    cell.finish();
    Results {
        format: FORMAT,
        ibgraph: "0.1.0".to_owned(),
        plan: "small".to_owned(),
        title: None,
        plan_sha256: String::new(),
        started: String::new(),
        environment: Environment::default(),
        warnings: Vec::new(),
        planned: 1,
        cells: vec![cell],
    }
}

fn blank(arm: &str) -> ArmResult {
    ArmResult::without_times(arm.to_owned(), Status::Measured, String::new())
}

#[test]
fn a_comparison_tells_faster_slower_and_same_by_its_exit_code() {
    let place = Place::new();
    place.write("base.json", &results(1e-3));
    let mut busy = results(1e-3);
    busy.cells[0].others_cpu = Some(0.5);
    let cases = [
        (results(1e-3), 0, "same"),
        (results(1.03e-3), 0, "slower"),
        (results(1.2e-3), 1, "**regression**"),
        (results(0.8e-3), 0, "faster"),
        (busy, 4, "other programs took 50 %"),
    ];
    for (head, code, word) in cases {
        place.write("head.json", &head);
        let text = place.ends("report --compare base.json head.json --max-regression 5%", code);
        assert!(text.contains(word), "{text}");
    }
    let mut other = results(1e-3);
    other.cells.clear();
    place.write("head.json", &other);
    let text = place.ends("report --compare base.json head.json", 4);
    assert!(text.contains("only in the baseline"), "{text}");
}

/// Results whose arm has no times.
fn without_times(status: Status) -> Results {
    let mut results = results(1e-3);
    let reason = "as the test says".to_owned();
    results.cells[0].arms[0] = ArmResult::without_times("portable".to_owned(), status, reason);
    results
}

#[test]
fn an_arm_that_lost_its_times_is_no_success() {
    let place = Place::new();
    // A second arm, which is as fast as it was.
    let beside = |mut results: Results| {
        let arm = ArmResult { arm: "fused".to_owned(), ..self::results(1e-3).cells[0].arms[0].clone() };
        results.cells[0].arms.push(arm);
        results
    };
    let mut early = beside(results(1e-3));
    early.planned = 2;
    let mut base = early.clone();
    base.cells.push(CellResult { id: "another cell".to_owned(), ..base.cells[0].clone() });
    place.write("base.json", &base);
    let mut dropped = early.clone();
    dropped.planned = 1;
    let cases = [
        (Status::Wrong, 1, "**Broken**", "portable: its numbers are off now: as the test says"),
        (Status::Failed, 1, "**Broken**", "portable: it fails now: as the test says"),
        (Status::Absent, 4, "**Not measured**", "portable: it is absent now: as the test says"),
    ];
    for (status, code, kind, words) in cases {
        place.write("head.json", &beside(without_times(status)));
        let text = place.ends("report --compare base.json head.json", code);
        assert!(text.contains(kind) && text.contains(words) && text.contains("| same |"), "{text}");
        // It never had any.
        place.write("before.json", &beside(without_times(Status::Absent)));
        place.ends("report --compare before.json head.json", 0);
    }
    place.write("head.json", &early);
    let text = place.ends("report --compare base.json head.json", 4);
    assert!(text.contains("**Not measured**: another cell: only in the baseline"), "{text}");
    place.write("head.json", &dropped);
    let text = place.ends("report --compare base.json head.json", 0);
    assert!(text.contains("- another cell: only in the baseline"), "{text}");
}

#[test]
fn results_of_different_machines_are_compared_only_by_force() {
    let place = Place::new();
    place.write("base.json", &results(1e-3));
    let mut head = results(1e-3);
    head.environment.cpu = Some("another".to_owned());
    place.write("head.json", &head);
    let text = place.ends("report --compare base.json head.json", 2);
    assert!(text.contains("different machines (processor: `unknown` and `another`)"), "{text}");
    // By force there is a table, but still no verdict.
    let text = place.ends("report --compare base.json head.json --force", 4);
    assert!(text.contains("| same |"), "{text}");
}

#[test]
fn results_that_contradict_themselves_are_refused() {
    let place = Place::new();
    let good = serde_json::to_value(results(1e-3)).unwrap();
    let change = |path: &str, value: Value| {
        let mut changed = good.clone();
        *changed.pointer_mut(path).unwrap() = value;
        changed.to_string()
    };
    let cases = [
        change("/cells/0/arms/0/cold/summary/median", 0.0.into()),
        change("/cells/0/arms/0/cold/samples_ns", Value::Array(Vec::new())),
        change("/cells/0/arms/0/cold/samples_ns/0", Value::Array(Vec::new())),
        change("/cells/0/arms/0/cold", Value::Null),
        change("/cells/0/arms/0/status", "absent".into()),
        change("/cells/0/arms/0/status", "excellent".into()),
        change("/cells", Value::Null),
        good.to_string()[..500].to_owned(),
        String::new(),
    ];
    for text in cases {
        std::fs::write(place.path("bad.json"), text).unwrap();
        let message = place.ends("report bad.json", 2);
        assert!(message.contains("bad.json: ") && message.contains("measure again"), "{message}");
    }
}
