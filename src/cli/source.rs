//! Where a loss comes from on the command line: its name or file, and `--set`.

use std::path::PathBuf;

use super::Failure;
use crate::loss::{LossSpec, builtin};

/// A built-in loss by name, or else a YAML file.
pub(super) fn load(name: &str) -> Result<LossSpec, Failure> {
    if let Some(spec) = builtin::load(name) {
        return spec.map_err(Failure::usage);
    }
    let path = PathBuf::from(name);
    let is_file = matches!(path.extension().and_then(|e| e.to_str()), Some("yaml" | "yml"));
    if !is_file {
        if path.is_file() {
            return Err(Failure::usage(format!(
                "{name} is a file, but its name does not end in .yaml or .yml; rename it"
            )));
        }
        let known = builtin::names().join(", ");
        return Err(Failure::usage(format!("no loss `{name}`; built in are {known}, or name a .yaml file")));
    }
    let bytes = std::fs::read(&path).map_err(|e| Failure::usage(format!("cannot read {name}: {e}")))?;
    let text = String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{name} is not UTF-8 text")))?;
    LossSpec::from_yaml(name, &text).map_err(Failure::usage)
}

/// Name and value of a `--set`.
pub(super) fn parse_setting(setting: &str) -> Result<(&str, f64), Failure> {
    let pair = setting.split_once('=').map(|(name, value)| (name.trim(), value.trim().parse::<f64>()));
    match pair {
        Some((name, Ok(value))) => Ok((name, value)),
        _ => Err(Failure::usage(format!("--set {setting}: expected NAME=NUMBER, such as --set alpha=1000"))),
    }
}

/// Carries out a `--set` of a parameter.
pub(super) fn set_parameter(spec: &mut LossSpec, setting: &str) -> Result<(), Failure> {
    let (name, value) = parse_setting(setting)?;
    spec.set(name, value).map_err(|e| Failure::usage(format!("--set {setting}: {e}")))
}
