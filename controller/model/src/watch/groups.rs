//! Which devices are watched as a group: those of one site, and those that share a label of `spreadBy` or `watchBy`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use modelfleet_evidence::SITE_LABELS;
use modelfleet_fleet::intern::Number;
use modelfleet_watch::GROUPS_MAX;

use crate::assess::Judged;
use crate::shared_labels::is_plain;

/// The groups of a fleet: by number of the label set, the places of its groups in `names`.
pub(super) struct Groups {
    /// `site=north`, ordered.
    pub names: Vec<String>,
    sets: BTreeMap<Number, Vec<usize>>,
}

impl Groups {
    pub(super) fn of(judged: &Judged<'_>) -> Groups {
        let none = Groups { names: Vec::new(), sets: BTreeMap::new() };
        let Some(fleet) = judged.fleet else { return none };
        let stages = &judged.valid.policy.parts().stages;
        let asked = stages.iter().flat_map(|stage| stage.spread_by.iter().chain(&stage.watch_by));
        let keys: BTreeSet<&str> = asked.map(String::as_str).chain(SITE_LABELS).collect();
        let mut devices: BTreeMap<Number, u64> = BTreeMap::new();
        judged.subjects.iter().for_each(|subject| *devices.entry(subject.labels).or_default() += 1);
        let total: u64 = devices.values().sum();
        let mut sizes: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for (set, count) in &devices {
            for (key, value) in fleet.labels_numbered(*set).into_iter().flatten() {
                if keys.contains(key.as_str()) && is_plain(key, value) {
                    *sizes.entry((key, value)).or_default() += count;
                }
            }
        }
        // What all devices share is no group of some.
        sizes.retain(|_, count| *count < total);
        let mut largest: Vec<((&str, &str), u64)> = sizes.into_iter().collect();
        largest.sort_by_key(|(label, count)| (Reverse(*count), *label));
        largest.truncate(GROUPS_MAX);
        largest.sort_unstable();
        let places: BTreeMap<(&str, &str), usize> =
            largest.iter().enumerate().map(|(place, (label, _))| (*label, place)).collect();
        let groups_of = |set: &Number| -> Vec<usize> {
            let labels = fleet.labels_numbered(*set).into_iter().flatten();
            labels.filter_map(|(key, value)| places.get(&(key.as_str(), value.as_str())).copied()).collect()
        };
        Groups {
            names: largest.iter().map(|((key, value), _)| format!("{key}={value}")).collect(),
            sets: devices.keys().map(|set| (*set, groups_of(set))).collect(),
        }
    }

    /// The groups of a device.
    pub(super) fn of_set(&self, set: Number) -> &[usize] {
        self.sets.get(&set).map_or(&[], Vec::as_slice)
    }
}
