//! A controller in one process, with an API server that does what the test says and a broker that is never reached.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use ed25519_dalek::SigningKey;
use kube::runtime::{reflector, watcher};
use modelfleet_controller::clock::Clock;
use modelfleet_controller::context::Context;
use modelfleet_controller::device_orders::DeviceOrders;
use modelfleet_controller::fleets::Fleets;
use modelfleet_controller::metrics::Metrics;
use modelfleet_controller::mqtt::{self, Broker, BrokerSettings};
use modelfleet_controller::telling::Telling;
use modelfleet_controller::work::Work;
use modelfleet_controller::write_cache::WriteCache;
use modelfleet_crds::{ModelVersion, Rollout};
use modelfleet_fleet::{Key, Link, Source};
use modelfleet_protocol::plan::Plan;
use modelfleet_protocol::time::Time;
use serde_json::Value;

use crate::server::Server;

/// The model that the objects are of.
pub fn key() -> Key {
    ("plant".parse().unwrap(), "m".parse().unwrap())
}

/// A controller that has just read these objects, and whose broker holds nothing.
/// The connection is never run: what is sent waits in the outbox.
pub async fn controller(objects: Vec<(String, Value)>) -> (Server, Context, Broker) {
    let server = Server::default();
    let (rollouts, mut rollout_writer) = reflector::store::<Rollout>();
    let (versions, mut version_writer) = reflector::store::<ModelVersion>();
    for (path, object) in objects {
        server.keep(&path, object.clone());
        if path.starts_with("rollouts") {
            rollout_writer
                .apply_watcher_event(&watcher::Event::Apply(serde_json::from_value(object).unwrap()));
        } else {
            version_writer
                .apply_watcher_event(&watcher::Event::Apply(serde_json::from_value(object).unwrap()));
        }
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = kube::Config::new(server.start().await.parse().unwrap());
    let signer = SigningKey::from_bytes(&[7; 32]);
    let fleets = Fleets::new(signer.verifying_key(), 10, 10);
    let fleet = fleets.named(&key().0);
    fleet.locked().index.note(&key().1, Source::Plan);
    fleet.locked().index.complete(Time(1));
    fleets.set_link(|_| Link { connected: true, settled: true, since: Time(1) });
    let settings = BrokerSettings {
        url: "mqtt://127.0.0.1:1".into(),
        user: None,
        password: None,
        ca_pem: None,
        client_certificate: None,
        identity: "test".into(),
        beat: mqtt::BEAT,
    };
    let (publisher, broker) = mqtt::prepare(&settings).unwrap();
    let context = Context {
        client: kube::Client::try_from(config).unwrap(),
        rollouts,
        versions,
        written: Mutex::new(WriteCache::default()),
        fleets,
        publisher: Arc::new(publisher),
        signer,
        epoch: 3,
        seen_epoch: Arc::new(AtomicU64::new(0)),
        plan_lifetime_ms: 3_600_000,
        clock: Clock::system(),
        work: Work::default(),
        orders: DeviceOrders::default(),
        telling: Telling::default(),
        metrics: Metrics::new(),
        records: None,
    };
    (server, context, broker)
}

/// The newest plan that was sent.
pub fn sent(context: &Context) -> Option<Plan> {
    let fleet = context.fleets.named(&key().0);
    fleet.locked().ledger.newest(&key()).map(|plan| (**plan).clone())
}
