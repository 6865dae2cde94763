//! Which harm to a share of the devices, or to one group, a Healthy stage has ruled out.

use crate::assessment::{FewProof, WatchedProof};
use crate::decide::far_worse::FarWorse;
use crate::exact::change::Subject;
use crate::exact::far::{common, fewest_bad};
use crate::exact::ratio::Ratio;
use crate::observations::Arm;
use crate::sizing::remaining_bound_ppm;
use libm::{expm1, log1p, sqrt};
use modelfleet_number::normal;
use modelfleet_number::rounding::ppm;
use std::collections::BTreeMap;

/// Rises that are asked about.
const RISES: [f64; 11] = [3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0];
/// Share of the devices with such a rise that have to be seen.
pub(crate) const SEEN: f64 = 0.8;
/// Canaries over which that is averaged; of more, every so many-th.
const MOST_ASKED: usize = 64;
/// Chance that what is ruled out is there all the same.
pub(crate) const BEYOND: f64 = 0.05;
/// A rise to more than this is as good as none.
pub(crate) const MOST: f64 = 100.0;

/// From the subjects of a stage that is Healthy; `None`: nothing of the kind is ruled out.
pub fn of(subjects: &[Subject], far: &FarWorse) -> Option<FewProof> {
    let stratum_ppm = by_stratum(subjects);
    let watched = watched(subjects);
    let devices = rise_seen(subjects).map(|rise| {
        let canaries = subjects.iter().filter(|s| s.arm == Arm::Canary).count() as u64;
        (ppm(rise), share_ruled_out_ppm(canaries, far.counts().0 as u64))
    });
    let (rise_ppm, share_ppm) = devices.unwrap_or((u64::MAX, 1_000_000));
    let any = devices.is_some() || stratum_ppm.is_some() || watched.is_some();
    any.then_some(FewProof { rise_ppm, share_ppm, stratum_ppm, watched })
}

/// The smallest rise of one canary that would most probably have been seen as far worse.
fn rise_seen(subjects: &[Subject]) -> Option<f64> {
    let canaries: Vec<&Subject> = subjects.iter().filter(|s| s.arm == Arm::Canary).collect();
    let step = canaries.len().div_ceil(MOST_ASKED).max(1);
    let bars: Vec<(f64, f64, f64)> = subjects
        .chunk_by(|a, b| a.stratum == b.stratum)
        .flat_map(|group| {
            let common = common(group, 1.0);
            let ours = group.iter().filter(|s| s.arm == Arm::Canary);
            ours.map(move |s| (s, common)).collect::<Vec<_>>()
        })
        .step_by(step)
        .map(|(s, common)| (s.known, (common * s.usual).clamp(1e-9, 0.999), fewest_bad(s, common)))
        .collect();
    smallest_rise(&bars)
}

/// The smallest rise of one device that is seen with the chance [`SEEN`], over devices with their known windows, their
/// usual share of bad ones, and how many of these make them far worse.
pub(crate) fn smallest_rise(bars: &[(f64, f64, f64)]) -> Option<f64> {
    RISES.into_iter().find(|rise| {
        let seen = bars.iter().map(|&(known, usual, bar)| chance(known, usual, bar, *rise)).sum::<f64>();
        !bars.is_empty() && seen >= SEEN * bars.len() as f64
    })
}

/// The share of devices with such a rise that so many canaries rule out, where so many got far worse, parts per million.
pub(crate) fn share_ruled_out_ppm(canaries: u64, far_worse: u64) -> u64 {
    let share = remaining_bound_ppm(u64::MAX, canaries, far_worse, 950_000);
    ppm(share as f64 * 1e-6 / SEEN).min(1_000_000)
}

/// The chance that a device whose events come so many times as often has so many bad windows.
fn chance(known: f64, usual: f64, bar: f64, rise: f64) -> f64 {
    let share = -expm1(rise * log1p(-usual));
    let deviation = sqrt(known * share * (1.0 - share)).max(0.5);
    normal::cdf((known * share - bar + 0.5) / deviation)
}

/// The rise that is ruled out in every stratum with canaries; `None` with fewer than two, or where one has none to rule out.
fn by_stratum(subjects: &[Subject]) -> Option<u64> {
    let groups: Vec<&[Subject]> = subjects.chunk_by(|a, b| a.stratum == b.stratum).collect();
    let both = |group: &&&[Subject]| group.iter().any(|s| s.arm != group[0].arm);
    let mixed = groups.iter().filter(both).count();
    if mixed < 2 {
        return None;
    }
    let highs = groups.iter().filter(both).map(|group| Some(Ratio::of(group)?.high(BEYOND)));
    let worst = highs.collect::<Option<Vec<f64>>>()?.into_iter().fold(0.0, f64::max);
    (worst < MOST).then(|| ppm(worst))
}

/// The rise that is ruled out in groups of watched labels.
fn watched(subjects: &[Subject]) -> Option<WatchedProof> {
    let mut groups: BTreeMap<(usize, u16), Vec<Subject>> = BTreeMap::new();
    for subject in subjects {
        for (label, &value) in subject.watched.iter().enumerate().filter(|(_, value)| **value > 0) {
            groups.entry((label, value)).or_default().push(*subject);
        }
    }
    let high = |group: &Vec<Subject>| {
        let both = group.iter().any(|s| s.arm != group[0].arm);
        both.then(|| Ratio::of(group).map(|ratio| ratio.high(BEYOND))).flatten().filter(|high| *high < MOST)
    };
    let told: Vec<f64> = groups.values().filter_map(high).collect();
    summary(&told, groups.len())
}

/// Of groups in which these rises are ruled out, out of so many.
pub(crate) fn summary(rises: &[f64], groups: usize) -> Option<WatchedProof> {
    let count = |n: usize| u16::try_from(n).unwrap_or(u16::MAX);
    let rise_ppm = ppm(rises.iter().copied().reduce(f64::max)?);
    Some(WatchedProof { rise_ppm, told: count(rises.len()), groups: count(groups) })
}
