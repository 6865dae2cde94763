//! Silence as an SLI: canaries that stopped reporting, against controls that did.

use crate::assessment::{SloVerdict, Verdict};
use crate::budget::Spending;
use crate::decide::exact_layer;
use crate::exact::permutation::{Stratum, p_value};
use crate::observations::{Arm, Counts, DeviceOutcome, Observations, OnBreach, SloRule};
use crate::sentence;
use crate::state::SloState;
use modelfleet_number::chance::Chance;
use modelfleet_number::hypergeometric::upper_tail;
use std::collections::BTreeMap;

/// Nothing is Healthy while more canaries than controls are silent by less chance than this. It is no harm shown, so it
/// takes nothing back and costs no budget; a harmless candidate waits this often at the most.
const SUSPICIOUS: f64 = 0.005;

/// Whether half of the canaries or more have fallen silent while controls speak: four times the controls' share of silent
/// devices, or four of five.
///
/// Looks are reached when half of the canaries have reported so many windows. Canaries that a candidate silences report
/// none: where this holds, windows pass for them by the clock, so that the looks come at which silence is tested. Where
/// controls are silent as well, the fleet is away, and its looks wait for it.
pub fn gone_quiet(devices: &[DeviceOutcome<'_>]) -> bool {
    let silent = |wanted: Arm| {
        let seen = devices.iter().filter(|d| d.arm == wanted && d.attempted);
        let seen = seen.filter(|d| wanted == Arm::Control || d.active);
        seen.fold((0_u64, 0_u64), |(all, silent), d| (all + 1, silent + u64::from(!d.reporting)))
    };
    let (canaries, silent_canaries) = silent(Arm::Canary);
    let (controls, silent_controls) = silent(Arm::Control);
    let speak = controls > 0 && 2 * silent_controls < controls;
    let half = canaries > 0 && 2 * silent_canaries >= canaries;
    let more = silent_canaries * controls >= 4 * silent_controls * canaries;
    speak && half && (more || 5 * silent_canaries >= 4 * canaries)
}

/// Devices that share a place, such as a site or a gateway, or that were heard last at the same time: how many are there,
/// and how many are silent, in both arms. Devices that say nothing of silence ([`DeviceOutcome::attempted`]) do not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// Canaries that run the candidate, silent ones included.
    pub canaries: u64,
    /// Of those, silent ones.
    pub silent_canaries: u64,
    /// Controls, silent ones included.
    pub controls: u64,
    /// Of those, silent ones.
    pub silent_controls: u64,
}

/// Devices that a place needs before its silence is one.
const PLACE_DEVICES: u64 = 4;
/// Silent controls that it needs: a candidate does not silence them, and one may be broken.
const PLACE_CONTROLS: u64 = 2;
/// Of all controls, those that fall silent at the same moment without a place that names them: one in twenty.
const TOGETHER: u64 = 20;
/// So few times does chance pick so many canaries among devices that a common cause cuts off.
const UNLIKELY: f64 = 0.01;

impl Place {
    /// Adds a device.
    pub const fn add(&mut self, arm: Arm, silent: bool) {
        let one = silent as u64;
        match arm {
            Arm::Canary => {
                self.canaries += 1;
                self.silent_canaries += one;
            }
            Arm::Control => {
                self.controls += 1;
                self.silent_controls += one;
            }
        }
    }

    /// Whether the place has lost its connection: four of five of its devices are silent, and of its controls too. Which of
    /// them are canaries makes no difference but for the controls, so that the test of what is left stays valid.
    pub const fn is_cut_off(&self) -> bool {
        let (all, silent) = (self.canaries + self.controls, self.silent_canaries + self.silent_controls);
        let enough = all >= PLACE_DEVICES && self.silent_controls >= PLACE_CONTROLS;
        enough && 5 * silent >= 4 * all && 5 * self.silent_controls >= 4 * self.controls
    }

    /// For devices that no label places, and that are all silent since the same moment: whether a common cause cut them off,
    /// among so many devices of both arms. That is so where they are many of the controls, and no more of the canaries than
    /// chance picks: a candidate that silences its devices leaves the controls alone.
    pub fn is_cut_off_together(&self, all: Self) -> bool {
        let enough = self.silent_controls >= PLACE_DEVICES && TOGETHER * self.silent_controls >= all.controls;
        let silent = self.silent_canaries + self.silent_controls;
        let chance = || upper_tail(self.silent_canaries, all.canaries + all.controls, silent, all.canaries);
        enough && chance() >= UNLIKELY
    }
}

/// The record, and whether the canaries' silence keeps the candidate from being Healthy.
pub struct Found {
    /// The verdict record.
    pub record: SloVerdict,
    /// More canaries than controls are silent now, by more than chance explains well.
    pub suspicious: bool,
}

/// Tests at planned looks: each activated canary and each control, seen since the stage opened, counts once,
/// 1 if it is silent now. Within strata, by permutation (which for 0/1 is Fisher's exact test).
pub fn judge(
    observations: &Observations<'_>,
    spending: Spending,
    chance: Chance,
    state: &mut SloState,
) -> Found {
    let mut strata: BTreeMap<u16, (Counts, Counts)> = BTreeMap::new();
    for device in observations.devices {
        let (canaries, controls) = strata.entry(device.stratum).or_default();
        let one = Counts::new(1, u64::from(!device.reporting));
        match device.arm {
            Arm::Canary if device.active && device.attempted => *canaries = canaries.plus(one),
            Arm::Control if device.attempted => *controls = controls.plus(one),
            _ => {}
        }
    }
    let list: Vec<Stratum> = strata
        .values()
        .filter(|(canaries, controls)| canaries.known > 0 && controls.known > 0)
        .map(|(canaries, controls)| Stratum {
            scores: flags(*canaries, *controls),
            canaries: canaries.known as usize,
        })
        .collect();
    let again = chance.clone();
    let new_look = observations.looks.reached > state.looks_used;
    let harm = if new_look && !list.is_empty() {
        exact_layer::record(spending, observations.looks, state, |level| p_value(&list, level, chance))
    } else {
        state.degraded
    };
    let suspicious =
        observations.looks.is_final() && !list.is_empty() && p_value(&list, SUSPICIOUS, again) <= SUSPICIOUS;
    let total =
        |f: fn(&(Counts, Counts)) -> Counts| strata.values().map(f).fold(Counts::default(), |a, b| a.plus(b));
    let (canary, control) = (total(|s| s.0), total(|s| s.1));
    let rule = SloRule { on_breach: OnBreach::RollBack, ..SloRule::statistical("silence", 0) };
    let tally = crate::decide::tally::Tally {
        canaries: u32::try_from(canary.known).unwrap_or(u32::MAX),
        controls: u32::try_from(control.known).unwrap_or(u32::MAX),
        canary,
        control,
        canaries_over: u32::try_from(canary.bad()).unwrap_or(u32::MAX),
        controls_over: u32::try_from(control.bad()).unwrap_or(u32::MAX),
        ..Default::default()
    };
    let mut record = tally.record(None, &rule);
    record.absolute_breach = canary.bad() > 0;
    record.relative_harm = harm;
    record.verdict = if harm { Verdict::Degraded } else { Verdict::Undecided };
    record.p_value_ppb = if state.threshold_ppb > 0 { state.p_value_ppb } else { 1_000_000_000 };
    record.threshold_ppb = state.threshold_ppb;
    record.spent_ppb = state.spent_ppb;
    let told = sentence::silence(&record);
    (record.sentence, record.statistics) = (told.sentence, told.statistics);
    Found { record, suspicious }
}

/// Ones for silent devices, canaries first.
fn flags(canaries: Counts, controls: Counts) -> Vec<u64> {
    let part = |counts: Counts| (0..counts.known).map(move |i| u64::from(i < counts.bad()));
    part(canaries).chain(part(controls)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn place(canaries: [u64; 2], controls: [u64; 2]) -> Place {
        let ([silent_canaries, canaries], [silent_controls, controls]) = (canaries, controls);
        Place { canaries, silent_canaries, controls, silent_controls }
    }

    #[test]
    fn a_place_is_cut_off_with_its_controls() {
        assert!(place([3, 3], [17, 17]).is_cut_off());
        assert!(place([2, 3], [15, 17]).is_cut_off(), "a few still speak");
        assert!(place([0, 0], [9, 9]).is_cut_off(), "also without canaries");
        assert!(!place([3, 3], [2, 17]).is_cut_off(), "its controls speak: that is the candidate");
        assert!(!place([18, 18], [1, 1]).is_cut_off(), "one control may be broken");
        assert!(!place([1, 1], [2, 2]).is_cut_off(), "three devices are no site");
        assert!(!place([0, 5], [12, 15]).is_cut_off(), "canaries speak");
    }

    #[test]
    fn devices_without_a_place_are_cut_off_together() {
        let all = place([0, 20], [0, 180]);
        assert!(place([5, 5], [45, 45]).is_cut_off_together(all));
        assert!(place([8, 8], [42, 42]).is_cut_off_together(all), "some more of the canaries by chance");
        assert!(
            place([3, 3], [45, 45]).is_cut_off_together(place([0, 5], [0, 195])),
            "three of five, by chance"
        );
        assert!(!place([12, 12], [38, 38]).is_cut_off_together(all), "more of the canaries than by chance");
        assert!(!place([20, 20], [9, 9]).is_cut_off_together(all), "all canaries and few controls");
        assert!(!place([0, 0], [8, 8]).is_cut_off_together(all), "as many fall silent by themselves");
        assert!(!place([1, 1], [3, 3]).is_cut_off_together(place([0, 2], [0, 10])), "three devices");
    }
}
