//! The processor, and who uses it. Linux tells; elsewhere most of it is unknown.

use std::fs;
use std::path::Path;

/// Model name of the processor.
pub(super) fn model() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name") || line.starts_with("Model"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

pub(super) fn governor() -> Option<String> {
    let text = fs::read_to_string("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").ok()?;
    Some(text.trim().to_owned())
}

/// Load average of the last minute.
pub(super) fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

/// Bytes of the last cache level of the first processor.
pub fn last_cache() -> Option<u64> {
    let caches = Path::new("/sys/devices/system/cpu/cpu0/cache");
    let sizes = fs::read_dir(caches).ok()?.flatten().filter_map(|entry| {
        let read = |name: &str| fs::read_to_string(entry.path().join(name)).ok();
        let level: u32 = read("level")?.trim().parse().ok()?;
        let size = read("size")?;
        let kilobytes: u64 = size.trim().strip_suffix('K')?.parse().ok()?;
        Some((level, kilobytes * 1024))
    });
    sizes.max().map(|(_, size)| size)
}

/// Processor time so far: of all, and of this process and its peers.
#[derive(Debug, Clone, Copy)]
pub struct CpuClock {
    all: u64,
    busy: u64,
    own: u64,
}

impl CpuClock {
    /// Reads the clocks; `children` are process ids that count as our own. `None` where the system does not tell.
    pub fn now(children: &[u32]) -> Option<Self> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let fields: Vec<u64> =
            text.lines().next()?.split_whitespace().skip(1).map_while(|f| f.parse().ok()).collect();
        // user nice system idle iowait irq softirq steal; what guests use is in user already (man 5 proc).
        let [user, nice, system, idle, iowait, irq, softirq, steal] = *fields.first_chunk::<8>()?;
        let busy = user + nice + system + irq + softirq + steal;
        let children: u64 = children.iter().filter_map(|id| ticks(&format!("/proc/{id}/stat"))).sum();
        Some(Self { all: busy + idle + iowait, busy, own: ticks("/proc/self/stat")? + children })
    }

    /// Share of the machine that others took between `earlier` and now; `None` where too little time has passed.
    pub fn others_since(self, earlier: Self) -> Option<f64> {
        let all = self.all.checked_sub(earlier.all).filter(|all| *all >= 20)?;
        let busy = self.busy.saturating_sub(earlier.busy);
        let own = self.own.saturating_sub(earlier.own);
        Some(busy.saturating_sub(own) as f64 / all as f64)
    }
}

/// User and system time of a process, its ended threads included, in clock ticks.
fn ticks(path: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    // The second field, the name, is in parentheses and may hold anything.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(number(11)? + number(12)?)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn our_own_work_is_not_taken_for_that_of_others() {
        let before = CpuClock { all: 1000, busy: 300, own: 50 };
        let after = CpuClock { all: 1200, busy: 420, own: 140 };
        // 120 ticks of work, 90 of them our own, of 200 in all
        assert_eq!(after.others_since(before), Some(0.15));
        assert_eq!(before.others_since(before), None);
    }

    #[test]
    fn the_clock_counts_our_own_work() {
        let before = CpuClock::now(&[]).unwrap();
        let mut after = before;
        let mut x = 1u64;
        // How long that takes is the machine's affair.
        while after.own < before.own + 5 {
            x = (0..1_000_000).fold(x, |x, _| std::hint::black_box(x.wrapping_mul(31)));
            after = CpuClock::now(&[]).unwrap();
        }
        assert!(after.busy > before.busy && after.all > before.all);
    }
}
