//! The losses that come with the program: the files of `graphs/`, embedded.

use super::spec::{LossSpec, SpecError};

/// Embeds `graphs/NAME.yaml` of each name.
macro_rules! sources {
    ($($name:literal),* $(,)?) => {
        [$((
            $name,
            concat!("graphs/", $name, ".yaml"),
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/graphs/", $name, ".yaml")),
        )),*]
    };
}

/// Name, file and source text of every built-in loss, in the order they are listed.
const SOURCES: [(&str, &str, &str); 10] = sources![
    "ib",
    "ib-cb",
    "ib-focal",
    "cross-entropy",
    "class-balanced",
    "focal",
    "ldam",
    "ldam-drw",
    "balanced-softmax",
    "logit-adjusted",
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
