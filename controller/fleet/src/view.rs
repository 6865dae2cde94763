//! A fleet seen by one rollout attempt: counts for the core, and the two arms for the judge.
//!
//! One walk over the devices. What depends on labels alone (does the selector match, which stratum, which bound) is
//! worked out once for each distinct label set; what remains for a device is a hash and a few comparisons. The
//! membership itself is `protocol::membership`'s, and a test holds the two answers equal.

use modelfleet_judge::{Arm, Counts};
use modelfleet_protocol::ids::{DeviceId, Digest, ModelName};
use modelfleet_protocol::membership::{Membership, rank};
use modelfleet_protocol::plan::Plan;
use modelfleet_protocol::selector::{Labels, Selector};
use modelfleet_protocol::state::{FailureCode, Phase};
use modelfleet_protocol::time::Time;
use modelfleet_rollout::{FleetView, UNCONFIRMED_MAX};

use crate::device::{Device, DeviceAttempt, DeviceModel, DeviceReport};
use crate::fleet::Fleet;
use crate::intern::Number;
use crate::label_sets::LabelSet;
use crate::other_plan::OtherPlan;
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
    /// Who was drawn so far, quarantined devices excluded.
    pub membership: &'a Membership,
    /// The stage that the membership was drawn for.
    pub drawn: Option<u32>,
    /// Probation takes so long, milliseconds: one that runs longer and is not confirmed was asked too seldom.
    pub probation_ms: u64,
    /// A device that was not heard for so long is silent, milliseconds.
    pub silent_after_ms: u64,
    /// Length of the windows that silence is told by, milliseconds.
    pub window_ms: u64,
    /// The connection to the broker has stood since; time without it is nobody's silence.
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

/// How one device stands to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// It was drawn, and not set aside.
    pub member: bool,
    /// It was set aside because it failed; it is no member any more, and its failure still counts.
    pub set_aside: bool,
    /// The current stage's selector matches it.
    pub matching: bool,
    /// It is connected.
    pub online: bool,
    /// It runs the candidate.
    pub runs: bool,
    /// It has the candidate's bytes in production whatever becomes of the attempt.
    pub stays: bool,
    /// How far it got with this attempt.
    pub phase: Option<Phase>,
    /// Why it ended.
    pub code: Option<FailureCode>,
    /// It can never run the build.
    pub incompatible: bool,
    /// It was heard lately.
    pub heard: bool,
    /// When its newest report arrived.
    pub heard_at: Time,
    /// It came through probation with the candidate.
    pub confirmed: bool,
    /// It runs the candidate longer than probation takes and is not confirmed.
    pub unasked: bool,
}

/// One device as the judge sees it; `counts` of all of them are in one list.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// Its id.
    pub id: &'a DeviceId,
    /// Canary or control.
    pub arm: Arm,
    /// Its stratum; see [`super::label_sets`].
    pub stratum: u16,
    /// Number of its label set; see [`Fleet::labels_numbered`].
    pub labels: Number,
    /// How it stands.
    pub standing: Standing,
    /// When it activated, by its own clock.
    pub activated: Time,
    /// Its newest report, when it is about the build of its arm.
    pub report: Option<&'a DeviceReport>,
}

/// A failed device, for people.
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
pub struct Sight<'a> {
    /// The counts.
    pub view: FleetView,
    /// Devices that the rollout is for, drawn or not.
    pub eligible: u64,
    /// Those of them that are connected.
    pub online: u64,
    /// Canaries and controls, by id.
    pub subjects: Vec<Subject<'a>>,
    /// Some failed devices, by id.
    pub failures: Vec<FailedDevice>,
    /// Some connected devices that run the candidate, by id.
    pub exposed: Vec<DeviceId>,
    /// Connected devices that hold another plan than the newest.
    pub other_plan: OtherPlan,
}

impl Fleet {
    /// Looks at the fleet; `arms`: collect the judge's subjects too.
    #[must_use]
    pub fn look<'a>(&'a self, lens: &Lens<'_>, arms: bool) -> Sight<'a> {
        let mut sight = Sight::default();
        sight.view.drawn = lens.drawn;
        let Some(model) = self.texts.models.find(lens.model) else {
            return self.look_untold(lens, sight);
        };
        let own = Own {
            model,
            attempt: self.texts.rollouts.find(&lens.attempt.to_owned()),
            candidate: self.texts.digests.find(&lens.candidate),
        };
        let sets = self.label_sets(lens);
        for (id, device) in &self.devices {
            let Some(set) = sets.get(device.labels as usize).and_then(Option::as_ref) else { continue };
            let entry = device.model(model);
            let standing = standing(lens, &own, id, device, entry, set);
            count(&mut sight.view, &standing);
            sight.eligible += u64::from(set.in_scope);
            sight.online += u64::from(set.in_scope && standing.online);
            if set.in_scope && standing.online {
                sight.other_plan.note(id, self.holds(lens, id, device, entry));
            }
            let mute = lens.back_since.is_some_and(|since| standing.heard_at < since);
            let exposed = standing.runs && !standing.stays && standing.online;
            sight.view.still_exposed_mute += u64::from(exposed && mute);
            let named = exposed && sight.exposed.len() < UNCONFIRMED_MAX;
            sight.exposed.extend(named.then(|| id.clone()));
            let failed = (standing.member || standing.set_aside) && standing.failed();
            if let (true, Some(code)) = (failed && sight.failures.len() < FAILURES_MAX, standing.code) {
                let at = entry.and_then(|e| e.attempt).map_or(Time::ZERO, |a| a.since);
                sight.failures.push(FailedDevice { device: id.clone(), code, at });
            }
            if arms && let Some(subject) = subject(&own, id, entry, standing, (set.stratum, device.labels)) {
                sight.subjects.push(subject);
            }
        }
        sight
    }

    /// The labels of a number that a [`Subject`] has.
    #[must_use]
    pub fn labels_numbered(&self, number: Number) -> Option<&Labels> {
        self.texts.labels.get(number)
    }

    /// No device has spoken of the model yet: all that is known is who would be drawn.
    fn look_untold<'a>(&'a self, lens: &Lens<'_>, mut sight: Sight<'a>) -> Sight<'a> {
        for (id, labels, online) in self.labelled() {
            let matching = lens.selector.matches(labels);
            let member = u64::from(lens.membership.includes(id, labels));
            let in_scope = lens.scope.matches(labels);
            sight.view.matching += u64::from(matching);
            sight.eligible += u64::from(in_scope);
            sight.online += u64::from(in_scope && online);
            if let Some(device) = self.devices.get(id).filter(|_| in_scope && online) {
                sight.other_plan.note(id, self.holds(lens, id, device, None));
            }
            sight.view.members += member;
            sight.view.eligible += member;
            sight.view.reachable += if online { member } else { 0 };
            sight.view.unreachable += if online { 0 } else { member };
            sight.view.unmarked += if online { member } else { 0 };
        }
        sight
    }
}

/// Numbers of the attempt's own names in the fleet's tables.
struct Own {
    model: Number,
    attempt: Option<Number>,
    candidate: Option<Number>,
}

fn included(membership: &Membership, id: &DeviceId, set: &LabelSet) -> bool {
    if set.clauses.iter().all(Option::is_none) {
        return false;
    }
    let rank = rank(&membership.salt, id);
    let clauses = membership.clauses.iter().zip(&set.clauses);
    clauses
        .into_iter()
        .any(|(clause, bound)| bound.is_some_and(|bound| rank < bound || clause.devices.contains(id)))
}

fn standing(
    lens: &Lens<'_>,
    own: &Own,
    id: &DeviceId,
    device: &Device,
    entry: Option<&DeviceModel>,
    set: &LabelSet,
) -> Standing {
    debug_assert!(entry.is_none_or(|e| e.model == own.model));
    // Names come again, bytes do not: what a device tried is this attempt's only when its digest is.
    let is_own = |a: &DeviceAttempt| Some(a.rollout) == own.attempt && Some(a.digest) == own.candidate;
    let attempt = entry.and_then(|e| e.attempt).filter(is_own);
    let (phase, code) = (attempt.map(|a| a.phase), attempt.and_then(|a| a.code));
    let answers = own.candidate.is_some() && entry.is_some_and(|e| Some(e.running) == own.candidate);
    let runs = answers || matches!(phase, Some(Phase::Activated | Phase::Confirmed));
    let confirmed = phase == Some(Phase::Confirmed) || (answers && entry.is_some_and(|e| e.confirmed));
    let report = entry.and_then(|e| e.report.as_ref());
    let heard_at = report.map_or(Time::ZERO, |r| r.heard);
    // By the windows that it followed it had nothing to say until the newest plan came.
    let other_windows = report.is_some_and(|report| !report.has_windows_of(lens.window_ms));
    let asked_at =
        lens.plan.filter(|_| other_windows).map_or(Time::ZERO, |plan| plan.order.issued.min(lens.now));
    let set_aside = lens.membership.exclude.contains(id);
    Standing {
        member: !set_aside && included(lens.membership, id, set),
        set_aside,
        matching: set.matching,
        online: device.presence.is_some_and(|p| p.online),
        runs,
        stays: set.stays,
        phase,
        code,
        incompatible: phase == Some(Phase::Incompatible)
            || (phase == Some(Phase::Failed) && code.is_some_and(FailureCode::is_incompatibility)),
        heard: lens.now.since_ms(heard_at.max(asked_at).max(lens.connected_since)) <= lens.silent_after_ms,
        heard_at,
        confirmed: runs && confirmed,
        unasked: runs
            && !confirmed
            && attempt.is_some_and(|a| lens.now.since_ms(a.since) > lens.probation_ms),
    }
}

impl Standing {
    /// It went back because nothing was proven in time: that says nothing, of the device or of the model.
    fn unproven(&self) -> bool {
        self.phase == Some(Phase::Reverted) && self.code == Some(FailureCode::Unproven)
    }

    fn failed(&self) -> bool {
        matches!(self.phase, Some(Phase::Failed | Phase::Reverted)) && !self.unproven()
    }
}

fn count(view: &mut FleetView, s: &Standing) {
    let one = u64::from;
    view.matching += one(s.matching);
    let ran = matches!(s.phase, Some(Phase::Reverted | Phase::RolledBack));
    view.exposed_ever += one((s.runs || ran) && !s.stays);
    view.still_exposed += one(s.runs && !s.stays && s.online);
    view.still_exposed_unreachable += one(s.runs && !s.stays && !s.online);
    if !s.member {
        return;
    }
    view.members += 1;
    if s.incompatible {
        view.incompatible += 1;
        return;
    }
    let downloaded = matches!(s.phase, Some(Phase::Downloaded | Phase::Reverted | Phase::RolledBack));
    view.eligible += 1;
    view.reachable += one(s.online);
    view.unreachable += one(!s.online);
    view.offered += one(s.phase.is_some() || s.runs);
    view.downloaded += one(s.runs || downloaded);
    view.activated += one(s.runs);
    view.confirmed += one(s.confirmed);
    view.failed += one(s.failed());
    view.unproven += one(s.unproven());
    view.unasked += one(s.unasked && s.online);
    view.silent_after_activation += one(s.runs && !s.heard);
    view.unmarked += one(s.online && !s.runs && s.phase.is_none());
}

/// A member is a canary; so is a device that was set aside: without it, failures that come one by one would never be
/// tested together. A device that the stage could draw from and that has not got the candidate is a control. A
/// device that cannot run the build is neither.
fn subject<'a>(
    own: &Own,
    id: &'a DeviceId,
    entry: Option<&'a DeviceModel>,
    standing: Standing,
    (stratum, labels): (u16, Number),
) -> Option<Subject<'a>> {
    let control = standing.matching && !standing.runs && standing.phase.is_none();
    let control = control && entry.is_some_and(DeviceModel::says_anything);
    let arm = match (standing.member || standing.set_aside, control) {
        _ if standing.incompatible => return None,
        (true, _) => Arm::Canary,
        (false, true) => Arm::Control,
        (false, false) => return None,
    };
    let report = entry.and_then(|e| e.report.as_deref());
    let of_arm = |r: &&DeviceReport| (Some(r.digest) == own.candidate) == (arm == Arm::Canary);
    let activated = entry.map_or(Time::ZERO, |e| e.began(own.candidate));
    Some(Subject { id, arm, stratum, labels, standing, activated, report: report.filter(of_arm) })
}

impl Subject<'_> {
    /// The report, when it counts so.
    #[must_use]
    pub fn counted(&self, counting: Counting) -> Option<&DeviceReport> {
        self.report.filter(|report| report.counts(counting))
    }

    /// Windows of an indicator from window `first` on, when the report counts so.
    #[must_use]
    pub fn since(&self, indicator: usize, first: u64, counting: Counting) -> Counts {
        self.counted(counting).map_or_else(Counts::default, |report| report.windows.since(indicator, first))
    }

    /// The device's own past of an indicator, when the report counts so.
    #[must_use]
    pub fn past(&self, indicator: usize, counting: Counting) -> Counts {
        self.counted(counting).map_or_else(Counts::default, |report| report.windows.past(indicator))
    }
}
