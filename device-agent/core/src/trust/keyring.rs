//! The keys that verify what arrives, and the steps from one trust document to the next.

use std::sync::Arc;

use ed25519_dalek::VerifyingKey;
use modelfleet_protocol::ids::Namespace;
use modelfleet_protocol::trust::{self, TrustDocument, TrustError};

use super::{KeptTrust, RootKeys};

/// The keys that verify what arrives. A shell opens messages with it before the agent hears of them.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    roots: RootKeys,
    start_keys: Vec<VerifyingKey>,
    held: Option<KeptTrust>,
    plan_keys: Vec<VerifyingKey>,
}

impl Keyring {
    /// The keys of the settings, and no document yet.
    #[must_use]
    pub fn new(roots: RootKeys, start_keys: Vec<VerifyingKey>) -> Keyring {
        Keyring { roots, plan_keys: start_keys.clone(), start_keys, held: None }
    }

    /// Whether the device follows trust documents at all.
    #[must_use]
    pub fn has_roots(&self) -> bool {
        self.roots != RootKeys::None
    }

    /// The keys that plans and overrides have to be signed by.
    #[must_use]
    pub fn plan_keys(&self) -> &[VerifyingKey] {
        &self.plan_keys
    }

    /// The document that is followed.
    #[must_use]
    pub fn document(&self) -> Option<&Arc<TrustDocument>> {
        self.held.as_ref().map(|held| &held.document)
    }

    /// Goes on from a document that a record holds, unless it was reached from other root keys or comes before the one
    /// that is held. Returns whether other keys count now.
    pub fn go_on_from(&mut self, kept: Option<&KeptTrust>) -> bool {
        let Some(kept) = kept.cloned().and_then(|kept| kept.under(&self.roots)) else { return false };
        let moved = match &self.held {
            None => {
                self.held = Some(kept);
                true
            }
            Some(_) => KeptTrust::replace(&mut self.held, &self.roots, &kept.document),
        };
        self.choose_plan_keys();
        moved
    }

    /// Goes on to the newest document of a trust file that its root keys have signed. Nothing else of the file is looked at.
    /// Returns whether other keys count now.
    ///
    /// # Errors
    /// Why its last document is not followed, when none is.
    pub fn follow(&mut self, namespace: &Namespace, file: &[u8]) -> Result<bool, TrustError> {
        let anchor = match (&self.roots, &self.held) {
            (RootKeys::Known(roots), _) => roots,
            (RootKeys::Unreadable, Some(held)) => &held.anchor,
            (RootKeys::None, _) | (RootKeys::Unreadable, None) => return Ok(false),
        };
        let held = self.document().map(Arc::as_ref);
        let Some(document) = trust::follow(anchor, held, Some(namespace), file)? else { return Ok(false) };
        let moved = KeptTrust::replace(&mut self.held, &self.roots, &Arc::new(document));
        self.choose_plan_keys();
        Ok(moved)
    }

    fn choose_plan_keys(&mut self) {
        self.plan_keys = match self.document() {
            Some(document) => document.plan_keys.iter().map(|key| key.verifying()).collect(),
            None => self.start_keys.clone(),
        };
    }
}
