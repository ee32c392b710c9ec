//! Other programs as arms: a process that computes the same thing on the same tensors, over pipes.
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

use super::{ArmError, Inputs};
use crate::bench::plan::{Cell, Program};

mod arm;

pub use arm::PeerArm;

/// The scripts of PyTorch's peers; the first is the one that runs.
const PYTORCH: [(&str, &str); 5] = [
    ("pytorch.py", include_str!("../../../benches/peers/pytorch.py")),
    ("losses.py", include_str!("../../../benches/peers/losses.py")),
    ("onnx_classifier.py", include_str!("../../../benches/peers/onnx_classifier.py")),
    ("onnx_operators.py", include_str!("../../../benches/peers/onnx_operators.py")),
    ("protocol.py", include_str!("../../../benches/peers/protocol.py")),
];
/// Those of ONNX Runtime Training.
const ORT_TRAINING: [(&str, &str); 2] = [
    ("ort_training.py", include_str!("../../../benches/peers/ort_training.py")),
    ("protocol.py", include_str!("../../../benches/peers/protocol.py")),
];
/// Bytes of the process's own messages that an error shows.
const SHOWN: usize = 600;

/// The processes of peers, each running or with the reason why it is not.
#[derive(Debug)]
pub struct Peers {
    /// PyTorch.
    pub pytorch: Started,
    /// ONNX Runtime Training.
    pub ort_training: Started,
}

/// A process that serves every cell, or why there is none.
pub type Started = Result<Rc<RefCell<PeerProcess>>, String>;

impl Peers {
    /// The process of a program.
    fn of(&self, program: Program) -> &Started {
        match program {
            Program::Pytorch => &self.pytorch,
            Program::OrtTraining => &self.ort_training,
        }
    }

    /// The process of a program for a cell.
    ///
    /// # Errors
    /// Why there is none, or what of the cell it lacks.
    pub fn serving(&self, program: Program, cell: &Cell) -> Started {
        let process = self.of(program).clone()?;
        let lacks = process.borrow().lacks(cell);
        lacks.map_or(Ok(process), Err)
    }

    /// Those that run.
    pub fn running(&self) -> impl Iterator<Item = &Rc<RefCell<PeerProcess>>> {
        [&self.pytorch, &self.ort_training].into_iter().flatten()
    }
}

/// A running process of peers.
#[derive(Debug)]
pub struct PeerProcess {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    dir: TempDir,
    name: String,
    /// The losses that it has written out; `None` for a program that takes any as a graph.
    losses: Option<Vec<String>>,
    providers: Vec<String>,
    /// The cell whose inputs are in the file.
    written: Option<String>,
}

impl PeerProcess {
    /// Starts the peers of a program with this interpreter, which takes seconds.
    ///
    /// # Errors
    /// Why they cannot be had: no interpreter, or one without the program.
    pub fn start(program: Program, python: &Path) -> Result<Self, ArmError> {
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            ArmError::new(format!("{what} {}: {error}", python.display()))
        };
        let dir = tempfile::Builder::new().prefix("ibgraph-peers-").tempdir();
        let dir = dir.map_err(|error| failed("no temporary directory for", &error))?;
        let scripts: &[(&str, &str)] = match program {
            Program::Pytorch => &PYTORCH,
            Program::OrtTraining => &ORT_TRAINING,
        };
        let write = || {
            scripts.iter().try_for_each(|(name, text)| fs::write(dir.path().join(name), text))?;
            File::create(dir.path().join("messages.txt"))
        };
        let log = write().map_err(|error| failed("cannot write the scripts for", &error))?;
        let mut child = Command::new(python)
            .arg(dir.path().join(scripts[0].0))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|error| failed("cannot start", &error))?;
        let (to, from) = child.stdin.take().zip(child.stdout.take()).expect("both were asked for");
        let from = BufReader::new(from);
        let mut process = Self {
            child,
            to,
            from,
            dir,
            name: format!("{} {}", python.display(), scripts[0].0),
            losses: None,
            providers: Vec::new(),
            written: None,
        };
        let hello = process.ask(&json!({"op": "hello"}))?;
        process.name = hello["name"].as_str().unwrap_or("unknown").to_owned();
        let words = |key: &str| -> Vec<String> {
            let list = hello[key].as_array().into_iter().flatten();
            list.filter_map(|word| word.as_str().map(str::to_owned)).collect()
        };
        process.losses = hello["losses"].is_array().then(|| words("losses"));
        process.providers = words("providers");
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
    fn lacks(&self, cell: &Cell) -> Option<String> {
        if let Some(losses) = self.losses.as_ref().filter(|losses| !losses.contains(&cell.loss)) {
            return Some(format!("the peer has {} and not `{}`", losses.join(", "), cell.loss));
        }
        let provider = cell.provider.name();
        (!self.providers.iter().any(|known| known == provider))
            .then(|| format!("the peer runs on {}, not on {provider}", self.providers.join(" and ")))
    }

    fn ask(&mut self, request: &Value) -> Result<Value, ArmError> {
        let mut line = String::new();
        let asked = writeln!(self.to, "{request}").and_then(|()| self.to.flush());
        let answered = asked.and_then(|()| self.from.read_line(&mut line));
        if !matches!(answered, Ok(1..)) {
            let words = self.last_words();
            return Err(ArmError::new(format!("the peer's process `{}` ended{words}", self.name)));
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

    /// A file in the process's directory.
    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The file with the inputs of a cell.
    fn inputs<'i>(
        &mut self,
        cell: &Cell,
        sets: impl Iterator<Item = &'i Inputs>,
    ) -> Result<PathBuf, ArmError> {
        let path = self.file("inputs.bin");
        if self.written.as_ref() != Some(&cell.id()) {
            self.written = None;
            let write = || {
                let mut file = std::io::BufWriter::new(File::create(&path)?);
                for (_, tensor) in sets.flatten() {
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
