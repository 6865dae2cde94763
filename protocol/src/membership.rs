//! Membership is a function, not a list: controller and device evaluate the same code.
//!
//! A device's *rank* is a salted hash of its id. It is in when its rank lies below the bound of its stratum, or
//! when the plan lists it: by its id, or by its rank. Bounds and lists only grow within a rollout, so early devices stay in.

mod listed_ranks;

pub use listed_ranks::{LISTED_MAX, ListedRanks};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::ids::DeviceId;
use crate::selector::{Labels, Selector};

/// Most clauses of a membership: one for each stage at most.
pub const CLAUSES_MAX: usize = 8;
/// Most strata of a clause; devices of further strata fall under `other_below`.
pub const STRATA_MAX: usize = 64;
/// Most devices that a clause names one by one.
pub const NAMED_MAX: usize = 64;
/// Most devices that a user sets aside in one rollout.
pub const SET_ASIDE_MAX: usize = 64;
/// Most devices that are excluded one by one: those that failed, and those that a user has set aside.
pub const EXCLUDED_MAX: usize = NAMED_MAX + SET_ASIDE_MAX;
/// Most labels that a clause spreads over.
pub const SPREAD_MAX: usize = 4;

/// A device's place in the draw: uniform over 0 to `u64::MAX - 1`.
pub type Rank = u64;

/// The rank of `device` in the draw named by `salt`.
#[must_use]
pub fn rank(salt: &str, device: &DeviceId) -> Rank {
    let mut hash = Sha256::new();
    hash.update(salt.as_bytes());
    hash.update([0]);
    hash.update(device.as_str().as_bytes());
    let first: [u8; 8] = hash.finalize()[..8].try_into().expect("a SHA-256 has 32 bytes");
    u64::from_be_bytes(first).min(u64::MAX - 1)
}

/// Ranks below it are in: [`Bound::NONE`] lets no device in, [`Bound::ALL`] all devices. Sixteen hexadecimal digits
/// on the wire, because JSON numbers stop being exact at 2^53.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bound(pub u64);

impl Bound {
    /// No device.
    pub const NONE: Bound = Bound(0);
    /// All devices.
    pub const ALL: Bound = Bound(u64::MAX);
}

impl TryFrom<String> for Bound {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if text.len() != 16 {
            return Err(format!("a bound has 16 hexadecimal digits, not {}", text.len()));
        }
        u64::from_str_radix(&text, 16).map(Bound).map_err(|e| e.to_string())
    }
}

impl From<Bound> for String {
    fn from(bound: Bound) -> String {
        format!("{:016x}", bound.0)
    }
}

/// Who gets the candidate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Membership {
    /// Names the draw; constant within a rollout, another in the next one.
    pub salt: String,
    /// A device is in when any clause lets it in.
    pub clauses: Vec<Clause>,
    /// Devices that are out whatever the clauses say: quarantined, or set aside by a user; at most [`EXCLUDED_MAX`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<DeviceId>,
}

/// One draw: from the devices that match `selector`, in strata of equal values of the `spread_by` labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Clause {
    /// Which devices the draw is from.
    pub selector: Selector,
    /// The labels whose values make the strata; empty: one stratum.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spread_by: Vec<String>,
    /// Bounds of the known strata, ordered by key.
    pub strata: Vec<Stratum>,
    /// The bound of every other stratum, such as one that appears later.
    pub other_below: Bound,
    /// Devices that are in by name: small canaries are drawn once and named, so that their number is exact
    /// even when devices join later.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceId>,
    /// Devices that are in by rank: those of a count that is too large to name them.
    #[serde(skip_serializing_if = "ListedRanks::is_empty")]
    pub ranks: ListedRanks,
}

/// The bound of one stratum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stratum {
    /// The values of the `spread_by` labels, in their order; an absent label is the empty text.
    pub key: Vec<String>,
    /// Ranks below it are in.
    pub below: Bound,
}

/// The stratum that a device with these labels belongs to.
#[must_use]
pub fn stratum_key(spread_by: &[String], labels: &Labels) -> Vec<String> {
    spread_by.iter().map(|label| labels.get(label).cloned().unwrap_or_default()).collect()
}

impl Membership {
    /// Whether the device gets the candidate.
    #[must_use]
    pub fn includes(&self, device: &DeviceId, labels: &Labels) -> bool {
        if self.exclude.contains(device) {
            return false;
        }
        let rank = rank(&self.salt, device);
        self.clauses.iter().any(|clause| clause.includes(device, labels, rank))
    }

    /// Whether this membership lets in everyone that `earlier` did (same draw, exclusions apart).
    #[must_use]
    pub fn grew_from(&self, earlier: &Membership) -> bool {
        let covers = |old: &Clause| self.clauses.iter().any(|new| new.grew_from(old));
        self.salt == earlier.salt && earlier.clauses.iter().all(covers)
    }
}

impl Clause {
    /// Whether the device, whose rank is given, is in by this clause.
    #[must_use]
    pub fn includes(&self, device: &DeviceId, labels: &Labels, rank: Rank) -> bool {
        if !self.selector.matches(labels) {
            return false;
        }
        self.lists(device, rank) || rank < self.bound_for(&stratum_key(&self.spread_by, labels)).0
    }

    /// Whether the device is in by its id or by its rank, apart from the bounds.
    #[must_use]
    pub fn lists(&self, device: &DeviceId, rank: Rank) -> bool {
        self.devices.contains(device) || self.ranks.contains(rank)
    }

    /// The bound of the stratum with this key.
    #[must_use]
    pub fn bound_for(&self, key: &[String]) -> Bound {
        let known = self.strata.iter().find(|s| s.key == key);
        known.map_or(self.other_below, |s| s.below)
    }

    /// Whether both draw from the same devices in the same strata.
    #[must_use]
    pub fn same_draw(&self, other: &Clause) -> bool {
        self.selector == other.selector && self.spread_by == other.spread_by
    }

    fn grew_from(&self, old: &Clause) -> bool {
        self.same_draw(old)
            && self.other_below >= old.other_below
            && old.strata.iter().all(|s| self.bound_for(&s.key) >= s.below)
            && self.strata.iter().all(|s| s.below >= old.bound_for(&s.key))
            && old.devices.iter().all(|d| self.devices.contains(d))
            && self.ranks.covers(&old.ranks)
    }
}
