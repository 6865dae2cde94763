//! A shell without a device: it carries out what the agent says, and answers when the test wants it to.
#![allow(dead_code, missing_docs, clippy::unwrap_used, reason = "a test bench: each test uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use modelfleet_agent_core::agent::Agent;
use modelfleet_agent_core::saved::Saved;
use modelfleet_agent_core::words::{Identity, Input, Limits, Output, Record, Retry, Step};
use modelfleet_protocol::generated::Report;
use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::membership::{Bound, Clause, Membership};
use modelfleet_protocol::metric::Metric;
use modelfleet_protocol::model::{Fallback, Format, ModelBuild};
use modelfleet_protocol::observe::{Indicator, Observe};
use modelfleet_protocol::plan::{Candidate, Fetch, Mode, Order, Plan, Probation};
use modelfleet_protocol::state::{Capabilities, DeviceState, EngineInfo, Failure, FailureCode};
use modelfleet_protocol::time::Time;

pub const START: Time = Time(1_800_000_000_000);
pub const WINDOW_MS: u64 = 60_000;

pub fn model() -> ModelName {
    "pump-anomaly".parse().unwrap()
}

pub fn digest(n: u8) -> Digest {
    Digest([n; 32])
}

pub fn build(n: u8) -> ModelBuild {
    ModelBuild {
        model: model(),
        version: semver::Version::new(1, u64::from(n), 0),
        digest: digest(n),
        uri: format!("https://models/{n}"),
        size_bytes: 1000,
        format: Format::Onnx,
        opsets: BTreeMap::from([("ai.onnx".to_owned(), 17)]),
        engines: Vec::new(),
        memory_bytes: 0,
        device_labels: BTreeMap::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        self_test: Vec::new(),
        profile: None,
        decision: None,
        pre_filters: Vec::new(),
        fallback: Fallback::Error,
        signatures: Vec::new(),
    }
}

pub fn identity() -> Identity {
    let opsets = BTreeMap::from([(String::new(), 21)]);
    let engine = EngineInfo { name: "Rten".to_owned(), version: "0.27".to_owned(), opsets };
    Identity {
        namespace: "plant-a".parse().unwrap(),
        device: "pump-001".parse().unwrap(),
        agent: "0.1.0".to_owned(),
        labels: BTreeMap::from([("site".to_owned(), "north".to_owned())]),
        capabilities: Capabilities {
            engines: vec![engine],
            memory_bytes: 64 << 20,
            arch: "aarch64".to_owned(),
        },
    }
}

pub fn everybody() -> Membership {
    let clause = Clause { other_below: Bound::ALL, ..Clause::default() };
    Membership { salt: "s".to_owned(), clauses: vec![clause], exclude: Vec::new() }
}

pub fn candidate(n: u8, rollout: &str) -> Candidate {
    Candidate {
        rollout: rollout.to_owned(),
        build: build(n),
        membership: everybody(),
        admit: true,
        mode: Mode::Live,
        probation: Probation { timeout_ms: 600_000, min_predictions: 10, max_errors: 3 },
        fetch: Fetch::default(),
    }
}

pub fn plan(revision: u64, stable: Option<u8>, candidate: Option<Candidate>, rejected: &[u8]) -> Plan {
    let indicator = |metric, threshold| Indicator {
        name: format!("{metric:?}"),
        metric,
        feature: None,
        threshold,
        min_samples: 1,
    };
    Plan {
        namespace: "plant-a".parse().unwrap(),
        model: model(),
        order: Order { epoch: 1, revision, issued: START, expires: Time(u64::MAX) },
        stable: stable.map(build),
        candidate,
        rejected: rejected.iter().copied().map(digest).collect(),
        observe: Observe {
            window_ms: WINDOW_MS,
            report_every_ms: 0,
            since: Time::ZERO,
            indicators: vec![indicator(Metric::ErrorRate, 10_000), indicator(Metric::Accuracy, 950_000)],
        },
    }
}

/// The shell's side of one device.
#[derive(Clone)]
pub struct World {
    pub agent: Agent,
    pub now: Time,
    pub wake: Option<Time>,
    pub connected: bool,
    /// What the shell would answer, were it let.
    pub pending: Vec<Input>,
    pub disk: Saved,
    pub windows: BTreeMap<ModelName, Vec<u8>>,
    pub files: BTreeSet<Digest>,
    pub serving: Option<Digest>,
    pub state: Option<DeviceState>,
    pub reports: Vec<Report>,
    pub log: Vec<Output>,
    pub limits: Limits,
}

impl World {
    pub fn new() -> World {
        let limits = Limits::default();
        let agent = Agent::new(identity(), limits, Saved::default(), &BTreeMap::new());
        let mut world = World {
            agent,
            now: START,
            wake: None,
            connected: false,
            pending: Vec::new(),
            disk: Saved::default(),
            windows: BTreeMap::new(),
            files: BTreeSet::new(),
            serving: None,
            state: None,
            reports: Vec::new(),
            log: Vec::new(),
            limits,
        };
        world.feed(Input::Started);
        world
    }

    pub fn feed(&mut self, input: Input) -> Vec<Output> {
        match input {
            Input::Connected => self.connected = true,
            Input::Disconnected => self.connected = false,
            _ => {}
        }
        let Step { outputs, wake } = self.agent.step(self.now, input);
        self.wake = wake.map(|(at, _)| at);
        for output in &outputs {
            self.carry_out(output);
        }
        self.log.extend(outputs.iter().cloned());
        outputs
    }

    fn carry_out(&mut self, output: &Output) {
        match output {
            Output::Save(Record::Control) => {
                let bytes = self.agent.saved().to_json();
                self.disk = Saved::from_json(&bytes).unwrap();
            }
            Output::Save(Record::Windows(model)) => {
                self.windows.insert(model.clone(), self.agent.saved_windows(model));
            }
            Output::PublishState(state) => {
                assert!(self.connected, "published while disconnected");
                let bytes = serde_json::to_vec(state).unwrap();
                DeviceState::from_json(&identity().device, &bytes).unwrap();
                assert!(self.state.as_ref().is_none_or(|s| s.sequence < state.sequence), "sequence");
                self.state = Some((**state).clone());
            }
            Output::PublishReport { model, report } => {
                assert!(self.connected, "published while disconnected");
                let bytes = prost::Message::encode_to_vec(&**report);
                let id = identity();
                modelfleet_protocol::report::read(&id.namespace, &id.device, model, &bytes).unwrap();
                assert!(self.reports.last().is_none_or(|r| r.sequence < report.sequence), "sequence");
                self.reports.push((**report).clone());
            }
            Output::Fetch { build, .. } => self.pending.push(Input::Fetched { digest: build.digest }),
            Output::CancelFetch { digest } => {
                self.pending.retain(|p| !matches!(p, Input::Fetched { digest: d } if d == digest));
            }
            Output::Admit { build } => {
                assert!(self.files.contains(&build.digest), "admitted without its bytes");
                self.pending.push(Input::Admitted {
                    digest: build.digest,
                    engine: "Rten".to_owned(),
                    memory_bytes: 1000,
                });
            }
            Output::Switch { model, build } => {
                let digest = build.as_ref().map(|build| build.digest);
                assert!(
                    digest.is_none_or(|d| self.files.contains(&d)),
                    "switched to a build without its bytes"
                );
                let engine = "Rten".to_owned();
                self.pending.push(Input::Switched { model: model.clone(), digest, engine });
            }
            Output::Delete { digest } => {
                assert_ne!(self.serving, Some(*digest), "deleted what answers");
                self.files.remove(digest);
            }
            _ => {}
        }
    }

    /// Answers the `n`-th open request well.
    pub fn answer(&mut self, n: usize) -> Vec<Output> {
        let input = self.pending.remove(n);
        match &input {
            Input::Fetched { digest } => {
                self.files.insert(*digest);
            }
            Input::Switched { digest, .. } => self.serving = *digest,
            _ => {}
        }
        self.feed(input)
    }

    /// Answers the `n`-th open request with a failure.
    pub fn refuse(&mut self, n: usize, retry: Retry) -> Vec<Output> {
        let failure = |code| Failure::new(code, "no");
        match self.pending.remove(n) {
            Input::Fetched { digest } => {
                self.feed(Input::FetchFailed { digest, failure: failure(FailureCode::DiskFull), retry })
            }
            Input::Admitted { digest, .. } => {
                self.feed(Input::Refused { digest, failure: failure(FailureCode::SelfTestMismatch) })
            }
            Input::Switched { model, digest: Some(digest), .. } => {
                self.feed(Input::SwitchFailed { model, digest, failure: failure(FailureCode::LoadRefused) })
            }
            other => {
                self.pending.push(other);
                self.answer(self.pending.len() - 1)
            }
        }
    }

    pub fn answer_all(&mut self) {
        for _ in 0..50 {
            if self.pending.is_empty() {
                return;
            }
            self.answer(0);
        }
        panic!("the agent never comes to rest: {:?}", self.pending);
    }

    /// Lets time pass, with every wake that is asked for on the way.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now.after_ms(ms);
        for _ in 0..10_000 {
            match self.wake.filter(|wake| *wake <= end) {
                Some(wake) => {
                    self.now = wake.max(self.now);
                    self.feed(Input::Wake);
                }
                None => break,
            }
        }
        self.now = end;
    }

    /// Everything in memory is gone; the disk stays.
    pub fn crash(&mut self) {
        self.agent = Agent::new(identity(), self.limits, self.disk.clone(), &self.windows);
        self.pending.clear();
        self.serving = None;
        self.connected = false;
        self.feed(Input::Started);
    }

    pub fn connect(&mut self) {
        self.feed(Input::Connecting);
        self.feed(Input::Connected);
    }

    pub fn plan(&mut self, plan: Plan) -> Vec<Output> {
        self.feed(Input::Plan(Arc::new(plan)))
    }

    pub fn healthy(&mut self) {
        if let Some(digest) = self.serving {
            self.feed(Input::Health { model: model(), digest, answered: 10, errors: 0 });
        }
        if self.connected {
            self.feed(Input::BrokerHeard);
        }
    }

    /// All goes well until nothing is left to do.
    pub fn settle(&mut self) {
        for _ in 0..6 {
            self.answer_all();
            self.healthy();
            self.pass(120_000);
        }
        self.answer_all();
    }
}

impl Default for World {
    fn default() -> World {
        World::new()
    }
}
