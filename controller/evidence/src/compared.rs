//! Which devices are compared with each other.
//!
//! Devices are compared with those only that had the same chances in every draw of the attempt so far. Had an earlier
//! stage drawn from one site, and the judge compared all sites with each other, an outage of that site would look like
//! harm: its canaries are there, most controls are not (docs/judge-proof.md, "A first stage from one site").
//!
//! However many values a label has, the strata are bounded: the largest keep a number of their own and all others share
//! one. Nothing here costs more than a sort of the label sets.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use modelfleet_protocol::membership::{Clause, Membership, STRATA_MAX, stratum_key};
use modelfleet_protocol::selector::Labels;

/// By draw of the attempt: the stratum that the labels are in, where the draw's selector matches them.
type Chances = Vec<Option<Vec<String>>>;

/// Numbers of the strata of `sets`, each a label set with how many devices carry it; equal numbers are compared. The
/// number [`STRATA_MAX`] is that of all strata that are too many.
#[must_use]
pub fn compared(membership: &Membership, sets: &[(&Labels, u64)]) -> Vec<u16> {
    let mut sizes: BTreeMap<Chances, u64> = BTreeMap::new();
    let keys: Vec<Chances> = sets.iter().map(|(labels, _)| chances(membership, labels)).collect();
    for (key, (_, devices)) in keys.iter().zip(sets) {
        *sizes.entry(key.clone()).or_default() += devices;
    }
    let numbers = numbers(sizes);
    keys.iter().map(|key| numbers.get(key).copied().unwrap_or(STRATA_MAX as u16)).collect()
}

fn chances(membership: &Membership, labels: &Labels) -> Chances {
    let drawn =
        |clause: &Clause| clause.selector.matches(labels).then(|| stratum_key(&clause.spread_by, labels));
    membership.clauses.iter().map(drawn).collect()
}

/// In key order, given how many devices each has.
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

#[cfg(test)]
mod tests {
    use super::*;
    use modelfleet_protocol::selector::Selector;

    fn labels(site: &str) -> Labels {
        [("site".to_owned(), site.to_owned())].into()
    }

    #[test]
    fn an_earlier_draw_from_a_site_makes_a_stratum_of_it() {
        let sites = ["a", "b", "c"].map(labels);
        let sets: Vec<(&Labels, u64)> = sites.iter().map(|labels| (labels, 10)).collect();
        let of = |value: &str| Selector { match_labels: labels(value), ..Selector::default() };
        let everywhere = Clause::default();
        let from_b = Clause { selector: of("b"), ..Clause::default() };
        let membership = |clauses: Vec<Clause>| Membership { clauses, ..Membership::default() };
        assert_eq!(compared(&membership(vec![everywhere.clone()]), &sets), [0, 0, 0]);
        assert_eq!(compared(&membership(vec![from_b, everywhere]), &sets), [0, 1, 0]);
        let spread = Clause { spread_by: vec!["site".into()], ..Clause::default() };
        assert_eq!(compared(&membership(vec![spread]), &sets), [0, 1, 2]);
        assert_eq!(compared(&Membership::default(), &sets), [0, 0, 0], "before the first draw all are alike");
    }

    #[test]
    fn the_largest_strata_keep_a_number_of_their_own() {
        let sites: Vec<Labels> = (0..STRATA_MAX + 9).map(|i| labels(&format!("s{i:03}"))).collect();
        let large = |i: usize| if i >= 9 { 1_000 } else { 1 };
        let sets: Vec<(&Labels, u64)> =
            sites.iter().enumerate().map(|(i, labels)| (labels, large(i))).collect();
        let spread = Clause { spread_by: vec!["site".into()], ..Clause::default() };
        let numbers = compared(&Membership { clauses: vec![spread], ..Membership::default() }, &sets);
        assert!(numbers[..9].iter().all(|number| *number == STRATA_MAX as u16), "{numbers:?}");
        assert_eq!(numbers[9..].to_vec(), (0..STRATA_MAX as u16).collect::<Vec<_>>());
    }
}
