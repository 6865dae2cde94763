//! The two arms as the judge sees them, by the controller's rule (its `assess.rs` and `index/view.rs`): members are
//! canaries, those that were set aside too, and count from their activation and warm-up on; devices that the stage
//! could have drawn and that have nothing to do with the candidate are controls, and each takes the start of a canary
//! of its stratum, so that both arms have the same exposure and the same hours of the day.

use std::collections::BTreeMap;

use modelfleet_judge::{Arm, DeviceOutcome, Looks, SloCounts, matched_start_sorted};

use crate::device::{Device, Fact, Standing};
use crate::fleet::Fleet;
use crate::setup::{Controls, LookPlan};

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

/// When and how is looked.
#[derive(Clone, Copy, Debug)]
pub struct Lens {
    /// The window that begins now.
    pub window: u32,
    /// Windows after activation that do not count.
    pub warmup_windows: u32,
    /// Windows without a report after which a device is silent.
    pub silent_windows: u32,
    /// Whom canaries are compared with.
    pub controls: Controls,
    /// The judge's seed for the stage.
    pub seed: u64,
}

#[derive(Clone, Copy, Debug)]
struct Subject {
    slot: u32,
    stratum: u16,
    arm: Arm,
    attempted: bool,
    active: bool,
    heard: bool,
    awaited: bool,
    failed: bool,
}

fn arm(fleet: &Fleet, device: &Device, controls: Controls) -> Option<Arm> {
    if device.is(Fact::Member) || device.is(Fact::SetAside) {
        return Some(Arm::Canary);
    }
    let matching = fleet.matching[usize::from(device.stratum)];
    let taken = controls != Controls::InReachAtDraw || device.is(Fact::WasOnline);
    (matching && taken && device.standing == Standing::Idle).then_some(Arm::Control)
}

impl Arms {
    /// Looks at a fleet.
    pub fn look(&mut self, fleet: &Fleet, lens: Lens) {
        self.subjects.clear();
        self.counts.clear();
        self.indicators = fleet.tables.indicators;
        let strata = strata(fleet, lens.controls);
        let starts = starts(fleet, strata, lens.warmup_windows);
        // Whoever gave a sign of life since the stage opened and gives none any more, is silent, in both arms alike;
        // who is in reach could have failed.
        let cut = fleet.tables.cut_off(lens.window.saturating_sub(1));
        let opened = fleet.stage_first.saturating_sub(lens.warmup_windows);
        let delay = fleet.tables.scenario.network.report_delay_windows;
        for (slot, device) in fleet.devices.iter().enumerate() {
            let Some(arm) = arm(fleet, device, lens.controls) else { continue };
            let stratum = strata[usize::from(device.stratum)];
            let start = match arm {
                Arm::Canary => None,
                Arm::Control => starts
                    .get(&stratum)
                    .and_then(|starts| matched_start_sorted(lens.seed, slot as u32, starts)),
            };
            let offset = start.map_or(0, |start| start.saturating_sub(u64::from(fleet.stage_first)));
            let offset = u32::try_from(offset).unwrap_or(u32::MAX);
            let counts = |indicator| fleet.counts(slot, indicator, offset, lens.warmup_windows);
            self.counts.extend((0..self.indicators).map(counts));
            let failed = device.standing == Standing::Failed;
            let away = cut.as_ref().is_some_and(|cut| cut[usize::from(device.stratum)]);
            let online = device.is(Fact::Online) && !away;
            let seen = online || device.reported.saturating_add(delay) >= opened;
            self.subjects.push(Subject {
                slot: slot as u32,
                stratum,
                arm,
                attempted: match arm {
                    Arm::Canary if device.runs() => seen || device.entered >= opened,
                    Arm::Canary => device.ran(),
                    Arm::Control => seen,
                },
                active: device.runs(),
                heard: fleet.is_heard(device, lens.window, lens.silent_windows),
                awaited: online && !failed,
                failed,
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
            awaited: s.awaited,
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

/// By label set: which devices are compared with each other.
fn strata<'a>(fleet: &'a Fleet, controls: Controls) -> &'a [u16] {
    if controls == Controls::ThisDrawAlone { &fleet.compared } else { &fleet.same_chances }
}

fn canaries<'a>(fleet: &'a Fleet) -> impl Iterator<Item = &'a Device> {
    fleet.devices.iter().filter(|d| d.is(Fact::Member) && d.runs())
}

/// Where the canaries of each stratum start, in order.
fn starts(fleet: &Fleet, strata: &[u16], warmup_windows: u32) -> BTreeMap<u16, Vec<u64>> {
    let mut starts: BTreeMap<u16, Vec<u64>> = BTreeMap::new();
    for device in canaries(fleet) {
        let stratum = strata[usize::from(device.stratum)];
        starts.entry(stratum).or_default().push(u64::from(first(fleet, device, warmup_windows)));
    }
    starts.values_mut().for_each(|starts| starts.sort_unstable());
    starts
}

fn first(fleet: &Fleet, device: &Device, warmup_windows: u32) -> u32 {
    fleet.stage_first.max(device.entered.saturating_add(warmup_windows))
}

/// The planned looks that are reached: when half of the running canaries have reported so many windows.
///
/// Where canaries have gone quiet, windows before `passed` count for all of them.
pub fn looks(fleet: &Fleet, plan: &LookPlan, stage_windows: u64, warmup_windows: u32, passed: u32) -> Looks {
    let ended = |d: &Device| d.reported.max(passed);
    let reported = |d: &Device| u64::from(ended(d).saturating_sub(first(fleet, d, warmup_windows)));
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
