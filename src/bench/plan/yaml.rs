//! The YAML form of a [`Plan`].

use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use super::threshold::CellPattern;
use super::units::{parse_bytes, parse_share};
use super::{Budget, Plan, matrix};
use crate::loss::SpecError;
use crate::loss::expr::suggest;

mod patterns;

/// The file as YAML gives it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    pub name: Spanned<String>,
    pub title: Option<String>,
    #[serde(default)]
    pub losses: Vec<Spanned<String>>,
    #[serde(default)]
    pub classifiers: Vec<Spanned<String>>,
    #[serde(default)]
    pub rows: Vec<Spanned<usize>>,
    #[serde(default)]
    pub classes: Vec<Spanned<usize>>,
    #[serde(default)]
    pub features: Vec<Spanned<usize>>,
    #[serde(default)]
    pub dtypes: Vec<Spanned<String>>,
    #[serde(default)]
    pub optimizers: Vec<Spanned<String>>,
    #[serde(default)]
    pub lowerings: Vec<Spanned<String>>,
    #[serde(default)]
    pub emit: Vec<Spanned<String>>,
    #[serde(default)]
    pub peers: Vec<Spanned<String>>,
    #[serde(default)]
    pub providers: Vec<Spanned<String>>,
    #[serde(default)]
    pub threads: Vec<Spanned<usize>>,
    #[serde(default)]
    pub cuda_graphs: Vec<bool>,
    #[serde(default)]
    pub exclude: Vec<Spanned<Entry>>,
    #[serde(default)]
    pub budget: BudgetSource,
    pub max_regression: Option<Spanned<String>>,
    #[serde(default)]
    pub thresholds: Vec<Spanned<Entry>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct BudgetSource {
    cell: Option<Spanned<f64>>,
    precision: Option<Spanned<String>>,
    memory: Option<Spanned<String>>,
    samples: Option<Spanned<usize>>,
}

/// A value, or a list of them.
#[derive(Deserialize, Clone)]
#[serde(untagged)]
pub(super) enum Many<T> {
    One(T),
    List(Vec<T>),
}

impl<T: Clone> Many<T> {
    fn list(this: Option<&Self>) -> Vec<T> {
        match this {
            None => Vec::new(),
            Some(Many::One(value)) => vec![value.clone()],
            Some(Many::List(values)) => values.clone(),
        }
    }
}

/// An entry of `exclude`, or of `thresholds`, which has `max_regression` beside.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    losses: Option<Many<String>>,
    classifiers: Option<Many<String>>,
    optimizers: Option<Many<String>>,
    rows: Option<Many<usize>>,
    classes: Option<Many<usize>>,
    features: Option<Many<usize>>,
    dtypes: Option<Many<String>>,
    providers: Option<Many<String>>,
    arms: Option<Many<String>>,
    max_regression: Option<Spanned<String>>,
}

pub(super) fn read(file: &str, text: &str) -> Result<Plan, SpecError> {
    let reader = Reader { file, text };
    let source: Source = serde_saphyr::from_str(text).map_err(|e| {
        if text.trim().is_empty() {
            let what = "the plan is empty; it has a `name`, and `losses` or `classifiers` with their sizes";
            return SpecError::of_file(file, what.to_owned());
        }
        let message = in_words(with_suggestion(&e.without_snippet().to_string()));
        match e.location() {
            Some(place) => reader.at(&place, 1, message),
            None => SpecError::of_file(file, message),
        }
    })?;
    let classifiers = reader.classifiers(&source)?;
    let exclude = reader.exclude(&source, &classifiers)?;
    let cells = matrix::expand(&reader, &source, &classifiers, &exclude)?;
    Ok(Plan {
        name: source.name.value.clone(),
        title: source.title.clone(),
        cells,
        budget: reader.budget(&source.budget)?,
        thresholds: reader.thresholds(&source, &classifiers)?,
    })
}

/// The reader's message without the place, which stands before it; where it lists the keys that it knows, with the one
/// that was probably meant.
fn with_suggestion(message: &str) -> String {
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    let unknown = message.split('`').nth(1).filter(|_| message.contains("unknown field"));
    match unknown.zip(message.split_once("expected one of ")) {
        Some((unknown, (_, known))) => {
            let known: Vec<&str> = known.split(", ").map(|key| key.trim_matches('`')).collect();
            format!("unknown key `{unknown}`{}", suggest(unknown, &known))
        }
        None => message.to_owned(),
    }
}

/// What the reader says of a value of another kind, as what is wanted there.
fn in_words(message: String) -> String {
    let wanted = match message.as_str() {
        "invalid u64" | "invalid usize" => "a whole number is wanted here, without a sign",
        "invalid floating point" | "invalid f64" => "a number is wanted here",
        "invalid bool" => "`true` or `false` is wanted here",
        "expected string scalar" => "a word or a text is wanted here, not a list or keys",
        "expected sequence start" => "a list is wanted here, in brackets and with commas, such as `[a, b]`",
        "expected mapping start" => "keys with their values are wanted here, such as `{key: value}`",
        "unexpected end of input" => "the file ends here, and a value is wanted",
        _ => return message,
    };
    wanted.to_owned()
}

impl Entry {
    fn pattern(&self) -> CellPattern {
        CellPattern {
            losses: Many::list(self.losses.as_ref()),
            classifiers: Many::list(self.classifiers.as_ref()),
            optimizers: Many::list(self.optimizers.as_ref()),
            rows: Many::list(self.rows.as_ref()),
            classes: Many::list(self.classes.as_ref()),
            features: Many::list(self.features.as_ref()),
            dtypes: Many::list(self.dtypes.as_ref()),
            providers: Many::list(self.providers.as_ref()),
            arms: Many::list(self.arms.as_ref()),
        }
    }
}

/// Where errors of a file are made.
pub(super) struct Reader<'a> {
    file: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    pub(super) fn at(&self, place: &Location, width: usize, message: String) -> SpecError {
        let place = (place.line() as usize, place.column() as usize);
        SpecError::at(self.file, self.text, place, width, message)
    }

    /// An error at a value of the file.
    pub(super) fn wrong<T: ToString>(&self, value: &Spanned<T>, message: String) -> SpecError {
        self.at(&value.referenced, value.value.to_string().chars().count(), message)
    }

    pub(super) fn whole(&self, message: String) -> SpecError {
        SpecError::of_file(self.file, message)
    }

    /// The value that `name` stands for.
    pub(super) fn named<T: Copy>(
        &self,
        what: &str,
        name: &Spanned<String>,
        known: &[(&str, T)],
    ) -> Result<T, SpecError> {
        let names: Vec<&str> = known.iter().map(|(n, _)| *n).collect();
        known.iter().find(|(n, _)| *n == name.value).map(|(_, value)| *value).ok_or_else(|| {
            self.wrong(name, format!("no {what} `{}`{}", name.value, suggest(&name.value, &names)))
        })
    }

    fn budget(&self, source: &BudgetSource) -> Result<Budget, SpecError> {
        let mut budget =
            Budget { cell: std::time::Duration::from_secs(4), precision: 0.02, memory: None, samples: 400 };
        if let Some(cell) = &source.cell {
            if !(0.01..=3600.0).contains(&cell.value) {
                return Err(self.wrong(cell, "the budget of a cell is 0.01 to 3600 seconds".to_owned()));
            }
            budget.cell = std::time::Duration::from_secs_f64(cell.value);
        }
        if let Some(precision) = &source.precision {
            budget.precision = parse_share(&precision.value).map_err(|m| self.wrong(precision, m))?;
        }
        if let Some(memory) = &source.memory {
            budget.memory = Some(parse_bytes(&memory.value).map_err(|m| self.wrong(memory, m))?);
        }
        if let Some(samples) = &source.samples {
            if !(20..=100_000).contains(&samples.value) {
                return Err(self.wrong(samples, "a series keeps 20 to 100000 samples".to_owned()));
            }
            budget.samples = samples.value;
        }
        Ok(budget)
    }
}
