//! Places of formulas in the text of a source.

use std::ops::Range;

use serde_saphyr::{Location, Spanned};

use crate::loss::spec::error::Place;
use crate::loss::spec::{Formula, FormulaError, SpecError};

/// The text of a source, for errors that point into it.
pub(super) struct Reader<'a> {
    /// Named in errors only.
    pub file: &'a str,
    pub text: &'a str,
}

impl Reader<'_> {
    pub fn formula(&self, source: &Spanned<String>) -> Result<Formula, SpecError> {
        Formula::read(&source.value).map_err(|e| self.formula_error(source, &e))
    }

    /// A formula over the quantities of a row.
    pub fn row_formula(&self, source: &Spanned<String>) -> Result<Formula, SpecError> {
        let Formula { text, expr } = self.formula(source)?;
        Ok(Formula { text, expr: expr.without_cancellation() })
    }

    /// An error in a formula, at the part of the formula that it is about.
    pub fn formula_error(&self, source: &Spanned<String>, error: &FormulaError) -> SpecError {
        let place = self.part(source, &error.span);
        self.error(error.message.clone(), Some(place.unwrap_or_else(|| self.place(&source.referenced))))
    }

    /// Where a part of a formula is. YAML folds lines and drops quotes, so a formula does not map byte for byte onto the
    /// file; but the same words stand there in the same order, and the part is found by counting them.
    fn part(&self, source: &Spanned<String>, span: &Range<usize>) -> Option<Place> {
        let value = source.value.as_str();
        let part = value.get(span.clone()).map(str::trim).filter(|part| !part.is_empty());
        // Past the end: behind the last word.
        let last = value.trim_end().len().checked_sub(1)?;
        let (part, start, behind) = match part {
            Some(part) => (part.lines().next()?, span.start, false),
            None => (value.get(last..=last)?, last, true),
        };
        let before = value.get(..start)?.matches(part).count();
        let from = self.offset(&source.referenced)?;
        let (found, _) = self.text.get(from..)?.match_indices(part).nth(before)?;
        let width = if behind { 1 } else { part.chars().count() };
        let at = from + found + if behind { part.len() } else { 0 };
        let line = self.text[..at].matches('\n').count();
        let line_start = self.text[..at].rfind('\n').map_or(0, |k| k + 1);
        let column = self.text[line_start..at].chars().count() + 1;
        Some(Place { line: line + 1, column, width, text: self.line(line).to_owned() })
    }

    /// Byte offset of a location.
    fn offset(&self, location: &Location) -> Option<usize> {
        let line = (location.line() as usize).checked_sub(1)?;
        let start: usize = self.text.split_inclusive('\n').take(line).map(str::len).sum();
        let column = (location.column() as usize).checked_sub(1)?;
        let within: usize = self.text.get(start..)?.chars().take(column).map(char::len_utf8).sum();
        Some(start + within)
    }

    /// A line by its index.
    fn line(&self, index: usize) -> &str {
        self.text.lines().nth(index).unwrap_or("")
    }

    /// The first character at a location.
    pub fn place(&self, location: &Location) -> Place {
        let line = location.line().max(1) as usize;
        let column = location.column().max(1) as usize;
        Place { line, column, width: 1, text: self.line(line - 1).to_owned() }
    }

    pub fn error(&self, message: String, place: Option<Place>) -> SpecError {
        SpecError { file: self.file.to_owned(), message, place }
    }
}
