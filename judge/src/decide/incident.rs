//! A breach seen equally in controls is an incident, not a bad model.

use crate::assessment::{Incident, IncidentKind};
use crate::decide::plain::streak;
use crate::decide::tally::Tally;
use crate::evidence::{Arm, Counts, Evidence, EvidenceKind, MergedWindow, OnBreach, SloRule};
use crate::sentence;
use modelfleet_number::beta::binomial_upper_tail;

/// How many of the newest windows must show it.
const RECENT: usize = 3;
/// A window shows it when chance alone would do so this rarely.
const CHANCE: f64 = 1e-4;
/// Without an allowance only a share this many times the past's is an incident.
const WITHOUT_ALLOWANCE: u64 = 5;

/// Looks at the controls' newest windows. Statistical rules: in each of the last three the share of bad
/// devices is beyond the allowance and twice their own past, by more than chance explains. (A binomial tail
/// is safe for devices that differ: their sum scatters less.) A rhythm of the day below twice the mean, and
/// an allowance that was broken before the rollout began, are no incident. Plain rules:
/// canaries and controls are both over the threshold for so many windows in a row.
pub fn find(evidence: &Evidence<'_>, index: usize, rule: &SloRule<'_>, tally: &Tally) -> Option<Incident> {
    if rule.on_breach == OnBreach::Observe {
        return None;
    }
    let slo = u32::try_from(index).unwrap_or(u32::MAX);
    if let EvidenceKind::Plain { for_windows } = rule.evidence {
        let needed = for_windows.max(1);
        let canary = streak(evidence, index, Arm::Canary, evidence.needs.min_devices.max(1));
        let control = streak(evidence, index, Arm::Control, 1);
        if canary.breached < needed || control.breached < needed {
            return None;
        }
        let share = control.last.map_or(0, |w| w.devices.share_ppm());
        return Some(build(rule, slo, IncidentKind::CommonCause, share, u64::from(rule.allowance_ppm)));
    }
    let past = tally.control_history;
    if rule.allowance_ppm == 0 && past.known == 0 {
        return None;
    }
    // One window more, so that a past without a single bad window is not taken for a promise.
    let past = past.plus(Counts::new(2, 1)).share_ppm();
    let usual = if rule.allowance_ppm == 0 {
        past * WITHOUT_ALLOWANCE
    } else {
        (past * 2).max(u64::from(rule.allowance_ppm))
    };
    let windows = newest(evidence, slo);
    let far = |w: &&MergedWindow| {
        binomial_upper_tail(w.devices.bad(), w.devices.known, usual.min(1_000_000) as f64 * 1e-6) < CHANCE
    };
    if windows.len() < RECENT || windows.iter().filter(far).count() < RECENT {
        return None;
    }
    let recent = windows.iter().fold(Counts::default(), |sum, w| sum.plus(w.devices));
    Some(build(rule, slo, IncidentKind::CommonCause, recent.share_ppm(), usual))
}

/// The controls' newest windows, newest first.
fn newest(evidence: &Evidence<'_>, slo: u32) -> Vec<MergedWindow> {
    let controls = evidence.merged.iter().filter(|w| w.slo == slo && w.arm == Arm::Control);
    let mut windows: Vec<MergedWindow> = controls.filter(|w| w.devices.known > 0).copied().collect();
    windows.sort_by_key(|w| std::cmp::Reverse(w.window));
    windows.dedup_by_key(|w| w.window);
    windows.truncate(RECENT);
    windows
}

/// An incident of `kind` with the share among canaries and what their past was.
pub fn new(rule: &SloRule<'_>, index: usize, kind: IncidentKind, tally: &Tally) -> Incident {
    let slo = u32::try_from(index).unwrap_or(u32::MAX);
    build(rule, slo, kind, tally.canary.share_ppm(), tally.canary_history.share_ppm())
}

fn build(rule: &SloRule<'_>, slo: u32, kind: IncidentKind, share: u64, usual: u64) -> Incident {
    let cut = |ppm: u64| u32::try_from(ppm).unwrap_or(u32::MAX);
    let mut incident =
        Incident { slo, kind, share_ppm: cut(share), usual_ppm: cut(usual), sentence: String::new() };
    incident.sentence = sentence::incident(rule.name, &incident);
    incident
}
