//! The people and the pipelines: they register versions, apply rollouts, pause, abort, promote, retry and delete, edit what
//! runs, and apply yesterday's files again. They write objects and nothing else.

use std::collections::BTreeMap;

use modelfleet_number::chance::Chance;
use modelfleet_protocol::ids::{Digest, ModelName};
use serde_json::{Value, json};

use crate::api_server::{ApiServer, Shared, locked};
use crate::habits::{Habit, Habits};
use crate::nature::{MINORS, Nature};

/// How long stages of a rollout take.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long a stage watches, minutes.
    pub bake_min: u64,
    /// How long it waits for a verdict after that, minutes.
    pub max_wait_min: u64,
    /// Length of a window, minutes.
    pub window_min: u64,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { bake_min: 120, max_wait_min: 480, window_min: 30 }
    }
}

/// Most rollouts of a model that are kept; the oldest that has ended is deleted.
const ROLLOUTS_MAX: usize = 4;

/// Writes objects as people do.
#[derive(Debug, Default)]
pub struct Operator {
    /// How long stages take.
    pub pace: Pace,
    /// What people do more often than others.
    pub habits: Habits,
    versions: u64,
    /// What was applied last, by kind and name: the files of a repository.
    files: BTreeMap<(&'static str, String), Value>,
    yesterday: BTreeMap<(&'static str, String), Value>,
}

impl Operator {
    /// Every model has a version in production.
    pub fn begin(&mut self, server: &Shared, models: &[ModelName]) {
        for model in models {
            let mut object = version(model, 1, 0);
            self.apply(server, "modelversions", object.clone());
            object["status"] = json!({"stage": "Production", "promotedAt": "2026-01-01T00:00:00Z"});
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            locked(server).edit("modelversions", &name, |kept| kept["status"] = object["status"].clone());
        }
        self.versions = 1;
    }

    fn apply(&mut self, server: &Shared, kind: &'static str, object: Value) {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let mut server = locked(server);
        match server.get(kind, &name).is_some() {
            true => server.edit(kind, &name, |kept| kept["spec"] = object["spec"].clone()),
            false => server.create(kind, object.clone()),
        }
        self.files.insert((kind, name), object);
    }

    /// Keeps what the repository has now: `GitOpsReapplies` comes back to it.
    pub fn note_yesterday(&mut self) {
        self.yesterday = self.files.clone();
    }

    /// A pipeline applies yesterday's files: what was changed since is changed back, what was deleted is there again.
    pub fn reapply(&mut self, server: &Shared) {
        for ((kind, _), object) in self.yesterday.clone() {
            self.apply(server, kind, object);
        }
    }

    /// One thing that somebody does about one model. Returns what a person would say of it.
    pub fn act(&mut self, server: &Shared, models: &[ModelName], chance: &mut Chance) -> String {
        let count = u32::try_from(models.len()).unwrap_or(1);
        let model = &models[chance.below(count) as usize];
        let rollouts = rollouts_of(&locked(server), model);
        let under_way: Vec<&Value> = rollouts.iter().filter(|one| !has_ended(one)).collect();
        let another = if self.habits.has(Habit::Queues) { 2 } else { 8 };
        let ended: Vec<&Value> = rollouts.iter().filter(|one| phase_of(one) == "RolledBack").collect();
        if self.habits.has(Habit::Retries) && !ended.is_empty() && chance.below(2) == 0 {
            let at = chance.below(u32::try_from(ended.len()).unwrap_or(1)) as usize;
            return self.retry(server, &name(ended[at]), chance);
        }
        if under_way.is_empty() || (under_way.len() < 3 && chance.below(another) == 0) {
            return self.begin_rollout(server, model, &rollouts, chance);
        }
        if self.habits.has(Habit::HandsOff) {
            return "no user acts".to_owned();
        }
        let pick = |list: &[&Value], chance: &mut Chance| {
            let at = chance.below(u32::try_from(list.len()).unwrap_or(1)) as usize;
            name(list[at])
        };
        let all: Vec<&Value> = rollouts.iter().collect();
        match chance.below(12) {
            0 | 1 => self.edit(server, &pick(&under_way, chance), "pauses or resumes", |spec| {
                let paused = spec["paused"].as_bool().unwrap_or(false);
                spec["paused"] = json!(!paused);
            }),
            2 => self.edit(server, &pick(&under_way, chance), "aborts", |spec| spec["abort"] = json!(true)),
            3 => {
                let chosen = pick(&under_way, chance);
                let stage =
                    locked(server).get("rollouts", &chosen).map(|one| one["status"]["stage"]["name"].clone());
                self.edit(server, &chosen, "promotes", |spec| {
                    if let Some(stage @ Value::String(_)) = stage {
                        spec["promote"] = stage;
                    }
                })
            }
            4 | 5 => self.retry(server, &pick(&all, chance), chance),
            6 => {
                let chosen = pick(&all, chance);
                self.delete(server, "rollouts", &chosen);
                format!("a user deletes rollout {chosen}")
            }
            7 => {
                let versions: Vec<String> = locked(server)
                    .all("modelversions")
                    .filter(|one| one["spec"]["model"] == model.as_str())
                    .map(|one| name(one))
                    .collect();
                let at = chance.below(u32::try_from(versions.len()).unwrap_or(1)) as usize;
                let Some(chosen) = versions.get(at).cloned() else { return String::new() };
                self.delete(server, "modelversions", &chosen);
                format!("a user deletes version {chosen}")
            }
            8 => self.edit(server, &pick(&under_way, chance), "breaks the spec of", |spec| {
                set_threshold(spec, "a lot");
            }),
            9 => self.edit(server, &pick(&under_way, chance), "mends the spec of", |spec| {
                set_threshold(spec, "1%");
            }),
            _ => "no user acts".to_owned(),
        }
    }

    /// Somebody wants another attempt. Many clear `abort` with it, some do not.
    fn retry(&mut self, server: &Shared, name: &str, chance: &mut Chance) -> String {
        let token = format!("again-{}", chance.below(1_000));
        let clears = !self.habits.has(Habit::Retries) || chance.below(2) == 0;
        self.edit(server, name, "retries", |spec| {
            spec["retryToken"] = json!(token);
            if clears {
                spec["abort"] = json!(false);
            }
        })
    }

    /// The version of a new rollout: another one, or one that was rejected before.
    fn version_to_roll_out(&mut self, server: &Shared, model: &ModelName, chance: &mut Chance) -> String {
        let rejected = |one: &&std::sync::Arc<Value>| {
            one["spec"]["model"] == model.as_str() && one["status"]["stage"] == "Rejected"
        };
        let again = self.habits.has(Habit::RollsOutRejected) && chance.below(2) == 0;
        let found =
            locked(server).all("modelversions").find(rejected).map(|one| one["spec"]["version"].clone());
        if let Some(Value::String(version)) = found.filter(|_| again) {
            return version;
        }
        let minor = MINORS[chance.below(8) as usize];
        let object = version(model, minor, self.versions);
        let text = object["spec"]["version"].as_str().unwrap_or_default().to_owned();
        self.apply(server, "modelversions", object);
        text
    }

    fn begin_rollout(
        &mut self,
        server: &Shared,
        model: &ModelName,
        rollouts: &[Value],
        chance: &mut Chance,
    ) -> String {
        if rollouts.len() >= ROLLOUTS_MAX
            && let Some(oldest) = rollouts.iter().find(|one| has_ended(one))
        {
            self.delete(server, "rollouts", &name(oldest));
        }
        let text = self.version_to_roll_out(server, model, chance);
        let mut object = rollout(model, &text, self.pace, chance);
        self.shape(&mut object["spec"], &text);
        let wanted = name(&object);
        if locked(server).get("rollouts", &wanted).is_some() {
            object["metadata"]["name"] = json!(format!("{wanted}-{}", self.versions));
        }
        self.versions += 1;
        let said = format!("a user rolls out {model} {text}: {}", object["spec"]["stages"]);
        self.apply(server, "rollouts", object);
        said
    }

    /// What habits make of a rollout.
    fn shape(&self, spec: &mut Value, version: &str) {
        let minor = semver::Version::parse(version).map_or(0, |version| version.minor);
        if self.habits.has(Habit::LongProbation) {
            spec["probation"] = json!({"timeout": "12h", "minPredictions": 400});
        }
        if self.habits.has(Habit::NoObjectives) && Nature::of_minor(minor).is_good() {
            spec["slos"] = json!([]);
        } else if self.habits.has(Habit::TightObjectives) {
            spec["slos"][0]["allowance"] = json!("0.01%");
        }
    }

    fn edit(&mut self, server: &Shared, name: &str, what: &str, edit: impl FnOnce(&mut Value)) -> String {
        let file = {
            let mut server = locked(server);
            server.edit("rollouts", name, |object| edit(&mut object["spec"]));
            server.get("rollouts", name).map(|object| object["spec"].clone())
        };
        if let (Some(spec), Some(kept)) = (file, self.files.get_mut(&("rollouts", name.to_owned()))) {
            kept["spec"] = spec;
        }
        format!("a user {what} {name}")
    }

    fn delete(&mut self, server: &Shared, kind: &'static str, name: &str) {
        locked(server).delete(kind, name);
        self.files.remove(&(kind, name.to_owned()));
    }

    /// Everything that somebody holds goes on.
    pub fn resume_all(&mut self, server: &Shared) {
        let names: Vec<String> = locked(server).all("rollouts").map(|one| name(one)).collect();
        for name in names {
            self.edit(server, &name, "resumes", |spec| {
                spec["paused"] = json!(false);
                set_threshold(spec, "1%");
            });
        }
    }

    /// What has not ended by then is taken back.
    pub fn abort_all(&mut self, server: &Shared) {
        let open: Vec<String> =
            locked(server).all("rollouts").filter(|one| !has_ended(one)).map(|one| name(one)).collect();
        for name in open {
            self.edit(server, &name, "aborts", |spec| spec["abort"] = json!(true));
        }
    }
}

fn rollouts_of(server: &ApiServer, model: &ModelName) -> Vec<Value> {
    let mut all: Vec<Value> = server
        .all("rollouts")
        .filter(|one| one["spec"]["model"] == model.as_str())
        .map(|one| Value::clone(one))
        .collect();
    all.sort_by_key(|one| one["metadata"]["creationTimestamp"].to_string());
    all
}

/// The name of an object.
#[must_use]
pub fn name(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

fn phase_of(object: &Value) -> &str {
    object["status"]["phase"].as_str().unwrap_or("new")
}

/// A rollout without objectives has none to edit.
fn set_threshold(spec: &mut Value, text: &str) {
    if let Some(slo) = spec["slos"].get_mut(0) {
        slo["threshold"] = json!(text);
    }
}

/// Whether a rollout's status says that it has ended, or that it was refused.
#[must_use]
pub fn has_ended(object: &Value) -> bool {
    matches!(phase_of(object), "Succeeded" | "RolledBack")
}

fn version(model: &ModelName, minor: u64, patch: u64) -> Value {
    let version = format!("1.{minor}.{patch}");
    let digest = Digest::of(format!("{model} {version}").as_bytes()).to_string();
    json!({
        "apiVersion": "modelfleet.io/v1alpha1", "kind": "ModelVersion",
        "metadata": {"name": format!("{model}-{version}")},
        "spec": {"model": model, "version": version, "artifact": {
            "uri": format!("https://models.example/{model}/{version}.onnx"), "digest": digest, "sizeBytes": 1_000,
        }},
    })
}

fn rollout(model: &ModelName, version: &str, pace: Pace, chance: &mut Chance) -> Value {
    let Pace { bake_min, max_wait_min, window_min } = pace;
    let stage = |name: &str, devices: &str| {
        json!({
            "name": name, "devices": devices, "bake": format!("{bake_min}m"), "maxWait": format!("{max_wait_min}m"),
            "rollbackDeadline": "30m", "limits": {"minWindows": 2},
        })
    };
    let canary = format!("{}", 1 + chance.below(4));
    let undecided = ["Hold", "RollBack"][chance.below(2) as usize];
    json!({
        "apiVersion": "modelfleet.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": format!("{model}-{version}")},
        "spec": {
            "model": model, "version": version, "onUndecided": undecided,
            "observe": {"window": format!("{window_min}m"), "warmupWindows": 0},
            "probation": {"timeout": "1h", "minPredictions": 5},
            "stages": [stage("canary", &canary), stage("half", "50%"), stage("full", "100%")],
            "slos": [{"name": "errors", "metric": "ErrorRate", "threshold": "1%", "allowance": "2%"}],
        },
    })
}
