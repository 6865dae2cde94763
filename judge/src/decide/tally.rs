//! The plain counts behind a verdict record.

use crate::assessment::{SloVerdict, Verdict};
use crate::observations::{Arm, Counts, Observations, SloRule};

/// Devices and device-windows of both arms for one SLO.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Canaries with a known outcome.
    pub canaries: u32,
    /// Controls with a known outcome.
    pub controls: u32,
    /// Canaries' device-windows.
    pub canary: Counts,
    /// Controls' device-windows.
    pub control: Counts,
    /// Canaries' device-windows before the stage.
    pub canary_history: Counts,
    /// Controls' device-windows before the stage.
    pub control_history: Counts,
    /// Canaries that were bad in more than the allowance.
    pub canaries_over: u32,
    /// Controls that were bad in more than the allowance.
    pub controls_over: u32,
    /// Canaries with at least the needed number of known windows.
    pub covered: u32,
}

impl Tally {
    /// Counts one SLO.
    pub fn of(observations: &Observations<'_>, index: usize, allowance_ppm: u32) -> Self {
        let mut tally = Self::default();
        for device in observations.devices {
            let counts = device.counts(index);
            let post = counts.post;
            match device.arm {
                Arm::Canary => tally.canary_history = tally.canary_history.plus(counts.history),
                Arm::Control => tally.control_history = tally.control_history.plus(counts.history),
            }
            if post.known == 0 {
                continue;
            }
            let over = u32::from(post.share_ppm() > u64::from(allowance_ppm));
            match device.arm {
                Arm::Canary => {
                    tally.canaries += 1;
                    tally.canary = tally.canary.plus(post);
                    tally.canaries_over += over;
                    let enough = post.known >= u64::from(observations.needs.min_windows);
                    tally.covered += u32::from(enough);
                }
                Arm::Control => {
                    tally.controls += 1;
                    tally.control = tally.control.plus(post);
                    tally.controls_over += over;
                }
            }
        }
        tally
    }

    /// Canaries break the allowance: together, or at least a tenth of them (two or more) one by one.
    pub fn breaks(&self, allowance_ppm: u32) -> bool {
        let together = self.canary.known > 0 && self.canary.share_ppm() > u64::from(allowance_ppm);
        together || self.canaries_over >= self.canaries.div_ceil(10).max(2)
    }

    /// A verdict record with the counts filled in and nothing decided.
    pub fn record(&self, slo: Option<usize>, rule: &SloRule<'_>) -> SloVerdict {
        SloVerdict {
            slo: slo.map(|i| u32::try_from(i).unwrap_or(u32::MAX)),
            verdict: Verdict::Undecided,
            absolute_breach: self.breaks(rule.allowance_ppm),
            relative_harm: false,
            estimate_ppm: 1_000_000,
            low_ppm: 0,
            high_ppm: u64::MAX,
            always_low_ppm: 0,
            always_high_ppm: u64::MAX,
            expected_milli: 0,
            dispersion_milli: 0,
            margin_ppm: rule.margin_ppm.unwrap_or(u64::MAX),
            threshold_ppb: 0,
            p_value_ppb: 1_000_000_000,
            log_e_milli: 0,
            devices: self.canaries,
            controls: self.controls,
            unlike: None,
            canary: self.canary,
            control: self.control,
            devices_over: (self.canaries_over, self.controls_over),
            spent_ppb: 0,
            exposure: None,
            few: None,
            few_proof: None,
            promised: true,
            sentence: String::new(),
            statistics: String::new(),
        }
    }
}
