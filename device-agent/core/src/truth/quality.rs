//! What truth says of one build, over all that the ledger has booked.

use std::collections::BTreeMap;

use modelfleet_protocol::generated::Counters;
use modelfleet_protocol::ids::Digest;

/// Pairs of classes that are counted one by one, for each build.
const PAIRS_MAX: usize = 1_024;
/// Stands for every class beyond the bound.
pub(super) const OTHER: u64 = 0;

/// What truth says of one build.
#[derive(Clone, Debug, PartialEq)]
pub struct BuildQuality {
    /// The build.
    pub digest: Digest,
    /// The sums of what truth fills.
    pub counters: Counters,
    /// True class, answered class, how often. Classes beyond the bound are `(other)`.
    pub classes: Vec<(Box<str>, Box<str>, u64)>,
    /// Events that were told, such as failures.
    pub events: u64,
    /// Of these, the ones that an alarm came before.
    pub events_found: u64,
    /// Sum over these of the time from the first alarm to the event, milliseconds.
    pub lead_ms: u64,
}

/// The same, as the ledger counts it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counted {
    pub counters: Counters,
    pub pairs: BTreeMap<(u64, u64), u64>,
    pub events: u64,
    pub events_found: u64,
    pub lead_ms: u64,
}

impl Counted {
    /// Where a pair is counted. A pair keeps its place, also when its count has gone back to zero.
    fn place(&self, pair: (u64, u64)) -> (u64, u64) {
        if self.pairs.contains_key(&pair) || self.pairs.len() < PAIRS_MAX {
            return pair;
        }
        // Right and wrong ones stay apart.
        if pair.0 == pair.1 { (OTHER, OTHER) } else { (OTHER, u64::MAX) }
    }

    pub fn add_pair(&mut self, pair: (u64, u64)) {
        let place = self.place(pair);
        *self.pairs.entry(place).or_default() += 1;
    }

    pub fn take_pair(&mut self, pair: (u64, u64)) {
        let place = self.place(pair);
        if let Some(count) = self.pairs.get_mut(&place) {
            *count = count.saturating_sub(1);
        }
    }
}
