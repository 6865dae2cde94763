//! Whether a version is still needed: the one rule for how long a deleted ModelVersion stays. No client.
//!
//! A version is needed, in this order of telling, while
//!
//! 1. it is in production and a Rollout of its model is there: the next one goes back to it;
//! 2. a Rollout is under way with it, or waits to roll it out and it has passed its check. One that has not passed it is
//!    not needed: it is mended by registering it anew;
//! 3. a Rollout can go back to it: one that is under way, or whose version is in production;
//! 4. a rollout rejected it and a Rollout names it, or another version with its bytes: the rejection is kept in it.
//!
//! All four need a Rollout. So a user who deletes the Rollouts of a model, or the namespace, can delete its versions, and no
//! deletion waits for ever.

use modelfleet_crds::model_version::VersionStage;
use modelfleet_rollout::Phase;

/// What a version is still needed for, and by which Rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need<'a> {
    /// It is in production.
    Production(&'a str),
    /// The Rollout brings it to devices, or waits to.
    Candidate(&'a str),
    /// Devices go back to it when the Rollout is rolled back.
    WayBack(&'a str),
    /// The Rollout must not take it, and only the version remembers that.
    Rejection(&'a str),
}

/// A version as the rule sees it.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    /// Its version text.
    pub version: &'a str,
    /// Digest of its bytes.
    pub digest: &'a str,
    /// Where it stands.
    pub stage: VersionStage,
    /// It is Rejected because a rollout showed harm, not because its check failed.
    pub by_rollout: bool,
}

/// A Rollout of the model as the rule sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its name.
    pub rollout: String,
    /// The version that its spec names.
    pub names: String,
    /// Digest of that version; `None`: it is not registered.
    pub digest: Option<String>,
    /// Where it stands.
    pub phase: Phase,
    /// The version of its attempt; empty before the first.
    pub attempt: String,
    /// The versions that its attempt goes back to.
    pub prior: Vec<String>,
    /// It is being deleted.
    pub deleted: bool,
}

/// What a version is needed for. `is_produced`: whether a version is in production for any device; `claims`: every Rollout of
/// the model that the controller has not let go.
#[must_use]
pub fn needed<'a>(
    held: &Held<'_>,
    is_produced: impl Fn(&str) -> bool,
    claims: &'a [Claim],
) -> Option<Need<'a>> {
    let by = |wants: &dyn Fn(&Claim) -> bool| {
        claims.iter().find(|claim| wants(claim)).map(|claim| claim.rollout.as_str())
    };
    let production_of = by(&|_| is_produced(held.version)).map(Need::Production);
    production_of
        .or_else(|| by(&|claim| claim.rolls_out(held)).map(Need::Candidate))
        .or_else(|| by(&|claim| claim.goes_back_to(held, &is_produced)).map(Need::WayBack))
        .or_else(|| by(&|claim| claim.is_kept_from(held)).map(Need::Rejection))
}

impl Claim {
    fn rolls_out(&self, held: &Held<'_>) -> bool {
        if self.phase.is_active() {
            return self.attempt == held.version;
        }
        let checked =
            matches!(held.stage, VersionStage::Verified | VersionStage::Production | VersionStage::Archived);
        // One that has ended and names another version by now begins anew.
        let waits = !self.phase.is_terminal() || self.names != self.attempt;
        waits && !self.deleted && checked && self.names == held.version
    }

    fn goes_back_to(&self, held: &Held<'_>, is_produced: &impl Fn(&str) -> bool) -> bool {
        let watched = self.phase == Phase::Succeeded && !self.deleted && is_produced(&self.attempt);
        (self.phase.is_active() || watched) && self.prior.iter().any(|prior| prior == held.version)
    }

    fn is_kept_from(&self, held: &Held<'_>) -> bool {
        let rejected = held.stage == VersionStage::Rejected && held.by_rollout;
        let same = self.names == held.version || self.digest.as_deref() == Some(held.digest);
        rejected && same && !self.deleted
    }
}

impl Need<'_> {
    /// The word for conditions.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Need::Production(_) => "InProduction",
            Need::Candidate(_) => "RollingOut",
            Need::WayBack(_) => "WayBack",
            Need::Rejection(_) => "RejectionKept",
        }
    }
}

impl std::fmt::Display for Need<'_> {
    /// What keeps the version, and when it is removed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Need::Production(rollout) => write!(
                f,
                "it is in production, and its model has rollout {rollout}. It is removed once another version is in production, \
                 or once the model has no rollout"
            ),
            Need::Candidate(rollout) => write!(
                f,
                "rollout {rollout} rolls it out, or waits to. It is removed once that rollout has ended without it in production, or is \
                 deleted"
            ),
            Need::WayBack(rollout) => write!(
                f,
                "devices go back to it if rollout {rollout} is rolled back. It is removed once a later rollout has brought a \
                 version to production, or once that rollout has ended and is deleted"
            ),
            Need::Rejection(rollout) => write!(
                f,
                "it was rejected, and rollout {rollout} names it or the same file. It is removed once \
                 that rollout names another version or is deleted, and then its rejection is forgotten"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
