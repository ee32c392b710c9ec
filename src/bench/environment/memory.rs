//! Memory of the machine and of this process.

use std::fs;

use crate::runtime::Provider;

/// Bytes of memory.
pub(super) fn total() -> Option<u64> {
    field("/proc/meminfo", "MemTotal:")
}

/// Bytes that can be allocated without swapping.
pub fn available() -> Option<u64> {
    field("/proc/meminfo", "MemAvailable:")
}

/// Does `work`, and says how much memory it took where this provider computes; `None` where nothing tells. A device's is
/// what the driver says is in use afterwards and was not before, since ONNX Runtime's arena gives nothing back meanwhile;
/// other programs on the device would be in it.
pub fn peak_on<T>(provider: Provider, work: impl FnOnce() -> T) -> (T, Option<u64>) {
    match provider {
        Provider::Cpu => peak_of(work),
        Provider::Cuda | Provider::TensorRt => {
            let used = || super::device_memory().map(|(used, _)| used);
            let before = used();
            let done = work();
            (done, before.zip(used()).map(|(before, after)| after.saturating_sub(before)))
        }
        _ => (work(), None),
    }
}

/// Does `work`, and says how much memory the process took at the most beyond what it had before; `None` where the
/// system does not tell.
fn peak_of<T>(work: impl FnOnce() -> T) -> (T, Option<u64>) {
    // Resets the high-water mark to what is resident now (man 5 proc).
    let reset = fs::write("/proc/self/clear_refs", "5").ok();
    let before = reset.and_then(|()| field("/proc/self/status", "VmRSS:"));
    let done = work();
    let peak = field("/proc/self/status", "VmHWM:");
    (done, before.zip(peak).map(|(before, peak)| peak.saturating_sub(before)))
}

fn field(path: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    let kilobytes: u64 = line[name.len()..].split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_peak_covers_what_was_allocated_and_given_back() {
        let (sum, peak) = peak_of(|| vec![1u8; 64 << 20].iter().map(|b| u64::from(*b)).sum::<u64>());
        assert_eq!(sum, 64 << 20);
        assert!(peak.unwrap() >= 60 << 20, "{peak:?}");
    }
}
