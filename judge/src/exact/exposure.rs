//! The same exposure in both arms, so that no device is ranked by how long it was watched.
//!
//! Canaries and controls may come with different amounts of history, or know one window less, for reasons that
//! have nothing to do with harm. Among devices that never had a bad window any such difference alone decides the
//! order: all canaries would stand before or behind all controls. So the longer arm forgets windows: its counts
//! become what a random part of its windows would have counted (a hypergeometric draw). As long as a device's
//! windows are alike, a device that forgot is as one that was watched for so long, and canaries picked at random
//! can be exchanged with controls again, which is all that the permutation test asks.

use crate::exact::change::Subject;
use crate::observations::Arm;
use libm::sqrt;
use modelfleet_number::chance::Chance;
use modelfleet_number::hypergeometric;
use std::borrow::Cow;

/// Share of the controls' known windows that canaries may lack: above it, which windows are unknown may be what
/// differs, and a candidate that loses windows may be what loses them.
const LACKING_MAX: f64 = 0.1;
/// Share by which canaries may know more: they are drawn among devices in reach, which are switched off less often
/// than the rest, so that even twice as much is no sign of anything. From [`CUT_FROM`] on they forget what they know more.
const KNOWN_MORE_MAX: f64 = 3.0;
/// Share by which canaries know more from which on they are compared by what controls know as well.
const CUT_FROM: f64 = 0.1;
/// Windows by which they may differ in any case: at the first looks one is more than a tenth.
const ALWAYS_ALLOWED: f64 = 1.0;
/// A difference this many standard deviations from that of a random pick is not chance (two-sided 1 %). Where
/// no pick reaches that, none reaches the level of a test either.
const CHANCE_DEVIATIONS: f64 = 2.576;
/// Keeps the draws of this file apart from others under the same seed and device.
const LABEL: u64 = 0x6578_706f_7375_7265;

/// The subjects as they are compared for Healthy: canaries that know more than controls are cut to the same.
pub fn compared(subjects: &[Subject], seed: u64) -> Cow<'_, [Subject]> {
    let known = |arm: Arm| {
        let arm = subjects.iter().filter(|s| s.arm == arm);
        let (n, sum) = arm.fold((0.0, 0.0), |(n, sum), s| (n + 1.0, sum + s.known));
        if n > 0.0 { sum / n } else { 0.0 }
    };
    let controls = known(Arm::Control);
    let knows_more = controls > 0.0 && known(Arm::Canary) > (1.0 + CUT_FROM) * controls;
    if knows_more { Cow::Owned(matched(subjects, seed)) } else { Cow::Borrowed(subjects) }
}

/// Mean known windows per canary and per control, when canaries lack more than a tenth of what controls know (and
/// more than a window), or know four times as much, and that by more than chance.
/// Subjects are ordered by stratum; a stratum counts by its canaries, and only if it has controls.
pub fn unlike(subjects: &[Subject]) -> Option<(u64, u64)> {
    let (mut canaries, mut canary, mut control, mut apart, mut variance) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for group in subjects.chunk_by(|a, b| a.stratum == b.stratum) {
        let total = |arm: Arm| {
            group.iter().filter(|s| s.arm == arm).fold((0.0, 0.0), |(n, sum), s| (n + 1.0, sum + s.known))
        };
        let ((k, ours), (rest, theirs)) = (total(Arm::Canary), total(Arm::Control));
        if k == 0.0 || rest == 0.0 {
            continue;
        }
        let n = k + rest;
        let mean = (ours + theirs) / n;
        let squares: f64 = group.iter().map(|s| (s.known - mean) * (s.known - mean)).sum();
        // Variance of the sum of a random pick of k from n.
        variance += squares * k * rest / (n * (n - 1.0));
        apart += ours - k * mean;
        canaries += k;
        canary += ours;
        control += k * theirs / rest;
    }
    let most = if canary < control { LACKING_MAX } else { KNOWN_MORE_MAX } * control;
    let far = (canary - control).abs() > most.max(ALWAYS_ALLOWED * canaries);
    let odd = apart.abs() > CHANCE_DEVIATIONS * sqrt(variance);
    (canaries > 0.0 && far && odd)
        .then(|| ((canary / canaries).round() as u64, (control / canaries).round() as u64))
}

/// One arm has half as much history again per device as the other, or more.
pub fn pasts_apart(subjects: &[Subject]) -> bool {
    let mean = |arm: Arm| {
        let arm = subjects.iter().filter(|s| s.arm == arm);
        let (n, sum) = arm.fold((0.0, 0.0), |(n, sum), s| (n + 1.0, sum + s.past));
        if n > 0.0 { sum / n } else { 0.0 }
    };
    let (canary, control) = (mean(Arm::Canary), mean(Arm::Control));
    canary.max(control) > 1.5 * canary.min(control)
}

/// The subjects with both arms cut to the same exposure within each stratum: history and known windows of the
/// device that is so many-th shortest in its arm become at most those of the other arm's at the same place. The
/// same for the same seed, whatever the order; subjects are ordered by stratum, and stay so.
pub fn matched(subjects: &[Subject], seed: u64) -> Vec<Subject> {
    let mut result = subjects.to_vec();
    for group in result.chunk_by_mut(|a, b| a.stratum == b.stratum) {
        let tie = |s: &Subject| Chance::fork(seed ^ LABEL, u64::from(s.id)).next_u64();
        let pasts = limits(group, |s| (s.past as u64, tie(s)));
        let knowns = limits(group, |s| (s.known as u64, tie(s)));
        for ((subject, past), known) in group.iter_mut().zip(pasts).zip(knowns) {
            let mut chance = Chance::fork(seed.rotate_left(32) ^ LABEL, u64::from(subject.id));
            forget(&mut subject.past, &mut subject.past_bad, past, &mut chance);
            forget(&mut subject.known, &mut subject.bad, known, &mut chance);
            *subject = subject.with_usual();
        }
    }
    result
}

/// For each subject of a stratum what the other arm has at its place in the order; no limit without other arm.
fn limits(group: &[Subject], length: impl Fn(&Subject) -> (u64, u64)) -> Vec<u64> {
    let order = |arm: Arm| {
        let arm = group.iter().enumerate().filter(|(_, s)| s.arm == arm);
        let mut list: Vec<((u64, u64), usize)> = arm.map(|(i, s)| (length(s), i)).collect();
        list.sort_unstable();
        list
    };
    let (canaries, controls) = (order(Arm::Canary), order(Arm::Control));
    let mut limits = vec![u64::MAX; group.len()];
    for (own, other) in [(&canaries, &controls), (&controls, &canaries)] {
        for (place, &(_, device)) in own.iter().enumerate() {
            if let Some(((length, _), _)) = other.get((2 * place + 1) * other.len() / (2 * own.len())) {
                limits[device] = *length;
            }
        }
    }
    limits
}

/// Keeps at most `most` windows: those that a random pick would.
fn forget(known: &mut f64, bad: &mut f64, most: u64, chance: &mut Chance) {
    let all = *known as u64;
    if all > most {
        *bad = hypergeometric::draw(all, *bad as u64, most, chance) as f64;
        *known = most as f64;
    }
}
