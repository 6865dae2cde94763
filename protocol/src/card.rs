//! Device cards: what an enrolment key says of a device. A device can say of itself what it likes; a card names it, its fleet
//! and its labels, and ends. The device carries it in its state, and the controller believes the card and not the device.
//!
//! Controller and device go by the same labels: a device with a card has those of the card and no others.

use ed25519_dalek::{SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::envelope::{self, EnvelopeError};
use crate::ids::{DeviceId, Namespace};
use crate::label::{self, LabelError};
use crate::selector::{LABELS_MAX, Labels};
use crate::time::Time;

/// Payload type of a card.
pub const CARD_TYPE: &str = "application/vnd.modelfleet.card.v1+json";
/// Most bytes of a signed card; a larger one is refused unread. A quarter of a state.
pub const CARD_BYTES_MAX: usize = 8 * 1024;

/// What an enrolment key says of one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Card {
    /// The fleet.
    pub namespace: Namespace,
    /// The device.
    pub device: DeviceId,
    /// Its labels, at most [`LABELS_MAX`].
    #[serde(default)]
    pub labels: Labels,
    /// When it was made.
    pub issued: Time,
    /// From when on it does not count.
    pub expires: Time,
}

/// Why a card does not count.
#[derive(Debug, thiserror::Error)]
pub enum CardError {
    /// More bytes than a card may have.
    #[error("the device card has {0} bytes; at most {CARD_BYTES_MAX} are allowed")]
    Size(usize),
    /// Not signed by a trusted key, or no card.
    #[error("the device card cannot be opened")]
    Envelope(#[from] EnvelopeError),
    /// Signed, and not the JSON of a card.
    #[error("the device card cannot be read")]
    Json(#[source] serde_json::Error),
    /// Beyond a bound.
    #[error("the device card has {0} labels; at most {LABELS_MAX} are allowed")]
    Labels(usize),
    /// A label that no selector can hold.
    #[error("the device card")]
    Label(#[from] LabelError),
    /// It is another device's.
    #[error("the device card is of device {found} in {found_namespace}, not of {device} in {namespace}")]
    Other {
        /// The device on the card.
        found: DeviceId,
        /// Its fleet.
        found_namespace: Namespace,
        /// The device that shows it.
        device: DeviceId,
        /// The fleet that it is in.
        namespace: Namespace,
    },
    /// Its time is over.
    #[error("the device card has expired; make a new one with kubectl modelfleet enrol")]
    Expired,
}

impl Card {
    /// Signs the card: the text that the device carries.
    ///
    /// # Errors
    /// When it would be refused: more labels or bytes than a card may have.
    pub fn seal(&self, key: &SigningKey) -> Result<String, CardError> {
        self.check()?;
        let payload = serde_json::to_vec(self).map_err(CardError::Json)?;
        let sealed = String::from_utf8_lossy(&envelope::seal(key, CARD_TYPE, &payload)).into_owned();
        if sealed.len() > CARD_BYTES_MAX { Err(CardError::Size(sealed.len())) } else { Ok(sealed) }
    }

    /// Reads a card that one of the keys has signed.
    ///
    /// # Errors
    /// When none did, or it is beyond a bound.
    pub fn open(trusted: &[VerifyingKey], text: &str) -> Result<Card, CardError> {
        bounded(text)?;
        Card::from_payload(&envelope::open(trusted, CARD_TYPE, text.as_bytes())?)
    }

    /// Reads a card without its signature: for a device that has no enrolment keys and shows its own.
    ///
    /// # Errors
    /// When it is no card, or beyond a bound.
    pub fn read_own(text: &str) -> Result<Card, CardError> {
        bounded(text)?;
        Card::from_payload(&envelope::payload_unverified(CARD_TYPE, text.as_bytes())?)
    }

    fn from_payload(payload: &[u8]) -> Result<Card, CardError> {
        let card: Card = serde_json::from_slice(payload).map_err(CardError::Json)?;
        card.check()?;
        Ok(card)
    }

    fn check(&self) -> Result<(), CardError> {
        if self.labels.len() > LABELS_MAX {
            return Err(CardError::Labels(self.labels.len()));
        }
        Ok(self.labels.iter().try_for_each(|(key, value)| label::check(key, value))?)
    }

    /// Whether it is the card of this device.
    ///
    /// # Errors
    /// Says whose it is.
    pub fn is_of(&self, namespace: &Namespace, device: &DeviceId) -> Result<(), CardError> {
        if (&self.namespace, &self.device) == (namespace, device) {
            return Ok(());
        }
        let (found, found_namespace) = (self.device.clone(), self.namespace.clone());
        Err(CardError::Other { found, found_namespace, device: device.clone(), namespace: namespace.clone() })
    }

    /// Whether its time has not ended.
    ///
    /// # Errors
    /// When it has.
    pub fn is_valid_at(&self, now: Time) -> Result<(), CardError> {
        if now < self.expires { Ok(()) } else { Err(CardError::Expired) }
    }
}

fn bounded(text: &str) -> Result<(), CardError> {
    if text.len() > CARD_BYTES_MAX { Err(CardError::Size(text.len())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> Card {
        Card {
            namespace: "plant".parse().unwrap(),
            device: "pump-001".parse().unwrap(),
            labels: [("site".to_owned(), "north".to_owned())].into(),
            issued: Time(1_000),
            expires: Time(2_000),
        }
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    #[test]
    fn a_card_opens_for_its_key_and_counts_for_its_device_until_it_ends() {
        let card = card();
        let sealed = card.seal(&key(1)).unwrap();
        let opened = Card::open(&[key(1).verifying_key()], &sealed).unwrap();
        assert_eq!(opened, card);
        assert_eq!(Card::read_own(&sealed).unwrap(), card);
        for other in [&[][..], &[key(2).verifying_key()]] {
            assert!(matches!(Card::open(other, &sealed), Err(CardError::Envelope(_))));
        }
        let (plant, mill) = ("plant".parse().unwrap(), "mill".parse().unwrap());
        opened.is_of(&plant, &card.device).unwrap();
        assert!(opened.is_of(&mill, &card.device).is_err());
        let other = opened.is_of(&plant, &"pump-002".parse().unwrap()).unwrap_err().to_string();
        assert!(other.contains("of device pump-001 in plant, not of pump-002"), "{other}");
        opened.is_valid_at(Time(1_999)).unwrap();
        assert!(matches!(opened.is_valid_at(Time(2_000)), Err(CardError::Expired)));
    }

    #[test]
    fn a_changed_card_does_not_open() {
        let sealed = card().seal(&key(1)).unwrap();
        let trusted = [key(1).verifying_key()];
        for at in 0..sealed.len() {
            let mut bytes = sealed.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(text) = String::from_utf8(bytes) else { continue };
            assert!(Card::open(&trusted, &text).map_or(true, |found| found == card()), "byte {at}");
        }
    }

    #[test]
    fn what_another_document_of_the_same_key_says_is_no_card() {
        let plan = envelope::seal(&key(1), envelope::PLAN_TYPE, &serde_json::to_vec(&card()).unwrap());
        let text = String::from_utf8(plan).unwrap();
        assert!(Card::open(&[key(1).verifying_key()], &text).is_err() && Card::read_own(&text).is_err());
    }

    #[test]
    fn cards_are_bounded() {
        let labels = |count: usize| (0..count).map(|i| (format!("l{i}"), "v".to_owned())).collect();
        let full = Card { labels: labels(LABELS_MAX), ..card() };
        let sealed = full.seal(&key(1)).unwrap();
        assert_eq!(Card::open(&[key(1).verifying_key()], &sealed).unwrap(), full);
        let beyond = Card { labels: labels(LABELS_MAX + 1), ..card() };
        assert!(matches!(beyond.seal(&key(1)), Err(CardError::Labels(_))));
        let wrong = Card { labels: [("a b".to_owned(), "v".to_owned())].into(), ..card() };
        assert!(matches!(wrong.seal(&key(1)), Err(CardError::Label(_))));
        let long = " ".repeat(CARD_BYTES_MAX) + &sealed;
        assert!(matches!(Card::open(&[], &long), Err(CardError::Size(_))));
    }
}
