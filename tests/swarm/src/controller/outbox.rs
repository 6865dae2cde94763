//! What a controller's shell has put out and the world has not carried yet.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use modelfleet_controller::mqtt::{MqttError, Outbox};
use modelfleet_protocol::ids::Namespace;

/// Messages that the shell has put out and the world has not carried yet.
#[derive(Default)]
pub(super) struct SimulatedOutbox {
    pub(super) frames: Mutex<Vec<(String, Vec<u8>)>>,
    pub(super) wanted: Mutex<BTreeSet<Namespace>>,
}

impl Outbox for SimulatedOutbox {
    fn publish_retained(&self, topic: &str, payload: Vec<u8>) -> Result<(), MqttError> {
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        frames.push((topic.to_owned(), payload));
        Ok(())
    }

    fn subscribe_to(&self, fleets: BTreeSet<Namespace>) {
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = fleets;
    }
}
