//! A fleet seen by one rollout attempt: counts for the core, and the two arms for the judge.
//!
//! One walk over the devices. What depends on labels alone (does the selector match, which stratum, which bound) is
//! worked out once for each distinct label set; what remains for a device is a few comparisons, and a hash where there are
//! bounds (`members.rs`). The membership itself is `protocol::membership`'s, and a test holds the two answers equal. What
//! follows from the facts about a device is `controller/evidence`'s.

use modelfleet_evidence::{Facts, Moment, count};
use modelfleet_judge::{Arm, Counts, WATCHED_MAX};
use modelfleet_protocol::ids::{DeviceId, Digest, ModelName};
use modelfleet_protocol::membership::Membership;
use modelfleet_protocol::plan::Plan;
use modelfleet_protocol::selector::Selector;
use modelfleet_protocol::state::FailureCode;
use modelfleet_protocol::time::Time;
use modelfleet_rollout::{FleetView, UNCONFIRMED_MAX};

use crate::device::{Device, DeviceAttempt, DeviceModel, DeviceReport};
use crate::first_by_id::keep_first;
use crate::fleet::Fleet;
use crate::intern::Number;
use crate::label_sets::LabelSet;
use crate::members::Members;
use crate::other_plan::OtherPlan;
use crate::shards::IdHash;
use crate::windows::Counting;

/// Most failed devices that are named.
pub const FAILURES_MAX: usize = 16;

/// Which rollout attempt looks, and how.
#[derive(Clone, Debug)]
pub struct Lens<'a> {
    /// The model.
    pub model: &'a ModelName,
    /// The attempt, as plan and devices name it.
    pub attempt: &'a str,
    /// The candidate's digest.
    pub candidate: Digest,
    /// Which devices the rollout is for, whatever its stages draw from.
    pub scope: &'a Selector,
    /// Which devices the current stage draws from.
    pub selector: &'a Selector,
    /// Labels in whose values the current stage looks for harm.
    pub watch_by: &'a [String],
    /// Who was drawn so far, quarantined devices and those that a user has set aside excluded.
    pub membership: &'a Membership,
    /// Those that a user has set aside, ordered: they count nowhere but in what still runs the candidate. Nor do devices that
    /// run the model by an order of their own.
    pub set_aside: &'a [DeviceId],
    /// The stage that the membership was drawn for.
    pub drawn: Option<u32>,
    /// Probation takes so long, milliseconds: one that runs longer and is not confirmed was asked too seldom.
    pub probation_ms: u64,
    /// A device that was not heard for so long is silent, milliseconds.
    pub silent_after_ms: u64,
    /// Length of the windows that silence is told by, milliseconds.
    pub window_ms: u64,
    /// The connection to the broker has stood since; time without it counts as no device's silence.
    pub connected_since: Time,
    /// What was in production before the attempt, the first that matches counts: for whom, and whether it is the
    /// candidate's bytes all the same. Such devices have nothing to go back from.
    pub prior: &'a [(Selector, bool)],
    /// When the way back began, while it goes on.
    pub back_since: Option<Time>,
    /// The newest plan of the model.
    pub plan: Option<&'a Plan>,
    /// Now.
    pub now: Time,
}

/// One device of an arm.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// Its id.
    pub id: &'a DeviceId,
    /// The judge's number for it, [`modelfleet_evidence::device_number`]: kept with the device.
    pub number: IdHash,
    /// Canary or control.
    pub arm: Arm,
    /// Its stratum; see [`modelfleet_evidence::compared`].
    pub stratum: u16,
    /// Its values of the labels that the stage watches; see [`modelfleet_evidence::watched`].
    pub watched: [u16; WATCHED_MAX],
    /// Where it is; see [`modelfleet_evidence::sites`].
    pub site: u16,
    /// Number of its label set; see [`Fleet::labels_numbered`].
    pub labels: Number,
    /// What is known of it.
    pub facts: Facts,
    /// When it activated, by its own clock.
    pub activated: Time,
    /// Its newest report, when it is about the build of its arm.
    pub report: Option<&'a DeviceReport>,
}

/// A device that failed, or that has trouble of its own, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedDevice {
    /// Which.
    pub device: DeviceId,
    /// Why.
    pub code: FailureCode,
    /// When, by its own clock.
    pub at: Time,
}

/// What one walk found.
#[derive(Debug, Default)]
pub struct Survey<'a> {
    /// The counts.
    pub view: FleetView,
    /// Devices that the rollout is for, drawn or not.
    pub eligible: u64,
    /// Those of them that are connected.
    pub online: u64,
    /// Canaries and controls, in the order of their numbers.
    pub subjects: Vec<Subject<'a>>,
    /// Some failed devices, by id.
    pub failures: Vec<FailedDevice>,
    /// Some connected devices that run the candidate, by id.
    pub exposed: Vec<DeviceId>,
    /// Connected devices that hold another plan than the newest.
    pub other_plan: OtherPlan,
}

impl Fleet {
    /// Surveys the fleet; `arms`: collect the judge's subjects too.
    #[must_use]
    pub fn survey<'a>(&'a self, lens: &Lens<'_>, arms: bool) -> Survey<'a> {
        let mut survey = Survey::default();
        survey.view.drawn = lens.drawn;
        let Some(model) = self.texts.models.find(lens.model) else {
            return self.survey_untold(lens, survey);
        };
        let own = Own {
            model,
            attempt: self.texts.rollouts.find(&lens.attempt.to_owned()),
            candidate: self.texts.digests.find(&lens.candidate),
        };
        let (sets, moment) = (self.label_sets(lens), lens.moment());
        let directed = self.directed(lens.model);
        let members = Members::of(lens.membership);
        // A list of a million that grows by doubling is copied over and over.
        survey.subjects.reserve_exact(if arms { self.len() } else { 0 });
        for (number, device) in self.devices.devices() {
            let id = &device.id;
            let Some(set) = sets.get(device.labels as usize).and_then(Option::as_ref) else { continue };
            let entry = device.model(model);
            let by_order = directed.binary_search(&(number, id)).is_ok();
            let aside = by_order || lens.set_aside.binary_search(id).is_ok();
            let by_draw = (members.include((number, id), set), members.excludes((number, id)));
            let facts = facts(&own, by_draw, aside, device, entry, set, lens.window_ms);
            // No plan takes from it what it runs by an order of its own, so no way back waits for it.
            let mut facts = Facts { stays: facts.stays || by_order, ..facts };
            if facts.is_lost(&moment) {
                let report = entry.and_then(|e| e.report.as_ref());
                facts.by_rhythm = report.and_then(|report| report.away_by_rhythm(lens.now));
            }
            count(&mut survey.view, &facts, &moment);
            let in_scope = set.in_scope && !facts.set_aside_by_user;
            survey.eligible += u64::from(in_scope);
            survey.online += u64::from(in_scope && facts.online);
            if in_scope && facts.online {
                survey.other_plan.note(id, self.holds(lens, id, device, entry));
            }
            if facts.is_exposed() && facts.online {
                keep_first(&mut survey.exposed, UNCONFIRMED_MAX, id, |known| known, || id.clone());
            }
            let failed = (facts.member || facts.set_aside) && (facts.has_failed() || facts.has_own_trouble());
            if let (true, Some(code)) = (failed, facts.code) {
                let made = || FailedDevice { device: id.clone(), code, at: facts.since };
                keep_first(&mut survey.failures, FAILURES_MAX, id, |known| &known.device, made);
            }
            if arms && let Some(subject) = subject(&own, number, device, facts, set) {
                survey.subjects.push(subject);
            }
        }
        survey
    }

    /// No device has spoken of the model yet: all that is known is who would be drawn.
    fn survey_untold<'a>(&'a self, lens: &Lens<'_>, mut survey: Survey<'a>) -> Survey<'a> {
        for (_, device) in self.devices.devices() {
            let Some(labels) = self.texts.labels.get(device.labels) else { continue };
            let (id, online) = (&device.id, device.presence.is_some_and(|p| p.online));
            if lens.set_aside.binary_search(id).is_ok() {
                continue;
            }
            let matching = lens.selector.matches(labels);
            let member = u64::from(lens.membership.includes(id, labels));
            let in_scope = lens.scope.matches(labels);
            survey.view.matching += u64::from(matching);
            survey.eligible += u64::from(in_scope);
            survey.online += u64::from(in_scope && online);
            if in_scope && online {
                survey.other_plan.note(id, self.holds(lens, id, device, None));
            }
            survey.view.members += member;
            survey.view.eligible += member;
            survey.view.reachable += if online { member } else { 0 };
            survey.view.unreachable += if online { 0 } else { member };
            survey.view.unmarked += if online { member } else { 0 };
        }
        survey
    }
}

/// Numbers of the attempt's own names in the fleet's tables.
struct Own {
    model: Number,
    attempt: Option<Number>,
    candidate: Option<Number>,
}

impl Lens<'_> {
    /// When, and by which times, devices are looked at.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment {
            now: self.now,
            silent_after_ms: self.silent_after_ms,
            connected_since: self.connected_since,
            planned_at: self.plan.map_or(Time::ZERO, |plan| plan.order.issued.min(self.now)),
            probation_ms: self.probation_ms,
            back_since: self.back_since,
        }
    }
}

fn facts(
    own: &Own,
    (included, excluded): (bool, bool),
    by_user: bool,
    device: &Device,
    entry: Option<&DeviceModel>,
    set: &LabelSet,
    window_ms: u64,
) -> Facts {
    debug_assert!(entry.is_none_or(|e| e.model == own.model));
    // Names come again, bytes do not: what a device tried is this attempt's only when its digest is.
    let is_own = |a: &DeviceAttempt| Some(a.rollout) == own.attempt && Some(a.digest) == own.candidate;
    let attempt = entry.and_then(|e| e.attempt).filter(is_own);
    let report = entry.and_then(|e| e.report.as_ref());
    Facts {
        member: !by_user && !excluded && included,
        set_aside: excluded && !by_user,
        set_aside_by_user: by_user,
        was_drawn: by_user && included,
        matching: set.matching && !by_user,
        online: device.presence.is_some_and(|p| p.online),
        known: entry.is_some_and(DeviceModel::says_anything),
        answers: own.candidate.is_some() && entry.is_some_and(|e| Some(e.running) == own.candidate),
        proven: entry.is_some_and(|e| e.confirmed),
        stays: set.stays,
        other_windows: report.is_some_and(|report| !report.has_windows_of(window_ms)),
        phase: attempt.map(|a| a.phase),
        code: attempt.and_then(|a| a.code),
        since: attempt.map_or(Time::ZERO, |a| a.since),
        heard_at: report.map_or(Time::ZERO, |r| r.heard),
        by_rhythm: None,
    }
}

fn subject<'a>(
    own: &Own,
    number: IdHash,
    device: &'a Device,
    facts: Facts,
    set: &LabelSet,
) -> Option<Subject<'a>> {
    let arm = facts.arm()?;
    let (entry, labels) = (device.model(own.model), device.labels);
    let report = entry.and_then(|e| e.report.as_ref());
    let of_arm = |r: &&DeviceReport| (Some(r.digest) == own.candidate) == (arm == Arm::Canary);
    let activated = entry.map_or(Time::ZERO, |e| e.began(own.candidate));
    let report = report.filter(of_arm);
    let (stratum, watched, site) = (set.stratum, set.watched, set.site);
    Some(Subject { id: &device.id, number, arm, stratum, watched, site, labels, facts, activated, report })
}

impl<'a> Subject<'a> {
    /// As the judge takes it, of reports that count so.
    #[must_use]
    pub fn counted(&'a self, counting: Counting) -> Counted<'a> {
        Counted { subject: self, counting }
    }
}

/// A device of an arm, whose reports count in one way.
#[derive(Clone, Copy, Debug)]
pub struct Counted<'a> {
    subject: &'a Subject<'a>,
    counting: Counting,
}

impl Counted<'_> {
    /// The report, when it counts so.
    #[must_use]
    pub fn report(&self) -> Option<&DeviceReport> {
        self.subject.report.filter(|report| report.counts(self.counting))
    }
}

impl modelfleet_evidence::Device for Counted<'_> {
    fn facts(&self) -> Facts {
        self.subject.facts
    }

    fn number(&self) -> u32 {
        self.subject.number
    }

    fn stratum(&self) -> u16 {
        self.subject.stratum
    }

    fn watched(&self) -> [u16; WATCHED_MAX] {
        self.subject.watched
    }

    fn site(&self) -> u16 {
        self.subject.site
    }

    fn activated(&self) -> Time {
        self.subject.activated
    }

    fn reported_until(&self) -> u64 {
        self.report().map_or(0, |report| report.windows.end())
    }

    fn past(&self, objective: usize) -> Counts {
        self.report().map_or_else(Counts::default, |report| report.windows.past(objective))
    }

    fn since(&self, objective: usize, first: u64) -> Counts {
        self.report().map_or_else(Counts::default, |report| report.windows.since(objective, first))
    }
}
