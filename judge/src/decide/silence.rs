//! Silence as an SLI: canaries that stopped reporting, against controls that did.

use crate::assessment::{SloVerdict, Verdict};
use crate::budget::Spending;
use crate::decide::exact_layer;
use crate::exact::permutation::{Stratum, p_value};
use crate::observations::{Arm, Counts, DeviceOutcome, Observations, OnBreach, SloRule};
use crate::sentence;
use crate::state::SloState;
use modelfleet_number::chance::Chance;
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
