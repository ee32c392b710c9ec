//! `ibgraph explain`: what a loss is, and what it does to easy and hard samples.

use super::losses::{formulas as written, heading, reduction};
use super::output::{Target, say};
use super::source::{load, set_parameter};
use super::{Exit, Failure};
use crate::loss::expr::Expr;
use crate::loss::{FeatureInput, Interface, Loss, LossSpec, Quantity, Reduction, Tables, builtin};
use crate::row::{Compiled, Formulas, StepId, check_gradient, compile, formulas};

mod curves;
mod plot;
pub(in crate::cli) mod ticks;

use curves::Curve;

/// Explain a loss: its formula, its derivatives, and what it does to easy and hard samples
///
/// Shows one row of a batch with class weight 1, before rows are reduced to one number.
#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub struct Args {
    /// A built-in loss (see `ibgraph losses`) or a YAML file with a formula
    loss: String,
    /// Set a parameter of the loss (may be repeated)
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Number of classes C, where the loss depends on it; the classes beside the label share one logit
    #[arg(long, value_name = "C", default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=1_000_000))]
    classes: u32,
    /// Also draw loss and slope as an SVG picture; `-` is standard output, and the text goes to standard error
    #[arg(short, long, value_name = "FILE", value_parser = |s: &str| Ok::<_, std::convert::Infallible>(Target::from(s)))]
    output: Option<Target>,
}

const NOTES: &str = "\
A slope that is infinite at 0, as a root's, counts as finite there, so that its product with a derivative of 0 is 0.

Examples:
  ibgraph explain ib
  ibgraph explain ib-focal --set gamma=2 -o focal.svg
  ibgraph explain my_loss.yaml -o - > my_loss.svg";

/// Margins of the label in the table: from wrong to sure.
const TABLE: [f64; 12] = [-10.0, -5.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 5.0, 10.0, 15.0, 20.0];

pub fn run(args: Args) -> Result<Exit, Failure> {
    let mut spec = load(&args.loss)?;
    for setting in &args.set {
        set_parameter(&mut spec, setting)?;
    }
    let classes = args.classes as usize;
    let loss = one_row(spec, classes)?;
    let cross_entropy = builtin::load("cross-entropy").expect("it is built in").map_err(Failure::usage)?;
    let cross_entropy = one_row(cross_entropy, classes)?;
    let explanation = explain(&loss, &curves::curves(&loss, &cross_entropy, &TABLE)?);
    let Some(output) = &args.output else {
        say(explanation);
        return Ok(Exit::Good);
    };
    let picture = plot::draw(loss.spec(), &curves::curves(&loss, &cross_entropy, &plot::margins())?);
    output.write(picture.as_bytes())?;
    match output {
        Target::Stdout => eprintln!("{explanation}"),
        Target::File(path) => say(format!("{explanation}\n\nwrote {}", path.display())),
    }
    Ok(Exit::Good)
}

/// The loss of single rows: a sum has the seed 1, and the norm is given as it is.
fn one_row(spec: LossSpec, classes: usize) -> Result<Loss, Failure> {
    let mut interface = Interface::new(classes, &spec);
    interface.reduction = Reduction::Sum;
    interface.feature_input = FeatureInput::Norm;
    interface.outputs = vec!["row_loss".to_owned(), "logits_grad".to_owned()];
    if spec.uses(Quantity::FeatureL1, &[]) {
        interface.outputs.push("features_grad".to_owned());
    }
    let equal = vec![1.0; classes.max(1)];
    let tables = Tables::new(&spec, None, Some(&equal), classes).map_err(Failure::usage)?;
    let loss = Loss::with_tables(spec, interface, tables).map_err(Failure::usage)?;
    check_gradient(&loss).map_err(Failure::usage)?;
    Ok(loss)
}

/// What is done to the logits first.
fn adjustments(spec: &LossSpec) -> String {
    let all = [("scale", &spec.logits.scale), ("bias", &spec.logits.bias), ("margin", &spec.logits.margin)];
    let given = all.iter().filter_map(|(name, f)| Some(format!("{name} = {}", f.as_ref()?.text)));
    let given: Vec<String> = given.collect();
    if given.is_empty() {
        return String::new();
    }
    format!(
        "logits, first: scale · (z + bias - margin at the label), where {}\n\
         (all classes are equally frequent in what follows; the formulas have the u of the adjusted logits, the table \
         that of the logits as they are)\n",
        given.join(", ")
    )
}

fn explain(loss: &Loss, curves: &[Curve]) -> String {
    let spec = loss.spec();
    let simplified = formulas(loss);
    let compiled = compile(loss);
    let indented: String = compiled.program.to_string().lines().map(|line| format!("  {line}\n")).collect();
    [
        format!("{}{}reduction: {}\n{}", heading(spec), parameters(spec), reduction(spec), adjustments(spec)),
        format!("One row, as written:\n{}", written(spec)),
        format!("Simplified, with class weight 1:\n{}{}", derivatives(&simplified, loss), legend(loss)),
        format!("The row program ({}):\n{indented}", roots(&compiled, loss.scale())),
        format!("{TABLE_HEADING}{}", curves::table(curves)),
    ]
    .join("\n")
    .trim_end()
    .to_owned()
}

const TABLE_HEADING: &str = "\
What it does to hard samples (above) and easy ones (below): loss L and slope |∂L/∂u| at the label's margin, which is -u.

";

fn derivatives(formulas: &Formulas, loss: &Loss) -> String {
    let line = |name: &str, formula: &Option<Expr>| match formula {
        Some(formula) => format!("  {name} = {formula}\n"),
        None => format!("  {name} is too long to print; the row program below has it\n"),
    };
    let mut text = line("L    ", &formulas.row_loss) + &line("∂L/∂u", &formulas.by_margin);
    if loss.has_features() {
        text += &line("∂L/∂h", &formulas.by_norm);
    }
    if loss.spec().uses(Quantity::MeanNll, &[]) {
        text += &line("∂L/∂M", &formulas.by_mean);
        text += "  M = mean_nll: mean over the classes of -log p, with ∂M/∂z = p - 1/C\n";
    }
    text
}

fn legend(loss: &Loss) -> &'static str {
    if loss.has_features() {
        "  u = margin: how far the other classes lead the label; h = feature_l1; p: probability of the label; q = 1 - p\n"
    } else {
        "  u = margin: how far the other classes lead the label; p: probability of the label; q = 1 - p\n"
    }
}

fn parameters(spec: &LossSpec) -> String {
    let all: Vec<String> = spec.parameters.iter().map(|(name, p)| format!("{name} = {}", p.value)).collect();
    if all.is_empty() { String::new() } else { format!("parameters: {}\n", all.join(", ")) }
}

/// Which steps are results. The program has the slope by the logits as they are, which is `scale` times that by u.
fn roots(compiled: &Compiled, scale: f64) -> String {
    let roots = &compiled.roots;
    let by_margin = if scale == 1.0 { "∂L/∂u" } else { "scale · ∂L/∂u" };
    let named: [(&str, Option<StepId>); 3] =
        [("L", roots.row_loss), (by_margin, roots.by_margin), ("∂L/∂h", roots.by_norm)];
    let shown = named.iter().filter_map(|(name, step)| step.map(|s| format!("{name} is {s}")));
    shown.collect::<Vec<_>>().join(", ")
}
