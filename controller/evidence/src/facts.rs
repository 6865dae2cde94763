//! What is known of one device at one moment, and what follows from it.

use modelfleet_judge::Arm;
use modelfleet_protocol::state::{FailureCode, Phase};
use modelfleet_protocol::time::Time;

/// What a device has said of an attempt, and what the draw made of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// It was drawn, and not set aside since.
    pub member: bool,
    /// It was set aside because it failed: no member any more, and its failure still counts.
    pub set_aside: bool,
    /// A user has set it aside: it is in no arm, and counts in nothing that a stage has or lacks. What it runs of the
    /// candidate counts until it has gone back.
    pub set_aside_by_user: bool,
    /// Of a device that a user has set aside: the draw has let it in.
    pub was_drawn: bool,
    /// The current stage's selector matches it.
    pub matching: bool,
    /// It is connected.
    pub online: bool,
    /// Anything is known of the model on it.
    pub known: bool,
    /// The candidate's bytes answer on it.
    pub answers: bool,
    /// What answers came through probation.
    pub proven: bool,
    /// It has the candidate's bytes in production whatever becomes of the attempt.
    pub stays: bool,
    /// It observed in windows of another length than the newest plan's, so that it had nothing to report before that plan.
    pub other_windows: bool,
    /// How far it got with this attempt; `None`: it has nothing to do with it.
    pub phase: Option<Phase>,
    /// Why the attempt ended.
    pub code: Option<FailureCode>,
    /// Since when its attempt stands where it stands, by its own clock.
    pub since: Time,
    /// When its newest report arrived; zero before the first.
    pub heard_at: Time,
    /// Of a device that contact is lost with: whether it was away at this time of day before ([`crate::away_by_rhythm`]); `None`:
    /// it has not been watched for a day.
    pub by_rhythm: Option<bool>,
}

/// When devices are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Now.
    pub now: Time,
    /// A device that was not heard for so long is silent, milliseconds.
    pub silent_after_ms: u64,
    /// The connection to the broker has stood since; time without it is no device's silence.
    pub connected_since: Time,
    /// When the newest plan was issued, at most now; zero without one.
    pub planned_at: Time,
    /// Probation takes so long, milliseconds.
    pub probation_ms: u64,
    /// When the way back began, while it goes on.
    pub back_since: Option<Time>,
}

impl Facts {
    /// Canary, control, or neither.
    ///
    /// A member is a canary; so is a device that was set aside: without it, failures that come one by one would never be
    /// tested together. A device that the stage could draw from and that has nothing to do with the candidate is a
    /// control. A device that cannot run the build, or that has trouble of its own, is neither.
    #[must_use]
    #[inline]
    pub fn arm(&self) -> Option<Arm> {
        if self.is_incompatible() || self.has_own_trouble() || self.set_aside_by_user {
            return None;
        }
        if self.member || self.set_aside {
            return Some(Arm::Canary);
        }
        let control = self.matching && self.known && !self.runs() && self.phase.is_none();
        control.then_some(Arm::Control)
    }

    /// It runs the candidate.
    #[must_use]
    #[inline]
    pub fn runs(&self) -> bool {
        self.answers || matches!(self.phase, Some(Phase::Activated | Phase::Confirmed))
    }

    /// It runs the candidate as a canary that was not set aside: what the judge calls active.
    #[must_use]
    #[inline]
    pub fn is_active(&self) -> bool {
        self.runs() && !self.set_aside && !self.set_aside_by_user
    }

    /// It is a canary that runs the candidate and was not set aside.
    #[must_use]
    #[inline]
    pub fn runs_as_canary(&self) -> bool {
        self.is_active() && self.arm() == Some(Arm::Canary)
    }

    /// It came through probation with the candidate.
    #[must_use]
    #[inline]
    pub fn is_confirmed(&self) -> bool {
        self.runs() && (self.phase == Some(Phase::Confirmed) || (self.answers && self.proven))
    }

    /// It can never run the build: no failure of the model.
    #[must_use]
    #[inline]
    pub fn is_incompatible(&self) -> bool {
        match self.phase {
            Some(Phase::Incompatible) => true,
            Some(Phase::Failed) => self.code.is_some_and(FailureCode::is_incompatibility),
            _ => false,
        }
    }

    /// Its own trouble keeps it from the build, such as a full disk: no failure of the model. It counts again when it is well.
    /// One that was set aside stays the failure that it was.
    #[must_use]
    #[inline]
    pub fn has_own_trouble(&self) -> bool {
        let told = self.has_ended() && self.code.is_some_and(FailureCode::is_own_trouble);
        told && !self.set_aside && !self.is_unproven()
    }

    /// It tried and could not, or went back by itself.
    #[must_use]
    #[inline]
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Some(Phase::Failed | Phase::Reverted))
    }

    /// It went back because nothing was proven in time: that says nothing, of the device or of the model.
    #[must_use]
    #[inline]
    pub fn is_unproven(&self) -> bool {
        self.phase == Some(Phase::Reverted) && self.code == Some(FailureCode::Unproven)
    }

    /// It failed.
    #[must_use]
    #[inline]
    pub fn has_failed(&self) -> bool {
        self.has_ended() && !self.is_unproven() && !self.has_own_trouble()
    }

    /// The failure that speaks against the model. A device that was set aside stays failed, whatever it says of itself
    /// since.
    #[must_use]
    #[inline]
    pub fn hard_failure(&self) -> Option<FailureCode> {
        let code = self.code.filter(|code| self.has_ended() && code.is_hard_stop());
        code.or(self.set_aside.then_some(FailureCode::Unknown))
    }

    /// It has tried to take the candidate.
    #[must_use]
    #[inline]
    pub fn has_tried(&self) -> bool {
        self.set_aside || !matches!(self.phase, None | Some(Phase::Offered | Phase::Unknown))
    }

    /// It runs the candidate, and would not without the attempt.
    #[must_use]
    #[inline]
    pub fn is_exposed(&self) -> bool {
        self.runs() && !self.stays
    }

    /// It has run the candidate at any time in this attempt, and would not have without it.
    #[must_use]
    #[inline]
    pub fn was_exposed(&self) -> bool {
        let ran = matches!(self.phase, Some(Phase::Reverted | Phase::RolledBack));
        (self.runs() || ran) && !self.stays
    }

    /// It was heard lately.
    #[must_use]
    #[inline]
    pub fn is_heard(&self, moment: &Moment) -> bool {
        let asked_at = if self.other_windows { moment.planned_at } else { Time::ZERO };
        let since = self.heard_at.max(asked_at).max(moment.connected_since);
        moment.now.since_ms(since) <= moment.silent_after_ms
    }

    /// Contact is lost with it: it is not connected, or not heard any more.
    #[must_use]
    #[inline]
    pub fn is_lost(&self, moment: &Moment) -> bool {
        !self.online || !self.is_heard(moment)
    }

    /// It runs the candidate longer than probation takes and is not confirmed: too few requests were asked of it.
    #[must_use]
    #[inline]
    pub fn is_unasked(&self, moment: &Moment) -> bool {
        let waits = self.phase.is_some() && moment.now.since_ms(self.since) > moment.probation_ms;
        self.runs() && !self.is_confirmed() && waits
    }

    /// It gave a sign of life since the stage opened, or tried what the stage is about: else it says nothing of it.
    ///
    /// A device that gave a sign of life since the stage opened and gives none any more is silent; one that was away before
    /// and still is, or that left the fleet, says nothing of this stage: the same for both arms. To activate is such a
    /// sign, so that a candidate that hangs its device at once is found. Before its first report a connected device counts
    /// as well: hard failures come in seconds, and it could have had one.
    #[must_use]
    #[inline]
    pub fn is_attempted(&self, arm: Arm, opened: Time, activated: Time) -> bool {
        let seen = |at: Time| self.online || at >= opened;
        match arm {
            Arm::Canary if self.is_active() => seen(self.heard_at.max(activated)),
            Arm::Canary => self.has_tried(),
            Arm::Control => seen(self.heard_at),
        }
    }

    /// The stage waits for its windows: it is in reach and has not failed.
    #[must_use]
    #[inline]
    pub fn is_awaited(&self) -> bool {
        self.online && !self.set_aside && !self.set_aside_by_user && !self.has_ended()
    }
}
