//! The plan for one model: what the controller wants, whole, in one retained message.

use serde::{Deserialize, Serialize};

use crate::details::{self, DETAILS_BYTES_MAX};
use crate::ids::{DeviceId, Digest, ModelName, Namespace};
use crate::membership::Membership;
use crate::model::{Format, ModelBuild};
use crate::observe::{INDICATORS_MAX, Observe};
use crate::selector::{Labels, Selector};
use crate::time::Time;

/// Most bytes of a plan's JSON; a larger one is refused unread.
pub const PLAN_BYTES_MAX: usize = 256 * 1024;
/// Longest time over which devices spread the start of a download, milliseconds: a year.
pub const SPREAD_MS_MAX: u64 = 366 * 24 * 3_600_000;
/// Minutes of a day: the end of a daily window at most.
pub const DAY_MINUTES: u16 = 24 * 60;
/// Shortest window that devices observe in, milliseconds.
pub const WINDOW_MS_MIN: u64 = 1_000;
/// Most digests that a plan calls rejected.
pub const REJECTED_MAX: usize = 64;
/// Most selectors that a plan has a stable build of their own for.
pub const STABLE_FOR_MAX: usize = 8;

/// What every device of a namespace shall do about one model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The fleet.
    pub namespace: Namespace,
    /// The model.
    pub model: ModelName,
    /// Order and lifetime.
    #[serde(flatten)]
    pub order: Order,
    /// The build in production for every device that [`Plan::stable_for`] has none for; absent until a rollout to all
    /// devices has ended well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<ModelBuild>,
    /// Builds in production for some devices alone, at most [`STABLE_FOR_MAX`]: the first whose selector matches a device
    /// is its stable build.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stable_for: Vec<StableFor>,
    /// The build that is being rolled out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Candidate>,
    /// Builds that no device may activate, whatever else it has heard; at most [`REJECTED_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<Digest>,
    /// How the bytes of the stable build are fetched; absent: as the device's own settings say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetch: Option<Fetch>,
    /// What devices count.
    #[serde(default)]
    pub observe: Observe,
}

/// A build that is in production for some devices alone, because a rollout proved it for them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StableFor {
    /// Which devices.
    pub selector: Selector,
    /// The build.
    pub build: ModelBuild,
}

/// Order and lifetime of a controller's message. A device refuses anything not newer than what it has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// Fencing: grows with every change of leader, so that a leader that lost its lease is not obeyed. It is the time at
    /// which the leader began, in seconds since 1970, or one more than the epoch before if that is later.
    pub epoch: u64,
    /// Grows with every change of the message.
    pub revision: u64,
    /// When it was signed.
    pub issued: Time,
    /// From then on nothing new is started on its word.
    pub expires: Time,
}

/// The latest epoch that a message may have: the end of the year 2099, in seconds since 1970. A later one is no time at which
/// a leader began; a device that took it would obey no leader after it.
pub const EPOCH_MAX: u64 = 4_102_444_799;
/// The highest revision that a message may have, far above what one leader reaches.
pub const REVISION_MAX: u64 = 1 << 53;

impl Order {
    /// Whether a leader can come after this message: epoch and revision are below their bounds.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        self.epoch <= EPOCH_MAX && self.revision <= REVISION_MAX
    }

    /// Whether a message of this order replaces one of `seen`.
    #[must_use]
    pub fn replaces(&self, seen: &Order) -> bool {
        (self.epoch, self.revision) > (seen.epoch, seen.revision)
    }
}

/// The build that is being rolled out, and to whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// The rollout attempt: its name, the beginning of its uid and, after retries, its number. Devices count attempts apart.
    pub rollout: String,
    /// The build.
    pub build: ModelBuild,
    /// Who gets it.
    pub membership: Membership,
    /// Whether devices may start now. False while paused: who runs it stays, who has not activated waits.
    pub admit: bool,
    /// Live or beside the stable model.
    pub mode: Mode,
    /// How a device proves itself after activation.
    pub probation: Probation,
    /// How the bytes are fetched.
    #[serde(default)]
    pub fetch: Fetch,
}

/// How a candidate runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// It answers.
    #[default]
    Live,
    /// It runs on the same inputs, the stable model answers.
    Shadow,
    /// A mode of a newer controller: a device does not start it.
    #[serde(other)]
    Unknown,
}

/// How a device proves itself after activation; otherwise it goes back by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probation {
    /// Time to be confirmed in, milliseconds.
    pub timeout_ms: u64,
    /// Answers without an error that it takes.
    pub min_predictions: u64,
    /// Errors in probation that end it at once.
    pub max_errors: u64,
}

/// How the bytes are fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Fetch {
    /// Devices start spread over this time by the hash of their id, milliseconds.
    pub spread_ms: u64,
    /// Most bytes per second of one device; 0: no limit.
    pub bytes_per_second: u64,
    /// Daily window in minutes of the UTC day, start and end; start after end runs over midnight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_utc_minutes: Option<(u16, u16)>,
}

impl Fetch {
    /// Whether the spread is at most [`SPREAD_MS_MAX`] and the window lies within a day.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        let in_day = |(start, end): (u16, u16)| start <= DAY_MINUTES && end <= DAY_MINUTES;
        self.spread_ms <= SPREAD_MS_MAX && self.window_utc_minutes.is_none_or(in_day)
    }
}

/// What a plan means for one device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wanted<'a> {
    /// Run the candidate.
    Candidate(&'a Candidate),
    /// Run the stable build.
    Stable(&'a ModelBuild),
    /// Run nothing of this model.
    Nothing,
}

/// Why a plan is invalid although its signature is good.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// More bytes than a plan may have.
    #[error("plan has {0} bytes; at most {PLAN_BYTES_MAX} are allowed")]
    Size(usize),
    /// Not the JSON of a plan.
    #[error("plan cannot be read")]
    Json(#[source] serde_json::Error),
    /// A list longer than its bound, or parts that contradict each other.
    #[error("plan is invalid: {0}")]
    Content(&'static str),
}

impl Plan {
    /// Reads a plan and holds its bounds.
    ///
    /// # Errors
    /// When it is too large, not a plan, or beyond a bound.
    pub fn from_json(bytes: &[u8]) -> Result<Plan, PlanError> {
        if bytes.len() > PLAN_BYTES_MAX {
            return Err(PlanError::Size(bytes.len()));
        }
        let plan: Plan = serde_json::from_slice(bytes).map_err(PlanError::Json)?;
        plan.check()?;
        Ok(plan)
    }

    /// Holds the bounds of a plan.
    ///
    /// # Errors
    /// Names the first bound that is broken.
    pub fn check(&self) -> Result<(), PlanError> {
        use crate::membership::{CLAUSES_MAX, EXCLUDED_MAX, LISTED_MAX, NAMED_MAX, SPREAD_MAX, STRATA_MAX};
        let bound = |ok: bool, what| if ok { Ok(()) } else { Err(PlanError::Content(what)) };
        bound(self.order.is_bounded(), "its epoch or its revision is too high")?;
        bound(self.rejected.len() <= REJECTED_MAX, "it has too many rejected digests")?;
        bound(self.stable_for.len() <= STABLE_FOR_MAX, "it has stable builds for too many selectors")?;
        bound(self.observe.indicators.len() <= INDICATORS_MAX, "it has too many indicators")?;
        crate::texts::too_long(self).map_or(Ok(()), |what| Err(PlanError::Content(what)))?;
        let builds = self.builds();
        bound(builds.clone().all(|b| b.model == self.model), "it has a build of another model")?;
        builds.clone().try_for_each(check_build)?;
        let window_ms = self.observe.window_ms;
        bound(window_ms == 0 || window_ms >= WINDOW_MS_MIN, "its window is too short")?;
        let mut fetches = self.fetch.iter().chain(self.candidate.iter().map(|c| &c.fetch));
        bound(fetches.all(Fetch::is_bounded), "a setting of fetch is out of range")?;
        let Some(candidate) = &self.candidate else { return Ok(()) };
        let m = &candidate.membership;
        bound(m.clauses.len() <= CLAUSES_MAX, "its membership has too many clauses")?;
        bound(m.exclude.len() <= EXCLUDED_MAX, "its membership excludes too many devices")?;
        bound(m.clauses.iter().all(|c| c.strata.len() <= STRATA_MAX), "its membership has too many strata")?;
        bound(
            m.clauses.iter().all(|c| c.devices.len() <= CLAUSES_MAX * NAMED_MAX),
            "its membership names too many devices",
        )?;
        let listed: usize = m.clauses.iter().map(|c| c.ranks.len()).sum();
        bound(listed <= LISTED_MAX, "its membership lists too many ranks")?;
        bound(
            m.clauses.iter().all(|c| c.spread_by.len() <= SPREAD_MAX),
            "its membership has too many labels in spreadBy",
        )
    }

    /// What a device with this id and these labels shall run. The same answer on both sides.
    #[must_use]
    pub fn wanted(&self, device: &DeviceId, labels: &Labels) -> Wanted<'_> {
        match (&self.candidate, self.stable_of(labels)) {
            (Some(c), _) if self.allows(&c.build) && c.membership.includes(device, labels) => {
                Wanted::Candidate(c)
            }
            (_, Some(stable)) => Wanted::Stable(stable),
            _ => Wanted::Nothing,
        }
    }

    /// The stable build of a device with these labels: the first that is in production for it and not rejected.
    #[must_use]
    pub fn stable_of(&self, labels: &Labels) -> Option<&ModelBuild> {
        self.stables_of(labels).next()
    }

    /// The builds that are in production for a device with these labels and not rejected; the one that it shall run first.
    pub fn stables_of(&self, labels: &Labels) -> impl Iterator<Item = &ModelBuild> {
        let own = self.stable_for.iter().filter(|own| own.selector.matches(labels)).map(|own| &own.build);
        own.chain(&self.stable).filter(|build| self.allows(build))
    }

    /// Every build that the plan describes: the candidate's last.
    pub fn builds(&self) -> impl Iterator<Item = &ModelBuild> + Clone {
        let stable = self.stable_for.iter().map(|own| &own.build).chain(&self.stable);
        stable.chain(self.candidate.iter().map(|c| &c.build))
    }

    fn allows(&self, build: &ModelBuild) -> bool {
        !self.rejected.contains(&build.digest)
    }
}

/// Holds the bounds of a build, wherever it comes from: a plan, or an override that pins it.
///
/// # Errors
/// Names the first bound that is broken.
pub fn check_build(build: &ModelBuild) -> Result<(), PlanError> {
    crate::texts::too_long_in(build).map_or(Ok(()), |what| Err(PlanError::Content(what)))?;
    let broken = details::broken_bound(&build.self_test, build.profile.as_ref());
    broken.map_or(Ok(()), |what| Err(PlanError::Content(what)))?;
    let in_file = build.details.is_some();
    let bound = |ok: bool, what| if ok { Ok(()) } else { Err(PlanError::Content(what)) };
    bound(
        !in_file || (build.self_test.is_empty() && build.profile.is_none()),
        "it has the details of a build twice",
    )?;
    bound(
        in_file == (build.format == Format::OnnxWithDetails),
        "the format of a build does not say where its details are",
    )?;
    let size_bytes = build.details.as_ref().map_or(0, |file| file.size_bytes);
    bound(size_bytes <= DETAILS_BYTES_MAX, "the details file of a build is too large")
}

/// The JSON of a plan, as it is signed and read.
#[must_use]
pub fn to_json(plan: &Plan) -> Vec<u8> {
    serde_json::to_vec(plan).expect("every map of a plan has text keys")
}
