//! What the plan asks devices to count.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::metric::Metric;
use crate::time::Time;

/// Most indicators of a plan.
pub const INDICATORS_MAX: usize = 16;
/// Windows whose histograms are read at least: the watch for incidents looks at the newest three, and so does the plain
/// rule where an objective says nothing else.
pub const HISTOGRAM_WINDOWS: u32 = 3;

/// One thing that a device cuts to 0/1 per window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Indicator {
    /// Name of the SLO that asks for it.
    pub name: String,
    /// What is measured.
    pub metric: Metric,
    /// The feature, for drift metrics; absent: the worst of all features.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feature: Option<String>,
    /// A value beyond it makes the window bad: millionths, or nanoseconds for latencies.
    pub threshold: u64,
    /// Windows with fewer samples are not judged.
    #[serde(default)]
    pub min_samples: u64,
}

/// How devices observe a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Observe {
    /// Length of a window, milliseconds.
    pub window_ms: u64,
    /// At most one report in this time, milliseconds; 0: after every window.
    pub report_every_ms: u64,
    /// Windows before it are a device's history, later ones its evidence. Set when a rollout starts, for
    /// devices with the candidate and for their controls alike.
    pub since: Time,
    /// Newest windows whose histograms are read; fewer than [`HISTOGRAM_WINDOWS`] count as that. Of older windows
    /// devices report tallies and counters alone.
    #[serde(skip_serializing_if = "is_zero")]
    pub histogram_windows: u32,
    /// What is counted, at most [`INDICATORS_MAX`].
    pub indicators: Vec<Indicator>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Identity of a list of indicators: reports that carry another one count something else and are left out.
#[must_use]
pub fn identity(window_ms: u64, indicators: &[Indicator]) -> u64 {
    let text = serde_json::to_vec(indicators).unwrap_or_default();
    let hash = Sha256::new().chain_update(window_ms.to_be_bytes()).chain_update(text).finalize();
    u64::from_be_bytes(hash[..8].try_into().expect("a SHA-256 has 32 bytes"))
}

impl Observe {
    /// Identity of what is counted here.
    #[must_use]
    pub fn id(&self) -> u64 {
        identity(self.window_ms, &self.indicators)
    }
}
