//! Both arms of a stage at one moment, as the judge takes them.

use std::collections::BTreeSet;

use modelfleet_judge::{
    AfterSwap, Arm, Counts, DeviceOutcome, SloCounts, WATCHED_MAX, gone_quiet, matched_start_of,
};
use modelfleet_protocol::state::FailureCode;
use modelfleet_protocol::time::Time;

use crate::after_swap::Profile;
use crate::sites::{CutOff, leave_out};
use crate::{Facts, Moment, Progress, Reported, StageWindows, Start, is_ahead};

/// A device, as the rule sees it. Its windows are those of the build of its arm, counted as the stage counts; where a
/// device has none of them, nothing is known.
pub trait Device {
    /// What is known of it.
    fn facts(&self) -> Facts;
    /// The judge's number for it: the same at every look and after a restart.
    fn number(&self) -> u32;
    /// Which devices it is compared with; see [`crate::compared`].
    fn stratum(&self) -> u16;
    /// Its value of each label that the stage watches; see [`crate::watched`].
    fn watched(&self) -> [u16; WATCHED_MAX] {
        [0; WATCHED_MAX]
    }
    /// Number of the place that it shares with others; see [`crate::sites`]. 0: no label says where it is.
    fn site(&self) -> u16 {
        0
    }
    /// Since when it has the candidate, by its own clock; not read for a control.
    fn activated(&self) -> Time;
    /// One past the last window that it has reported; zero before the first.
    fn reported_until(&self) -> u64;
    /// Windows of an objective under the model before.
    fn past(&self, objective: usize) -> Counts;
    /// Windows of an objective from window `first` on.
    fn since(&self, objective: usize, first: u64) -> Counts;
}

/// From which window on the canaries of each stratum count, in order.
#[derive(Debug, Default)]
struct Starts {
    by_stratum: Vec<Vec<Start>>,
}

impl Starts {
    fn clear(&mut self) {
        self.by_stratum.iter_mut().for_each(Vec::clear);
    }

    fn note(&mut self, stratum: u16, start: Start) {
        let at = usize::from(stratum);
        if self.by_stratum.len() <= at {
            self.by_stratum.resize_with(at + 1, Vec::new);
        }
        self.by_stratum[at].push(start);
    }

    fn sort(&mut self) {
        self.by_stratum.iter_mut().for_each(|starts| starts.sort_unstable());
    }

    /// Each control takes the start of a canary of its stratum, so that both arms have the same exposure and the same
    /// hours of the day.
    #[inline]
    fn of_control(&self, seed: u64, control: &Subject, windows: &StageWindows) -> Start {
        let starts = self.by_stratum.get(usize::from(control.stratum)).map_or(&[][..], Vec::as_slice);
        let first = windows.first();
        let none = Start { settled: first, compared: first, swapped: false };
        matched_start_of(seed, control.number, starts).unwrap_or(none)
    }
}

/// A device in an arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Its place among the devices that were gathered.
    pub place: u32,
    /// The judge's number for it.
    pub number: u32,
    /// Which devices it is compared with.
    pub stratum: u16,
    /// Its value of each label that the stage watches; see [`crate::watched`].
    pub watched: [u16; WATCHED_MAX],
    /// Number of its place; see [`crate::sites`].
    pub site: u16,
    /// Canary or control.
    pub arm: Arm,
    /// See [`Facts::is_attempted`]; and its silence is its own, not that of its place ([`Arms::cut_off`]).
    pub attempted: bool,
    /// It lost its connection with others of its place, so that its silence says nothing of the candidate.
    pub left_out: bool,
    /// See [`Facts::is_active`].
    pub active: bool,
    /// It is active and has reported no window by which it is judged: it settles after its change of models.
    pub settling: bool,
    /// See [`Facts::is_heard`].
    pub heard: bool,
    /// See [`Facts::is_awaited`].
    pub awaited: bool,
    /// It was set aside already.
    pub set_aside: bool,
    /// See [`Facts::hard_failure`].
    pub failure: Option<FailureCode>,
}

impl Subject {
    #[inline]
    fn new<D: Device>(
        place: u32,
        device: &D,
        facts: &Facts,
        arm: Arm,
        windows: &StageWindows,
        moment: &Moment,
    ) -> Subject {
        let activated = if arm == Arm::Canary { device.activated() } else { Time::ZERO };
        Subject {
            place,
            number: device.number(),
            stratum: device.stratum(),
            watched: device.watched(),
            site: device.site(),
            arm,
            attempted: facts.is_attempted(arm, windows.opened(), activated),
            left_out: false,
            active: arm == Arm::Canary && facts.is_active(),
            settling: false,
            heard: facts.is_heard(moment),
            awaited: facts.is_awaited(),
            set_aside: facts.set_aside,
            failure: facts.hard_failure(),
        }
    }
}

/// Both arms of a stage at one moment. Used again and again, it keeps its room.
#[derive(Debug, Default)]
pub struct Arms {
    subjects: Vec<Subject>,
    /// One entry for each subject and objective.
    counts: Vec<SloCounts>,
    objectives: usize,
    starts: Starts,
    profile: Profile,
    progress: Progress,
    codes: BTreeSet<FailureCode>,
    /// When each subject was heard last.
    heard: Vec<Time>,
    cut_off: CutOff,
}

impl Arms {
    /// Counts both arms anew. `devices` is walked twice, `objectives` are counted of each, and `seed` says which control
    /// starts with which canary ([`crate::stage_seed`]).
    pub fn gather<D: Device>(
        &mut self,
        devices: impl Iterator<Item = D> + Clone,
        objectives: usize,
        windows: &StageWindows,
        moment: &Moment,
        seed: u64,
    ) {
        self.find(devices.clone(), windows, moment);
        self.counts.clear();
        self.counts.reserve(self.subjects.len().saturating_mul(objectives));
        self.objectives = objectives;
        self.profile.begin(objectives, windows);
        let mut subjects = self.subjects.iter().peekable();
        for (place, device) in (0..).zip(devices) {
            let Some(subject) = subjects.next_if(|subject| subject.place == place) else { continue };
            let start = match subject.arm {
                Arm::Canary => windows.start(device.activated()),
                Arm::Control => self.starts.of_control(seed, subject, windows),
            };
            self.counts.extend((0..objectives).map(|objective| SloCounts {
                history: device.past(objective),
                post: device.since(objective, start.settled),
            }));
            if start.swapped && (subject.active || subject.arm == Arm::Control) {
                self.profile.add(subject.arm, start.compared, &device);
            }
        }
    }

    /// Finds the devices of both arms, when canaries start, and how far they have got.
    fn find<D: Device>(&mut self, devices: impl Iterator<Item = D>, windows: &StageWindows, moment: &Moment) {
        self.subjects.clear();
        self.starts.clear();
        self.progress.clear();
        self.codes.clear();
        self.heard.clear();
        for (place, device) in (0..).zip(devices) {
            let facts = device.facts();
            let Some(arm) = facts.arm() else { continue };
            let mut subject = Subject::new(place, &device, &facts, arm, windows, moment);
            self.codes.extend(subject.failure);
            if subject.active {
                let (activated, until) = (device.activated(), device.reported_until());
                let start = windows.start(activated);
                self.progress.note(start, until);
                subject.settling = until <= start.settled;
                // One whose clock is ahead starts by its own clock; no control takes a start that has not come.
                if !is_ahead(activated, moment.now, windows.length_ms()) {
                    self.starts.note(subject.stratum, start);
                }
            }
            self.subjects.push(subject);
            self.heard.push(facts.heard_at);
        }
        self.starts.sort();
        self.cut_off = leave_out(&mut self.subjects, &self.heard, windows.length_ms());
    }

    /// The devices in the arms, in the order in which they were gathered.
    #[must_use]
    pub fn subjects(&self) -> &[Subject] {
        &self.subjects
    }

    /// The same, each with when it was heard last.
    pub(crate) fn subjects_heard(&self) -> impl Iterator<Item = (&Subject, Time)> {
        self.subjects.iter().zip(self.heard.iter().copied())
    }

    /// Codes of the failures that speak against the model.
    #[must_use]
    pub fn codes(&self) -> &BTreeSet<FailureCode> {
        &self.codes
    }

    /// Devices that lost their connection together, whatever model they run.
    #[must_use]
    pub fn cut_off(&self) -> &CutOff {
        &self.cut_off
    }

    /// For the judge, in the order of [`Arms::subjects`].
    #[must_use]
    pub fn outcomes(&self) -> Vec<DeviceOutcome<'_>> {
        let outcome = |(i, subject): (usize, &Subject)| DeviceOutcome {
            id: subject.number,
            stratum: subject.stratum,
            watched: subject.watched,
            arm: subject.arm,
            attempted: subject.attempted,
            active: subject.active,
            reporting: subject.heard,
            awaited: subject.awaited,
            settling: subject.settling,
            hard_failure: subject.failure.map(|code| code as u16),
            slos: &self.counts[i * self.objectives..(i + 1) * self.objectives],
        };
        self.subjects.iter().enumerate().map(outcome).collect()
    }

    /// What both arms counted of an objective by how long ago canaries changed models.
    #[must_use]
    pub fn after_swap(&self, objective: usize) -> &[AfterSwap] {
        self.profile.of(objective)
    }

    /// Windows that half of the running canaries have reported; where they have gone quiet, those that have passed by the
    /// clock.
    #[must_use]
    pub fn reported(&self, outcomes: &[DeviceOutcome<'_>], windows: &StageWindows, now: Time) -> Reported {
        let passed = if gone_quiet(outcomes) { windows.passed(now) } else { 0 };
        self.progress.half(passed)
    }

    /// Canaries that run the candidate, and controls.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        let canaries = self.subjects.iter().filter(|s| s.active).count();
        (canaries, self.subjects.iter().filter(|s| s.arm == Arm::Control).count())
    }

    /// Canaries that the judge would set aside by these numbers: those that failed and are not set aside yet.
    pub fn to_set_aside<'a>(&'a self, numbers: &'a [u32]) -> impl Iterator<Item = &'a Subject> {
        let fails = |s: &&Subject| s.arm == Arm::Canary && s.failure.is_some() && !s.set_aside;
        self.subjects.iter().filter(fails).filter(|s| numbers.contains(&s.number))
    }
}
