//! Harm to a few devices or to one stratum: a part of the budget for tests that see it, and no Healthy beside a doubt.

use crate::assessment::{Few, FewKind};
use crate::budget::{Looks, Spending};
use crate::decide::far_worse::FarWorse;
use crate::exact::change::{Subject, change_scores};
use crate::exact::{by_stratum, exposure, tail_scan};
use crate::observations::{Arm, Counts};
use crate::state::SloState;
use modelfleet_number::chance::Chance;
use modelfleet_number::rounding::{from_ppb, ppb_up};

/// Of fewer canaries a few are so large a part that the test of all of them sees it.
const FEWEST_CANARIES: u64 = 20;
/// Canaries, and controls, that the tests use; of more, a random part.
const MOST_CANARIES: usize = 16_000;
const MOST_CONTROLS: usize = 4_000;
/// What [`SloState::few`] says of devices; a stratum is told by its number and this much more.
const DEVICES: u32 = 1;
const STRATA: u32 = 2;
/// Nothing is Healthy while a test of these is as significant as that; a harmless candidate waits this often at the most.
const HELD_BACK: f64 = 0.002;

/// Whether a stage of so many devices has these tests.
pub const fn are_tested(canaries: u64, controls: u64) -> bool {
    controls > 0 && canaries >= FEWEST_CANARIES
}

/// What is left of a rule's share for harm to all canaries.
pub const fn left_for_all(whole: Spending, canaries: u64, controls: u64) -> Spending {
    if are_tested(canaries, controls) { whole.main() } else { whole }
}

/// Both tests on the same subjects.
struct Found {
    devices: f64,
    stratum: Option<by_stratum::Worst>,
}

impl Found {
    /// At a level that both tests share; with one stratum the scan of devices has it alone.
    fn of(subjects: &[Subject], level: f64, seed: u64) -> Option<(Self, f64)> {
        let strata = by_stratum::mixed(subjects);
        if strata == 0 {
            return None;
        }
        let level = if strata > 1 { level / 2.0 } else { level };
        let changes = change_scores(subjects);
        let devices = tail_scan::scan(subjects, &changes, level).p;
        let of_strata = || by_stratum::worst(subjects, &changes, level, seed);
        Some((Self { devices, stratum: (strata > 1).then(of_strata).flatten() }, level))
    }

    /// What is beyond the level, and its p-value.
    fn beyond(&self, level: f64) -> Option<(u32, f64)> {
        // A stratum is told first: it says where to look.
        let stratum = self.stratum.filter(|worst| worst.p <= level);
        let stratum = stratum.map(|worst| (STRATA + u32::from(worst.stratum), worst.p));
        stratum.or_else(|| (self.devices <= level).then_some((DEVICES, self.devices)))
    }
}

/// Tests when a new planned look is reached; writes the outcome into `state`. Each test has half of what the look may
/// spend, and p-values are twice as large in turn.
pub fn test(subjects: &[Subject], spending: Spending, looks: Looks, seed: u64, state: &mut SloState) {
    if state.degraded || looks.reached <= state.few_looks {
        return;
    }
    let threshold = spending.cumulative_ppb(looks).saturating_sub(state.few_spent_ppb);
    if threshold == 0 {
        return;
    }
    let look_seed = Chance::fork(seed, u64::from(looks.reached)).next_u64();
    let Some((found, level)) = Found::of(&alike(subjects, seed), from_ppb(threshold), look_seed) else {
        return;
    };
    state.few_looks = looks.reached;
    state.few_spent_ppb += threshold;
    state.few = 0;
    if let Some((few, p)) = found.beyond(level) {
        state.few = few;
        state.degraded = true;
        state.p_value_ppb = ppb_up(p * from_ppb(threshold) / level);
        state.threshold_ppb = threshold;
    }
}

/// Whether a doubt keeps the candidate from being Healthy, at a final look. Writes into `state` what it is.
pub fn doubt(subjects: &[Subject], gates: usize, seed: u64, state: &mut SloState) -> bool {
    let level = HELD_BACK / gates.max(1) as f64;
    let found = Found::of(&alike(subjects, seed), 2.0 * level, seed).map(|(found, _)| found);
    state.few = found.and_then(|found| found.beyond(level)).map_or(0, |(few, _)| few);
    state.few > 0
}

/// Both arms thinned, with the same exposure.
fn alike(subjects: &[Subject], seed: u64) -> Vec<Subject> {
    let of = |arm: Arm| subjects.iter().filter(|s| s.arm == arm).count();
    let share = |most: usize, size: usize| ((most as u64) << 32) / (size.max(1) as u64);
    let (canaries, controls) =
        (share(MOST_CANARIES, of(Arm::Canary)), share(MOST_CONTROLS, of(Arm::Control)));
    let keep = |s: &&Subject| {
        let share = if s.arm == Arm::Canary { canaries } else { controls };
        share >= 1 << 32 || Chance::fork(seed, u64::from(s.id)).next_u64() >> 32 < share
    };
    let kept: Vec<Subject> = subjects.iter().filter(keep).copied().collect();
    exposure::matched(&kept, seed)
}

/// What is told of a few devices or of a stratum: what was found, or what keeps the candidate from being Healthy, or that
/// there are canaries far worse than before.
pub fn told(subjects: &[Subject], far: &FarWorse, state: &SloState) -> Option<Few> {
    let kind = match state.few {
        0 => None,
        DEVICES => Some(FewKind::Devices),
        of => stratum(subjects, u16::try_from(of - STRATA).unwrap_or(u16::MAX)),
    };
    let (canaries, controls) = far.counts();
    if kind.is_none() && canaries == 0 {
        return None;
    }
    let few = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Some(Few {
        kind: kind.unwrap_or(FewKind::Devices),
        found: state.degraded && state.few > 0,
        canaries: few(canaries),
        controls: few(controls),
        named: far.worst(subjects),
    })
}

fn stratum(subjects: &[Subject], number: u16) -> Option<FewKind> {
    let mut group = subjects.chunk_by(|a, b| a.stratum == b.stratum).filter(|g| g[0].stratum == number);
    let group = group.next()?;
    let sum = |arm: Arm| {
        let arm = group.iter().filter(|s| s.arm == arm);
        arm.fold(Counts::default(), |sum, s| sum.plus(Counts::new(s.known as u64, s.bad as u64)))
    };
    let (canary, control) = (sum(Arm::Canary), sum(Arm::Control));
    Some(FewKind::Stratum { number, canary, control })
}

/// Whether what was found breaks the allowance by itself: the stratum together, or two of the devices one by one.
pub fn breaks(few: &Few, subjects: &[Subject], far: &FarWorse, allowance_ppm: u32) -> bool {
    match few.kind {
        FewKind::Stratum { canary, .. } => canary.share_ppm() > u64::from(allowance_ppm),
        FewKind::Devices => {
            let over = |s: &Subject| Counts::new(s.known as u64, s.bad as u64).share_ppm();
            far.canaries(subjects).filter(|s| over(s) > u64::from(allowance_ppm)).count() >= 2
        }
    }
}
