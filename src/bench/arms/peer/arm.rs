//! A peer that is loaded with what a cell needs.

use std::cell::RefCell;
use std::fs;
use std::rc::Rc;

use serde_json::{Value, json};

use super::PeerProcess;
use crate::bench::arms::{Arm, ArmError, Inputs, Timed};
use crate::bench::plan::{Cell, Peer};
use crate::loss::Loss;
use crate::tensor::{DType, Tensor};

/// A peer that is loaded with the inputs of a cell.
pub struct PeerArm {
    process: Rc<RefCell<PeerProcess>>,
    peer: Peer,
    note: Option<String>,
}

impl PeerArm {
    /// Loads a peer with sets of inputs. A program that does not write its own loss gets `model`, the loss as a graph.
    ///
    /// # Errors
    /// What the peer says.
    pub fn new(
        process: Rc<RefCell<PeerProcess>>,
        peer: Peer,
        cell: &Cell,
        (loss, counts): (&Loss, &[f64]),
        sets: &[Inputs],
        model: Option<&[u8]>,
    ) -> Result<Self, ArmError> {
        let file = process.borrow_mut().inputs(cell, sets.iter())?;
        let model = model.map(|bytes| write(&process, "loss.onnx", bytes)).transpose()?;
        let uses_features = sets.first().is_some_and(|set| set.iter().any(|(name, _)| name == "features"));
        let mut request = common(peer, cell, loss, counts);
        request["features"] = cell.features.into();
        request["uses_features"] = uses_features.into();
        request["dtype"] = cell.dtype_name().into();
        request["sets"] = sets.len().into();
        request["file"] = json!(file);
        request["model"] = json!(model);
        Self::load(process, peer, &request)
    }

    /// Loads a peer with a training step: `about` says what it is, and which file the classifier is unless `model` is
    /// the graph to take; `batches` are the one of the reference and then those to be timed on.
    ///
    /// # Errors
    /// What the peer says.
    pub fn step(
        process: Rc<RefCell<PeerProcess>>,
        peer: Peer,
        cell: &Cell,
        (loss, counts): (&Loss, &[f64]),
        mut about: Value,
        model: Option<&[u8]>,
        batches: [&[Inputs]; 2],
    ) -> Result<Self, ArmError> {
        let file = process.borrow_mut().inputs(cell, batches.into_iter().flatten())?;
        if let Some(bytes) = model {
            about["model"] = json!(write(&process, &format!("{}.onnx", peer.name()), bytes)?);
        }
        let mut request = common(peer, cell, loss, counts);
        request["sets"] = batches[1].len().into();
        request["file"] = json!(file);
        request["step"] = about;
        Self::load(process, peer, &request)
    }

    fn load(process: Rc<RefCell<PeerProcess>>, peer: Peer, request: &Value) -> Result<Self, ArmError> {
        let answer = process.borrow_mut().ask(request)?;
        Ok(Self { process, peer, note: answer["note"].as_str().map(str::to_owned) })
    }

    /// What a reader of its times must know.
    pub fn note(&self) -> Option<String> {
        self.note.clone()
    }

    /// The losses before so many steps on the batch of the reference; the parameters are then what they were.
    ///
    /// # Errors
    /// What the peer says.
    pub fn losses(&mut self, rate: f32, steps: usize) -> Result<Vec<f64>, ArmError> {
        let request = json!({"op": "losses", "arm": self.peer.name(), "rate": rate, "steps": steps});
        let answer = self.ask(&request)?;
        serde_json::from_value(answer["losses"].clone())
            .map_err(|error| ArmError::new(format!("the peer's losses: {error}")))
    }

    fn ask(&self, request: &Value) -> Result<Value, ArmError> {
        self.process.borrow_mut().ask(request)
    }
}

impl PeerArm {
    /// The outputs of the first set, by name.
    ///
    /// # Errors
    /// What the peer says.
    pub fn compute(&mut self) -> Result<Vec<(String, Tensor)>, ArmError> {
        let file = self.process.borrow().file("outputs.bin");
        let answer = self.ask(&json!({"op": "compute", "arm": self.peer.name(), "file": file}))?;
        let bytes =
            fs::read(&file).map_err(|e| ArmError::new(format!("cannot read {}: {e}", file.display())))?;
        let outputs: Vec<(String, Vec<usize>)> = serde_json::from_value(answer["outputs"].clone())
            .map_err(|error| ArmError::new(format!("the peer's list of outputs: {error}")))?;
        let mut rest = bytes.as_slice();
        let mut tensors = Vec::new();
        for (name, shape) in outputs {
            let size = shape.iter().product::<usize>() * DType::F64.size_of();
            let (own, others) =
                rest.split_at_checked(size).ok_or_else(|| ArmError::new("outputs are cut off"))?;
            let tensor = Tensor::from_le_bytes(DType::F64, shape, own);
            tensors.push((name, tensor.map_err(|error| ArmError::new(error.to_string()))?));
            rest = others;
        }
        Ok(tensors)
    }
}

impl Arm for PeerArm {
    fn bind<'a>(&'a mut self, _: &'a [Inputs]) -> Result<Box<dyn Timed + 'a>, ArmError> {
        Ok(Box::new(BoundPeer(self)))
    }
}

impl Drop for PeerArm {
    fn drop(&mut self) {
        // A process that has ended has nothing to unload.
        let _ = self.ask(&json!({"op": "unload", "arm": self.peer.name()}));
    }
}

struct BoundPeer<'a>(&'a PeerArm);

impl Timed for BoundPeer<'_> {
    fn block(&mut self, sets: &[usize]) -> Result<Vec<f64>, ArmError> {
        let answer = self.0.ask(&json!({"op": "block", "arm": self.0.peer.name(), "sets": sets}))?;
        let seconds: Vec<f64> = serde_json::from_value(answer["seconds"].clone())
            .map_err(|error| ArmError::new(format!("the peer's times: {error}")))?;
        if seconds.len() != sets.len() || seconds.iter().any(|s| !s.is_finite() || *s <= 0.0) {
            return Err(ArmError::new("the peer's times are not one above 0 for each run"));
        }
        Ok(seconds)
    }
}

/// What every request to load says: the cell, and the loss with its tables and parameters.
fn common(peer: Peer, cell: &Cell, loss: &Loss, counts: &[f64]) -> Value {
    let parameters = loss.spec().parameters.iter();
    let parameters: serde_json::Map<String, Value> =
        parameters.map(|(name, parameter)| (name.clone(), parameter.value.into())).collect();
    json!({
        "op": "load",
        "arm": peer.name(),
        "loss": cell.loss,
        "parameters": parameters,
        "weights": loss.class_weights(),
        "counts": counts,
        "rows": cell.rows,
        "classes": cell.classes,
        "threads": cell.threads,
        "device": cell.provider.name(),
    })
}

/// Writes a model where the process finds it.
fn write(process: &RefCell<PeerProcess>, name: &str, bytes: &[u8]) -> Result<std::path::PathBuf, ArmError> {
    let path = process.borrow().file(name);
    fs::write(&path, bytes)
        .map_err(|error| ArmError::new(format!("cannot write {}: {error}", path.display())))?;
    Ok(path)
}
