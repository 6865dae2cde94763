//! One sentence per verdict, short, with the numbers.

use crate::assessment::{
    Advice, Coverage, HardAction, HardStop, Incident, IncidentKind, SloVerdict, Verdict,
};
use crate::decide::hard_stop::suspicious;
use crate::decide::plain::Streak;
use crate::evidence::SloRule;

/// A stage whose state is lost.
pub const UNREADABLE: &str = "what the judge carried from look to look cannot be read, and starting anew could \
                              forget harm: this stage is not judged any more, start the rollout again";

/// Parts per million as percent: `5 %`, `0.25 %`.
fn percent(ppm: u64) -> String {
    let text = format!("{}.{:04}", ppm / 10_000, ppm % 10_000);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A probability in parts per billion: three digits.
fn probability(ppb: u64) -> String {
    let value = ppb as f64 * 1e-9;
    if ppb >= 1_000_000 { format!("{value:.4}") } else { format!("{value:.1e}") }
}

/// Ratios above this are all the same to a person: a thousandfold.
const FAR_PPM: u64 = 1_000_000_000;

/// A ratio in parts per million: `1.30x`.
pub fn times(ppm: u64) -> String {
    match ppm {
        u64::MAX => "any".to_owned(),
        FAR_PPM.. => "over 1000x".to_owned(),
        _ => format!("{}.{:02}x", ppm / 1_000_000, ppm / 10_000 % 100),
    }
}

/// The rate with its limits; of a ratio to nothing only the lower limit says something.
fn rate(record: &SloVerdict) -> String {
    let low = times(record.low_ppm);
    match (record.estimate_ppm, record.low_ppm, record.high_ppm) {
        (_, 0, u64::MAX) => String::new(),
        (_, FAR_PPM.., _) => "; rate over 1000x of expected".to_owned(),
        (FAR_PPM.., ..) => format!("; rate at least {low} of expected (95 %)"),
        (estimate, _, u64::MAX) => format!("; rate {} of expected (90 %: {low} or more)", times(estimate)),
        (estimate, _, high) => {
            format!("; rate {} of expected (90 %: {low} to {})", times(estimate), times(high))
        }
    }
}

/// `340 ms`-like values kept in thousandths.
fn thousandths(milli: i64) -> String {
    let text = format!("{}.{:03}", milli.unsigned_abs() / 1000, milli.unsigned_abs() % 1000);
    let sign = if milli < 0 { "-" } else { "" };
    format!("{sign}{}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A statistical SLO.
pub fn slo(rule: &SloRule<'_>, record: &SloVerdict) -> String {
    let name = rule.name;
    if record.devices == 0 {
        return format!("{name}: no canary has a known window yet");
    }
    if let Some((canaries, controls)) = record.unlike.filter(|_| record.verdict == Verdict::Undecided) {
        return format!(
            "{name}: arms not comparable: canaries know {canaries} windows, controls {controls}; harm not shown, passes nothing"
        );
    }
    let over = if rule.allowance_ppm == 0 {
        "in any window".to_owned()
    } else {
        format!("in more than {} of windows", percent(u64::from(rule.allowance_ppm)))
    };
    let (canaries, controls) = record.devices_over;
    let against = match record.controls {
        0 => "no controls to compare with".to_owned(),
        all => format!("{controls} of {all} controls"),
    };
    let rate = rate(record);
    let counts =
        format!("{name}: {canaries} of {} canaries were bad {over}, {against}{rate}", record.devices);
    let p = probability(record.p_value_ppb);
    let threshold = probability(record.threshold_ppb);
    match record.verdict {
        Verdict::Degraded => format!("{counts}; harm shown, p = {p} <= {threshold}"),
        Verdict::Healthy if record.margin_ppm == u64::MAX => {
            format!("{counts}; too few events to rule out a rise: passed on exposure")
        }
        Verdict::Healthy if record.controls == 0 => format!(
            "{counts}; a rise to {} of their own past is ruled out, less may be the hour of the day",
            times(record.margin_ppm)
        ),
        Verdict::Healthy => format!("{counts}; a rise to {} is ruled out", times(record.margin_ppm)),
        Verdict::Undecided if record.relative_harm => {
            format!("{counts}; worse than controls, p = {p} <= {threshold}, but within the allowance")
        }
        Verdict::Undecided if record.threshold_ppb == 0 && record.controls == 0 => match record.margin_ppm {
            u64::MAX => format!("{counts}; not tested without controls"),
            margin => {
                format!(
                    "{counts}; not tested without controls; a rise to {} not ruled out yet",
                    times(margin)
                )
            }
        },
        Verdict::Undecided if record.threshold_ppb == 0 => format!("{counts}; no look taken yet"),
        Verdict::Undecided if record.p_value_ppb <= record.threshold_ppb => {
            format!("{counts}; worse than their own past, p = {p} <= {threshold}")
        }
        Verdict::Undecided if record.margin_ppm == u64::MAX => {
            format!("{counts}; harm not shown so far, p = {p} > {threshold}")
        }
        Verdict::Undecided => format!(
            "{counts}; harm not shown, p = {p} > {threshold}; a rise to {} not ruled out yet",
            times(record.margin_ppm)
        ),
    }
}

/// Silence.
pub fn silence(record: &SloVerdict) -> String {
    let (canaries, controls) = record.devices_over;
    let counts = format!(
        "silence: {canaries} of {} canaries, {controls} of {} controls",
        record.devices, record.controls
    );
    if record.threshold_ppb == 0 {
        return format!("{counts}; no look taken yet");
    }
    let sign = if record.p_value_ppb <= record.threshold_ppb { "<=" } else { ">" };
    format!("{counts}; p = {} {sign} {}", probability(record.p_value_ppb), probability(record.threshold_ppb))
}

/// The plain rule.
pub fn plain(name: &str, canary: &Streak, control: &Streak, needed: u32, verdict: Verdict) -> String {
    let Some(last) = canary.last else {
        return format!("{name}: no merged window with enough devices and samples yet (plain rule)");
    };
    let (value, bound) = (thousandths(last.value_milli), thousandths(last.threshold_milli));
    let streak = format!(
        "{name}: {value} against {bound} over {} canaries, breached for {} windows in a row (rolls back at {needed})",
        last.devices.known, canary.breached
    );
    let end = match verdict {
        Verdict::Degraded => format!(", controls for {}", control.breached),
        _ if canary.breached >= needed => format!(", controls for {} too: not the model", control.breached),
        _ => String::new(),
    };
    format!("{streak}{end}; plain rule, no error promise")
}

/// Layer 0.
pub fn hard_stop(stop: &HardStop) -> String {
    let codes: Vec<String> = stop.codes.iter().map(|(code, count)| format!("code {code}: {count}")).collect();
    let counts = format!(
        "{} of {} canaries failed hard ({}), {} of {} controls; p = {}",
        stop.failed,
        stop.attempted,
        codes.join(", "),
        stop.control_failed,
        stop.controls,
        probability(stop.p_value_ppb)
    );
    let threshold = probability(stop.threshold_ppb);
    match &stop.action {
        HardAction::RollBackAll => format!("{counts} <= {threshold}: roll back all"),
        HardAction::Quarantine(_) => {
            format!("{counts}, not enough to blame the model: set these devices aside")
        }
    }
}

/// Coverage.
pub fn coverage(coverage: &Coverage) -> String {
    format!(
        "{} of {} canaries have {} known windows; {} of activated canaries report, {} needed",
        coverage.devices,
        coverage.devices_needed,
        coverage.windows_needed,
        percent(u64::from(coverage.reporting_ppm)),
        percent(u64::from(coverage.reporting_needed_ppm))
    )
}

/// Incident.
pub fn incident(name: &str, incident: &Incident) -> String {
    let (share, usual) = (percent(u64::from(incident.share_ppm)), percent(u64::from(incident.usual_ppm)));
    match incident.kind {
        IncidentKind::CommonCause => {
            format!(
                "{name}: controls are bad in {share} of device-windows too (usual or allowed: {usual}): not the model"
            )
        }
        IncidentKind::NoControls => {
            format!(
                "{name}: canaries are bad in {share} of device-windows ({usual} before), and no controls are left to compare with"
            )
        }
    }
}

/// The reason for the advice.
pub fn reason<'a>(
    advice: Advice,
    hard: Option<&HardStop>,
    coverage: &Coverage,
    incident: Option<&Incident>,
    quiet: bool,
    mut records: impl Iterator<Item = &'a SloVerdict> + Clone,
) -> String {
    let degraded = records.clone().find(|record| record.verdict == Verdict::Degraded);
    match advice {
        Advice::RollBack | Advice::Pause => match (hard, degraded, incident) {
            (Some(stop), _, _) if stop.action == HardAction::RollBackAll => stop.sentence.clone(),
            (_, Some(record), _) => record.sentence.clone(),
            (_, _, Some(incident)) => incident.sentence.clone(),
            _ => String::new(),
        },
        Advice::Advance => {
            let sentences: Vec<&str> = records
                .filter(|r| r.verdict == Verdict::Healthy)
                .take(3)
                .map(|r| r.sentence.as_str())
                .collect();
            if sentences.is_empty() { coverage.sentence.clone() } else { sentences.join("; ") }
        }
        Advice::Wait if hard.is_some_and(suspicious) => {
            hard.map_or_else(String::new, |stop| format!("waiting: {}", stop.sentence))
        }
        Advice::Wait if quiet => records
            .find(|record| record.slo.is_none())
            .map_or_else(String::new, |silence| format!("waiting: {}", silence.sentence)),
        Advice::Wait if !coverage.met => format!("waiting for evidence: {}", coverage.sentence),
        Advice::Wait => records
            .find(|record| record.slo.is_some() && record.verdict == Verdict::Undecided)
            .map_or_else(|| "waiting for the planned looks".to_owned(), |record| record.sentence.clone()),
    }
}
