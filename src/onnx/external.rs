//! Tensor data in other files: where it is, and whether it may be read.
//!
//! A model is input from anywhere, and its external data is a path that it names. Invariant: only regular files in the
//! model's own directory (or below) are opened, and nothing beyond their end is asked for. On Unix they are opened through no
//! link of any kind. Elsewhere hard links are not seen, and a path is checked before it is opened by its name, so that a
//! symbolic link could take its place in between.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::messages::{AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto};

mod directory;

use directory::Directory;

/// `TensorProto.data_location` of data in another file.
const EXTERNAL: i32 = 1;

/// A tensor whose data is in another file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Name of the tensor.
    pub tensor: String,
    /// Path of the file, relative to the model's directory, with `/`.
    pub location: String,
    /// Where the data begins, in bytes.
    pub offset: u64,
    /// Bytes of the data; `None` where neither the model says so nor the type tells: up to the file's end.
    pub length: Option<u64>,
}

/// External data that is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("tensor `{tensor}` keeps its data in `{location}`: {why}")]
pub struct ExternalError {
    tensor: String,
    location: String,
    why: String,
}

/// All external data of a model: of initializers, sparse initializers, attributes, subgraphs and functions.
///
/// # Errors
/// Entries that are damaged, sizes that overflow or contradict the tensor's shape.
pub fn references(model: &ModelProto) -> Result<Vec<Reference>, ExternalError> {
    let mut found = Vec::new();
    each_tensor(model, &mut |tensor| {
        if tensor.data_location == Some(EXTERNAL) {
            found.push(reference(tensor));
        }
    });
    found.into_iter().collect()
}

/// Opens what `references` name, in the directory of the model.
///
/// # Errors
/// Paths that lead out of the directory, links, files that are no regular files, and data beyond the end of one.
pub fn open(directory: &Path, references: &[Reference]) -> Result<Vec<(String, File)>, ExternalError> {
    let mut files: Vec<(String, File)> = Vec::new();
    for reference in references {
        let fail = |why: String| ExternalError {
            tensor: reference.tensor.clone(),
            location: reference.location.clone(),
            why,
        };
        let known = files.iter().position(|(location, _)| *location == reference.location);
        let at = match known {
            Some(at) => at,
            None => {
                let directory = Directory::open(directory).map_err(|e| fail(e.to_string()))?;
                let file = directory.file(&components(&reference.location).map_err(&fail)?).map_err(&fail)?;
                files.push((reference.location.clone(), file));
                files.len() - 1
            }
        };
        let size = files[at].1.metadata().map_err(|e| fail(e.to_string()))?.len();
        let end = reference.offset.checked_add(reference.length.unwrap_or(0));
        if end.is_none_or(|end| end > size) {
            let length = reference.length.unwrap_or(0);
            let at = reference.offset;
            return Err(fail(format!("{length} bytes at {at} are beyond the {size} bytes of the file")));
        }
    }
    Ok(files)
}

/// The path of external data within `directory`.
pub fn path_in(directory: &Path, location: &str) -> PathBuf {
    location.split('/').filter(|part| *part != ".").fold(directory.to_owned(), |path, part| path.join(part))
}

/// The parts of a location that stays in the directory.
fn components(location: &str) -> Result<Vec<&str>, String> {
    let outside = location.starts_with('/') || location.contains(['\\', ':', '\0']);
    let parts: Vec<&str> = location.split('/').filter(|part| *part != ".").collect();
    if outside || parts.contains(&"..") || parts.is_empty() || parts.contains(&"") {
        return Err("a path within the model's directory is expected, with / between its parts".to_owned());
    }
    Ok(parts)
}

fn reference(tensor: &TensorProto) -> Result<Reference, ExternalError> {
    let entry = |key: &str| {
        let entry = tensor.external_data.iter().rfind(|entry| entry.key.as_deref() == Some(key));
        entry.and_then(|entry| entry.value.as_deref())
    };
    let location = entry("location").unwrap_or("").to_owned();
    let name = tensor.name.clone().unwrap_or_default();
    let fail =
        |why: &str| ExternalError { tensor: name.clone(), location: location.clone(), why: why.to_owned() };
    let number = |key: &str| {
        let parsed = entry(key).map(|text| text.parse::<u64>()).transpose();
        parsed.map_err(|_| fail(&format!("its {key} is not a number of bytes")))
    };
    components(&location).map_err(|why| fail(&why))?;
    let (offset, given) = (number("offset")?.unwrap_or(0), number("length")?);
    let needed = byte_count(tensor).map_err(fail)?;
    if let (Some(given), Some(needed)) = (given, needed)
        && given != needed
    {
        return Err(fail(&format!("its length is {given} bytes, but its shape and type take {needed}")));
    }
    Ok(Reference { tensor: name.clone(), location: location.clone(), offset, length: given.or(needed) })
}

/// Bytes that a tensor's data takes; `None` for types whose elements have no size.
fn byte_count(tensor: &TensorProto) -> Result<Option<u64>, &'static str> {
    let mut elements = 1u64;
    for extent in &tensor.dims {
        let extent = u64::try_from(*extent).map_err(|_| "an extent of its shape is negative")?;
        elements = elements.checked_mul(extent).ok_or("its shape is too large")?;
    }
    let Some(bits) = element_bits(tensor.data_type.unwrap_or(0)) else {
        return Ok(None);
    };
    let bits = elements.checked_mul(bits).ok_or("its shape is too large")?;
    Ok(Some(bits.div_ceil(8)))
}

/// Bits of an element by its number in `TensorProto.DataType`.
fn element_bits(code: i32) -> Option<u64> {
    Some(match code {
        25 | 26 => 2,
        21..=23 => 4,
        2 | 3 | 9 | 17..=20 | 24 => 8,
        4 | 5 | 10 | 16 => 16,
        1 | 6 | 12 => 32,
        7 | 11 | 13 | 14 => 64,
        15 => 128,
        _ => return None,
    })
}

fn each_tensor(model: &ModelProto, visit: &mut dyn FnMut(&TensorProto)) {
    if let Some(graph) = &model.graph {
        in_graph(graph, visit);
    }
    for function in &model.functions {
        in_nodes(&function.node, visit);
        function.attribute_proto.iter().for_each(|attribute| in_attribute(attribute, visit));
    }
}

fn in_graph(graph: &GraphProto, visit: &mut dyn FnMut(&TensorProto)) {
    graph.initializer.iter().for_each(&mut *visit);
    graph.sparse_initializer.iter().for_each(|sparse| in_sparse(sparse, visit));
    in_nodes(&graph.node, visit);
}

fn in_sparse(sparse: &SparseTensorProto, visit: &mut dyn FnMut(&TensorProto)) {
    sparse.values.iter().chain(&sparse.indices).for_each(visit);
}

fn in_nodes(nodes: &[NodeProto], visit: &mut dyn FnMut(&TensorProto)) {
    nodes.iter().flat_map(|node| &node.attribute).for_each(|attribute| in_attribute(attribute, visit));
}

fn in_attribute(attribute: &AttributeProto, visit: &mut dyn FnMut(&TensorProto)) {
    attribute.t.as_deref().into_iter().chain(&attribute.tensors).for_each(&mut *visit);
    let sparse = attribute.sparse_tensor.as_deref().into_iter().chain(&attribute.sparse_tensors);
    sparse.for_each(|sparse| in_sparse(sparse, visit));
    attribute.g.as_deref().into_iter().chain(&attribute.graphs).for_each(|graph| in_graph(graph, visit));
}

#[cfg(test)]
mod tests;
