//! What one device's login can do to other devices and to the broker, on a real Mosquitto under the settings that
//! `manifests/broker` ships. The fleet has two devices: the attacker holds the login of the first.

#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]

use std::time::{Duration, Instant};

use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::topic::device_root;
use modelfleet_test_support::broker::{Broker, CONTROLLER_USER};
use modelfleet_test_support::wait::LIMIT;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, LastWill, Packet, PubAckReason, Publish};
use rumqttc::v5::{Client, Connection, ConnectionError, Event, MqttOptions, RecvTimeoutError};
use rumqttc::{TlsConfiguration, Transport};

const FLEET: &str = "plant-a";
const MODEL: &str = "pump-anomaly";
const ATTACKER: &str = "pump-001";
const VICTIM: &str = "pump-002";
/// A topic of the controller to itself.
const SYNC: &str = "mf/1/_controller/test/sync";

/// A broker under attack.
struct Target {
    broker: Broker,
    dir: tempfile::TempDir,
}

impl Target {
    fn start() -> Target {
        let dir = tempfile::tempdir().unwrap();
        let broker = Broker::start(dir.path(), FLEET, &[MODEL], &[ATTACKER, VICTIM]).unwrap();
        Target { broker, dir }
    }

    /// The same with client certificates instead of passwords.
    fn with_certificates() -> Target {
        let dir = tempfile::tempdir().unwrap();
        let broker =
            Broker::start_with_certificates(dir.path(), FLEET, &[MODEL], &[ATTACKER, VICTIM]).unwrap();
        Target { broker, dir }
    }

    /// How the owner of this certificate, or of none, connects at this address under a name and client id.
    fn certified(&self, url: &str, owner: Option<&str>, name: &str) -> MqttOptions {
        let mut options = self.options(url, name, name, None);
        options.set_credentials(name, "anything");
        let read = |path: &std::path::PathBuf| std::fs::read(path).unwrap();
        let client_auth = owner.map(|owner| {
            let [certificate, key] = self.broker.client_certificate(owner);
            (read(&certificate), read(&key))
        });
        let ca = read(&self.dir.path().join("tls/ca.crt"));
        let tls = TlsConfiguration::Simple { ca, alpn: None, client_auth };
        options.set_transport(Transport::tls_with_config(tls));
        options
    }

    /// How this user connects at this address, with a client id and perhaps a last will on a topic.
    fn options(&self, url: &str, user: &str, client_id: &str, will: Option<&str>) -> MqttOptions {
        let port = url.rsplit(':').next().unwrap().parse().unwrap();
        let mut options = MqttOptions::new(client_id, "localhost", port);
        options.set_credentials(user, self.broker.password(user).unwrap());
        let ca = std::fs::read(self.dir.path().join("tls/ca.crt")).unwrap();
        let tls = TlsConfiguration::Simple { ca, alpn: None, client_auth: None };
        options.set_transport(Transport::tls_with_config(tls));
        options.set_keep_alive(Duration::from_secs(30));
        if let Some(topic) = will {
            options.set_last_will(LastWill::new(topic, "gone", QoS::AtLeastOnce, true, None));
        }
        options
    }

    fn device(&self, user: &str, client_id: &str, will: Option<&str>) -> Session {
        Session::open(self.options(&self.broker.url(), user, client_id, will)).unwrap()
    }

    fn controller(&self) -> Session {
        let url = self.broker.controller_url();
        Session::open(self.options(&url, CONTROLLER_USER, "controller-0", None)).unwrap()
    }

    /// Everything that the broker has retained, as the controller hears it.
    fn retained(&self) -> Vec<(String, usize)> {
        let mut controller = self.controller();
        controller.subscribe("mf/1/#");
        controller.client.publish(SYNC, QoS::AtLeastOnce, false, "marker").unwrap();
        let came = controller.until_marker();
        came.iter().filter(|m| m.retain).map(|m| (topic(m), m.payload.len())).collect()
    }
}

/// One connection.
struct Session {
    client: Client,
    connection: Connection,
}

impl Session {
    /// Connects; an error is the broker's refusal.
    fn open(options: MqttOptions) -> Result<Session, String> {
        // The provider may be there already, from another test of this process.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (client, connection) = Client::new(options, 64);
        let mut session = Session { client, connection };
        match session.next()? {
            Packet::ConnAck(_) => Ok(session),
            other => Err(format!("{other:?}")),
        }
    }

    /// The next packet from the broker; an error is why the connection has ended.
    fn next(&mut self) -> Result<Packet, String> {
        let end = Instant::now() + LIMIT;
        while Instant::now() < end {
            match self.connection.recv_timeout(Duration::from_secs(1)) {
                Ok(Ok(Event::Incoming(packet))) => return Ok(packet),
                Ok(Ok(Event::Outgoing(_))) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Err(ConnectionError::ConnectionRefused(code))) => {
                    return Err(format!("refused: {code:?}"));
                }
                Ok(Err(error)) => return Err(error.to_string()),
                Err(error) => return Err(format!("{error:?}")),
            }
        }
        panic!("nothing within {LIMIT:?}");
    }

    /// Publishes with QoS 1; returns the broker's answer, an error when it ends the connection.
    fn publish(&mut self, topic: &str, payload: Vec<u8>, retain: bool) -> Result<PubAckReason, String> {
        self.client.publish(topic, QoS::AtLeastOnce, retain, payload).map_err(|error| error.to_string())?;
        loop {
            if let Packet::PubAck(ack) = self.next()? {
                return Ok(ack.reason);
            }
        }
    }

    fn subscribe(&mut self, filter: &str) {
        self.client.subscribe_many([Filter::new(filter, QoS::AtLeastOnce)]).unwrap();
        while !matches!(self.next().unwrap(), Packet::SubAck(_)) {}
    }

    /// All messages before the one that says "marker".
    fn until_marker(&mut self) -> Vec<Publish> {
        let mut came = Vec::new();
        loop {
            if let Packet::Publish(message) = self.next().unwrap() {
                if &message.payload[..] == b"marker" {
                    return came;
                }
                came.push(message);
            }
        }
    }
}

fn topic(message: &Publish) -> String {
    String::from_utf8(message.topic.to_vec()).unwrap()
}

fn of(device: &str, channel: &str) -> String {
    let device: DeviceId = device.parse().unwrap();
    format!("{}/{channel}", device_root(&FLEET.parse().unwrap(), &device))
}

const REFUSED: Result<PubAckReason, String> = Ok(PubAckReason::NotAuthorized);

fn is_taken(answer: &Result<PubAckReason, String>) -> bool {
    matches!(answer, Ok(PubAckReason::Success | PubAckReason::NoMatchingSubscribers))
}

#[test]
fn a_login_with_the_client_id_of_another_device_neither_ends_its_connection_nor_publishes_its_last_will() {
    let target = Target::start();
    let presence = of(VICTIM, "presence");
    let mut victim = target.device(VICTIM, VICTIM, Some(&presence));
    assert!(is_taken(&victim.publish(&presence, b"online".to_vec(), true)));
    let mut attacker = target.device(ATTACKER, VICTIM, None);
    assert!(is_taken(&attacker.publish(&of(ATTACKER, "state"), b"mine".to_vec(), true)));
    // The victim's connection still works, and its presence is what it said itself.
    assert!(is_taken(&victim.publish(&of(VICTIM, "state"), b"well".to_vec(), true)), "it is still connected");
    let presence = target.retained().into_iter().find(|(topic, _)| *topic == presence);
    assert_eq!(presence.map(|(_, bytes)| bytes), Some("online".len()), "not the last will");
}

#[test]
fn a_device_does_not_get_onto_the_listener_of_the_controllers() {
    let target = Target::start();
    let url = target.broker.controller_url();
    let refused = Session::open(target.options(&url, ATTACKER, VICTIM, None));
    assert!(refused.is_err(), "its password is not known there");
    // Nor does the controllers' password open the devices' listener.
    let refused = Session::open(target.options(&target.broker.url(), CONTROLLER_USER, "controller-0", None));
    assert!(refused.is_err());
}

#[test]
fn a_last_will_on_the_topic_of_another_device_is_not_published() {
    let target = Target::start();
    let presence = of(VICTIM, "presence");
    let mut victim = target.device(VICTIM, VICTIM, None);
    assert!(is_taken(&victim.publish(&presence, b"online".to_vec(), true)));
    let attacker = Session::open(target.options(&target.broker.url(), ATTACKER, ATTACKER, Some(&presence)));
    // Cut without a word: the broker has to publish the will, if it accepted the connection at all.
    drop(attacker);
    let mut attacker = target.device(ATTACKER, ATTACKER, None);
    assert!(is_taken(&attacker.publish(&of(ATTACKER, "state"), b"again".to_vec(), true)));
    let presence = target.retained().into_iter().find(|(topic, _)| *topic == presence);
    assert_eq!(presence.map(|(_, bytes)| bytes), Some("online".len()));
}

#[test]
fn a_login_retains_one_message_of_each_kind_and_nothing_on_invented_topics() {
    let target = Target::start();
    let mut attacker = target.device(ATTACKER, ATTACKER, None);
    let own = ["presence", "state", &format!("report/{MODEL}"), &format!("held/{MODEL}")]
        .map(|end| of(ATTACKER, end));
    for topic in &own {
        assert!(is_taken(&attacker.publish(topic, b"mine".to_vec(), true)), "{topic}");
    }
    let root = of(ATTACKER, "");
    let invented = [
        // Another fleet, another shard, another model, another channel, deeper, outside.
        root.replace(FLEET, "plant-b") + "state",
        root.replace("/f0/", "/f1/") + "state",
        of(ATTACKER, "report/invented"),
        of(ATTACKER, "held/invented"),
        of(ATTACKER, "report/pump-anomaly/deeper"),
        of(ATTACKER, "diary"),
        of(ATTACKER, "override"),
        of(VICTIM, "state"),
        "invented".into(),
        SYNC.into(),
        format!("mf/1/{FLEET}/plan/{MODEL}"),
        format!("mf/1/{FLEET}/plan/invented"),
        format!("mf/1/{FLEET}/trust"),
    ];
    for topic in &invented {
        assert_eq!(attacker.publish(topic, vec![b'x'; 1000], true), REFUSED, "{topic}");
    }
    let mut kept: Vec<String> = target.retained().into_iter().map(|(topic, _)| topic).collect();
    kept.sort();
    let mut expected = own.to_vec();
    expected.sort();
    assert_eq!(kept, expected);
}

#[test]
fn a_login_hears_plans_and_trust_and_its_own_override_but_no_other_device() {
    let target = Target::start();
    let mut victim = target.device(VICTIM, VICTIM, None);
    for channel in ["state", "presence", &format!("report/{MODEL}")] {
        assert!(is_taken(&victim.publish(&of(VICTIM, channel), b"secret".to_vec(), true)));
    }
    let mut controller = target.controller();
    let plan = format!("mf/1/{FLEET}/plan/{MODEL}");
    let trust = format!("mf/1/{FLEET}/trust");
    let heard = [&plan, &trust, &of(ATTACKER, "override")];
    for topic in heard {
        assert!(is_taken(&controller.publish(topic, b"signed".to_vec(), true)), "{topic}");
    }
    assert!(is_taken(&controller.publish(&of(VICTIM, "override"), b"signed".to_vec(), true)));
    assert!(is_taken(&controller.publish("mf/1/plant-b/plan/other", b"signed".to_vec(), true)));
    let mut attacker = target.device(ATTACKER, ATTACKER, None);
    attacker.subscribe("#");
    // What the victim says later is not heard either; the plan comes behind it.
    assert!(is_taken(&victim.publish(&of(VICTIM, "state"), b"secret".to_vec(), true)));
    assert!(is_taken(&controller.publish(&plan, b"marker".to_vec(), true)));
    let mut came: Vec<String> = attacker.until_marker().iter().map(topic).collect();
    came.sort();
    let mut expected = heard.map(String::clone);
    expected.sort();
    assert_eq!(came, expected);
}

#[test]
fn a_payload_above_the_limit_ends_the_connection_of_the_one_that_sent_it_and_is_not_kept() {
    let target = Target::start();
    let mut victim = target.device(VICTIM, VICTIM, None);
    let mut options = target.options(&target.broker.url(), ATTACKER, ATTACKER, None);
    // The client would keep to what the broker asks for: an attacker does not.
    options.set_max_packet_size(Some(u32::MAX));
    let mut attacker = Session::open(options).unwrap();
    let answer = attacker.publish(&of(ATTACKER, "state"), vec![b'x'; 1_000_000], true);
    assert!(answer.is_err(), "{answer:?}");
    assert!(is_taken(&victim.publish(&of(VICTIM, "state"), b"well".to_vec(), true)));
    assert_eq!(target.retained(), [(of(VICTIM, "state"), 4)]);
}

/// The changes of Mosquitto 2.0.13 name wills that were lost under `per_listener_settings true`: not under these settings.
#[test]
fn the_last_will_of_a_device_that_is_cut_off_is_published() {
    let target = Target::start();
    let presence = of(VICTIM, "presence");
    let mut controller = target.controller();
    controller.subscribe(&presence);
    drop(target.device(VICTIM, VICTIM, Some(&presence)));
    assert!(
        matches!(controller.next().unwrap(), Packet::Publish(m) if topic(&m) == presence && &m.payload[..] == b"gone")
    );
}

#[test]
fn what_was_retained_is_there_after_a_restart() {
    let mut target = Target::start();
    let state = of(ATTACKER, "state");
    assert!(is_taken(&target.device(ATTACKER, ATTACKER, None).publish(&state, b"mine".to_vec(), true)));
    let plan = format!("mf/1/{FLEET}/plan/{MODEL}");
    assert!(is_taken(&target.controller().publish(&plan, b"signed".to_vec(), true)));
    target.broker.restart().unwrap();
    let mut kept = target.retained();
    kept.sort();
    assert_eq!(kept, [(state, 4), (plan.clone(), 6)]);
    let mut device = target.device(ATTACKER, ATTACKER, None);
    device.subscribe(&format!("mf/1/{FLEET}/plan/+"));
    assert!(matches!(device.next().unwrap(), Packet::Publish(message) if topic(&message) == plan));
}

#[test]
fn a_certificate_is_worth_its_own_name_and_its_own_listener() {
    let target = Target::with_certificates();
    let (devices, controllers) = (target.broker.url(), target.broker.controller_url());
    let mut victim = Session::open(target.certified(&devices, Some(VICTIM), VICTIM)).unwrap();
    // The attacker names the victim as user and as client: the broker goes by its certificate.
    let mut attacker = Session::open(target.certified(&devices, Some(ATTACKER), VICTIM)).unwrap();
    assert!(is_taken(&attacker.publish(&of(ATTACKER, "state"), b"mine".to_vec(), true)));
    assert_eq!(attacker.publish(&of(VICTIM, "state"), b"lie".to_vec(), true), REFUSED);
    assert!(is_taken(&victim.publish(&of(VICTIM, "state"), b"well".to_vec(), true)), "it is still connected");
    for (url, owner) in [
        (&devices, None),
        (&controllers, None),
        (&controllers, Some(ATTACKER)),
        (&devices, Some(CONTROLLER_USER)),
    ] {
        let refused = Session::open(target.certified(url, owner, VICTIM));
        assert!(refused.is_err(), "{url} with the certificate of {owner:?}");
    }
    let mut controller =
        Session::open(target.certified(&controllers, Some(CONTROLLER_USER), CONTROLLER_USER)).unwrap();
    assert!(is_taken(&controller.publish(&format!("mf/1/{FLEET}/plan/{MODEL}"), b"signed".to_vec(), true)));
}
