//! Which keys count on this device: those of the settings until there is a trust document, then those of the document.

mod anchor;
mod keyring;
mod rules;

pub use anchor::{KeptTrust, RootKeys, TrustAnchor};
pub use keyring::Keyring;
pub(crate) use rules::TrustRules;
