//! What a device is made of.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use modelfleet_agent_core::interface::{Identity, Limits};

use crate::admit::Loader;
use crate::fetch::Fetcher;
use crate::mqtt::{Inbox, Settings};
use crate::probe::Probe;
use crate::store::Store;

/// What a device is made of.
pub struct Parts {
    /// Who it is.
    pub identity: Identity,
    /// How often, how long and how much.
    pub limits: Limits,
    /// Its folder.
    pub store: Store,
    /// Where the broker is.
    pub settings: Settings,
    /// Opens what arrives.
    pub inbox: Arc<Inbox>,
    /// Fetches builds.
    pub fetcher: Fetcher,
    /// Loads them.
    pub loader: Arc<Loader>,
    /// Looks at the process.
    pub probe: Probe,
    /// Memory that the process may use, bytes; 0: not limited.
    pub memory_limit_bytes: u64,
    /// Predictions of a model that are remembered for their ground truth.
    pub predictions_remembered: usize,
    /// Counts the devices of the process that are connected.
    pub connected: Arc<AtomicUsize>,
}
