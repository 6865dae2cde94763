//! Names that cross the wire: bounded and checked once, so that no topic, path or label is built from anything
//! else.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Why a text is not the name it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Empty, or longer than the limit.
    #[error("{kind} has {len} characters; 1 to {max} are allowed")]
    Length {
        /// What was being read.
        kind: &'static str,
        /// Its length in bytes.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// A character outside the allowed set, or a wrong first character.
    #[error("{kind} {text:?} may hold only a-z, 0-9, '-', '.' and '_', and begins with a letter or digit")]
    Characters {
        /// What was being read.
        kind: &'static str,
        /// The refused text, at most its first 80 characters.
        text: String,
    },
    /// Not `sha256:` and 64 hexadecimal digits.
    #[error("digest {text:?} is not 'sha256:' and 64 lower-case hexadecimal digits")]
    Digest {
        /// The refused text, at most its first 80 characters.
        text: String,
    },
}

fn checked(kind: &'static str, max: usize, text: &str) -> Result<String, IdError> {
    if text.is_empty() || text.len() > max {
        return Err(IdError::Length { kind, len: text.len(), max });
    }
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let good = word(text.as_bytes()[0]) && text.bytes().all(|b| word(b) || matches!(b, b'-' | b'.' | b'_'));
    if good { Ok(text.to_owned()) } else { Err(IdError::Characters { kind, text: shortened(text) }) }
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

macro_rules! name {
    ($type:ident, $kind:literal, $max:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Box<str>);

        impl $type {
            /// The text of the name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                checked($kind, $max, text).map(|name| Self(name.into()))
            }
        }

        impl TryFrom<String> for $type {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.into()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(DeviceId, "device id", 64, "A device, unique within its namespace: 1 to 64 of `a-z 0-9 - . _`.");
name!(ModelName, "model name", 63, "A model, unique within its namespace: 1 to 63 of `a-z 0-9 - . _`.");
name!(Namespace, "namespace", 63, "A fleet: the Kubernetes namespace that holds its objects.");

/// SHA-256 of a file, written `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    /// A digest from its 32 bytes; `None` for any other length.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Digest> {
        bytes.try_into().ok().map(Digest)
    }

    /// The 64 hexadecimal digits alone: a file name.
    #[must_use]
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let refuse = || IdError::Digest { text: shortened(text) };
        let digits = text.strip_prefix("sha256:").ok_or_else(refuse)?;
        if digits.len() != 64 || digits.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(refuse());
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| refuse())?;
        Ok(Digest(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

/// Shard of a device: the first byte of the hash of its id. Ingest can be split over replicas by shard.
#[must_use]
pub fn shard(device: &DeviceId) -> u8 {
    Sha256::digest(device.as_str().as_bytes())[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_safe_in_a_topic() {
        assert!("pump-001".parse::<DeviceId>().is_ok());
        for bad in ["", "a/b", "a+", "#", "-a", "Pump", "a b", "..", "\u{e9}", &"x".repeat(65)] {
            assert!(bad.parse::<DeviceId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn digest_text_goes_both_ways() {
        let digest = Digest::of(b"model");
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        assert!("sha256:zz".parse::<Digest>().is_err());
        assert!(format!("sha256:{}", "A".repeat(64)).parse::<Digest>().is_err());
    }
}
