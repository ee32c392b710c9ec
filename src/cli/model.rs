//! A user's model on the command line: read, checked, and kept from being overwritten.

use std::path::{Path, PathBuf};

use super::Failure;
use super::output::{Target, same_file};
use crate::onnx::external::{self, Reference};
use crate::onnx::{Host, Source, inline};

/// A model file.
pub struct ModelFile {
    /// For messages.
    pub name: String,
    /// `None` for standard input.
    path: Option<PathBuf>,
    source: Source,
}

impl ModelFile {
    /// Opens `path`; `-` is standard input.
    pub fn open(path: &str) -> Result<Self, Failure> {
        let fail = |e: std::io::Error| Failure::usage(format!("cannot read {path}: {e}"));
        if path == "-" {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes).map_err(fail)?;
            return Ok(Self { name: "standard input".to_owned(), path: None, source: bytes.into() });
        }
        let source = Source::open(Path::new(path)).map_err(fail)?;
        Ok(Self { name: path.to_owned(), path: Some(path.into()), source })
    }

    /// An error about this file.
    pub fn failure(&self, error: impl std::fmt::Display) -> Failure {
        Failure::usage(format!("{}: {error}", self.name))
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        self.source.bytes()
    }

    /// Its structure.
    pub fn host(&self) -> Result<Host<'_>, Failure> {
        self.host_of(self.bytes())
    }

    /// The model with its functions written out in the place of their calls; `None` where there is none to write out.
    pub fn written_out(&self, host: &Host<'_>) -> Result<Option<Vec<u8>>, Failure> {
        inline(host).map_err(|error| self.failure(error))
    }

    /// The structure of bytes that came from this file.
    pub fn host_of<'a>(&self, bytes: &'a [u8]) -> Result<Host<'a>, Failure> {
        Host::read(bytes).map_err(|error| self.failure(error))
    }

    /// The directory that external data stands in.
    pub fn directory(&self) -> PathBuf {
        self.path.as_deref().and_then(Path::parent).map(Path::to_owned).unwrap_or_default()
    }

    /// What the model keeps in other files; all of it is there, and lies in the model's directory.
    pub fn external_data(&self, host: &Host<'_>) -> Result<Vec<Reference>, Failure> {
        let references = external::references(host.model()).map_err(|error| self.failure(error))?;
        external::open(&self.directory(), &references).map_err(|error| self.failure(error))?;
        Ok(references)
    }

    /// Refuses a target that is this file or one that it keeps data in.
    pub fn guard(&self, target: &Target, data: &[Reference]) -> Result<(), Failure> {
        let Target::File(target) = target else {
            return Ok(());
        };
        if self.path.as_deref().is_some_and(|path| same_file(path, target)) {
            let target = target.display();
            return Err(Failure::usage(format!("{target} is the model itself; name another file with -o")));
        }
        let directory = self.directory();
        let hit = data.iter().find(|d| same_file(&external::path_in(&directory, &d.location), target));
        hit.map_or(Ok(()), |data| {
            let (target, tensor) = (target.display(), &data.tensor);
            Err(Failure::usage(format!(
                "{target} holds the model's tensor `{tensor}`; name another file with -o"
            )))
        })
    }
}
