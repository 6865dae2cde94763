//! Devices that do not tell the truth.

use serde::{Deserialize, Serialize};

/// Shares of the devices that do not tell the truth of their windows, before the rollout or during it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Liars {
    /// Report every window as good.
    pub always_good: f64,
    /// Report every window as bad.
    pub always_bad: f64,
    /// Report every window with the candidate as bad, and tell the truth otherwise: they want it taken back.
    pub bad_with_candidate: f64,
}

impl Liars {
    /// Share of the devices that lie in any way.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.always_good + self.always_bad + self.bad_with_candidate
    }
}
