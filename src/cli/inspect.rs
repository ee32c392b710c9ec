//! `ibgraph inspect`: what a graft would find in a model.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::model::ModelFile;
use super::output::say;
use super::{Exit, Failure};
use crate::graft::{Head, METADATA, Place, Prospect, Wishes, discover, prospect};
use crate::onnx::Host;
use crate::train::Manifest;
use crate::train::manifest::{CarriedRole, KEY, Kind};

/// Show what a graft would find in a classifier
///
/// Logits, features, number of classes and batch, each with its reason; what can be trained, and which nodes have no
/// gradient rule; operators by name and how often they occur.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// An ONNX file; `-` is standard input
    model: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The value that holds the logits, instead of searching for it
    #[arg(long, value_name = "NAME")]
    logits: Option<String>,
    /// The value that holds the features, instead of searching for it
    #[arg(long, value_name = "NAME")]
    features: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  ibgraph inspect classifier.onnx
  ibgraph inspect classifier.onnx --json | jq .head.logits.name";

/// Version of the JSON form.
const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Report {
    format: u32,
    file: String,
    bytes: usize,
    ir_version: i64,
    /// Operator sets by domain; the standard one is `ai.onnx`.
    opsets: BTreeMap<String, i64>,
    nodes: usize,
    /// Operators of the main graph by name, with their domain where it is not the standard one.
    operators: BTreeMap<String, usize>,
    functions: usize,
    initializers: usize,
    /// Files that hold external data.
    external_data: Vec<String>,
    /// Whether `ibgraph graft` made the file.
    grafted: bool,
    /// What a training graph takes and gives.
    training: Option<Manifest>,
    head: Option<Head>,
    /// Why there is no head.
    problem: Option<String>,
    /// What `graft --emit gradients` and `train-step` would train; nothing where there is no head, or a graft already.
    trainable: Option<Prospect>,
}

pub fn run(args: Args) -> Result<Exit, Failure> {
    let file = ModelFile::open(&args.model)?;
    let host = file.host()?;
    let written_out = file.written_out(&host)?;
    let whole = written_out.as_deref().map(|bytes| file.host_of(bytes)).transpose()?;
    let report = report(&file, &host, whole.as_ref().unwrap_or(&host), &args)?;
    if args.json {
        say(serde_json::to_string_pretty(&report).map_err(Failure::usage)?);
    } else {
        say(text(&report));
    }
    Ok(Exit::Good)
}

/// `whole` is the model with its functions written out, as `graft` sees it.
fn report(file: &ModelFile, host: &Host<'_>, whole: &Host<'_>, args: &Args) -> Result<Report, Failure> {
    let mut external: Vec<String> = file.external_data(host)?.into_iter().map(|r| r.location).collect();
    external.sort();
    external.dedup();
    let wishes = Wishes { logits: args.logits.as_deref(), features: args.features.as_deref() };
    let (head, problem) = match discover(whole, wishes) {
        Ok(head) => (Some(head), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let mut operators = BTreeMap::new();
    for node in &host.graph().node {
        let name = node.op_type.as_deref().unwrap_or("");
        let name = match node.domain.as_deref() {
            None | Some("" | "ai.onnx") => name.to_owned(),
            Some(domain) => format!("{domain}::{name}"),
        };
        *operators.entry(name).or_insert(0) += 1;
    }
    let opsets = host.model().opset_import.iter().map(|import| {
        let domain = import.domain.as_deref().filter(|domain| !domain.is_empty()).unwrap_or("ai.onnx");
        (domain.to_owned(), import.version.unwrap_or(0))
    });
    Ok(Report {
        format: FORMAT,
        file: file.name.clone(),
        bytes: host.bytes().len(),
        ir_version: host.ir(),
        opsets: opsets.collect(),
        nodes: host.graph().node.len(),
        operators,
        functions: host.model().functions.len(),
        initializers: host.graph().initializer.len(),
        external_data: external,
        grafted: host.metadata(METADATA).is_some(),
        trainable: head
            .as_ref()
            .filter(|_| host.metadata(METADATA).is_none())
            .map(|head| prospect(whole, head)),
        training: host.metadata(KEY).and_then(|text| Manifest::from_json(text).ok()),
        head,
        problem,
    })
}

fn text(report: &Report) -> String {
    let counted = |entries: &BTreeMap<String, usize>| {
        let each = entries.iter().map(|(name, count)| format!("{name} {count}"));
        each.collect::<Vec<_>>().join(", ")
    };
    let opsets: Vec<String> = report.opsets.iter().map(|(domain, v)| format!("{domain} {v}")).collect();
    let mut out = String::new();
    let mut line = |label: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{label:<11}{value}");
    };
    line("file:", &format!("{}, {} bytes, IR {}", report.file, report.bytes, report.ir_version));
    line("opsets:", &opsets.join(", "));
    if !report.external_data.is_empty() {
        line("data in:", &report.external_data.join(", "));
    }
    match (&report.head, &report.problem) {
        (Some(head), _) => head_lines(head, &mut line),
        (None, Some(problem)) => line("logits:", problem),
        (None, None) => {}
    }
    if let Some(prospect) = &report.trainable {
        prospect_lines(prospect, &mut line);
    }
    if report.functions > 0 {
        line("functions:", &report.functions.to_string());
    }
    line("operators:", &counted(&report.operators));
    if let Some(manifest) = &report.training {
        line("training:", &training(manifest));
    } else if report.grafted {
        line("graft:", "ibgraph has grafted a loss onto this model");
    }
    out.trim_end().to_owned()
}

fn training(manifest: &Manifest) -> String {
    let what = match manifest.kind {
        Kind::TrainStep => "a training step, for `ibgraph train`",
        Kind::Gradients => "gradients, for an update by --emit apply",
        Kind::Apply => "the update of --emit apply",
    };
    let count = |role| manifest.carried.iter().filter(|carried| carried.role == role).count();
    let (parameters, state) = (count(CarriedRole::Parameter), count(CarriedRole::State));
    format!("{what}: {parameters} parameters, {state} arrays of optimizer state")
}

fn head_lines(head: &Head, line: &mut dyn FnMut(&str, &str)) {
    line("logits:", &place(&head.logits));
    match (&head.features, &head.no_features) {
        (Some(features), _) => line("features:", &place(features)),
        (None, Some(why)) => line("features:", &format!("none: {why}; name them with --features")),
        (None, None) => {}
    }
    let classes = head.classes.map_or_else(|| "not known; give --classes".to_owned(), |n| n.to_string());
    line("classes:", &classes);
    line("batch:", head.batch().unwrap_or("not known"));
}

fn prospect_lines(prospect: &Prospect, line: &mut dyn FnMut(&str, &str)) {
    if let Some(problem) = &prospect.problem {
        line("trainable:", problem);
    } else if prospect.without_rule.is_empty() {
        let (parameters, elements) = (prospect.parameters.len(), prospect.elements);
        line("trainable:", &format!("{parameters} parameters, {elements} elements"));
    } else {
        line("trainable:", "these nodes have no gradient rule:");
        prospect.without_rule.iter().for_each(|node| line("", node));
    }
}

fn place(place: &Place) -> String {
    let shape =
        place.shape.as_ref().map_or_else(|| "of unknown rank".to_owned(), |s| format!("[{}]", s.join(", ")));
    let dtype = place.dtype.map_or_else(|| "type not known, ".to_owned(), |dtype| dtype.to_string());
    format!("{} {dtype}{shape}: {}", place.name, place.why)
}
