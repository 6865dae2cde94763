//! The error budget: one per rollout, split over stages, rules and looks. Integers only.
//!
//! The rule, in full. A rollout may be wrong with probability `total` (1 % by default). A stage gets an equal
//! share of what the stages before left: `(total - spent) / stages_left`; the last stage gets all that is
//! left. Within a stage each rule gets its weight's share (a Bonferroni split by weights: it holds however the
//! rules depend on each other; Holm's step-down adds nothing here, because the first rejection ends the
//! stage). Within a rule, a sixteenth is kept for looks after the planned ones, where the j-th extra look may
//! spend half of what is then left; the rest is spent in equal parts over the planned looks, and a missed
//! look leaves its part to the next one (alpha spending: Lan & DeMets, Biometrika 1983, linear function). A quarter of a
//! rule's share is for harm to a few devices or to one stratum ([`Spending::few`]) where there are controls and 20 canaries
//! or more, three quarters are for harm to all. Where
//! rules or weights are edited while a stage runs, a rule gets at most what the others have left of the stage's.

/// The rollout's error budget as it stood when the stage opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Chance of a false rollback that the user accepts per rollout, parts per million (default 10 000).
    pub total_ppm: u32,
    /// Spent by the stages before this one, parts per billion.
    pub spent_ppb: u64,
    /// Stages still to be judged, this one included (at least 1).
    pub stages_left: u16,
}

impl Budget {
    /// What this stage may spend, parts per billion.
    pub fn stage_ppb(&self) -> u64 {
        let total = u64::from(self.total_ppm.min(1_000_000)) * 1_000;
        total.saturating_sub(self.spent_ppb) / u64::from(self.stages_left.max(1))
    }
}

/// The planned looks of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looks {
    /// Looks reached so far: 0 before the first; above `planned` while the stage waits on.
    pub reached: u16,
    /// Looks planned (at least 1), for example 6 at windows 5, 10, 20, 30, 45, 60.
    pub planned: u16,
}

impl Looks {
    /// The last planned look, or one after it.
    pub const fn is_final(&self) -> bool {
        self.reached >= self.planned && self.reached > 0
    }
}

/// How one rule spends its share over the looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spending {
    /// The rule's share in this stage, parts per billion.
    pub share_ppb: u64,
}

impl Spending {
    /// The share of a rule with `weight` among `weights` of a stage's `stage_ppb`.
    pub fn of(stage_ppb: u64, weight: u32, weights: u64) -> Self {
        let weights = u128::from(weights.max(u64::from(weight)).max(1));
        let share = u128::from(stage_ppb) * u128::from(weight) / weights;
        Self { share_ppb: u64::try_from(share).unwrap_or(0) }
    }

    /// What may have been spent when `looks` are reached, parts per billion. Never falls, never exceeds the share.
    pub fn cumulative_ppb(&self, looks: Looks) -> u64 {
        let reserve = self.share_ppb / 16;
        let main = self.share_ppb - reserve;
        let planned = u128::from(looks.planned.max(1));
        let reached = u128::from(looks.reached).min(planned);
        let spent = u64::try_from(u128::from(main) * reached / planned).unwrap_or(0);
        let extra = u32::from(looks.reached.saturating_sub(looks.planned.max(1)));
        if extra == 0 { spent } else { spent + (reserve - (reserve >> extra.min(63))) }
    }

    /// The part for harm to a few devices or to one stratum: a quarter. The one place that says so.
    pub const fn few(self) -> Self {
        Self { share_ppb: self.share_ppb / 4 }
    }

    /// The part for harm to all canaries: the rest.
    pub const fn main(self) -> Self {
        Self { share_ppb: self.share_ppb - self.few().share_ppb }
    }

    /// Half of the share, for a rule with two tests.
    pub const fn half(self) -> Self {
        Self { share_ppb: self.share_ppb / 2 }
    }
}
