//! The trust document that counts, and what the broker holds of it.
//!
//! It is the newest that the mounted file or the broker has brought: a restart with an older file goes back to nothing that
//! was given up, as long as the broker remembers. Forward only, as devices follow it.

use std::sync::Arc;

use ed25519_dalek::VerifyingKey;
use modelfleet_protocol::ids::{Digest, Namespace};
use modelfleet_protocol::time::Time;
use modelfleet_protocol::trust::{PublicKey, Roots, TrustDocument, TrustError, follow};

/// A document that the broker did not send back for so long is sent again, milliseconds. The time doubles with every try.
const ECHO_MAX_MS: u64 = 5_000;
/// Most doublings: then it is tried every five minutes.
const DOUBLINGS_MAX: u32 = 6;

/// The trust document that counts for the fleets that it names.
#[derive(Clone, Debug)]
pub struct Trust {
    anchor: Roots,
    document: Arc<TrustDocument>,
    file: Arc<[u8]>,
}

/// What became of a trust file.
#[derive(Debug)]
pub enum Followed {
    /// It is newer, and counts from now on.
    Newer,
    /// It is the one that counts.
    Same,
    /// It is older than the one that counts.
    Older {
        /// Its version.
        found: u64,
    },
    /// It is for other fleets than the one that counts: it changes nothing here.
    Elsewhere,
    /// It is none that can be followed from the root keys, and why.
    Refused(TrustError),
}

impl Trust {
    /// Starts with the root keys and a file.
    ///
    /// # Errors
    /// When the file cannot be followed from the root keys.
    pub fn start(anchor: Roots, file: &[u8]) -> Result<Trust, TrustError> {
        anchor.check()?;
        let document = follow(&anchor, None, None, file)?;
        // Without a document before there is always a new one.
        let document = document.ok_or(TrustError::Lines(0))?;
        Ok(Trust { anchor, document: Arc::new(document), file: file.into() })
    }

    /// The document that counts for a fleet; `None`: it is for another one.
    #[must_use]
    pub fn of(&self, fleet: &Namespace) -> Option<&Arc<TrustDocument>> {
        Some(&self.document).filter(|document| document.namespace.as_ref().is_none_or(|named| named == fleet))
    }

    /// The document, whichever fleets it is for.
    #[must_use]
    pub fn document(&self) -> &Arc<TrustDocument> {
        &self.document
    }

    /// The file that leads to it, as devices get it.
    #[must_use]
    pub fn file(&self) -> &Arc<[u8]> {
        &self.file
    }

    /// Takes a file, from the disk or from the broker.
    pub fn take(&mut self, file: &[u8]) -> Followed {
        if *file == *self.file {
            return Followed::Same;
        }
        match follow(&self.anchor, Some(&self.document), None, file) {
            Ok(Some(newer)) if newer.namespace == self.document.namespace => {
                self.document = Arc::new(newer);
                self.file = file.into();
                Followed::Newer
            }
            Ok(Some(_)) => Followed::Elsewhere,
            Ok(None) => Followed::Same,
            Err(TrustError::Older { found, .. }) => Followed::Older { found },
            Err(error) => Followed::Refused(error),
        }
    }
}

/// The keys that a document names for plans, to verify with.
#[must_use]
pub fn plan_keys(document: &TrustDocument) -> Vec<VerifyingKey> {
    document.plan_keys.iter().map(PublicKey::verifying).collect()
}

/// What one fleet's topic for the trust document holds, as far as we know.
#[derive(Clone, Debug, Default)]
pub struct TrustTopic {
    held: Option<Digest>,
    sent: Option<(Digest, Time)>,
    tries: u32,
}

/// What is to be done so that the topic holds what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicDue {
    /// Nothing.
    Nothing,
    /// It was sent and has to come back by then.
    Echo(Time),
    /// It is to be sent.
    Send,
}

impl TrustTopic {
    /// The connection is new, and the broker will say what it holds.
    pub fn reconnect(&mut self) {
        *self = TrustTopic::default();
    }

    /// What the broker holds. Returns whether it has changed.
    pub fn heard(&mut self, payload: &[u8]) -> bool {
        let before = self.held;
        self.held = (!payload.is_empty()).then(|| Digest::of(payload));
        if self.held.is_some() && self.held == self.sent.map(|(digest, _)| digest) {
            (self.sent, self.tries) = (None, 0);
        }
        self.held != before
    }

    /// What is to be done so that the topic holds `wanted`.
    #[must_use]
    pub fn due(&self, wanted: Digest, now: Time) -> TopicDue {
        match self.sent {
            _ if self.held == Some(wanted) => TopicDue::Nothing,
            Some((sent, at)) if sent == wanted => {
                let by = at.after_ms(ECHO_MAX_MS << self.tries.min(DOUBLINGS_MAX));
                if now < by { TopicDue::Echo(by) } else { TopicDue::Send }
            }
            _ => TopicDue::Send,
        }
    }

    /// Notes that it was sent.
    pub fn note_sent(&mut self, digest: Digest, at: Time) {
        let again = self.sent.is_some_and(|(sent, _)| sent == digest);
        self.tries = if again { self.tries.saturating_add(1) } else { 0 };
        self.sent = Some((digest, at));
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use modelfleet_protocol::envelope::seal;
    use modelfleet_protocol::floor::SecurityFloors;
    use modelfleet_protocol::trust::TRUST_TYPE;

    use super::*;

    fn root(number: u8) -> SigningKey {
        SigningKey::from_bytes(&[number; 32])
    }

    fn anchor() -> Roots {
        Roots { keys: vec![root(1).verifying_key().into()], threshold: 1 }
    }

    fn file(version: u64, namespace: Option<&str>, by: u8) -> Vec<u8> {
        let document = TrustDocument {
            version,
            namespace: namespace.map(|name| name.parse().unwrap()),
            issued: Time(1),
            expires: Time(1_000),
            roots: anchor(),
            plan_keys: vec![root(50).verifying_key().into()],
            artifact_keys: vec![],
            enrolment_keys: vec![],
            revoked: vec![],
            floors: SecurityFloors::default(),
        };
        seal(&root(by), TRUST_TYPE, &serde_json::to_vec(&document).unwrap())
    }

    #[test]
    fn the_newest_valid_document_counts_wherever_it_comes_from() {
        let mut trust = Trust::start(anchor(), &file(2, None, 1)).unwrap();
        assert!(matches!(trust.take(&file(2, None, 1)), Followed::Same));
        assert!(matches!(trust.take(&file(1, None, 1)), Followed::Older { found: 1 }));
        for forged in [file(9, None, 2), b"garbage".to_vec(), vec![]] {
            assert!(matches!(trust.take(&forged), Followed::Refused(_)));
        }
        assert!(matches!(trust.take(&file(3, Some("mill"), 1)), Followed::Elsewhere));
        assert_eq!(trust.document().version, 2);
        assert!(matches!(trust.take(&file(4, None, 1)), Followed::Newer));
        assert_eq!((trust.document().version, &**trust.file()), (4, &file(4, None, 1)[..]));
        assert!(Trust::start(anchor(), &file(1, None, 2)).is_err());
    }

    #[test]
    fn a_document_counts_for_the_fleet_that_it_names() {
        let of = |namespace| Trust::start(anchor(), &file(1, namespace, 1)).unwrap();
        let (plant, mill) = ("plant".parse().unwrap(), "mill".parse().unwrap());
        assert!(of(None).of(&plant).is_some() && of(Some("plant")).of(&plant).is_some());
        assert!(of(Some("plant")).of(&mill).is_none());
    }

    #[test]
    fn a_topic_is_written_until_it_holds_what_it_should_and_ever_more_seldom() {
        let (wanted, mut topic) = (Digest::of(b"new"), TrustTopic::default());
        assert_eq!(topic.due(wanted, Time(0)), TopicDue::Send);
        topic.note_sent(wanted, Time(0));
        assert_eq!(topic.due(wanted, Time(1)), TopicDue::Echo(Time(5_000)));
        assert_eq!(topic.due(wanted, Time(5_000)), TopicDue::Send);
        topic.note_sent(wanted, Time(5_000));
        assert_eq!(topic.due(wanted, Time(6_000)), TopicDue::Echo(Time(15_000)));
        assert!(topic.heard(b"new") && !topic.heard(b"new"));
        assert_eq!(topic.due(wanted, Time(6_001)), TopicDue::Nothing);
        for other in [&b"forged"[..], b""] {
            assert!(topic.heard(other));
            assert_eq!(topic.due(wanted, Time(7_000)), TopicDue::Send, "{other:?}");
        }
        topic.heard(b"new");
        topic.reconnect();
        assert_eq!(topic.due(wanted, Time(8_000)), TopicDue::Send, "a broker without memory");
    }
}
