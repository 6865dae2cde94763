//! What the controller folds: any bytes on any topic.

use modelfleet_fleet::fleet_index::Change;
use modelfleet_fleet::{Index, Key, Ledger, Source};
use modelfleet_protocol::time::Time;

use crate::protocol::trusted_key;

const NOW: Time = Time(1_800_000_000_000);

/// A topic in the first line, its message behind: the index takes no more devices than it has room for, and the ledger no plan
/// that its key has not signed.
#[must_use]
pub fn message(bytes: &[u8]) -> bool {
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (topic, payload) = (&bytes[..at], bytes.get(at + 1..).unwrap_or_default());
    let Ok(topic) = std::str::from_utf8(topic) else { return false };
    let key: Key = ("plant-a".parse().expect("a name"), "pump-anomaly".parse().expect("a name"));
    let mut index = Index::new(2);
    index.note(&key, Source::Plan);
    let first = index.fold(topic, payload, true, NOW);
    // Again, later, and cleared.
    let _ =
        (index.fold(topic, payload, false, NOW.after_ms(1)), index.fold(topic, b"", false, NOW.after_ms(2)));
    assert!(index.devices() <= 1);
    let mut ledger = Ledger::new(trusted_key().verifying_key());
    let _ = (ledger.take(&key, payload), ledger.recall(&key, payload));
    first != Change::Nothing
}
