//! `ibgraph losses`: the losses that come with the program.

use super::output::{Target, say};
use super::{Exit, Failure};
use crate::loss::expr::suggest;
use crate::loss::spec::Parameter;
use crate::loss::{LossSpec, Quantity, builtin};

/// List the built-in losses
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Show this one in detail
    #[arg(value_name = "NAME")]
    loss: Option<String>,
    /// Print its YAML source, to start a loss of your own from
    #[arg(long, requires = "loss")]
    show: bool,
}

const EXAMPLES: &str = "\
Examples:
  ibgraph losses
  ibgraph losses ib --show > mine.yaml";

pub fn run(args: Args) -> Result<Exit, Failure> {
    let Some(name) = args.loss else {
        let listed = builtin::names().into_iter().map(|name| Ok(summary(&load(name)?)));
        say(listed.collect::<Result<Vec<String>, Failure>>()?.join("\n"));
        return Ok(Exit::Good);
    };
    let spec = load(&name)?;
    if args.show {
        let source = builtin::source(&name).unwrap_or_default();
        Target::Stdout.write(source.as_bytes())?;
    } else {
        say(details(&spec));
    }
    Ok(Exit::Good)
}

fn load(name: &str) -> Result<LossSpec, Failure> {
    let known = builtin::names();
    match builtin::load(name) {
        Some(spec) => spec.map_err(Failure::usage),
        None => Err(Failure::usage(format!("no built-in loss `{name}`{}", suggest(name, &known)))),
    }
}

/// Width of the names in the list.
const NAMES: usize = 18;

fn summary(spec: &LossSpec) -> String {
    let parameters = spec.parameters.iter().map(|(name, p)| format!("{name} {}", p.value));
    let parameters: Vec<String> = parameters.collect();
    let parameters = if parameters.is_empty() { "none".to_owned() } else { parameters.join(", ") };
    format!(
        "{:NAMES$}{}\n{:NAMES$}parameters: {parameters}; reduction: {}",
        spec.name,
        spec.title.as_deref().unwrap_or_default(),
        "",
        reduction(spec),
    )
}

fn details(spec: &LossSpec) -> String {
    let mut text = heading(spec);
    text.push_str(&parameters(spec));
    text.push_str(&format!("reduction: {}\n", reduction(spec)));
    let features = spec.uses(Quantity::FeatureL1, &[]);
    text.push_str(if features {
        "inputs: logits, labels, features\n\n"
    } else {
        "inputs: logits, labels\n\n"
    });
    text.push_str(&formulas(spec));
    let name = &spec.name;
    text.push_str(&format!(
        "\nIts YAML source: ibgraph losses {name} --show\nWhat it does: ibgraph explain {name}"
    ));
    text
}

/// Name, title and source.
pub(super) fn heading(spec: &LossSpec) -> String {
    let title = spec.title.as_ref().map(|t| format!(": {t}")).unwrap_or_default();
    let source = spec.source.as_ref().map(|s| format!("source: {s}\n")).unwrap_or_default();
    format!("{}{title}\n{source}", spec.name)
}

/// One a line, with their ranges.
fn parameters(spec: &LossSpec) -> String {
    let range = |p: &Parameter| match (p.above, p.at_least) {
        (Some(bound), _) => format!(" (above {bound})"),
        (_, Some(bound)) => format!(" (at least {bound})"),
        _ => String::new(),
    };
    let lines = spec.parameters.iter().map(|(name, p)| format!("  {name} = {}{}\n", p.value, range(p)));
    let lines: String = lines.collect();
    if lines.is_empty() { lines } else { format!("parameters:\n{lines}") }
}

/// The row entries and the loss, as they are written.
pub(super) fn formulas(spec: &LossSpec) -> String {
    let entries = spec.row.iter().map(|(name, formula)| (name.as_str(), formula));
    let all = entries.chain([("loss", &spec.loss)]);
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    all.map(|(name, formula)| format!("  {name} = {}\n", one_line(&formula.text))).collect()
}

/// As on the command line.
pub(super) fn reduction(spec: &LossSpec) -> String {
    use clap::ValueEnum;
    spec.reduction.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default()
}
