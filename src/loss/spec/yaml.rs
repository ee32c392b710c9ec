//! The YAML form of a [`LossSpec`].

use indexmap::IndexMap;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::names::{Entry, Located};
use super::{LogitFormulas, LossSpec, Reduction, SpecError, WeightScheme};

mod declarations;
mod declared;
mod key;
mod message;
mod reader;

use declared::Declared;
use key::Key;
use reader::Reader;

/// Longest source that is read, in bytes.
const MOST_TEXT: usize = 1 << 18;

/// The file as YAML gives it; formulas are still text, with their places.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    name: Spanned<String>,
    title: Option<Spanned<String>>,
    source: Option<Spanned<String>>,
    #[serde(default)]
    parameters: IndexMap<Key, Spanned<Declared>>,
    #[serde(default)]
    row: IndexMap<Key, Spanned<String>>,
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

fn default_reduction() -> Reduction {
    Reduction::Mean
}

pub(super) fn read(file: &str, text: &str) -> Result<LossSpec, SpecError> {
    let reader = Reader { file, text };
    if text.len() > MOST_TEXT {
        let message = format!("the source has {} bytes; {MOST_TEXT} are the most that are read", text.len());
        return Err(reader.error(message, None));
    }
    let options = serde_saphyr::options! { reject_unsupported_tags: true };
    let source: Source = serde_saphyr::from_str_with_options(text, options).map_err(|e| {
        let place = e.location().map(|l| reader.place(&l));
        reader.error(message::of(&e), place)
    })?;
    reader.check_declarations(&source)?;
    let spec = source.spec(&reader)?;
    let located = |(entry, error): Located| reader.formula_error(source.text(entry), &error);
    spec.check_names().map_err(located)?;
    spec.check_extents().map_err(located)?;
    spec.check_values(&|_| false).map_err(located)?;
    spec.check_scale().map_err(located)?;
    Ok(spec)
}

impl Source {
    /// The formulas read; what they say is still to be checked.
    fn spec(&self, reader: &Reader) -> Result<LossSpec, SpecError> {
        let row = self.row.iter().map(|(key, text)| Ok((key.name().to_owned(), reader.row_formula(text)?)));
        let optional = |text: &Option<Spanned<String>>| text.as_ref().map(|t| reader.formula(t)).transpose();
        let text = |text: &Option<Spanned<String>>| text.as_ref().map(|t| t.value.clone());
        Ok(LossSpec {
            name: self.name.value.clone(),
            title: text(&self.title),
            source: text(&self.source),
            parameters: self.parameters.iter().map(|(k, v)| (k.name().to_owned(), v.value.0)).collect(),
            row: row.collect::<Result<_, SpecError>>()?,
            loss: reader.row_formula(&self.loss)?,
            reduction: self.reduction,
            logits: LogitFormulas {
                scale: optional(&self.logits.scale)?,
                margin: optional(&self.logits.margin)?,
                bias: optional(&self.logits.bias)?,
            },
            class_weights: self.class_weights,
        })
    }

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
