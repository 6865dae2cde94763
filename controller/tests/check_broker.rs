//! `check-broker` on a real Mosquitto.

#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]

use modelfleet_controller::mqtt::check::{Finding, check, is_enough, table};
use modelfleet_controller::mqtt::{BEAT, BrokerSettings};
use modelfleet_test_support::broker::Broker;
use modelfleet_test_support::part::Part;
use modelfleet_test_support::place::free_port;
use modelfleet_test_support::wait::LIMIT;

async fn tried(url: String) -> Vec<Finding> {
    let settings = BrokerSettings {
        url,
        user: None,
        password: None,
        ca_pem: None,
        client_certificate: None,
        identity: "test".into(),
        beat: BEAT,
    };
    check(&settings, 5_000).await.unwrap()
}

#[tokio::test]
async fn mosquitto_with_room_for_all_messages_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start_open(dir.path()).unwrap();
    let findings = tried(broker.plain_url()).await;
    assert!(is_enough(&findings), "{}", table(&findings));
    assert!(table(&findings).contains("5000 of 5000"), "{}", table(&findings));
}

/// The default limit of queued messages, above which Mosquitto leaves retained messages out without a word.
#[tokio::test]
async fn mosquitto_with_its_default_limit_is_not_enough() {
    let dir = tempfile::tempdir().unwrap();
    let (port, config) = (free_port().unwrap(), dir.path().join("mosquitto.conf"));
    std::fs::write(&config, format!("listener {port} 127.0.0.1\nallow_anonymous true\n")).unwrap();
    let mut command = std::process::Command::new("mosquitto");
    command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
    let mut part = Part::start("broker", dir.path(), command.arg("-c").arg(&config)).unwrap();
    part.ready(LIMIT, || std::net::TcpStream::connect(("127.0.0.1", port)).map_err(|e| e.to_string()))
        .unwrap();
    let findings = tried(format!("mqtt://127.0.0.1:{port}")).await;
    assert!(!is_enough(&findings), "{}", table(&findings));
    let bad = |finding: &&Finding| finding.good == Some(false);
    let bad: Vec<&str> = findings.iter().filter(bad).map(|finding| finding.what).collect();
    assert!(bad.contains(&"sends all to a wildcard subscription"), "{bad:?}");
}
