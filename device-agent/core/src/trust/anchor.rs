//! What a device was set up to trust, and the document that it has come to from there.

use std::sync::Arc;

use modelfleet_protocol::envelope::KeyId;
use modelfleet_protocol::trust::{Roots, TrustDocument};
use serde::{Deserialize, Serialize};

/// The root keys of the device's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RootKeys {
    /// None: the device follows no trust document.
    #[default]
    None,
    /// These.
    Known(Roots),
    /// They cannot be read now: a document that was followed before counts on.
    Unreadable,
}

/// What a device was set up to trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustAnchor {
    /// The root keys.
    pub roots: RootKeys,
    /// The plan keys that count until there is a document.
    pub start_keys: Vec<KeyId>,
}

/// The trust document that a device follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptTrust {
    /// The root keys of the settings that it was reached from.
    pub anchor: Roots,
    /// The document, with every floor that one before it had.
    pub document: Arc<TrustDocument>,
}

impl KeptTrust {
    /// The document, if it was reached from the root keys that the device is set up with now. A device that was given other
    /// root keys begins anew with those.
    pub(super) fn under(self, roots: &RootKeys) -> Option<KeptTrust> {
        let counts = match roots {
            RootKeys::None => false,
            RootKeys::Known(roots) => roots.are_same(&self.anchor),
            RootKeys::Unreadable => true,
        };
        counts.then_some(self)
    }

    /// Takes over a document that comes after the one that is held. Floors only rise. Returns whether it does come after.
    pub(super) fn replace(
        held: &mut Option<KeptTrust>,
        roots: &RootKeys,
        document: &Arc<TrustDocument>,
    ) -> bool {
        let anchor = match (roots, &*held) {
            (RootKeys::Known(roots), _) => roots.clone(),
            (RootKeys::Unreadable, Some(held)) => held.anchor.clone(),
            (RootKeys::None, _) | (RootKeys::Unreadable, None) => return false,
        };
        let mut document = Arc::clone(document);
        if let Some(held) = held {
            if document.version <= held.document.version {
                return false;
            }
            let mut floors = document.floors.clone();
            floors.raise(&held.document.floors);
            if floors != document.floors {
                Arc::make_mut(&mut document).floors = floors;
            }
        }
        *held = Some(KeptTrust { anchor, document });
        true
    }
}
