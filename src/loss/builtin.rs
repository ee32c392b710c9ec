//! The losses that come with the program: the files of `graphs/`, embedded.

use super::spec::{LossSpec, SpecError};

/// Name, file and source text of every built-in loss, in the order they are listed.
const SOURCES: [(&str, &str, &str); 3] = [
    ("ib", "graphs/ib.yaml", include_str!("../../graphs/ib.yaml")),
    ("ib-focal", "graphs/ib-focal.yaml", include_str!("../../graphs/ib-focal.yaml")),
    ("cross-entropy", "graphs/cross-entropy.yaml", include_str!("../../graphs/cross-entropy.yaml")),
];

/// Names of the built-in losses.
pub fn names() -> Vec<&'static str> {
    SOURCES.iter().map(|(name, ..)| *name).collect()
}

/// The YAML source of a built-in loss.
pub fn source(name: &str) -> Option<&'static str> {
    SOURCES.iter().find(|(n, ..)| *n == name).map(|(.., text)| *text)
}

/// A built-in loss by name; `None` if there is none of that name.
///
/// # Errors
/// Never for a released program: every embedded source is read by a test.
pub fn load(name: &str) -> Option<Result<LossSpec, SpecError>> {
    let (_, file, text) = SOURCES.iter().find(|(n, ..)| *n == name)?;
    Some(LossSpec::from_yaml(file, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_loss_reads_and_bears_its_name() {
        for name in names() {
            let spec = load(name).unwrap().unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(spec.name, name);
        }
    }
}
