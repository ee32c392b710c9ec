//! Samples to train on: rows of arrays, shuffled anew each epoch.

use indexmap::IndexMap;

use super::manifest::{Extent, InputRole, Manifest};
use crate::tensor::{DType, Tensor};

/// Rows of every input of a classifier, with their labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// The classifier's inputs and the labels, by the names of the graph's inputs; the same number of rows in each.
    inputs: Vec<(String, Tensor)>,
    /// Class indices.
    labels: Vec<i64>,
    labels_name: String,
    /// Number of classes, where the graph tells.
    classes: Option<usize>,
    /// Rows with this label do not count.
    ignored: Option<i64>,
}

/// Arrays that are no data of this graph.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DataError(String);

impl Dataset {
    /// The arrays that the graph of `manifest` takes. Labels may be of any integer type, and inputs are cast to the
    /// graph's type.
    ///
    /// # Errors
    /// An array that is missing, of another shape, or with another number of rows.
    pub fn new(arrays: &IndexMap<String, Tensor>, manifest: &Manifest) -> Result<Self, DataError> {
        let mut inputs = Vec::new();
        let mut labels = None;
        let labels_name = manifest.input(InputRole::Labels).map(|i| i.port.name.clone()).unwrap_or_default();
        let data = manifest.inputs.iter().filter(|i| matches!(i.role, InputRole::Data | InputRole::Labels));
        for input in data {
            let name = &input.port.name;
            let array = arrays.get(name).ok_or_else(|| {
                let has = arrays.keys().cloned().collect::<Vec<_>>().join(", ");
                DataError(format!("the data has no array `{name}`; it has {has}"))
            })?;
            fits(name, array, &input.port.shape)?;
            let is_labels = input.role == InputRole::Labels;
            if is_labels && !matches!(array.dtype(), DType::I32 | DType::I64) {
                return Err(DataError(format!("`{name}` is {}; labels are integers", array.dtype())));
            }
            let array = array.cast(input.port.dtype);
            if is_labels {
                labels = array.cast(DType::I64).as_i64().map(<[i64]>::to_vec);
            }
            inputs.push((name.clone(), array));
        }
        let labels = labels.ok_or_else(|| DataError("the graph takes no labels".to_owned()))?;
        if labels.is_empty() {
            return Err(DataError("the data has no rows".to_owned()));
        }
        for (name, array) in &inputs {
            let rows = array.shape().first().copied().unwrap_or(0);
            if rows != labels.len() {
                return Err(DataError(format!(
                    "`{name}` has {rows} rows, but there are {} labels",
                    labels.len()
                )));
            }
        }
        Ok(Self { inputs, labels, labels_name, classes: manifest.classes(), ignored: manifest.ignored() })
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no samples; never for what [`Self::new`] made.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Class indices of all samples.
    pub fn labels(&self) -> &[i64] {
        &self.labels
    }

    /// Name of the input that takes the labels.
    pub fn labels_name(&self) -> &str {
        &self.labels_name
    }

    /// The label whose rows do not count.
    pub fn ignored(&self) -> Option<i64> {
        self.ignored
    }

    /// Checks that every label that counts is a class: engines take -1 for the last class, in silence.
    ///
    /// # Errors
    /// The first label that is none.
    pub fn check_labels(&self) -> Result<(), DataError> {
        self.classes.map_or(Ok(()), |classes| self.counts(classes, self.ignored).map(drop))
    }

    /// The class of a row; `None` where its label is negative, or does not count.
    pub fn class(&self, row: usize) -> Option<usize> {
        let label = *self.labels.get(row)?;
        usize::try_from(label).ok().filter(|_| self.ignored != Some(label))
    }

    /// Checks that no row is of a class beyond those that there are.
    ///
    /// # Errors
    /// The first that is.
    pub fn check_classes(&self) -> Result<(), DataError> {
        let Some(classes) = self.classes else { return Ok(()) };
        match (0..self.len()).find(|row| self.class(*row).is_some_and(|class| class >= classes)) {
            Some(row) => Err(no_class(row, self.labels[row], classes)),
            None => Ok(()),
        }
    }

    /// Samples of each class.
    ///
    /// # Errors
    /// A label that is not one of `classes`, nor `ignored`.
    pub fn counts(&self, classes: usize, ignored: Option<i64>) -> Result<Vec<usize>, DataError> {
        let mut counts = vec![0; classes];
        for (row, label) in self.labels.iter().enumerate().filter(|(_, label)| Some(**label) != ignored) {
            let slot = usize::try_from(*label).ok().and_then(|label| counts.get_mut(label));
            *slot.ok_or_else(|| no_class(row, *label, classes))? += 1;
        }
        Ok(counts)
    }

    /// These samples, by the names of the graph's inputs.
    pub fn batch(&self, rows: &[usize]) -> Vec<(&str, Tensor)> {
        let pick = |array: &Tensor| array.rows(rows).expect("every array has a row for every label");
        self.inputs.iter().map(|(name, array)| (name.as_str(), pick(array))).collect()
    }

    /// The order of an epoch: the same for the same seed, epoch and number of samples.
    pub fn order(&self, seed: u64, epoch: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.len()).collect();
        // The odd constant of SplitMix64 spreads neighbouring epochs over the generator's states.
        let mixed = seed.wrapping_add((epoch as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        fastrand::Rng::with_seed(mixed).shuffle(&mut order);
        order
    }
}

fn no_class(row: usize, label: i64, classes: usize) -> DataError {
    DataError(format!(
        "row {row} has label {label}, but there are {classes} classes, counted from 0; rows that are not to count need a \
         step made with --ignore-index {label}"
    ))
}

/// Whether an array has the shape of an input, but for what is known only at run time.
fn fits(name: &str, array: &Tensor, shape: &[Extent]) -> Result<(), DataError> {
    let same = |(got, want): (&usize, &Extent)| !matches!(want, Extent::Fixed(n) if n != got);
    let rows_apart = array.shape().iter().zip(shape).skip(1).all(same);
    if array.shape().len() == shape.len() && !shape.is_empty() && rows_apart {
        return Ok(());
    }
    let want: Vec<String> = shape
        .iter()
        .map(|extent| match extent {
            Extent::Fixed(n) => n.to_string(),
            Extent::Symbol(name) => name.clone(),
        })
        .collect();
    Err(DataError(format!(
        "`{name}` has shape {:?}, but the graph takes [{}]",
        array.shape(),
        want.join(", ")
    )))
}
