//! States, data and manifests on the command line.

use std::fs::File;
use std::io::Cursor;

use super::Failure;
use super::model::ModelFile;
use super::output::Target;
use crate::npz::Npz;
use crate::onnx::Host;
use crate::train::Manifest;
use crate::train::manifest::KEY;

/// Reads an archive; `-` is standard input.
pub fn read_npz(path: &str) -> Result<Npz, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::usage(format!("cannot read {path}: {error}"));
    let read = if path == "-" {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes).map_err(|e| failed(&e))?;
        Npz::read(Cursor::new(bytes))
    } else {
        Npz::read(std::io::BufReader::new(File::open(path).map_err(|e| failed(&e))?))
    };
    read.map_err(|e| failed(&e))
}

/// Writes an archive, whole or not at all.
pub fn write_npz(target: &Target, npz: &Npz) -> Result<(), Failure> {
    target.write(&npz.to_bytes().map_err(Failure::usage)?)
}

/// The manifest of a training graph.
pub fn manifest(file: &ModelFile, host: &Host<'_>) -> Result<Manifest, Failure> {
    let text = host.metadata(KEY).ok_or_else(|| {
        file.failure(format!(
            "it is no training graph (metadata key {KEY}); make one with `ibgraph graft --emit train-step`"
        ))
    })?;
    Manifest::from_json(text).map_err(|error| file.failure(error))
}
