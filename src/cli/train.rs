//! `ibgraph train`: a training step, run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::check::EngineArgs;
use super::model::ModelFile;
use super::output::{Target, say};
use super::progress::Progress;
use super::state::{read_npz, write_npz};
use super::{Exit, Failure};
use crate::onnx::Host;
use crate::runtime::Session;
use crate::train::Manifest;
use crate::train::chance::seeded;
use crate::train::data::Dataset;
use crate::train::evaluate::Accuracy;
use crate::train::fit::{Fit, FitError, Settings, batches_done};
use crate::train::state::State;

mod curve;
mod report;
mod settings;
mod validate;

use report::Report;
use settings::SettingArgs;
use validate::{ValidateArgs, Validation};

/// Train a classifier with a training step, on ONNX Runtime
///
/// Runs a graph of `ibgraph graft --emit train-step` on shuffled mini-batches. Parameters and optimizer state stay on the
/// device. After every epoch, and on Ctrl-C, the state is written whole or not at all; `--resume` goes on from it as if
/// nothing had happened.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A training step that `ibgraph graft --emit train-step` wrote
    step: String,
    /// Samples: an .npz archive with one array for each of the classifier's inputs, and `labels`
    #[arg(long, value_name = "FILE.npz")]
    data: String,
    /// Where the state goes: parameters, optimizer state, and where the run stands
    #[arg(short, long, value_name = "STATE.npz", value_parser = |s: &str| Ok::<_, std::convert::Infallible>(Target::from(s)))]
    output: Target,
    /// Go on with the run of this state
    #[arg(long, value_name = "STATE.npz", conflicts_with = "from")]
    resume: Option<String>,
    /// Start a new run from the values of this state, instead of the classifier's
    #[arg(long, value_name = "STATE.npz")]
    from: Option<String>,
    #[command(flatten)]
    settings: SettingArgs,
    #[command(flatten)]
    validate: ValidateArgs,
    /// Draw the loss as an SVG picture
    #[arg(long, value_name = "FILE.svg")]
    curve: Option<String>,
    /// Write losses and accuracies as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<String>,
    #[command(flatten)]
    engine: EngineArgs,
}

const EXAMPLES: &str = "\
Examples:
  ibgraph graft classifier.onnx --emit train-step --optimizer adamw -o step.onnx
  ibgraph train step.onnx --data train.npz --epochs 20 --batch 64 --lr 1e-3 -o trained.npz
  ibgraph train step.onnx --data train.npz --epochs 40 --batch 64 --lr 1e-3 --resume trained.npz -o trained.npz
  ibgraph export classifier.onnx trained.npz -o trained.onnx";

pub fn run(args: Args) -> Result<Exit, Failure> {
    let file = ModelFile::open(&args.step)?;
    let host = file.host()?;
    let manifest = super::state::manifest(&file, &host)?;
    let external = file.external_data(&host)?;
    file.guard(&args.output, &external)?;
    writable(&args)?;
    let data = dataset(&args.data, &manifest)?;
    let settings = args.settings.settings(&manifest, &data)?;
    let state = start(&args, &file, &host, &manifest)?;
    let validation = args.validate.open(&file, &host, &manifest, &args.engine)?;
    let engine = args.engine.open_for_training(host.model(), Some(file.directory()))?;
    let seeded = seeded(&host, settings.seed, batches_done(&state)?);
    let mut session = engine.load(seeded.as_deref().unwrap_or(host.bytes()))?;
    let stop = super::interrupt::flag()?;
    let looped = Loop { args: &args, settings: &settings, data: &data, validation: &validation, stop };
    looped.run(session.as_mut(), &manifest, state, &args.engine)
}

/// Hours of training are not to end at a name that cannot be written, or over the data.
fn writable(args: &Args) -> Result<(), Failure> {
    let others = args.curve.iter().chain(&args.json).map(|path| Target::from(path.as_str()));
    let targets: Vec<Target> = std::iter::once(args.output.clone()).chain(others).collect();
    let read = || [args.step.as_str(), args.data.as_str()].into_iter().chain(args.validate.files());
    for (index, target) in targets.iter().enumerate() {
        target.check()?;
        target.spare(read())?;
        if targets[..index].contains(target)
            && matches!(target, Target::File(path) if !path.exists() || path.is_file())
        {
            return Err(Failure::usage(format!(
                "{} is to be written twice; name another file",
                target.name()
            )));
        }
    }
    Ok(())
}

fn dataset(path: &str, manifest: &Manifest) -> Result<Dataset, Failure> {
    let arrays = read_npz(path)?.arrays;
    let data = Dataset::new(&arrays, manifest).and_then(|data| data.check_labels().map(|()| data));
    data.map_err(|error| Failure::usage(format!("{path}: {error}")))
}

/// The state to start from.
fn start(args: &Args, file: &ModelFile, host: &Host<'_>, manifest: &Manifest) -> Result<State, Failure> {
    let Some(path) = args.resume.as_ref().or(args.from.as_ref()) else {
        let initial = State::initial(manifest, host, Some(&file.directory()), false);
        return initial.map_err(|error| file.failure(error));
    };
    let mut state =
        State::from_npz(read_npz(path)?).map_err(|error| Failure::usage(format!("{path}: {error}")))?;
    if args.resume.is_some() && state.run.is_none() {
        return Err(Failure::usage(format!(
            "{path} does not say where a run stands; start from it with --from"
        )));
    }
    if args.from.is_some() {
        let mut fresh = State::initial(manifest, host, Some(&file.directory()), false)
            .map_err(|error| file.failure(error))?;
        if !fresh.values.keys().any(|name| state.values.contains_key(name)) {
            return Err(Failure::usage(format!(
                "{path} has no array that the step carries, such as a parameter"
            )));
        }
        let known =
            fresh.values.iter_mut().filter_map(|(name, value)| Some((value, state.values.get(name)?)));
        known.for_each(|(value, given)| value.clone_from(given));
        state = fresh;
    }
    Ok(state)
}

struct Loop<'a> {
    args: &'a Args,
    settings: &'a Settings,
    data: &'a Dataset,
    validation: &'a Option<Validation>,
    stop: Arc<AtomicBool>,
}

impl Loop<'_> {
    fn run(
        &self,
        session: &mut dyn Session,
        manifest: &Manifest,
        state: State,
        engine: &EngineArgs,
    ) -> Result<Exit, Failure> {
        let mut fit = Fit::new(session, manifest, self.data, self.settings, state)?;
        let mut report = Report::new(&fit, self.settings);
        if fit.is_done() {
            return Err(Failure::usage(format!(
                "the run of this state has done its {} epochs; give more with --epochs",
                fit.position().epoch
            )));
        }
        say(format!("{:>6} {:>10} {:>10}", "epoch", "loss", "accuracy"));
        while !fit.is_done() {
            if self.epoch(&mut fit)? {
                self.save(&mut fit, &report)?;
                say(self.how_to_go_on());
                return Ok(Exit::Interrupted);
            }
            let accuracy = self.accuracy(&mut fit, engine)?;
            say(report.epoch(&fit, accuracy));
            self.save(&mut fit, &report)?;
        }
        say(report.classes());
        say(format!("wrote {}", self.args.output.name()));
        Ok(Exit::Good)
    }

    /// Runs to the end of an epoch; true if it was interrupted before.
    fn epoch(&self, fit: &mut Fit<'_>) -> Result<bool, Failure> {
        let progress = Progress::new("batches");
        let epoch = fit.position().epoch;
        while fit.position().epoch == epoch {
            if self.stop.load(Ordering::SeqCst) {
                return Ok(true);
            }
            let batch = fit.step()?;
            progress.say(format!("epoch {} loss {:.4}", epoch + 1, batch.loss));
            progress.at(fit.position().batch, fit.batches());
        }
        Ok(false)
    }

    fn accuracy(&self, fit: &mut Fit<'_>, engine: &EngineArgs) -> Result<Option<Accuracy>, Failure> {
        match self.validation {
            Some(validation) => validation.accuracy(&fit.state()?, engine, self.settings.batch).map(Some),
            None => Ok(None),
        }
    }

    fn save(&self, fit: &mut Fit<'_>, report: &Report) -> Result<(), Failure> {
        write_npz(&self.args.output, &fit.state()?.to_npz())?;
        if let Some(path) = &self.args.curve {
            let picture = curve::draw(fit.losses(), fit.batches());
            Target::from(path.as_str()).write(picture.as_bytes())?;
        }
        if let Some(path) = &self.args.json {
            Target::from(path.as_str()).write(report.json(fit)?.as_bytes())?;
        }
        Ok(())
    }

    fn how_to_go_on(&self) -> String {
        let name = self.args.output.name();
        format!("interrupted; wrote {name}: the same command with --resume {name} goes on from here")
    }
}

impl From<FitError> for Failure {
    fn from(error: FitError) -> Self {
        match error {
            FitError::Runtime(error) => error.into(),
            FitError::Diverged { .. } => Self { code: Exit::CheckFailed as u8, message: error.to_string() },
            other => Self::usage(other),
        }
    }
}
