//! Other programs as arms: a process that computes the same loss on the same tensors, over pipes.
//!
//! The process times its own runs, so the pipe is not in the figures. It is started once and serves every cell.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Arm, ArmError, Inputs, Timed};
use crate::bench::plan::{Cell, Peer};
use crate::runtime::Provider;
use crate::tensor::{DType, Tensor};

const SCRIPT: &str = include_str!("../../../benches/peers/pytorch.py");
/// Bytes of the process's own messages that an error shows.
const SHOWN: usize = 600;

/// A running process of peers.
#[derive(Debug)]
pub struct PeerProcess {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    dir: TempDir,
    name: String,
    losses: Vec<String>,
    /// The cell whose inputs are in the file.
    written: Option<String>,
}

impl PeerProcess {
    /// Starts the PyTorch peers with this interpreter, which takes seconds.
    ///
    /// # Errors
    /// Why they cannot be had: no interpreter, or one without PyTorch.
    pub fn start(python: &Path) -> Result<Self, ArmError> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            ArmError::new(format!("{what} {}: {error}", python.display()))
        };
        let dir = tempfile::Builder::new().prefix("ibgraph-peers-").tempdir();
        let dir = dir.map_err(|error| failed("no temporary directory for", &error))?;
        let script = dir.path().join("peers.py");
        let messages = dir.path().join("messages.txt");
        let log = fs::write(&script, SCRIPT).and_then(|()| File::create(&messages));
        let log = log.map_err(|error| failed("cannot write the script for", &error))?;
        let mut child = Command::new(python)
            .arg(&script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| failed("cannot start", &error))?;
        let (to, from) = child.stdin.take().zip(child.stdout.take()).expect("both were asked for");
        let from = BufReader::new(from);
        let mut process =
            Self { child, to, from, dir, name: String::new(), losses: Vec::new(), written: None };
        let hello = process.ask(&json!({"op": "hello"}))?;
        process.name = hello["name"].as_str().unwrap_or("unknown").to_owned();
        let losses = hello["losses"].as_array().into_iter().flatten();
        process.losses = losses.filter_map(|loss| loss.as_str().map(str::to_owned)).collect();
        Ok(process)
    }

    /// What it is, such as `PyTorch 2.9.1`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Why it has no arm for a cell, if it has none.
    pub fn lacks(&self, cell: &Cell) -> Option<String> {
        if !self.losses.contains(&cell.loss) {
            return Some(format!("the peer has {} and not `{}`", self.losses.join(", "), cell.loss));
        }
        match cell.provider {
            Provider::Cpu | Provider::Cuda => None,
            other => Some(format!("the peer runs on the CPU and on CUDA, not on {other}")),
        }
    }

    fn ask(&mut self, request: &Value) -> Result<Value, ArmError> {
        let mut line = String::new();
        let asked = writeln!(self.to, "{request}").and_then(|()| self.to.flush());
        let answered = asked.and_then(|()| self.from.read_line(&mut line));
        if !matches!(answered, Ok(1..)) {
            return Err(ArmError::new(format!("the peer's process ended{}", self.last_words())));
        }
        let answer: Value = serde_json::from_str(&line)
            .map_err(|error| ArmError::new(format!("the peer's answer is no JSON: {error}")))?;
        match answer["ok"].as_bool() {
            Some(true) => Ok(answer),
            _ => Err(ArmError::new(answer["error"].as_str().unwrap_or("the peer failed").to_owned())),
        }
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(self.dir.path().join("messages.txt")).unwrap_or_default();
        let text = text.trim();
        let start = (text.len().saturating_sub(SHOWN)..text.len()).find(|at| text.is_char_boundary(*at));
        start.map_or(String::new(), |start| format!(": {}", &text[start..]))
    }

    /// The file with the inputs of a cell.
    fn inputs(&mut self, cell: &Cell, sets: &[Inputs]) -> Result<PathBuf, ArmError> {
        let path = self.dir.path().join("inputs.bin");
        if self.written.as_ref() != Some(&cell.id()) {
            self.written = None;
            let write = || {
                let mut file = std::io::BufWriter::new(File::create(&path)?);
                for (_, tensor) in sets.iter().flatten() {
                    file.write_all(&tensor.to_le_bytes())?;
                }
                file.flush()
            };
            write().map_err(|error| ArmError::new(format!("cannot write {}: {error}", path.display())))?;
            self.written = Some(cell.id());
        }
        Ok(path)
    }
}

impl Drop for PeerProcess {
    fn drop(&mut self) {
        // It has nothing to save; whether it had ended already does not matter.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A peer that is loaded with the inputs of a cell.
pub struct PeerArm {
    process: Rc<RefCell<PeerProcess>>,
    peer: Peer,
}

impl PeerArm {
    /// Loads a peer with sets of inputs.
    ///
    /// # Errors
    /// What the peer says.
    pub fn new(
        process: Rc<RefCell<PeerProcess>>,
        peer: Peer,
        cell: &Cell,
        sets: &[Inputs],
    ) -> Result<Self, ArmError> {
        let file = process.borrow_mut().inputs(cell, sets)?;
        let uses_features = sets.first().is_some_and(|set| set.iter().any(|(name, _)| name == "features"));
        let request = json!({
            "op": "load",
            "arm": peer.name(),
            "loss": cell.loss,
            "rows": cell.rows,
            "classes": cell.classes,
            "features": cell.features,
            "uses_features": uses_features,
            "dtype": cell.dtype_name(),
            "threads": cell.threads,
            "device": if cell.provider == Provider::Cuda { "cuda" } else { "cpu" },
            "sets": sets.len(),
            "file": file,
        });
        process.borrow_mut().ask(&request)?;
        Ok(Self { process, peer })
    }

    fn ask(&self, request: &Value) -> Result<Value, ArmError> {
        self.process.borrow_mut().ask(request)
    }
}

impl Arm for PeerArm {
    /// The outputs of the first set, whatever `inputs` says: the peer has its inputs since it was loaded.
    fn compute(&mut self, _: &Inputs) -> Result<Vec<(String, Tensor)>, ArmError> {
        let file = self.process.borrow().dir.path().join("outputs.bin");
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
