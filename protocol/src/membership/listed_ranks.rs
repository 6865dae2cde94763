//! Ranks that a clause lists one by one: a count above what can be named stays a count when devices join later.
//!
//! A rank is cut to its first 48 bits, six bytes or eight characters of base64. That a device which joins later shares them
//! with one of 512 listed ranks has a chance of 2 in 10^12; 2 in 10^6 for a million such devices.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::Rank;

/// Most ranks that a membership lists, those of all clauses together.
pub const LISTED_MAX: usize = 512;
/// Bytes of a rank that are listed.
const BYTES: usize = 6;
/// Characters of a listed rank as text.
const CHARACTERS: usize = BYTES * 4 / 3;

/// Listed ranks, in ascending order and each once. As text their first 48 bits one after another, big-endian, in base64 with
/// the alphabet for addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ListedRanks(Vec<u64>);

impl ListedRanks {
    /// Whether no rank is listed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many are listed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the device with this rank is listed.
    #[must_use]
    pub fn contains(&self, rank: Rank) -> bool {
        self.0.binary_search(&prefix(rank)).is_ok()
    }

    /// Lists more ranks.
    pub fn extend(&mut self, ranks: impl IntoIterator<Item = Rank>) {
        self.0.extend(ranks.into_iter().map(prefix));
        self.0.sort_unstable();
        self.0.dedup();
    }

    /// Whether all of `earlier` are listed here.
    #[must_use]
    pub fn covers(&self, earlier: &ListedRanks) -> bool {
        earlier.0.iter().all(|prefix| self.0.binary_search(prefix).is_ok())
    }
}

fn prefix(rank: Rank) -> u64 {
    rank >> (u64::BITS as usize - 8 * BYTES)
}

impl From<ListedRanks> for String {
    fn from(ranks: ListedRanks) -> String {
        let bytes = ranks.0.iter().flat_map(|prefix| prefix.to_be_bytes().into_iter().skip(8 - BYTES));
        URL_SAFE_NO_PAD.encode(bytes.collect::<Vec<u8>>())
    }
}

impl TryFrom<String> for ListedRanks {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if !text.len().is_multiple_of(CHARACTERS) || text.len() > LISTED_MAX * CHARACTERS {
            return Err(format!(
                "listed ranks have {CHARACTERS} characters each, at most {LISTED_MAX} of them"
            ));
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|e| format!("listed ranks are not base64: {e}"))?;
        let whole = |prefix: &[u8]| prefix.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let prefixes: Vec<u64> = bytes.chunks_exact(BYTES).map(whole).collect();
        if prefixes.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err("listed ranks are not in ascending order".to_owned());
        }
        Ok(ListedRanks(prefixes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_ranks_are_the_same() {
        let mut ranks = ListedRanks::default();
        ranks.extend([u64::MAX - 1, 0, 7 << 16, 7 << 16]);
        let text = String::from(ranks.clone());
        assert_eq!((text.as_str(), ranks.len()), ("AAAAAAAAAAAAAAAH________", 3));
        assert_eq!(ListedRanks::try_from(text), Ok(ranks.clone()));
        assert!(ranks.contains(7 << 16 | 9) && !ranks.contains(8 << 16));
        let fewer = ListedRanks(vec![7]);
        assert!(ranks.covers(&fewer) && !fewer.covers(&ranks));
    }

    #[test]
    fn what_is_no_list_of_ranks_is_refused() {
        let refused = |text: &str| ListedRanks::try_from(text.to_owned()).is_err();
        assert!(refused("AAAA") && refused("AAAAAAA!") && refused(&"A".repeat(8 * (LISTED_MAX + 1))));
        assert!(refused("AAAAAAAHAAAAAAAA") && refused("AAAAAAAHAAAAAAAH"), "descending, or twice the same");
        assert!(!refused(""));
    }
}
