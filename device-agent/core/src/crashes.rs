//! Builds that take the process down with them: counted over restarts, and left when it goes on.

use modelfleet_protocol::state::{Failure, FailureCode, Phase};

use crate::runs::Ending;
use crate::turn::Turn;
use crate::unit::Unit;
use crate::words::Why;

impl Unit {
    /// The process runs again. True when a build was left because of how the last run ended.
    pub fn restarted(&mut self, ending: Ending, turn: &mut Turn<'_>) -> bool {
        self.kept
            .attempts
            .retain(|t| !(t.attempt.rollout.is_empty() && t.attempt.phase == Phase::Incompatible));
        self.unheard();
        let trial = self.kept.active.as_ref().and_then(|active| active.trial.as_ref());
        self.work.answered_before = trial.map_or(0, |trial| trial.answered);
        self.room_on_disk(turn); // A restart is a good moment to look again.
        if matches!(ending, Ending::Stopped | Ending::PowerLost) {
            self.kept.loads = 0;
            // The load that was under way, or what ran in shadow, did not end the process.
            for tried in self.kept.attempts.iter_mut().filter(|t| t.admissions > 0) {
                tried.admissions -= 1;
                turn.save = true;
            }
        }
        match ending {
            Ending::First | Ending::Stopped => false,
            Ending::PowerLost => self.lost_power(turn),
            Ending::Crashed => self.crashed(turn),
        }
    }

    fn crashed(&mut self, turn: &mut Turn<'_>) -> bool {
        let stable = self.kept.active.as_ref().and_then(|active| self.slot(&active.digest));
        let stable = stable.is_some_and(|slot| slot.stable);
        let limits = turn.limits;
        let Some(active) = &mut self.kept.active else { return false };
        let detail = match &mut active.trial {
            Some(trial) if !trial.outlasted => {
                trial.restarts = trial.restarts.saturating_add(1);
                turn.save = true;
                (trial.restarts >= limits.restarts_max)
                    .then(|| format!("{} crashes on probation", trial.restarts))
            }
            // A stable build has nothing better to go back to.
            None if stable => None,
            // Confirmed, or waiting to be asked: only crashes that follow each other speak against it.
            _ => {
                active.crashes = active.crashes.saturating_add(1);
                turn.save = true;
                (active.crashes >= limits.crashes_max)
                    .then(|| format!("{} crashes in a row, each soon after a start", active.crashes))
            }
        };
        let Some(detail) = detail else { return false };
        self.revert(Failure::new(FailureCode::CrashLoop, detail), turn);
        true
    }

    /// Once or twice that is chance. A machine that does so again and again may not stand the build, which is no
    /// proof: the device goes back, and accuses nobody.
    fn lost_power(&mut self, turn: &mut Turn<'_>) -> bool {
        let limits = turn.limits;
        let trial = self.kept.active.as_mut().and_then(|active| active.trial.as_mut());
        let Some(trial) = trial.filter(|trial| !trial.outlasted) else { return false };
        trial.reboots = trial.reboots.saturating_add(1);
        turn.save = true;
        if trial.reboots < limits.reboots_max {
            return false;
        }
        let detail = format!("{} losses of power on probation", trial.reboots);
        self.revert(Failure::new(FailureCode::Unproven, detail), turn);
        true
    }

    /// Whether crashes of a confirmed build are counted, which a steady process takes back.
    pub fn has_crashed(&self) -> bool {
        self.kept.active.as_ref().is_some_and(|active| active.crashes > 0)
    }

    pub fn forget_crashes(&mut self) {
        if let Some(active) = &mut self.kept.active {
            active.crashes = 0;
        }
    }

    /// A shadow that has run long enough does not take the process down: restarts from now on count anew.
    pub fn trust_shadow(&mut self, turn: &mut Turn<'_>) {
        let Some(digest) = self.work.shadow else { return };
        let left_ms = turn.limits.steady_ms.saturating_sub(self.work.run_ms);
        for tried in &mut self.kept.attempts {
            if tried.attempt.digest != digest || tried.admissions == 0 {
                continue;
            }
            if left_ms > 0 {
                turn.wake_at(turn.now.after_ms(left_ms), Why::Steady);
            } else {
                tried.admissions = 0;
                turn.save = true;
            }
        }
    }
}
