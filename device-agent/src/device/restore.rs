//! Restores the agent and the clock from the device's folder, and reads the identity of the machine's boot.

use std::collections::BTreeMap;

use modelfleet_agent_core::agent::Agent;
use modelfleet_agent_core::interface::{Identity, Limits};
use modelfleet_agent_core::saved::Saved;
use modelfleet_protocol::ids::Digest;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::log::chain;
use crate::store::{STATE, Store, windows_record};

/// The file with the identity of the boot on Linux.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Longest identity that is accepted, in bytes.
const BOOT_ID_MAX: usize = 64;

/// Reads the records, and deletes model files that no record needs.
pub(super) fn restore(store: &Store, identity: Identity, limits: Limits) -> (Agent, Clock) {
    let device = identity.device.to_string();
    let found = store.load(STATE, |bytes| Saved::from_json(bytes).map_err(|e| chain(&e)));
    if let Some(note) = &found.note {
        warn!(%device, %note, "one copy of the record was damaged, used the other");
    }
    // A record that is there and cannot be read may speak of every byte in the folder.
    let lost = found.state.is_none() && found.note.is_some();
    let saved = found.state.unwrap_or_default();
    let mut at = found.at;
    let mut windows = BTreeMap::new();
    for model in saved.models.keys() {
        let seen = store.load(&windows_record(model), |bytes| Ok(bytes.to_vec()));
        at = at.max(seen.at);
        if let Some(bytes) = seen.state {
            windows.insert(model.clone(), bytes);
        }
    }
    let agent = Agent::new(identity, limits, saved, &windows);
    if !lost {
        let keep: Vec<Digest> = agent.digests().into_iter().collect();
        match store.keep_only(&keep) {
            Ok(0) => {}
            Ok(deleted) => info!(%device, deleted, "deleted model files that are not needed"),
            Err(error) => {
                warn!(%device, error = %chain(&error), "model files that are not needed could not be deleted")
            }
        }
    }
    let clock = Clock::starting_at(at);
    clock.learn(&agent.saved());
    (agent, clock)
}

/// The identity of the machine's boot; `None` if the system has none.
pub(super) fn boot() -> Option<String> {
    let text = std::fs::read_to_string(BOOT_ID).ok()?;
    let id = text.trim();
    (!id.is_empty() && id.len() <= BOOT_ID_MAX).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use modelfleet_protocol::state::Capabilities;

    fn identity() -> Identity {
        Identity {
            namespace: "plant".parse().unwrap(),
            device: "pump-001".parse().unwrap(),
            agent: String::new(),
            labels: BTreeMap::new(),
            trust: modelfleet_agent_core::trust::TrustAnchor::default(),
            card: None,
            instance: 0,
            capabilities: Capabilities::default(),
        }
    }

    #[test]
    fn a_record_that_cannot_be_read_costs_no_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), true).unwrap();
        let blob = store.blob(&Digest::of(b"stable"));
        std::fs::write(&blob, b"stable").unwrap();
        for copy in [STATE.to_owned(), format!("{STATE}.previous")] {
            std::fs::write(dir.path().join(copy), b"torn").unwrap();
        }
        let _ = restore(&store, identity(), Limits::default());
        assert!(blob.exists());
        for copy in [STATE.to_owned(), format!("{STATE}.previous")] {
            std::fs::remove_file(dir.path().join(copy)).unwrap();
        }
        let _ = restore(&store, identity(), Limits::default());
        assert!(!blob.exists(), "no record at all speaks of nothing");
    }
}
