//! What the YAML parser objects to, in the words of this program.

use serde_saphyr::Error;

use crate::loss::expr::suggest;

/// What is wrong and what to do; the place is shown beside it.
pub(super) fn of(error: &Error) -> String {
    match error.without_snippet() {
        Error::SerdeUnknownField { field, expected, .. } => {
            format!("unknown key `{field}`{}", suggest(field, expected))
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            format!("unknown value `{variant}`{}", suggest(variant, expected))
        }
        Error::SerdeMissingField { field, .. } => format!("the key `{field}` is missing"),
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key `{key}` is given twice; remove one")
        }
        Error::DuplicateMappingKey { .. } => "a key is given twice; remove one".to_owned(),
        Error::SerdeInvalidType { unexpected, expected, .. }
        | Error::SerdeInvalidValue { unexpected, expected, .. } => {
            format!("expected {expected}, found {unexpected}")
        }
        Error::NonFiniteFloat { value, .. } => format!("`{value}` is not a finite number"),
        Error::NullIntoString { .. } => "a value is missing here".to_owned(),
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            "an alias stands inside what it refers to; write the value out".to_owned()
        }
        Error::UnsupportedTag { tag, .. } => format!("the tag `{tag}` has no meaning here; remove it"),
        Error::Eof { .. } => {
            "the source is empty or ends too early; it needs the keys `name` and `loss`".to_owned()
        }
        Error::MultipleDocuments { .. } => {
            "a source is one YAML document; give each loss a file of its own".to_owned()
        }
        Error::Unexpected { expected: "string scalar", .. } => {
            "expected a formula or a text here, not a list or a mapping".to_owned()
        }
        Error::Unexpected { expected: "mapping start", .. } => "expected keys and values here".to_owned(),
        other => without_place(&other.to_string()),
    }
}

/// Without the ` at line …` that the parser ends its messages with.
fn without_place(text: &str) -> String {
    text.split(" at line ").next().unwrap_or(text).to_owned()
}
