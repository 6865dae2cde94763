//! Closed windows of a model, merged over its sampled devices: of each arm, build and stratum one for each window that
//! devices still tell of.
//!
//! Reports are retained and tell of the last windows, so a window is worked out again while devices know it: one that was
//! offline adds to it, and ground truth changes it. Only those that have changed since the last look are handed on.

use std::collections::{BTreeMap, BTreeSet};

use modelfleet_judge::Arm;
use modelfleet_protocol::generated::Counters;
use modelfleet_protocol::ids::{DeviceId, Digest, ModelName};
use modelfleet_protocol::latency::LatencyHistogram;
use modelfleet_protocol::membership::{STRATA_MAX, stratum_key};
use modelfleet_protocol::metric::Metric;
use modelfleet_protocol::model::Profile;
use modelfleet_protocol::window::{WindowSummary, add_counters};

use crate::fair;
use crate::fleet::Fleet;
use crate::shards::Hashed;

/// The stratum of devices beyond the most strata that are told apart.
pub const OTHER: &str = "other";

/// Which closed windows are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The model.
    pub model: &'a ModelName,
    /// Windows that end after this moment, milliseconds since 1970: those before were handed on of other samples.
    pub ended_after_ms: u64,
    /// Windows that end at this moment or before.
    pub ended_by_ms: u64,
    /// Labels whose values are a stratum; none: strata are not told apart.
    pub spread_by: &'a [String],
    /// The reference profile.
    pub profile: Option<&'a Profile>,
}

/// One closed window.
#[derive(Clone, Debug)]
pub struct ClosedWindow {
    /// Canaries or controls.
    pub arm: Arm,
    /// The build that they ran.
    pub digest: Digest,
    /// Empty: all of the arm. Otherwise the labels of a stratum: `age=old,load=high`.
    pub stratum: String,
    /// When it began, milliseconds since 1970.
    pub start_ms: u64,
    /// How long it is, milliseconds.
    pub window_ms: u64,
    /// Devices of the sample that reported it.
    pub devices: u64,
    /// The sums of their counters.
    pub counters: Counters,
    /// Their latencies; see [`fair::latency`].
    pub latency: LatencyHistogram,
    /// Each metric's value in its unit, and on how many samples it rests.
    pub values: Vec<(Metric, u64, u64)>,
}

/// A window of an arm and a build.
type Place = (bool, Digest, u64);
/// A device with what it saw.
type Seen<'a> = (&'a DeviceId, &'a WindowSummary);

/// What was handed on of one model.
#[derive(Debug, Default)]
pub struct HandedOn(BTreeMap<Place, (usize, Counters)>);

impl Fleet {
    /// The closed windows of a model that have changed since they were handed on.
    #[must_use]
    pub fn closed_windows(&self, wanted: &Wanted<'_>, handed_on: &mut HandedOn) -> Vec<ClosedWindow> {
        let Some(samples) = self.samples(wanted.model) else { return Vec::new() };
        let window_ms = samples.counting().window_ms.max(1);
        let mut places: BTreeMap<Place, Vec<Seen<'_>>> = BTreeMap::new();
        for arm in [Arm::Canary, Arm::Control] {
            samples.each_window(arm, |id, digest, window| {
                let end = window.index.saturating_add(1).saturating_mul(window_ms);
                if end > wanted.ended_after_ms && end <= wanted.ended_by_ms {
                    places.entry((arm == Arm::Canary, digest, window.index)).or_default().push((id, window));
                }
            });
        }
        let strata = self.strata(wanted.spread_by, places.values().flatten().map(|(id, _)| *id));
        let mut closed = Vec::new();
        for (place, seen) in &places {
            let mark = (seen.len(), sums(seen));
            if handed_on.0.get(place) == Some(&mark) {
                continue;
            }
            handed_on.0.insert(*place, mark);
            closed.push(merged(*place, window_ms, String::new(), seen, wanted.profile));
            let mut by_stratum: BTreeMap<&str, Vec<Seen<'_>>> = BTreeMap::new();
            for one in seen {
                if let Some(stratum) = strata.get(one.0) {
                    by_stratum.entry(stratum).or_default().push(*one);
                }
            }
            for (stratum, seen) in by_stratum {
                closed.push(merged(*place, window_ms, stratum.to_owned(), &seen, wanted.profile));
            }
        }
        handed_on.0.retain(|place, _| places.contains_key(place));
        closed
    }

    /// The stratum of each device. Of more strata than there may be the last ones, in the order of their names, are one.
    fn strata<'a>(
        &self,
        spread_by: &[String],
        devices: impl Iterator<Item = &'a DeviceId>,
    ) -> BTreeMap<&'a DeviceId, String> {
        if spread_by.is_empty() {
            return BTreeMap::new();
        }
        let distinct: BTreeSet<&DeviceId> = devices.collect();
        let named = distinct.into_iter().map(|id| {
            let labels =
                self.devices.get(Hashed::of(id)).and_then(|device| self.texts.labels.get(device.labels));
            let key = labels.map(|labels| stratum_key(spread_by, labels)).unwrap_or_default();
            let parts = spread_by.iter().zip(key).map(|(label, value)| format!("{label}={value}"));
            let name = parts.collect::<Vec<_>>().join(",");
            (id, if name.is_empty() { OTHER.to_owned() } else { name })
        });
        let mut named: BTreeMap<&DeviceId, String> = named.collect();
        let names: BTreeSet<String> = named.values().cloned().collect();
        if let Some(first_left_out) = names.iter().nth(STRATA_MAX) {
            let beyond = named.values_mut().filter(|name| **name >= *first_left_out);
            beyond.for_each(|name| *name = OTHER.to_owned());
        }
        named
    }
}

fn sums(seen: &[Seen<'_>]) -> Counters {
    let mut counters = Counters::default();
    seen.iter().for_each(|(_, window)| add_counters(&mut counters, &window.counters));
    counters
}

fn merged(
    (is_canary, digest, index): Place,
    window_ms: u64,
    stratum: String,
    seen: &[Seen<'_>],
    profile: Option<&Profile>,
) -> ClosedWindow {
    let windows: Vec<&WindowSummary> = seen.iter().map(|(_, window)| *window).collect();
    let value = |metric| {
        let (value, samples) = fair::value(&windows, metric, None, profile)?;
        Some((metric, value, samples))
    };
    ClosedWindow {
        arm: if is_canary { Arm::Canary } else { Arm::Control },
        digest,
        stratum,
        start_ms: index.saturating_mul(window_ms),
        window_ms,
        devices: windows.len() as u64,
        counters: sums(seen),
        latency: fair::latency(&windows),
        values: Metric::all().filter_map(value).collect(),
    }
}

#[cfg(test)]
mod tests;
