//! Test data in the layout of the ONNX backend tests: `test_data_set_K/input_I.pb` and `output_I.pb`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::loss::Loss;
use crate::onnx::{self, ReadError};
use crate::tensor::Tensor;

/// A data set of a directory.
#[derive(Debug, Clone, PartialEq)]
pub struct DataSet {
    /// Name of its directory.
    pub name: String,
    /// Inputs of the graph by name, as stored.
    pub inputs: Vec<(String, Tensor)>,
    /// Expected outputs by name; empty where the directory has none.
    pub outputs: Vec<(String, Tensor)>,
}

/// Why test data cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A directory or file that cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file that is no tensor.
    #[error("{}: {error}", path.display())]
    Tensor {
        /// Which.
        path: PathBuf,
        /// Why.
        error: ReadError,
    },
    /// No data sets.
    #[error("{} has no test_data_set_* directory and no input_0.pb", .0.display())]
    Empty(PathBuf),
    /// An input that the graph needs is not there.
    #[error("{} has no input for `{input}`", path.display())]
    MissingInput {
        /// The data set.
        path: PathBuf,
        /// The graph's input.
        input: String,
    },
}

/// Reads every data set of `dir`, or `dir` itself where it is one. Files are matched to the loss's inputs and outputs
/// by the name in the tensor, or by their number where they have none.
///
/// # Errors
/// A directory without data, files that cannot be read, and inputs that are missing.
pub fn read_directory(dir: &Path, loss: &Loss) -> Result<Vec<DataSet>, DataError> {
    let entries = fs::read_dir(dir).map_err(|error| DataError::Io { path: dir.to_owned(), error })?;
    let mut sets: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| is_set(p)).collect();
    sets.sort();
    if sets.is_empty() && dir.join("input_0.pb").exists() {
        sets.push(dir.to_owned());
    }
    if sets.is_empty() {
        return Err(DataError::Empty(dir.to_owned()));
    }
    sets.iter().map(|path| read_set(path, loss)).collect()
}

fn is_set(path: &Path) -> bool {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
    name.starts_with("test_data_set_") && path.is_dir()
}

fn read_set(path: &Path, loss: &Loss) -> Result<DataSet, DataError> {
    let names = |ports: Vec<crate::loss::Port>| ports.into_iter().map(|p| p.name).collect::<Vec<_>>();
    let wanted = names(loss.inputs());
    let inputs = read_files(path, "input", &wanted)?;
    for input in &wanted {
        if !inputs.iter().any(|(name, _)| name == input) {
            return Err(DataError::MissingInput { path: path.to_owned(), input: input.clone() });
        }
    }
    Ok(DataSet {
        name: path.file_name().map_or("data".into(), |n| n.to_string_lossy().into_owned()),
        inputs,
        outputs: read_files(path, "output", &names(loss.outputs()))?,
    })
}

/// The tensors that the graph has a port for; others (features for a loss that uses none) are left out.
fn read_files(dir: &Path, kind: &str, ports: &[String]) -> Result<Vec<(String, Tensor)>, DataError> {
    let mut found = Vec::new();
    for index in 0.. {
        let path = dir.join(format!("{kind}_{index}.pb"));
        if !path.exists() {
            break;
        }
        let bytes = fs::read(&path).map_err(|error| DataError::Io { path: path.clone(), error })?;
        let (name, tensor) = onnx::tensor(&bytes).map_err(|error| DataError::Tensor { path, error })?;
        let port = if name.is_empty() { ports.get(index) } else { ports.iter().find(|p| **p == name) };
        found.extend(port.map(|port| (port.clone(), tensor)));
    }
    Ok(found)
}
