//! What one decision carries from step to step.

use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::time::Time;

use crate::check::Broken;
use crate::decision::{Action, EventKind};
use crate::evidence::{Evidence, HardStop};
use crate::fleet::FleetView;
use crate::intent::{Intent, LaterTrust, MissingDevices, VersionFact};
use crate::moves::{Move, after};
use crate::policy::{Policy, Stage};
use crate::reason::{Reason, ReasonCode};
use crate::rejection::Rejection;
use crate::state::{Phase, QUARANTINED_MAX, State};
use crate::text::{clip, many, running, sentences, span};

/// While not at the end, a decision is looked at again after this time, whatever happens.
const HEARTBEAT_MS: u64 = 60_000;
/// Longest message of an event or a reason, in bytes: what a condition holds.
pub(super) const MESSAGE_MAX: usize = 512;
/// Longest reason of harm or of a way back that is kept, in bytes: the state must fit its field.
pub(super) const KEPT_MAX: usize = 320;
/// Longest statistics that are kept with shown harm, in bytes.
pub(super) const STATISTICS_MAX: usize = 200;

/// What one decision carries from step to step.
pub(super) struct Run<'a> {
    pub(super) policy: &'a Policy,
    pub(super) fleet: &'a FleetView,
    pub(super) evidence: &'a Evidence,
    /// The facts in it follow what this decision does: its later steps must not go by what it has just changed.
    pub(super) intent: Intent,
    pub(super) now: Time,
    pub(super) state: State,
    pub(super) actions: Vec<Action>,
    pub(super) illegal: Option<Broken>,
    /// Devices that this decision sets aside: the view still counts them as failed members.
    pub(super) set_aside_now: u64,
}

/// What a step answers.
pub(super) enum Next {
    /// It moved: look again.
    Again,
    /// Nothing more happens now, and why.
    Wait(Vec<Reason>),
}

impl Next {
    /// Nothing more happens now, for one reason.
    pub(super) fn wait(reason: Reason) -> Next {
        Next::Wait(vec![reason])
    }
}

impl Run<'_> {
    /// Takes note of what people and fleet say whatever the phase.
    pub(super) fn prepare(&mut self) {
        // Before its first stage is open, what the view counts is of an earlier attempt.
        let counts = self.state.is_opened() && self.state.stage_opened_at != Some(self.now);
        let state = &mut self.state;
        let figures = &mut state.figures;
        figures.exposed_devices =
            figures.exposed_devices.max(if counts { self.fleet.exposed_ever } else { 0 });
        if figures.exposed_devices > 0 && figures.first_exposed_at.is_none() {
            figures.first_exposed_at = Some(self.now);
        }
        if state.promote_stale != self.intent.promote {
            state.promote_stale = None;
        }
        self.note_rejection();
        self.note_retry_token();
        self.quarantine();
    }

    /// Takes note of the version's rejection, before the token is noted: only a token that changes after it lifts it.
    fn note_rejection(&mut self) {
        let (VersionFact::Rejected { at, .. } | VersionFact::Doubtful { at, .. }) = self.intent.facts.version
        else {
            return;
        };
        let token = &self.intent.retry_token;
        // While devices may have it, a token lifts nothing; after the end it asks for another attempt first.
        let waits = matches!(self.state.phase, Phase::Queued | Phase::Refused);
        let asked = waits && token.is_some() && *token != self.state.retry_token;
        self.state.rejection = Some(Rejection::seen(self.state.rejection, at, asked));
    }

    /// A token that changes while nothing has ended is noted and does nothing: it must not restart an attempt
    /// that fails later.
    fn note_retry_token(&mut self) {
        let token = &self.intent.retry_token;
        if token.is_none() || *token == self.state.retry_token {
            return;
        }
        match self.state.phase {
            Phase::Queued | Phase::Refused | Phase::Succeeded => self.state.retry_token.clone_from(token),
            Phase::Progressing | Phase::AwaitingApproval | Phase::Paused(_) if self.state.harm.is_none() => {
                self.state.retry_token.clone_from(token);
                self.tell(
                    EventKind::RetryIgnored,
                    "The new retryToken has no effect now: it starts a new attempt only after a rollback.",
                );
            }
            Phase::Progressing
            | Phase::AwaitingApproval
            | Phase::Paused(_)
            | Phase::RollingBack
            | Phase::RolledBack => {}
        }
    }

    fn quarantine(&mut self) {
        let advancing =
            matches!(self.state.phase, Phase::Progressing | Phase::AwaitingApproval | Phase::Paused(_));
        let Some(HardStop::Quarantine { devices, reason }) = &self.evidence.hard_stop else { return };
        if !advancing || !self.is_current() || self.blind().is_some() {
            return;
        }
        let mut fresh: Vec<_> = devices
            .iter()
            .filter(|d| !self.state.quarantined.contains(d) && !self.policy.sets_aside(d))
            .cloned()
            .collect();
        fresh.sort();
        fresh.dedup();
        fresh.truncate(QUARANTINED_MAX.saturating_sub(self.state.quarantined.len()));
        if fresh.is_empty() {
            return;
        }
        let names: Vec<&str> = fresh.iter().take(3).map(DeviceId::as_str).collect();
        let more = match fresh.len() - names.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let message = sentences(&[
            &format!(
                "quarantined {} ({}{more}): {reason}",
                many(fresh.len() as u64, "device"),
                names.join(", ")
            ),
            match fresh.len() {
                1 => "the rollout continues without it; check this device",
                _ => "the rollout continues without them; check these devices",
            },
        ]);
        self.set_aside_now = fresh.len() as u64;
        self.state.quarantined.extend(fresh);
        self.state.quarantined.sort();
        self.tell(EventKind::DevicesQuarantined, &message);
    }

    /// Does something to a version.
    pub(super) fn change(&mut self, action: Action) {
        let facts = &mut self.intent.facts;
        match &action {
            Action::Promote { production } => {
                facts.production.clone_from(production);
                facts.version = VersionFact::Production;
            }
            Action::GiveBack { production } => {
                let taken_out =
                    facts.version == VersionFact::Production && !production.names(&self.state.version);
                facts.production.clone_from(production);
                if taken_out {
                    facts.version = VersionFact::Verified;
                }
            }
            // A check that failed and a floor are not a rollout's word that a retry token lifts.
            Action::MarkRejected { .. }
                if matches!(facts.version, VersionFact::Unverifiable(_) | VersionFact::Forbidden(_)) => {}
            Action::MarkRejected { message, .. } => {
                facts.version = VersionFact::Rejected { reason: message.clone(), at: self.now };
            }
            Action::MarkVerified { .. } => facts.version = VersionFact::Verified,
            Action::OpenStage { .. } | Action::Event { .. } => {}
        }
        self.actions.push(action);
    }

    /// Moves to a phase, by the table, and tells people.
    pub(super) fn go(&mut self, step: Move, phase: Phase, kind: EventKind, message: &str) -> Next {
        if after(self.state.phase.kind(), step) != Some(phase.kind()) {
            self.illegal = Some(Broken("a move that the table does not have"));
            return Next::Wait(vec![]);
        }
        self.state.phase = phase;
        self.state.phase_since = self.now;
        self.tell(kind, message);
        Next::Again
    }

    /// Tells people, and writes it to the log.
    pub(super) fn tell(&mut self, kind: EventKind, message: &str) {
        let stage = if self.state.is_opened() { self.stage().name.as_str() } else { "" };
        let stage = stage.to_owned();
        self.state.record(self.now, &stage, kind, message);
        self.actions.push(Action::Event { kind, message: clip(message, MESSAGE_MAX) });
    }

    /// The current stage.
    pub(super) fn stage(&self) -> &Stage {
        self.policy.stage(self.state.stage)
    }

    /// Whether its first stage was opened in this very moment, in which no evidence is heard.
    pub(super) fn has_just_begun(&self) -> bool {
        self.state.passed.is_empty() && self.state.stage_opened_at == Some(self.now)
    }

    /// Whether the evidence speaks about this attempt. It cannot before its first stage was opened, nor in
    /// that very moment.
    pub(super) fn is_of_attempt(&self) -> bool {
        let just_begun = self.has_just_begun();
        let opens = self.actions.iter().any(|a| matches!(a, Action::OpenStage { .. }));
        self.state.is_opened() && !just_begun && !opens && self.evidence.attempt == self.state.attempt
    }

    /// Whether the evidence speaks about the current stage.
    pub(super) fn is_current(&self) -> bool {
        let began = self.state.stage_opened_at != Some(self.now);
        began && self.is_of_attempt() && self.evidence.stage == self.state.stage
    }

    /// Whether the fleet's counts are those of the current stage. A view cannot be newer than a draw of this
    /// very moment.
    pub(super) fn view_is_current(&self) -> bool {
        let drawn = self.state.drawn.is_some_and(|d| d.stage == self.state.stage && d.at != self.now);
        drawn && self.state.is_opened() && self.fleet.drawn == Some(self.state.stage)
    }

    /// Why the rollout may not begin, however long it waits.
    pub(super) fn refused(&self) -> Option<(ReasonCode, String)> {
        let version = self.version_refused().map(|why| (ReasonCode::VersionRefused, why));
        version.or_else(|| self.one_too_many().map(|why| (ReasonCode::TooManySelectors, why)))
    }

    /// Why what is proven could not be kept apart from what others have.
    fn one_too_many(&self) -> Option<String> {
        let now = &self.intent.facts.production;
        let why = now.with(self.policy.scope(), &self.state.version).too_many()?;
        Some(format!(
            "{why}. To make room, roll out a version without a selector, or with a selector that is in use; then this \
             rollout starts. In use: {now}"
        ))
    }

    /// Whether the version is in production for all of the rollout's devices.
    pub(super) fn is_stable(&self) -> bool {
        let facts = &self.intent.facts;
        facts.version == VersionFact::Production
            && facts.production.is_whole(self.policy.scope(), &self.state.version)
    }

    /// The devices of the rollout, where they are not all: ` for site=north`.
    pub(super) fn whom(&self) -> String {
        let scope = self.policy.scope();
        if scope.is_everybody() { String::new() } else { format!(" for {scope}") }
    }

    /// The versions that the rollout's devices go back to; `None`: there is none.
    pub(super) fn way_back(&self) -> Option<String> {
        let mut versions: Vec<&str> = Vec::new();
        for entry in self.state.prior.of(self.policy.scope()) {
            if !versions.contains(&entry.version.as_str()) {
                versions.push(&entry.version);
            }
        }
        (!versions.is_empty()).then(|| versions.join(" or "))
    }

    /// Why the version may not be rolled out.
    pub(super) fn version_refused(&self) -> Option<String> {
        let version = &self.state.version;
        match &self.intent.facts.version {
            VersionFact::Unverifiable(why) => Some(format!("version {version} failed its check: {why}")),
            VersionFact::Forbidden(why) => Some(format!("version {version} {why}")),
            VersionFact::Rejected { reason, .. } => {
                let lifted = self.state.rejection.is_some_and(|rejection| rejection.lifted);
                let say = || format!("version {version} was rejected: {reason}");
                (!lifted).then(say)
            }
            VersionFact::Doubtful { why, .. } => {
                let lifted = self.state.rejection.is_some_and(|rejection| rejection.lifted);
                (!lifted).then(|| format!("{why}; set a new retryToken to roll it out anyway"))
            }
            VersionFact::Missing
            | VersionFact::Registered
            | VersionFact::Verified
            | VersionFact::Production
            | VersionFact::Archived => None,
        }
    }

    /// Why nothing may be decided on what is seen now; `None` when it may.
    pub(super) fn blind(&self) -> Option<Reason> {
        let facts = &self.intent.facts;
        if !facts.broker_connected {
            let text = "Waiting for the broker, which does not answer. Devices keep the version that they run. Check the broker.";
            return Some(Reason::new(ReasonCode::BrokerUnavailable, text));
        }
        if facts.plan_lost {
            let text = "Waiting up to 15 minutes for a device to send the plan that it holds, because the broker and the \
                statuses have lost what is in production. Devices keep the version that they run.";
            return Some(Reason::new(ReasonCode::ViewIncomplete, text));
        }
        if let Some(later) = &facts.later_trust {
            return Some(Reason::new(ReasonCode::LaterTrustHeld, later_trust(later)));
        }
        if let Some(missing) = &facts.missing {
            return Some(Reason::new(ReasonCode::DevicesMissing, devices_missing(missing)));
        }
        if !facts.view_complete {
            let text = "Reading the retained device states from the broker; the rollout continues when all are read.";
            return Some(Reason::new(ReasonCode::ViewIncomplete, text));
        }
        if facts.counts_are_old {
            let text = "Devices are counted as the last look found them; the next look follows at once.";
            return Some(Reason::new(ReasonCode::ViewIncomplete, text));
        }
        let stale_after_ms = self.stale_after_ms();
        let Some(heard_at) = facts.heard_at else {
            let text =
                "No device has reported yet. Check that the agents connect and that they use this namespace.";
            return Some(Reason::new(ReasonCode::EvidenceStale, text));
        };
        let silent_ms = self.now.since_ms(heard_at);
        (silent_ms >= stale_after_ms).then(|| {
            let (silent, most) = (running(silent_ms), span(stale_after_ms));
            let text = format!(
                "Waiting for reports: no device has sent anything for {silent} (limit {most}). Check the broker and the network."
            );
            Reason::new(ReasonCode::EvidenceStale, text)
        })
    }

    /// How long no device may be heard before nothing is decided.
    fn stale_after_ms(&self) -> u64 {
        self.policy.parts().stale_after_ms.max(self.intent.facts.silent_by_plan_ms)
    }

    /// A reason for a `promote` that does nothing.
    pub(super) fn promote_ignored(&self) -> Option<Reason> {
        let name = self.intent.promote.as_ref()?;
        if !self.state.phase.is_active() {
            return None;
        }
        let text = if self.state.promote_stale.is_some() {
            format!(
                "Ignoring promote: {name}, because it was set before this attempt. Clear it, then set it again."
            )
        } else if self.policy.stage_named(name).is_none() {
            format!("Ignoring promote: {name}, because this rollout has no stage of that name.")
        } else {
            return None;
        };
        Some(Reason::new(ReasonCode::PromoteIgnored, text))
    }

    /// When to decide again: at the first of all deadlines, at the latest after the heartbeat.
    pub(super) fn wake_at(&self, reasons: &[Reason]) -> Option<Time> {
        if self.state.phase.is_terminal() {
            return None;
        }
        let stage = self.stage();
        let stale = self.intent.facts.heard_at.map(|t| t.after_ms(self.stale_after_ms()));
        let times = reasons.iter().filter_map(|r| r.deadline);
        let times = times.chain(stale).chain(self.state.clock.reaches(stage.bake_ms));
        let times = times.chain(self.state.rollback.as_ref().map(|r| r.deadline));
        let most = if self.intent.facts.counts_are_old { 1 } else { HEARTBEAT_MS };
        let heartbeat = self.now.after_ms(most);
        Some(times.filter(|t| *t > self.now).fold(heartbeat, Time::min))
    }
}

fn later_trust(LaterTrust { devices, told, latest, own }: &LaterTrust) -> String {
    format!(
        "Waiting for the newest trust file: {devices} of {told} devices hold a later trust document ({latest} at most) than this \
         controller has ({own}), so its plan key may be revoked. Devices keep the version that they run. Give the controller the \
         newest trust file."
    )
}

fn devices_missing(missing: &MissingDevices) -> String {
    let MissingDevices { known, seen, enough, wait_ms, until: _ } = missing;
    let wait = span(*wait_ms);
    format!(
        "Waiting for devices: the broker sent the states of {seen} that this rollout selects, and {known} were known before the \
         controller connected. Devices send their state when they connect. The rollout continues with {enough}, and at the latest \
         {wait} after all seemed to be there. If the others are gone for good, set the annotation \
         modelfleet.io/fewer-devices: \"{seen}\" on this rollout; if not, try the broker with check-broker."
    )
}
