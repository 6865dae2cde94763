//! What the watch keeps: small, and the same after a restart.

use std::collections::BTreeMap;

use modelfleet_monitor::detect::EDetector;
use serde::{Deserialize, Serialize};

use crate::alarm::{Alarm, Cause, Found};
use crate::change::Change;
use crate::named::History;
use crate::stream::Stream;

/// Letters of a number in a text, and of one value.
const BASE: u32 = 36;
const VALUE_DIGITS: usize = 4;

/// Most characters of the text.
pub const TEXT_MAX: usize = 8_192;

/// First word of the text: the version of its form.
const FORM: &str = "watch1 ";

/// What is kept of the watch over one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchMemory {
    /// The attempt that it is about.
    pub attempt: u32,
    /// The next window to be read; 0: none was read yet.
    pub next: u64,
    /// Windows that were read.
    pub windows: u64,
    /// Levels; those of which nothing is kept are not here.
    pub levels: BTreeMap<Stream, EDetector>,
    /// Changes.
    pub changes: BTreeMap<Stream, Change>,
    /// The newest values of the streams that detectors by name watch.
    pub history: History,
    /// The alarm, while it lasts.
    pub alarm: Option<Alarm>,
}

/// A change as numbers, in the order of its fields.
type ChangeRow = (u64, u64, u32, u64, u64, u32, [u32; 3], [u32; 3]);

#[derive(Serialize, Deserialize)]
struct Written {
    a: u32,
    n: u64,
    w: u64,
    l: BTreeMap<String, [u32; 4]>,
    c: BTreeMap<String, ChangeRow>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    h: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alarm: Option<WrittenAlarm>,
}

#[derive(Serialize, Deserialize)]
struct WrittenAlarm {
    w: u64,
    q: u32,
    c: Vec<(String, Found)>,
    t: (String, String),
}

impl WatchMemory {
    /// What is known of the days of a stream.
    #[must_use]
    pub fn days_of(&self, stream: &Stream) -> Option<Change> {
        self.changes.get(stream).copied()
    }

    /// As the text of a status, never longer than [`TEXT_MAX`]: where there is no room, what was learned of the last features
    /// goes first.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut kept = self.clone();
        loop {
            let text = kept.written();
            if text.len() <= TEXT_MAX {
                return text;
            }
            let gone = kept.changes.pop_last().is_some() || kept.levels.pop_last().is_some();
            if !gone {
                return String::new();
            }
        }
    }

    fn written(&self) -> String {
        let levels = self.levels.iter().filter(|(_, level)| !level.is_quiet());
        let row = |change: &Change| -> ChangeRow {
            let Change { day, sum_ppm, windows, mean_ppb, deviation_ppb, days, logs } = *change;
            (day, sum_ppm, windows, mean_ppb, deviation_ppb, days, logs[0], logs[1])
        };
        let written = Written {
            a: self.attempt,
            n: self.next,
            w: self.windows,
            l: levels.map(|(stream, level)| (stream.to_string(), level.logs())).collect(),
            c: self.changes.iter().map(|(stream, change)| (stream.to_string(), row(change))).collect(),
            h: self.history.iter().map(|(stream, values)| (stream.to_string(), digits(values))).collect(),
            alarm: self.alarm.as_ref().map(|alarm| WrittenAlarm {
                w: alarm.window,
                q: alarm.quiet,
                c: alarm.causes.iter().map(|cause| (cause.stream.to_string(), cause.found)).collect(),
                t: alarm.words.clone(),
            }),
        };
        format!("{FORM}{}", serde_json::to_string(&written).unwrap_or_default())
    }

    /// Reads what [`WatchMemory::to_text`] wrote; of a text of another form nothing, and the watch starts anew.
    #[must_use]
    pub fn from_text(text: &str) -> Option<WatchMemory> {
        let written: Written = serde_json::from_str(text.strip_prefix(FORM)?).ok()?;
        let level =
            |(stream, logs): (String, [u32; 4])| Some((stream.parse().ok()?, EDetector::from_logs(logs)));
        let change = |(stream, row): (String, ChangeRow)| {
            let (day, sum_ppm, windows, mean_ppb, deviation_ppb, days, up, down) = row;
            let change = Change { day, sum_ppm, windows, mean_ppb, deviation_ppb, days, logs: [up, down] };
            Some((stream.parse().ok()?, change))
        };
        let cause = |(stream, found): (String, Found)| Some(Cause { stream: stream.parse().ok()?, found });
        Some(WatchMemory {
            attempt: written.a,
            next: written.n,
            windows: written.w,
            levels: written.l.into_iter().filter_map(level).collect(),
            changes: written.c.into_iter().filter_map(change).collect(),
            history: written
                .h
                .iter()
                .filter_map(|(stream, text)| Some((stream.parse().ok()?, values(text))))
                .collect(),
            alarm: written.alarm.map(|alarm| Alarm {
                window: alarm.w,
                quiet: alarm.q,
                words: alarm.t,
                causes: alarm.c.into_iter().filter_map(cause).collect(),
            }),
        })
    }
}

/// Values up to a million, four letters each.
fn digits(values: &[u32]) -> String {
    let mut text = String::with_capacity(values.len() * VALUE_DIGITS);
    for value in values {
        let mut left = (*value).min(1_000_000);
        let mut letters = ['0'; VALUE_DIGITS];
        for letter in letters.iter_mut().rev() {
            *letter = char::from_digit(left % BASE, BASE).unwrap_or('0');
            left /= BASE;
        }
        text.extend(letters);
    }
    text
}

fn values(text: &str) -> Vec<u32> {
    let letters: Vec<char> = text.chars().collect();
    let value = |letters: &[char]| {
        letters.iter().try_fold(0_u32, |sum, letter| Some(sum * BASE + letter.to_digit(BASE)?))
    };
    letters.chunks_exact(VALUE_DIGITS).filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_from_their_letters() {
        let all = [0, 1, 35, 36, 999_999, 1_000_000];
        assert_eq!(values(&digits(&all)), all);
        assert_eq!(values("zz"), Vec::<u32>::new());
    }
}
