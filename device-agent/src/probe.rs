//! What the agent uses, with the processes that it has started: memory and processor time.

use std::sync::Arc;
use std::time::{Duration, Instant};

/// A share of processor time is measured over this time at least: over less, one prediction is a full core.
const MEASURED_OVER: Duration = Duration::from_secs(1);

/// What the process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Share of one core, millionths.
    pub cpu_ppm: u32,
    /// Resident memory, bytes.
    pub memory_bytes: u64,
}

/// Processes that the agent has started.
pub trait Processes: Send + Sync {
    /// Their resident memory, bytes.
    fn memory_bytes(&self) -> u64;
    /// Their processor time, with that of those that have ended, nanoseconds.
    fn cpu_nanos(&self) -> u64;
}

/// Looks at the process, and at those that it has started.
pub struct Probe {
    /// Devices that share the process: each is charged its part.
    devices: u64,
    over: Duration,
    /// When the processor time was last read, and what it was, nanoseconds.
    seen: (Instant, u64),
    /// What was found then.
    cpu_ppm: u32,
    others: Option<Arc<dyn Processes>>,
}

impl Probe {
    /// A probe of a process that is shared by this many devices.
    #[must_use]
    pub fn shared_by(devices: usize) -> Probe {
        Probe::measuring(devices, MEASURED_OVER)
    }

    fn measuring(devices: usize, over: Duration) -> Probe {
        let devices = u64::try_from(devices.max(1)).unwrap_or(1);
        Probe { devices, over, seen: (Instant::now(), cpu_nanos()), cpu_ppm: 0, others: None }
    }

    /// The same, with these processes.
    #[must_use]
    pub fn with(mut self, others: Option<Arc<dyn Processes>>) -> Probe {
        self.others = others;
        self.seen = (Instant::now(), self.cpu_nanos());
        self
    }

    fn cpu_nanos(&self) -> u64 {
        cpu_nanos().saturating_add(self.others.as_ref().map_or(0, |others| others.cpu_nanos()))
    }

    /// Current memory use, and the share of processor time in the last second or more.
    pub fn usage(&mut self) -> Usage {
        let (then, before) = self.seen;
        let now = Instant::now();
        let passed = now.duration_since(then);
        if passed >= self.over {
            self.seen = (now, self.cpu_nanos());
            let ppm = u128::from(self.seen.1.saturating_sub(before)) * 1_000_000 / passed.as_nanos().max(1);
            self.cpu_ppm = u32::try_from(ppm / u128::from(self.devices)).unwrap_or(u32::MAX);
        }
        let memory_bytes = resident_bytes() + self.others.as_ref().map_or(0, |others| others.memory_bytes());
        Usage { cpu_ppm: self.cpu_ppm, memory_bytes: memory_bytes / self.devices }
    }
}

fn cpu_nanos() -> u64 {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = u64::try_from(spent.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(spent.tv_nsec).unwrap_or(0))
}

/// Resident memory of this process in bytes; 0 if unknown.
#[must_use]
pub fn resident_bytes() -> u64 {
    resident_bytes_of(std::process::id())
}

/// Resident memory of a process in bytes; 0 if unknown.
pub(crate) fn resident_bytes_of(pid: u32) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|field| field.parse().ok()).unwrap_or(0);
    pages.saturating_mul(rustix::param::page_size() as u64)
}

/// Processor time of another process, nanoseconds; 0 if unknown.
pub(crate) fn cpu_nanos_of(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name before the fields may hold anything.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks.saturating_mul(1_000_000_000) / rustix::param::clock_ticks_per_second().max(1)
}

/// Memory of the machine in bytes; 0 if unknown.
#[must_use]
pub fn machine_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib: u64 = line.and_then(|l| l.split_whitespace().next()?.parse().ok()).unwrap_or(0);
    kib.saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_kept_until_there_was_time_to_measure_another() {
        let mut probe = Probe { cpu_ppm: 7, ..Probe::measuring(1, Duration::from_secs(3600)) };
        std::hint::black_box((0..10_000).sum::<u64>());
        assert_eq!(probe.usage().cpu_ppm, 7);
        probe.over = Duration::ZERO;
        assert_ne!(probe.usage().cpu_ppm, 7);
    }

    #[test]
    fn a_busy_process_uses_some_of_a_core() {
        let mut probe = Probe::measuring(1, Duration::from_millis(10));
        let start = Instant::now();
        let mut work = 0_u64;
        while start.elapsed().as_millis() < 20 {
            work = std::hint::black_box(work.wrapping_add(1));
        }
        let usage = probe.usage();
        assert!(usage.cpu_ppm > 10_000, "{usage:?}");
        assert!(usage.memory_bytes > 100_000, "{usage:?}");
        assert!(machine_bytes() > usage.memory_bytes);
    }
}
