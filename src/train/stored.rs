//! Values of a model's initializers, in the file or beside it, and new values put in their place.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use indexmap::IndexMap;
use prost::Message;

use crate::onnx::external::{self, ExternalError, Reference};
use crate::onnx::messages::{ModelProto, TensorProto};
use crate::onnx::wire::Fields;
use crate::onnx::{Delta, Host, HostError, ReadError, SpliceError, splice};
use crate::tensor::{DType, Tensor};

/// `TensorProto.data_location` of data in another file.
const EXTERNAL: i32 = 1;
/// `TensorProto.raw_data`.
const RAW_DATA: u64 = 9;

/// A value that cannot be read or put back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoredError {
    /// The model is broken.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The model has no initializer of this name.
    #[error("the model has no initializer `{0}`")]
    Missing(String),
    /// An initializer does not read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Data in another file that is not used.
    #[error(transparent)]
    External(#[from] ExternalError),
    /// Data in another file that does not read.
    #[error("tensor `{tensor}`, in `{location}`: {error}")]
    Io {
        /// The initializer.
        tensor: String,
        /// The file.
        location: String,
        /// Why.
        error: std::io::Error,
    },
    /// A new value of another type or shape.
    #[error("`{name}` is {want} in the model, and {got} in the new values; are they of this model?")]
    Mismatch {
        /// The initializer.
        name: String,
        /// Its type and shape.
        want: String,
        /// Those of the new value.
        got: String,
    },
    /// The model with the new values is broken.
    #[error(transparent)]
    Splice(#[from] SpliceError),
}

/// The initializers of a model by name, read one at a time.
pub struct Stored<'a> {
    host: &'a Host<'a>,
    ranges: IndexMap<&'a str, std::ops::Range<usize>>,
    directory: Option<&'a Path>,
}

impl<'a> Stored<'a> {
    /// The initializers of `host`; data in other files is in `directory`.
    pub fn new(host: &'a Host<'a>, directory: Option<&'a Path>) -> Self {
        let names = host.graph().initializer.iter().map(|tensor| tensor.name.as_deref().unwrap_or(""));
        Self { host, ranges: names.zip(host.initializer_ranges()).collect(), directory }
    }

    fn proto(&self, name: &str) -> Result<TensorProto, StoredError> {
        let range = self.ranges.get(name).ok_or_else(|| StoredError::Missing(name.to_owned()))?;
        let decoded = TensorProto::decode(&self.host.bytes()[range.clone()]);
        decoded.map_err(|error| ReadError::Protobuf { what: "tensor", error }.into())
    }

    /// The value of an initializer.
    ///
    /// # Errors
    /// An initializer that is not there, of a type that a [`Tensor`] cannot hold, or whose data does not read.
    pub fn value(&self, name: &str) -> Result<Tensor, StoredError> {
        let mut proto = self.proto(name)?;
        if proto.data_location == Some(EXTERNAL) {
            let directory = self.directory.ok_or_else(|| ReadError::External(name.to_owned()))?;
            proto.raw_data = Some(external_bytes(&proto, directory)?);
            proto.data_location = None;
        }
        Ok(Tensor::try_from(&proto)?)
    }
}

/// The bytes of a tensor that are in another file.
fn external_bytes(proto: &TensorProto, directory: &Path) -> Result<Vec<u8>, StoredError> {
    let graph = crate::onnx::messages::GraphProto { initializer: vec![proto.clone()], ..Default::default() };
    let references = external::references(&ModelProto { graph: Some(graph), ..Default::default() })?;
    let mut files = external::open(directory, &references)?;
    let (Some(reference), Some((_, file))) = (references.first(), files.first_mut()) else {
        return Err(StoredError::Missing(proto.name.clone().unwrap_or_default()));
    };
    read_range(file, reference).map_err(|error| StoredError::Io {
        tensor: reference.tensor.clone(),
        location: reference.location.clone(),
        error,
    })
}

fn read_range(file: &mut File, reference: &Reference) -> std::io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(reference.offset))?;
    let mut bytes = Vec::new();
    file.take(reference.length.unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A model with new values of its initializers. Everything else keeps its bytes; so does a value's place and spelling,
/// where it is raw data in the file. What was in another file, or spelled number by number, becomes raw data.
///
/// # Errors
/// A broken model, an initializer that is not there, or is of another type or shape.
pub fn replace(model: &[u8], values: &IndexMap<String, Tensor>) -> Result<Vec<u8>, StoredError> {
    let host = Host::read(model)?;
    let stored = Stored::new(&host, None);
    let mut bytes = model.to_vec();
    let mut replaced = Vec::new();
    for (name, value) in values {
        let range = stored.ranges.get(name.as_str()).ok_or_else(|| StoredError::Missing(name.clone()))?;
        let mut proto = stored.proto(name)?;
        check(&proto, name, value)?;
        let new = value.to_le_bytes();
        match raw_data(&model[range.clone()]).filter(|raw| raw.len() == new.len()) {
            Some(raw) => bytes[range.start + raw.start..range.start + raw.end].copy_from_slice(&new),
            None => {
                proto = TensorProto {
                    dims: proto.dims,
                    data_type: proto.data_type,
                    name: proto.name,
                    raw_data: Some(new),
                    ..TensorProto::default()
                };
                replaced.push(proto);
            }
        }
    }
    if replaced.is_empty() {
        return Ok(bytes);
    }
    let host = Host::read(&bytes)?;
    Ok(splice(&host, &Delta { replaced, ..Delta::default() })?.to_vec())
}

/// Where the raw data of an encoded tensor is; `None` where it is spelled otherwise.
fn raw_data(tensor: &[u8]) -> Option<std::ops::Range<usize>> {
    Fields::new(tensor).flatten().filter(|field| field.number == RAW_DATA).last()?.content
}

fn check(proto: &TensorProto, name: &str, value: &Tensor) -> Result<(), StoredError> {
    let dtype = DType::from_onnx_code(proto.data_type.unwrap_or(0));
    let shape: Vec<i64> = value.shape().iter().map(|n| *n as i64).collect();
    if dtype == Some(value.dtype()) && shape == proto.dims {
        return Ok(());
    }
    let described = dtype.map_or_else(|| "of another type".to_owned(), |dtype| dtype.to_string());
    Err(StoredError::Mismatch {
        name: name.to_owned(),
        want: format!("{described} {:?}", proto.dims),
        got: format!("{} {shape:?}", value.dtype()),
    })
}

#[cfg(test)]
mod tests;
