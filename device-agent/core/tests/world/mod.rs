//! A shell without a device: it carries out what the agent says, and answers when the test wants it to.
#![allow(dead_code, missing_docs, clippy::unwrap_used, reason = "a test bench: each test uses its part")]

mod asked;
mod plans;
pub mod rotation;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use modelfleet_agent_core::agent::Agent;
use modelfleet_agent_core::interface::{Identity, Input, Limits, Moment, Output, Record, Retry, Step};
use modelfleet_agent_core::saved::{Saved, SavedModel};
use modelfleet_agent_core::trust::TrustAnchor;
use modelfleet_protocol::generated::Report;
use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::plan::Plan;
use modelfleet_protocol::state::{DeviceState, Failure, FailureCode};
use modelfleet_protocol::time::Time;

pub use asked::Asked;
pub use plans::*;

/// The shell's side of one device.
#[derive(Clone)]
pub struct World {
    pub agent: Agent,
    pub identity: Identity,
    pub now: Time,
    /// The clock that nobody sets: a test that changes `now` sets the other one.
    pub steady_ms: u64,
    pub wake: Option<Time>,
    pub connected: bool,
    /// What the shell would answer, were it let.
    pub pending: Vec<Input>,
    /// What was asked of the shell and has not been answered, whether it ever will be or not.
    pub asked: Asked,
    pub disk: Saved,
    pub windows: BTreeMap<ModelName, Vec<u8>>,
    pub files: BTreeSet<Digest>,
    /// Downloads that came to their end, in order.
    pub downloads: Vec<Digest>,
    /// Files that the disk lost; whoever needs one is told.
    pub lost: BTreeSet<Digest>,
    pub serving: Option<Digest>,
    pub state: Option<DeviceState>,
    pub reports: Vec<Report>,
    pub log: Vec<Output>,
    pub limits: Limits,
    /// Nothing crashes here: windows are not written, which takes long.
    pub diskless: bool,
    /// The disk takes no writes.
    pub full: bool,
    /// The record could not be written the last time.
    pub failing: bool,
    /// How often the process began anew.
    pub restarts: u32,
    /// Whether the last one that died was connected.
    pub died_connected: bool,
    /// The machine's boot, where the system says it.
    pub boot: Option<String>,
    /// Beginnings of downloads on disk.
    pub parts: BTreeSet<Digest>,
    /// The process dies after so many outputs of the next step that has more.
    pub cut: Option<usize>,
}

impl World {
    pub fn new() -> World {
        World::trusting(TrustAnchor::default())
    }

    /// A new device that was set up with these keys.
    pub fn trusting(trust: TrustAnchor) -> World {
        let limits = Limits::default();
        let identity = Identity { trust, ..identity() };
        let agent = Agent::new(identity.clone(), limits, Saved::default(), &BTreeMap::new());
        let mut world = World {
            agent,
            identity,
            now: START,
            steady_ms: 0,
            wake: None,
            connected: false,
            pending: Vec::new(),
            asked: Asked::default(),
            disk: Saved::default(),
            windows: BTreeMap::new(),
            files: BTreeSet::new(),
            downloads: Vec::new(),
            lost: BTreeSet::new(),
            serving: None,
            state: None,
            reports: Vec::new(),
            log: Vec::new(),
            limits,
            diskless: false,
            full: false,
            failing: false,
            restarts: 0,
            died_connected: false,
            boot: Some("1".to_owned()),
            parts: BTreeSet::new(),
            cut: None,
        };
        world.feed(Input::Started { boot: world.boot.clone() });
        world
    }

    /// A device that runs stable build 1, confirmed.
    pub fn with_stable() -> World {
        let mut world = World::new();
        world.connect();
        world.plan(plan(1, Some(1), None, &[]));
        world.pass(120_000);
        world.settle();
        assert_eq!(world.serving, Some(digest(1)));
        world
    }

    /// What is kept of the model.
    pub fn kept(&self) -> SavedModel {
        self.agent.saved().models.get(&model()).cloned().unwrap_or_default()
    }

    pub fn feed(&mut self, input: Input) -> Vec<Output> {
        match input {
            Input::Connected { .. } => self.connected = true,
            Input::Disconnected => self.connected = false,
            _ => {}
        }
        self.asked.hears(&input);
        let Step { mut outputs, wake } =
            self.agent.step(Moment { wall: self.now, steady_ms: self.steady_ms }, input);
        self.wake = wake.map(|(at, _)| at);
        let cut = self.cut.take_if(|cut| *cut < outputs.len());
        outputs.truncate(cut.unwrap_or(usize::MAX));
        let saves = outputs.contains(&Output::Save(Record::Control));
        if saves && self.full {
            outputs.retain(|output| !output.depends_on_record());
        }
        for output in &outputs {
            self.asked.takes(output);
            self.carry_out(output);
        }
        self.log.extend(outputs.iter().cloned());
        if cut.is_some() {
            self.crash();
        } else if saves && self.full {
            self.failing = true;
            outputs.extend(self.feed(Input::NotSaved));
        } else if saves && std::mem::take(&mut self.failing) {
            outputs.extend(self.feed(Input::Saved));
        }
        outputs
    }

    /// The disk takes writes again, and the record is tried again.
    pub fn make_room(&mut self) {
        self.full = false;
        self.pass(60_000);
        self.feed(Input::Wake); // At the end of all time no wake comes any more.
        assert!(!self.failing, "the record is tried again");
    }

    fn carry_out(&mut self, output: &Output) {
        match output {
            Output::Save(Record::Control) if self.full => {}
            Output::Save(Record::Control) => {
                let bytes = self.agent.saved().to_json();
                self.disk = Saved::from_json(&bytes).unwrap();
            }
            Output::Save(Record::Windows(_)) if self.diskless => {}
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
            Output::Fetch { build, .. } => {
                self.parts.insert(build.digest);
                let details = build.details.as_ref().map(fetched_details);
                self.pending.push(Input::Fetched { digest: build.digest, details });
            }
            Output::PauseFetch { digest } | Output::CancelFetch { digest } => {
                if matches!(output, Output::CancelFetch { .. }) {
                    assert_ne!(self.serving, Some(*digest), "deleted what answers");
                    self.parts.remove(digest);
                    self.files.remove(digest);
                }
                self.pending.retain(|p| !matches!(p, Input::Fetched { digest: d, .. } if d == digest));
            }
            Output::Admit { build } if self.lost.contains(&build.digest) => {
                self.pending.push(Input::SlotLost { digest: build.digest });
            }
            Output::Switch { model, build: Some(build) } if self.lost.contains(&build.digest) => {
                let (model, digest) = (model.clone(), build.digest);
                let failure = Failure::new(FailureCode::DigestMismatch, "lost");
                self.pending.push(Input::SlotLost { digest });
                self.pending.push(Input::SwitchFailed { model, digest, failure });
            }
            Output::Admit { build } => {
                assert!(self.files.contains(&build.digest), "admitted without its bytes");
                assert!(build.is_complete(), "admitted without its self-test");
                self.pending.push(Input::Admitted {
                    model: build.model.clone(),
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
            output => self.drop_or_shadow(output),
        }
    }

    fn drop_or_shadow(&mut self, output: &Output) {
        match output {
            Output::Unload { model, digest } => {
                let dropped = |p: &Input| matches!(p, Input::Admitted { model: m, digest: d, .. } if (m, d) == (model, digest));
                self.pending.retain(|p| !dropped(p));
            }
            Output::Shadow { model, build } => {
                self.pending.retain(|p| !matches!(p, Input::Shadowing { model: m, .. } if m == model));
                let (model, digest) = (model.clone(), build.as_ref().map(|build| build.digest));
                self.pending.extend(digest.map(|digest| Input::Shadowing { model, digest }));
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
            Input::Fetched { digest, .. } => {
                if self.files.insert(*digest) {
                    self.downloads.push(*digest);
                }
                self.lost.remove(digest);
                self.parts.remove(digest);
            }
            Input::Switched { digest, .. } => self.serving = *digest,
            _ => {}
        }
        self.feed(input)
    }

    /// Answers the `n`-th open request with a failure.
    pub fn refuse(&mut self, n: usize, retry: Retry) -> Vec<Output> {
        let fetch = if retry == Retry::Never {
            FailureCode::SignatureInvalid
        } else {
            FailureCode::DownloadExhausted
        };
        self.refuse_with(n, fetch, retry)
    }

    /// The same; a fetch fails with this code.
    pub fn refuse_with(&mut self, n: usize, fetch: FailureCode, retry: Retry) -> Vec<Output> {
        let failure = |code| Failure::new(code, "no");
        match self.pending.remove(n) {
            Input::Fetched { digest, .. } => {
                self.feed(Input::FetchFailed { digest, failure: failure(fetch), retry })
            }
            Input::Admitted { model, digest, .. } => {
                self.feed(Input::Refused { model, digest, failure: failure(FailureCode::SelfTestMismatch) })
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
                    self.go_to(wake.max(self.now));
                    self.feed(Input::Wake);
                }
                None => break,
            }
        }
        self.go_to(end);
    }

    fn go_to(&mut self, at: Time) {
        self.steady_ms += at.since_ms(self.now);
        self.now = at;
    }

    /// The process ends in order and is started again.
    pub fn stop_and_start(&mut self) {
        self.feed(Input::Stopping);
        self.crash();
    }

    /// The machine loses its power and boots.
    pub fn lose_power(&mut self) {
        let boots = self.boot.as_ref().map_or(0, |boot| boot.parse::<u32>().unwrap());
        self.boot = Some((boots + 1).to_string());
        self.crash();
    }

    /// Everything in memory is gone; the disk stays.
    pub fn crash(&mut self) {
        self.cut = None;
        self.failing = false;
        self.restarts += 1;
        self.died_connected = self.connected;
        self.agent = Agent::new(self.identity.clone(), self.limits, self.disk.clone(), &self.windows);
        // As the shell tidies its folder when it starts.
        let named = self.agent.digests();
        self.files.retain(|digest| named.contains(digest));
        self.parts.retain(|digest| named.contains(digest));
        self.pending.clear();
        self.asked = Asked::default();
        self.serving = None;
        self.connected = false;
        self.feed(Input::Started { boot: self.boot.clone() });
    }

    pub fn connect(&mut self) {
        self.feed(Input::Connecting);
        self.feed(Input::Connected { payload_bytes_max: usize::MAX });
    }

    pub fn plan(&mut self, plan: Plan) -> Vec<Output> {
        self.feed(Input::Plan(signed(Arc::new(plan))))
    }

    /// A minute goes by, the build answers, and the broker is heard.
    pub fn healthy(&mut self) {
        self.pass(60_000);
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
