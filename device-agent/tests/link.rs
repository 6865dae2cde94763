//! The connection of a device to brokers that refuse things.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use ed25519_dalek::{SigningKey, VerifyingKey};
use modelfleet_agent::mqtt::{Backoff, HeldPlans, Inbox, Item, Link, LinkEvent, Outbox, Settings};
use modelfleet_agent_core::trust::{Keyring, RootKeys};
use modelfleet_protocol::envelope::{PLAN_TYPE, seal};
use modelfleet_protocol::presence::Presence;
use modelfleet_protocol::time::Time;
use modelfleet_protocol::trust::PublicKey;
use modelfleet_test_support::pump_plan::{MODEL, NAMESPACE, roots, trust_file};
use modelfleet_test_support::wait::LIMIT;
use modelfleet_test_support::wire::{Peer, Terms, Wire};
use rumqttc::v5::mqttbytes::v5::{Packet, Publish};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const GRANTED: [u8; 2] = [1, 1];
const NOT_AUTHORIZED: [u8; 2] = [1, 0x87];
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// A connection under way.
struct Line {
    runtime: Option<tokio::runtime::Runtime>,
    outbox: Arc<Outbox>,
    events: mpsc::Receiver<LinkEvent>,
    stop: CancellationToken,
}

impl Line {
    /// Connects a device to the broker; `outbox` is what it has to say.
    fn to(wire: &Wire, outbox: Outbox) -> Line {
        Line::trusting(wire, outbox, Vec::new(), HeldPlans::none())
    }

    /// The same for a device that trusts these keys.
    fn trusting(wire: &Wire, outbox: Outbox, keys: Vec<VerifyingKey>, held: HeldPlans) -> Line {
        Line::with(wire, outbox, Inbox::trusting(keys), held)
    }

    /// The same for a device that opens messages with this inbox.
    fn with(wire: &Wire, outbox: Outbox, inbox: Inbox, held: HeldPlans) -> Line {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let (outbox, stop) = (Arc::new(outbox), CancellationToken::new());
        let (sender, mut told) = mpsc::channel(32);
        let (will, wills) = mpsc::channel(1);
        let backoff = Backoff { first: FIRST_WAIT, spread: Duration::ZERO, ..Backoff::default() };
        let link = Link {
            settings: Settings {
                host: "127.0.0.1".into(),
                port: wire.port(),
                tls: None,
                credentials: None,
                namespace: NAMESPACE.parse().unwrap(),
                device: "pump-001".parse().unwrap(),
                keep_alive: KEEP_ALIVE,
                backoff,
            },
            outbox: outbox.clone(),
            inbox: Arc::new(inbox),
            held: Arc::new(held),
            events: sender,
            wills,
        };
        runtime.spawn(link.run(stop.clone()));
        let (passed_on, events) = mpsc::channel(32);
        runtime.spawn(async move {
            while let Some(event) = told.recv().await {
                let presence = Presence { online: false, since: Time::ZERO, connection: 1, instance: 0 };
                match event {
                    LinkEvent::Connecting => will.send(presence).await.unwrap(),
                    other => passed_on.send(other).await.unwrap(),
                }
            }
        });
        Line { runtime: Some(runtime), outbox, events, stop }
    }

    /// What the agent is told next.
    fn told(&mut self) -> LinkEvent {
        let next = async { tokio::time::timeout(LIMIT, self.events.recv()).await };
        self.runtime.as_ref().unwrap().block_on(next).expect("an event in time").unwrap()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.stop.cancel();
        self.runtime.take().unwrap().shutdown_background();
    }
}

fn report() -> Item {
    Item::Report(MODEL.parse().unwrap())
}

#[test]
fn a_refused_subscription_is_no_contact_and_ends_the_connection() {
    let wire = Wire::start();
    let mut line = Line::to(&wire, Outbox::default());
    let mut began = Instant::now();
    for attempt in 0..3 {
        let mut peer = wire.accept(Terms::default());
        assert!(began.elapsed() >= FIRST_WAIT / 2 * attempt, "{attempt} after {:?}", began.elapsed());
        began = Instant::now();
        let (number, _) = peer.subscription();
        peer.answer_subscription(number, &NOT_AUTHORIZED);
        assert!(peer.next().is_none(), "the device hangs up");
    }
    let mut peer = wire.accept(Terms::default());
    let (number, _) = peer.subscription();
    peer.answer_subscription(number, &GRANTED);
    assert!(matches!(line.told(), LinkEvent::Connected), "of four connections the last one counts");
}

#[test]
fn nothing_is_said_before_the_subscription_stands() {
    let wire = Wire::start();
    let outbox = Outbox::default();
    outbox.put(Item::State, b"state".to_vec());
    let mut line = Line::to(&wire, outbox);
    let mut peer = wire.accept(Terms::default());
    let (number, _) = peer.subscription();
    // A message of the broker: what is answered to it would come after anything that was sent before.
    let topic = plan_topic();
    let length = 2 + topic.len() + 2 + 1;
    let head = [0x32, length as u8, 0, topic.len() as u8];
    peer.send(&[&head[..], topic.as_bytes(), &[0, 7, 0]].concat());
    let answer = peer.next();
    assert!(matches!(&answer, Some(Packet::PubAck(ack)) if ack.pkid == 7), "{answer:?}");
    peer.answer_subscription(number, &GRANTED);
    assert_eq!(&peer.message().payload[..], b"state");
    assert!(matches!(line.told(), LinkEvent::Connected));
}

#[test]
fn what_the_broker_does_not_take_is_left_out_and_the_rest_goes_on() {
    let wire = Wire::start();
    let outbox = Outbox::default();
    outbox.put(report(), vec![b'x'; 4000]);
    outbox.put(Item::State, b"state".to_vec());
    let line = Line::to(&wire, outbox);
    let mut peer = wire.accept(Terms { packet_bytes_max: Some(1000), ..Terms::default() });
    let (number, _) = peer.subscription();
    peer.answer_subscription(number, &GRANTED);
    assert_eq!(&peer.message().payload[..], b"state");
    line.outbox.put(report(), b"small".to_vec());
    assert_eq!(&peer.message().payload[..], b"small");
    assert!(line.outbox.payload_bytes_max() < 1000);
}

#[test]
fn a_broker_that_answers_pings_and_acknowledges_nothing_is_left_and_all_is_sent_again() {
    let wire = Wire::start();
    let line = Line::to(&wire, Outbox::default());
    let mut peer = wire.accept(Terms::default());
    let (number, _) = peer.subscription();
    peer.answer_subscription(number, &GRANTED);
    line.outbox.put(Item::State, b"state".to_vec());
    let began = Instant::now();
    assert!(matches!(peer.next(), Some(Packet::Publish(_))));
    assert!(peer.next().is_none(), "the device hangs up");
    assert!(began.elapsed() >= KEEP_ALIVE, "a slow line has time: {:?}", began.elapsed());
    let mut peer = wire.accept(Terms::default());
    let (number, _) = peer.subscription();
    peer.answer_subscription(number, &GRANTED);
    assert_eq!(&peer.message().payload[..], b"state");
}

#[test]
fn an_acknowledgement_out_of_order_and_a_cut_leave_a_device_that_publishes() {
    let wire = Wire::start();
    let outbox = Outbox::default();
    let model = |i: usize| Item::Report(format!("m-{i}").parse().unwrap());
    (0..8).for_each(|i| outbox.put(model(i), b"first".to_vec()));
    let line = Line::to(&wire, outbox);
    let mut peer = wire.accept(Terms::default());
    let (number, _) = peer.subscription();
    peer.answer_subscription(number, &GRANTED);
    // As many as may be in flight. All but the oldest are acknowledged, and the numbers go round to that one's.
    let sent: Vec<u16> = (0..8).map(|_| peer.unacknowledged().pkid).collect();
    sent.iter().skip(1).rev().for_each(|number| peer.acknowledge(*number));
    (0..8).for_each(|i| line.outbox.put(model(i), b"second".to_vec()));
    assert!(matches!(peer.next(), Some(Packet::Publish(_)) | None));
    drop(peer);
    let mut peer = wire.accept(Terms::default());
    let (number, _) = peer.subscription();
    peer.answer_subscription(number, &GRANTED);
    line.outbox.put(Item::State, b"state".to_vec());
    while &peer.message().payload[..] != b"state" {}
}

/// A broker that has lost its memory, and a controller that has lost what is in production, get the signed plan back from the
/// device, byte for byte. What no trusted key signed is not kept.
#[test]
fn a_broker_without_plans_gets_the_one_that_the_device_holds() {
    let (wire, dir) = (Wire::start(), tempfile::tempdir().unwrap());
    let (key, other) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
    let sealed = |key: &SigningKey, revision: u64| {
        let plan = format!(
            r#"{{"namespace":"{NAMESPACE}","model":"{MODEL}","epoch":1,"revision":{revision},"issued":0,"expires":9}}"#
        );
        seal(key, PLAN_TYPE, plan.as_bytes())
    };
    let inbox = Inbox::trusting(vec![key.verifying_key()]);
    let held = HeldPlans::open(dir.path(), |bytes| inbox.kept_plan(bytes));
    let line = Line::trusting(&wire, Outbox::default(), vec![key.verifying_key()], held);
    let mut peer = wire.accept(Terms::default());
    peer.grant_subscription();
    for (key, revision) in [(&key, 1), (&key, 2), (&other, 3)] {
        let payload = sealed(key, revision);
        peer.send_back(&Publish {
            topic: plan_topic().into(),
            payload: payload.into(),
            ..Publish::default()
        });
    }
    // It is answered to behind the plans.
    line.outbox.put(Item::State, b"state".to_vec());
    peer.message();
    assert!(peer.next_within(Duration::from_secs(4)).is_none(), "the broker has a plan");
    drop(peer);

    let mut peer = wire.accept(Terms::default());
    peer.grant_subscription();
    let began = Instant::now();
    let message = peer.message();
    assert!(began.elapsed() >= Duration::from_secs(1), "a broker that has a plan has time to send it");
    assert!(!message.retain && message.topic.ends_with(&format!("/pump-001/held/{MODEL}").into_bytes()));
    assert_eq!(&message.payload[..], sealed(&key, 2));
}

fn public(key: &SigningKey) -> PublicKey {
    key.verifying_key().into()
}

/// A plan whose key the device learns of later is asked for once more, and only then. The second answer to a subscription is no
/// second connect, and a document of a stranger is none.
#[test]
fn a_plan_that_came_before_its_key_is_asked_for_once_more() {
    let wire = Wire::start();
    let [root, first, second] = [1, 2, 3].map(|n| SigningKey::from_bytes(&[n; 32]));
    let plan = |key: &SigningKey, revision: u64| {
        let plan = format!(
            r#"{{"namespace":"{NAMESPACE}","model":"{MODEL}","epoch":1,"revision":{revision},"issued":0,"expires":9}}"#
        );
        seal(key, PLAN_TYPE, plan.as_bytes())
    };
    let root_keys = RootKeys::Known(roots(&root));
    let inbox = Inbox::with(Keyring::new(root_keys, vec![first.verifying_key()]));
    let mut line = Line::with(&wire, Outbox::default(), inbox, HeldPlans::none());
    let mut peer = wire.accept(Terms::default());
    let (number, filters) = peer.subscription();
    assert_eq!(filters, 3, "the trust document, plans, the override");
    // An account that may not read the document gets plans all the same.
    peer.answer_subscription(number, &[0x87, 1, 1]);
    assert!(matches!(line.told(), LinkEvent::Connected));
    let send = |peer: &mut Peer, topic: String, payload: Vec<u8>| {
        peer.send_back(&Publish { topic: topic.into(), payload: payload.into(), ..Publish::default() });
    };
    let trust_topic = || format!("mf/1/{NAMESPACE}/trust");

    send(&mut peer, plan_topic(), plan(&first, 1));
    assert!(matches!(line.told(), LinkEvent::Heard));
    assert!(matches!(line.told(), LinkEvent::Plan(told) if told.by == public(&first).id()));
    send(&mut peer, plan_topic(), plan(&second, 2));
    // What a stranger signed brings no key, and no second subscription.
    send(&mut peer, trust_topic(), trust_file(&second, 1, &[&second], &[], None));
    line.outbox.put(Item::State, b"state".to_vec());
    assert_eq!(&peer.message().payload[..], b"state");
    send(&mut peer, trust_topic(), trust_file(&root, 1, &[&first, &second], &[], None));
    peer.grant_subscription();
    send(&mut peer, plan_topic(), plan(&second, 2));
    let mut told = Vec::new();
    while told.len() < 2 {
        match line.told() {
            LinkEvent::Heard => {}
            event => told.push(event),
        }
    }
    assert!(matches!(&told[0], LinkEvent::Trust(document) if document.version == 1), "{told:?}");
    assert!(matches!(&told[1], LinkEvent::Plan(plan) if plan.by == public(&second).id()), "{told:?}");

    // Nothing was refused since, so the next document brings no subscription; and a revoked key's plan is refused.
    send(&mut peer, trust_topic(), trust_file(&root, 2, &[&second], &[&first], None));
    send(&mut peer, plan_topic(), plan(&first, 9));
    line.outbox.put(Item::State, b"later".to_vec());
    assert_eq!(&peer.message().payload[..], b"later");
    send(&mut peer, plan_topic(), plan(&second, 3));
    let mut told = Vec::new();
    while told.len() < 2 {
        match line.told() {
            LinkEvent::Heard => {}
            event => told.push(event),
        }
    }
    assert!(matches!(&told[0], LinkEvent::Trust(document) if document.version == 2), "{told:?}");
    assert!(matches!(&told[1], LinkEvent::Plan(plan) if plan.what.order.revision == 3), "{told:?}");
}

fn plan_topic() -> String {
    format!("mf/1/{NAMESPACE}/plan/{MODEL}")
}
