//! What one stage proves.

use crate::sizing::fleet_rates::FleetRates;
use crate::sizing::harm::{default_margin_ppm, smallest_harm_ppm, smallest_margin_ppm};
use crate::sizing::reach::unreachable;
use crate::sizing::remaining::remaining_bound_ppm;

/// A planned stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageSize {
    /// Devices in the whole fleet.
    pub fleet: u64,
    /// Devices on the candidate in this stage, those of earlier stages included.
    pub canaries: u64,
    /// Devices left to compare with.
    pub controls: u64,
    /// Windows of the stage (bake time over window length, less warm-up).
    pub windows: u64,
    /// Share of windows in which a device is expected to report.
    pub reporting_ppm: u32,
    /// Planned looks.
    pub looks: u16,
    /// SLOs that can stop the stage: the chance to hold back a harmless candidate is split over them.
    pub gates: u16,
}

/// What to say about a stage without controls.
pub const NO_CONTROLS: &str = "no controls are left: devices are compared with their own past. A rise to \
                               less than twice the usual rate may be due to the time of day; a larger one pauses the rollout, \
                               but does not roll it back";

/// What it proves if all goes well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageProof {
    /// If no canary fails hard: at most this share of the rest would (95 %).
    pub remaining_bound_ppm: u64,
    /// Rise that is found, and breaks the allowance, in four runs of five; `u64::MAX`: none.
    pub smallest_harm_ppm: u64,
    /// Rise that a pass rules out: the user's margin, or what the judge takes without one; `u64::MAX`: none, the
    /// stage passes without proof.
    pub margin_ppm: u64,
    /// What to say to the user, empty when all is well.
    pub warning: String,
}

/// Proves one stage, with `share_ppb` of error budget for the SLO, its allowance, and `margin_ppm` if the user set one.
pub fn prove(
    size: &StageSize,
    rates: &FleetRates,
    share_ppb: u64,
    allowance_ppm: u32,
    margin_ppm: Option<u64>,
) -> StageProof {
    let smallest_harm = smallest_harm_ppm(size, rates, share_ppb, allowance_ppm, 800_000);
    let smallest_margin = smallest_margin_ppm(size, rates);
    let warning = if size.controls == 0 {
        NO_CONTROLS.to_owned()
    } else if let Some(never) = unreachable(size.canaries, size.controls, share_ppb, size.looks) {
        never
    } else if smallest_harm == u64::MAX && smallest_harm_ppm(size, rates, share_ppb, 0, 800_000) != u64::MAX {
        format!(
            "no rise can exceed the allowance of {} % here, so this SLO can never cause a rollback: lower the allowance",
            f64::from(allowance_ppm) / 1e4
        )
    } else if smallest_harm == u64::MAX {
        "this stage cannot prove anything about this SLO: it has too few devices, windows or events"
            .to_owned()
    } else if let Some(margin) = margin_ppm.filter(|&margin| margin < smallest_margin) {
        format!(
            "a rise to the margin of {} cannot be ruled out here; the smallest margin that can be is {}",
            crate::sentence::times(margin),
            crate::sentence::times(smallest_margin)
        )
    } else {
        String::new()
    };
    StageProof {
        remaining_bound_ppm: remaining_bound_ppm(size.fleet, size.canaries, 0, 950_000),
        smallest_harm_ppm: smallest_harm,
        margin_ppm: margin_ppm.unwrap_or_else(|| default_margin_ppm(size, rates)),
        warning,
    }
}
