//! What answers follows what is active; what is on disk follows what is of use; the recorder follows what
//! answers.

use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::state::{Failure, Phase};

use crate::aim::Kind;
use crate::attempts;
use crate::saved::Slot;
use crate::slots::{self, Worth};
use crate::turn::Turn;
use crate::unit::Unit;
use crate::words::{Output, Role, Watch, Why};

impl Unit {
    /// Asks the shell to make the active build answer, unless it does or is being made to.
    pub fn serve(&mut self, turn: &mut Turn<'_>) {
        let want = self.answers_now(turn);
        let underway = self.work.switching.unwrap_or(self.serving);
        if underway == want {
            return;
        }
        if let Some(at) = self.work.switch_retry_at {
            let at = crate::fetch_schedule::within(turn.now, at, turn.limits.switch_retry_ms);
            if at > turn.now {
                self.work.switch_retry_at = Some(at);
                return turn.wake_at(at, Why::SwitchRetry);
            }
        }
        // Going back to what has proven itself needs no record, nor does what the record named when the process
        // started: a restart would come to it again.
        let recorded = |digest| self.recorded == Some(digest);
        let proven =
            want.is_none_or(|digest| recorded(digest) || self.slot(&digest).is_some_and(|slot| slot.proven));
        if !(turn.writable || proven) {
            return;
        }
        let build = want.and_then(|digest| self.build(&digest));
        if want.is_some() && build.is_none() {
            return; // The slot was lost in this very step; settling has already left it.
        }
        if want.is_some() && !turn.loading && turn.writable {
            self.kept.loads = self.kept.loads.saturating_add(1);
            turn.save = true;
        }
        self.work.switching = Some(want);
        turn.emit(Output::Switch { model: self.model.clone(), build });
    }

    /// What shall answer now. After a row of crashes candidates wait for a word from the broker; the stable build that
    /// has proven itself does not, unless the process has died with its loading time and again.
    fn answers_now(&self, turn: &Turn<'_>) -> Option<Digest> {
        let active = self.kept.active.as_ref().map(|active| active.digest);
        if turn.loading {
            return if turn.writable { active } else { self.stand_in(active) };
        }
        let survives = self.kept.loads < turn.limits.stable_loads_max;
        let trusted = |slot: &&Slot| slot.stable && slot.proven && survives;
        let first = active.and_then(|digest| self.slot(&digest)).filter(trusted);
        first.or_else(|| self.way_back().filter(trusted)).map(|slot| slot.build.digest)
    }

    /// What answers for the active build while nothing can be written: a build on probation, whose end could not be
    /// remembered, leaves it to the one before, unless it answers already or is all there is.
    fn stand_in(&self, active: Option<Digest>) -> Option<Digest> {
        let digest = active?;
        let stays = self.serving == active || !self.on_trial();
        let way_back = self.way_back().filter(|_| !stays);
        Some(way_back.map_or(digest, |slot| slot.build.digest))
    }

    /// The shell made it answer.
    pub fn switched(&mut self, digest: Option<Digest>, engine: String, turn: &mut Turn<'_>) {
        self.switch_ended(digest);
        turn.save |= std::mem::take(&mut self.kept.loads) > 0;
        if self.serving != digest {
            self.serving = digest;
            turn.publish = true;
            let on_trial = digest.is_some_and(|digest| self.is_active(&digest)) && self.on_trial();
            if on_trial {
                self.fresh = Some((Role::Live, turn.now));
            } else {
                self.fresh.take_if(|(role, _)| *role == Role::Live);
            }
        }
        let Some(digest) = digest.filter(|digest| self.is_active(digest)) else { return };
        self.work.switch_tries = 0;
        self.work.switch_retry_at = None;
        let now = turn.now;
        let on_trial = self.on_trial();
        let Some(active) = &mut self.kept.active else { return };
        let rollout = active.rollout.clone();
        if on_trial {
            let (record, _) = attempts::find_or_begin(&mut self.kept.attempts, &rollout, digest, now);
            if record.attempt.phase < Phase::Activated {
                record.enter(Phase::Activated, now);
                active.activated = now;
                turn.changed();
            }
        }
        let activated = active.activated;
        if let Some(slot) = self.slot_mut(&digest)
            && (slot.activated != activated || (!engine.is_empty() && slot.engine != engine))
        {
            slot.activated = activated;
            if !engine.is_empty() {
                slot.engine = engine;
            }
            turn.changed();
        }
    }

    /// The shell could not make it answer. A build that never proved itself is left; one that ran here before
    /// gets some more tries, then its bytes count as damaged.
    pub fn switch_failed(&mut self, digest: &Digest, failure: Failure, turn: &mut Turn<'_>) {
        if !self.switch_ended(Some(*digest)) {
            return;
        }
        if !self.is_active(digest) {
            if !turn.writable {
                self.work.switch_retry_at = Some(turn.now.after_ms(turn.limits.switch_retry_ms));
            }
            return;
        }
        let proven = self.slot(digest).is_some_and(|slot| slot.proven);
        if self.on_trial() || !proven {
            return self.revert(failure, turn);
        }
        self.work.switch_tries = self.work.switch_tries.saturating_add(1);
        if self.work.switch_tries < turn.limits.switch_tries_max {
            self.work.switch_retry_at = Some(turn.now.after_ms(turn.limits.switch_retry_ms));
            return;
        }
        turn.emit(Output::Note(format!(
            "{} {digest}: does not load any more: {:?} {}",
            self.model, failure.code, failure.detail
        )));
        turn.emit(Output::Delete { digest: *digest });
        self.slot_lost(digest, turn);
    }

    /// The bytes are gone: whatever needs them fetches them again.
    pub fn slot_lost(&mut self, digest: &Digest, turn: &mut Turn<'_>) {
        // It may be the answer to a load of bytes that nobody wants any more.
        let loading = self.work.admitting.take_if(|admitting| admitting == digest);
        let before = self.kept.slots.len();
        self.kept.slots.retain(|slot| &slot.build.digest != digest);
        if self.kept.slots.len() == before {
            return;
        }
        turn.changed();
        if loading.is_some() {
            self.lost_while_loading(digest, turn);
        }
        if self.work.admitted.take_if(|(admitted, _)| admitted == digest).is_some() {
            turn.emit(Output::Unload { model: self.model.clone(), digest: *digest });
        }
        if self.work.shadow.take_if(|shadow| shadow == digest).is_some() {
            turn.emit(Output::Shadow { model: self.model.clone(), build: None });
        }
        if self.is_active(digest) {
            self.go_back(turn);
        }
    }

    /// Deletes what nobody needs: two builds stay.
    pub fn shelve(&mut self, turn: &mut Turn<'_>) {
        if !turn.writable {
            return;
        }
        for digest in slots::surplus(&self.kept.slots, self.worths()) {
            self.drop_slot(digest, turn);
        }
    }

    fn drop_slot(&mut self, digest: Digest, turn: &mut Turn<'_>) {
        self.kept.slots.retain(|slot| slot.build.digest != digest);
        if self.work.admitted.take_if(|(admitted, _)| *admitted == digest).is_some() {
            turn.emit(Output::Unload { model: self.model.clone(), digest });
        }
        turn.emit(Output::Delete { digest });
        turn.changed();
    }

    /// Whether there is a slot for a build that is wanted and not here.
    pub fn has_room(&self) -> bool {
        slots::has_room(&self.kept.slots, self.worths())
    }

    /// What each slot is worth as things are.
    fn worths(&self) -> impl Fn(&Slot) -> Worth {
        let way_back = self.way_back().map(|slot| slot.build.digest);
        let settled =
            self.kept.active.as_ref().is_some_and(|active| {
                self.slot(&active.digest).is_some_and(|slot| slot.stable && slot.proven)
            });
        move |slot| self.worth(slot, way_back.as_ref(), settled)
    }

    fn worth(&self, slot: &Slot, way_back: Option<&Digest>, settled: bool) -> Worth {
        let digest = &slot.build.digest;
        let goal = self.aim.goal().filter(|goal| &goal.build.digest == digest);
        let open = goal.is_some_and(|goal| {
            let ended = |t: &crate::saved::Try| t.attempt.rollout == goal.attempt && !t.is_open();
            goal.kind == Kind::Stable
                || !self.kept.attempts.iter().any(|t| &t.attempt.digest == digest && ended(t))
        });
        if self.is_active(digest) || self.answers_with(digest) {
            Worth::Active
        } else if self.rejects(digest) {
            Worth::None
        } else if way_back == Some(digest) && !settled {
            Worth::WayBack
        } else if open || self.work.shadow.as_ref() == Some(digest) {
            Worth::Wanted
        } else if slot.proven {
            Worth::Proven
        } else {
            Worth::Little
        }
    }

    /// Tells the recorders what to observe, when that has changed.
    pub fn watch(&mut self, turn: &mut Turn<'_>) {
        let window_ms = self.kept.plan.as_ref().map_or(0, |plan| plan.observe.window_ms);
        for (role, digest) in [(Role::Live, self.serving), (Role::Shadow, self.work.shadow)] {
            let build = digest.and_then(|digest| self.build(&digest));
            let key = build.as_ref().map(|build| (build.digest, window_ms));
            if self.observation.watched(role) != key {
                self.observation.set_watched(role, key);
                let model = self.model.clone();
                turn.emit(Output::Observe(Watch { model, build, window_ms, role }));
            }
        }
    }
}
