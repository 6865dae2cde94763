//! A trust document between the controller, the broker and pretended devices that follow it: a plan key is replaced and a stolen
//! one made worthless while devices run, and versions are forbidden for good.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ed25519_dalek::{SigningKey, VerifyingKey};
use modelfleet_controller::keys;
use modelfleet_protocol::envelope::{KeyId, PLAN_TYPE, open_plan, seal};
use modelfleet_protocol::floor::SecurityFloors;
use modelfleet_protocol::observe::Observe;
use modelfleet_protocol::plan::{EPOCH_MAX, Order, Plan, REVISION_MAX, to_json};
use modelfleet_protocol::time::Time;
use modelfleet_protocol::topic::{Channel, Topic};
use modelfleet_protocol::trust::{Roots, TRUST_TYPE, TrustDocument, append};
use modelfleet_test_support::wait::wait;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};

use crate::fleet::Fleet;
use crate::plant::Plant;

const LONG: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_secs(60);
const DEVICES: usize = 12;
const YEAR_MS: u64 = 365 * 24 * 3_600_000;

fn root() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn roots() -> Roots {
    Roots { keys: vec![root().verifying_key().into()], threshold: 1 }
}

fn now() -> Time {
    modelfleet_controller::clock::Clock::system().now()
}

/// A document with these plan keys, and these revoked.
fn document(version: u64, plan_keys: &[VerifyingKey], revoked: &[VerifyingKey]) -> TrustDocument {
    TrustDocument {
        version,
        namespace: None,
        issued: now(),
        expires: now().after_ms(YEAR_MS),
        roots: roots(),
        plan_keys: plan_keys.iter().map(|&key| key.into()).collect(),
        artifact_keys: vec![],
        enrolment_keys: vec![],
        revoked: revoked.iter().map(KeyId::of).collect(),
        floors: SecurityFloors::default(),
    }
}

/// The trust file with one more document.
fn appended(file: &[u8], document: &TrustDocument) -> Vec<u8> {
    append(file, &seal(&root(), TRUST_TYPE, &serde_json::to_vec(document).unwrap())).unwrap()
}

/// Puts a file in the place of another as a whole, as Kubernetes does with what it mounts.
fn put(dir: &Path, name: &str, bytes: &[u8]) {
    std::fs::write(dir.join("beside"), bytes).unwrap();
    std::fs::rename(dir.join("beside"), dir.join(name)).unwrap();
}

/// A plant whose controller has a trust document, with the trust file.
async fn trusting(name: &str) -> (Plant, Vec<u8>) {
    let mut file = Vec::new();
    let plant = Plant::start_with(name, |dir, key| {
        file = appended(&[], &document(1, &[key], &[]));
        put(dir, "trust.json", &file);
        put(dir, "roots.json", &serde_json::to_vec(&roots()).unwrap());
        let flag = |flag: &str, name: &str| [flag.to_owned(), dir.join(name).display().to_string()];
        [flag("--trust-document", "trust.json"), flag("--trust-root", "roots.json")].concat()
    })
    .await;
    (plant, file)
}

/// Devices that follow the trust document; returns the plans that they take.
fn devices(plant: &Plant) -> Arc<Mutex<Vec<Plan>>> {
    let fleet = Fleet::rooted(&plant.namespace, "m", DEVICES, plant.broker.port(), roots());
    let plans = Arc::clone(&fleet.plans);
    tokio::spawn(fleet.live());
    plans
}

impl Plant {
    /// Waits until all devices are said to hold this document.
    async fn wait_held(&self, version: &str, document: i64) {
        let held = async || {
            let status = self.rollouts().get(&format!("r-{version}")).await.unwrap().status?;
            let trust = status.trust?;
            (trust.version == document && trust.connected.current == DEVICES as i64).then_some(())
        };
        self.eventually(&format!("all to hold document {document}"), SOON, held).await;
        let told = self.condition(version, "TrustDocument").await.unwrap();
        println!("{told}");
        assert!(told.contains(&format!("{DEVICES} of {DEVICES} connected devices")), "{told}");
    }

    /// Retains something on a topic of this fleet, as another client.
    async fn retain(&self, channel: Channel, payload: Vec<u8>) {
        let topic = Topic { namespace: self.namespace.parse().unwrap(), channel }.name();
        let (client, mut events) = self.connect("thief");
        client.publish(topic, QoS::AtLeastOnce, true, payload).await.unwrap();
        while !matches!(events.poll().await.unwrap(), Event::Incoming(Packet::PubAck(_))) {}
    }

    /// What the broker retains on a topic of this fleet.
    async fn retained(&self, channel: Channel) -> Vec<u8> {
        let topic = Topic { namespace: self.namespace.parse().unwrap(), channel }.name();
        let (client, mut events) = self.connect("reader");
        client.subscribe(topic, QoS::AtLeastOnce).await.unwrap();
        let read = async {
            loop {
                if let Event::Incoming(Packet::Publish(message)) = events.poll().await.unwrap() {
                    return message.payload.to_vec();
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), read).await.unwrap_or_default()
    }

    /// Waits until the broker retains this.
    async fn wait_retained(&self, channel: Channel, wanted: &[u8]) {
        let holds = async || (self.retained(channel.clone()).await == wanted).then_some(());
        self.eventually("the controller to put its own in its place", SOON, holds).await;
    }

    /// Waits for a plan after the first `so_far` that is above those from `first` on.
    async fn wait_obeyed_after(&self, plans: &Mutex<Vec<Plan>>, so_far: usize, first: usize) {
        let newer = async || {
            let plans = plans.lock().unwrap();
            let newest = |plans: &[Plan]| plans.iter().map(|plan| plan.order).max();
            (newest(&plans[so_far..]) > newest(&plans[first..so_far])).then_some(())
        };
        self.eventually("a plan of the next leader", SOON, newer).await;
    }

    fn connect(&self, name: &str) -> (AsyncClient, EventLoop) {
        let mut options = MqttOptions::new(name, "127.0.0.1", self.broker.port());
        options.set_max_packet_size(Some(500_000));
        AsyncClient::new(options, 16)
    }

    /// Gives the controller another trust file.
    fn trust(&self, file: &[u8]) {
        put(self.dir.path(), "trust.json", file);
    }

    /// From its next start on the controller signs with another key.
    fn new_plan_key(&self) -> VerifyingKey {
        let path = self.dir.path().join("plan-2.key");
        keys::generate(&path).unwrap();
        std::fs::rename(&path, self.dir.path().join("plan.key")).unwrap();
        keys::read(&self.dir.path().join("plan.key")).unwrap().verifying_key()
    }

    /// Waits until the controller has ended by itself.
    fn wait_ended(&mut self) -> String {
        wait("the controller to end", || (!self.controller.is_running()).then_some(()));
        self.controller.log()
    }
}

/// What a thief of a plan key signs: nothing to run.
fn theft(plant: &Plant, by: &SigningKey, epoch: u64, revision: u64) -> Vec<u8> {
    let plan = Plan {
        namespace: plant.namespace.parse().unwrap(),
        model: "m".parse().unwrap(),
        order: Order { epoch, revision, issued: now(), expires: now().after_ms(YEAR_MS) },
        stable: None,
        stable_for: vec![],
        candidate: None,
        rejected: vec![],
        fetch: None,
        observe: Observe { window_ms: 1_000, ..Observe::default() },
    };
    seal(by, PLAN_TYPE, &to_json(&plan))
}

fn plan_topic() -> Channel {
    Channel::Plan("m".parse().unwrap())
}

/// The key is replaced step by step while devices run; then the old one is revoked, and what its thief signs stops no device. A
/// controller that is started with an older document goes back to nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_plan_key_is_replaced_and_a_thief_of_the_old_one_stops_no_device() {
    let (mut plant, first) = trusting("rotation").await;
    let old = keys::read(&plant.dir.path().join("plan.key")).unwrap();
    let plans = devices(&plant);
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        plant.register(version).await;
    }
    plant.roll_out("1.0.0").await;
    plant.wait("1.0.0", "Succeeded", LONG).await;
    plant.wait_held("1.0.0", 1).await;
    // Both keys count before the controller signs with the new one.
    let new = plant.new_plan_key();
    let second = appended(&first, &document(2, &[old.verifying_key(), new], &[]));
    plant.trust(&second);
    plant.wait_held("1.0.0", 2).await;
    plant.restart_controller();
    plant.roll_out("1.1.0").await;
    plant.wait("1.1.0", "Succeeded", LONG).await;
    let third = appended(&second, &document(3, &[new], &[old.verifying_key()]));
    plant.trust(&third);
    plant.wait_held("1.1.0", 3).await;
    assert_eq!(plant.retained(Channel::Trust).await, third);

    let before = plans.lock().unwrap().len();
    for (epoch, revision) in
        [(u64::MAX, u64::MAX), (EPOCH_MAX - 1, REVISION_MAX - 1), (EPOCH_MAX, REVISION_MAX)]
    {
        plant.retain(plan_topic(), theft(&plant, &old, epoch, revision)).await;
    }
    // The controller goes on, and puts its own plan in the place of the thief's.
    plant.wait_obeyed(&plans, before).await;
    plant.roll_out("1.2.0").await;
    plant.wait("1.2.0", "Succeeded", LONG).await;
    let stolen = |plan: &Plan| plan.order.epoch >= EPOCH_MAX - 1;
    assert!(!plans.lock().unwrap().iter().any(stolen), "a device took what the thief signed");

    // The thief also puts the older document back, and an operator starts the controller with it.
    plant.retain(Channel::Trust, second.clone()).await;
    plant.wait_retained(Channel::Trust, &third).await;
    plant.controller.kill();
    plant.trust(&second);
    plant.retain(plan_topic(), theft(&plant, &old, EPOCH_MAX - 1, 1)).await;
    let before = plans.lock().unwrap().len();
    plant.start_controller();
    plant.wait_obeyed(&plans, before).await;
    plant.wait_held("1.2.0", 3).await;
    assert_eq!(plant.retained(Channel::Trust).await, third);
    assert!(plant.controller.is_running());
    assert!(plant.controller.log().contains("a newer trust document counts"), "{}", plant.controller.log());
    assert!(plant.metrics().contains("modelfleet_trust_document_version{"), "{}", plant.metrics());
}

/// The key that is in use is stolen, and devices have taken what the thief signed. One document and a new key, and they follow
/// the controller again.
#[tokio::test(flavor = "multi_thread")]
async fn devices_that_took_the_plan_of_a_thief_are_won_back_by_one_document() {
    let (mut plant, first) = trusting("stolen").await;
    let old = keys::read(&plant.dir.path().join("plan.key")).unwrap();
    let plans = devices(&plant);
    for version in ["1.0.0", "1.1.0"] {
        plant.register(version).await;
    }
    plant.roll_out("1.0.0").await;
    plant.wait("1.0.0", "Succeeded", LONG).await;
    plant.retain(plan_topic(), theft(&plant, &old, EPOCH_MAX - 1, REVISION_MAX)).await;
    let taken = |plan: &Plan| plan.order.epoch == EPOCH_MAX - 1;
    let took = async || plans.lock().unwrap().iter().any(taken).then_some(());
    plant.eventually("devices to take the plan of the thief", SOON, took).await;
    // The controller follows no epoch that no leader can have, and puts its own plan in the place of the thief's.
    let ours = async || {
        let plan = open_plan(&[old.verifying_key()], &plant.retained(plan_topic()).await);
        plan.ok().filter(|plan| !taken(plan))
    };
    plant.eventually("the controller to put its plan back", SOON, ours).await;
    assert!(plant.controller.is_running());
    // With a document that revokes its key it ends, and does not start again.
    let other = SigningKey::from_bytes(&[9; 32]).verifying_key();
    let second = appended(&first, &document(2, &[other], &[old.verifying_key()]));
    plant.trust(&second);
    let told = plant.wait_ended();
    assert!(told.contains("revokes the plan key") && told.contains("trust add --plan-key"), "{told}");
    plant.start_controller();
    plant.wait_ended();
    // With the new key devices follow again, from where they were.
    let new = plant.new_plan_key();
    plant.trust(&appended(&second, &document(3, &[new], &[old.verifying_key()])));
    let before = plans.lock().unwrap().len();
    plant.start_controller();
    plant.wait_held("1.0.0", 3).await;
    plant.roll_out("1.1.0").await;
    plant.wait("1.1.0", "Succeeded", LONG).await;
    // A leader after it is obeyed as well.
    let so_far = plans.lock().unwrap().len();
    plant.restart_controller();
    plant.wait_obeyed_after(&plans, so_far, before).await;
    let last = plans.lock().unwrap()[before..].last().cloned().unwrap();
    assert_eq!(last.stable.unwrap().version.to_string(), "1.1.0");
}

/// A version below the floor is refused, and no plan names it any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_below_the_floor_is_not_rolled_out_and_leaves_the_plan() {
    let (plant, first) = trusting("floor").await;
    let plans = devices(&plant);
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        plant.register(version).await;
    }
    plant.roll_out("1.0.0").await;
    plant.wait("1.0.0", "Succeeded", LONG).await;
    let floors = SecurityFloors::of([("m".parse().unwrap(), "1.2.0".parse().unwrap())]);
    plant.trust(&appended(&first, &TrustDocument { floors, ..document(2, &[plant.key], &[]) }));
    plant.wait_held("1.0.0", 2).await;
    let left = async || plans.lock().unwrap().last().is_some_and(|plan| plan.stable.is_none()).then_some(());
    plant.eventually("the plan to name 1.0.0 no more", SOON, left).await;
    let before = plans.lock().unwrap().len();
    plant.roll_out("1.1.0").await;
    let refused = |_: &str, what: &str| {
        what.contains("1.1.0 may not run: trust document 2 forbids versions of m below 1.2.0 for good")
    };
    plant.wait_for("1.1.0", SOON, refused).await;
    assert!(plant.condition("1.1.0", "Stalled").await.is_some());
    let told = async || {
        let conditions = plant.versions().get("m-1.1.0").await.unwrap().status?.conditions;
        conditions.into_iter().find(|c| c.type_ == "BelowFloor" && c.status == "True").map(|c| c.message)
    };
    let told = plant.eventually("the version to say that it is forbidden", SOON, told).await;
    assert!(told.contains("Version 1.1.0 may not run any more"), "{told}");
    plant.roll_out("1.2.0").await;
    plant.wait("1.2.0", "Succeeded", LONG).await;
    let plans = plans.lock().unwrap();
    let after = &plans[before..];
    assert_eq!(after.last().unwrap().stable.as_ref().unwrap().version.to_string(), "1.2.0");
    let named: Vec<String> = after.iter().flat_map(Plan::builds).map(|b| b.version.to_string()).collect();
    assert!(!named.is_empty() && named.iter().all(|version| version == "1.2.0"), "{named:?}");
}
