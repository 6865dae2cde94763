//! A device that the broker knows by its certificate, on a real Mosquitto under the shipped settings.

#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use modelfleet_agent::clock::CertificateTime;
use modelfleet_agent::mqtt::{Backoff, Credentials, HeldPlans, Inbox, Link, LinkEvent, Outbox, Settings};
use modelfleet_agent::tls::{BrokerTls, ClientCertificate};
use modelfleet_protocol::presence::Presence;
use modelfleet_protocol::time::Time;
use modelfleet_test_support::broker::{Broker, CONTROLLER_USER};
use modelfleet_test_support::certificate::Authority;
use modelfleet_test_support::pump_plan::{MODEL, NAMESPACE};
use modelfleet_test_support::wait::LIMIT;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const DEVICE: &str = "pump-001";

/// What the connection tells.
struct Line {
    told: mpsc::Receiver<LinkEvent>,
    wills: mpsc::Sender<Presence>,
}

impl Line {
    /// Whether the next attempt to connect succeeds; waits for it.
    async fn connects(&mut self) -> bool {
        let mut attempts = 0;
        loop {
            match tokio::time::timeout(LIMIT, self.told.recv()).await.expect("an event in time").unwrap() {
                LinkEvent::Connected => return true,
                LinkEvent::Connecting => {
                    // The one before has failed.
                    if attempts == 1 {
                        self.will();
                        return false;
                    }
                    attempts += 1;
                    self.will();
                }
                _ => {}
            }
        }
    }

    fn will(&self) {
        self.wills
            .try_send(Presence { online: false, since: Time::ZERO, connection: 1, instance: 0 })
            .unwrap();
    }
}

/// A device's connection to this broker, running.
fn line(
    broker: &Broker,
    tls: BrokerTls,
    credentials: Option<Credentials>,
) -> (Line, CancellationToken, tokio::task::JoinHandle<()>) {
    let (events, told) = mpsc::channel(64);
    let (sender, wills) = mpsc::channel(4);
    let short = Duration::from_millis(100);
    let link = Link {
        settings: Settings {
            host: "localhost".into(),
            port: broker.url().rsplit(':').next().unwrap().parse().unwrap(),
            tls: Some(Arc::new(tls)),
            credentials,
            namespace: NAMESPACE.parse().unwrap(),
            device: DEVICE.parse().unwrap(),
            keep_alive: Duration::from_secs(5),
            backoff: Backoff { first: short, most: short, spread: Duration::ZERO },
        },
        outbox: Arc::new(Outbox::default()),
        inbox: Arc::new(Inbox::trusting(Vec::new())),
        held: Arc::new(HeldPlans::none()),
        events,
        wills,
    };
    let stop = CancellationToken::new();
    let run = tokio::spawn(link.run(stop.clone()));
    (Line { told, wills: sender }, stop, run)
}

/// Who answers in the broker's place has no certificate of the authority that the device was given: the connection ends before
/// a login is sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_of_another_authority_is_not_connected_to() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path(), NAMESPACE, &[MODEL], &[DEVICE]).unwrap();
    let broker_password = broker.password(DEVICE).unwrap();
    let other = dir.path().join("other-ca.crt");
    Authority::new().unwrap().write(&other).unwrap();
    let login = || {
        let password = broker_password.clone();
        Some(Credentials { username: DEVICE.into(), password })
    };
    let tls = |authority: &Path| BrokerTls::new(Some(authority), CertificateTime::default(), None).unwrap();

    let (mut deceived, stop, run) = line(&broker, tls(&other), login());
    assert!(!deceived.connects().await);
    stop.cancel();
    run.await.unwrap();

    let (mut good, stop, run) = line(&broker, tls(&broker.ca_file().unwrap()), login());
    while !good.connects().await {}
    stop.cancel();
    run.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_replaced_is_used_for_the_next_connection() {
    let dir = tempfile::tempdir().unwrap();
    let mut broker = Broker::start_with_certificates(dir.path(), NAMESPACE, &[MODEL], &[DEVICE]).unwrap();
    let files =
        ClientCertificate { certificate: dir.path().join("own.crt"), key: dir.path().join("own.key") };
    let put = |broker: &Broker, owner: &str| {
        let [certificate, key] = broker.client_certificate(owner);
        std::fs::copy(certificate, &files.certificate).unwrap();
        std::fs::copy(key, &files.key).unwrap();
    };
    let tls =
        BrokerTls::new(broker.ca_file().as_deref(), CertificateTime::default(), Some(files.clone())).unwrap();
    let (mut line, stop, run) = line(&broker, tls, None);

    assert!(!line.connects().await, "there are no files yet");
    put(&broker, DEVICE);
    while !line.connects().await {}
    // A certificate that the broker does not take shows that the files are read again.
    put(&broker, CONTROLLER_USER);
    broker.restart().unwrap();
    assert!(!line.connects().await, "the certificate is signed by the controllers' authority");
    put(&broker, DEVICE);
    while !line.connects().await {}
    stop.cancel();
    run.await.unwrap();
}
