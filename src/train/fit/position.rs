//! Where a run stands.

use serde::{Deserialize, Serialize};

use super::Settings;

/// Updates in a row with finite gradients after which the loss scale doubles, as in `torch.amp.GradScaler`.
const SCALE_GROWS_AFTER: u32 = 2000;

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Epoch, from 0.
    pub epoch: usize,
    /// Batches of this epoch that are done.
    pub batch: usize,
    /// Updates of the parameters so far.
    pub updates: u64,
    /// Batches so far.
    pub runs: u64,
    /// Factor of the loss.
    pub loss_scale: f64,
    /// Updates in a row with finite gradients.
    pub finite: u32,
}

impl Position {
    pub(super) fn start(settings: &Settings) -> Self {
        Self { epoch: 0, batch: 0, updates: 0, runs: 0, loss_scale: settings.loss_scale, finite: 0 }
    }

    /// `torch.amp.GradScaler`: half of it after a step that was left out, twice after many that were not.
    pub(super) fn rescale(&mut self, finite: Option<bool>) {
        match finite {
            None => {}
            Some(false) => {
                self.loss_scale /= 2.0;
                self.finite = 0;
            }
            Some(true) => {
                self.finite += 1;
                if self.finite >= SCALE_GROWS_AFTER {
                    self.loss_scale *= 2.0;
                    self.finite = 0;
                }
            }
        }
    }
}
