//! Where devices were at a recorded look, and when they were heard: a replay finds again which lost their connection together.

use modelfleet_judge::Arm;
use modelfleet_judge::record::Record;
use modelfleet_protocol::time::Time;

use crate::sites::leave_out;
use crate::{Arms, CutOff, Subject};

/// What a replay finds of the devices that lost their connection together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutOffAgain {
    /// Which they are.
    pub cut_off: CutOff,
    /// The same devices were left out of what the judge was asked about silence.
    pub same: bool,
    /// For people.
    pub sentence: String,
}

/// Puts into a record where devices are and when they were heard, if some lost their connection together.
pub(crate) fn record_places(record: &mut Record, arms: &Arms, window_ms: u64) {
    if arms.cut_off().sites.is_empty() {
        return;
    }
    record.window_ms = window_ms;
    let row = |(subject, at): (&Subject, Time)| [u64::from(subject.site), at.0, u64::from(subject.left_out)];
    record.placed = arms.subjects_heard().map(row).collect();
}

/// Finds them again; `None`: the record says nothing of places. Rows that are too short count as nothing.
#[must_use]
pub fn cut_off_again(record: &Record) -> Option<CutOffAgain> {
    if record.placed.is_empty() {
        return None;
    }
    let subject = |(row, placed): (&Vec<u64>, &[u64; 3])| {
        let of = |at: usize| row.get(at).copied().unwrap_or(0);
        let (facts, left_out) = (of(3), placed[2] != 0);
        let subject = Subject {
            place: 0,
            number: u32::try_from(of(0)).unwrap_or(u32::MAX),
            stratum: 0,
            watched: Default::default(),
            site: u16::try_from(placed[0]).unwrap_or(0),
            arm: if of(2) == 0 { Arm::Canary } else { Arm::Control },
            attempted: facts & 1 != 0 || left_out,
            left_out: false,
            active: facts & 2 != 0,
            settling: false,
            heard: facts & 4 != 0,
            awaited: false,
            set_aside: false,
            failure: None,
        };
        (subject, (Time(placed[1]), left_out))
    };
    let rows = record.devices.iter().zip(&record.placed).map(subject);
    let (mut subjects, known): (Vec<Subject>, Vec<(Time, bool)>) = rows.unzip();
    let heard: Vec<Time> = known.iter().map(|(at, _)| *at).collect();
    let cut_off = leave_out(&mut subjects, &heard, record.window_ms);
    let as_recorded =
        subjects.iter().zip(&known).all(|(subject, (_, left_out))| subject.left_out == *left_out);
    let same = as_recorded && record.placed.len() == record.devices.len();
    let sentence = cut_off.sentence(&subjects, &|_| None);
    Some(CutOffAgain { cut_off, same, sentence })
}
