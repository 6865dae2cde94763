//! Rules, devices and windows as integers, and back.

use super::{RecordError, Rule};
use crate::budget::Looks;
use crate::observations::{
    AfterSwap, Arm, Counts, DeviceOutcome, JudgedBy, MergedWindow, OnBreach, SloCounts, SloRule, WATCHED_MAX,
    YearlyLimit,
};

pub(super) fn rule(rule: &SloRule<'_>) -> Rule {
    Rule {
        name: rule.name.to_owned(),
        breach: rule.breach.to_owned(),
        limit: rule.limit.to_owned(),
        on_breach: breach(rule.on_breach),
        plain_windows: match rule.judged_by {
            JudgedBy::Statistical | JudgedBy::Poisson(_) => 0,
            JudgedBy::Plain { for_windows } => for_windows.max(1),
        },
        by_year: match rule.judged_by {
            JudgedBy::Poisson(YearlyLimit { per_year_milli, window_ms }) => Some([per_year_milli, window_ms]),
            JudgedBy::Statistical | JudgedBy::Plain { .. } => None,
        },
        allowance_ppm: rule.allowance_ppm,
        margin_ppm: rule.margin_ppm,
        min_exposure: rule.min_exposure,
        min_events: rule.min_events,
        min_samples: rule.min_samples,
        weight: rule.weight,
        late_windows: rule.late_windows,
        looks: rule.looks.map(|looks| [looks.reached, looks.planned]),
        after_swap: rule.after_swap.iter().map(after_swap).collect(),
    }
}

fn after_swap(span: &AfterSwap) -> [u64; 5] {
    let arm = u64::from(span.arm == Arm::Control);
    [arm, u64::from(span.from), u64::from(span.settling), span.devices.known, span.devices.bad]
}

pub(super) fn read_after_swap(row: &[u64; 5]) -> Result<AfterSwap, RecordError> {
    Ok(AfterSwap {
        arm: read_arm(row[0])?,
        from: narrow(row[1], "rules")?,
        settling: row[2] != 0,
        devices: Counts { known: row[3], bad: row[4] },
    })
}

impl Rule {
    pub(super) fn read<'a>(&'a self, after_swap: &'a [AfterSwap]) -> Result<SloRule<'a>, RecordError> {
        Ok(SloRule {
            name: &self.name,
            breach: &self.breach,
            limit: &self.limit,
            on_breach: read_breach(u64::from(self.on_breach))?,
            judged_by: match (self.by_year, self.plain_windows) {
                (Some([per_year_milli, window_ms]), _) => {
                    JudgedBy::Poisson(YearlyLimit { per_year_milli, window_ms })
                }
                (None, 0) => JudgedBy::Statistical,
                (None, for_windows) => JudgedBy::Plain { for_windows },
            },
            allowance_ppm: self.allowance_ppm,
            margin_ppm: self.margin_ppm,
            min_exposure: self.min_exposure,
            min_events: self.min_events,
            min_samples: self.min_samples,
            weight: self.weight,
            late_windows: self.late_windows,
            looks: self.looks.map(|[reached, planned]| Looks { reached, planned }),
            after_swap,
        })
    }
}

pub(super) fn breach(on_breach: OnBreach) -> u8 {
    match on_breach {
        OnBreach::RollBack => 0,
        OnBreach::Pause => 1,
        OnBreach::Observe => 2,
    }
}

pub(super) fn read_breach(number: u64) -> Result<OnBreach, RecordError> {
    match number {
        0 => Ok(OnBreach::RollBack),
        1 => Ok(OnBreach::Pause),
        2 => Ok(OnBreach::Observe),
        _ => Err(RecordError::Row("rules")),
    }
}

pub(super) fn device(device: &DeviceOutcome<'_>, rules: usize) -> Vec<u64> {
    let facts = [
        (device.attempted, 1),
        (device.active, 2),
        (device.reporting, 4),
        (device.awaited, 8),
        (device.settling, 16),
    ];
    let facts = facts.iter().filter(|(holds, _)| *holds).map(|(_, bit)| bit).sum();
    let failure = device.hard_failure.map_or(0, |code| u64::from(code) + 1);
    let arm = u64::from(device.arm == Arm::Control);
    let mut row = vec![u64::from(device.id), u64::from(device.stratum), arm, facts, failure];
    for index in 0..rules {
        // Not `counts`: it leaves out what an inactive canary has, and the row must say it all.
        let SloCounts { history, post } = device.slos.get(index).copied().unwrap_or_default();
        row.extend([history.known, history.bad, post.known, post.bad]);
    }
    row
}

/// Of all devices, or nothing where nothing is watched.
pub(super) fn watched(devices: &[DeviceOutcome<'_>]) -> Vec<[u16; WATCHED_MAX]> {
    let any = devices.iter().any(|device| device.watched != [0; WATCHED_MAX]);
    if any { devices.iter().map(|device| device.watched).collect() } else { Vec::new() }
}

pub(super) fn read_counts(row: &[u64]) -> SloCounts {
    let counts = |known, bad| Counts { known, bad };
    SloCounts { history: counts(row[0], row[1]), post: counts(row[2], row[3]) }
}

pub(super) fn read_device<'a>(head: &[u64], slos: &'a [SloCounts]) -> Result<DeviceOutcome<'a>, RecordError> {
    let facts = head[3];
    Ok(DeviceOutcome {
        id: narrow(head[0], "devices")?,
        stratum: narrow(head[1], "devices")?,
        arm: read_arm(head[2])?,
        attempted: facts & 1 != 0,
        active: facts & 2 != 0,
        reporting: facts & 4 != 0,
        awaited: facts & 8 != 0,
        settling: facts & 16 != 0,
        watched: [0; WATCHED_MAX],
        hard_failure: head[4].checked_sub(1).map(|code| narrow(code, "devices")).transpose()?,
        slos,
    })
}

pub(super) fn read_arm(number: u64) -> Result<Arm, RecordError> {
    match number {
        0 => Ok(Arm::Canary),
        1 => Ok(Arm::Control),
        _ => Err(RecordError::Row("arms")),
    }
}

pub(super) fn merged(window: &MergedWindow) -> [i64; 9] {
    let long = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    [
        i64::from(window.slo),
        i64::from(window.arm == Arm::Control),
        long(window.window),
        i64::from(window.breached),
        window.value_milli,
        window.threshold_milli,
        long(window.devices.known),
        long(window.devices.bad),
        long(window.samples),
    ]
}

pub(super) fn read_merged(row: &[i64; 9]) -> Result<MergedWindow, RecordError> {
    let unsigned = |number: i64| u64::try_from(number).map_err(|_| RecordError::Row("merged"));
    Ok(MergedWindow {
        slo: narrow(unsigned(row[0])?, "merged")?,
        arm: read_arm(unsigned(row[1])?)?,
        window: unsigned(row[2])?,
        breached: row[3] != 0,
        value_milli: row[4],
        threshold_milli: row[5],
        devices: Counts { known: unsigned(row[6])?, bad: unsigned(row[7])? },
        samples: unsigned(row[8])?,
    })
}

pub(super) fn narrow<T: TryFrom<u64>>(number: u64, what: &'static str) -> Result<T, RecordError> {
    T::try_from(number).map_err(|_| RecordError::Row(what))
}
