//! `ibgraph graft --emit gradients | train-step | apply`: the backward pass of the whole classifier, and an optimizer.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::{Args, Emit, data};
use crate::cli::model::ModelFile;
use crate::cli::output::Target;
use crate::cli::{Exit, Failure};
use crate::graft::{Head, Selection, Training, TrainingPlan, training};
use crate::loss::Loss;
use crate::onnx::external::Reference;
use crate::onnx::{Host, Versions, WriteOptions, splice, write};
use crate::train::apply::{self, Target as Updated};
use crate::train::manifest::{CarriedRole, KEY, Manifest, OutputRole};
use crate::train::{Betas, Optimizer, Recipe};

/// Which parameters are trained, and how.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Training (--emit gradients, train-step, apply)")]
pub struct TrainingArgs {
    /// The optimizer, in PyTorch's semantics [default: adamw]
    #[arg(long, value_enum)]
    optimizer: Option<OptimizerName>,
    /// Momentum of --optimizer momentum [default: 0.9]
    #[arg(long, value_name = "SHARE")]
    momentum: Option<f64>,
    /// Nesterov's form of momentum
    #[arg(long)]
    nesterov: bool,
    /// beta1 and beta2 of Adam and AdamW [default: 0.9,0.999]
    #[arg(long, value_name = "BETA1,BETA2", value_parser = pair)]
    betas: Option<(f64, f64)>,
    /// epsilon of Adam and AdamW [default: 1e-8]
    #[arg(long, value_name = "EPSILON")]
    adam_epsilon: Option<f64>,
    /// Weight decay [default: 0.01 for adamw, else 0]
    #[arg(long, value_name = "DECAY")]
    weight_decay: Option<f64>,
    /// Parameters without weight decay, such as '*.bias' (may be repeated)
    #[arg(long, value_name = "GLOB")]
    no_decay: Vec<String>,
    /// Clip the gradients to this global norm
    #[arg(long, value_name = "NORM")]
    clip_norm: Option<f64>,
    /// Average the gradients of this many batches before a step
    #[arg(long, value_name = "BATCHES")]
    accumulate: Option<u32>,
    /// Take a factor of the loss as an input, and leave out steps with infinite gradients; for half precision
    #[arg(long)]
    loss_scale: bool,
    /// Parameters that are not trained (may be repeated)
    #[arg(long, value_name = "GLOB")]
    freeze: Vec<String>,
    /// Train these parameters only (may be repeated)
    #[arg(long, value_name = "GLOB")]
    train: Vec<String>,
}

/// Optimizers on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OptimizerName {
    Sgd,
    Momentum,
    Adam,
    Adamw,
}

impl TrainingArgs {
    /// The first option that was given and has no use with this kind.
    pub fn misplaced(&self, emit: Emit) -> Option<&'static str> {
        let step = [
            ("--optimizer", self.optimizer.is_some()),
            ("--momentum", self.momentum.is_some()),
            ("--nesterov", self.nesterov),
            ("--betas", self.betas.is_some()),
            ("--adam-epsilon", self.adam_epsilon.is_some()),
            ("--weight-decay", self.weight_decay.is_some()),
            ("--no-decay", !self.no_decay.is_empty()),
            ("--clip-norm", self.clip_norm.is_some()),
            ("--accumulate", self.accumulate.is_some()),
        ];
        let choice = [("--freeze", !self.freeze.is_empty()), ("--train", !self.train.is_empty())];
        let scale = [("--loss-scale", self.loss_scale)];
        let useless: Vec<_> = match emit {
            Emit::Loss | Emit::LossGrad => [&step[..], &choice, &scale].concat(),
            Emit::Gradients => [&step[..], &scale].concat(),
            Emit::Apply => scale.to_vec(),
            Emit::TrainStep => Vec::new(),
        };
        useless.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }

    fn recipe(&self) -> Result<Recipe, Failure> {
        let name = self.optimizer.unwrap_or(OptimizerName::Adamw);
        let adam = matches!(name, OptimizerName::Adam | OptimizerName::Adamw);
        if !adam && (self.betas.is_some() || self.adam_epsilon.is_some()) {
            return Err(Failure::usage("--betas and --adam-epsilon go with --optimizer adam or adamw"));
        }
        if name != OptimizerName::Momentum && (self.momentum.is_some() || self.nesterov) {
            return Err(Failure::usage("--momentum and --nesterov go with --optimizer momentum"));
        }
        let optimizer = match name {
            OptimizerName::Sgd => Optimizer::Sgd,
            OptimizerName::Momentum => {
                Optimizer::Momentum { momentum: self.momentum.unwrap_or(0.9), nesterov: self.nesterov }
            }
            OptimizerName::Adam => Optimizer::Adam(self.betas()),
            OptimizerName::Adamw => Optimizer::AdamW(self.betas()),
        };
        let recipe = Recipe {
            optimizer,
            weight_decay: self.weight_decay.unwrap_or(optimizer.default_weight_decay()),
            clip_norm: self.clip_norm,
            accumulate: self.accumulate,
            loss_scale: self.loss_scale,
        };
        recipe.check().map_err(Failure::usage)?;
        Ok(recipe)
    }

    fn betas(&self) -> Betas {
        let default = Betas::default();
        let (beta1, beta2) = self.betas.unwrap_or((default.beta1, default.beta2));
        Betas { beta1, beta2, epsilon: self.adam_epsilon.unwrap_or(default.epsilon) }
    }

    fn selection(&self) -> Selection {
        Selection { train: self.train.clone(), freeze: self.freeze.clone(), no_decay: self.no_decay.clone() }
    }
}

/// Two numbers with a comma between them.
fn pair(text: &str) -> Result<(f64, f64), String> {
    let pair = text.split_once(',').and_then(|(a, b)| Some((a.trim().parse().ok()?, b.trim().parse().ok()?)));
    pair.ok_or_else(|| "expected two numbers with a comma between them, such as 0.9,0.999".to_owned())
}

/// A classifier that is opened, and where the loss goes.
pub struct Opened<'a> {
    pub file: &'a ModelFile,
    pub host: &'a Host<'a>,
    pub head: &'a Head,
    pub loss: &'a Loss,
    pub external: &'a [Reference],
}

/// Writes the graph, and its manifest beside it.
pub fn run(args: &Args, opened: &Opened<'_>) -> Result<Exit, Failure> {
    let recipe = args.training.recipe()?;
    let of_step = (args.emit == Emit::TrainStep).then_some(&recipe);
    let selection = args.training.selection();
    let plan = TrainingPlan {
        loss: opened.loss,
        recipe: of_step,
        labels: args.labels.as_deref(),
        selection: &selection,
    };
    let made = training(opened.host, opened.head, plan).map_err(|error| opened.file.failure(error))?;
    let beside = beside(&args.output);
    if let Some(beside) = &beside {
        let target = Target::File(beside.clone());
        if target == args.output {
            return Err(Failure::usage(format!(
                "the manifest would be written over the graph in {}; give -o a name that ends in .onnx",
                beside.display()
            )));
        }
        opened.file.guard(&target, opened.external)?;
        target.check()?;
        keep_others(beside)?;
    }
    let (manifest, size, copied) = if args.emit == Emit::Apply {
        let (bytes, manifest) = apply_graph(&made, &recipe, &selection)?;
        args.output.write(&bytes)?;
        (manifest, bytes.len(), Vec::new())
    } else {
        let spliced = splice(opened.host, &made.delta).map_err(|error| opened.file.failure(error))?;
        let copied = data::copy(&opened.file.directory(), &args.output, opened.external)?;
        args.output.write_with(&|out| spliced.write_to(out))?;
        (made.manifest.clone(), spliced.len(), copied)
    };
    if let Some(beside) = &beside {
        Target::File(beside.clone()).write((manifest.to_json() + "\n").as_bytes())?;
    }
    args.note(summary(args, opened, &made, &manifest, size, beside.as_deref(), &copied));
    Ok(Exit::Good)
}

/// Where the manifest goes; nowhere for standard output.
fn beside(output: &Target) -> Option<PathBuf> {
    match output {
        Target::Stdout => None,
        // A device or a pipe has nothing beside it.
        Target::File(path) if path.exists() && !path.is_file() => None,
        Target::File(path) => Some(path.with_extension("json")),
    }
}

/// Refuses to write the manifest over a file that is none, such as a user's `counts.json`.
fn keep_others(beside: &Path) -> Result<(), Failure> {
    let Ok(bytes) = std::fs::read(beside) else { return Ok(()) };
    let is_ours = std::str::from_utf8(&bytes).is_ok_and(|text| Manifest::from_json(text).is_ok());
    if is_ours {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "the manifest would be written over {}, which is another file; give -o another name",
        beside.display()
    )))
}

/// The update of the parameters whose gradients `made` computes.
fn apply_graph(
    made: &Training,
    recipe: &Recipe,
    selection: &Selection,
) -> Result<(Vec<u8>, Manifest), Failure> {
    let gradients = made.manifest.outputs.iter().filter(|output| output.role == OutputRole::Gradient);
    let targets: Vec<Updated> = gradients
        .filter_map(|output| {
            let name = output.of.clone()?;
            Some(Updated {
                ty: output.port.ty(),
                gradient: Some(output.port.name.clone()),
                decay: selection.decays(&name),
                name,
            })
        })
        .collect();
    let (graph, manifest) = apply::graph("update", &targets, recipe);
    let options = WriteOptions {
        versions: Versions::default(),
        doc: Some("Parameters, gradients and optimizer state to their successors".to_owned()),
        metadata: vec![(KEY.to_owned(), manifest.to_json())],
    };
    Ok((write(&graph, &options).map_err(Failure::usage)?, manifest))
}

fn summary(
    args: &Args,
    opened: &Opened<'_>,
    made: &Training,
    manifest: &Manifest,
    size: usize,
    beside: Option<&Path>,
    copied: &[String],
) -> String {
    let (name, loss) = (args.output.name(), &opened.loss.spec().name);
    let what = match args.emit {
        Emit::Apply => format!("wrote {name}: the update of {}'s parameters, {size} bytes", args.model),
        _ => format!(
            "wrote {name}: {loss} on {}, {} classes, {}, {size} bytes",
            args.model,
            opened.loss.interface().classes,
            if args.emit == Emit::TrainStep { "a training step" } else { "gradients" },
        ),
    };
    let listed = |names: Vec<&str>| names.join(", ");
    let count = |role| manifest.carried.iter().filter(|carried| carried.role == role).count();
    let inputs = manifest.inputs.iter().map(|input| input.port.name.as_str());
    let outputs = manifest.outputs.iter().map(|output| output.port.name.as_str());
    let mut lines = vec![
        what,
        format!("  logits:     {} ({})", opened.head.logits.name, opened.head.logits.why),
        format!(
            "  parameters: {} trained, {} arrays of optimizer state, {} running statistics",
            count(CarriedRole::Parameter),
            count(CarriedRole::State),
            count(CarriedRole::Statistic)
        ),
        format!("  inputs:     {}", shortened(inputs.collect())),
        format!("  outputs:    {}", shortened(outputs.collect())),
    ];
    if !made.left_out.is_empty() {
        let left = made.left_out.iter().map(|(name, why)| format!("{name} ({why})")).collect::<Vec<_>>();
        lines.push(format!("  not trained: {}", shortened(left.iter().map(String::as_str).collect())));
    }
    lines.extend(beside.map(|path| format!("  manifest:   {}", path.display())));
    if !copied.is_empty() {
        lines.push(format!("  copied:     {}", listed(copied.iter().map(String::as_str).collect())));
    }
    lines.join("\n")
}

/// A list with its middle left out where it is long.
fn shortened(names: Vec<&str>) -> String {
    const MOST: usize = 12;
    if names.len() <= MOST {
        return names.join(", ");
    }
    let (first, last) = (&names[..MOST - 2], names[names.len() - 1]);
    format!("{}, … {} more …, {last}", first.join(", "), names.len() - MOST + 1)
}
