//! Where devices are: which share a site or a gateway, and which of these places have lost their connection.
//!
//! A site that is no stratum takes canaries and controls with it. Its silence says nothing of the candidate: devices there
//! are left out of what is asked about silence, in both arms, and where half of the running canaries are cut off the
//! rollout waits for the site, by its name ([`CutOff::sentence`]). Where no label places a device, the moment at which it
//! was heard last does: devices that a common cause cuts off are heard last in the same window.

use std::collections::BTreeMap;

use modelfleet_judge::{Arm, Place};
use modelfleet_protocol::selector::Labels;
use modelfleet_protocol::time::Time;

use crate::Subject;

/// Labels that say where a device is, the narrowest first.
pub const SITE_LABELS: [&str; 6] = ["gateway", "cell", "line", "site", "plant", "location"];
/// Devices that share a label before it makes a site of them; with fewer the next label is asked.
const SITE_DEVICES: u64 = 4;
/// Most sites; devices of further ones are placed by nothing.
const SITES_MAX: usize = 4_096;
/// Most sites that a sentence names.
const NAMED_MAX: usize = 3;

/// Numbers of the sites of `sets`, each a label set with how many devices carry it; 0: no label says where they are. In the
/// order of the labels, so that a restarted controller has the same numbers.
#[must_use]
pub fn sites(sets: &[(&Labels, u64)]) -> Vec<u16> {
    let mut sizes: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for (labels, devices) in sets {
        for place in places(labels) {
            *sizes.entry(place).or_default() += devices;
        }
    }
    sizes.retain(|_, devices| *devices >= SITE_DEVICES);
    let numbers: BTreeMap<(&str, &str), u16> = sizes.keys().take(SITES_MAX).copied().zip(1..).collect();
    let number = |labels: &Labels| places(labels).find_map(|place| numbers.get(&place).copied());
    sets.iter().map(|(labels, _)| number(labels).unwrap_or(0)).collect()
}

/// Labels that say where a device is, the narrowest first.
fn places(labels: &Labels) -> impl Iterator<Item = (&'static str, &str)> {
    SITE_LABELS.into_iter().filter_map(|key| Some((key, labels.get(key)?.as_str())))
}

/// Devices that lost their connection together, whatever model they run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CutOff {
    /// All of them.
    pub all: Place,
    /// By number of the site; 0: those that no label places.
    pub sites: Vec<u16>,
    /// Canaries that run the candidate, wherever they are.
    pub canaries: u64,
}

impl CutOff {
    /// Whether a stage cannot go on without them: half of its running canaries are among them.
    #[must_use]
    pub fn holds_stage(&self) -> bool {
        self.all.silent_canaries > 0 && 2 * self.all.silent_canaries >= self.canaries
    }

    /// What is told where they hold a stage. `labels`: of a device in the arms.
    pub(crate) fn sentence<'a>(
        &self,
        subjects: &[Subject],
        labels: &dyn Fn(&Subject) -> Option<&'a Labels>,
    ) -> String {
        let name = |site: &u16| {
            let there: Vec<&Labels> =
                subjects.iter().filter(|s| s.site == *site).filter_map(labels).collect();
            let (key, value) = places(there.first()?).find(|(key, value)| {
                there.iter().all(|labels| labels.get(*key).is_some_and(|other| other == value))
            })?;
            Some(format!("{key} {value}"))
        };
        let mut names: Vec<String> = self.sites.iter().filter(|site| **site > 0).filter_map(name).collect();
        let more = names.len().saturating_sub(NAMED_MAX);
        names.truncate(NAMED_MAX);
        let mut place = match names.split_last() {
            None => String::new(),
            Some((last, [])) => last.clone(),
            Some((last, first)) if more == 0 => format!("{} and {last}", first.join(", ")),
            Some(_) => format!("{} and {more} more", names.join(", ")),
        };
        let Place { silent_canaries, silent_controls, .. } = self.all;
        let silent = format!(
            "{silent_canaries} of {} updated devices and {silent_controls} others stopped reporting together",
            self.canaries
        );
        if place.is_empty() {
            return format!("{silent}, so that their connection is the likely cause and not the new version");
        }
        let is = if names.len() == 1 { "is" } else { "are" };
        place.push_str(&format!(" {is} cut off: {silent}, with the new version and without it"));
        place
    }
}

/// Finds the devices that lost their connection together, and takes those among `subjects` that are silent out of what is
/// asked about silence. `heard`: when each subject was heard last. `window_ms`: how far devices of one moment may differ.
pub(crate) fn leave_out(subjects: &mut [Subject], heard: &[Time], window_ms: u64) -> CutOff {
    let asked = |s: &Subject| s.attempted && (s.arm == Arm::Control || s.active);
    let (mut by_site, mut all, mut unplaced) = (Vec::<Place>::new(), Place::default(), Vec::new());
    for (subject, at) in subjects.iter().zip(heard).filter(|(subject, _)| asked(subject)) {
        let site = usize::from(subject.site);
        if by_site.len() <= site {
            by_site.resize(site + 1, Place::default());
        }
        by_site[site].add(subject.arm, !subject.heard);
        all.add(subject.arm, !subject.heard);
        if site == 0 && !subject.heard {
            unplaced.push((*at, subject.arm));
        }
    }
    if all.silent_controls == 0 {
        return CutOff { canaries: all.canaries, ..CutOff::default() };
    }
    let together = together(unplaced, window_ms).filter(|(_, place)| place.is_cut_off_together(all));
    let of_site = |site: u16| by_site.get(usize::from(site)).is_some_and(Place::is_cut_off);
    let mut cut = CutOff { canaries: all.canaries, ..CutOff::default() };
    for (subject, at) in subjects.iter_mut().zip(heard).filter(|(s, _)| asked(s) && !s.heard) {
        let since = together.is_some_and(|(from, _)| *at >= from && at.since_ms(from) <= window_ms);
        if (subject.site > 0 && of_site(subject.site)) || (subject.site == 0 && since) {
            cut.all.add(subject.arm, true);
            cut.sites.push(subject.site);
            (subject.attempted, subject.left_out) = (false, true);
        }
    }
    cut.sites.sort_unstable();
    cut.sites.dedup();
    cut
}

/// The moment at which most of these devices were heard last, and which of them.
fn together(mut silent: Vec<(Time, Arm)>, window_ms: u64) -> Option<(Time, Place)> {
    silent.sort_unstable();
    let end = |from: Time| silent.partition_point(|(at, _)| *at <= from.after_ms(window_ms));
    // Of moments with equally many the first.
    let most = (0..silent.len()).rev().max_by_key(|start| end(silent[*start].0) - start)?;
    let from = silent[most].0;
    let mut place = Place::default();
    silent[most..end(from)].iter().for_each(|(_, arm)| place.add(*arm, true));
    Some((from, place))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(all: &[(&str, &str)]) -> Labels {
        all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_narrowest_label_that_enough_devices_share_makes_a_site() {
        let sets = [
            labels(&[("site", "north"), ("gateway", "g1")]),
            labels(&[("site", "north"), ("gateway", "g2")]),
            labels(&[("site", "north"), ("age", "old")]),
            labels(&[("site", "south")]),
            labels(&[("age", "old")]),
        ];
        let sized: Vec<(&Labels, u64)> = sets.iter().zip([9, 2, 5, 3, 50]).collect();
        let numbers = sites(&sized);
        assert_eq!(numbers[1], numbers[2], "two devices behind a gateway are of their site");
        assert!(numbers[0] != numbers[1] && numbers[0] > 0 && numbers[1] > 0, "{numbers:?}");
        assert_eq!((numbers[3], numbers[4]), (0, 0), "three devices are no site, and age is no place");
    }

    #[test]
    fn the_moment_that_most_were_heard_last_is_found() {
        let silent = |times: &[u64]| times.iter().map(|at| (Time(*at), Arm::Control)).collect::<Vec<_>>();
        let (from, place) = together(silent(&[5_000, 100, 5_900, 5_400, 9_000, 6_001]), 1_000).unwrap();
        assert_eq!((from, place.silent_controls), (Time(5_000), 3));
        assert_eq!(together(silent(&[]), 1_000), None);
    }
}
