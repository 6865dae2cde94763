//! A controller that is behind the trust document of its devices: it was started with an older file, and the broker has lost the
//! newer one. What it signs may be signed by a key that is revoked, and what it publishes is not what counts. It waits for the
//! newest file.
//!
//! What devices say can be a lie, and a few devices must not stop a fleet: it waits when more than one in twenty say so.

use modelfleet_fleet::Fleet;
use modelfleet_protocol::trust::TrustDocument;
use modelfleet_rollout::LaterTrust;

/// It waits when more than one in so many devices hold a later document.
const ONE_IN: u64 = 20;

/// The devices that hold a later document than the controller, if they are so many that it waits for the newest trust file.
#[must_use]
pub fn later_trust(fleet: Option<&Fleet>, document: Option<&TrustDocument>) -> Option<LaterTrust> {
    let own = document?.version;
    let held = fleet?.trust_held(own);
    let devices = held.connected.later + held.away.later;
    let told = held.connected.total() + held.away.total();
    (devices.saturating_mul(ONE_IN) > told).then_some(LaterTrust { devices, told, latest: held.latest, own })
}
