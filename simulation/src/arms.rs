//! The two arms as the judge sees them, by the controller's rule: members are canaries and count from their activation
//! and warm-up on; devices that the stage could have drawn and that have nothing to do with the candidate are controls,
//! and each takes the start of a canary in turn, so that both arms have the same exposure.

use modelfleet_judge::{Arm, DeviceOutcome, Looks, SloCounts};

use crate::device::{Device, Fact, Standing};
use crate::fleet::Fleet;
use crate::setup::{Controls, LookPlan, Setup};

/// Failures to start, as the judge's number.
pub const START_FAILED: u16 = 1;
/// Most looks that are planned evenly.
const LOOKS_MAX: u64 = 6;

/// Both arms at one look.
#[derive(Debug, Default)]
pub struct Arms {
    subjects: Vec<Subject>,
    counts: Vec<SloCounts>,
    indicators: usize,
}

#[derive(Clone, Copy, Debug)]
struct Subject {
    slot: u32,
    stratum: u16,
    arm: Arm,
    attempted: bool,
    active: bool,
    heard: bool,
    failed: bool,
}

fn arm(fleet: &Fleet, device: &Device, controls: Controls) -> Option<Arm> {
    if device.is(Fact::Member) {
        return Some(Arm::Canary);
    }
    let matching = fleet.matching[usize::from(device.stratum)];
    let taken = controls == Controls::All || device.is(Fact::WasOnline);
    (matching && taken && device.standing == Standing::Idle).then_some(Arm::Control)
}

impl Arms {
    /// Looks at a fleet at the beginning of `window`.
    pub fn look(
        &mut self,
        setup: &Setup,
        fleet: &Fleet,
        window: u32,
        warmup_windows: u32,
        silent_windows: u32,
    ) {
        self.subjects.clear();
        self.counts.clear();
        self.indicators = fleet.tables.indicators;
        let starts: Vec<u32> = canaries(fleet).map(|d| first(fleet, d, warmup_windows)).collect();
        let mut controls = 0;
        for (slot, device) in fleet.devices.iter().enumerate() {
            let Some(arm) = arm(fleet, device, setup.controls) else { continue };
            let heard = fleet.is_heard(device, window, silent_windows);
            let start = match arm {
                Arm::Canary => fleet.stage_first,
                Arm::Control => {
                    controls += 1;
                    starts.get((controls - 1) % starts.len().max(1)).copied().unwrap_or(fleet.stage_first)
                }
            };
            let meters = &fleet.meters[slot * self.indicators..(slot + 1) * self.indicators];
            self.counts.extend(meters.iter().map(|m| m.counts(start.saturating_sub(fleet.stage_first))));
            self.subjects.push(Subject {
                slot: slot as u32,
                stratum: fleet.compared[usize::from(device.stratum)],
                arm,
                attempted: if arm == Arm::Canary { device.ran() } else { heard },
                active: device.runs(),
                heard,
                failed: device.standing == Standing::Failed,
            });
        }
    }

    /// For the judge.
    pub fn outcomes(&self) -> Vec<DeviceOutcome<'_>> {
        let subjects = self.subjects.iter().enumerate();
        let outcome = |(i, s): (usize, &Subject)| DeviceOutcome {
            id: s.slot,
            stratum: s.stratum,
            arm: s.arm,
            attempted: s.attempted,
            active: s.active,
            reporting: s.heard,
            hard_failure: s.failed.then_some(START_FAILED),
            slos: &self.counts[i * self.indicators..(i + 1) * self.indicators],
        };
        subjects.map(outcome).collect()
    }

    /// Canaries that run the candidate, and controls.
    pub fn sizes(&self) -> (usize, usize) {
        let canaries = self.subjects.iter().filter(|s| s.arm == Arm::Canary && s.active).count();
        (canaries, self.subjects.iter().filter(|s| s.arm == Arm::Control).count())
    }
}

fn canaries<'a>(fleet: &'a Fleet) -> impl Iterator<Item = &'a Device> {
    fleet.devices.iter().filter(|d| d.is(Fact::Member) && d.runs())
}

fn first(fleet: &Fleet, device: &Device, warmup_windows: u32) -> u32 {
    fleet.stage_first.max(device.entered.saturating_add(warmup_windows))
}

/// The planned looks that are reached: when half of the running canaries have reported so many windows.
pub fn looks(fleet: &Fleet, plan: &LookPlan, stage_windows: u64, warmup_windows: u32) -> Looks {
    let reported = |d: &Device| u64::from(d.reported.saturating_sub(first(fleet, d, warmup_windows)));
    let mut seen: Vec<u64> = canaries(fleet).map(reported).collect();
    let middle = seen.len() / 2;
    let half = if seen.is_empty() { 0 } else { *seen.select_nth_unstable(middle).1 };
    let short = |n: u64| u16::try_from(n).unwrap_or(u16::MAX);
    match plan {
        LookPlan::Even => {
            let planned = stage_windows.min(LOOKS_MAX);
            Looks { reached: short(half.saturating_mul(planned) / stage_windows), planned: short(planned) }
        }
        LookPlan::At(windows) => {
            let planned = windows.len() as u64;
            let last = windows.last().copied().unwrap_or(1).max(1);
            let passed = windows.iter().filter(|at| **at <= half).count() as u64;
            let extra = half.saturating_sub(last).saturating_mul(planned) / last;
            Looks { reached: short(passed + extra), planned: short(planned.max(1)) }
        }
    }
}
