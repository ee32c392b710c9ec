//! The YAML form of a [`LossSpec`].

use std::ops::Range;

use indexmap::IndexMap;
use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use super::error::Place;
use super::names::{CLASS_QUANTITIES, Entry};
use super::{
    Formula, FormulaError, LogitFormulas, LossSpec, Parameter, Quantity, Reduction, SpecError, WeightScheme,
    is_identifier,
};
use crate::loss::expr::Function;

/// The file as YAML gives it; formulas are still text, with their places.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    name: Spanned<String>,
    title: Option<String>,
    source: Option<String>,
    #[serde(default)]
    parameters: IndexMap<String, Spanned<Declared>>,
    #[serde(default)]
    row: IndexMap<String, Spanned<String>>,
    loss: Spanned<String>,
    #[serde(default = "default_reduction")]
    reduction: Reduction,
    #[serde(default)]
    logits: LogitSource,
    #[serde(default)]
    class_weights: WeightScheme,
}

/// The adjusted logits; a number is a formula too.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct LogitSource {
    scale: Option<Spanned<String>>,
    margin: Option<Spanned<String>>,
    bias: Option<Spanned<String>>,
}

/// A parameter: its default value, or that with the range it must keep to.
#[derive(Deserialize)]
#[serde(untagged)]
enum Declared {
    Value(f64),
    Bounded(Bounded),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bounded {
    default: f64,
    above: Option<f64>,
    at_least: Option<f64>,
    at_most: Option<f64>,
}

impl Declared {
    fn parameter(&self) -> Parameter {
        match self {
            Declared::Value(value) => Parameter { value: *value, above: None, at_least: None, at_most: None },
            Declared::Bounded(b) => {
                Parameter { value: b.default, above: b.above, at_least: b.at_least, at_most: b.at_most }
            }
        }
    }
}

fn default_reduction() -> Reduction {
    Reduction::Mean
}

pub(super) fn read(file: &str, text: &str) -> Result<LossSpec, SpecError> {
    let reader = Reader { file, text };
    let source: Source = serde_saphyr::from_str(text).map_err(|e| {
        let place = e.location().map(|l| reader.place(&l, 0..1));
        reader.error(e.without_snippet().to_string(), place)
    })?;
    reader.check_declarations(&source)?;
    let row = source.row.iter().map(|(name, text)| Ok((name.clone(), reader.formula(text)?)));
    let optional = |text: &Option<Spanned<String>>| text.as_ref().map(|t| reader.formula(t)).transpose();
    let spec = LossSpec {
        name: source.name.value.clone(),
        title: source.title.clone(),
        source: source.source.clone(),
        parameters: source.parameters.iter().map(|(k, v)| (k.clone(), v.value.parameter())).collect(),
        row: row.collect::<Result<_, SpecError>>()?,
        loss: reader.formula(&source.loss)?,
        reduction: source.reduction,
        logits: LogitFormulas {
            scale: optional(&source.logits.scale)?,
            margin: optional(&source.logits.margin)?,
            bias: optional(&source.logits.bias)?,
        },
        class_weights: source.class_weights,
    };
    spec.check_names().map_err(|(entry, error)| reader.formula_error(source.text(entry), &error))?;
    if !Quantity::OF_LOGITS.iter().any(|q| spec.uses(*q, &[])) {
        let message = "the loss does not depend on the logits; use nll, p, q, error_l1, margin or mean_nll";
        return Err(
            reader.formula_error(&source.loss, &FormulaError::new(0..source.loss.value.len(), message))
        );
    }
    Ok(spec)
}

impl Source {
    fn text(&self, entry: Entry) -> &Spanned<String> {
        let found = match entry {
            Entry::Row(name) => self.row.get(name),
            Entry::Scale => self.logits.scale.as_ref(),
            Entry::Margin => self.logits.margin.as_ref(),
            Entry::Bias => self.logits.bias.as_ref(),
            Entry::Loss => None,
        };
        found.unwrap_or(&self.loss)
    }
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    fn formula(&self, source: &Spanned<String>) -> Result<Formula, SpecError> {
        Formula::read(&source.value).map_err(|e| self.formula_error(source, &e))
    }

    fn check_declarations(&self, source: &Source) -> Result<(), SpecError> {
        let places = source.parameters.iter().map(|(n, v)| (n, v.referenced));
        let places = places.chain(source.row.iter().map(|(n, v)| (n, v.referenced)));
        for (name, place) in places {
            let reserved = Quantity::named(name).is_some()
                || Function::named(name).is_some()
                || CLASS_QUANTITIES.contains(&name.as_str())
                || RESERVED.contains(&name.as_str());
            let problem = if !is_identifier(name) {
                "is not a name (letters, digits and _, not starting with a digit)"
            } else if reserved {
                "is taken by the language or by a graph input or output; choose another name"
            } else if source.parameters.contains_key(name) && source.row.contains_key(name) {
                "is both a parameter and a `row` entry; rename one"
            } else {
                continue;
            };
            return Err(self.error(format!("`{name}` {problem}"), Some(self.place(&place, 0..1))));
        }
        for (name, declared) in &source.parameters {
            declared
                .value
                .parameter()
                .check(name)
                .map_err(|m| self.error(m, Some(self.place(&declared.referenced, 0..1))))?;
        }
        Ok(())
    }

    fn formula_error(&self, source: &Spanned<String>, error: &FormulaError) -> SpecError {
        // Quoted and block scalars do not map byte for byte onto the line; then the whole value is marked.
        let line = self.line(&source.referenced);
        let column = source.referenced.column().max(1) as usize;
        let plain = line.chars().skip(column - 1).collect::<String>();
        let range = if plain.starts_with(&source.value) {
            let before = source.value[..error.span.start.min(source.value.len())].chars().count();
            let marked = source.value.get(error.span.clone()).map_or(1, |s| s.chars().count());
            before..before + marked.max(1)
        } else {
            0..1
        };
        self.error(error.message.clone(), Some(self.place(&source.referenced, range)))
    }

    fn line(&self, location: &Location) -> &str {
        let index = (location.line() as usize).saturating_sub(1);
        self.text.lines().nth(index).unwrap_or("")
    }

    /// The place `range` characters after `location`.
    fn place(&self, location: &Location, range: Range<usize>) -> Place {
        Place {
            line: location.line().max(1) as usize,
            column: location.column().max(1) as usize + range.start,
            width: range.len().max(1),
            text: self.line(location).to_owned(),
        }
    }

    fn error(&self, message: String, place: Option<Place>) -> SpecError {
        SpecError { file: self.file.to_owned(), message, place }
    }
}

/// Names of graph inputs and outputs, which a parameter or `row` entry must not take.
const RESERVED: [&str; 12] = [
    "logits",
    "labels",
    "features",
    "loss",
    "loss_grad",
    "logits_grad",
    "features_grad",
    "row_loss",
    "class_weights",
    "enabled",
    "logit_bias",
    "label_margin",
];
