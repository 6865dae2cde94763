//! One model on this device: what is kept of it, what is under way, and the order in which it settles.
//!
//! Inputs only change what is known. [`Unit::settle`] then compares what is wanted with what is, and asks for
//! the difference; so a restart, a repeated input or a lost answer ends at the same place.

use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::state::{Failure, Phase};
use modelfleet_protocol::time::Time;

use crate::aim::Aim;
use crate::answers::Answers;
use crate::attempts::{self};
use crate::build::Build;
use crate::fetch_turns::Line;
use crate::observation::Observation;
use crate::saved::{Active, Kept, Slot, Try};
use crate::slots;
use crate::turn::Turn;
use crate::words::{Identity, Limits, Output, Role};

#[derive(Clone, Debug)]
pub(crate) struct Unit {
    pub model: ModelName,
    pub kept: Kept,
    pub aim: Aim,
    /// The build that the plan calls stable for this device.
    stable: Option<Digest>,
    /// Whether the aim was taken for a device that needs the stable build before a candidate.
    stable_first: bool,
    /// What answers, in the shell's word.
    pub serving: Option<Digest>,
    /// The active build in the record with which the process started.
    pub recorded: Option<Digest>,
    pub work: Work,
    /// How long the shell has owed what was asked of it.
    pub answers: Answers,
    /// What was asked for before this step.
    pub asked_before: Asked,
    /// What began to run since the process last used less memory than allowed, how and when.
    pub fresh: Option<(Role, Time)>,
    pub observation: Observation,
}

/// What was asked for and has not been answered. A restart forgets it, and settling asks again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Work {
    pub fetching: Option<Digest>,
    /// Bytes per second of that fetch; 0: no limit.
    pub fetch_rate: u64,
    pub line: Line,
    pub admitting: Option<Digest>,
    /// Loaded beside what serves, with the engine that loaded it.
    pub admitted: Option<(Digest, String)>,
    pub shadow: Option<Digest>,
    /// The shell has said that it runs.
    pub shadow_runs: bool,
    pub switching: Option<Option<Digest>>,
    pub switch_tries: u32,
    pub switch_retry_at: Option<Time>,
    /// Answers of the build on probation in earlier runs of the process.
    pub answered_before: u64,
    /// Running totals of the build on probation, or in shadow.
    pub answered: u64,
    pub errors: u64,
    /// How long the build on probation, or in shadow, has run without a break.
    pub run_ms: u64,
    /// The value of `run_ms` when contact was last asked for.
    pub asked_contact_ms: Option<u64>,
}

/// The requests of [`Work`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    fetching: Option<Digest>,
    admitting: Option<Digest>,
    shadow: Option<Digest>,
    switching: Option<Option<Digest>>,
}

impl Work {
    pub fn asked(&self) -> Asked {
        let Work { fetching, admitting, shadow, switching, .. } = *self;
        Asked { fetching, admitting, shadow, switching }
    }

    /// Another build runs, or shall: what was counted of the one before means nothing.
    pub fn count_anew(&mut self) {
        self.answered_before = 0;
        self.answered = 0;
        self.errors = 0;
        self.run_ms = 0;
        self.asked_contact_ms = None;
    }
}

impl Unit {
    pub fn new(model: ModelName, kept: Kept) -> Unit {
        Unit {
            model,
            recorded: kept.active.as_ref().map(|active| active.digest),
            kept,
            aim: Aim::Keep,
            stable: None,
            stable_first: false,
            serving: None,
            work: Work::default(),
            answers: Answers::default(),
            asked_before: Asked::default(),
            fresh: None,
            observation: Observation::default(),
        }
    }

    pub fn slot(&self, digest: &Digest) -> Option<&Slot> {
        slots::find(&self.kept.slots, digest)
    }

    pub fn slot_mut(&mut self, digest: &Digest) -> Option<&mut Slot> {
        self.kept.slots.iter_mut().find(|slot| &slot.build.digest == digest)
    }

    pub fn is_active(&self, digest: &Digest) -> bool {
        self.kept.active.as_ref().is_some_and(|active| &active.digest == digest)
    }

    /// Whether it answers, in the shell's word, or is being made to.
    pub fn answers_with(&self, digest: &Digest) -> bool {
        self.serving.as_ref() == Some(digest) || self.work.switching == Some(Some(*digest))
    }

    pub fn on_trial(&self) -> bool {
        self.kept.active.as_ref().is_some_and(|active| active.trial.is_some())
    }

    pub fn rejected(&self) -> &[Digest] {
        self.kept.plan.as_ref().map_or(&[], |plan| &plan.rejected)
    }

    pub fn rejects(&self, digest: &Digest) -> bool {
        self.rejected().contains(digest)
    }

    pub fn stable(&self) -> Option<Digest> {
        self.stable
    }

    /// Works out what plan and override want of this device.
    pub fn take_aim(&mut self, identity: &Identity, limits: &Limits) {
        let stable = self.kept.plan.as_ref().and_then(|plan| plan.stable_of(&identity.labels));
        self.stable = stable.map(|build| build.digest);
        self.stable_first = self.needs_stable_first();
        self.aim = Aim::of(&self.kept, identity, limits, self.stable_first);
    }

    /// Whether nothing answers here that a candidate could be tried beside: a device that is new, or that left its only
    /// build, runs the stable one first, so that a candidate that cannot be had or run costs no answers. Where the
    /// stable one itself came to nothing, the candidate is tried.
    fn needs_stable_first(&self) -> bool {
        let ended = |digest: Digest| {
            let mut own = self
                .kept
                .attempts
                .iter()
                .filter(|t| t.attempt.rollout.is_empty() && t.attempt.digest == digest);
            own.any(Try::has_ended)
        };
        self.kept.active.is_none() && self.stable.is_some_and(|digest| !ended(digest))
    }

    /// The way back from what is active.
    pub fn way_back(&self) -> Option<&Slot> {
        let from = self.kept.active.as_ref().map(|active| &active.digest);
        slots::go_back(&self.kept.slots, from, self.stable().as_ref(), self.rejected())
    }

    pub fn settle(&mut self, turn: &mut Turn<'_>) {
        self.leave_what_is_unwanted(turn);
        self.prove(turn);
        self.miss_answers(turn);
        if self.stable_first != self.needs_stable_first() {
            self.take_aim(turn.identity, turn.limits);
        }
        self.serve(turn); // Going back comes before anything else.
        self.drop_stale_work(turn);
        self.pursue(turn);
        self.drop_parts(turn);
        self.serve(turn);
        self.shelve(turn);
        self.watch(turn);
        self.report(turn);
        self.tell_waits(turn);
        self.await_answers(turn);
    }

    /// The last step's record could not be written: what it asked for was not done, and is asked for again once
    /// the record is written.
    pub fn forget_unsaved(&mut self) {
        let before = self.asked_before;
        if self.work.admitting != before.admitting
            && let Some(digest) = self.work.admitting.take()
        {
            let tried = self.kept.attempts.iter_mut().filter(|t| t.attempt.digest == digest);
            tried.for_each(|t| t.admissions = t.admissions.saturating_sub(1));
        }
        self.work.fetching = self.work.fetching.filter(|_| self.work.fetching == before.fetching);
        self.work.shadow = self.work.shadow.filter(|_| self.work.shadow == before.shadow);
        // The shell goes on with the switch before, which this one would have replaced.
        self.work.switching = before.switching;
    }

    /// The switch to this build has ended. Whether it was waited for.
    pub fn switch_ended(&mut self, digest: Option<Digest>) -> bool {
        self.asked_before.switching.take_if(|switching| *switching == digest);
        self.work.switching.take_if(|switching| *switching == digest).is_some()
    }

    /// Nothing is on disk, nothing runs, and nothing is wanted.
    pub fn is_idle(&self) -> bool {
        let Kept { directive, slots, active, parts, .. } = &self.kept;
        let wanted = self.aim.goal().is_some() || directive.is_some();
        !wanted && slots.is_empty() && active.is_none() && parts.is_empty() && self.serving.is_none()
    }

    /// A rejected build never answers; a build that no plan has called stable answers only while it is wanted.
    fn leave_what_is_unwanted(&mut self, turn: &mut Turn<'_>) {
        let Some(active) = &self.kept.active else { return };
        let digest = active.digest;
        let stable = self.slot(&digest).is_some_and(|slot| slot.stable);
        let wanted = match &self.aim {
            Aim::Keep => true,
            Aim::Install(goal) if goal.build.digest == digest => !goal.is_shadow() || stable,
            Aim::Install(_) | Aim::Nothing => stable,
        };
        if wanted && !self.rejects(&digest) {
            return;
        }
        let rollout = active.rollout.clone();
        let pinned = self.aim.goal().is_some_and(|goal| goal.kind == crate::aim::Kind::Pin);
        turn.emit(Output::Note(format!("{} {digest}: taken back by the plan", self.model)));
        if rollout.is_empty() || (pinned && !self.rejects(&digest)) {
            // No attempt ended: a released pin, or a stable build that returns, starts anew.
            self.kept.attempts.retain(|t| t.attempt.digest != digest || t.attempt.rollout != rollout);
        } else {
            let (record, _) = attempts::find_or_begin(&mut self.kept.attempts, &rollout, digest, turn.now);
            record.end(Phase::RolledBack, None, turn.now);
        }
        self.go_back(turn);
    }

    /// The build that is active does not stay: its attempt ends with this failure.
    pub fn revert(&mut self, failure: Failure, turn: &mut Turn<'_>) {
        let Some(active) = &self.kept.active else { return };
        let (digest, rollout) = (active.digest, active.rollout.clone());
        turn.emit(Output::Note(format!(
            "{} {digest}: going back: {:?} {}",
            self.model, failure.code, failure.detail
        )));
        self.kept.reverts = self.kept.reverts.saturating_add(1);
        if let Some(slot) = self.slot_mut(&digest) {
            slot.proven = false;
        }
        let (record, _) = attempts::find_or_begin(&mut self.kept.attempts, &rollout, digest, turn.now);
        let answered = matches!(record.attempt.phase, Phase::Activated | Phase::Confirmed);
        let phase = if answered { Phase::Reverted } else { Phase::Failed };
        record.end(phase, Some(failure), turn.now);
        self.pause_if_stable(&rollout, &digest, turn);
        self.go_back(turn);
    }

    /// Whoever wants a stable build wants it for good: after a long pause it is tried again.
    pub fn pause_if_stable(&mut self, rollout: &str, digest: &Digest, turn: &mut Turn<'_>) {
        let alone = self.kept.slots.iter().all(|slot| &slot.build.digest == digest || !slot.proven);
        if let Some(record) = attempts::find(&mut self.kept.attempts, rollout, digest)
            && rollout.is_empty()
        {
            // Where nothing else can run, the wait is that of a fetch.
            let limits = turn.limits;
            let pause_ms = if alone { limits.fetch_backoff_max_ms } else { limits.long_pause_ms };
            let jitter_ms = turn.draw("long pause", pause_ms / 4);
            record.retry_at = Some(turn.now.after_ms(pause_ms).after_ms(jitter_ms));
        }
    }

    /// To the last good build, which needs neither download nor connection; else to the fallback.
    pub fn go_back(&mut self, turn: &mut Turn<'_>) {
        let target = self.way_back().map(|slot| slot.build.digest);
        self.make_active(
            target.map(|digest| Active {
                digest,
                activated: turn.now,
                rollout: String::new(),
                trial: None,
                crashes: 0,
            }),
            turn,
        );
    }

    pub fn make_active(&mut self, active: Option<Active>, turn: &mut Turn<'_>) {
        self.kept.active = active;
        self.work.count_anew();
        self.work.switch_tries = 0;
        self.work.switch_retry_at = None;
        turn.changed();
    }

    /// The description of a build that is on disk here.
    pub fn build(&self, digest: &Digest) -> Option<Build> {
        self.slot(digest).map(|slot| slot.build.clone())
    }
}
