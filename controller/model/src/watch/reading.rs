//! What one closed window of the fleet says: counts of all devices, and histograms of the sampled ones.

use std::collections::BTreeMap;

use modelfleet_fleet::device::DeviceReport;
use modelfleet_fleet::fair::merged_bins;
use modelfleet_fleet::intern::Number;
use modelfleet_fleet::view::Subject;
use modelfleet_judge::{Arm, Counts};
use modelfleet_protocol::bins::Bins;
use modelfleet_rollout::Amount;
use modelfleet_watch::{FEATURES_MAX, Seen, Share, Stream, WindowReading, feature_seen, share_difference};

use super::groups::Groups;
use crate::assess::Judged;

/// Windows of the hold-back in one window of the fleet, below which it says nothing.
const HELD_BACK_MIN: u64 = 5;
/// A group may break objectives in at most this share of its windows, however many objectives there are, millionths.
const GROUP_ALLOWED_MAX_PPM: u32 = 500_000;
/// Of a share of devices a twentieth of the allowed is a difference that does not matter.
const SMALL_OF_ALLOWED: u32 = 20;
/// And so is a tenth of a point.
const SMALL_MIN_PPM: u32 = 1_000;

/// Device-windows of one objective, by stratum: with the version, without it.
type Strata = BTreeMap<u16, [Counts; 2]>;

/// Reads a window.
pub(super) fn reading(judged: &Judged<'_>, groups: &Groups, index: u64) -> WindowReading {
    let objectives = &judged.valid.objectives;
    let mut strata: Vec<Strata> = vec![Strata::new(); objectives.len()];
    let mut of_groups = vec![Counts::default(); groups.names.len()];
    let mut silence = Counts::default();
    for subject in judged.subjects {
        let Some(report) = subject.report.filter(|report| report.counts(judged.counting)) else { continue };
        let (mut known, mut bad) = (false, false);
        for (place, objective) in objectives.iter().enumerate() {
            let at = index.saturating_sub(objective.late_windows(judged.counting.window_ms));
            let own = in_window(report, place, at);
            (known, bad) = (known || own.known > 0, bad || own.bad > 0);
            let arm = usize::from(subject.arm == Arm::Control);
            let sum = &mut strata[place].entry(subject.stratum).or_default()[arm];
            *sum = sum.plus(own);
        }
        if subject.arm == Arm::Canary {
            let own = Counts::new(u64::from(known), u64::from(bad));
            groups
                .of_set(subject.labels)
                .iter()
                .for_each(|&group| of_groups[group] = of_groups[group].plus(own));
            silence =
                silence.plus(Counts::new(1, u64::from(is_silent(subject, report.windows.end(), index))));
        }
    }
    let mut seen: Vec<Seen> = Vec::new();
    let broken = objectives.iter().zip(&strata);
    seen.extend(broken.filter_map(|(objective, strata)| {
        of_objective(Stream::Objective(objective.indicator.name.clone()), strata, objective.allowance_ppm)
    }));
    let allowed = objectives.iter().fold(0_u32, |sum, objective| sum.saturating_add(objective.allowance_ppm));
    let of_group = |(name, counts): (&String, &Counts)| {
        of_share(Stream::Group(name.clone()), *counts, allowed.min(GROUP_ALLOWED_MAX_PPM))
    };
    seen.extend(groups.names.iter().zip(&of_groups).filter_map(of_group));
    seen.extend(of_share(Stream::Silence, silence, silent_allowed_ppm(judged, silence.known)));
    seen.extend(of_histograms(judged, index));
    WindowReading { index, seen }
}

/// The devices with the version in this window, by number of their label set, and whether each is bad in what this stream is
/// about: in one objective or in any, or silent. Of features no device is known to be bad.
pub(super) fn bad_devices(judged: &Judged<'_>, stream: &Stream, index: u64) -> Vec<(Number, bool)> {
    let canaries = judged.subjects.iter().filter(|subject| subject.arm == Arm::Canary);
    let bad = |subject: &Subject<'_>| {
        let report = subject.report.filter(|report| report.counts(judged.counting))?;
        if *stream == Stream::Silence {
            return Some((subject.labels, is_silent(subject, report.windows.end(), index)));
        }
        let objectives = judged.valid.objectives.iter().enumerate();
        let asked = objectives.filter(|(_, objective)| match stream {
            Stream::Group(_) => true,
            Stream::Objective(name) => objective.indicator.name == *name,
            _ => false,
        });
        let counts = asked.fold(Counts::default(), |sum, (place, objective)| {
            let at = index.saturating_sub(objective.late_windows(judged.counting.window_ms));
            sum.plus(in_window(report, place, at))
        });
        (counts.known > 0).then_some((subject.labels, counts.bad > 0))
    };
    canaries.filter_map(bad).collect()
}

fn in_window(report: &DeviceReport, objective: usize, at: u64) -> Counts {
    let [from, after] = [at, at + 1].map(|first| report.windows.since(objective, first));
    Counts::new(from.known.saturating_sub(after.known), from.bad.saturating_sub(after.bad))
}

/// A device without a connection that has not reported the window. One that is connected and idle reports seldom.
fn is_silent(subject: &Subject<'_>, reported_end: u64, index: u64) -> bool {
    reported_end <= index && !subject.facts.online
}

fn silent_allowed_ppm(judged: &Judged<'_>, devices: u64) -> u32 {
    let stage = judged.valid.policy.stage(judged.state.stage);
    match stage.limits.max_unreachable {
        Amount::Ppm(ppm) => ppm,
        Amount::Count(count) => {
            let ppm = count.saturating_mul(1_000_000).checked_div(devices).unwrap_or(0);
            u32::try_from(ppm.min(1_000_000)).unwrap_or(0)
        }
    }
}

fn small_ppm(allowed_ppm: u32) -> u32 {
    (allowed_ppm / SMALL_OF_ALLOWED).max(SMALL_MIN_PPM)
}

fn of_share(stream: Stream, counts: Counts, allowed_ppm: u32) -> Option<Seen> {
    let share = Share { bad: counts.bad, known: counts.known, allowed_ppm };
    let position = share.ppm()?;
    Some(Seen { stream, level: Some(share), position_ppm: Some(position), small_ppm: small_ppm(allowed_ppm) })
}

/// With a hold-back the change that is watched is that of the difference to it, stratum by stratum: what all devices go
/// through is in both.
fn of_objective(stream: Stream, strata: &Strata, allowed_ppm: u32) -> Option<Seen> {
    let sum = |arm: usize| strata.values().fold(Counts::default(), |sum, arms| sum.plus(arms[arm]));
    let seen = of_share(stream, sum(0), allowed_ppm)?;
    if sum(1).known < HELD_BACK_MIN {
        return Some(seen);
    }
    let (mut with, mut without, mut weight) = (0_u64, 0_u64, 0_u64);
    for [own, held_back] in strata.values().filter(|arms| arms[0].known > 0 && arms[1].known > 0) {
        with += own.known * own.share_ppm();
        without += own.known * held_back.share_ppm();
        weight += own.known;
    }
    let mean = |sum: u64| u32::try_from(sum.checked_div(weight).unwrap_or(0)).unwrap_or(0);
    let position = (weight > 0).then(|| share_difference(mean(with), mean(without)));
    // Half as much, as the position is.
    Some(Seen { position_ppm: position, small_ppm: seen.small_ppm / 2, ..seen })
}

fn of_histograms(judged: &Judged<'_>, index: u64) -> Vec<Seen> {
    let (Some(samples), Some(profile)) = (judged.samples, judged.profile) else { return Vec::new() };
    let windows = samples.window(Arm::Canary, index);
    let mut seen = Vec::new();
    for (place, feature) in profile.features.iter().enumerate().take(usize::from(FEATURES_MAX)) {
        let bins: Vec<&Bins> = windows.iter().filter_map(|window| window.features.get(place)).collect();
        let stream = u16::try_from(place).map(Stream::Feature).ok();
        let Some(merged) = merged_bins(bins, feature.counts.0.len()) else { continue };
        seen.extend(stream.and_then(|stream| feature_seen(stream, &feature.counts.0, &merged.0)));
    }
    if let Some(confidence) = &profile.confidence {
        let bins = windows.iter().map(|window| &window.confidence).collect();
        let merged = merged_bins(bins, confidence.counts.0.len());
        seen.extend(
            merged.and_then(|merged| feature_seen(Stream::Confidence, &confidence.counts.0, &merged.0)),
        );
    }
    seen
}
