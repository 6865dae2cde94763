//! Harm to a few devices or to one group: a part of the budget for tests that see it, and no Healthy beside a doubt.

use crate::assessment::{Few, FewKind};
use crate::budget::{Looks, Spending};
use crate::decide::far_worse::FarWorse;
use crate::exact::change::{Subject, change_scores};
use crate::exact::groups::{self, Group, Key};
use crate::exact::worst_group::{self, Worst};
use crate::exact::{exposure, tail_scan};
use crate::observations::{Arm, Counts};
use crate::state::SloState;
use modelfleet_number::chance::Chance;
use modelfleet_number::rounding::{from_ppb, ppb_up};

/// Of fewer canaries a few are so large a part that the test of all of them sees it.
const FEWEST_CANARIES: u64 = 20;
/// Canaries, and controls, that the tests use; of more, a random part.
const MOST_CANARIES: usize = 16_000;
const MOST_CONTROLS: usize = 4_000;
/// What [`SloState::few`] says of devices; a group is told by its number and this much more.
const DEVICES: u32 = 1;
const GROUPS: u32 = 2;
/// So many outcomes that are as rare as the worst have to be within the level before the budget of groups is spent.
const WORST_OUTCOMES: f64 = 4.0;
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
    group: Option<Worst>,
}

impl Found {
    /// What is beyond the level of its test, and its p-value. A group is told first: it says where to look.
    fn beyond(&self, levels: &Levels) -> Option<(u32, f64, u64)> {
        let group = self.group.filter(|worst| worst.p <= from_ppb(levels.groups_ppb));
        let group = group.map(|worst| (GROUPS + worst.key.code(), worst.p, levels.groups_ppb));
        let devices = self.devices <= from_ppb(levels.devices_ppb);
        group.or_else(|| devices.then_some((DEVICES, self.devices, levels.devices_ppb)))
    }
}

/// What a look may spend on each test, parts per billion.
struct Levels {
    devices_ppb: u64,
    groups_ppb: u64,
}

impl Levels {
    /// The tests share alike; where there are no groups the scan of devices has it alone. What the groups' test has not spent at
    /// the looks before stays its own.
    fn of(
        spending: Spending,
        looks: Looks,
        state: &SloState,
        groups: &[Group],
        subjects: &[Subject],
    ) -> Self {
        let left = spending.cumulative_ppb(looks).saturating_sub(state.few_spent_ppb);
        if groups.is_empty() {
            return Self { devices_ppb: left, groups_ppb: 0 };
        }
        let half = spending.half();
        let before = half.cumulative_ppb(Looks { reached: state.few_looks, ..looks });
        let devices_ppb = half.cumulative_ppb(looks).saturating_sub(before).min(left);
        let groups_ppb = left - devices_ppb;
        let kept = is_kept(half, looks, groups_ppb, groups.iter().map(|group| group.rarest(subjects)));
        Self { devices_ppb, groups_ppb: if kept { 0 } else { groups_ppb } }
    }
}

/// Whether a look's part for groups is kept for a later look. With three canaries of a hundred devices even the worst outcome
/// comes once in 161 700 picks: spent bit by bit the budget never allows for that. So it is saved up until it does, for half
/// of the planned looks at the most, so that harm to a large group is not found late. How much is needed follows from the
/// sizes of the groups, not from what they show.
fn is_kept(half: Spending, looks: Looks, level_ppb: u64, mut rarest: impl Iterator<Item = f64>) -> bool {
    let middle = half.cumulative_ppb(Looks { reached: looks.planned / 2, ..looks });
    let (now, later) = (from_ppb(level_ppb), from_ppb(middle));
    2 * u32::from(looks.reached) < u32::from(looks.planned)
        && rarest.any(|rarest| WORST_OUTCOMES * rarest > now && WORST_OUTCOMES * rarest <= later)
}

/// Tests when a new planned look is reached; writes the outcome into `state`.
pub fn test(subjects: &[Subject], spending: Spending, looks: Looks, seed: u64, state: &mut SloState) {
    if state.degraded || looks.reached <= state.few_looks {
        return;
    }
    let subjects = alike(subjects, seed);
    let groups = groups::of(&subjects);
    let levels = Levels::of(spending, looks, state, &groups, &subjects);
    if levels.devices_ppb == 0 || !has_both_arms(&subjects) {
        return;
    }
    let changes = change_scores(&subjects);
    let look_seed = Chance::fork(seed, u64::from(looks.reached)).next_u64();
    let group = (levels.groups_ppb > 0)
        .then(|| worst_group::worst(&subjects, &groups, &changes, from_ppb(levels.groups_ppb), look_seed));
    let devices = tail_scan::scan(&subjects, &changes, from_ppb(levels.devices_ppb)).p;
    state.few_looks = looks.reached;
    state.few_spent_ppb += levels.devices_ppb + levels.groups_ppb;
    state.few = 0;
    if let Some((few, p, level_ppb)) = (Found { devices, group: group.flatten() }).beyond(&levels) {
        state.few = few;
        state.degraded = true;
        state.p_value_ppb = ppb_up(p);
        state.threshold_ppb = level_ppb;
    }
}

/// Whether a doubt keeps the candidate from being Healthy, at a final look. Writes into `state` what it is. A group is in doubt
/// by its own ranks alone, which twenty groups share: with two canaries in each the next stage tells more.
pub fn doubt(subjects: &[Subject], gates: usize, seed: u64, state: &mut SloState) -> bool {
    state.few = 0;
    let subjects = alike(subjects, seed);
    if !has_both_arms(&subjects) {
        return false;
    }
    let groups = groups::of(&subjects);
    let changes = change_scores(&subjects);
    let level = HELD_BACK / gates.max(1) as f64;
    let level = if groups.is_empty() { 2.0 * level } else { level };
    let devices = tail_scan::scan(&subjects, &changes, level).p;
    let group = worst_group::by_own_ranks(&subjects, &groups, &changes, level, seed);
    let levels = Levels { devices_ppb: ppb_up(HELD_BACK / gates.max(1) as f64), groups_ppb: ppb_up(level) };
    state.few = (Found { devices, group }).beyond(&levels).map_or(0, |(few, ..)| few);
    state.few > 0
}

fn has_both_arms(subjects: &[Subject]) -> bool {
    let mut strata = subjects.chunk_by(|a, b| a.stratum == b.stratum);
    strata.any(|stratum| stratum.iter().any(|s| s.arm != stratum[0].arm))
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

/// What is told of a few devices or of a group: what was found, or what keeps the candidate from being Healthy, or that
/// there are canaries far worse than before.
pub fn told(subjects: &[Subject], far: &FarWorse, state: &SloState) -> Option<Few> {
    let kind = match state.few {
        0 => None,
        DEVICES => Some(FewKind::Devices),
        of => group(subjects, Key::of_code(of - GROUPS)),
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

fn group(subjects: &[Subject], key: Key) -> Option<FewKind> {
    let sum = |arm: Arm| {
        let arm = subjects.iter().filter(|s| s.arm == arm && key.has(s));
        arm.fold(Counts::default(), |sum, s| sum.plus(Counts::new(s.known as u64, s.bad as u64)))
    };
    let (canary, control) = (sum(Arm::Canary), sum(Arm::Control));
    let there = canary.known + control.known > 0;
    there.then_some(match key {
        Key::Stratum(number) => FewKind::Stratum { number, canary, control },
        Key::Watched { label, value } => FewKind::Watched { label, value, canary, control },
    })
}

/// Whether what was found breaks the allowance by itself: the group together, or two of the devices one by one.
pub fn breaks(few: &Few, subjects: &[Subject], far: &FarWorse, allowance_ppm: u32) -> bool {
    match few.kind {
        FewKind::Stratum { canary, .. } | FewKind::Watched { canary, .. } => {
            canary.share_ppm() > u64::from(allowance_ppm)
        }
        FewKind::Devices => {
            let over = |s: &Subject| Counts::new(s.known as u64, s.bad as u64).share_ppm();
            far.canaries(subjects).filter(|s| over(s) > u64::from(allowance_ppm)).count() >= 2
        }
    }
}
