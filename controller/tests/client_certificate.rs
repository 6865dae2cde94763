//! A controller that the broker knows by its certificate, on a real Mosquitto under the shipped settings.

#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]

use modelfleet_controller::mqtt::{self, BEAT, BrokerSettings, ClientCertificate, Feed};
use modelfleet_test_support::broker::{Broker, CONTROLLER_USER};
use modelfleet_test_support::wait::LIMIT;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

#[derive(Debug, PartialEq, Eq)]
enum Told {
    Lost,
    PlansHeard,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_replaced_is_used_for_the_next_connection() {
    // The process makes its choice in `main`.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start_with_certificates(dir.path(), "plant-a", &["m"], &["pump-001"]).unwrap();
    let files =
        ClientCertificate { certificate: dir.path().join("own.crt"), key: dir.path().join("own.key") };
    let put = |owner: &str| {
        let [certificate, key] = broker.client_certificate(owner);
        std::fs::copy(certificate, &files.certificate).unwrap();
        std::fs::copy(key, &files.key).unwrap();
    };
    let settings = BrokerSettings {
        url: broker.controller_url(),
        user: None,
        password: None,
        ca_pem: Some(std::fs::read(broker.ca_file().unwrap()).unwrap()),
        client_certificate: Some(files.clone()),
        identity: "test".into(),
        beat: BEAT,
    };
    assert!(mqtt::prepare(&settings).is_err(), "without the files there is no connection to prepare");
    put("pump-001");
    let (_publisher, connection) = mqtt::prepare(&settings).unwrap();
    let (tell, mut told) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let run = tokio::spawn(connection.run(stop.clone(), move |feed| {
        let word = match feed {
            Feed::Lost(_) => Told::Lost,
            Feed::PlansHeard => Told::PlansHeard,
            _ => return,
        };
        // A test that has ended listens no more.
        let _ = tell.send(word);
    }));
    let mut next =
        async || tokio::time::timeout(LIMIT, told.recv()).await.expect("it tells something").unwrap();
    assert_eq!(next().await, Told::Lost, "a device's certificate is worth nothing on this listener");
    put(CONTROLLER_USER);
    while next().await != Told::PlansHeard {}
    stop.cancel();
    run.await.unwrap();
}
