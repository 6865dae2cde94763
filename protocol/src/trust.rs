//! The trust document: which keys count in a fleet, and for what. Root keys, which stay offline, sign it, several of them
//! together; devices and controller follow it forward only.
//!
//! What a reader holds decides which root keys the next document needs. A document that changes the root keys needs the
//! signatures of enough old and of enough new ones. A document that has expired is still the one that counts: what runs goes
//! on, and nothing new is started ([`TrustDocument::limits`]).

mod follow;
mod keys;

use serde::{Deserialize, Serialize};

pub use follow::{FILE_BYTES_MAX, LINES_MAX, TrustError, append, follow, lines};
pub use keys::{ArtifactKey, PublicKey, PublicKeyError};

use crate::envelope::{EnvelopeError, KeyId, ManySigned};
use crate::floor::SecurityFloors;
use crate::ids::Namespace;
use crate::plan::Order;
use crate::time::Time;

/// Payload type of a trust document.
pub const TRUST_TYPE: &str = "application/vnd.modelfleet.trust.v1+json";
/// Most bytes of a document in its envelope; a larger one is refused unread.
pub const TRUST_BYTES_MAX: usize = 16 * 1024;
/// Most root keys.
pub const ROOT_KEYS_MAX: usize = 8;
/// Most keys of each other kind.
pub const KEYS_MAX: usize = 16;
/// Most keys that are named as revoked.
pub const REVOKED_MAX: usize = 64;
/// The highest version, so that JSON readers that know only floats read it exactly.
pub const VERSION_MAX: u64 = 1 << 53;

/// Root keys, and how many of them have to sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Roots {
    /// The keys, 1 to [`ROOT_KEYS_MAX`].
    pub keys: Vec<PublicKey>,
    /// How many of them have to sign, at least 1.
    pub threshold: usize,
}

/// Which keys count in a fleet, and for what. Fields that this reader does not know are ignored, so that agents that are in
/// the field for years can follow documents of later versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrustDocument {
    /// Its number; each document has a higher one than the one before.
    pub version: u64,
    /// The fleet; absent: every fleet that has these root keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// When it was made.
    pub issued: Time,
    /// From then on nothing new is started on its word.
    pub expires: Time,
    /// The keys that sign the next document.
    pub roots: Roots,
    /// The keys that sign plans and overrides, at most [`KEYS_MAX`]. Without any, devices keep what they run.
    #[serde(default)]
    pub plan_keys: Vec<PublicKey>,
    /// The keys that sign models (minisign), at most [`KEYS_MAX`].
    #[serde(default)]
    pub artifact_keys: Vec<ArtifactKey>,
    /// The keys that sign device cards, at most [`KEYS_MAX`].
    #[serde(default)]
    pub enrolment_keys: Vec<PublicKey>,
    /// Keys that were stolen or lost, at most [`REVOKED_MAX`]: nothing that they ever signed counts.
    #[serde(default)]
    pub revoked: Vec<KeyId>,
    /// Versions of models that no device may run any more.
    #[serde(default)]
    pub floors: SecurityFloors,
}

impl Roots {
    /// Says what is wrong with the keys or their threshold.
    ///
    /// # Errors
    /// Without a key, with too many or the same one twice, or with a threshold that they cannot reach.
    pub fn check(&self) -> Result<(), TrustError> {
        let bound = |ok: bool, what| if ok { Ok(()) } else { Err(TrustError::Content(what)) };
        bound(!self.keys.is_empty(), "it has no root key")?;
        bound(self.keys.len() <= ROOT_KEYS_MAX, "it has too many root keys")?;
        bound(are_distinct(&self.keys), "a root key is named twice")?;
        bound(self.threshold >= 1, "the threshold of root keys is 0")?;
        bound(self.threshold <= self.keys.len(), "it asks for more root keys than it names")
    }

    /// Whether these are the same keys with the same threshold, in whatever order.
    #[must_use]
    pub fn are_same(&self, other: &Roots) -> bool {
        self.threshold == other.threshold
            && self.keys.len() == other.keys.len()
            && self.keys.iter().all(|key| other.keys.contains(key))
    }

    /// The payload of an envelope that enough of these keys have signed.
    fn open<'a>(&self, envelope: &'a ManySigned) -> Result<&'a [u8], EnvelopeError> {
        envelope.payload(&keys::verifying(&self.keys), self.threshold)
    }
}

impl TrustDocument {
    /// Holds the bounds of a document.
    ///
    /// # Errors
    /// Names the first bound that is broken.
    pub fn check(&self) -> Result<(), TrustError> {
        let bound = |ok: bool, what| if ok { Ok(()) } else { Err(TrustError::Content(what)) };
        bound((1..=VERSION_MAX).contains(&self.version), "its version is not from 1 to 2^53")?;
        bound(self.issued < self.expires, "it expires before it was issued")?;
        self.roots.check()?;
        bound(self.plan_keys.len() <= KEYS_MAX, "it has too many plan keys")?;
        bound(are_distinct(&self.plan_keys), "a plan key is named twice")?;
        bound(self.artifact_keys.len() <= KEYS_MAX, "it has too many artifact keys")?;
        bound(are_distinct(&self.artifact_keys), "an artifact key is named twice")?;
        bound(self.enrolment_keys.len() <= KEYS_MAX, "it has too many enrolment keys")?;
        bound(are_distinct(&self.enrolment_keys), "an enrolment key is named twice")?;
        bound(self.revoked.len() <= REVOKED_MAX, "it has too many revoked keys")?;
        let online = || self.plan_keys.iter().chain(&self.enrolment_keys);
        bound(online().all(|key| !self.roots.keys.contains(key)), "a root key has another role, too")?;
        let mut named = self.roots.keys.iter().chain(online());
        bound(named.all(|key| !self.revoked.contains(&key.id())), "a key that it names is revoked")?;
        bound(self.floors.is_bounded(), "it has floors for too many models")
    }

    /// Reads a document whose signatures were verified.
    fn from_json(bytes: &[u8]) -> Result<TrustDocument, TrustError> {
        let document: TrustDocument = serde_json::from_slice(bytes).map_err(TrustError::Json)?;
        document.check()?;
        Ok(document)
    }

    /// Whether a plan or an override counts that this key signed.
    #[must_use]
    pub fn has_plan_key(&self, id: KeyId) -> bool {
        self.plan_keys.iter().any(|key| key.id() == id)
    }

    /// Whether the key was stolen or lost.
    #[must_use]
    pub fn has_revoked(&self, id: KeyId) -> bool {
        self.revoked.contains(&id)
    }

    /// The lowest version of a model that may run, if there is one.
    #[must_use]
    pub fn floor_of(&self, model: &crate::ids::ModelName) -> Option<&semver::Version> {
        self.floors.of_model(model)
    }

    /// Whether the document has expired.
    #[must_use]
    pub fn has_expired(&self, now: Time) -> bool {
        now >= self.expires
    }

    /// The order of a message while this document counts: it expires with the document, if not before. A device starts nothing
    /// new on the word of an expired message, and goes back to a build that it has as before.
    #[must_use]
    pub fn limits(&self, order: Order) -> Order {
        Order { expires: order.expires.min(self.expires), ..order }
    }
}

fn are_distinct<T: PartialEq>(keys: &[T]) -> bool {
    keys.iter().enumerate().all(|(i, key)| !keys[..i].contains(key))
}
