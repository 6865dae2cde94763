//! Why a model does not go on. What is in the way is said in the state, and once in the log.

use modelfleet_protocol::ids::Digest;

use crate::turn::Turn;
use crate::unit::Unit;
use crate::words::{Output, Why};

/// What may pass by itself without a word, such as a clock that is set, is looked at again so often, milliseconds.
const LOOK_AGAIN_MS: u64 = 10 * 60_000;

const DISK: &str = "the disk takes no writes, so nothing new is begun";
const EXPIRED: &str = "the plan has expired by this device's clock: set the clock if it is wrong, else the \
                       controller has to sign the plan again";
const TRIAL: &str = "another build is on trial here, and both slots are taken until that is over";
const CRASHES: &str =
    "the agent crashed several times in a row, so it hears the broker before it loads a candidate";
const UNASKED: &str = "too few predictions were asked of it within its probation: it is confirmed when enough are, \
                       and not taken back for want of them";

impl Unit {
    /// Says what is in the way, when that has changed.
    pub fn tell_waits(&mut self, turn: &mut Turn<'_>) {
        let goal = self.goal_waits(turn);
        if goal.is_some() {
            turn.wake_at(turn.now.after_ms(LOOK_AGAIN_MS), Why::Obstacle);
        }
        let waits = [goal, self.active_waits()];
        for record in &mut self.kept.attempts {
            let attempt = &mut record.attempt;
            let own = waits
                .iter()
                .flatten()
                .find(|(rollout, digest, _)| *rollout == attempt.rollout && *digest == attempt.digest);
            let why = own.map(|(_, _, why)| *why);
            if attempt.waits.as_deref() == why {
                continue;
            }
            attempt.waits = why.map(str::to_owned);
            turn.publish = true;
            if let Some(why) = why {
                let (model, digest) = (&self.model, attempt.digest);
                turn.emit(Output::Note(format!("{model} {digest} waits: {why}")));
            }
        }
    }

    /// What keeps the build that is wanted from being begun.
    fn goal_waits(&self, turn: &Turn<'_>) -> Option<(String, Digest, &'static str)> {
        let goal = self.aim.goal()?;
        let digest = goal.build.digest;
        let own = |t: &&crate::saved::Try| t.attempt.rollout == goal.attempt && t.attempt.digest == digest;
        let over = self.kept.attempts.iter().find(own).is_none_or(crate::saved::Try::has_ended);
        let underway = [self.work.fetching, self.work.admitting, self.work.shadow].contains(&Some(digest));
        if over || underway || self.is_active(&digest) {
            return None;
        }
        let here = self.slot(&digest).is_some();
        let why = if !turn.writable {
            DISK
        } else if turn.now >= goal.expires {
            EXPIRED
        } else if self.on_trial() && (here || !self.has_room()) {
            TRIAL
        } else if here && !turn.loading {
            CRASHES
        } else {
            return None;
        };
        Some((goal.attempt.clone(), digest, why))
    }

    /// What keeps the build that answers from being confirmed.
    fn active_waits(&self) -> Option<(String, Digest, &'static str)> {
        let active = self.kept.active.as_ref()?;
        let unasked = active.trial.as_ref().is_some_and(|trial| trial.outlasted);
        unasked.then(|| (active.rollout.clone(), active.digest, UNASKED))
    }
}
