//! Training steps in a plan: classifiers, and the optimizers that train them.

use std::path::{Path, PathBuf};

use crate::bench::steps::case::Case;
use crate::graft::{Head, Wishes, discover};
use crate::graph::Dim;
use crate::onnx::{Host, Source, port_type};
use crate::tensor::DType;
use crate::train::{Betas, Optimizer, Recipe};

/// A training step of a classifier, where a cell is not of a loss by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Its name in reports.
    pub classifier: String,
    /// Its file.
    pub path: PathBuf,
    /// What updates its parameters.
    pub optimizer: StepOptimizer,
}

/// The optimizers whose losses a classifier's case file lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StepOptimizer {
    /// Gradient descent with momentum 0.9 and weight decay 2e-4.
    Momentum,
    /// AdamW with PyTorch's constants.
    AdamW,
}

impl StepOptimizer {
    /// Every one by its name in plans and reports.
    pub const ALL: [(&'static str, StepOptimizer); 2] =
        [("momentum", StepOptimizer::Momentum), ("adamw", StepOptimizer::AdamW)];

    /// Name in plans and reports.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, known)| *known == self).map_or("other", |(name, _)| name)
    }

    /// The optimizer with the constants of the listed losses.
    pub fn recipe(self) -> Recipe {
        match self {
            StepOptimizer::Momentum => {
                let optimizer = Optimizer::Momentum { momentum: 0.9, nesterov: false };
                Recipe { weight_decay: 2e-4, ..Recipe::new(optimizer) }
            }
            StepOptimizer::AdamW => Recipe::new(Optimizer::AdamW(Betas::default())),
        }
    }

    /// The learning rate of the listed losses.
    pub fn learning_rate(self) -> f32 {
        match self {
            StepOptimizer::Momentum => 1e-5,
            StepOptimizer::AdamW => 1e-4,
        }
    }
}

/// What a plan needs to know of a classifier.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Classifier {
    pub name: String,
    pub path: PathBuf,
    /// Of its case file.
    pub loss: String,
    pub classes: usize,
    pub features: usize,
    /// The batch size, where the model has one.
    pub rows: Option<usize>,
}

impl Classifier {
    /// Looks at a classifier; its data stays in the file.
    ///
    /// # Errors
    /// What keeps it from being measured.
    pub fn open(path: &Path) -> Result<Self, String> {
        let at = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let source =
            Source::open(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let host = Host::read(source.bytes()).map_err(|error| at(&error))?;
        let head = discover(&host, Wishes::default()).map_err(|error| at(&error))?;
        let case = Case::read(path)?;
        let shape = data_shape(&host).map_err(|error| at(&error))?;
        let classes = head.classes.ok_or_else(|| at(&"the number of classes is open"))?;
        if classes != case.class_counts.len() {
            let counts = case.class_counts.len();
            return Err(at(&format!("it has {classes} classes, and {} lists {counts} counts", Case::FILE)));
        }
        let features = width(&head).ok_or_else(|| at(&"the number of features is open"))?;
        Ok(Self {
            name: name(path),
            path: path.to_owned(),
            loss: case.loss,
            classes,
            features,
            rows: shape[0],
        })
    }
}

/// The shape of the one input that a classifier has beside its initializers; the batch may be open.
///
/// # Errors
/// Other inputs, types and open extents.
pub(crate) fn data_shape(host: &Host<'_>) -> Result<Vec<Option<usize>>, String> {
    let graph = host.graph();
    let stored = |name: Option<&str>| graph.initializer.iter().any(|t| t.name.as_deref() == name);
    let inputs: Vec<_> = graph.input.iter().filter(|input| !stored(input.name.as_deref())).collect();
    let [input] = inputs.as_slice() else {
        return Err(format!("a classifier with {} inputs; only those with one are measured", inputs.len()));
    };
    let ty = port_type(input).ok_or("its input has no known type")?;
    if ty.dtype != DType::F32 {
        return Err(format!("its input is {}; only float32 is measured", ty.dtype));
    }
    let fixed = |dim: &Dim| match dim {
        Dim::Fixed(n) => Some(*n),
        Dim::Symbol(_) | Dim::Unknown => None,
    };
    let shape: Vec<Option<usize>> = ty.shape.iter().map(fixed).collect();
    if shape.is_empty() || shape.iter().skip(1).any(Option::is_none) {
        return Err("its input has open extents beside the batch".to_owned());
    }
    Ok(shape)
}

/// D, where it is known.
fn width(head: &Head) -> Option<usize> {
    head.features.as_ref()?.shape.as_ref()?.get(1)?.parse().ok()
}

/// The file's name without its extension; of `…/resnet/model.onnx` the directory's.
fn name(path: &Path) -> String {
    let text = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    let stem = text(path.file_stem()).unwrap_or_default();
    match text(path.parent().and_then(Path::file_name)) {
        Some(directory) if stem == "model" => directory,
        _ => stem,
    }
}
