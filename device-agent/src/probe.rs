//! What the process itself uses: memory and processor time.

use std::time::Instant;

/// What was used since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Share of one core, millionths.
    pub cpu_ppm: u32,
    /// Resident memory, bytes.
    pub memory_bytes: u64,
}

/// Looks at the process.
pub struct Probe {
    /// Devices that share the process: each is charged its part.
    devices: u64,
    seen: (Instant, u64),
}

impl Probe {
    /// A probe of a process that is shared by this many devices.
    #[must_use]
    pub fn shared_by(devices: usize) -> Probe {
        let devices = u64::try_from(devices.max(1)).unwrap_or(1);
        Probe { devices, seen: (Instant::now(), cpu_nanos()) }
    }

    /// What was used since the last call.
    pub fn usage(&mut self) -> Usage {
        let (then, before) = self.seen;
        self.seen = (Instant::now(), cpu_nanos());
        let passed = self.seen.0.duration_since(then).as_nanos().max(1);
        let ppm = u128::from(self.seen.1.saturating_sub(before)) * 1_000_000 / passed;
        Usage {
            cpu_ppm: u32::try_from(ppm / u128::from(self.devices)).unwrap_or(u32::MAX),
            memory_bytes: resident_bytes() / self.devices,
        }
    }
}

fn cpu_nanos() -> u64 {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = u64::try_from(spent.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(spent.tv_nsec).unwrap_or(0))
}

/// Resident memory of this process in bytes; 0 where the system does not say.
#[must_use]
pub fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|field| field.parse().ok()).unwrap_or(0);
    pages.saturating_mul(rustix::param::page_size() as u64)
}

/// Memory of the machine in bytes; 0 where the system does not say.
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
    fn a_busy_process_uses_some_of_a_core() {
        let mut probe = Probe::shared_by(1);
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
