//! The controller's half of membership: bounds that make a stage exactly as large as it should be.
//!
//! Device counts are shared out over strata by largest remainder; where there are fewer devices than strata,
//! a greedy cover takes first the strata that show most label values not seen yet ("different ages, different
//! loads, different environments": reference 000, section 7.8).
//!
//! Devices may say of themselves what they like. So a value is shown for its own sake only where enough devices have it
//! ([`common_from`]), a stratum of fewer devices gets no more than its share, and lots decide where nothing else does, never
//! the text of a label.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use serde::{Deserialize, Serialize};

use crate::ids::DeviceId;
use crate::membership::{
    Bound, CLAUSES_MAX, Clause, LISTED_MAX, Membership, NAMED_MAX, Rank, STRATA_MAX, Stratum, rank,
    stratum_key,
};
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
    /// What it takes at least, by the number of devices that it draws from.
    pub floors: Vec<Floor>,
}

/// Of `pool` devices or more a stage takes at least so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Floor {
    /// From how many devices on it holds, until that of a larger pool does.
    pub pool: u64,
    /// How many the stage takes at least.
    pub devices: u64,
}

impl Floor {
    /// What `floors` ask for of a pool; 0 where none holds.
    #[must_use]
    pub fn of(floors: &[Floor], pool: u64) -> u64 {
        let holds = floors.iter().filter(|floor| floor.pool <= pool);
        holds.max_by_key(|floor| floor.pool).map_or(0, |floor| floor.devices.min(pool))
    }
}

impl Share {
    /// The number of devices out of `pool`.
    #[must_use]
    pub fn of(&self, pool: u64) -> u64 {
        self.devices.of(pool).max(Floor::of(&self.floors, pool))
    }
}

/// How many devices a stage takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// Most strata of all clauses together, each clause's "other" counted as one.
pub const STRATA_TOGETHER_MAX: usize = 2 * STRATA_MAX;

/// Label values, and strata, of fewer devices earn no place of their own: a tenth of what one place stands for, and never
/// one device alone.
fn common_from(pool: usize, target: usize) -> usize {
    pool.div_ceil(target.saturating_mul(10).max(1)).max(2)
}

struct Place<'a> {
    member: bool,
    reachable: bool,
    rank: Rank,
    id: &'a DeviceId,
}

/// The devices of one stratum; without a key, those of all strata that have no bound of their own.
struct Pool<'a> {
    key: Option<Vec<String>>,
    places: Vec<Place<'a>>,
}

/// Grows `membership` so that the stage's share of `fleet` is in. No device that is in leaves.
///
/// However many labels and stages there are, the result has at most [`NAMED_MAX`] names and [`LISTED_MAX`] listed ranks,
/// [`STRATA_MAX`] strata in a clause and [`STRATA_TOGETHER_MAX`] in all: more names become ranks, more devices than can be
/// listed become bounds, and the smallest strata share one.
///
/// A [`Target::Count`] that can be listed has no more members than it says, however many devices join later. One that cannot
/// grows with the fleet, as a share does.
///
/// Costs one pass over the fleet and a sort; done once when a stage opens, never on a tick.
#[must_use]
pub fn open_stage<'a>(
    membership: &Membership,
    share: &Share,
    fleet: impl IntoIterator<Item = Candidate<'a>>,
) -> Membership {
    let mut strata = strata(membership, share, fleet);
    let pool: usize = strata.iter().map(|s| s.places.len()).sum();
    let target = usize::try_from(share.of(pool as u64)).unwrap_or(pool);
    let mut grown = membership.clone();
    let fresh =
        Clause { selector: share.selector.clone(), spread_by: share.spread_by.clone(), ..Clause::default() };
    let at = grown.clauses.iter().position(|c| c.same_draw(&fresh)).unwrap_or_else(|| {
        grown.clauses.push(fresh);
        grown.clauses.len() - 1
    });
    let named: usize = grown.clauses.iter().map(|c| c.devices.len()).sum();
    let listed: usize = grown.clauses.iter().map(|c| c.ranks.len()).sum();
    let (names_left, ranks_left) = (NAMED_MAX.saturating_sub(named), LISTED_MAX.saturating_sub(listed));
    // A bound that lets in all that are known now would let in most of those that join later. A count takes as many as can be
    // listed instead: fewer than were asked for, and never more.
    let is_count = matches!(share.devices, Target::Count(_));
    let counts_all = is_count && target == pool;
    let members: usize = strata.iter().map(Pool::members).sum();
    let target = if counts_all { target.min(members + names_left.max(ranks_left)) } else { target };
    let takes_part = target < pool || share.devices.open_bound() != Bound::ALL;
    if is_count || (target <= NAMED_MAX && takes_part) {
        let counts = share_out(&strata, target);
        let more: usize =
            strata.iter().zip(&counts).map(|(s, &count)| count.saturating_sub(s.members())).sum();
        let clause = &mut grown.clauses[at];
        if more <= names_left && (is_count || target <= NAMED_MAX) {
            clause.devices.extend(chosen(&mut strata, &counts).map(|place| place.id.clone()));
            clause.devices.sort();
            clause.devices.dedup();
            return grown;
        }
        if is_count && more <= ranks_left {
            clause.ranks.extend(chosen(&mut strata, &counts).map(|place| place.rank));
            return grown;
        }
    }
    let room = room(&grown.clauses, at);
    let mut strata = merge_smallest(&grown.clauses[at], strata, room);
    let counts = share_out(&strata, target);
    raise_bounds(&mut grown.clauses[at], &mut strata, &counts, share.devices.open_bound());
    grown
}

/// The devices that a stage draws from, by stratum, in key order.
fn strata<'a>(
    membership: &Membership,
    share: &Share,
    fleet: impl IntoIterator<Item = Candidate<'a>>,
) -> Vec<Pool<'a>> {
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
    strata.into_iter().map(|(key, places)| Pool { key: Some(key), places }).collect()
}

/// How many strata clause `at` may have beside its "other". Every clause that may still come keeps room for one.
fn room(clauses: &[Clause], at: usize) -> usize {
    let others = clauses.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, c)| c.strata.len() + 1);
    let taken = others.sum::<usize>() + CLAUSES_MAX.saturating_sub(clauses.len());
    STRATA_TOGETHER_MAX.saturating_sub(taken).min(STRATA_MAX).saturating_sub(1)
}

/// Leaves at most `room` strata with a bound of their own: those that have one, then the largest.
fn merge_smallest<'a>(clause: &Clause, strata: Vec<Pool<'a>>, room: usize) -> Vec<Pool<'a>> {
    let bound: BTreeSet<&[String]> = clause.strata.iter().map(|s| s.key.as_slice()).collect();
    let is_bound = |pool: &Pool| pool.key.as_deref().is_some_and(|key| bound.contains(key));
    let mut fresh: Vec<usize> = (0..strata.len()).filter(|&i| !is_bound(&strata[i])).collect();
    fresh.sort_by_key(|&i| (Reverse(strata[i].places.len()), i));
    let merged: BTreeSet<usize> = fresh.into_iter().skip(room.saturating_sub(bound.len())).collect();
    let mut kept = Vec::with_capacity(strata.len() - merged.len() + 1);
    let mut other = Pool { key: None, places: Vec::new() };
    for (i, pool) in strata.into_iter().enumerate() {
        if merged.contains(&i) {
            other.places.extend(pool.places);
        } else {
            kept.push(pool);
        }
    }
    if !other.places.is_empty() {
        kept.push(other);
    }
    kept
}

/// The devices that are listed one by one: of those that are not in, first the ones that can be reached.
fn chosen<'s, 'a>(strata: &'s mut [Pool<'a>], counts: &'s [usize]) -> impl Iterator<Item = &'s Place<'a>> {
    strata.iter_mut().zip(counts).flat_map(|(pool, &count)| {
        pool.places.sort_by_key(|p| (!p.member, !p.reachable, p.rank));
        pool.places.iter().take(count).filter(|p| !p.member)
    })
}

fn raise_bounds(clause: &mut Clause, strata: &mut [Pool], counts: &[usize], open: Bound) {
    let mut bounds: BTreeMap<Vec<String>, Bound> =
        clause.strata.iter().map(|s| (s.key.clone(), s.below)).collect();
    let mut other = clause.other_below.max(open);
    for (pool, &count) in strata.iter_mut().zip(counts) {
        let before = pool.key.as_ref().map_or(clause.other_below, |key| clause.bound_for(key));
        let bound = if open == Bound::ALL {
            Bound::ALL
        } else {
            pool.places.sort_by_key(|p| (!p.member, p.rank));
            let last = pool.places.iter().take(count).rfind(|p| !p.member);
            last.map_or(before, |p| Bound(p.rank + 1)).max(before)
        };
        match &pool.key {
            Some(key) => drop(bounds.insert(key.clone(), bound)),
            // Devices lie under it: their number is to be exact, as in every stratum.
            None => other = bound,
        }
    }
    clause.strata = bounds.into_iter().map(|(key, below)| Stratum { key, below }).collect();
    clause.other_below = other;
}

impl Pool<'_> {
    fn members(&self) -> usize {
        self.places.iter().filter(|p| p.member).count()
    }

    /// Decides between strata of equal claims, in each draw anew.
    fn lot(&self) -> Rank {
        self.places.iter().map(|p| p.rank).min().unwrap_or(Rank::MAX)
    }
}

/// How many devices of each stratum; the sum is `target` unless more are members already.
fn share_out(strata: &[Pool], target: usize) -> Vec<usize> {
    let sizes: Vec<usize> = strata.iter().map(|s| s.places.len()).collect();
    let pool: usize = sizes.iter().sum();
    if pool == 0 {
        return sizes;
    }
    let mut counts: Vec<usize> = strata.iter().map(Pool::members).collect();
    let mut left = target.saturating_sub(counts.iter().sum());
    let lots: Vec<Rank> = strata.iter().map(Pool::lot).collect();
    let common = common_from(pool, target);
    for i in cover(strata, &sizes, &counts, &lots, common) {
        if left == 0 {
            break;
        }
        counts[i] = 1;
        left -= 1;
    }
    // Rounding would take a device of its own making for a share of one: lots decide for those.
    let small = |i: usize| sizes[i] < common;
    let below = u64::MAX / pool as u64 * target.min(pool) as u64;
    for i in (0..sizes.len()).filter(|&i| small(i) && lots[i] < below) {
        let add = usize::from(counts[i] == 0).min(left);
        counts[i] += add;
        left -= add;
    }
    // Largest remainder by repeated choice of the stratum furthest below its proportional share.
    for i in 0..sizes.len() {
        let floor = sizes[i] * target / pool;
        let add = floor.saturating_sub(counts[i]).min(left);
        counts[i] += add;
        left -= add;
    }
    let lack = |counts: &[usize], i: usize| (sizes[i] * target) as i128 - (counts[i] * pool) as i128;
    while left > 0 {
        let mut order: Vec<usize> = (0..sizes.len()).filter(|&i| lack(&counts, i) > 0).collect();
        order.sort_by_key(|&i| (small(i), -lack(&counts, i), lots[i], i));
        let before = left;
        for i in order.into_iter().take(left) {
            counts[i] += 1;
            left -= 1;
        }
        if left == before {
            break;
        }
    }
    counts
}

/// The strata without a member that get a place before their share gives them one, in the order that shows new label values
/// soonest; ties go to the larger stratum, then by lot. Values that fewer than `common` devices have are not shown for their
/// own sake, and strata of fewer only for values that no larger stratum shows.
fn cover(strata: &[Pool], sizes: &[usize], members: &[usize], lots: &[Rank], common: usize) -> Vec<usize> {
    let values = |i: usize| {
        let key = strata[i].key.iter().flatten();
        key.enumerate().map(|(label, value)| (label, value.as_str()))
    };
    let mut devices: BTreeMap<(usize, &str), usize> = BTreeMap::new();
    for (i, &size) in sizes.iter().enumerate() {
        values(i).for_each(|value| *devices.entry(value).or_default() += size);
    }
    let (covered, rest): (Vec<usize>, Vec<usize>) = (0..strata.len()).partition(|&i| members[i] > 0);
    let mut seen: BTreeSet<(usize, &str)> = covered.into_iter().flat_map(values).collect();
    seen.extend(devices.into_iter().filter(|(_, count)| *count < common).map(|(value, _)| value));
    let news = |seen: &BTreeSet<(usize, &str)>, i: usize| values(i).filter(|v| !seen.contains(v)).count();
    let large = |i: usize| sizes[i] >= common;
    let entry = |news: usize, i: usize| ((news > 0, large(i), news), (sizes[i], Reverse(lots[i])), i);
    // What a stratum has to show only shrinks: an entry that still holds when it comes up is the best, and no other
    // need be counted anew. So many strata cost no more than a sort.
    let mut heap: BinaryHeap<_> = rest.into_iter().map(|i| entry(news(&seen, i), i)).collect();
    let mut order = Vec::with_capacity(heap.len());
    while let Some(((_, _, known), _, i)) = heap.pop() {
        let shows = news(&seen, i);
        if shows < known {
            heap.push(entry(shows, i));
        } else if shows > 0 || large(i) {
            seen.extend(values(i));
            order.push(i);
        }
    }
    order
}
