//! The fleet as counts, each under its honest name.

/// Counts over the devices of one rollout attempt. *Members* are the devices drawn so far, those of earlier stages
/// included. A device that has not been heard is unreachable, never healthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FleetView {
    /// The stage that the stored membership was last drawn for; `None` when nothing was drawn in this attempt
    /// (its salt is another one).
    pub drawn: Option<u32>,
    /// Devices of the fleet that the current (before it is opened: the first) stage's selector matches, members or not.
    pub matching: u64,
    /// Of these, devices that cannot run the build, as they say themselves; counted until a device has run it.
    pub unable: u64,
    /// Devices drawn, quarantined ones left out.
    pub members: u64,
    /// Members without those that can never run the build and those with trouble of their own: the denominator of
    /// everything below.
    pub eligible: u64,
    /// Eligible members that are connected.
    pub reachable: u64,
    /// Eligible members that know the plan, or got further.
    pub offered: u64,
    /// Eligible members that have the verified bytes, or got further.
    pub downloaded: u64,
    /// Eligible members that run the candidate, on probation or confirmed.
    pub activated: u64,
    /// Eligible members that run it and are confirmed.
    pub confirmed: u64,
    /// Eligible members that tried and could not, or went back by themselves; without [`FleetView::unproven`].
    pub failed: u64,
    /// Eligible members that run it in contact and well, longer than probation takes, and are not confirmed: too few
    /// requests were asked of them. No failure, of them or of the model.
    pub unasked: u64,
    /// Eligible members that went back because nothing was proven in time, as older agents do. No failure either.
    pub unproven: u64,
    /// Members that can never run the build: no failure of the model.
    pub incompatible: u64,
    /// Members that trouble of their own keeps from it, such as a full disk: no failure of the model either. They are eligible
    /// again when they are well.
    pub own_trouble: u64,
    /// Members that activated and were not heard since.
    pub silent_after_activation: u64,
    /// Eligible members that run the candidate and that contact is lost with: not connected, or not heard any more, and not
    /// because they are always away at this time of day.
    pub lost: u64,
    /// Of these, those that have not been watched for a day, so that their rhythm is not known.
    pub lost_untold: u64,
    /// Devices with the candidate, or that the stage could have drawn, that contact is lost with at a time at which they were
    /// away on the days before.
    pub away_by_rhythm: u64,
    /// The same at a time at which they were not away before.
    pub away_beyond_rhythm: u64,
    /// Devices that the current stage could have drawn and that have nothing to do with the candidate.
    pub others: u64,
    /// Of these, those that are not connected, or not heard any more.
    pub others_lost: u64,
    /// Eligible members that are not connected.
    pub unreachable: u64,
    /// Connected devices, members or not, that run the candidate now.
    pub still_exposed: u64,
    /// Of these, those not heard since the way back began: their connection may be a memory of the broker's.
    pub still_exposed_mute: u64,
    /// Devices that are not connected and ran the candidate when last heard: they go back when they return.
    pub still_exposed_unreachable: u64,
    /// Devices that have run the candidate at any time in this attempt.
    pub exposed_ever: u64,
    /// Connected members, those set aside included, that neither run the candidate nor say that they ever did: by now they
    /// have something else to say, they lost their records, or they never got so far.
    pub unmarked: u64,
}

impl FleetView {
    /// Contact is lost with most of the devices that run the candidate, and not with the others alike: with half of them
    /// and four times as often as with the others, or with four of five while most others speak or there are none.
    ///
    /// A single device that is not connected for a moment is no sign; one that is not heard any more is.
    #[must_use]
    pub fn has_lost_most(&self) -> bool {
        let [had, lost, others, others_lost] =
            [self.activated, self.out_of_contact(), self.others, self.others_lost].map(u128::from);
        if lost == 0 || (lost == 1 && self.silent_after_activation == 0) {
            return false;
        }
        let most = 5 * lost >= 4 * had;
        if others == 0 {
            return most;
        }
        let half = 2 * lost >= had;
        2 * others_lost < others && half && (most || lost * others >= 4 * others_lost * had)
    }

    /// Devices that run the candidate and that contact is lost with, those left out that are away by their rhythm. Where four of five
    /// that contact is lost with and that tell their rhythm are, it is a night, and those that do not tell it are away
    /// for the same reason.
    #[must_use]
    pub fn out_of_contact(&self) -> u64 {
        let night =
            self.away_by_rhythm > 0 && self.away_by_rhythm >= self.away_beyond_rhythm.saturating_mul(4);
        if night { self.lost.saturating_sub(self.lost_untold) } else { self.lost }
    }

    /// Devices that had the candidate and say that they do not run it any more.
    #[must_use]
    pub fn back(&self) -> u64 {
        self.exposed_ever.saturating_sub(self.still_exposed).saturating_sub(self.still_exposed_unreachable)
    }

    /// Of `had` devices that once ran the candidate, those that may run it still and are out of reach: the ones that are
    /// not connected, and the ones that nothing is known of any more, as after a broker has lost its memory.
    #[must_use]
    pub fn out_of_reach(&self, had: u64) -> u64 {
        let unknown = had.saturating_sub(self.exposed_ever).saturating_sub(self.unmarked);
        self.still_exposed_unreachable.saturating_add(unknown)
    }
}
