//! What the trust document allows, as the agent's decisions ask for it.

use std::sync::Arc;

use modelfleet_protocol::envelope::KeyId;
use modelfleet_protocol::floor::BelowFloor;
use modelfleet_protocol::model::ModelBuild;
use modelfleet_protocol::time::Time;
use modelfleet_protocol::trust::TrustDocument;

use super::{KeptTrust, RootKeys, TrustAnchor};

/// What the trust document allows. Without one, whatever the shell has verified counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct TrustRules {
    anchor: TrustAnchor,
    held: Option<KeptTrust>,
    /// Version of the document of earlier root keys that was dropped at the start.
    dropped: Option<u64>,
}

impl TrustRules {
    /// The rules of a device that was set up with `anchor` and has kept a document, or none.
    pub fn restored(anchor: TrustAnchor, kept: Option<KeptTrust>) -> TrustRules {
        let version = kept.as_ref().map(|kept| kept.document.version);
        let held = kept.and_then(|kept| kept.under(&anchor.roots));
        let dropped = version.filter(|_| held.is_none());
        TrustRules { anchor, held, dropped }
    }

    /// Takes over a document that was verified. Returns whether it comes after the one that is held.
    pub fn follow(&mut self, document: &Arc<TrustDocument>) -> bool {
        KeptTrust::replace(&mut self.held, &self.anchor.roots, document)
    }

    /// What must survive a restart.
    pub fn kept(&self) -> Option<&KeptTrust> {
        self.held.as_ref()
    }

    pub fn document(&self) -> Option<&Arc<TrustDocument>> {
        self.held.as_ref().map(|held| &held.document)
    }

    /// What the device tells of it: as [`modelfleet_protocol::state::DeviceState::trust_version`].
    pub fn version(&self) -> Option<u64> {
        let version = self.document().map(|document| document.version);
        version.or((self.anchor.roots != RootKeys::None).then_some(0))
    }

    /// The document of earlier root keys that was dropped at the start; told once.
    pub fn take_dropped(&mut self) -> Option<u64> {
        self.dropped.take()
    }

    /// The plan keys of the settings.
    pub fn start_keys(&self) -> &[KeyId] {
        &self.anchor.start_keys
    }

    /// Whether what this key signs is followed.
    pub fn counts(&self, key: KeyId) -> bool {
        self.document().is_none_or(|document| document.has_plan_key(key))
    }

    /// Whether what this key has signed binds the messages of other keys as well.
    pub fn binds(&self, key: KeyId) -> bool {
        match self.document() {
            Some(document) => document.has_plan_key(key),
            None => self.anchor.start_keys.contains(&key),
        }
    }

    /// Whether the key was stolen or lost.
    pub fn has_revoked(&self, key: KeyId) -> bool {
        self.document().is_some_and(|document| document.has_revoked(key))
    }

    /// From when on nothing new is started on the word of a message that expires then.
    pub fn limits(&self, expires: Time) -> Time {
        self.document().map_or(expires, |document| expires.min(document.expires))
    }

    /// Whether the document has expired.
    pub fn has_expired(&self, now: Time) -> bool {
        self.document().is_some_and(|document| document.has_expired(now))
    }

    /// Passes if the build may run.
    ///
    /// # Errors
    /// When its version lies below the floor of its model.
    pub fn allows(&self, build: &ModelBuild) -> Result<(), BelowFloor> {
        self.document().map_or(Ok(()), |document| document.floors.check(build))
    }
}
