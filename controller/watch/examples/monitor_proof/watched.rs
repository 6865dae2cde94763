//! The watch as it ships, on simulated hours.

use modelfleet_watch::{
    OnAlarm, Seen, Share, Stream, WatchMemory, WatchPolicy, WindowReading, feature_seen, keep,
};

use crate::usual::{ALLOWED, REFERENCE};
use crate::world::{Hour, OBJECTIVES, SITES};

const HOUR_MS: u64 = 3_600_000;
const YEAR_MS: u64 = 365 * 24 * HOUR_MS;
const NAMES: [&str; OBJECTIVES] = ["errors", "timeouts", "latency", "availability"];

pub struct Watched {
    policy: WatchPolicy,
    memory: WatchMemory,
    index: u64,
    /// Alarms that were raised.
    pub alarms: u64,
    /// What the alarms were about first.
    pub about: Vec<String>,
}

impl Watched {
    pub fn new() -> Watched {
        let policy = WatchPolicy {
            false_alarm_every_ms: YEAR_MS,
            window_ms: HOUR_MS,
            late_windows: 2,
            on_alarm: OnAlarm::Notify,
            named: Vec::new(),
        };
        Watched { policy, memory: WatchMemory::default(), index: 0, alarms: 0, about: Vec::new() }
    }

    /// What is kept.
    pub fn memory(&self) -> &WatchMemory {
        &self.memory
    }

    /// Whether an alarm lasts.
    pub fn alarmed(&self) -> bool {
        self.memory.alarm.is_some()
    }

    pub fn take(&mut self, hour: &Hour) {
        let reading = WindowReading { index: self.index, seen: seen(hour) };
        self.index += 1;
        let kept = keep(&self.policy, &mut self.memory, &[reading]);
        self.alarms += u64::from(kept.raised);
        if kept.raised
            && let Some(alarm) = &self.memory.alarm
        {
            self.about
                .extend(alarm.causes.first().map(|cause| format!("{} {:?}", cause.stream, cause.found)));
        }
    }
}

fn seen(hour: &Hour) -> Vec<Seen> {
    let allowed_ppm = (ALLOWED * 1e6) as u32;
    let of = |stream: Stream, bad: u64, known: u64, allowed_ppm: u32| {
        let share = Share { bad, known, allowed_ppm };
        Seen {
            stream,
            level: Some(share),
            position_ppm: share.ppm(),
            small_ppm: (allowed_ppm / 20).max(1_000),
        }
    };
    let known: u64 = hour.known.iter().sum();
    let mut all = Vec::new();
    for (objective, name) in NAMES.iter().enumerate() {
        let bad = hour.bad[objective].iter().sum();
        all.push(of(Stream::Objective((*name).to_owned()), bad, known, allowed_ppm));
    }
    for site in 0..SITES {
        let stream = Stream::Group(format!("site=s{site}"));
        all.push(of(stream, hour.any[site], hour.known[site], allowed_ppm * OBJECTIVES as u32));
    }
    all.push(of(Stream::Silence, hour.silent, hour.devices, 500_000));
    for (place, bins) in hour.bins.iter().enumerate() {
        let stream = Stream::Feature(u16::try_from(place).unwrap_or(u16::MAX));
        all.extend(feature_seen(stream, &REFERENCE, bins));
    }
    all
}
