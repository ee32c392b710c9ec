//! Whether the names that a source gives, and the ranges of its parameters, can be used.

use serde_saphyr::Spanned;

use super::Source;
use super::reader::Reader;
use crate::loss::expr::Function;
use crate::loss::spec::names::CLASS_QUANTITIES;
use crate::loss::spec::{Quantity, SpecError, is_identifier};

/// Most parameters, and most `row` entries, of a source.
const MOST_ENTRIES: usize = 250;
/// Longest name of a loss, a parameter or a `row` entry, in bytes.
const LONGEST_NAME: usize = 64;

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

impl Reader<'_> {
    pub(super) fn check_declarations(&self, source: &Source) -> Result<(), SpecError> {
        self.check_texts(source)?;
        let parameters = source.parameters.keys().map(|key| (key.name(), key.place()));
        let row = source.row.keys().map(|key| (key.name(), key.place()));
        let numbered = parameters.enumerate().chain(row.enumerate());
        for (index, (name, place)) in numbered {
            let problem = if index == MOST_ENTRIES {
                "is one too many: 250 parameters and 250 `row` entries are the most that are read"
            } else if !is_identifier(name) || name.len() > LONGEST_NAME {
                "is not a name (up to 64 letters, digits and _, not starting with a digit)"
            } else if is_reserved(name) {
                "is taken by the language or by a graph input or output; choose another name"
            } else if source.parameters.contains_key(name) && source.row.contains_key(name) {
                "is both a parameter and a `row` entry; rename one"
            } else {
                continue;
            };
            return Err(self.error(format!("`{}` {problem}", shown(name)), Some(self.place(&place))));
        }
        for (key, declared) in &source.parameters {
            let checked = declared.value.0.check(key.name());
            checked.map_err(|message| self.error(message, Some(self.place(&declared.referenced))))?;
        }
        Ok(())
    }

    /// The name of the loss, which names graphs and files, and the texts for people, which go to terminals.
    fn check_texts(&self, source: &Source) -> Result<(), SpecError> {
        let name = &source.name;
        let letters = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let starts_well = name.value.starts_with(|c: char| c.is_ascii_alphabetic());
        if !starts_well || name.value.len() > LONGEST_NAME || !name.value.chars().all(letters) {
            let message = format!(
                "`{}` cannot name a loss; use up to {LONGEST_NAME} letters, digits, `-`, `_` and `.`, and start with a \
                 letter (`title` is for people)",
                shown(&name.value)
            );
            return Err(self.error(message, Some(self.place(&name.referenced))));
        }
        let control = |text: &&Spanned<String>| text.value.contains(|c: char| c.is_control() && c != '\n');
        match [&source.title, &source.source].into_iter().flatten().find(control) {
            Some(text) => {
                let message = "there is a control character in this text; remove it".to_owned();
                Err(self.error(message, Some(self.place(&text.referenced))))
            }
            None => Ok(()),
        }
    }
}

fn is_reserved(name: &str) -> bool {
    Quantity::named(name).is_some()
        || Function::named(name).is_some()
        || CLASS_QUANTITIES.contains(&name)
        || RESERVED.contains(&name)
}

/// A name as an error shows it: on one line, and not longer than one.
fn shown(name: &str) -> String {
    let start: String = name.chars().take(LONGEST_NAME).collect();
    let more = if start.len() < name.len() { "…" } else { "" };
    format!("{}{more}", start.escape_debug())
}
