//! The controller's half of membership: bounds that make a stage exactly as large as it should be.
//!
//! Device counts are shared out over strata by largest remainder; where there are fewer devices than strata,
//! a greedy cover takes first the strata that show most label values not seen yet ("different ages, different
//! loads, different environments": reference 000, section 7.8).

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::DeviceId;
use crate::membership::{Bound, Clause, Membership, NAMED_MAX, Rank, STRATA_MAX, Stratum, rank, stratum_key};
use crate::selector::{Labels, Selector};

/// A device as the draw sees it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its id.
    pub id: &'a DeviceId,
    /// Its labels.
    pub labels: &'a Labels,
    /// Whether it can be reached now: a small canary is drawn from those that can, lest it wait for the others.
    pub reachable: bool,
}

/// What a stage asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Which devices it draws from.
    pub selector: Selector,
    /// The labels to spread over.
    pub spread_by: Vec<String>,
    /// How many devices, those of earlier stages included.
    pub devices: Target,
}

/// How many devices a stage takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// This many.
    Count(u64),
    /// This share in millionths, rounded up, so that a share above zero takes at least one device.
    Ppm(u32),
    /// All but this share in millionths (the hold-back), and all who join later.
    AllBut(u32),
}

impl Target {
    /// The number of devices out of `pool`.
    #[must_use]
    pub fn of(self, pool: u64) -> u64 {
        let share = |ppm: u32| (u128::from(pool) * u128::from(ppm.min(1_000_000))).div_ceil(1_000_000);
        let share = |ppm| u64::try_from(share(ppm)).unwrap_or(pool);
        match self {
            Target::Count(n) => n.min(pool),
            Target::Ppm(ppm) => share(ppm),
            Target::AllBut(ppm) => pool - share(ppm).min(pool),
        }
    }

    fn open_bound(self) -> Bound {
        let share = |ppm: u32| u64::MAX / 1_000_000 * u64::from(ppm.min(1_000_000));
        match self {
            Target::Count(_) => Bound::NONE,
            Target::Ppm(1_000_000..) | Target::AllBut(0) => Bound::ALL,
            Target::Ppm(ppm) => Bound(share(ppm)),
            Target::AllBut(ppm) => Bound(share(1_000_000 - ppm.min(1_000_000))),
        }
    }
}

struct Place<'a> {
    member: bool,
    reachable: bool,
    rank: Rank,
    id: &'a DeviceId,
}

/// Grows `membership` so that the stage's share of `fleet` is in. Nobody who is in leaves.
///
/// Costs one pass over the fleet and a sort; done once when a stage opens, never on a tick.
#[must_use]
pub fn open_stage<'a>(
    membership: &Membership,
    share: &Share,
    fleet: impl IntoIterator<Item = Candidate<'a>>,
) -> Membership {
    let mut strata: BTreeMap<Vec<String>, Vec<Place<'a>>> = BTreeMap::new();
    for device in fleet {
        if share.selector.matches(device.labels) && !membership.exclude.contains(device.id) {
            let place = Place {
                member: membership.includes(device.id, device.labels),
                reachable: device.reachable,
                rank: rank(&membership.salt, device.id),
                id: device.id,
            };
            strata.entry(stratum_key(&share.spread_by, device.labels)).or_default().push(place);
        }
    }
    let pool: usize = strata.values().map(Vec::len).sum();
    let target = share.devices.of(pool as u64) as usize;
    let by_name = target <= NAMED_MAX && target < pool;
    let counts = share_out(&strata, target);
    let mut grown = membership.clone();
    let fresh =
        Clause { selector: share.selector.clone(), spread_by: share.spread_by.clone(), ..Clause::default() };
    let at = grown.clauses.iter().position(|c| c.same_draw(&fresh)).unwrap_or_else(|| {
        grown.clauses.push(fresh);
        grown.clauses.len() - 1
    });
    let clause = &mut grown.clauses[at];
    if by_name {
        name_devices(clause, &mut strata, &counts);
    } else {
        raise_bounds(clause, &mut strata, &counts, share.devices.open_bound());
    }
    grown
}

fn name_devices(clause: &mut Clause, strata: &mut BTreeMap<Vec<String>, Vec<Place>>, counts: &[usize]) {
    for (places, &count) in strata.values_mut().zip(counts) {
        places.sort_by_key(|p| (!p.member, !p.reachable, p.rank));
        for place in places.iter().take(count).filter(|p| !p.member) {
            clause.devices.push(place.id.clone());
        }
    }
    clause.devices.sort();
    clause.devices.dedup();
}

fn raise_bounds(
    clause: &mut Clause,
    strata: &mut BTreeMap<Vec<String>, Vec<Place>>,
    counts: &[usize],
    open: Bound,
) {
    let mut bounds: BTreeMap<Vec<String>, Bound> =
        clause.strata.iter().map(|s| (s.key.clone(), s.below)).collect();
    for ((key, places), &count) in strata.iter_mut().zip(counts) {
        let before = clause.bound_for(key);
        let bound = if open == Bound::ALL {
            Bound::ALL
        } else {
            places.sort_by_key(|p| (!p.member, p.rank));
            let last = places.iter().take(count).rfind(|p| !p.member);
            last.map_or(before, |p| Bound(p.rank + 1)).max(before)
        };
        if bounds.len() < STRATA_MAX || bounds.contains_key(key) {
            bounds.insert(key.clone(), bound);
        }
    }
    clause.strata = bounds.into_iter().map(|(key, below)| Stratum { key, below }).collect();
    clause.other_below = clause.other_below.max(open);
}

/// How many devices of each stratum, in key order; the sum is `target` unless more are members already.
fn share_out(strata: &BTreeMap<Vec<String>, Vec<Place>>, target: usize) -> Vec<usize> {
    let sizes: Vec<usize> = strata.values().map(Vec::len).collect();
    let members: Vec<usize> = strata.values().map(|s| s.iter().filter(|p| p.member).count()).collect();
    let pool: usize = sizes.iter().sum();
    if pool == 0 {
        return sizes;
    }
    let mut counts = members;
    let covered: Vec<usize> = (0..sizes.len()).filter(|&i| counts[i] > 0).collect();
    let keys: Vec<&Vec<String>> = strata.keys().collect();
    for i in cover(&keys, &sizes, covered) {
        if counts.iter().sum::<usize>() < target && counts[i] == 0 {
            counts[i] = 1;
        }
    }
    // Largest remainder by repeated choice of the stratum furthest below its proportional share.
    let mut left = target.saturating_sub(counts.iter().sum());
    for i in 0..sizes.len() {
        let floor = sizes[i] * target / pool;
        let add = floor.saturating_sub(counts[i]).min(left);
        counts[i] += add;
        left -= add;
    }
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    let lack = |counts: &[usize], i: usize| (sizes[i] * target) as i128 - (counts[i] * pool) as i128;
    while left > 0 {
        order.sort_by_key(|&i| (-lack(&counts, i), i));
        let before = left;
        for &i in &order {
            if left > 0 && counts[i] < sizes[i] {
                counts[i] += 1;
                left -= 1;
            }
        }
        if left == before {
            break;
        }
    }
    counts
}

/// Strata in the order that shows new label values soonest; ties go to the larger stratum.
fn cover(keys: &[&Vec<String>], sizes: &[usize], covered: Vec<usize>) -> Vec<usize> {
    let values = |i: usize| keys[i].iter().enumerate().map(|(label, value)| (label, value.as_str()));
    let mut seen: BTreeSet<(usize, &str)> = covered.iter().flat_map(|&i| values(i)).collect();
    let mut rest: Vec<usize> = (0..keys.len()).filter(|i| !covered.contains(i) && sizes[*i] > 0).collect();
    let mut order = Vec::with_capacity(rest.len());
    // Beyond a few hundred strata the cover is complete; the rest goes by size, so that cost stays bounded.
    while !rest.is_empty() && order.len() < 4 * STRATA_MAX {
        let news = |i: usize| values(i).filter(|v| !seen.contains(v)).count();
        let best = (0..rest.len()).max_by_key(|&p| (news(rest[p]), sizes[rest[p]], usize::MAX - p));
        let Some(best) = best else { break };
        let i = rest.remove(best);
        seen.extend(values(i));
        order.push(i);
    }
    rest.sort_by_key(|&i| (usize::MAX - sizes[i], i));
    order.extend(rest);
    order
}
