//! Groups of devices in which harm is looked for: the strata of the draw, and the values of watched labels.
//!
//! Within each stratum canaries are picked at random, so they are within each part of a stratum as well: a group is an
//! experiment of its own, whichever label makes it.

use std::collections::BTreeMap;

use crate::exact::change::Subject;
use crate::exact::permutation::Stratum;
use crate::observations::Arm;

/// Which group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The stratum of this number.
    Stratum(u16),
    /// The devices with this value of a watched label.
    Watched {
        /// Place of the label among those that are watched.
        label: u8,
        /// Number of the value.
        value: u16,
    },
}

impl Key {
    /// As one number, for what is carried from look to look.
    pub const fn code(self) -> u32 {
        match self {
            Self::Stratum(number) => number as u32,
            Self::Watched { label, value } => (label as u32 + 1) << 16 | value as u32,
        }
    }

    /// From that number.
    pub const fn of_code(code: u32) -> Self {
        let low = (code & 0xffff) as u16;
        match (code >> 16) as u8 {
            0 => Self::Stratum(low),
            label => Self::Watched { label: label - 1, value: low },
        }
    }

    /// Whether a device is in the group.
    pub fn has(self, subject: &Subject) -> bool {
        match self {
            Self::Stratum(number) => subject.stratum == number,
            Self::Watched { label, value } => subject.watched.get(usize::from(label)) == Some(&value),
        }
    }
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Which one.
    pub key: Key,
    /// Places of its devices among the subjects, ascending.
    pub members: Vec<u32>,
}

/// All groups of subjects ordered by stratum: the strata where there is more than one that has both arms, and the values of
/// watched labels. What has the same devices as another group, or all of them, is no group of its own.
pub fn of(subjects: &[Subject]) -> Vec<Group> {
    let mut members: BTreeMap<Key, Vec<u32>> = BTreeMap::new();
    for (place, subject) in (0..).zip(subjects) {
        members.entry(Key::Stratum(subject.stratum)).or_default().push(place);
        for (label, &value) in (0..).zip(&subject.watched).filter(|(_, value)| **value > 0) {
            members.entry(Key::Watched { label, value }).or_default().push(place);
        }
    }
    let mut seen: BTreeMap<Vec<u32>, Key> = BTreeMap::new();
    for (key, members) in members {
        if members.len() < subjects.len() && is_mixed(subjects, &members) {
            // Strata come first, so that a watched label by which the stage is spread is told as a stratum.
            seen.entry(members).or_insert(key);
        }
    }
    let mut groups: Vec<Group> = seen.into_iter().map(|(members, key)| Group { key, members }).collect();
    groups.sort_unstable_by_key(|group| group.key);
    let strata = groups.iter().filter(|group| matches!(group.key, Key::Stratum(_))).count();
    groups.retain(|group| strata > 1 || !matches!(group.key, Key::Stratum(_)));
    groups
}

/// Whether canaries and controls of one stratum are among these devices.
fn is_mixed(subjects: &[Subject], members: &[u32]) -> bool {
    let of = |place: &u32| &subjects[*place as usize];
    members.chunk_by(|a, b| of(a).stratum == of(b).stratum).any(|cell| {
        let first = cell.first().map(|place| of(place).arm);
        cell.iter().any(|place| Some(of(place).arm) != first)
    })
}

impl Group {
    /// Its devices.
    pub fn of<'a>(&'a self, subjects: &'a [Subject]) -> impl Iterator<Item = &'a Subject> {
        self.members.iter().map(|place| &subjects[*place as usize])
    }

    /// How rarely chance alone picks the worst outcome of all.
    pub fn rarest(&self, subjects: &[Subject]) -> f64 {
        let of = |place: &u32| &subjects[*place as usize];
        let cells = self.members.chunk_by(|a, b| of(a).stratum == of(b).stratum);
        let one = |cell: &[u32]| {
            let canaries = cell.iter().filter(|place| of(place).arm == Arm::Canary).count();
            crate::sizing::reach::rarest(canaries as u64, (cell.len() - canaries) as u64)
        };
        cells.map(one).product()
    }

    /// Scores of its devices by stratum, canaries first; strata with one arm alone are left out. `scores` are those of the
    /// members, in their order.
    pub fn cells(&self, subjects: &[Subject], scores: &[u64]) -> Vec<Stratum> {
        let with: Vec<(&Subject, u64)> = self.of(subjects).zip(scores.iter().copied()).collect();
        let mut cells = Vec::new();
        for cell in with.chunk_by(|a, b| a.0.stratum == b.0.stratum) {
            let of = |arm: Arm| {
                let mut list: Vec<u64> = cell.iter().filter(|(s, _)| s.arm == arm).map(|c| c.1).collect();
                // Order within an arm must not matter, not even for draws.
                list.sort_unstable();
                list
            };
            let (canaries, controls) = (of(Arm::Canary), of(Arm::Control));
            if !canaries.is_empty() && !controls.is_empty() {
                let count = canaries.len();
                cells.push(Stratum { scores: [canaries, controls].concat(), canaries: count });
            }
        }
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exact::change::watched_subjects;
    use crate::observations::{Counts, SloCounts};

    fn fleet(device: impl Fn(u32) -> (u16, [u16; 4])) -> Vec<Subject> {
        let counts = SloCounts { history: Counts::new(10, 1), post: Counts::new(10, 1) };
        watched_subjects((0..40).map(|id| {
            let (stratum, watched) = device(id);
            (id, stratum, watched, if id < 8 { Arm::Canary } else { Arm::Control }, counts)
        }))
    }

    #[test]
    fn strata_and_values_of_watched_labels_are_groups() {
        let keys = |subjects: &[Subject]| of(subjects).iter().map(|group| group.key).collect::<Vec<_>>();
        assert_eq!(keys(&fleet(|_| (0, [0; 4]))), []);
        let two = [Key::Stratum(0), Key::Stratum(1)];
        assert_eq!(keys(&fleet(|id| ((id % 2) as u16, [0; 4]))), two);
        let watched = |value| Key::Watched { label: 1, value };
        let by_watched = fleet(|id| (0, [0, (id % 3) as u16, 1, 0]));
        assert_eq!(
            keys(&by_watched),
            [watched(1), watched(2)],
            "0 is no value, and one that all have no group"
        );
        let both = fleet(|id| ((id % 2) as u16, [(id % 2) as u16 + 1, 0, 0, 0]));
        assert_eq!(keys(&both), two, "the same devices are one group");
        let alone = fleet(|id| (0, [u16::from(id >= 8), 0, 0, 0]));
        assert_eq!(keys(&alone), [], "no canary is among them");
        for key in [Key::Stratum(0), Key::Stratum(u16::MAX), watched(1), Key::Watched { label: 3, value: 64 }]
        {
            assert_eq!(Key::of_code(key.code()), key);
        }
    }

    #[test]
    fn a_group_over_strata_is_compared_within_them() {
        let subjects = fleet(|id| ((id % 4) as u16, [u16::from(id % 3 == 0), 0, 0, 0]));
        let groups = of(&subjects);
        let watched = groups.iter().find(|group| group.key == Key::Watched { label: 0, value: 1 });
        let watched = watched.cloned().unwrap_or_else(|| Group { key: Key::Stratum(0), members: vec![] });
        // Of 0, 3, 6, ... 39 three are canaries: one each in strata 0, 3 and 2, and none in stratum 1.
        let cells = watched.cells(&subjects, &vec![1; watched.members.len()]);
        assert_eq!(cells.iter().map(|cell| cell.canaries).collect::<Vec<_>>(), [1, 1, 1]);
        let one_in = cells.iter().map(|cell| cell.scores.len() as f64).product::<f64>();
        assert!((watched.rarest(&subjects) * one_in - 1.0).abs() < 1e-9);
    }
}
