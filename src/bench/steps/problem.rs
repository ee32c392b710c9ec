//! The problem of a cell of training steps: the classifier, its loss, and batches for it.

use std::path::PathBuf;

use fastrand::Rng;

use super::activations::Activations;
use super::case::Case;
use super::reference::Reference;
use crate::bench::arms::Inputs;
use crate::bench::memory::Layout;
use crate::bench::plan::step::data_shape;
use crate::bench::plan::{Cell, Step, format_bytes};
use crate::graft::{Head, Names, Wishes, discover};
use crate::loss::Loss;
use crate::onnx::{Host, Source};
use crate::tensor::{Tensor, TensorData};

/// Batches that take turns. A step goes through all activations of the classifier, so that no batch is met in a cache
/// that is not a few megabytes larger than those.
const SETS: usize = 4;

/// What every arm of a cell solves.
pub struct Problem {
    pub step: Step,
    pub case: Case,
    pub loss: Loss,
    pub reference: Reference,
    /// The classifier's file.
    pub source: Source,
    /// Name of the classifier's input, and of the labels that a graft adds.
    pub names: (String, String),
    /// Shape of the input without the batch.
    pub shape: Vec<usize>,
    /// Batches to be timed on.
    pub sets: Vec<Inputs>,
}

impl Problem {
    /// Opens the classifier of a cell and makes its batches.
    ///
    /// # Errors
    /// What is missing beside the classifier, or cannot be measured.
    pub fn open(cell: &Cell, step: &Step, layout: Layout) -> Result<Self, String> {
        let path = step.path.display();
        let source = Source::open(&step.path).map_err(|error| format!("cannot read {path}: {error}"))?;
        let case = Case::read(&step.path)?;
        let (names, shape) = {
            let host = Host::read(source.bytes()).map_err(|error| format!("{path}: {error}"))?;
            let shape = data_shape(&host).map_err(|error| format!("{path}: {error}"))?;
            let stored =
                |name: &str| host.graph().initializer.iter().any(|t| t.name.as_deref() == Some(name));
            let inputs = host.graph().input.iter().filter_map(|input| input.name.clone());
            let data = inputs.into_iter().find(|name| !stored(name)).unwrap_or_default();
            let labels = Names::of(host.graph()).give("labels");
            ((data, labels), shape.into_iter().skip(1).map(|n| n.unwrap_or(1)).collect::<Vec<_>>())
        };
        let sets = (0..layout.sets).map(|number| batch(cell, &names, &shape, number)).collect();
        Ok(Self {
            loss: case.loss()?,
            reference: Reference::read(&step.path)?,
            step: step.clone(),
            case,
            source,
            names,
            shape,
            sets,
        })
    }

    /// The classifier's structure, and where a loss attaches.
    ///
    /// # Errors
    /// A file that has changed since the plan was read.
    pub fn host(&self) -> Result<(Host<'_>, Head), String> {
        let host = Host::read(self.source.bytes()).map_err(|error| error.to_string())?;
        let head = discover(&host, Wishes::default()).map_err(|error| error.to_string())?;
        Ok((host, head))
    }

    /// The batch of the reference as inputs.
    pub fn reference_inputs(&self) -> Inputs {
        let (data, labels) = self.names.clone();
        vec![(data, self.reference.x.clone()), (labels, self.reference.labels.clone())]
    }

    /// The directory that external data stands in.
    pub fn directory(&self) -> PathBuf {
        self.step.path.parent().map(ToOwned::to_owned).unwrap_or_default()
    }
}

/// Lays a cell out. What a step holds at once depends on the classifier and the engine, so the memory is an
/// estimate: the batches, the parameters, and the activations by their shapes.
///
/// # Errors
/// Batches that do not fit `limit` bytes, found before they are made.
pub fn layout(cell: &Cell, step: &Step, limit: u64) -> Result<Layout, String> {
    let source = Source::open(&step.path).map_err(|error| format!("{}: {error}", step.path.display()))?;
    let host = Host::read(source.bytes()).map_err(|error| format!("{}: {error}", step.path.display()))?;
    let shape = data_shape(&host).map_err(|error| format!("{}: {error}", step.path.display()))?;
    let width: u128 = shape.iter().skip(1).flatten().map(|n| *n as u128).product();
    let batch = cell.rows as u128 * (width * 4 + 8);
    let arms = cell.arms.len() as u128;
    // Parameters, their gradients, and an optimizer's state of two values each.
    let parameters = source.bytes().len() as u128 * 4 * arms;
    let activations = Activations::of(&host, cell.rows, shape.first().is_none_or(Option::is_none));
    // All arms are loaded at once, and an engine keeps what a run has taken for the next.
    let held = cell.arms.iter().map(|arm| activations.held_by(*arm)).fold(0, u128::saturating_add);
    let memory = (batch * SETS as u128 * (arms + 1) + parameters).saturating_add(held);
    if memory > u128::from(limit) {
        return Err(format!(
            "the cell {} needs about {} of memory, and there are {}; exclude it, or raise `budget: memory` if \
             you know better",
            cell.id(),
            format_bytes(u64::try_from(memory).unwrap_or(u64::MAX)),
            format_bytes(limit)
        ));
    }
    let memory = u64::try_from(memory).unwrap_or(u64::MAX);
    Ok(Layout { bytes: None, sets: SETS, cold: false, memory })
}

/// The batch of this number: values within ±1, labels at random.
fn batch(cell: &Cell, (data, labels): &(String, String), shape: &[usize], number: usize) -> Inputs {
    let mut rng = Rng::with_seed(0x57e9 + number as u64);
    let full: Vec<usize> = [cell.rows].iter().chain(shape).copied().collect();
    let values = (0..full.iter().product()).map(|_| 2.0 * rng.f32() - 1.0).collect();
    let classes = (0..cell.rows).map(|_| rng.usize(..cell.classes) as i64).collect();
    let tensor = |shape, data| Tensor::new(shape, data).expect("as many values as the shape holds");
    vec![
        (data.clone(), tensor(full, TensorData::F32(values))),
        (labels.clone(), tensor(vec![cell.rows], TensorData::I64(classes))),
    ]
}
