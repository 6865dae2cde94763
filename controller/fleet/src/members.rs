//! Which devices a membership includes, asked of each device of a fleet in turn: the same as
//! [`Membership::includes`], for a million devices. What can be worked out once is, and a rank, which is a hash, only where it
//! decides.

use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::membership::{Bound, Membership, Rank, rank};

use crate::label_sets::LabelSet;
use crate::shards::{Hashed, IdHash};

/// Ids with their hashes, in order.
struct Named<'a>(Vec<(IdHash, &'a DeviceId)>);

impl<'a> Named<'a> {
    fn of(ids: &'a [DeviceId]) -> Named<'a> {
        let mut named: Vec<_> = ids.iter().map(|id| (Hashed::of(id).number(), id)).collect();
        named.sort_unstable();
        Named(named)
    }

    fn has(&self, device: (IdHash, &DeviceId)) -> bool {
        self.0.binary_search(&device).is_ok()
    }
}

/// A membership, ready to be asked.
pub(super) struct Members<'a> {
    membership: &'a Membership,
    excluded: Named<'a>,
    /// By clause.
    named: Vec<Named<'a>>,
}

impl<'a> Members<'a> {
    pub(super) fn of(membership: &'a Membership) -> Members<'a> {
        let named = membership.clauses.iter().map(|clause| Named::of(&clause.devices));
        Members { membership, excluded: Named::of(&membership.exclude), named: named.collect() }
    }

    /// Whether the device is out whatever the clauses say.
    pub(super) fn excludes(&self, device: (IdHash, &DeviceId)) -> bool {
        self.excluded.has(device)
    }

    /// Whether a clause includes the device, exclusions apart. `set`: what its labels settle.
    pub(super) fn include(&self, device: (IdHash, &DeviceId), set: &LabelSet) -> bool {
        let mut known: Option<Rank> = None;
        let clauses = self.membership.clauses.iter().zip(&self.named).zip(&set.clauses);
        for ((clause, named), below) in clauses {
            let Some(below) = *below else { continue };
            if below == Bound::ALL.0 || named.has(device) {
                return true;
            }
            if below > Bound::NONE.0 || !clause.ranks.is_empty() {
                let rank = *known.get_or_insert_with(|| rank(&self.membership.salt, device.1));
                if rank < below || clause.ranks.contains(rank) {
                    return true;
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use modelfleet_protocol::membership::{Clause, ListedRanks};
    use modelfleet_protocol::selector::Labels;
    use proptest::prelude::*;

    use super::*;

    fn clause() -> impl Strategy<Value = (Clause, bool)> {
        let below = prop_oneof![Just(Bound::NONE), Just(Bound::ALL), any::<u64>().prop_map(Bound)];
        let devices = proptest::collection::vec(0_u8..40, 0..6);
        let ranks = proptest::collection::vec(0_u8..40, 0..6);
        (below, devices, ranks, any::<bool>()).prop_map(|(other_below, devices, ranks, matches)| {
            let id = |i: u8| format!("d{i}").parse::<DeviceId>().unwrap();
            let mut listed = ListedRanks::default();
            listed.extend(ranks.into_iter().map(|i| rank("salt", &id(i))));
            let devices = devices.into_iter().map(id).collect();
            (Clause { other_below, devices, ranks: listed, ..Clause::default() }, matches)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_fleet_and_one_device_agree(
            clauses in proptest::collection::vec(clause(), 0..4),
            exclude in proptest::collection::vec(0_u8..40, 0..6),
        ) {
            // A clause whose selector does not match settles nothing, and is none for the device itself.
            let set = LabelSet::of_clauses(clauses.iter().map(|(c, matches)| matches.then_some(c.other_below.0)).collect());
            let own = clauses.iter().filter(|(_, matches)| *matches).map(|(c, _)| c.clone()).collect();
            let exclude: Vec<DeviceId> = exclude.into_iter().map(|i| format!("d{i}").parse().unwrap()).collect();
            let membership = Membership { salt: "salt".into(), clauses: own, exclude: exclude.clone() };
            let all = clauses.into_iter().map(|(c, _)| c).collect();
            let asked = Membership { salt: "salt".into(), clauses: all, exclude };
            let members = Members::of(&asked);
            for i in 0..40 {
                let id: DeviceId = format!("d{i}").parse().unwrap();
                let device = (Hashed::of(&id).number(), &id);
                let included = !members.excludes(device) && members.include(device, &set);
                prop_assert_eq!(included, membership.includes(&id, &Labels::new()), "d{}", i);
            }
        }
    }
}
