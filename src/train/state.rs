//! What a training graph carries, as a file: an `.npz` archive with one array a carried value.
//!
//! Beside the arrays stands [`ABOUT`], which says what the arrays are and, for a run that can go on, where it stands.

use std::path::Path;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::manifest::{CarriedRole, Initial, Manifest};
use super::stored::{Stored, StoredError};
use crate::npz::Npz;
use crate::onnx::Host;
use crate::tensor::{Tensor, TensorError};

/// Member of the archive with the description.
pub const ABOUT: &str = "ibgraph.json";
/// Array of the losses so far, one a run.
pub const LOSSES: &str = "ibgraph.losses";
/// Version of the description that this program writes, and the newest that it reads.
const FORMAT: u32 = 1;

/// The description in the archive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct About {
    format: u32,
    /// Names of the arrays that belong into the classifier.
    classifier: Vec<String>,
    /// Where a run stands, and how it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<serde_json::Value>,
}

/// Carried values, by the names of their inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// In the manifest's order.
    pub values: IndexMap<String, Tensor>,
    /// Names of those that belong into the classifier: parameters and running statistics. `None` in an archive that
    /// another program wrote.
    pub classifier: Option<Vec<String>>,
    /// Where a run stands, as [`super::fit`] describes it.
    pub run: Option<serde_json::Value>,
    /// Losses of that run so far.
    pub losses: Vec<f32>,
}

/// A state that cannot be made or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// An initial value does not read.
    #[error(transparent)]
    Stored(#[from] StoredError),
    /// An initial value that only the caller has.
    #[error(
        "`{0}` has no initial value in this graph: it is a parameter; take it from the graph of the gradients"
    )]
    Given(String),
    /// A value of an extent that is not known.
    #[error("`{0}` has no fixed shape, so its zeros cannot be made")]
    Shape(String),
    /// Too large.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The archive lacks a value.
    #[error("the state has no `{0}`; is it of this graph?")]
    Missing(String),
    /// A value of another type or shape.
    #[error("`{name}` is {got} in the state, and the graph takes {want}; is it of this graph?")]
    Mismatch {
        /// The value.
        name: String,
        /// As the graph has it.
        want: String,
        /// As the state has it.
        got: String,
    },
    /// A damaged description.
    #[error("the state's description ({ABOUT}) is damaged: {0}")]
    Json(#[from] serde_json::Error),
    /// From a newer program.
    #[error("the state has format {0}, and this ibgraph reads up to {FORMAT}; update ibgraph")]
    TooNew(u32),
}

impl State {
    /// The state before the first run. Parameters that `manifest` leaves to the caller are left out where
    /// `given_elsewhere`.
    ///
    /// # Errors
    /// Initial values that do not read, or that are not in the model.
    pub fn initial(
        manifest: &Manifest,
        host: &Host<'_>,
        directory: Option<&Path>,
        given_elsewhere: bool,
    ) -> Result<Self, StateError> {
        let stored = Stored::new(host, directory);
        let mut values = IndexMap::new();
        for carried in &manifest.carried {
            let port = &carried.port;
            let value = match &carried.initial {
                Initial::Initializer(name) => stored.value(name)?.cast(port.dtype),
                Initial::Zeros => {
                    let shape = port.fixed_shape().ok_or_else(|| StateError::Shape(port.name.clone()))?;
                    Tensor::zeros(port.dtype, shape)?
                }
                Initial::Given if given_elsewhere => continue,
                Initial::Given => return Err(StateError::Given(port.name.clone())),
            };
            values.insert(port.name.clone(), value);
        }
        let classifier = Some(classifier_names(manifest));
        Ok(Self { values, classifier, run: None, losses: Vec::new() })
    }

    /// Checks that the state is one of this graph.
    ///
    /// # Errors
    /// A value that is missing, or of another type or shape.
    pub fn check(&self, manifest: &Manifest) -> Result<(), StateError> {
        for carried in &manifest.carried {
            let port = &carried.port;
            let value = self.values.get(&port.name).ok_or_else(|| StateError::Missing(port.name.clone()))?;
            let fits = port.fixed_shape().is_none_or(|shape| shape == value.shape());
            if value.dtype() != port.dtype || !fits {
                return Err(StateError::Mismatch {
                    name: port.name.clone(),
                    want: format!("{} {:?}", port.dtype, port.fixed_shape().unwrap_or_default()),
                    got: format!("{} {:?}", value.dtype(), value.shape()),
                });
            }
        }
        Ok(())
    }

    /// As an archive.
    pub fn to_npz(&self) -> Npz {
        let mut npz = Npz { arrays: self.values.clone(), ..Npz::default() };
        if let Some(classifier) = &self.classifier {
            let about = About { format: FORMAT, classifier: classifier.clone(), run: self.run.clone() };
            let text = serde_json::to_string_pretty(&about).expect("string keys and finite numbers");
            npz.texts.insert(ABOUT.to_owned(), text);
        }
        if !self.losses.is_empty() {
            let losses = crate::tensor::TensorData::F32(self.losses.clone());
            let losses = Tensor::new(vec![self.losses.len()], losses).expect("a vector has its own length");
            npz.arrays.insert(LOSSES.to_owned(), losses);
        }
        npz
    }

    /// From an archive, also one that `numpy.savez` wrote.
    ///
    /// # Errors
    /// A damaged or newer description.
    pub fn from_npz(mut npz: Npz) -> Result<Self, StateError> {
        let losses = npz.arrays.shift_remove(LOSSES).map(|t| t.cast(crate::tensor::DType::F32));
        let losses = losses.and_then(|t| t.as_f32().map(<[f32]>::to_vec)).unwrap_or_default();
        let mut state = Self { values: npz.arrays, classifier: None, run: None, losses };
        if let Some(text) = npz.texts.get(ABOUT) {
            let about: About = serde_json::from_str(text)?;
            if about.format > FORMAT {
                return Err(StateError::TooNew(about.format));
            }
            state.classifier = Some(about.classifier);
            state.run = about.run;
        }
        Ok(state)
    }

    /// The values that belong into the classifier; of an archive without a description those that `has` knows.
    ///
    /// # Errors
    /// A value that the description names and the archive lacks.
    pub fn classifier_values(
        &self,
        has: impl Fn(&str) -> bool,
    ) -> Result<IndexMap<String, Tensor>, StateError> {
        let names: Vec<String> = match &self.classifier {
            Some(names) => names.clone(),
            None => self.values.keys().filter(|name| has(name)).cloned().collect(),
        };
        let value = |name: String| {
            let value = self.values.get(&name).cloned().ok_or_else(|| StateError::Missing(name.clone()))?;
            Ok((name, value))
        };
        names.into_iter().map(value).collect()
    }
}

/// Parameters and running statistics.
fn classifier_names(manifest: &Manifest) -> Vec<String> {
    let belongs = |role| matches!(role, CarriedRole::Parameter | CarriedRole::Statistic);
    manifest.carried.iter().filter(|c| belongs(c.role)).map(|c| c.port.name.clone()).collect()
}
