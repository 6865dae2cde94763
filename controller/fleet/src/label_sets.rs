//! What a label set settles for all devices that carry it: worked out once for each distinct set, not for each device.

use std::collections::BTreeMap;

use modelfleet_evidence::{compared, sites, watched};
use modelfleet_judge::WATCHED_MAX;
use modelfleet_protocol::membership::{Bound, Clause, Rank, STRATA_MAX, stratum_key};
use modelfleet_protocol::selector::Labels;

use crate::fleet::Fleet;
use crate::view::Lens;

/// What a label set settles.
pub(super) struct LabelSet {
    /// Whether the rollout's own selector matches.
    pub in_scope: bool,
    /// Whether its devices have the candidate's bytes in production whatever becomes of the attempt.
    pub stays: bool,
    /// Whether the current stage's selector matches.
    pub matching: bool,
    /// Which devices it is compared with; see [`modelfleet_evidence::compared`].
    pub stratum: u16,
    /// Its values of the labels that the stage watches; see [`modelfleet_evidence::watched`].
    pub watched: [u16; WATCHED_MAX],
    /// Where its devices are; see [`modelfleet_evidence::sites`].
    pub site: u16,
    /// By clause of the membership: the bound, where its selector matches.
    pub clauses: Vec<Option<Rank>>,
}

#[cfg(test)]
impl LabelSet {
    /// One that settles nothing but which clauses include it below which rank.
    pub(super) fn of_clauses(clauses: Vec<Option<Rank>>) -> LabelSet {
        LabelSet {
            in_scope: true,
            stays: false,
            matching: true,
            stratum: 0,
            watched: [0; WATCHED_MAX],
            site: 0,
            clauses,
        }
    }
}

/// A clause with its strata in a tree, because a search by hand costs too much where every device has its own stratum.
struct Bounds<'a> {
    clause: &'a Clause,
    strata: BTreeMap<&'a [String], Bound>,
}

impl<'a> Bounds<'a> {
    fn new(clause: &'a Clause) -> Bounds<'a> {
        // Of two entries with one key the first counts, as in `Clause::bound_for`.
        let strata = clause.strata.iter().rev().map(|s| (s.key.as_slice(), s.below)).collect();
        Bounds { clause, strata }
    }

    fn of(&self, labels: &Labels) -> Option<Rank> {
        if !self.clause.selector.matches(labels) {
            return None;
        }
        let key = stratum_key(&self.clause.spread_by, labels);
        Some(self.strata.get(key.as_slice()).copied().unwrap_or(self.clause.other_below).0)
    }
}

impl Fleet {
    /// By number of the label set.
    pub(super) fn label_sets(&self, lens: &Lens<'_>) -> Vec<Option<LabelSet>> {
        let table = &self.texts.labels;
        let sizes: Vec<(&Labels, u64)> =
            table.iter().map(|(_, labels, holders)| (labels, u64::from(holders))).collect();
        let mut strata = compared(lens.membership, &sizes).into_iter();
        let mut watched = watched(lens.watch_by, &sizes).into_iter();
        let mut sites = sites(&sizes).into_iter();
        let clauses: Vec<Bounds<'_>> = lens.membership.clauses.iter().map(Bounds::new).collect();
        let mut settle = |labels: &Labels| LabelSet {
            in_scope: lens.scope.matches(labels),
            stays: lens.prior.iter().find(|(home, _)| home.matches(labels)).is_some_and(|(_, same)| *same),
            matching: lens.selector.matches(labels),
            stratum: strata.next().unwrap_or(STRATA_MAX as u16),
            watched: watched.next().unwrap_or_default(),
            site: sites.next().unwrap_or(0),
            clauses: clauses.iter().map(|clause| clause.of(labels)).collect(),
        };
        let mut sets: Vec<Option<LabelSet>> =
            std::iter::repeat_with(|| None).take(table.table_len()).collect();
        for (number, labels, _) in table.iter() {
            sets[number as usize] = Some(settle(labels));
        }
        sets
    }
}
