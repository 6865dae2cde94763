//! Signs plans as a controller would: rollouts begin, are held, taken back or promoted, at moments that chance draws. What it
//! says is all that devices hear; whether they do it is what the laws ask.

use std::collections::BTreeMap;
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use modelfleet_number::chance::Chance;
use modelfleet_protocol::envelope::{PLAN_TYPE, seal};
use modelfleet_protocol::ids::{Digest, ModelName, Namespace};
use modelfleet_protocol::membership::{Bound, Clause, Membership};
use modelfleet_protocol::metric::Metric;
use modelfleet_protocol::model::{Fallback, Format, ModelBuild};
use modelfleet_protocol::observe::{Indicator, Observe};
use modelfleet_protocol::plan::{Candidate, Fetch, Mode, Order, Plan, Probation, REJECTED_MAX, to_json};
use modelfleet_protocol::time::Time;
use modelfleet_protocol::topic::{Channel, Topic};

use crate::laws::forged;
use crate::nature::{MINORS, Nature};

/// Length of a window, milliseconds.
pub const WINDOW_MS: u64 = 1_800_000;
/// How long a plan is good for, milliseconds.
const LIFETIME_MS: u64 = 30 * 24 * 3_600_000;

/// Signs the plans of a fleet.
pub struct Author {
    namespace: Namespace,
    key: SigningKey,
    /// Grows with every other leader, whose revisions begin anew.
    epoch: u64,
    revision: u64,
    models: BTreeMap<ModelName, Line>,
}

/// What is said of one model.
struct Line {
    stable: ModelBuild,
    /// What was stable before.
    before: Option<ModelBuild>,
    candidate: Option<Candidate>,
    /// A build that was taken back and not rejected: it may be tried again.
    withdrawn: Option<ModelBuild>,
    /// Oldest first.
    rejected: Vec<Digest>,
    versions: u64,
    /// The plan that was signed last.
    plan: Plan,
    sealed: Arc<[u8]>,
}

/// A plan to be retained.
pub struct Letter {
    /// Where.
    pub topic: String,
    /// The envelope.
    pub payload: Arc<[u8]>,
}

impl Author {
    /// Begins with a good stable version of each model.
    #[must_use]
    pub fn new(namespace: Namespace, models: &[ModelName], now: Time) -> Author {
        let key = SigningKey::from_bytes(&[7; 32]);
        let mut author = Author { namespace, key, epoch: 1, revision: 0, models: BTreeMap::new() };
        for model in models {
            let stable = build(model, 1, 0);
            let plan = author.write(model, &stable, None, &[], now);
            let sealed = author.seal(&plan);
            let line = Line {
                stable,
                before: None,
                candidate: None,
                withdrawn: None,
                rejected: Vec::new(),
                versions: 1,
                plan,
                sealed,
            };
            author.models.insert(model.clone(), line);
        }
        author
    }

    /// The key that devices trust.
    #[must_use]
    pub fn key(&self) -> ed25519_dalek::VerifyingKey {
        self.key.verifying_key()
    }

    /// A plan as somebody signs it who has another key.
    #[must_use]
    pub fn forged(&self, model: &ModelName, now: Time) -> Letter {
        let topic = Topic { namespace: self.namespace.clone(), channel: Channel::Plan(model.clone()) };
        let stable = ModelBuild { digest: forged(), ..build(model, 1, 999) };
        let order =
            Order { epoch: 1_000_000, revision: 1_000_000, issued: now, expires: now.after_ms(LIFETIME_MS) };
        let known = self.models.values().next().map(|line| &line.plan);
        let plan = known.map(|plan| Plan {
            model: model.clone(),
            order,
            stable: Some(stable),
            stable_for: Vec::new(),
            candidate: None,
            rejected: Vec::new(),
            ..plan.clone()
        });
        let payload = plan.map_or_else(Vec::new, |plan| to_json(&plan));
        Letter {
            topic: topic.name(),
            payload: seal(&SigningKey::from_bytes(&[9; 32]), PLAN_TYPE, &payload).into(),
        }
    }

    /// The newest plan of a model.
    #[must_use]
    pub fn plan(&self, model: &ModelName) -> Option<&Plan> {
        self.models.get(model).map(|line| &line.plan)
    }

    /// The newest plans, each where it belongs: a broker that lost one is given it again.
    pub fn letters(&self) -> impl Iterator<Item = Letter> + '_ {
        self.models.iter().map(|(model, line)| {
            let topic = Topic { namespace: self.namespace.clone(), channel: Channel::Plan(model.clone()) };
            Letter { topic: topic.name(), payload: Arc::clone(&line.sealed) }
        })
    }

    /// One thing happens to one model's rollout. Returns what a person would say of it.
    pub fn act(&mut self, now: Time, chance: &mut Chance) -> String {
        let count = u32::try_from(self.models.len()).unwrap_or(u32::MAX);
        let at = usize::try_from(chance.below(count)).unwrap_or(0);
        let Some(model) = self.models.keys().nth(at).cloned() else { return String::new() };
        let Some(mut line) = self.models.remove(&model) else { return String::new() };
        if chance.below(8) == 0 {
            (self.epoch, self.revision) = (self.epoch + 1, 0);
        }
        let said = line.act(&model, now, chance);
        self.sign(model, line, now);
        said
    }

    /// Ends every rollout: the stable version for everybody.
    pub fn end_all(&mut self, now: Time) {
        for (model, mut line) in std::mem::take(&mut self.models) {
            // A plan may go on naming a candidate that it rejects: devices do not take it.
            let last = line.candidate.as_ref().map(|candidate| candidate.build.digest);
            match last.filter(|_| line.versions % 2 == 0) {
                Some(digest) => line.reject(digest),
                None => line.candidate = None,
            }
            self.sign(model, line, now);
        }
    }

    fn sign(&mut self, model: ModelName, line: Line, now: Time) {
        let plan = self.write(&model, &line.stable, line.candidate.clone(), &line.rejected, now);
        let sealed = self.seal(&plan);
        self.models.insert(model, Line { plan, sealed, ..line });
    }

    fn seal(&self, plan: &Plan) -> Arc<[u8]> {
        seal(&self.key, PLAN_TYPE, &to_json(plan)).into()
    }

    fn write(
        &mut self,
        model: &ModelName,
        stable: &ModelBuild,
        candidate: Option<Candidate>,
        rejected: &[Digest],
        now: Time,
    ) -> Plan {
        self.revision += 1;
        let mut rejected = rejected.to_vec();
        rejected.sort_unstable();
        let order = Order {
            epoch: self.epoch,
            revision: self.revision,
            issued: now,
            expires: now.after_ms(LIFETIME_MS),
        };
        Plan {
            namespace: self.namespace.clone(),
            model: model.clone(),
            order,
            stable: Some(stable.clone()),
            stable_for: Vec::new(),
            candidate,
            rejected,
            fetch: None,
            observe: Observe {
                window_ms: WINDOW_MS,
                indicators: vec![Indicator {
                    name: "errors".to_owned(),
                    metric: Metric::ErrorRate,
                    feature: None,
                    threshold: 10_000,
                    min_samples: 1,
                }],
                ..Observe::default()
            },
        }
    }
}

impl Line {
    fn act(&mut self, model: &ModelName, now: Time, chance: &mut Chance) -> String {
        let rejected = |candidate: &Candidate| self.rejected.contains(&candidate.build.digest);
        let Some(mut candidate) = self.candidate.take().filter(|candidate| !rejected(candidate)) else {
            return match self.before.take() {
                Some(before) if chance.below(4) == 0 => self.roll_back_production(model, before),
                before => {
                    self.before = before;
                    self.begin(model, chance)
                }
            };
        };
        let version = candidate.build.version.clone();
        let good = Nature::of(&candidate.build).is_good();
        match chance.below(7) {
            // A version that ran beside goes live next.
            _ if good && candidate.mode == Mode::Shadow => {
                candidate.mode = Mode::Live;
                self.candidate = Some(candidate);
                format!("{model} {version}: goes live")
            }
            0 => {
                candidate.admit = !candidate.admit;
                let said = if candidate.admit { "goes on" } else { "is held" };
                self.candidate = Some(candidate);
                format!("{model} {version}: {said}")
            }
            1 | 2 => {
                // Bounds only grow within a rollout.
                let before = candidate.membership.clauses[0].other_below;
                let wider = membership(&candidate.rollout, 200_000 + chance.below(800_001));
                if wider.clauses[0].other_below > before {
                    candidate.membership = wider;
                }
                self.candidate = Some(candidate);
                format!("{model} {version}: more devices")
            }
            3 | 4 if good => {
                self.before = Some(std::mem::replace(&mut self.stable, candidate.build));
                format!("{model} {version}: in production at {}", now.0)
            }
            5 if good => {
                self.withdrawn = Some(candidate.build);
                format!("{model} {version}: taken back, not rejected")
            }
            6 if self.before.is_some() => {
                self.reject(candidate.build.digest);
                let before = self.before.take().unwrap_or_else(|| self.stable.clone());
                format!(
                    "{model} {version}: taken back and rejected; {}",
                    self.roll_back_production(model, before)
                )
            }
            _ => {
                self.reject(candidate.build.digest);
                self.candidate = Some(candidate).filter(|_| chance.below(3) == 0);
                format!("{model} {version}: taken back and rejected")
            }
        }
    }

    fn begin(&mut self, model: &ModelName, chance: &mut Chance) -> String {
        let again = if chance.below(2) == 0 { self.withdrawn.take() } else { None };
        let minor = MINORS[usize::try_from(chance.below(8)).unwrap_or(0)];
        let build = again.unwrap_or_else(|| build(model, minor, self.versions));
        self.versions += 1;
        let said = format!("{model} {}: canary", build.version);
        let rollout = format!("r-{}", self.versions);
        let strict = chance.below(4) == 0;
        self.candidate = Some(Candidate {
            membership: membership(&rollout, 200_000),
            rollout,
            build,
            admit: true,
            mode: if chance.below(5) == 0 { Mode::Shadow } else { Mode::Live },
            probation: match strict {
                true => Probation { timeout_ms: 14_400_000, min_predictions: 200, max_errors: 15 },
                false => Probation { timeout_ms: 3_600_000, min_predictions: 5, max_errors: 50 },
            },
            fetch: Fetch { spread_ms: 60_000, ..Fetch::default() },
        });
        said
    }

    /// What is in production does harm: the version before it is stable again.
    fn roll_back_production(&mut self, model: &ModelName, before: ModelBuild) -> String {
        let bad = std::mem::replace(&mut self.stable, before);
        self.reject(bad.digest);
        format!("{model} {}: taken out of production and rejected", bad.version)
    }

    fn reject(&mut self, digest: Digest) {
        if self.rejected.contains(&digest) {
            return;
        }
        if self.rejected.len() >= REJECTED_MAX {
            self.rejected.remove(0);
        }
        self.rejected.push(digest);
        self.withdrawn.take_if(|build| build.digest == digest);
    }
}

/// A share of all devices, in parts per million.
fn membership(salt: &str, share_ppm: u32) -> Membership {
    let other_below = Bound(u64::MAX / 1_000_000 * u64::from(share_ppm));
    let clause = Clause { other_below, ..Clause::default() };
    Membership { salt: salt.to_owned(), clauses: vec![clause], exclude: Vec::new() }
}

/// The build of version `1.minor.patch`.
fn build(model: &ModelName, minor: u64, patch: u64) -> ModelBuild {
    let version = semver::Version::new(1, minor, patch);
    ModelBuild {
        model: model.clone(),
        digest: Digest::of(format!("{model} {version}").as_bytes()),
        uri: format!("https://models.example/{model}/{version}.onnx"),
        version,
        size_bytes: 1_000,
        format: Format::Onnx,
        ir_version: 8,
        opsets: BTreeMap::new(),
        engines: Vec::new(),
        memory_bytes: 0,
        device_labels: BTreeMap::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        details: None,
        self_test: Vec::new(),
        profile: None,
        decision: None,
        pre_filters: Vec::new(),
        fallback: Fallback::Error,
        signatures: Vec::new(),
    }
}
