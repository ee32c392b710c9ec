//! What a run gave: a line an epoch, accuracies at the end, and JSON.

use serde::Serialize;

use crate::cli::Failure;
use crate::train::evaluate::Accuracy;
use crate::train::fit::{Fit, Position, Settings};

/// The course of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    settings: Settings,
    epochs: Vec<Epoch>,
}

#[derive(Debug, Serialize)]
struct Epoch {
    /// From 1.
    epoch: usize,
    /// Mean of the batches' losses.
    loss: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accuracy: Option<f64>,
    /// Mean of the classes' accuracies.
    #[serde(skip_serializing_if = "Option::is_none")]
    balanced_accuracy: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    classes: Option<Accuracy>,
}

impl Report {
    /// Of a run that starts here; epochs before a resumption have their losses.
    pub fn new(fit: &Fit<'_>, settings: &Settings) -> Self {
        let mut report = Self { settings: settings.clone(), epochs: Vec::new() };
        for done in 0..fit.position().epoch {
            report.epochs.push(Epoch::new(fit, done, None));
        }
        report
    }

    /// Adds the epoch that was just done, and returns its line.
    pub fn epoch(&mut self, fit: &Fit<'_>, accuracy: Option<Accuracy>) -> String {
        let epoch = Epoch::new(fit, fit.position().epoch - 1, accuracy);
        let loss = epoch.loss.map_or("-".to_owned(), |loss| format!("{loss:.4}"));
        let share = epoch.accuracy.map_or(String::new(), |share| format!("{:.2} %", 100.0 * share));
        let line = format!("{:>6} {loss:>10} {share:>10}", epoch.epoch);
        self.epochs.push(epoch);
        line
    }

    /// Accuracy of each class after the last epoch; empty without a validation.
    pub fn classes(&self) -> String {
        let Some((last, accuracy)) = self.epochs.last().and_then(|e| Some((e, e.classes.as_ref()?))) else {
            return String::new();
        };
        let mut lines = vec![format!("{:>6} {:>10} {:>10}", "class", "samples", "accuracy")];
        for (class, found) in accuracy.classes.iter().enumerate() {
            let share = found.share().map_or("-".to_owned(), |share| format!("{:.2} %", 100.0 * share));
            lines.push(format!("{class:>6} {:>10} {share:>10}", found.samples));
        }
        let percent = |share: Option<f64>| 100.0 * share.unwrap_or(f64::NAN);
        let (all, balanced) = (percent(last.accuracy), percent(last.balanced_accuracy));
        lines
            .push(format!("{:>17} {all:>8.2} %\n{:>17} {balanced:>8.2} %", "all samples", "mean of classes"));
        lines.join("\n")
    }

    /// The run as JSON, with the loss of every batch.
    pub fn json(&self, fit: &Fit<'_>) -> Result<String, Failure> {
        #[derive(Serialize)]
        struct Document<'a> {
            #[serde(flatten)]
            report: &'a Report,
            /// Where the run ended: batches, updates (fewer, where steps were left out) and the loss scale.
            position: &'a Position,
            losses: &'a [f32],
        }
        let document = Document { report: self, position: fit.position(), losses: fit.losses() };
        Ok(serde_json::to_string_pretty(&document).map_err(Failure::usage)? + "\n")
    }
}

impl Epoch {
    fn new(fit: &Fit<'_>, epoch: usize, accuracy: Option<Accuracy>) -> Self {
        let batches = fit.batches();
        let losses = fit.losses().get(epoch * batches..(epoch + 1) * batches).unwrap_or(&[]);
        let finite: Vec<f64> = losses.iter().filter(|l| l.is_finite()).map(|l| f64::from(*l)).collect();
        Self {
            epoch: epoch + 1,
            loss: (!finite.is_empty()).then(|| finite.iter().sum::<f64>() / finite.len() as f64),
            accuracy: accuracy.as_ref().map(Accuracy::overall),
            balanced_accuracy: accuracy.as_ref().map(Accuracy::balanced),
            classes: accuracy,
        }
    }
}
