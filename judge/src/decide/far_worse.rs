//! A handful of devices that got far worse than their own past: broken sensors, or harm to a few.
//!
//! Their number is compared with that among controls. Where chance explains it, what the others do is what the candidate
//! is judged by: neither do a few broken devices among the canaries hold it up, nor do a few among the controls hide harm
//! as scatter.

use crate::exact::change::Subject;
use crate::exact::far;
use crate::exact::ratio::{BEYOND, Ratio};
use crate::exact::tail_scan::marked_among_canaries;
use crate::observations::Arm;

/// Parts of the devices that are a handful: this many thousandths where there are as many controls as canaries, to tell
/// what is usual, and this many where there are not.
const HANDFUL: u64 = 80;
const HANDFUL_UNTOLD: u64 = 50;
/// A fifth of the canaries is no handful.
const MOST_CANARIES: usize = 5;
/// Nothing is Healthy while so many canaries are far worse, and so few controls, by less chance than this. It is no harm
/// shown, so it takes nothing back and costs no budget.
const HELD_BACK: f64 = 0.03;
/// One device of so many canaries or more is one device.
const FEW: usize = 20;
/// The same for one canary, and for more, where the candidate makes the others better: a candidate that changes something
/// may harm a few.
const HELD_BACK_CHANGED: [f64; 2] = [0.15, 0.25];
/// Where no control tells, so many thousandths of the canaries, and at least so many, are too many then.
const CHANGED_UNTOLD: u64 = 10;
const FEWEST_UNTOLD: usize = 3;
/// Most devices that are named.
const NAMED: usize = 3;

/// Which devices are far worse.
#[derive(Debug, Clone)]
pub struct FarWorse {
    marks: Vec<bool>,
    canaries: usize,
    controls: usize,
    /// Canaries in all.
    all_canaries: usize,
}

impl FarWorse {
    /// Of subjects ordered by stratum, if the candidate does no harm.
    pub fn of(subjects: &[Subject]) -> Self {
        Self::if_harmful(subjects, 1.0)
    }

    /// The same, if the candidate makes each canary bad `times` as often.
    pub fn if_harmful(subjects: &[Subject], times: f64) -> Self {
        let marks = far::worse(subjects, times);
        let count = |arm: Arm| subjects.iter().zip(&marks).filter(|(s, m)| s.arm == arm && **m).count();
        let all_canaries = subjects.iter().filter(|s| s.arm == Arm::Canary).count();
        Self { canaries: count(Arm::Canary), controls: count(Arm::Control), all_canaries, marks }
    }

    /// No device is.
    pub const fn is_empty(&self) -> bool {
        self.canaries == 0 && self.controls == 0
    }

    /// Canaries and controls that are.
    pub const fn counts(&self) -> (usize, usize) {
        (self.canaries, self.controls)
    }

    /// The canaries that are.
    pub fn canaries<'a>(&'a self, subjects: &'a [Subject]) -> impl Iterator<Item = &'a Subject> {
        let marked = subjects.iter().zip(&self.marks).filter(|(s, marked)| s.arm == Arm::Canary && **marked);
        marked.map(|(s, _)| s)
    }

    /// The canaries that are, worst first, at most three: the caller's numbers.
    pub fn worst(&self, subjects: &[Subject]) -> Vec<u32> {
        let mut list: Vec<&Subject> = self.canaries(subjects).collect();
        let excess = |s: &Subject| s.bad - s.known * s.usual;
        list.sort_by(|a, b| excess(b).total_cmp(&excess(a)).then(a.id.cmp(&b.id)));
        list.iter().take(NAMED).map(|s| s.id).collect()
    }

    /// All the others.
    pub fn others(&self, subjects: &[Subject]) -> Vec<Subject> {
        subjects.iter().zip(&self.marks).filter(|(_, marked)| !**marked).map(|(s, _)| *s).collect()
    }

    /// So few that the others are what the candidate is judged by.
    pub fn is_handful(&self) -> bool {
        let all = self.marks.len() as u64;
        let told = 2 * self.all_canaries <= self.marks.len();
        let most = all * if told { HANDFUL } else { HANDFUL_UNTOLD } / 1_000;
        let few = (self.canaries + self.controls) as u64 <= most.max(1);
        few && self.canaries <= (self.all_canaries / MOST_CANARIES).max(1)
    }

    /// Canaries are among them more often than chance explains well: then nothing is Healthy.
    pub fn hold_back(&self, subjects: &[Subject]) -> bool {
        if self.canaries == 0 {
            return false;
        }
        let better = || {
            let others = self.others(subjects);
            Ratio::of(&others).is_some_and(|ratio| ratio.high(BEYOND) < 1.0)
        };
        if self.all_canaries == self.marks.len() {
            let most = self.all_canaries as u64 * CHANGED_UNTOLD / 1_000;
            return self.canaries >= FEWEST_UNTOLD && self.canaries as u64 >= most && better();
        }
        let p = marked_among_canaries(subjects, &self.marks);
        let changed = HELD_BACK_CHANGED[usize::from(self.canaries > 1)];
        let enough = self.canaries > 1 || self.all_canaries < FEW;
        (p <= HELD_BACK && enough) || (p <= changed && better())
    }
}
