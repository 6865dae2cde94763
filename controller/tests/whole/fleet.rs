//! A test peer: many pretended devices behind one connection. They believe every plan that is signed, run what it
//! says after a moment, and report windows that are as bad as the version is said to be. Not an agent.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ed25519_dalek::VerifyingKey;
use modelfleet_controller::clock::Clock;
use modelfleet_protocol::envelope::{KeyId, open_override, open_signed_plan};
use modelfleet_protocol::generated::{Counters, History, Report, Tally, Window};
use modelfleet_protocol::ids::{DeviceId, Digest, ModelName, Namespace};
use modelfleet_protocol::latency::LatencyHistogram;
use modelfleet_protocol::overrides::{Override, OverrideAction};
use modelfleet_protocol::plan::{Order, Plan, Wanted};
use modelfleet_protocol::presence::Presence;
use modelfleet_protocol::selector::Labels;
use modelfleet_protocol::state::{
    Attempt, Capabilities, DeviceState, Failure, FailureCode, ModelState, Overridden, Phase, Running,
};
use modelfleet_protocol::topic::{Channel, Topic, trust_filter};
use modelfleet_protocol::trust::{PublicKey, Roots, TrustDocument, follow};
use prost::Message as _;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, MqttOptions};

fn now() -> modelfleet_protocol::time::Time {
    Clock::system().now()
}

/// How versions behave: share of windows with errors in percent, by version, or by version and age (`1.1.0 old`) for some
/// devices alone; 101: the model fails to load.
pub type Badness = Arc<Mutex<BTreeMap<String, u64>>>;

/// Devices behind one connection.
pub struct Fleet {
    namespace: Namespace,
    model: ModelName,
    devices: Vec<Device>,
    client: AsyncClient,
    badness: Badness,
    /// The newest plan, and the key that signed it.
    plan: Arc<Mutex<Option<(Plan, KeyId)>>>,
    /// Version of the trust document that all of them hold; `None`: they have no root keys.
    trust: Arc<Mutex<Option<u64>>>,
    /// The connection is new: what was on the way is lost.
    fresh: Arc<AtomicBool>,
    /// Every plan that came, newest last.
    pub plans: Arc<Mutex<Vec<Plan>>>,
    overrides: Arc<Mutex<BTreeMap<DeviceId, Override>>>,
    /// The version that each device runs.
    pub running: Arc<Mutex<BTreeMap<String, String>>>,
}

/// The signed plan that came last. A broker that sends none within two seconds gets it from some devices.
#[derive(Clone)]
struct Held {
    topics: Vec<String>,
    client: AsyncClient,
    /// The plan, and whether this connection's broker has sent one.
    newest: Arc<Mutex<(Vec<u8>, bool)>>,
}

impl Held {
    fn new(namespace: &str, model: &str, devices: usize, client: AsyncClient) -> Held {
        let topic = |i: usize| {
            let channel = Channel::HeldPlan(format!("pump-{i:03}").parse().unwrap(), model.parse().unwrap());
            Topic { namespace: namespace.parse().unwrap(), channel }.name()
        };
        Held { topics: (0..devices).map(topic).collect(), client, newest: Arc::default() }
    }

    fn came(&self, envelope: &[u8]) {
        *self.newest.lock().unwrap() = (envelope.to_vec(), true);
    }

    fn connected(&self) {
        self.newest.lock().unwrap().1 = false;
        let held = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let (envelope, came) = held.newest.lock().unwrap().clone();
            for topic in held.topics.iter().filter(|_| !came && !envelope.is_empty()) {
                held.client.publish(topic, QoS::AtLeastOnce, false, envelope.clone()).await.unwrap();
            }
        });
    }
}

/// Whose plans count.
enum Trusted {
    /// This key's.
    Key(VerifyingKey),
    /// Those of the keys in the document that these root keys have signed.
    Roots(Roots, Option<TrustDocument>),
}

impl Trusted {
    fn keys(&self) -> Vec<VerifyingKey> {
        match self {
            Trusted::Key(key) => vec![*key],
            Trusted::Roots(_, held) => {
                held.iter().flat_map(|held| &held.plan_keys).map(PublicKey::verifying).collect()
            }
        }
    }

    /// Follows a trust file; returns the version of the document that counts then.
    fn follow(&mut self, namespace: &str, file: &[u8]) -> Option<u64> {
        let Trusted::Roots(anchor, held) = self else { return None };
        let namespace = namespace.parse().unwrap();
        if let Ok(Some(newer)) = follow(anchor, held.as_ref(), Some(&namespace), file) {
            *held = Some(newer);
        }
        Some(held.as_ref().map_or(0, |held| held.version))
    }
}

struct Device {
    id: DeviceId,
    labels: Labels,
    sequence: u64,
    running: Option<(Running, String)>,
    attempt: Option<Attempt>,
    stable: Option<Digest>,
    /// The newest order of each key.
    seen: BTreeMap<KeyId, Order>,
    /// Order of the plan that it follows.
    order: Order,
    overridden: Option<Override>,
    reported: u64,
}

impl Device {
    fn new(i: usize) -> Device {
        Device {
            id: format!("pump-{i:03}").parse().unwrap(),
            labels: [("age", ["new", "old"][i % 2]), ("load", ["low", "mid", "high"][i % 3])]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
            sequence: now().0,
            running: None,
            attempt: None,
            stable: None,
            seen: BTreeMap::new(),
            order: Order::default(),
            overridden: None,
            reported: 0,
        }
    }
}

impl Fleet {
    /// `count` devices called `pump-000` and so on, connected to a broker on this port.
    pub fn new(namespace: &str, model: &str, count: usize, port: u16, key: VerifyingKey) -> Fleet {
        Fleet::start(namespace, model, count, port, Trusted::Key(key))
    }

    /// The same with root keys: they follow the trust document.
    pub fn rooted(namespace: &str, model: &str, count: usize, port: u16, roots: Roots) -> Fleet {
        Fleet::start(namespace, model, count, port, Trusted::Roots(roots, None))
    }

    fn start(namespace: &str, model: &str, count: usize, port: u16, mut trusted: Trusted) -> Fleet {
        let mut options = MqttOptions::new(format!("fleet-{namespace}-{port}"), "127.0.0.1", port);
        options.set_keep_alive(Duration::from_secs(30));
        options.set_max_packet_size(Some(500_000));
        let (client, mut events) = AsyncClient::new(options, 4096);
        let (plan, plans) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(Vec::new())));
        let (newest, all, subscriber) = (Arc::clone(&plan), Arc::clone(&plans), client.clone());
        let trust_topic = trust_filter(&namespace.parse().unwrap());
        let filters = [
            trust_topic.clone(),
            format!("mf/1/{namespace}/plan/+"),
            format!("mf/1/{namespace}/device/+/+/override"),
        ];
        let overrides = Arc::new(Mutex::new(BTreeMap::new()));
        let orders = Arc::clone(&overrides);
        let rooted = matches!(trusted, Trusted::Roots(..));
        let trust = Arc::new(Mutex::new(rooted.then_some(0)));
        let (held_trust, of) = (Arc::clone(&trust), namespace.to_owned());
        let fresh = Arc::new(AtomicBool::new(false));
        let connected = Arc::clone(&fresh);
        let held = Held::new(namespace, model, count.min(3), client.clone());
        tokio::spawn(async move {
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => {
                        held.connected();
                        for filter in &filters {
                            subscriber.try_subscribe(filter.clone(), QoS::AtLeastOnce).unwrap();
                        }
                        connected.store(true, Ordering::SeqCst);
                    }
                    Ok(Event::Incoming(Packet::Publish(message))) => {
                        if message.topic == trust_topic.as_bytes() {
                            *held_trust.lock().unwrap() = trusted.follow(&of, &message.payload);
                            connected.store(true, Ordering::SeqCst);
                            continue;
                        }
                        if let Ok(order) = open_override(&trusted.keys(), &message.payload) {
                            orders.lock().unwrap().insert(order.device.clone(), order);
                            continue;
                        }
                        let Ok(signed) = open_signed_plan(&trusted.keys(), &message.payload) else {
                            continue;
                        };
                        held.came(&message.payload);
                        all.lock().unwrap().push(signed.what.clone());
                        *newest.lock().unwrap() = Some((signed.what, signed.by));
                    }
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
                }
            }
        });
        Fleet {
            namespace: namespace.parse().unwrap(),
            model: model.parse().unwrap(),
            devices: (0..count).map(Device::new).collect(),
            client,
            badness: Badness::default(),
            plan,
            trust,
            fresh,
            plans,
            overrides,
            running: Arc::default(),
        }
    }

    /// How versions behave.
    pub fn badness(&self) -> Badness {
        Arc::clone(&self.badness)
    }

    /// Lives for ever: follows plans and reports windows.
    pub async fn live(mut self) {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if self.fresh.swap(false, Ordering::SeqCst) {
                for i in 0..self.devices.len() {
                    let presence = Presence { online: true, since: now(), connection: now().0, instance: 0 };
                    let channel = Channel::Presence(self.devices[i].id.clone());
                    self.publish(channel, serde_json::to_vec(&presence).unwrap()).await;
                    self.tell(i).await;
                }
            }
            let plan = self.plan.lock().unwrap().clone();
            let Some((plan, by)) = plan else { continue };
            for i in 0..self.devices.len() {
                self.obey(i).await;
                self.follow(i, &plan, by).await;
                self.report(i, &plan).await;
            }
        }
    }

    async fn publish(&self, channel: Channel, payload: Vec<u8>) {
        let topic = Topic { namespace: self.namespace.clone(), channel }.name();
        self.client.publish(topic, QoS::AtLeastOnce, true, payload).await.unwrap();
    }

    /// Takes the override that came last, and says so.
    async fn obey(&mut self, i: usize) {
        let device = &mut self.devices[i];
        let Some(order) = self.overrides.lock().unwrap().get(&device.id).cloned() else { return };
        let seen = device.overridden.as_ref().map(|seen| seen.order).unwrap_or_default();
        if !order.order.replaces(&seen) {
            return;
        }
        for named in &order.models {
            if let OverrideAction::Pin(build) = &named.action {
                let (digest, version) = (build.digest, build.version.clone());
                let running =
                    Running { digest, version, activated: now(), confirmed: true, engine: "Rten".into() };
                device.running = Some((running, String::new()));
            }
        }
        // What the plan says is worked out anew once nothing is ordered.
        device.seen.clear();
        device.overridden = Some(order);
        self.tell(i).await;
    }

    async fn follow(&mut self, i: usize, plan: &Plan, by: KeyId) {
        let device = &mut self.devices[i];
        if device.overridden.as_ref().is_some_and(|order| !order.models.is_empty()) {
            return;
        }
        if device.seen.get(&by).is_some_and(|seen| !plan.order.replaces(seen)) {
            return;
        }
        device.seen.insert(by, plan.order);
        device.order = plan.order;
        let before = (device.running.clone(), device.attempt.clone());
        let build = match plan.wanted(&device.id, &device.labels) {
            Wanted::Candidate(candidate) => {
                let known = device.attempt.as_ref().is_some_and(|a| a.rollout == candidate.rollout);
                if known || !candidate.admit {
                    return;
                }
                let load = self.badness.lock().unwrap().get(&candidate.build.version.to_string()).copied();
                let broken = load == Some(101);
                device.attempt = Some(Attempt {
                    rollout: candidate.rollout.clone(),
                    digest: candidate.build.digest,
                    phase: if broken { Phase::Failed } else { Phase::Confirmed },
                    fetched_bytes: candidate.build.size_bytes,
                    since: now(),
                    failure: broken.then(|| Failure::new(FailureCode::LoadRefused, "operator missing")),
                    waits: None,
                });
                if broken { None } else { Some((&candidate.build, candidate.rollout.clone())) }
            }
            Wanted::Stable(stable) => {
                device.stable = Some(stable.digest);
                Some((stable, String::new()))
            }
            // Of what nobody wants, a build goes on that a plan has called stable.
            Wanted::Nothing => {
                device.running.take_if(|(running, _)| device.stable != Some(running.digest));
                None
            }
        };
        let runs = |digest| device.running.as_ref().is_some_and(|(running, _)| running.digest == digest);
        if let Some((build, rollout)) = build.filter(|(build, _)| !runs(build.digest)) {
            let running = Running {
                digest: build.digest,
                version: build.version.clone(),
                activated: now(),
                confirmed: true,
                engine: "Rten".into(),
            };
            if let Some(attempt) = device.attempt.as_mut().filter(|_| rollout.is_empty()) {
                attempt.phase = Phase::RolledBack;
            }
            device.running = Some((running, rollout));
            device.reported = 0;
        }
        if before != (device.running.clone(), device.attempt.clone()) {
            self.tell(i).await;
        }
    }

    async fn tell(&mut self, i: usize) {
        let device = &mut self.devices[i];
        device.sequence += 1;
        let version = device.running.as_ref().map(|(running, _)| running.version.to_string());
        self.running.lock().unwrap().insert(device.id.to_string(), version.unwrap_or_default());
        let model = ModelState {
            model: self.model.clone(),
            plan: device.order,
            running: device.running.clone().map(|(running, _)| running),
            spare: None,
            candidate: device.attempt.clone(),
            reverts: 0,
        };
        let state = DeviceState {
            device: device.id.clone(),
            sequence: device.sequence,
            at: now(),
            agent: "test".into(),
            labels: device.labels.clone(),
            card: None,
            trust_version: *self.trust.lock().unwrap(),
            capabilities: Capabilities::default(),
            models: vec![model],
            overridden: device.overridden.as_ref().map(|order| Overridden {
                epoch: order.order.epoch,
                revision: order.order.revision,
                models: order.models.iter().map(|named| named.model.clone()).collect(),
            }),
        };
        let channel = Channel::State(device.id.clone());
        self.publish(channel, serde_json::to_vec(&state).unwrap()).await;
    }

    async fn report(&mut self, i: usize, plan: &Plan) {
        let device = &mut self.devices[i];
        let Some((running, rollout)) = device.running.clone() else { return };
        let (window_ms, indicators) = (plan.observe.window_ms, plan.observe.indicators.len());
        let end = now().window_index(window_ms);
        if indicators == 0 || end <= device.reported {
            return;
        }
        device.reported = end;
        device.sequence += 1;
        let since = running.activated.max(plan.observe.since);
        let first = since.0.div_ceil(window_ms).max(end.saturating_sub(60));
        let of_age = format!("{} {}", running.version, device.labels["age"]);
        let badness = self.badness.lock().unwrap().clone();
        let bad = badness.get(&of_age).or_else(|| badness.get(&running.version.to_string()));
        let bad = bad.copied().unwrap_or(1);
        let is_bad = |index: u64| (index * 37 + i as u64 * 17) % 100 < bad;
        let tally = |bad: bool| {
            let mut tally = Tally { known: vec![1; indicators], bad: vec![0; indicators] };
            tally.bad[0] = u32::from(bad);
            tally
        };
        let mut latency = LatencyHistogram::default();
        latency.add(5_000_000 + 100_000 * i as u64, 95);
        latency.add(40_000_000, 5);
        let window = |index| Window {
            index,
            span: 1,
            tally: Some(tally(is_bad(index))),
            counters: Some(Counters {
                requests: 100,
                errors: if is_bad(index) { 10 } else { 0 },
                true_positive: 9,
                false_negative: 1,
                true_negative: 85,
                false_positive: 5,
                available_ms: window_ms,
                observed_ms: window_ms,
                ..Counters::default()
            }),
            latency: Some((&latency).into()),
            ..Window::default()
        };
        let mut past = Tally { known: vec![200; indicators], bad: vec![0; indicators] };
        past.bad[0] = 2;
        let report = Report {
            device: device.id.to_string(),
            namespace: self.namespace.to_string(),
            model: self.model.to_string(),
            digest: running.digest.0.to_vec(),
            rollout,
            sequence: device.sequence,
            sent_at_ms: now().0,
            activated_at_ms: running.activated.0,
            window_ms,
            observe_id: plan.observe.id(),
            windows: (first..end).map(window).collect(),
            history: Some(History { tally: Some(past), ..History::default() }),
            plan_epoch: device.order.epoch,
            plan_revision: device.order.revision,
        };
        let channel = Channel::Report(device.id.clone(), self.model.clone());
        self.publish(channel, report.encode_to_vec()).await;
    }
}
