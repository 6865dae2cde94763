//! The parts of a device.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use modelfleet_agent_core::interface::{Identity, Limits};
use modelfleet_agent_core::truth::LedgerLimits;

use crate::admit::Loader;
use crate::clock::CertificateTime;
use crate::fetch::Fetcher;
use crate::mqtt::{Inbox, Settings};
use crate::probe::Probe;
use crate::store::Store;

/// The parts of a device.
pub struct Parts {
    /// The device's identity.
    pub identity: Identity,
    /// The core's limits.
    pub limits: Limits,
    /// The device's folder.
    pub store: Store,
    /// The broker's address and the device's account.
    pub settings: Settings,
    /// Verifies messages that arrive.
    pub inbox: Arc<Inbox>,
    /// The time by which TLS checks certificates; it follows the device's clock.
    pub certificate_time: CertificateTime,
    /// Downloads builds.
    pub fetcher: Fetcher,
    /// Loads builds.
    pub loader: Arc<Loader>,
    /// Measures the process.
    pub probe: Probe,
    /// Memory limit of the process, bytes; 0: none.
    pub memory_limit_bytes: u64,
    /// How much of a model's predictions is kept for their ground truth.
    pub truth_limits: LedgerLimits,
    /// Number of connected devices of the process.
    pub connected: Arc<AtomicUsize>,
}
