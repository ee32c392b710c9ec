//! Where a benchmark ran: processor, devices, libraries, and what else kept the machine busy.
//!
//! Reads what the system tells of itself; what a system does not tell is `None`, never a guess.

use serde::{Deserialize, Serialize};

mod cpu;
mod gpu;
mod memory;
mod time;

pub use cpu::{CpuClock, last_cache};
pub(crate) use gpu::{device_memory, device_state};
pub use memory::{available, peak_on};
pub use time::utc;

use crate::runtime::EngineInfo;

/// Where a benchmark ran.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Processor model.
    pub cpu: Option<String>,
    /// Logical processors that this process may use.
    pub cpus: usize,
    /// Bytes of the last cache level.
    pub last_cache: Option<u64>,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Frequency governor of the first processor, such as `performance`.
    pub governor: Option<String>,
    /// Processes that wanted to run, averaged over the minute before the start.
    pub load: Option<f64>,
    /// Operating system and architecture.
    pub system: String,
    /// Devices of NVIDIA, in the order of the driver.
    pub gpus: Vec<Gpu>,
    /// Version of the NVIDIA driver.
    pub driver: Option<String>,
    /// CUDA version that the driver supports.
    pub cuda: Option<String>,
    /// Version of the cuDNN library that the loader finds.
    pub cudnn: Option<String>,
    /// Version of ONNX Runtime.
    pub onnxruntime: Option<String>,
    /// Peers, such as `PyTorch 2.9.1`.
    pub peers: Option<String>,
    /// Revision of the working directory, with `-dirty` where it has changes.
    pub git: Option<String>,
}

/// A device of NVIDIA.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// Model.
    pub name: String,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Megahertz of the multiprocessors, now.
    pub clock: Option<u32>,
    /// The most that they can have.
    pub max_clock: Option<u32>,
    /// Why the clock is lower than it could be.
    pub throttle: Vec<String>,
}

impl Environment {
    /// What this machine is.
    pub fn capture(engine: Option<&EngineInfo>, git: Option<String>) -> Self {
        let mut environment = Self {
            cpu: cpu::model(),
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            last_cache: last_cache(),
            memory: memory::total(),
            governor: cpu::governor(),
            load: cpu::load(),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            onnxruntime: engine.map(|info| info.version.clone()),
            git,
            ..Self::default()
        };
        gpu::fill(&mut environment);
        environment
    }

    /// Why two results cannot be compared; empty where both come from the same kind of machine.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
        let gpus = |e: &Self| e.gpus.iter().map(|g| g.name.as_str()).collect::<Vec<_>>().join(", ");
        let parts = [
            ("processor", text(&self.cpu), text(&other.cpu)),
            ("number of processors", self.cpus.to_string(), other.cpus.to_string()),
            ("system", self.system.clone(), other.system.clone()),
            ("devices", gpus(self), gpus(other)),
        ];
        let differing = parts.into_iter().filter(|(_, a, b)| a != b);
        differing.map(|(what, a, b)| format!("{what}: `{a}` and `{b}`")).collect()
    }

    /// What makes figures from this machine less trustworthy, as it was at the start.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(load) = self.load
            && load > BUSY * self.cpus as f64
        {
            warnings.push(format!(
                "the machine was busy at the start: a load of {load:.1} on {} processors; stop what else runs",
                self.cpus
            ));
        }
        if let Some(governor) = self.governor.as_deref()
            && governor != "performance"
        {
            warnings.push(format!(
                "the frequency governor is `{governor}`; `cpupower frequency-set -g performance` makes times steadier"
            ));
        }
        for gpu in self.gpus.iter().filter(|gpu| !gpu.throttle.is_empty()) {
            warnings.push(format!("{} runs below its clock: {}", gpu.name, gpu.throttle.join(", ")));
        }
        warnings
    }
}

/// Share of the machine that others may use before figures are doubted.
pub const BUSY: f64 = 0.25;
