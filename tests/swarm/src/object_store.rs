//! The store that holds the bytes of builds: what it gives to a device that downloads, and to a controller that checks a
//! version. A device's shell compares size and digest, as the shipped one does, before it says that a build is there.

use modelfleet_agent_core::interface::Retry;
use modelfleet_number::chance::Chance;
use modelfleet_protocol::state::FailureCode;

use crate::network::drawn;

/// How the store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Store {
    /// It gives what it holds.
    #[default]
    Sound,
    /// It answers that it is not available (503).
    Unavailable,
    /// It refuses to give the file (403).
    Refuses,
    /// It takes hours for a file.
    Slow,
    /// It gives other bytes.
    OtherBytes,
    /// It gives the first half of a file and calls it whole.
    Truncates,
}

/// What a download came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Download {
    /// All bytes are there, and are the right ones.
    Whole,
    /// The connection was lost.
    Cut,
    /// The store answered with an error.
    Failed(Store),
}

/// Every trouble that a store can have.
const TROUBLES: [Store; 5] =
    [Store::Unavailable, Store::Refuses, Store::Slow, Store::OtherBytes, Store::Truncates];
/// Longest time of a download, milliseconds.
const DOWNLOAD_MAX_MS: u64 = 60_000;
/// The same where the store is slow.
const SLOW_MAX_MS: u64 = 3 * 3_600_000;

impl Store {
    /// One of its troubles.
    #[must_use]
    pub fn in_trouble(chance: &mut Chance) -> Store {
        TROUBLES[drawn(chance, TROUBLES.len() as u64 - 1) as usize]
    }

    /// How long a download takes, milliseconds, and what it comes to.
    pub fn download(self, chance: &mut Chance) -> (u64, Download) {
        let wait_ms = 1_000 + drawn(chance, if self == Store::Slow { SLOW_MAX_MS } else { DOWNLOAD_MAX_MS });
        match self {
            Store::Sound | Store::Slow => (wait_ms, Download::Whole),
            trouble => (wait_ms, Download::Failed(trouble)),
        }
    }

    /// Whether a controller that looks at a file finds it as its version says.
    #[must_use]
    pub fn is_right(self) -> bool {
        matches!(self, Store::Sound | Store::Slow)
    }
}

impl Download {
    /// What the shell tells the agent; `None`: the build is there. The codes and the further tries are those of the shipped
    /// shell (`device-agent/src/fetch/error.rs`).
    #[must_use]
    pub fn failure(self) -> Option<(FailureCode, &'static str, Retry)> {
        let exhausted = FailureCode::DownloadExhausted;
        match self {
            Download::Whole | Download::Failed(Store::Sound | Store::Slow) => None,
            Download::Cut => Some((exhausted, "connection lost", Retry::Later)),
            Download::Failed(Store::Unavailable) => Some((exhausted, "status 503", Retry::Later)),
            Download::Failed(Store::Refuses) => Some((exhausted, "status 403", Retry::Never)),
            Download::Failed(Store::OtherBytes) => {
                Some((FailureCode::DigestMismatch, "the digest is wrong", Retry::Never))
            }
            Download::Failed(Store::Truncates) => {
                Some((FailureCode::DigestMismatch, "500 bytes instead of 1 000", Retry::Never))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_in_trouble_gives_no_build_unless_it_is_slow() {
        let chance = &mut Chance::new(1);
        for trouble in TROUBLES {
            let (wait_ms, download) = trouble.download(chance);
            assert_eq!(download.failure().is_none(), trouble == Store::Slow, "{trouble:?}");
            assert!(wait_ms <= 1_000 + SLOW_MAX_MS);
        }
        assert_eq!(Store::Sound.download(chance).1, Download::Whole);
    }
}
