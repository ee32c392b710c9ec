//! The problem of a cell: its loss, and batches for it.
//!
//! Batches are random but the same for every arm and every run of the program: logits within ±3, so that the formula as
//! published keeps its digits and every arm can be held to the reference; features within ±1; labels at random.

use fastrand::Rng;

use super::plan::Cell;
use crate::check::Case;
use crate::loss::{
    ClassWeighting, Interface, Loss, LossSpec, Quantity, Reduction, Tables, WeightScheme, builtin,
};
use crate::tensor::{Tensor, TensorData};

const LARGEST_LOGIT: f32 = 3.0;
/// Samples of the most and the least frequent class of the made-up training set, as in long-tailed CIFAR.
const CLASS_COUNTS: (f64, f64) = (5000.0, 50.0);

/// The loss of a cell: the built-in source with its own defaults, class weights stored where the formula uses them.
///
/// # Errors
/// A message where the source does not go with the cell.
pub fn loss(cell: &Cell) -> Result<Loss, String> {
    let spec = builtin::load(&cell.loss).ok_or_else(|| format!("no built-in loss `{}`", cell.loss))?;
    let spec = spec.map_err(|error| error.to_string())?;
    let counts = class_counts(cell.classes);
    let weights = uses_weights(&spec).then(|| class_weights(cell.classes));
    let mut interface = Interface::new(cell.classes, &spec);
    interface.dtype = cell.dtype;
    if weights.is_some() {
        interface.class_weighting = ClassWeighting::Stored;
    }
    let tables = Tables::new(&spec, weights, Some(&counts), cell.classes).map_err(|e| e.to_string())?;
    Loss::with_tables(spec, interface, tables).map_err(|e| e.to_string())
}

fn uses_weights(spec: &LossSpec) -> bool {
    spec.uses(Quantity::ClassWeight, &[])
        || spec.class_weights != WeightScheme::None
        || spec.reduction == Reduction::WeightedMean
}

/// Class weights `[C]`, from 0.5 to 1.5.
pub fn class_weights(classes: usize) -> Vec<f64> {
    (0..classes).map(|k| 0.5 + k as f64 / (classes - 1).max(1) as f64).collect()
}

/// Training samples of each class, `[C]`: a long tail.
pub fn class_counts(classes: usize) -> Vec<f64> {
    let (most, least) = CLASS_COUNTS;
    let share = |k: usize| k as f64 / (classes - 1).max(1) as f64;
    (0..classes).map(|k| (most * (least / most).powf(share(k))).round()).collect()
}

/// The batch of this number.
pub fn batch(cell: &Cell, loss: &Loss, number: usize) -> Case {
    let mut rng = Rng::with_seed(0xba7c4 + number as u64);
    let mut floats = |shape: Vec<usize>, largest: f32| {
        let count = shape.iter().product();
        let values = (0..count).map(|_| largest * (2.0 * rng.f32() - 1.0)).collect();
        tensor(shape, TensorData::F32(values)).cast(cell.dtype)
    };
    let logits = floats(vec![cell.rows, cell.classes], LARGEST_LOGIT);
    let features = loss.has_features().then(|| floats(vec![cell.rows, cell.features], 1.0));
    let labels = (0..cell.rows).map(|_| rng.usize(..cell.classes) as i64).collect();
    let mut inputs = vec![
        ("logits".to_owned(), logits),
        ("labels".to_owned(), tensor(vec![cell.rows], TensorData::I64(labels))),
    ];
    inputs.extend(features.map(|features| ("features".to_owned(), features)));
    Case { name: format!("batch {number}"), inputs }
}

/// Bytes of the inputs and outputs of a run: what must be moved at the least.
pub fn bytes(cell: &Cell, loss: &Loss) -> u128 {
    let size = cell.dtype.size_of() as u128;
    let (n, c, d) = (cell.rows as u128, cell.classes as u128, cell.features as u128);
    let wide = n * c + if loss.has_features() { n * d } else { 0 };
    let labels = n * 8;
    let scalar = loss.interface().scalar_dtype().size_of() as u128;
    2 * wide * size + labels + scalar
}

fn tensor(shape: Vec<usize>, data: TensorData) -> Tensor {
    Tensor::new(shape, data).expect("a batch makes as many values as its shape holds")
}
