//! The device's card: its labels as an enrolment key has signed them.

use std::path::{Path, PathBuf};

use modelfleet_protocol::card::{Card, CardError};
use modelfleet_protocol::ids::{DeviceId, Namespace};
use modelfleet_protocol::selector::Labels;

use super::read_file;

/// Why the device shows no card.
#[derive(Debug, thiserror::Error)]
pub enum CardFileError {
    /// The file could not be read.
    #[error("read the device card {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It is no card, or another device's.
    #[error("use the device card {path}")]
    Card {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: CardError,
    },
}

/// A card as the device shows it, and the labels on it.
#[derive(Debug)]
pub struct OwnCard {
    /// What goes into the state.
    pub text: String,
    /// The device's labels, in place of any others.
    pub labels: Labels,
}

/// Reads the card of this device. Its signature is for the controller, and its end too, whose clock is better.
///
/// # Errors
/// When it cannot be read, or is another device's.
pub fn own_card(path: &Path, namespace: &Namespace, device: &DeviceId) -> Result<OwnCard, CardFileError> {
    let text = read_file(path).map_err(|source| CardFileError::Read { path: path.to_owned(), source })?;
    let text = text.trim().to_owned();
    let wrong = |source| CardFileError::Card { path: path.to_owned(), source };
    let card = Card::read_own(&text).map_err(wrong)?;
    card.is_of(namespace, device).map_err(wrong)?;
    Ok(OwnCard { text, labels: card.labels })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;
    use modelfleet_protocol::time::Time;

    #[test]
    fn a_device_takes_its_own_card_and_no_other() {
        let (plant, pump): (Namespace, DeviceId) = ("plant".parse().unwrap(), "pump-001".parse().unwrap());
        let labels: Labels = [("site".to_owned(), "north".to_owned())].into();
        let card = Card {
            namespace: plant.clone(),
            device: pump.clone(),
            labels: labels.clone(),
            issued: Time(1),
            expires: Time(2),
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("card");
        std::fs::write(&path, card.seal(&SigningKey::from_bytes(&[1; 32])).unwrap() + "\n").unwrap();
        let own = own_card(&path, &plant, &pump).unwrap();
        assert_eq!((own.labels, own.text.ends_with('}')), (labels, true));
        let other = own_card(&path, &plant, &"pump-002".parse().unwrap()).unwrap_err();
        assert!(
            crate::log::chain(&other).contains("of device pump-001 in plant, not of pump-002"),
            "{other:?}"
        );
        std::fs::write(&path, "nonsense").unwrap();
        assert!(own_card(&path, &plant, &pump).is_err() && own_card(dir.path(), &plant, &pump).is_err());
    }
}
