//! Devices that got far worse than their own past: what a broken sensor looks like, and harm to a few devices as well.
//!
//! A handful of them, as many among controls as chance lets expect, is no reason to hold a candidate up, and their
//! windows must not hide harm to the others either: a sum over devices is ruled by its few largest parts (Huber &
//! Ronchetti, *Robust Statistics*, ch. 1). So they are told apart by what both arms have in common, without looking at
//! who has the candidate, and judged by their number.

use crate::exact::change::Subject;
use crate::observations::Arm;
use modelfleet_number::beta;

/// A device is far worse when its bad events come at least three times as often as expected, and less than twice as often
/// by no more than this chance.
const CHANCE: f64 = 1e-4;
/// Fewer bad windows than this make no device far worse.
const FEWEST_BAD: f64 = 5.0;
/// Times that devices are told apart and what is common to the others is found anew.
const TURNS: usize = 3;

/// Which subjects are far worse than their own past and the changes common to their stratum let expect, if the candidate
/// makes each canary bad `times` as often; in the order of the subjects. Both arms together say what is common, so that
/// a random pick of canaries leaves the answer as it is when the candidate does just that.
///
/// Given all of a device's bad windows, those since the stage opened are a binomial part whose share depends on the rise
/// alone (Przyborowski & Wilenski, Biometrika 1940); so a short past makes no device far worse.
pub fn worse(subjects: &[Subject], times: f64) -> Vec<bool> {
    let mut marks = Vec::with_capacity(subjects.len());
    for group in subjects.chunk_by(|a, b| a.stratum == b.stratum) {
        let common = common(group, times);
        marks.extend(group.iter().map(|s| is_worse(s, s.bad, common * rise(s, times))));
    }
    marks
}

/// What the candidate does to a device.
const fn rise(subject: &Subject, times: f64) -> f64 {
    match subject.arm {
        Arm::Canary => times,
        Arm::Control => 1.0,
    }
}

/// What is common to the devices of a stratum since the stage opened that are not far worse themselves, as a multiple of
/// their usual rates, if the candidate makes each canary bad `times` as often.
pub fn common(stratum: &[Subject], times: f64) -> f64 {
    let usual = |s: &Subject| rise(s, times) * s.known * s.usual;
    let (mut bad, mut expected) = (0.0, 0.0);
    for s in stratum {
        bad += s.bad;
        expected += usual(s);
    }
    let mut common = (bad + 0.5) / (expected + 0.5);
    for _ in 0..TURNS {
        let (mut far_bad, mut far_expected) = (0.0, 0.0);
        for s in stratum.iter().filter(|s| is_worse(s, s.bad, common * rise(s, times))) {
            far_bad += s.bad;
            far_expected += usual(s);
        }
        let without = (bad - far_bad + 0.5) / (expected - far_expected + 0.5);
        if without == common {
            break;
        }
        common = without;
    }
    common
}

/// Whether so many bad windows make the subject far worse.
pub fn is_worse(subject: &Subject, bad: f64, common: f64) -> bool {
    let good = (1.0 - common * subject.usual).max(1e-3);
    // Three times as many events leave so many windows good.
    if bad < FEWEST_BAD || bad < (1.0 - good * good * good) * subject.known {
        return false;
    }
    // Twice as many events make up to twice as many windows bad.
    let past = subject.prior_windows();
    let expected = (1.0 + good) * common * subject.known / past;
    beta::regularised(bad, past * subject.usual + 1.0, expected / (1.0 + expected)) < CHANCE
}

/// The fewest bad windows that make the subject far worse; more than it has: nothing does.
pub fn fewest_bad(subject: &Subject, common: f64) -> f64 {
    let (mut not, mut enough) = (0, subject.known as u64 + 1);
    while enough - not > 1 {
        let middle = not + (enough - not) / 2;
        if is_worse(subject, middle as f64, common) { enough = middle } else { not = middle }
    }
    enough as f64
}
