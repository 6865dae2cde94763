//! The next trust document on its way from person to person: an envelope that gathers signatures until enough root keys have
//! signed. Pure.

use std::collections::BTreeSet;

use ed25519_dalek::{SigningKey, VerifyingKey};
use modelfleet_protocol::envelope::{
    EnvelopeError, KeyId, ManySigned, add_signature, gather_signatures, payload_unverified, unsigned,
};
use modelfleet_protocol::trust::{PublicKey, Roots, TRUST_BYTES_MAX, TRUST_TYPE, TrustDocument, TrustError};

/// A document with the signatures that it has so far. Its content is not to be believed before enough have signed.
#[derive(Debug)]
pub struct Draft {
    bytes: Vec<u8>,
    /// What is signed.
    pub document: TrustDocument,
}

/// Why a draft cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// Not an envelope.
    #[error("it is no trust document in an envelope")]
    Envelope(#[from] EnvelopeError),
    /// Not the JSON of a document.
    #[error("its content is no trust document")]
    Json(#[source] serde_json::Error),
    /// Its content breaks a bound.
    #[error(transparent)]
    Content(#[from] TrustError),
    /// Devices would refuse it.
    #[error("it has {0} bytes; devices take at most {TRUST_BYTES_MAX}")]
    Size(usize),
    /// Copies of different documents.
    #[error("the copies are of different documents; only signatures of the same one can be put together")]
    Differ,
    /// A key that has no say.
    #[error("key {0} is none of the root keys that sign this document ({1})")]
    NoRoot(KeyId, String),
}

/// Which root keys have signed, and which have to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The keys that the document before names.
    pub in_force: Signed,
    /// The keys that this document brings, where they are others.
    pub new: Option<Signed>,
}

/// A set of root keys, and which of them have signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Which have.
    pub by: BTreeSet<KeyId>,
    /// Which have not.
    pub missing: Vec<KeyId>,
    /// How many have to.
    pub needed: usize,
}

impl Signed {
    fn of(roots: &Roots, envelope: &ManySigned) -> Signed {
        let keys: Vec<VerifyingKey> = roots.keys.iter().map(PublicKey::verifying).collect();
        let by = envelope.signers(&keys);
        let missing = roots.keys.iter().map(PublicKey::id).filter(|id| !by.contains(id)).collect();
        Signed { by, missing, needed: roots.threshold }
    }

    /// How many more have to sign.
    #[must_use]
    pub fn lacks(&self) -> usize {
        self.needed.saturating_sub(self.by.len())
    }
}

impl Standing {
    /// Whether devices that hold the document before take this one.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.in_force.lacks() == 0 && self.new.as_ref().is_none_or(|new| new.lacks() == 0)
    }
}

impl Draft {
    /// A document without a signature.
    ///
    /// # Errors
    /// When devices would refuse it for its size.
    pub fn unsigned(document: TrustDocument) -> Result<Draft, DraftError> {
        let payload = serde_json::to_vec(&document).map_err(DraftError::Json)?;
        Draft { bytes: unsigned(TRUST_TYPE, &payload), document }.bounded()
    }

    /// Reads an envelope.
    ///
    /// # Errors
    /// When it holds no document that can be.
    pub fn read(bytes: &[u8]) -> Result<Draft, DraftError> {
        let bytes = bytes.trim_ascii();
        if bytes.len() > TRUST_BYTES_MAX {
            return Err(DraftError::Size(bytes.len()));
        }
        let payload = payload_unverified(TRUST_TYPE, bytes)?;
        let document: TrustDocument = serde_json::from_slice(&payload).map_err(DraftError::Json)?;
        document.check()?;
        Ok(Draft { bytes: bytes.to_vec(), document })
    }

    fn bounded(self) -> Result<Draft, DraftError> {
        if self.bytes.len() > TRUST_BYTES_MAX { Err(DraftError::Size(self.bytes.len())) } else { Ok(self) }
    }

    /// The envelope.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// With the signature of one more root key.
    ///
    /// # Errors
    /// When the key is no root key of the document before or of this one.
    pub fn signed(self, key: &SigningKey, in_force: &Roots) -> Result<Draft, DraftError> {
        let public = PublicKey::from(key.verifying_key());
        let mut roots = in_force.keys.iter().chain(&self.document.roots.keys);
        if !roots.any(|root| *root == public) {
            let ids: BTreeSet<String> = in_force
                .keys
                .iter()
                .chain(&self.document.roots.keys)
                .map(|key| key.id().to_string())
                .collect();
            return Err(DraftError::NoRoot(public.id(), ids.into_iter().collect::<Vec<_>>().join(", ")));
        }
        let bytes = add_signature(key, TRUST_TYPE, &self.bytes)?;
        Draft { bytes, document: self.document }.bounded()
    }

    /// With the signatures that other copies of it have.
    ///
    /// # Errors
    /// When they are no copies of it.
    pub fn gathered(self, copies: &[Draft], in_force: &Roots) -> Result<Draft, DraftError> {
        let roots = in_force.keys.iter().chain(&self.document.roots.keys);
        let keys: Vec<VerifyingKey> = roots.map(PublicKey::verifying).collect();
        let all: Vec<&[u8]> = std::iter::once(&self).chain(copies).map(Draft::bytes).collect();
        let bytes = gather_signatures(&keys, TRUST_TYPE, &all)?.ok_or(DraftError::Differ)?;
        Draft { bytes, document: self.document }.bounded()
    }

    /// Which root keys have signed, and which have to. `in_force`: those of the document before, or of the devices' root file.
    ///
    /// # Errors
    /// When the envelope cannot be read.
    pub fn standing(&self, in_force: &Roots) -> Result<Standing, DraftError> {
        let envelope = ManySigned::read(TRUST_TYPE, &self.bytes)?;
        let roots = &self.document.roots;
        let new = (!roots.are_same(in_force)).then(|| Signed::of(roots, &envelope));
        Ok(Standing { in_force: Signed::of(in_force, &envelope), new })
    }
}

#[cfg(test)]
mod tests {
    use super::super::change::tests::{document, key, public};
    use super::*;

    #[test]
    fn a_draft_is_complete_once_enough_old_and_new_root_keys_have_signed() {
        let before = document().roots;
        let mut next = document();
        next.roots = Roots { keys: [1, 4].map(public).to_vec(), threshold: 2 };
        let draft = Draft::unsigned(next).unwrap();
        assert_eq!(draft.standing(&before).unwrap().in_force.lacks(), 2);
        let draft = draft.signed(&key(1), &before).unwrap().signed(&key(4), &before).unwrap();
        let standing = draft.standing(&before).unwrap();
        assert_eq!((standing.in_force.lacks(), standing.new.as_ref().unwrap().lacks()), (1, 0));
        assert!(!standing.is_complete());
        let draft = draft.signed(&key(2), &before).unwrap();
        assert!(draft.standing(&before).unwrap().is_complete());
        assert!(matches!(draft.signed(&key(10), &before), Err(DraftError::NoRoot(..))));
    }

    #[test]
    fn signatures_of_copies_are_put_together_and_bad_ones_left_out() {
        let before = document().roots;
        let of = |number: u8| Draft::unsigned(document()).unwrap().signed(&key(number), &before).unwrap();
        // A signature under another key's name stands in no good one's way.
        let text = String::from_utf8(of(3).bytes).unwrap();
        let forged = text.replace(&public(3).id().to_string(), &public(2).id().to_string());
        let forged = Draft::read(forged.as_bytes()).unwrap();
        let all = forged.gathered(&[of(1), of(2), of(1)], &before).unwrap();
        let standing = all.standing(&before).unwrap();
        assert_eq!(standing.in_force.by, [1, 2].map(|n| public(n).id()).into());
        let mut other = document();
        other.version = 2;
        let other = Draft::unsigned(other).unwrap();
        assert!(matches!(of(1).gathered(&[other], &before), Err(DraftError::Differ)));
    }
}
