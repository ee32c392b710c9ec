//! From the lists of a plan to its cells.

use std::ops::RangeInclusive;

use serde_saphyr::Spanned;

use super::step::Classifier;
use super::threshold::CellPattern;
use super::units::DTYPES;
use super::yaml::{Reader, Source};
use super::{ArmKind, Cell, Step, StepOptimizer};
use crate::loss::{SpecError, builtin};
use crate::runtime::{MOST_THREADS, Provider};
use crate::tensor::DType;

/// Most cells of a plan; more are a mistake in it.
const MOST_CELLS: usize = 10_000;
/// Most elements along an axis: what a graph can index.
const LARGEST_AXIS: usize = i32::MAX as usize;

/// Every combination that no exclusion fits, with the arms that are left, in the order of the lists.
pub(super) fn expand(
    reader: &Reader,
    source: &Source,
    classifiers: &[Classifier],
    exclude: &[CellPattern],
) -> Result<Vec<Cell>, SpecError> {
    one_kind(reader, source)?;
    let axes = Axes::read(reader, source, classifiers)?;
    let arms = reader.arms(source)?;
    if axes.count().is_none_or(|count| count > MOST_CELLS) {
        return Err(reader.whole(format!("the matrix has more than {MOST_CELLS} cells; shorten its lists")));
    }
    let (whole, partial): (Vec<_>, Vec<_>) = exclude.iter().partition(|pattern| pattern.arms.is_empty());
    let mut cells = axes.cells();
    cells.retain(|cell| !whole.iter().any(|pattern| pattern.matches_cell(cell)));
    for cell in &mut cells {
        let excluded = |arm: &ArmKind| partial.iter().any(|p| p.matches(cell, &arm.to_string()));
        let mut kept: Vec<ArmKind> = arms.iter().copied().filter(|arm| !excluded(arm)).collect();
        // Of the bytes that a training step moves, those of its inputs are next to nothing.
        if cell.step.is_none() && !kept.is_empty() && !excluded(&ArmKind::Copy) {
            kept.push(ArmKind::Copy);
        }
        cell.arms = kept;
    }
    cells.retain(|cell| !cell.arms.is_empty());
    if cells.is_empty() {
        let message =
            "the matrix is empty: `exclude` leaves no cell with an arm; remove an exclusion".to_owned();
        return Err(reader.whole(message));
    }
    Ok(cells)
}

/// A plan is of losses by themselves or of classifiers; keys of the other kind would be passed over in silence.
fn one_kind(reader: &Reader, source: &Source) -> Result<(), SpecError> {
    let of_losses = [
        ("losses", source.losses.is_empty()),
        ("classes", source.classes.is_empty()),
        ("features", source.features.is_empty()),
        ("dtypes", source.dtypes.is_empty()),
        ("lowerings", source.lowerings.is_empty()),
        ("cuda_graphs", source.cuda_graphs.is_empty()),
    ];
    let of_classifiers = [("emit", source.emit.is_empty()), ("optimizers", source.optimizers.is_empty())];
    let (keys, why): (&[(&str, bool)], _) = if source.classifiers.is_empty() {
        (&of_classifiers, "is of plans with `classifiers`")
    } else {
        (&of_losses, "does not go with `classifiers`, which bring their own")
    };
    match keys.iter().find(|(_, empty)| !empty) {
        Some((key, _)) => Err(reader.whole(format!("`{key}` {why}; remove it, or make two plans"))),
        None => Ok(()),
    }
}

struct Axes {
    classifiers: Vec<Classifier>,
    optimizers: Vec<StepOptimizer>,
    losses: Vec<String>,
    rows: Vec<usize>,
    classes: Vec<usize>,
    features: Vec<usize>,
    dtypes: Vec<DType>,
    providers: Vec<Provider>,
    threads: Vec<usize>,
}

impl Axes {
    fn read(reader: &Reader, source: &Source, classifiers: &[Classifier]) -> Result<Self, SpecError> {
        let known: Vec<(&str, ())> = builtin::names().into_iter().map(|name| (name, ())).collect();
        let providers = Provider::ALL.map(|p| (p.name(), p));
        let losses = source.losses.iter().map(|name| {
            reader.named("built-in loss", name, &known)?;
            Ok(name.value.clone())
        });
        let dtypes = source.dtypes.iter().map(|name| reader.named("element type", name, &DTYPES));
        let named = source.providers.iter().map(|name| reader.named("provider", name, &providers));
        let or = |list: Vec<usize>, default: usize| if list.is_empty() { vec![default] } else { list };
        let optimizers =
            source.optimizers.iter().map(|name| reader.named("optimizer", name, &StepOptimizer::ALL));
        let axes = Self {
            classifiers: classifiers.to_vec(),
            optimizers: optimizers.collect::<Result<_, _>>()?,
            losses: losses.collect::<Result<_, SpecError>>()?,
            rows: sizes(reader, "rows", &source.rows, 1..=LARGEST_AXIS)?,
            classes: sizes(reader, "classes", &source.classes, 2..=LARGEST_AXIS)?,
            features: sizes(reader, "features", &source.features, 1..=LARGEST_AXIS)?,
            dtypes: dtypes.collect::<Result<Vec<_>, _>>()?,
            providers: named.collect::<Result<Vec<_>, _>>()?,
            threads: or(sizes(reader, "threads", &source.threads, 1..=MOST_THREADS)?, default_threads()),
        };
        axes.checked(reader)
    }

    fn checked(mut self, reader: &Reader) -> Result<Self, SpecError> {
        let required = [
            ("losses", self.losses.len()),
            ("rows", self.rows.len()),
            ("classes", self.classes.len()),
            ("features", self.features.len()),
        ];
        let of_steps = |name: &str| name == "rows" || self.classifiers.is_empty();
        if let Some((name, _)) = required.iter().find(|(name, len)| *len == 0 && of_steps(name)) {
            return Err(reader.whole(format!("the matrix is empty: `{name}` has no entry; give it one")));
        }
        if self.optimizers.is_empty() {
            self.optimizers.push(StepOptimizer::AdamW);
        }
        self.fixed_batches(reader)?;
        if self.dtypes.is_empty() {
            self.dtypes.push(DType::F32);
        }
        if self.providers.is_empty() {
            self.providers.push(Provider::Cpu);
        }
        Ok(self)
    }

    /// A classifier of a fixed batch size takes no other.
    fn fixed_batches(&self, reader: &Reader) -> Result<(), SpecError> {
        for classifier in &self.classifiers {
            if let Some(rows) = classifier.rows.filter(|fixed| self.rows.iter().any(|rows| rows != fixed)) {
                return Err(reader.whole(format!(
                    "`{}` takes batches of {rows}, and `rows` has others; export it with a dynamic batch",
                    classifier.name
                )));
            }
        }
        Ok(())
    }

    fn count(&self) -> Option<usize> {
        let least = |length: usize| length.max(1);
        let lengths = [
            least(self.losses.len()),
            self.rows.len(),
            least(self.classes.len()),
            least(self.features.len()),
            self.dtypes.len(),
            self.providers.len(),
            self.threads.len(),
            least(self.classifiers.len()),
            self.optimizers.len(),
        ];
        lengths.into_iter().try_fold(1usize, usize::checked_mul)
    }

    fn cells(&self) -> Vec<Cell> {
        let cell = Cell {
            loss: String::new(),
            rows: 0,
            classes: 0,
            features: 0,
            dtype: DType::F32,
            provider: Provider::Cpu,
            threads: 1,
            step: None,
            arms: Vec::new(),
        };
        let mut cells = vec![cell];
        if !self.classifiers.is_empty() {
            return self.steps(cells);
        }
        cells = vary(&cells, &self.losses, |cell, loss| cell.loss.clone_from(loss));
        cells = vary(&cells, &self.providers, |cell, provider| cell.provider = *provider);
        cells = vary(&cells, &self.threads, |cell, threads| cell.threads = *threads);
        cells = vary(&cells, &self.dtypes, |cell, dtype| cell.dtype = *dtype);
        cells = vary(&cells, &self.classes, |cell, classes| cell.classes = *classes);
        cells = vary(&cells, &self.features, |cell, features| cell.features = *features);
        vary(&cells, &self.rows, |cell, rows| cell.rows = *rows)
    }
}

impl Axes {
    fn steps(&self, cells: Vec<Cell>) -> Vec<Cell> {
        let steps: Vec<(&Classifier, StepOptimizer)> =
            self.classifiers.iter().flat_map(|c| self.optimizers.iter().map(move |o| (c, *o))).collect();
        let cells = vary(&cells, &steps, |cell, (classifier, optimizer)| {
            cell.loss.clone_from(&classifier.loss);
            (cell.classes, cell.features) = (classifier.classes, classifier.features);
            let (name, path) = (classifier.name.clone(), classifier.path.clone());
            cell.step = Some(Step { classifier: name, path, optimizer: *optimizer });
        });
        let cells = vary(&cells, &self.providers, |cell, provider| cell.provider = *provider);
        let cells = vary(&cells, &self.threads, |cell, threads| cell.threads = *threads);
        vary(&cells, &self.rows, |cell, rows| cell.rows = *rows)
    }
}

/// Every cell once for every value.
fn vary<T>(cells: &[Cell], values: &[T], set: impl Fn(&mut Cell, &T)) -> Vec<Cell> {
    let each = |cell: &Cell| {
        let with = |value: &T| {
            let mut cell = cell.clone();
            set(&mut cell, value);
            cell
        };
        values.iter().map(with).collect::<Vec<_>>()
    };
    cells.iter().flat_map(each).collect()
}

fn sizes(
    reader: &Reader,
    what: &str,
    given: &[Spanned<usize>],
    allowed: RangeInclusive<usize>,
) -> Result<Vec<usize>, SpecError> {
    let mut sizes = Vec::new();
    for size in given {
        if !allowed.contains(&size.value) {
            let message = format!("`{what}` are {} to {}", allowed.start(), allowed.end());
            return Err(reader.wrong(size, message));
        }
        if sizes.contains(&size.value) {
            return Err(reader.wrong(size, format!("{} is listed twice in `{what}`", size.value)));
        }
        sizes.push(size.value);
    }
    Ok(sizes)
}

/// What the machine has.
fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
