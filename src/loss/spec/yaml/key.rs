//! The name of a parameter or a `row` entry, with its place.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};

use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

/// A key of a mapping; equal to others of the same name, wherever they stand.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Key(Spanned<String>);

impl Key {
    pub fn name(&self) -> &str {
        &self.0.value
    }

    /// Where the key is, not its value.
    pub fn place(&self) -> Location {
        self.0.referenced
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        self.name()
    }
}
