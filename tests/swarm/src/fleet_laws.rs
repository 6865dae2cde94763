//! What must hold of every write to the API server and of every plan that reaches the broker, whoever wrote it.

use std::collections::{BTreeMap, BTreeSet};

use modelfleet_model::status::memory::Memory;
use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::plan::{Candidate, Plan, REJECTED_MAX};
use modelfleet_protocol::selector::Labels;
use modelfleet_protocol::time::Time;
use modelfleet_rollout::{PauseCause, Phase, State};
use serde_json::Value;

use crate::api_server::{Place, Stored};
use crate::attempt_laws::AttemptLaws;
use crate::faults::{Fault, Faults};
use crate::laws::included;
use crate::nature::Nature;
use crate::stage_laws;

/// Most bytes of a status: DESIGN, section 4.
const STATUS_BYTES_MAX: usize = 32 * 1024;
/// Most writes of one object by controllers in an hour: a status whose sentences change with the clock would be written, shown
/// by the watch and written again for as long as the rollout lasts.
const WRITES_MAX: u32 = 400;
/// Most writes of one object in an hour that change nothing: the status that is made differs from what is stored of it.
const IDLE_WRITES_MAX: u32 = 20;

/// Devices that do not exist: enough that a share of a tenth would take one of them.
const NEWCOMERS: u32 = 40;

/// What is remembered to hold laws over time.
#[derive(Debug, Default)]
pub struct FleetLaws {
    /// The newest plan that any device may have taken: devices refuse what is older.
    newest: BTreeMap<ModelName, Plan>,
    /// The epoch of the last leader that wrote or sent something.
    epoch: u64,
    /// Salts of attempts of which harm was stored.
    harmed: BTreeSet<String>,
    /// Salts of attempts that were stored as held by a person.
    held: BTreeSet<String>,
    /// Versions that a person has promoted to some stage.
    promoted: BTreeSet<(String, String)>,
    /// Salts of attempts that were taken back, as stored. A retry has another.
    taken_back: BTreeSet<String>,
    /// Digests that a stored status calls rejected by a rollout.
    rejected: BTreeSet<Digest>,
    /// The same, of each model.
    rejected_of: BTreeMap<ModelName, BTreeSet<Digest>>,
    /// Stages that were stored, by salt of the attempt: its number, its target, and devices that were unknown then.
    stages: BTreeMap<String, Stage>,
    /// Wall clocks of controllers are right, so that times in statuses can be compared.
    clocks_are_right: bool,
    /// Devices have lied: a bad version may seem good.
    lied: bool,
    /// No fault is on.
    calm: bool,
    attempts: AttemptLaws,
    writes: BTreeMap<Place, Writes>,
}

/// How often an object was written in an hour, and how often that changed nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Writes {
    hour: u64,
    all: u32,
    idle: u32,
}

#[derive(Clone, Debug, Default)]
struct Stage {
    index: u64,
    /// Of this stage and those before it: a small fleet may have given more devices to a count than a later share takes.
    targets: Vec<String>,
    clauses: Value,
    unknown: usize,
}

/// What else is known when an object is written.
pub struct Moment<'a> {
    /// Rollouts of its model that are under way after it.
    pub active: &'a [String],
    /// Devices whose state the broker does not hold.
    pub unknown: usize,
    /// Devices of the fleet.
    pub devices: usize,
    /// The controller that wrote it has heard all that devices have retained.
    pub settled: bool,
    /// Promotions of other versions of the model: the version, and its number for all devices.
    pub promotions: &'a [(String, i64)],
    /// Whether a device has ever confirmed a build.
    pub confirmed: &'a dyn Fn(&Digest) -> bool,
    /// When.
    pub now: Time,
}

/// A device as laws about exposure see it.
pub struct Known<'a> {
    /// Its id.
    pub id: &'a modelfleet_protocol::ids::DeviceId,
    /// Its labels.
    pub labels: &'a Labels,
}

impl FleetLaws {
    /// Nothing was written yet.
    #[must_use]
    pub fn new(faults: &Faults) -> FleetLaws {
        let clocks_are_right = !faults.has(Fault::ControllerClocks);
        FleetLaws { clocks_are_right, calm: faults.0.is_empty(), ..FleetLaws::default() }
    }

    /// A device lies from now on: which versions are proven is no law any more.
    pub fn lied(&mut self) {
        self.lied = true;
    }

    /// Objects were restored from a backup: what their statuses said counts no more, what devices were told does.
    pub fn restored(&mut self) {
        self.stages.clear();
    }

    /// Holds the laws of a write.
    pub fn stored(&mut self, write: &Stored, moment: &Moment<'_>) -> Option<String> {
        let (status, now) = (&write.after["status"], moment.now);
        let spec = &write.after["spec"];
        if write.place.0 == "rollouts" && !spec["promote"].is_null() {
            self.promoted.insert((text(&spec["model"]), text(&spec["version"])));
        }
        if write.place.0 == "rollouts"
            && let Some(broken) = self.attempts.stored(write)
        {
            return Some(broken);
        }
        if write.by.is_none() || status.is_null() {
            return None;
        }
        self.epoch = self.epoch.max(status["epoch"].as_u64().unwrap_or(0));
        let restless = self.restless(write, now);
        if restless.is_some() {
            return restless;
        }
        let name = &write.place.1;
        let bytes = status.to_string().len();
        if bytes > STATUS_BYTES_MAX {
            return Some(format!("the status of {name} has {bytes} bytes"));
        }
        match write.place.0.as_str() {
            "modelversions" => twice_numbered(write, moment).or_else(|| self.version_stored(write)),
            "rollouts" => {
                stage_laws::stored(write, moment, self.calm).or_else(|| self.rollout_stored(write, moment))
            }
            _ => None,
        }
    }

    /// Nothing is written all the time.
    fn restless(&mut self, write: &Stored, now: Time) -> Option<String> {
        let (hour, name) = (now.0 / 3_600_000, &write.place.1);
        let writes = self.writes.entry(write.place.clone()).or_default();
        if writes.hour != hour {
            *writes = Writes { hour, ..Writes::default() };
        }
        writes.all += 1;
        writes.idle += u32::from(write.changes_nothing());
        if writes.idle > IDLE_WRITES_MAX {
            return Some(format!("{name} was written {} times in an hour without a change", writes.idle));
        }
        (writes.all > WRITES_MAX).then(|| {
            let before = write.before.as_ref().map_or(&Value::Null, |before| &before["status"]);
            let changed = changed(before, &write.after["status"]);
            format!("{name} was written more than {WRITES_MAX} times in an hour, at last {changed}")
        })
    }

    fn version_stored(&mut self, write: &Stored) -> Option<String> {
        let digest: Digest = write.after["spec"]["artifact"]["digest"].as_str()?.parse().ok()?;
        let by_rollout = |object: &Value| {
            object["status"]["stage"] == "Rejected" && object["status"]["rejectedBy"].is_object()
        };
        if by_rollout(&write.after) {
            self.rejected.insert(digest);
            if let Ok(model) = write.after["spec"]["model"].as_str().unwrap_or_default().parse() {
                self.rejected_of.entry(model).or_default().insert(digest);
            }
        } else if write.before.as_ref().is_some_and(|before| by_rollout(before)) {
            // A new retryToken lifts it, in one write that says so.
            if write.after["status"]["reason"] != "RejectionLifted"
                && write.after["status"]["reason"] != "Promoted"
            {
                return Some(format!("{} is no longer rejected, and no retry lifted that", write.place.1));
            }
            self.rejected.remove(&digest);
        }
        let spec = &write.after["spec"];
        let (model, version) = (text(&spec["model"]), text(&spec["version"]));
        let minor = semver::Version::parse(&version).map_or(0, |version| version.minor);
        let bad = !self.lied
            && write.after["status"]["stage"] == "Production"
            && !Nature::of_minor(minor).is_good();
        (bad && !self.promoted.contains(&(model, version))).then(|| {
            let nature = Nature::of_minor(minor);
            format!("{} is in production, is {nature:?}, and no person has promoted it", write.place.1)
        })
    }

    fn rollout_stored(&mut self, write: &Stored, moment: &Moment<'_>) -> Option<String> {
        let (name, status, active) = (&write.place.1, &write.after["status"], moment.active);
        if active.len() > 1 {
            return Some(format!("{} rollouts of one model are active: {}", active.len(), active.join(", ")));
        }
        let counts = status["counts"].as_object().into_iter().flatten();
        let more = |count: &Value| count.as_u64().is_some_and(|count| count > moment.devices as u64);
        if let Some((what, count)) = counts.into_iter().find(|(_, count)| more(count)) {
            return Some(format!("{name} counts {count} devices of {} as {what}", moment.devices));
        }
        let judge = &status["judge"];
        let (spent, budget) = (judge["spentPpm"].as_i64()?, judge["errorBudgetPpm"].as_i64()?);
        if spent > budget && budget > 0 {
            return Some(format!("{name} has spent {spent} ppm of a budget of {budget} ppm"));
        }
        let salt = status["membership"]["salt"].as_str()?.to_owned();
        if matches!(status["phase"].as_str(), Some("RollingBack" | "RolledBack")) {
            self.taken_back.insert(salt.clone());
        }
        let state = state(&write.after)?;
        if state.harm.is_some() {
            self.harmed.insert(salt.clone());
        }
        if status["verdictSummary"] == "Degraded" && state.phase == Phase::Progressing {
            return Some(format!("{name} continues although the verdict is Degraded"));
        }
        match state.phase == Phase::Paused(PauseCause::User) {
            true => self.held.insert(salt.clone()),
            false => self.held.remove(&salt),
        };
        let index = status["stage"]["index"].as_u64()?;
        let stages = write.after["spec"]["stages"].as_array()?.iter().map(|stage| text(&stage["devices"]));
        let targets: Vec<String> = stages.take(usize::try_from(index).ok()? + 1).collect();
        let stage = self.stages.entry(salt.clone()).or_default();
        let (before, succeeds) = (stage.index, state.phase == Phase::Succeeded);
        let clauses = &status["membership"]["clauses"];
        // Devices that were unknown at a draw come on top of it.
        let unknown = if stage.clauses == *clauses { 0 } else { moment.unknown };
        let unknown = unknown.max(stage.unknown);
        *stage = Stage { index, targets, clauses: clauses.clone(), unknown };
        if index > before || succeeds {
            let wish = &write.after["spec"];
            if index > before && (wish["paused"] == true || wish["abort"] == true) {
                return Some(format!("{name} enters stage {index} while its spec is paused or aborted"));
            }
            if self.harmed.contains(&salt) && index > before {
                return Some(format!("{name} enters stage {index} after harm was shown"));
            }
            if !moment.settled
                && write.before.as_ref().is_some_and(|old| old["status"]["phase"] != status["phase"])
            {
                return Some(format!(
                    "{name} changes its phase before all that devices have retained was heard"
                ));
            }
        }
        self.advanced(write, &salt)
    }

    /// A stage that no person promoted watches for its bake time.
    fn advanced(&self, write: &Stored, salt: &str) -> Option<String> {
        let before = write.before.as_ref().filter(|before| before["status"]["membership"]["salt"] == salt)?;
        let (old, new) = (&before["status"]["stage"], &write.after["status"]["stage"]);
        let promoted = !before["spec"]["promote"].is_null() || !write.after["spec"]["promote"].is_null();
        if promoted || !self.clocks_are_right || new["index"].as_u64()? <= old["index"].as_u64()? {
            return None;
        }
        let seconds = |stage: &Value| {
            let text = stage["startedAt"].as_str()?;
            text.parse::<k8s_openapi::jiff::Timestamp>().ok().map(|at| at.as_second())
        };
        let baked = seconds(new)? - seconds(old)?;
        let stage = &before["spec"]["stages"][usize::try_from(old["index"].as_u64()?).ok()?];
        let bake = 60 * stage["bake"].as_str()?.strip_suffix('m')?.parse::<i64>().ok()?;
        (baked < bake).then(|| format!("{} left a stage after {baked} s of {bake} s", write.place.1))
    }

    /// Holds the laws of a plan that has reached the broker.
    pub fn arrived(&mut self, plan: &Plan) -> Option<String> {
        let order = (plan.order.epoch, plan.order.revision);
        match self.newest.get(&plan.model) {
            Some(newest) if order < (newest.order.epoch, newest.order.revision) => {}
            Some(newest) if order == (newest.order.epoch, newest.order.revision) && plan != newest => {
                return Some(format!("{}: two plans have the order {order:?}", plan.model));
            }
            _ => drop(self.newest.insert(plan.model.clone(), plan.clone())),
        }
        None
    }

    /// A plan names every version that a rollout has rejected, but for what it gives to devices.
    fn rejects_too_little(&self, plan: &Plan) -> Option<String> {
        let named = |digest: &Digest| plan.builds().any(|build| build.digest == *digest);
        let of_model = self.rejected_of.get(&plan.model)?;
        let told = of_model.iter().filter(|digest| self.rejected.contains(digest) && !named(digest));
        let missing = told.filter(|digest| !plan.rejected.contains(digest)).count();
        (missing > 0 && plan.rejected.len() < REJECTED_MAX)
            .then(|| format!("does not name {missing} of the builds that rollouts have rejected"))
    }

    /// Holds the laws of a plan that is sent. One of a leader that was followed by another is refused by devices that have
    /// heard the other, and may say what was right before.
    pub fn sent(&mut self, plan: &Plan, devices: &[Known<'_>]) -> Option<String> {
        let order = (plan.order.epoch, plan.order.revision);
        if order.0 < self.epoch {
            return None;
        }
        self.epoch = order.0;
        if let Some(broken) = self.rejects_too_little(plan) {
            return Some(format!("{}: plan {order:?} {broken}", plan.model));
        }
        // One that admits nobody else leaves those who have begun as they are, also where its object is another by now.
        let candidate = plan.candidate.as_ref().filter(|candidate| candidate.admit)?;
        let salt = &candidate.membership.salt;
        let (model, version) = (&plan.model, &candidate.build.version);
        if self.taken_back.contains(salt) {
            return Some(format!("{model}: plan {order:?} offers {version}, and its attempt was taken back"));
        }
        if self.rejected.contains(&candidate.build.digest) {
            return Some(format!("{model}: plan {order:?} offers {version}, which a rollout has rejected"));
        }
        if self.harmed.contains(salt) {
            return Some(format!("{model}: plan {order:?} offers {version}, of which harm was shown"));
        }
        if self.held.contains(salt) {
            return Some(format!("{model}: plan {order:?} offers {version}, and a person holds its rollout"));
        }
        if let Some(broken) = self.attempts.sent(candidate) {
            return Some(format!("{model}: plan {order:?}: {broken}"));
        }
        let Some(stage) = self.stages.get(salt) else {
            return Some(format!("{model}: plan {order:?} offers {version}, and no status says so"));
        };
        if stage.targets.iter().all(|target| !target.ends_with('%')) && takes_newcomers(candidate, devices) {
            let targets = stage.targets.join(", ");
            return Some(format!(
                "{model}: plan {order:?} gives {version} to devices that join later, and its stages have {targets}"
            ));
        }
        let included =
            devices.iter().filter(|device| included(&candidate.membership, device.id, device.labels)).count();
        let most = stage.targets.iter().filter_map(|target| allowed(target, devices.len())).max()?;
        (included > most + stage.unknown).then(|| {
            let targets = stage.targets.join(", ");
            format!(
                "{model}: plan {order:?} gives {version} to {included} devices, and its stages have {targets}"
            )
        })
    }
}

/// Two versions that were promoted one after the other have different numbers.
fn twice_numbered(write: &Stored, moment: &Moment<'_>) -> Option<String> {
    let number = number(&write.after)?;
    let (other, _) =
        moment.promotions.iter().find(|(name, other)| *other == number && *name != write.place.1)?;
    Some(format!("{} was promoted with number {number}, and so was {other}", write.place.1))
}

/// The number of a version's promotion for all devices, while it is in production.
#[must_use]
pub fn number(version: &Value) -> Option<i64> {
    let scopes = version["status"]["productionFor"].as_array()?;
    let all = scopes.iter().find(|scope| scope["selector"] == "{}")?;
    (version["status"]["stage"] == "Production").then(|| all["order"].as_i64()).flatten()
}

/// Whether devices that nobody knows yet would get the candidate.
fn takes_newcomers(candidate: &Candidate, devices: &[Known<'_>]) -> bool {
    let labels = devices.first().map(|device| device.labels.clone()).unwrap_or_default();
    (0..NEWCOMERS).any(|i| {
        let id = format!("newcomer-{i}").parse().expect("a name");
        included(&candidate.membership, &id, &labels)
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The state that decides, of a rollout's status.
#[must_use]
pub fn state(object: &Value) -> Option<State> {
    let text = object["status"]["judge"]["state"].as_str()?;
    Some(Memory::read(text, &[], None)?.state)
}

/// What differs between two statuses, for people.
fn changed(before: &Value, after: &Value) -> String {
    let fields = after.as_object().into_iter().flatten();
    let changed = fields.filter(|(name, value)| before[name.as_str()] != **value);
    changed
        .map(|(name, value)| format!("{name}: {} -> {value}", before[name.as_str()]))
        .collect::<Vec<_>>()
        .join("; ")
}

/// Most devices of a stage's target.
fn allowed(target: &str, devices: usize) -> Option<usize> {
    match target.strip_suffix('%') {
        None => target.parse().ok(),
        Some(percent) => percent.parse::<usize>().ok().map(|percent| (devices * percent).div_ceil(100)),
    }
}
