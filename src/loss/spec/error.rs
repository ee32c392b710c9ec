//! What is wrong with a loss source, shown at its place in the file.

use std::fmt;

/// A loss source that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecError {
    pub(super) file: String,
    pub(super) message: String,
    pub(super) place: Option<Place>,
}

/// A place in the file, with its line for the caret display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// 1-based.
    pub line: usize,
    /// 1-based, in characters.
    pub column: usize,
    /// In characters, at least 1.
    pub width: usize,
    /// Text of the line.
    pub text: String,
}

/// Most characters of a line that are shown.
const WINDOW: usize = 100;

impl Place {
    /// What is shown of the line, the column in it from 0, and how much is marked: what is around the place if the line
    /// is long. A tab is shown as one space, so that the mark stands where it should.
    fn window(&self) -> (String, usize, usize) {
        let characters: Vec<char> = self.text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let column = self.column.saturating_sub(1);
        let start = if characters.len() <= WINDOW {
            0
        } else {
            column.saturating_sub(WINDOW / 4).min(characters.len())
        };
        let end = characters.len().min(start + WINDOW);
        let before = if start > 0 { "…" } else { "" };
        let after = if end < characters.len() { "…" } else { "" };
        let shown: String = characters[start..end].iter().collect();
        let column = column - start + before.chars().count();
        let room = (before.chars().count() + end - start).saturating_sub(column);
        let width = self.width.min(room).max(1);
        (format!("{before}{shown}{after}"), column, width)
    }
}

impl SpecError {
    /// An error at a place in a file's `text`; `line` and `column` are 1-based, `width` is in characters.
    pub(crate) fn at(
        file: &str,
        text: &str,
        (line, column): (usize, usize),
        width: usize,
        message: String,
    ) -> Self {
        let line = line.max(1);
        let text = text.lines().nth(line - 1).unwrap_or("").to_owned();
        let place = Place { line, column: column.max(1), width: width.max(1), text };
        Self { file: file.to_owned(), message, place: Some(place) }
    }

    /// An error of a whole file.
    pub(crate) fn of_file(file: &str, message: String) -> Self {
        Self { file: file.to_owned(), message, place: None }
    }

    /// 1-based line of the error in the file, if it has a place.
    pub fn line(&self) -> Option<usize> {
        self.place.as_ref().map(|p| p.line)
    }

    /// What is wrong and what to do, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(place) = &self.place else {
            return write!(f, "{}: {}", self.file, self.message);
        };
        let number = place.line.to_string();
        let gutter = " ".repeat(number.len());
        let (text, column, width) = place.window();
        writeln!(f, "{}:{}:{}: {}", self.file, place.line, place.column, self.message)?;
        writeln!(f, "{gutter} |")?;
        writeln!(f, "{number} | {text}")?;
        write!(f, "{gutter} | {}{}", " ".repeat(column), "^".repeat(width))
    }
}

impl std::error::Error for SpecError {}
