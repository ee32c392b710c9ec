//! `ibgraph report`: reports of results that are there already, and comparisons of two.

use std::path::Path;

use clap::ValueEnum;

use super::output::{Target, say};
use super::{Exit, Failure};
use crate::bench::plan::parse_share;
use crate::bench::{Plan, Results};
use crate::report;

/// Write reports of benchmark results, or compare two
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Files that `ibgraph bench` wrote; with --compare the baseline and then the other
    #[arg(required = true, value_name = "RESULTS.json")]
    results: Vec<String>,
    /// Which form
    #[arg(long, value_enum, default_value = "markdown")]
    format: Format,
    /// The file to write; `-` is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: String,
    /// Compare two results: exit code 1 if a cell regressed, or an arm fails or its numbers are off now; 4 if that cannot
    /// be told
    #[arg(long)]
    compare: bool,
    /// How much slower a cell may be
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = share)]
    max_regression: f64,
    /// Compare results of different machines all the same
    #[arg(long)]
    force: bool,
}

const EXAMPLES: &str = "\
Examples:
  ibgraph report out/results.json
  ibgraph report out/results.json --format html -o report.html
  ibgraph report --compare base/results.json head/results.json --max-regression 5%";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people and job summaries
    Markdown,
    /// One page that needs nothing else
    Html,
    /// The results as they are, checked
    Json,
    /// One line an arm
    Csv,
    /// For benchmark-action/github-action-benchmark, `customSmallerIsBetter`
    GithubAction,
}

pub fn run(args: Args) -> Result<Exit, Failure> {
    let all = args.results.iter().map(|path| read_results(path)).collect::<Result<Vec<_>, _>>()?;
    if args.compare {
        let [base, head] = all.as_slice() else {
            return Err(Failure::usage(format!("--compare takes two results, and {} were given", all.len())));
        };
        return judge(base, head, None, args.max_regression, args.force, None);
    }
    let [results] = all.as_slice() else {
        return Err(Failure::usage(format!(
            "a report is of one file, and {} were given; --compare takes two",
            all.len()
        )));
    };
    let text = match args.format {
        Format::Markdown => report::markdown(results),
        Format::Html => report::html(results),
        Format::Json => format!("{}\n", serde_json::to_string(results).map_err(Failure::usage)?),
        Format::Csv => report::csv(results),
        Format::GithubAction => report::action(results),
    };
    let target = Target::from(args.output.as_str());
    target.spare(args.results.iter().map(String::as_str))?;
    target.write(text.as_bytes())?;
    Ok(Exit::Good)
}

/// Reads results; the errors name the file.
pub fn read_results(path: &str) -> Result<Results, Failure> {
    let bytes = std::fs::read(path).map_err(|e| Failure::usage(format!("cannot read {path}: {e}")))?;
    report::read(path, &bytes).map_err(Failure::usage)
}

/// Compares, says what came out, and turns it into an exit code. The comparison also goes to `comparison.md` in
/// `directory`.
pub fn judge(
    base: &Results,
    head: &Results,
    plan: Option<&Plan>,
    max_regression: f64,
    force: bool,
    directory: Option<&Path>,
) -> Result<Exit, Failure> {
    let comparison = report::compare(base, head, plan, max_regression, force);
    let comparison = comparison.map_err(|refusal| Failure::usage(format!("{refusal}, or use --force")))?;
    let text = report::comparison_markdown(&comparison);
    say(&text);
    if let Some(directory) = directory {
        Target::File(directory.join("comparison.md")).write(text.as_bytes())?;
    }
    Ok(if comparison.regressed() {
        Exit::CheckFailed
    } else if comparison.is_inconclusive() {
        Exit::Inconclusive
    } else {
        Exit::Good
    })
}

/// A share on the command line.
pub fn share(text: &str) -> Result<f64, String> {
    parse_share(text)
}
