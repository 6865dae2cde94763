use ed25519_dalek::SigningKey;
use modelfleet_crds::DeviceOrderSpec;
use modelfleet_fleet::SingleDevices;
use modelfleet_protocol::envelope::{OVERRIDE_TYPE, seal};
use modelfleet_protocol::plan::Order;
use serde_json::{Value, json};

use super::*;

const NOW: Time = Time(1_800_000_000_000);

/// One device, its objects, and the broker that it is connected to.
struct World {
    device: DeviceId,
    objects: Vec<Arc<DeviceOrder>>,
    versions: Vec<Arc<ModelVersion>>,
    models: Option<Vec<(ModelName, Option<Digest>)>>,
    single: SingleDevices,
    elsewhere: bool,
    now: Time,
    /// What was announced.
    announced: Vec<&'static str>,
}

impl World {
    fn new(orders: Value) -> World {
        let model = ("m".parse().unwrap(), Some(Digest::of(b"1.0.0")));
        World {
            device: "pump-1".parse().unwrap(),
            objects: vec![object("pump-1", 1, orders)],
            versions: [
                ("1.0.0", "Archived"),
                ("1.1.0", "Production"),
                ("1.2.0", "Rejected"),
                ("1.3.0", "Registered"),
            ]
            .map(|(version, stage)| registered(version, stage))
            .to_vec(),
            models: Some(vec![model]),
            single: SingleDevices::default(),
            elsewhere: false,
            now: NOW,
            announced: Vec::new(),
        }
    }

    fn decide(&mut self) -> DeviceDecision {
        let version = |model: &str, version: &str| {
            let of = |v: &&Arc<ModelVersion>| v.spec.model == model && v.spec.version == version;
            self.versions.iter().find(of).cloned()
        };
        let snapshot = DeviceSnapshot {
            device: &self.device,
            objects: &self.objects,
            models: self.models.clone(),
            elsewhere: self.elsewhere,
            told: self.single.told(&self.device),
            newest: self.single.newest(&self.device).map(AsRef::as_ref),
            occupied: self.single.is_occupied(&self.device),
            retired: self.single.retired(&self.device),
            version: &version,
        };
        decide_device(&snapshot, self.now)
    }

    /// Carries a decision out, as the shell does, and lets the broker send back what it holds.
    fn turn(&mut self) -> DeviceDecision {
        let decision = self.decide();
        let signer = SigningKey::from_bytes(&[7; 32]);
        let namespace = "plant".parse().unwrap();
        match &decision.wanted {
            Wanted::Unchanged => {}
            Wanted::Send(models) => {
                let revision = self.single.newest(&self.device).map_or(0, |newest| newest.order.revision) + 1;
                let order = Order { epoch: 5, revision, issued: self.now, expires: Time(u64::MAX) };
                let sent = Override { namespace, device: self.device.clone(), order, models: models.clone() };
                if self.single.newest(&self.device).is_none_or(|newest| newest.models != *models) {
                    let bytes = seal(&signer, OVERRIDE_TYPE, &serde_json::to_vec(&sent).unwrap());
                    let plant = "plant".parse().unwrap();
                    self.single.take((&signer.verifying_key(), &[]), &plant, &self.device, &bytes);
                }
            }
            Wanted::Nothing => self.single.note_cleared(&self.device),
            Wanted::Cleared => {
                self.single.note_retired_cleared(&self.device, self.now);
                self.models = None;
            }
        }
        for (object, status) in &decision.statuses {
            let name = object.name_any();
            let place = self.objects.iter_mut().find(|one| one.name_any() == name).unwrap();
            let before = place.status.clone().unwrap_or_default();
            let events = order_events(&before, status, self.now);
            self.announced.extend(events.iter().map(|event| event.reason));
            Arc::make_mut(place).status = Some(status.clone());
        }
        decision
    }

    /// The device takes what the broker holds.
    fn take(&mut self) {
        let newest = self.single.newest(&self.device).unwrap().clone();
        let models = newest.models.iter().map(|order| order.model.clone()).collect();
        for order in &newest.models {
            if let OverrideAction::Pin(build) = &order.action {
                self.models = Some(vec![(order.model.clone(), Some(build.digest))]);
            }
        }
        let told = Overridden { epoch: newest.order.epoch, revision: newest.order.revision, models };
        self.single.note_told(&self.device, Some(told));
    }

    fn edit(&mut self, edit: impl FnOnce(&mut DeviceOrderSpec)) {
        edit(&mut Arc::make_mut(&mut self.objects[0]).spec);
    }

    fn status(&self) -> DeviceOrderStatus {
        self.objects[0].status.clone().expect("a status")
    }

    /// Type, whether it holds, and reason of each condition.
    fn said(&self) -> Vec<(String, bool, String)> {
        let of = |c: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
            (c.type_.clone(), c.status == "True", c.reason.clone())
        };
        self.status().conditions.iter().map(of).collect()
    }
}

fn object(name: &str, created_s: u32, orders: Value) -> Arc<DeviceOrder> {
    let mut spec = orders;
    spec["device"] = json!("pump-1");
    let object = json!({
        "apiVersion": "modelfleet.io/v1alpha1", "kind": "DeviceOrder",
        "metadata": {
            "name": name, "namespace": "plant", "generation": 1,
            "creationTimestamp": format!("2026-01-01T00:00:{created_s:02}Z"),
            "annotations": {"modelfleet.io/given-by": "maria"},
        },
        "spec": spec,
    });
    Arc::new(serde_json::from_value(object).unwrap())
}

fn registered(version: &str, stage: &str) -> Arc<ModelVersion> {
    let object = json!({
        "apiVersion": "modelfleet.io/v1alpha1", "kind": "ModelVersion",
        "metadata": {"name": format!("m-{version}"), "namespace": "plant"},
        "spec": {"model": "m", "version": version, "artifact": {
            "uri": "file:///m.onnx", "digest": Digest::of(version.as_bytes()).to_string(), "sizeBytes": 1,
        }},
        "status": {"stage": stage, "message": "it did harm."},
    });
    Arc::new(serde_json::from_value(object).unwrap())
}

fn is(kind: &str, holds: bool, reason: &str) -> (String, bool, String) {
    (kind.to_owned(), holds, reason.to_owned())
}

#[test]
fn a_pin_is_sent_taken_released_and_cleared() {
    let mut world =
        World::new(json!({"models": [{"model": "m", "pin": "1.1.0", "reason": "valve repaired"}]}));
    let decision = world.turn();
    assert!(matches!(&decision.wanted, Wanted::Send(models) if models.len() == 1));
    assert_eq!(decision.directed, ["m".parse().unwrap()], "it counts in no rollout of the model from now on");
    world.turn();
    assert_eq!(world.said(), [is("Sent", true, "AtBroker"), is("Taken", false, "WaitsForDevice")]);
    world.take();
    assert_eq!(stand(&world.objects[0]), "waiting");
    world.turn();
    assert_eq!(world.said(), [is("Sent", true, "AtBroker"), is("Taken", true, "Taken")]);
    assert_eq!(stand(&world.objects[0]), "taken");
    assert_eq!(world.turn().statuses.len(), 0, "nothing is written twice");
    let record = world.status().history.last().cloned().unwrap();
    let told = (record.by.as_str(), record.order.as_str(), record.reason.as_str());
    assert_eq!(told, ("maria", "pin m 1.1.0", "valve repaired"));
    world.edit(|spec| spec.models.clear());
    assert_eq!(world.turn().wanted, Wanted::Send(vec![]), "the device must hear it");
    world.turn();
    assert_eq!(world.said()[1], is("Taken", false, "WaitsForDevice"));
    world.take();
    assert_eq!(world.turn().wanted, Wanted::Nothing, "nothing lies at the broker for it any more");
    world.turn();
    assert_eq!(world.said(), [is("Sent", true, "Released"), is("Taken", true, "FollowsPlans")]);
    assert_eq!(world.turn().wanted, Wanted::Unchanged);
    assert_eq!(world.status().history.len(), 2);
    assert_eq!(world.announced, ["OrderTaken", "OrderEnded"], "waiting is not announced");
}

/// The object is deleted, and with it what it said: broker and device know enough.
#[test]
fn a_deleted_order_is_released_from_what_broker_and_device_say() {
    for broker_forgets in [false, true] {
        let mut world = World::new(json!({"models": [{"model": "m", "hold": true}]}));
        world.turn();
        world.take();
        world.objects.clear();
        if broker_forgets {
            world.single.reconnect();
        }
        assert_eq!(world.turn().wanted, Wanted::Send(vec![]), "broker forgets: {broker_forgets}");
        world.take();
        assert_eq!(world.turn().wanted, Wanted::Nothing);
        assert_eq!(world.turn().wanted, Wanted::Unchanged);
    }
}

#[test]
fn a_broker_without_memory_gets_the_order_again() {
    let mut world = World::new(json!({"models": [{"model": "m", "hold": true}]}));
    world.turn();
    world.take();
    world.turn();
    world.single.reconnect();
    assert!(matches!(&world.turn().wanted, Wanted::Send(models) if models.len() == 1));
}

#[test]
fn an_order_ends_when_its_time_is_over() {
    let mut world =
        World::new(json!({"models": [{"model": "m", "hold": true, "until": "2027-01-15T08:01:00Z"}]}));
    let decision = world.turn();
    assert_eq!(decision.wake_at, Some(Time(NOW.0 + 60_000)));
    world.take();
    world.now = Time(NOW.0 + 60_000);
    let decision = world.turn();
    assert_eq!((decision.wanted, decision.wake_at), (Wanted::Send(vec![]), None));
    assert!(decision.directed.is_empty());
}

/// Each is told in one plain line, and stops none of the others.
#[test]
fn what_cannot_be_sent_is_told_and_stops_no_other() {
    let cases = [
        (
            json!({"model": "m", "pin": "1.2.0"}),
            "RejectedVersion",
            "Version 1.2.0 of m was rejected (it did harm); pin",
        ),
        (
            json!({"model": "m", "pin": "1.3.0"}),
            "UncheckedVersion",
            "Version 1.3.0 of m has not been checked yet;",
        ),
        (
            json!({"model": "m", "pin": "9.0.0"}),
            "UnknownVersion",
            "Version 9.0.0 of m is not registered in this",
        ),
        (
            json!({"model": "n", "hold": true}),
            "ModelNotOnDevice",
            "Device pump-1 has no model n; correct the name,",
        ),
    ];
    for (order, reason, line) in cases {
        let mut world = World::new(json!({"models": [order, {"model": "o", "hold": true}]}));
        world.models.as_mut().unwrap().push(("o".parse().unwrap(), None));
        let decision = world.turn();
        assert!(matches!(&decision.wanted, Wanted::Send(models) if models.len() == 1), "{reason}");
        assert_eq!(decision.directed, ["o".parse().unwrap()], "{reason}");
        assert_eq!(world.said()[0], is("Sent", false, reason));
        assert_eq!((stand(&world.objects[0]), &world.announced[..]), ("not_sent", &["OrderNotSent"][..]));
        let message = world.status().message.unwrap();
        assert!(message.starts_with(line), "{message}");
    }
}

#[test]
fn a_device_that_is_not_known_here_gets_nothing_until_it_is() {
    for (elsewhere, reason) in [(false, "UnknownDevice"), (true, "DeviceOfAnotherNamespace")] {
        let mut world = World::new(json!({"models": [{"model": "m", "hold": true}]}));
        let models = world.models.take();
        world.elsewhere = elsewhere;
        assert_eq!(world.turn().wanted, Wanted::Unchanged);
        assert_eq!(world.said()[0], is("Sent", false, reason));
        world.models = models;
        assert!(matches!(world.turn().wanted, Wanted::Send(_)));
    }
}

#[test]
fn of_two_orders_for_a_device_the_older_one_counts() {
    let mut world = World::new(json!({"models": [{"model": "m", "hold": true}]}));
    world.objects.insert(0, object("another", 9, json!({"retired": true})));
    let decision = world.turn();
    assert!(!decision.retired && matches!(decision.wanted, Wanted::Send(_)));
    let status = world.status();
    assert_eq!(world.said(), [is("Sent", false, "OlderOrderCounts")]);
    assert!(status.message.unwrap().contains("DeviceOrder pump-1 names device pump-1 already"));
}

/// Case 18: a device that is gone for good.
#[test]
fn a_retired_device_is_cleared_once_and_named_when_it_speaks_again() {
    let mut world = World::new(json!({"models": [{"model": "m", "hold": true}], "retired": true}));
    let decision = world.turn();
    assert!(decision.retired && decision.wanted == Wanted::Cleared && decision.directed.is_empty());
    let message = world.status().message.unwrap();
    assert!(
        message.contains("counts nowhere") && message.contains("orders about models are not sent"),
        "{message}"
    );
    assert_eq!(world.turn().wanted, Wanted::Unchanged, "once");
    assert_eq!(world.said(), [is("Sent", true, "Cleared"), is("HeardAgain", false, "Silent")]);
    assert_eq!(stand(&world.objects[0]), "retired");
    // Its last will comes to the broker, and again and again.
    let mut clearings = 0;
    for second in 1..=600 {
        world.now = Time(NOW.0 + second * 1_000);
        world.single.note_heard(&world.device.clone(), world.now, false);
        let decision = world.turn();
        clearings += u32::from(decision.wanted == Wanted::Cleared);
        assert!(decision.wanted == Wanted::Cleared || decision.wake_at > Some(world.now));
    }
    assert_eq!(clearings, 5, "after 10, 20, 40, 80 and 160 s more");
    // It speaks.
    world.now = Time(NOW.0 + 700_000);
    assert_eq!(world.turn().wanted, Wanted::Cleared);
    world.single.note_heard(&world.device.clone(), Time(NOW.0 + 700_001), true);
    assert_eq!(world.turn().wanted, Wanted::Unchanged, "it is not cleared while it speaks");
    assert_eq!(world.said()[1], is("HeardAgain", true, "DeviceSpeaks"));
    assert!(world.status().message.unwrap().contains("kubectl modelfleet retire pump-1 --undo"));
    assert_eq!(stand(&world.objects[0]), "heard_again");
    assert_eq!(world.announced, ["DeviceRetired", "RetiredDeviceHeard"]);
    // A controller that starts anew does not clear again.
    assert_eq!(cleared_at(&world.objects[0]), Some(NOW));
    world.edit(|spec| spec.retired = false);
    assert!(!world.turn().retired);
    assert_eq!(cleared_at(&world.objects[0]), None);
}
