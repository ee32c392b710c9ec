//! Options of a run.

use clap::ValueEnum;
use indexmap::IndexMap;

use crate::cli::Failure;
use crate::cli::numbers::one_a_class;
use crate::cli::source::parse_setting;
use crate::loss::ClassWeights;
use crate::train::Manifest;
use crate::train::data::Dataset;
use crate::train::fit::{Schedule, Settings};
use crate::train::manifest::{Extent, InputRole};

/// How to train.
#[derive(Debug, clap::Args)]
pub struct SettingArgs {
    /// Passes over the data
    #[arg(long, default_value_t = 10)]
    epochs: usize,
    /// Samples a batch
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// Learning rate
    #[arg(long, value_name = "RATE")]
    lr: f64,
    /// The learning rate over the run: constant, cosine (to 0), or drops (by a factor at the epochs of --lr-drops)
    #[arg(long, value_enum, default_value = "constant")]
    lr_schedule: ScheduleKind,
    /// Epochs, from 1, at whose start the learning rate is multiplied by --lr-drop-factor
    #[arg(long, value_name = "EPOCH,…", value_delimiter = ',')]
    lr_drops: Vec<usize>,
    /// Factor of --lr-drops
    #[arg(long, value_name = "FACTOR", default_value_t = 0.1)]
    lr_drop_factor: f64,
    /// Updates over which the learning rate rises to its full value
    #[arg(long, value_name = "UPDATES", default_value_t = 0)]
    warmup: u64,
    /// Seed of the order of the samples, and of what the classifier draws (Dropout)
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Epochs of plain cross entropy without class weights before the loss itself, for a step with --runtime-input enabled
    #[arg(long, value_name = "EPOCHS", default_value_t = 0)]
    first_phase: usize,
    /// Class weights at run time, from the samples of each class in the data: inverse, effective, or a file of weights
    #[arg(long, value_name = "inverse|effective|FILE")]
    class_weights: Option<String>,
    /// beta of the effective-number weights
    #[arg(long, value_name = "BETA", default_value_t = crate::cli::loss_args::DEFAULT_BETA)]
    beta: f64,
    /// A parameter of the loss that the step takes at run time (may be repeated)
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// First factor of the loss, for a step made with --loss-scale; it then adapts
    #[arg(long, value_name = "FACTOR", default_value_t = 65536.0)]
    loss_scale: f64,
}

/// Schedules on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ScheduleKind {
    Constant,
    Cosine,
    Drops,
}

impl SettingArgs {
    pub fn settings(&self, manifest: &Manifest, data: &Dataset) -> Result<Settings, Failure> {
        if self.epochs == 0 {
            return Err(Failure::usage("--epochs 0 leaves nothing to train; give 1 or more"));
        }
        let set = self.set.iter().map(|setting| parse_setting(setting));
        let set = set.map(|setting| setting.map(|(name, value)| (name.to_owned(), value)));
        Ok(Settings {
            epochs: self.epochs,
            batch: self.batch,
            learning_rate: self.lr,
            schedule: self.schedule()?,
            warmup: self.warmup,
            seed: self.seed,
            first_phase: self.first_phase,
            class_weights: self.class_weights(manifest, data)?,
            loss_parameters: set.collect::<Result<IndexMap<_, _>, _>>()?,
            loss_scale: self.loss_scale,
        })
    }

    fn schedule(&self) -> Result<Schedule, Failure> {
        let drops = !self.lr_drops.is_empty();
        match self.lr_schedule {
            ScheduleKind::Drops if !drops => Err(Failure::usage("at which epochs? give --lr-drops")),
            ScheduleKind::Cosine if drops => {
                Err(Failure::usage("--lr-drops is for --lr-schedule drops, not cosine"))
            }
            ScheduleKind::Cosine => Ok(Schedule::Cosine),
            ScheduleKind::Constant if !drops => Ok(Schedule::Constant),
            ScheduleKind::Constant | ScheduleKind::Drops => Ok(Schedule::Drops {
                epochs: self.lr_drops.iter().map(|epoch| epoch.saturating_sub(1)).collect(),
                factor: self.lr_drop_factor,
            }),
        }
    }

    fn class_weights(&self, manifest: &Manifest, data: &Dataset) -> Result<Option<Vec<f64>>, Failure> {
        let Some(asked) = &self.class_weights else { return Ok(None) };
        let weights = match asked.as_str() {
            "inverse" => ClassWeights::Inverse,
            "effective" => ClassWeights::Effective { beta: self.beta },
            file => ClassWeights::Given(one_a_class("--class-weights", file)?),
        };
        let shape = manifest.input(InputRole::ClassWeights).and_then(|input| input.port.shape.first());
        let Some(Extent::Fixed(classes)) = shape else {
            return Err(Failure::usage(
                "--class-weights needs a step made with --runtime-input class_weights; weights that are in the step are \
                 chosen when it is made",
            ));
        };
        let counts = data.counts(*classes, data.ignored()).map_err(Failure::usage)?;
        let counts: Vec<f64> = counts.into_iter().map(|count| count as f64).collect();
        weights.resolve(Some(&counts), *classes).map_err(Failure::usage)
    }
}
