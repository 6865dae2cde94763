//! What a label set settles for all devices that carry it: worked out once for each distinct set, not for each device.
//!
//! Devices are compared with those only that had the same chances in every draw of the attempt so far. Had an earlier
//! stage drawn from one site, and the judge compared all sites with each other, an outage of that site would look like
//! harm: its canaries are there, most controls are not (docs/judge-proof.md, "A first stage from one site").
//!
//! However many values a label has, the strata are bounded: the largest keep a number of their own and all others share
//! one. Nothing here costs more than a sort of the label sets.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use modelfleet_protocol::membership::{Bound, Clause, Membership, Rank, STRATA_MAX, stratum_key};
use modelfleet_protocol::selector::Labels;

use crate::fleet::Fleet;
use crate::intern::Number;
use crate::view::Lens;

/// What a label set settles.
pub(super) struct LabelSet {
    /// Whether the rollout's own selector matches.
    pub in_scope: bool,
    /// Whether its devices have the candidate's bytes in production whatever becomes of the attempt.
    pub stays: bool,
    /// Whether the current stage's selector matches.
    pub matching: bool,
    /// The stratum that the judge compares within, in key order; [`STRATA_MAX`]: the one of all strata that are too many.
    pub stratum: u16,
    /// By clause of the membership: the bound, where its selector matches.
    pub clauses: Vec<Option<Rank>>,
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

/// By draw of the attempt: the stratum that the labels are in, where the draw's selector matches them.
type Chances = Vec<Option<Vec<String>>>;

fn chances(membership: &Membership, labels: &Labels) -> Chances {
    let drawn =
        |clause: &Clause| clause.selector.matches(labels).then(|| stratum_key(&clause.spread_by, labels));
    membership.clauses.iter().map(drawn).collect()
}

/// Numbers of the strata, given how many devices each has.
fn numbers(sizes: BTreeMap<Chances, u64>) -> BTreeMap<Chances, u16> {
    let mut order: Vec<(Chances, u64)> = sizes.into_iter().collect();
    if order.len() > STRATA_MAX {
        // In key order where sizes are equal, so that a restarted controller has the same strata.
        order.sort_by_key(|(_, size)| Reverse(*size));
        order.truncate(STRATA_MAX);
        order.sort();
    }
    order.into_iter().map(|(key, _)| key).zip(0..).collect()
}

impl Fleet {
    /// By number of the label set.
    pub(super) fn label_sets(&self, lens: &Lens<'_>) -> Vec<Option<LabelSet>> {
        let table = &self.texts.labels;
        let sets =
            || (0..table.table_len()).map(|n| table.get(n as Number).map(|labels| (n as Number, labels)));
        let mut sizes: BTreeMap<Chances, u64> = BTreeMap::new();
        for (number, labels) in sets().flatten() {
            *sizes.entry(chances(lens.membership, labels)).or_default() += u64::from(table.holders(number));
        }
        let strata = numbers(sizes);
        let clauses: Vec<Bounds<'_>> = lens.membership.clauses.iter().map(Bounds::new).collect();
        let settle = |(_, labels): (Number, &Labels)| LabelSet {
            in_scope: lens.scope.matches(labels),
            stays: lens.prior.iter().find(|(home, _)| home.matches(labels)).is_some_and(|(_, same)| *same),
            matching: lens.selector.matches(labels),
            stratum: strata.get(&chances(lens.membership, labels)).copied().unwrap_or(STRATA_MAX as u16),
            clauses: clauses.iter().map(|clause| clause.of(labels)).collect(),
        };
        sets().map(|set| set.map(settle)).collect()
    }
}
