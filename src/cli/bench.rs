//! `ibgraph bench`: measures a plan and writes its reports.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use super::check::find_library;
use super::ops;
use super::output::{Target, say};
use super::report::{judge, read_results, share};
use super::{Exit, Failure};
use crate::bench::results::Status;
use crate::bench::{self, Plan, Results, Setup};
use crate::report;
use crate::runtime::Provider;

mod dry_run;
mod peers;
mod progress;

use progress::CellProgress;

/// The plans that the program carries, so that they are there without the source tree.
const PLANS: [(&str, &str); 4] = [
    ("quick", include_str!("../../bench-configs/quick.yaml")),
    ("cpu", include_str!("../../bench-configs/cpu.yaml")),
    ("gpu", include_str!("../../bench-configs/gpu.yaml")),
    ("ci", include_str!("../../bench-configs/ci.yaml")),
];

/// Measure lowerings, providers and peers side by side
///
/// Every graph is first compared with the float64 reference. Results are written after every cell, so that Ctrl-C loses
/// the current one only; --resume goes on. It ends with exit code 1 if any arm's numbers are off.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A plan: quick, cpu, gpu, ci, or a YAML file
    #[arg(default_value = "quick", value_name = "CONFIG")]
    plan: String,
    /// The directory for results.json, report.md, report.html, results.csv and github-action.json
    #[arg(short, long, value_name = "DIR", default_value = "bench-out")]
    output: PathBuf,
    /// Measure on this execution provider instead of the plan's
    #[arg(long, value_parser = |s: &str| s.parse::<Provider>().map_err(|e| e.to_string()))]
    provider: Option<Provider>,
    /// An ONNX Runtime library, or the directory it is in
    #[arg(long, value_name = "PATH")]
    runtime: Option<PathBuf>,
    /// The library of the fused operator (default: the one that `ibgraph ops path` prints)
    #[arg(long, value_name = "FILE")]
    operator_library: Option<PathBuf>,
    /// Measure the function bodies of the fused operator, not the kernels of its library
    #[arg(long, conflicts_with = "operator_library")]
    no_fused_kernels: bool,
    /// A Python interpreter with PyTorch, for the peers (default: IBGRAPH_PEER_PYTHON); `ci/peers` makes one
    #[arg(long, value_name = "PATH")]
    peer_python: Option<PathBuf>,
    /// A Python interpreter with ONNX Runtime Training, for the peer ort-training (default: IBGRAPH_ORT_TRAINING_PEER);
    /// `ci/ort-training --python` makes one
    #[arg(long, value_name = "PATH")]
    ort_training_python: Option<PathBuf>,
    /// Print what would be measured, and measure nothing
    #[arg(long)]
    dry_run: bool,
    /// Go on with the results in the directory
    #[arg(long)]
    resume: bool,
    /// Compare with earlier results: exit code 1 if a cell regressed, or an arm fails now; 4 if that cannot be told
    #[arg(long, value_name = "FILE")]
    baseline: Option<String>,
    /// How much slower than the baseline a cell may be, where the plan does not say it of the cell
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = share)]
    max_regression: f64,
    /// Compare with results of another machine all the same
    #[arg(long)]
    force: bool,
}

const EXAMPLES: &str = "\
Examples:
  ibgraph bench -o out/
  ibgraph bench cpu --peer-python ~/pytorch/bin/python -o out/
  ibgraph bench bench-configs/gpu.yaml --dry-run
  ibgraph bench bench-configs/train-step.yaml --peer-python ~/pytorch/bin/python -o out/
  ibgraph bench ci -o out/ --baseline baseline/results.json --max-regression 5%";

pub fn run(args: Args) -> Result<Exit, Failure> {
    let (source, mut plan) = load(&args.plan)?;
    if let Some(provider) = args.provider {
        plan.cells.iter_mut().for_each(|cell| cell.provider = provider);
        dedup(&mut plan);
    }
    if args.dry_run {
        return dry_run::run(&plan);
    }
    // A baseline that cannot be used is told before an hour of measuring.
    let baseline = args.baseline.as_deref().map(read_results).transpose()?;
    let setup = setup(&args, &plan)?;
    let mut results = begin(&args, &plan, &source, &setup)?;
    write_json(&args.output, &results)?;
    let stop = super::interrupt::flag()?;
    measure(&args, &plan, &setup, &mut results, &stop)?;
    write_reports(&args.output, &results)?;
    say(report::markdown(&results));
    if stop.load(Ordering::Relaxed) {
        say(format!("interrupted; `--resume` goes on with {}", args.output.display()));
        return Ok(Exit::Interrupted);
    }
    let verdict = match baseline {
        Some(base) => {
            judge(&base, &results, Some(&plan), args.max_regression, args.force, Some(&args.output))?
        }
        None => Exit::Good,
    };
    let wrong = wrong(&results);
    if wrong.is_empty() {
        return Ok(verdict);
    }
    say(format!("numbers are off, so these have no times: {}", wrong.join("; ")));
    Ok(Exit::CheckFailed)
}

/// Arms whose numbers are off, each with its cell.
fn wrong(results: &Results) -> Vec<String> {
    let arms = results.cells.iter().flat_map(|cell| cell.arms.iter().map(move |arm| (cell, arm)));
    let wrong = arms.filter(|(_, arm)| arm.status == Status::Wrong);
    wrong.map(|(cell, arm)| format!("{}, {}", cell.id, arm.arm)).collect()
}

/// Text and meaning of a plan. A file of that name comes before a plan that the program carries.
fn load(name: &str) -> Result<(String, Plan), Failure> {
    let carried = PLANS.iter().find(|(known, _)| *known == name);
    let source = match carried {
        Some((_, text)) if !Path::new(name).is_file() => (*text).to_owned(),
        _ => {
            let known = PLANS.map(|(known, _)| known).join(", ");
            let bytes = std::fs::read(name).map_err(|e| {
                Failure::usage(format!("cannot read {name}: {e}; name a file, or one of the plans {known}"))
            })?;
            String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{name} is not UTF-8 text")))?
        }
    };
    let plan = Plan::from_yaml(name, &source).map_err(Failure::usage)?;
    Ok((source, plan))
}

/// Cells that became equal are measured once.
fn dedup(plan: &mut Plan) {
    let mut seen = Vec::new();
    plan.cells.retain(|cell| {
        let id = cell.id();
        let new = !seen.contains(&id);
        seen.push(id);
        new
    });
}

fn setup(args: &Args, plan: &Plan) -> Result<Setup, Failure> {
    let provider = plan.cells.first().map_or(Provider::Cpu, |cell| cell.provider);
    let library = find_library(args.runtime.clone(), provider)?;
    let peers = peers::start(args, plan);
    let fused_bodies = args.no_fused_kernels;
    let operator_library = if fused_bodies { None } else { operator_library(args)? };
    Ok(Setup { library, operator_library, fused_bodies, git: revision(), peers })
}

/// The library of the fused operator; one that was named must be there.
fn operator_library(args: &Args) -> Result<Option<PathBuf>, Failure> {
    if let Some(named) = &args.operator_library {
        if !named.is_file() {
            return Err(Failure::usage(format!("no operator library at {}", named.display())));
        }
        return Ok(Some(named.clone()));
    }
    ops::find()
}

/// Revision of the working directory.
fn revision() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output =
            Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()
    };
    let revision = git(&["rev-parse", "HEAD"])?;
    let clean = git(&["status", "--porcelain", "--untracked-files=no"])?.trim().is_empty();
    Some(format!("{}{}", revision.trim(), if clean { "" } else { "-dirty" }))
}

fn begin(args: &Args, plan: &Plan, source: &str, setup: &Setup) -> Result<Results, Failure> {
    let provider = args.provider.map_or(String::new(), |provider| format!("\n# --provider {provider}"));
    let fresh = bench::begin(plan, &format!("{source}{provider}"), setup)?;
    let path = args.output.join("results.json");
    if !args.resume || !path.exists() {
        return Ok(fresh);
    }
    let before = read_results(&path.display().to_string())?;
    if before.plan_sha256 != fresh.plan_sha256 {
        let path = path.display();
        return Err(Failure::usage(format!(
            "{path} is of another plan, or of this one before it was changed; leave out --resume"
        )));
    }
    let differences = before.environment.differences(&fresh.environment);
    if !differences.is_empty() {
        let (path, why) = (path.display(), differences.join("; "));
        return Err(Failure::usage(format!("{path} is of another machine ({why}); leave out --resume")));
    }
    Ok(Results { cells: before.cells, warnings: before.warnings, started: before.started, ..fresh })
}

fn measure(
    args: &Args,
    plan: &Plan,
    setup: &Setup,
    results: &mut Results,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    let progress = CellProgress::new(plan);
    bench::run(plan, setup, results, stop, &mut |event| {
        match event {
            bench::Event::Cell(index, name) => progress.cell(index, &name),
            bench::Event::Measuring(share) => progress.share(share),
            bench::Event::Done(results) => {
                write_json(&args.output, results).map_err(|failure| failure.message)?
            }
        }
        Ok(())
    })?;
    Ok(())
}

fn write_json(directory: &Path, results: &Results) -> Result<(), Failure> {
    std::fs::create_dir_all(directory)
        .map_err(|e| Failure::usage(format!("cannot make the directory {}: {e}", directory.display())))?;
    let mut json = serde_json::to_vec(results).map_err(Failure::usage)?;
    json.push(b'\n');
    Target::File(directory.join("results.json")).write(&json)
}

fn write_reports(directory: &Path, results: &Results) -> Result<(), Failure> {
    let reports = [
        ("report.md", report::markdown(results)),
        ("report.html", report::html(results)),
        ("results.csv", report::csv(results)),
        ("github-action.json", report::action(results)),
    ];
    for (name, text) in reports {
        Target::File(directory.join(name)).write(text.as_bytes())?;
    }
    Ok(())
}
