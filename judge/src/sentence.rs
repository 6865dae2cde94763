//! The sentences that explain each verdict: the conclusion first, with its counts. The statistics are kept apart, so that
//! a caller with little room leaves them out and cuts nothing else.
//!
//! A sentence begins with a small letter and has no full stop at its end, because callers put it into longer sentences.

use crate::assessment::{
    Advice, Coverage, Exposure, Few, FewKind, FewProof, HardAction, HardStop, Incident, IncidentKind,
    SloVerdict, Verdict, WatchedProof,
};
use crate::decide::hard_stop::suspicious;
use crate::decide::plain::Streak;
use crate::decide::rare::Finding;
use crate::decide::tally::Tally;
use crate::decide::transient::{self, Transient};
use crate::observations::{Counts, SloRule, YearlyLimit};
use crate::sizing::yearly::yearly_rate;

/// A stage whose state is lost.
pub const UNREADABLE: &str = "this stage can no longer be judged: the judge's state in status cannot be read, and starting \
                              over could forget harm that was shown; abort this rollout and start it again";

/// A conclusion, and the statistics that it rests on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    /// The conclusion with its counts.
    pub sentence: String,
    /// The statistics behind it; empty without any.
    pub statistics: String,
}

impl Told {
    fn plain(sentence: String) -> Self {
        Self { sentence, statistics: String::new() }
    }
}

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

/// A p-value beside the threshold at which harm counts as shown: `p = 0.0013 (harm at 0.0015 or less)`.
fn p_value(p_value_ppb: u64, threshold_ppb: u64) -> String {
    format!("p = {} (harm at {} or less)", probability(p_value_ppb), probability(threshold_ppb))
}

/// `24 updated devices`, `1 updated device`: those with the new version.
fn devices(count: u32) -> String {
    many(count, "updated device")
}

/// A number with its noun.
fn many(count: u32, noun: &str) -> String {
    many_long(u64::from(count), noun)
}

fn many_long(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A rise to this is large: a verdict that rules out no smaller one says so.
const LARGE_RISE_PPM: u64 = 2_000_000;
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
fn rate(record: &SloVerdict) -> Option<String> {
    let low = times(record.low_ppm);
    Some(match (record.estimate_ppm, record.low_ppm, record.high_ppm) {
        (_, 0, u64::MAX) => return None,
        (_, FAR_PPM.., _) => "rate over 1000x the expected".to_owned(),
        (FAR_PPM.., ..) => format!("rate at least {low} the expected (95 % confidence)"),
        (estimate, _, u64::MAX) => {
            format!("rate {} the expected (90 % interval: {low} or more)", times(estimate))
        }
        (estimate, _, high) => {
            format!("rate {} the expected (90 % interval: {low} to {})", times(estimate), times(high))
        }
    })
}

/// `340 ms`-like values kept in thousandths.
fn thousandths(milli: i64) -> String {
    let text = format!("{}.{:03}", milli.unsigned_abs() / 1000, milli.unsigned_abs() % 1000);
    let sign = if milli < 0 { "-" } else { "" };
    format!("{sign}{}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// What is wrong when the rule is broken: `too many false alarms`.
fn breach(rule: &SloRule<'_>) -> String {
    if rule.breach.is_empty() { format!("{} outside its limit", rule.name) } else { rule.breach.to_owned() }
}

/// The limit in brackets, where it is known.
fn limit(rule: &SloRule<'_>) -> String {
    if rule.limit.is_empty() { String::new() } else { format!(" (limit {})", rule.limit) }
}

/// How many devices of both arms broke the rule: `too many false alarms (limit 25 %) on 7 of 24 updated devices, 1 of 36
/// others`.
fn counts(rule: &SloRule<'_>, record: &SloVerdict) -> String {
    let (canaries, controls) = record.devices_over;
    let without = match record.controls {
        0 => "no other device is left to compare with".to_owned(),
        all => format!("{controls} of {all} others"),
    };
    let with = devices(record.devices);
    format!("{}{} on {canaries} of {with}, {without}", breach(rule), limit(rule))
}

/// A statistical SLO.
pub fn slo(rule: &SloRule<'_>, record: &SloVerdict, tally: &Tally) -> Told {
    if record.devices == 0 {
        return Told::plain(match transient::settling(rule) {
            (canary, control) if canary.known > 0 => settling(rule, canary, control),
            _ => format!("{}: no updated device has reported a complete window yet", rule.name),
        });
    }
    if let Some((canaries, controls)) = record.unlike.filter(|_| record.verdict == Verdict::Undecided) {
        return Told::plain(format!(
            "{}: not comparable yet: updated devices have reported {canaries} windows on average, others {controls}",
            rule.name
        ));
    }
    let mut statistics = vec![match rule.allowance_ppm {
        0 => "a device counts as bad when one of its windows was bad".to_owned(),
        allowed => {
            format!(
                "a device counts as bad when more than {} of its windows were bad",
                percent(u64::from(allowed))
            )
        }
    }];
    statistics.extend(rate(record));
    if record.threshold_ppb > 0 {
        statistics.push(p_value(record.p_value_ppb, record.threshold_ppb));
    }
    let counts = counts(rule, record);
    if let Some(few) = record.few.as_ref().filter(|few| !few.found && few.canaries > 0) {
        statistics.push(format!("the rate is that of the others where {}", far_worse(rule, few, record)));
    }
    // Beside harm that has ended it says nothing that a few devices are far worse: all of them were.
    let few = few(rule, record).filter(|_| !has_ended(record));
    let mut sentence = match (few, conclusion(rule, record)) {
        (Some(few), _) => few,
        (None, None) => counts,
        (None, Some(conclusion)) => format!("{conclusion}; {counts}"),
    };
    if record.verdict != Verdict::Degraded
        && let Some(ended) = transient::told(rule, tally)
    {
        sentence = format!("{sentence}; {}", transient(&ended));
    }
    Told { sentence, statistics: statistics.join(", ") }
}

/// Nothing is judged yet: what the first windows after the change of models show.
fn settling(rule: &SloRule<'_>, canary: Counts, control: Counts) -> String {
    format!(
        "updated devices are still in their first windows after the change of models, which are compared but do not decide; \
         so far {} in {} of their {}, in {} of {} of others",
        breach(rule),
        canary.bad(),
        many_long(canary.known, "window"),
        control.bad(),
        control.known,
    )
}

/// A price of the change of models: `bad in the first 3 windows after the change of models (9 of 10 windows, 4 of 390 on
/// others), then as before: they do not count against the new version`.
fn transient(ended: &Transient) -> String {
    let Transient { windows, canary, control, settling } = ended;
    let first = match windows {
        1 => "first window".to_owned(),
        more => format!("first {more} windows"),
    };
    let then = if *settling {
        "they do not count against the new version".to_owned()
    } else {
        format!("observe.warmupWindows: {windows} would leave them out")
    };
    format!(
        "bad in the {first} after the change of models ({} of {} windows, {} of {} on others), then as before: {then}",
        canary.bad(),
        canary.known,
        control.bad(),
        control.known,
    )
}

/// Harm to a few devices or to one stratum, found or in doubt.
fn few(rule: &SloRule<'_>, record: &SloVerdict) -> Option<String> {
    let few = record.few.as_ref()?;
    let harm = few.found && record.verdict == Verdict::Degraded;
    let told = match few.kind {
        FewKind::Stratum { number, canary, control } => {
            format!("{} in stratum {number}: {}", breach(rule), there(canary, control))
        }
        FewKind::Watched { label, value, canary, control } => {
            format!("{} in group {label}/{value}: {}", breach(rule), there(canary, control))
        }
        FewKind::Devices => far_worse(rule, few, record),
    };
    match record.verdict {
        Verdict::Healthy | Verdict::Exposed => None,
        Verdict::Degraded => harm.then_some(told),
        Verdict::Undecided if few.found => Some(format!("{told}, but within the allowance")),
        Verdict::Undecided if record.relative_harm || record.threshold_ppb == 0 => None,
        Verdict::Undecided => Some(format!("no harm to all devices shown so far, but {told}")),
    }
}

fn there(canary: Counts, control: Counts) -> String {
    format!(
        "bad in {} of the windows of updated devices there, in {} of those of others there",
        percent(canary.share_ppm() / 1_000 * 1_000),
        percent(control.share_ppm() / 1_000 * 1_000)
    )
}

/// `3 of 200 updated devices got far worse than before (device 7, device 12, device 90), 0 of 1800 others`
fn far_worse(rule: &SloRule<'_>, few: &Few, record: &SloVerdict) -> String {
    let without = match record.controls {
        0 => "no other device is left to compare with".to_owned(),
        all => format!("{} of {all} others", few.controls),
    };
    if few.canaries == 0 {
        return format!("{} on the updated devices that changed most, {without}", breach(rule));
    }
    let named: Vec<String> = few.named.iter().map(|number| format!("device {number}")).collect();
    let more = few.canaries.saturating_sub(u32::try_from(few.named.len()).unwrap_or(u32::MAX));
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!(
        "{} of {} got far worse than before ({}{more}), {without}: {}",
        few.canaries,
        devices(record.devices),
        named.join(", "),
        breach(rule)
    )
}

/// `, so the stage passes on exposure alone: with 0 bad of 201600 windows a share above 0.0015 % is ruled out, 1.48x the usual`
fn exposed(record: &SloVerdict) -> String {
    let Some(Exposure { canary, high_ppb, rise_ppm, lacking }) = record.exposure else {
        return String::new();
    };
    let then = match lacking {
        None => ", so the stage passes on exposure alone".to_owned(),
        Some((windows, 0)) => format!(", and fewer than the {windows} windows that minExposure asks for"),
        Some((0, events)) => format!(", and fewer than the {events} bad windows that minEvents asks for"),
        Some((windows, events)) => {
            format!(
                ", and fewer than minExposure ({windows} windows) and minEvents ({events} bad windows) ask for"
            )
        }
    };
    let usual = match rise_ppm {
        u64::MAX => "no bad window was ever seen before".to_owned(),
        rise => format!("{} the usual", times(rise)),
    };
    format!(
        "{then}: {} bad of {} windows with the new version rule out a share above {} (95 % confidence; {usual})",
        canary.bad(),
        canary.known,
        rare_percent(high_ppb)
    )
}

/// A share in parts per billion, rounded up to two digits: `0.0015 %`.
fn rare_percent(ppb: u64) -> String {
    let mut unit = 1;
    while ppb / unit >= 100 {
        unit *= 10;
    }
    let rounded = ppb.div_ceil(unit) * unit;
    let text = format!("{}.{:07}", rounded / 10_000_000, rounded % 10_000_000);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

/// What Healthy rules out of harm to a few devices or to one stratum.
fn also(record: &SloVerdict) -> String {
    record.few_proof.as_ref().map_or_else(String::new, |proof| format!(", and so is {}", few_proof(proof)))
}

/// `20.00x on more than 1.8 % of the devices, and 3.20x in any one stratum`
pub fn few_proof(proof: &FewProof) -> String {
    let FewProof { rise_ppm, share_ppm, stratum_ppm, watched } = *proof;
    let devices = (rise_ppm < u64::MAX).then(|| {
        let share = percent(share_ppm.div_ceil(1_000) * 1_000);
        format!("{} on more than {share} of the devices", times(rise_ppm))
    });
    let stratum = stratum_ppm.map(|rise| format!("{} in any one stratum", times(rise)));
    let watched = watched.map(|WatchedProof { rise_ppm, told, groups }| {
        let which = if told == groups { format!("the {groups}") } else { format!("{told} of the {groups}") };
        format!("{} in any one of {which} groups of watchBy", times(rise_ppm))
    });
    let all: Vec<String> = devices.into_iter().chain(stratum).chain(watched).collect();
    all.join(", and ")
}

/// A test found harm that does not last: see [`transient`].
fn has_ended(record: &SloVerdict) -> bool {
    let found = record.threshold_ppb > 0 && record.p_value_ppb <= record.threshold_ppb;
    found && record.verdict == Verdict::Undecided && !record.relative_harm && record.controls > 0
}

/// The stage has no margin of the user's, and harm that most people would mind is smaller than the one that it has ruled out.
fn only_a_large_rise(rule: &SloRule<'_>, record: &SloVerdict) -> bool {
    rule.margin_ppm.is_none() && record.margin_ppm >= LARGE_RISE_PPM
}

/// What the counts of a statistical SLO come to; nothing where they are the harm.
fn conclusion(rule: &SloRule<'_>, record: &SloVerdict) -> Option<String> {
    let rise = times(record.margin_ppm);
    Some(match record.verdict {
        Verdict::Degraded => return None,
        Verdict::Exposed => format!("too few events to rule out a rise{}", exposed(record)),
        Verdict::Healthy if record.controls == 0 => {
            format!(
                "a rise to {rise} the rate before the new version is ruled out; a smaller rise may be due to the time of day"
            )
        }
        Verdict::Healthy if only_a_large_rise(rule, record) => format!(
            "only a rise to {rise} the expected rate or more is ruled out{}; a smaller one may have gone unseen",
            also(record)
        ),
        Verdict::Healthy => format!("a rise to {rise} the expected rate is ruled out{}", also(record)),
        Verdict::Undecided if record.relative_harm => {
            "worse than on devices without the new version, but within the allowance".to_owned()
        }
        Verdict::Undecided if record.threshold_ppb == 0 && record.controls == 0 => {
            "not tested, because no device is left without the new version to compare with".to_owned()
        }
        Verdict::Undecided if record.threshold_ppb == 0 => "not tested yet".to_owned(),
        Verdict::Undecided if record.p_value_ppb <= record.threshold_ppb && record.controls == 0 => {
            "worse than on the same devices before the new version".to_owned()
        }
        Verdict::Undecided if has_ended(record) => {
            "worse than on devices without the new version, but only right after the change of models"
                .to_owned()
        }
        Verdict::Undecided if record.exposure.is_some_and(|exposure| exposure.lacking.is_some()) => {
            format!("no harm shown so far, too few events to rule out a rise{}", exposed(record))
        }
        Verdict::Undecided if record.margin_ppm == u64::MAX => "no harm shown so far".to_owned(),
        Verdict::Undecided => {
            format!("no harm shown so far, but a rise to {rise} the expected rate is not ruled out yet")
        }
    })
}

/// Silence.
pub fn silence(record: &SloVerdict) -> Told {
    let (canaries, controls) = record.devices_over;
    let counts = format!(
        "no reports from {canaries} of {}, {controls} of {} others",
        devices(record.devices),
        record.controls
    );
    if record.threshold_ppb == 0 {
        return Told::plain(format!("not tested yet; {counts}"));
    }
    Told { sentence: counts, statistics: p_value(record.p_value_ppb, record.threshold_ppb) }
}

/// The plain rule.
pub fn plain(rule: &SloRule<'_>, canary: &Streak, control: &Streak, needed: u32, verdict: Verdict) -> Told {
    let Some(last) = canary.last else {
        return Told::plain(format!("{}: no window has enough devices and samples yet", rule.name));
    };
    let (value, bound) = (thousandths(last.value_milli), thousandths(last.threshold_milli));
    let breach = breach(rule);
    let rows = format!("{} in a row", many(canary.breached, "window"));
    let without = control.breached;
    let sentence = match verdict {
        Verdict::Degraded => format!("{breach} for {rows} on updated devices, for {without} on others"),
        _ if canary.breached >= needed => {
            format!(
                "{breach} for {rows} on updated devices, and for {without} on others: the new version is not the cause"
            )
        }
        _ if canary.breached == 0 => format!("{} was met in the newest window", rule.name),
        _ => format!("{breach} for {rows} on updated devices; {needed} in a row count as harm"),
    };
    let devices = last.devices.known;
    let statistics = format!(
        "newest value {value}, limit {bound}, over {devices} devices; judgedBy: Plain has no bound on false rollbacks"
    );
    Told { sentence, statistics }
}

/// A limit by device and year.
pub fn rare(rule: &SloRule<'_>, limit: YearlyLimit, finding: &Finding, tally: &Tally) -> Told {
    let Finding { canary, .. } = finding;
    if canary.known == 0 {
        return Told::plain(format!("{}: no window of an updated device counts yet", rule.name));
    }
    let rate = yearly_rate(canary.bad(), canary.known.saturating_mul(limit.window_ms));
    let number = |milli: u64| thousandths(i64::try_from(milli).unwrap_or(i64::MAX));
    let (breach, allowed) = (breach(rule), number(limit.per_year_milli));
    let counts = format!("in {} of {} of updated devices", canary.bad(), many_long(canary.known, "window"));
    let sentence = match finding {
        Finding { above: true, relative: true, .. } => format!("{breach}: {counts}"),
        Finding { above: true, relative: false, .. } => format!(
            "{breach}: {counts}, and in {} of {} of others: the new version is not the cause",
            tally.control.bad(),
            tally.control.known
        ),
        Finding { below: true, .. } => {
            format!("{} was met: fewer than {allowed} a year are shown, {counts}", rule.name)
        }
        _ => format!("{}: it is not shown yet that fewer than {allowed} a year come, {counts}", rule.name),
    };
    let statistics = format!(
        "{} a year for each device (95 % interval {} to {}), at most {allowed} are allowed; exact Poisson test, for events that \
         come independently",
        number(rate.estimate_milli),
        number(rate.low_milli),
        number(rate.high_milli)
    );
    Told { sentence, statistics }
}

/// Layer 0.
pub fn hard_stop(stop: &HardStop) -> Told {
    let codes: Vec<String> =
        stop.codes.iter().map(|(code, count)| format!("code {code} on {count}")).collect();
    let counts = format!(
        "{} of {} that tried the new version failed ({}), {} of {} others",
        stop.failed,
        many(stop.attempted, "device"),
        codes.join(", "),
        stop.control_failed,
        stop.controls,
    );
    match &stop.action {
        HardAction::RollBackAll => {
            Told { sentence: counts, statistics: p_value(stop.p_value_ppb, stop.threshold_ppb) }
        }
        HardAction::Quarantine(_) => Told {
            sentence: format!("{counts}: too few to blame the version"),
            statistics: format!("p = {}", probability(stop.p_value_ppb)),
        },
    }
}

/// Coverage.
pub fn coverage(coverage: &Coverage) -> String {
    let settling = match coverage.settling {
        0 => String::new(),
        1 => ", 1 is still in its first windows after the change of models".to_owned(),
        n => format!(", {n} are still in their first windows after the change of models"),
    };
    format!(
        "{} of the {} devices needed have reported {} windows each{settling}; {} of the updated devices are reporting, at least {} must",
        coverage.devices,
        coverage.devices_needed,
        coverage.windows_needed,
        percent(u64::from(coverage.reporting_ppm)),
        percent(u64::from(coverage.reporting_needed_ppm))
    )
}

/// Incident.
pub fn incident(rule: &SloRule<'_>, incident: &Incident) -> String {
    // Tenths of a percent: what is beyond says nothing.
    let tenths = |ppm: u32| percent((u64::from(ppm) + 500) / 1_000 * 1_000);
    let (share, usual) = (tenths(incident.share_ppm), tenths(incident.usual_ppm));
    let breach = breach(rule);
    match incident.kind {
        IncidentKind::CommonCause => format!(
            "devices without the new version have the same problem, so the version is not the cause: {breach} in {share} of \
             their windows (usual or allowed: {usual})"
        ),
        IncidentKind::NoControls => format!(
            "devices got worse after they took the new version, and no device is left without it to compare with: {breach} \
             in {share} of their windows, {usual} before"
        ),
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
) -> Told {
    let degraded = records.clone().find(|record| record.verdict == Verdict::Degraded);
    let of = |record: &SloVerdict| Told {
        sentence: record.sentence.clone(),
        statistics: record.statistics.clone(),
    };
    let of_stop =
        |stop: &HardStop| Told { sentence: stop.sentence.clone(), statistics: stop.statistics.clone() };
    let held = |told: Told| Told {
        sentence: format!("{}; chance is an unlikely cause, so the stage waits", told.sentence),
        ..told
    };
    match advice {
        Advice::RollBack | Advice::Pause => match (hard, degraded, incident) {
            (Some(stop), _, _) if stop.action == HardAction::RollBackAll => of_stop(stop),
            (_, Some(record), _) => of(record),
            (_, _, Some(incident)) => Told::plain(incident.sentence.clone()),
            _ => Told::default(),
        },
        Advice::Advance => {
            let sentences: Vec<&str> = records
                .filter(|r| matches!(r.verdict, Verdict::Healthy | Verdict::Exposed))
                .take(3)
                .map(|r| r.sentence.as_str())
                .collect();
            Told::plain(if sentences.is_empty() { coverage.sentence.clone() } else { sentences.join("; ") })
        }
        Advice::Wait if hard.is_some_and(suspicious) => hard.map_or_else(Told::default, of_stop),
        Advice::Wait if quiet => {
            records.find(|record| record.slo.is_none()).map_or_else(Told::default, |record| held(of(record)))
        }
        Advice::Wait if !coverage.met => Told::plain(coverage.sentence.clone()),
        Advice::Wait => records
            .find(|record| record.slo.is_some() && record.verdict == Verdict::Undecided)
            .map_or_else(|| Told::plain("the stage has planned looks left".to_owned()), of),
    }
}
