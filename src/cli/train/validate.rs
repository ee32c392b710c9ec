//! Accuracy on samples that are not trained on.

use std::cell::RefCell;

use crate::cli::Failure;
use crate::cli::check::EngineArgs;
use crate::cli::model::ModelFile;
use crate::cli::state::read_npz;
use crate::onnx::Host;
use crate::runtime::Session;
use crate::tensor::Tensor;
use crate::train::Manifest;
use crate::train::chance::draws;
use crate::train::data::Dataset;
use crate::train::evaluate::{Accuracy, accuracy};
use crate::train::manifest::{CarriedRole, InputRole, OutputRole};
use crate::train::state::State;
use crate::train::stored::replace;

/// What is validated on what.
#[derive(Debug, clap::Args)]
pub struct ValidateArgs {
    /// Samples to measure the accuracy on after every epoch
    #[arg(long, value_name = "FILE.npz")]
    validation: Option<String>,
    /// The classifier to measure with the trained parameters: one that was exported for inference, if the step's was
    /// exported for training
    #[arg(long, value_name = "MODEL", requires = "validation")]
    classifier: Option<String>,
}

/// A model that takes the trained parameters, and samples.
pub struct Validation {
    data: Dataset,
    model: Model,
    directory: std::path::PathBuf,
    logits: String,
}

enum Model {
    /// The parameters are put into its bytes.
    Classifier(ModelFile),
    /// The parameters, and inputs that change nothing, are given to it.
    Step { session: RefCell<Box<dyn Session>>, fixed: Vec<(String, Tensor)> },
}

impl ValidateArgs {
    /// The files that it reads.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.validation.iter().chain(&self.classifier).map(String::as_str)
    }

    pub fn open(
        &self,
        step: &ModelFile,
        host: &Host<'_>,
        manifest: &Manifest,
        engine: &EngineArgs,
    ) -> Result<Option<Validation>, Failure> {
        let Some(path) = &self.validation else { return Ok(None) };
        let data = Dataset::new(&read_npz(path)?.arrays, manifest);
        let data = data
            .and_then(|data| data.check_classes().map(|()| data))
            .map_err(|error| Failure::usage(format!("{path}: {error}")))?;
        let logits = manifest
            .output(OutputRole::Logits)
            .or_else(|| manifest.output(OutputRole::Classifier))
            .ok_or_else(|| step.failure("the step gives no logits, so there is no accuracy"))?;
        let logits = logits.port.name.clone();
        if let Some(path) = &self.classifier {
            let file = ModelFile::open(path)?;
            let directory = file.directory();
            let logits = classifier_output(&file, &logits)?;
            return Ok(Some(Validation { data, model: Model::Classifier(file), directory, logits }));
        }
        refuse_training_mode(step, host, manifest)?;
        let session = engine.open_for_training(host.model(), Some(step.directory()))?.load(host.bytes())?;
        let model = Model::Step { session: RefCell::new(session), fixed: fixed(manifest) };
        Ok(Some(Validation { data, model, directory: step.directory(), logits }))
    }
}

impl Validation {
    pub fn accuracy(&self, state: &State, engine: &EngineArgs, batch: usize) -> Result<Accuracy, Failure> {
        let measured = match &self.model {
            Model::Classifier(file) => {
                let host = file.host()?;
                let has =
                    |name: &str| host.graph().initializer.iter().any(|t| t.name.as_deref() == Some(name));
                let values = state.classifier_values(has).map_err(Failure::usage)?;
                let bytes = replace(host.bytes(), &values).map_err(|error| file.failure(error))?;
                let engine = engine.open_for_training(host.model(), Some(self.directory.clone()))?;
                let mut session = engine.load(&bytes)?;
                accuracy(session.as_mut(), &self.data, batch, &self.logits, &[], false)
            }
            Model::Step { session, fixed } => {
                let mut session = session.borrow_mut();
                let carried = state.values.iter().map(|(name, value)| (name.clone(), value.clone()));
                let more: Vec<(String, Tensor)> = fixed.iter().cloned().chain(carried).collect();
                accuracy(session.as_mut(), &self.data, batch, &self.logits, &more, true)
            }
        };
        Ok(measured?)
    }
}

/// The output of a classifier that has the logits, or its only one.
fn classifier_output(file: &ModelFile, logits: &str) -> Result<String, Failure> {
    let host = file.host()?;
    let names: Vec<String> = host.graph().output.iter().filter_map(|output| output.name.clone()).collect();
    match names.as_slice() {
        names if names.iter().any(|name| name == logits) => Ok(logits.to_owned()),
        [only] => Ok(only.clone()),
        names => Err(file.failure(format!("it has no output `{logits}`, but {}", names.join(", ")))),
    }
}

/// Statistics of a batch, and random numbers, have no place in a measurement.
fn refuse_training_mode(step: &ModelFile, host: &Host<'_>, manifest: &Manifest) -> Result<(), Failure> {
    let statistics = manifest.carried.iter().any(|carried| carried.role == CarriedRole::Statistic);
    let random = host.graph().node.iter().any(|node| draws(host, node));
    if !(statistics || random) {
        return Ok(());
    }
    let what = if statistics { "batch statistics" } else { "random numbers, as of dropout" };
    Err(step.failure(format!(
        "the step computes with {what}, which is no way to measure; give the same classifier, exported for inference, \
         with --classifier"
    )))
}

/// Inputs for a run of which only the logits are read.
fn fixed(manifest: &Manifest) -> Vec<(String, Tensor)> {
    let other = |role| !matches!(role, InputRole::Data | InputRole::Labels);
    let inputs = manifest.inputs.iter().filter(|input| other(input.role));
    let zero = |input: &crate::train::manifest::Input| {
        let shape = input.port.fixed_shape()?;
        Some((input.port.name.clone(), Tensor::zeros(input.port.dtype, shape).ok()?))
    };
    inputs.filter_map(zero).collect()
}
