//! The alerts of rollouts in a real Alertmanager.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test may end where it stands")]

#[path = "event_sinks/server.rs"]
mod server;

use std::process::Command;
use std::time::{Duration, Instant};

use modelfleet_controller::clock::Clock;
use modelfleet_test_support::http;
use modelfleet_test_support::part::Part;
use modelfleet_test_support::place::free_port;
use modelfleet_test_support::wait::LIMIT;
use serde_json::{Value, json};
use server::{rollout, told};

/// The alerts that Alertmanager has, by their names.
fn alerts(port: u16) -> Vec<String> {
    let body = http::get(port, "/api/v2/alerts").unwrap_or_default();
    // A body in chunks stands between lines with their sizes.
    let body = &body[body.find('[').unwrap_or(0)..=body.rfind(']').unwrap_or(0)];
    let alerts: Vec<Value> = serde_json::from_str(body).unwrap_or_default();
    let mut names: Vec<String> =
        alerts.iter().map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names
}

async fn wait_for(port: u16, names: &[&str]) {
    let begun = Instant::now();
    while alerts(port) != names {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?} instead of {names:?}", alerts(port));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alerts_begin_and_end_with_what_happens() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port().unwrap();
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/monitoring/alertmanager.yaml");
    let mut command = Command::new("prometheus-alertmanager");
    command
        .arg(format!("--config.file={config}"))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg(format!("--storage.path={}", dir.path().display()))
        .arg("--cluster.listen-address=");
    let mut alertmanager = Part::start("alertmanager", dir.path(), &mut command).unwrap();
    alertmanager.ready(LIMIT, || http::get(port, "/-/ready")).unwrap();
    let told = told(&[format!("alertmanager=http://127.0.0.1:{port}")], &dir);
    let mut rollout = rollout("r", &["Started"], &told.telling);
    let mut seconds = Clock::system().now().0 / 1_000 - 60;
    // Alertmanager goes by the moments of alerts.
    let mut then = |reason: &str| {
        seconds += 2;
        let at = modelfleet_telling::cloud_event::rfc3339(modelfleet_protocol::time::Time(seconds * 1_000));
        let decision = json!({ "at": at, "stage": "canary", "decision": "Hold", "reason": reason, "message": "It is so." });
        rollout.status.as_mut().unwrap().decisions.push(serde_json::from_value(decision).unwrap());
        told.telling.offer(&rollout);
    };
    then("ApprovalRequested");
    wait_for(port, &["ModelfleetRolloutApprovalRequested"]).await;
    then("Paused");
    wait_for(port, &["ModelfleetRolloutPaused"]).await;
    then("Resumed");
    wait_for(port, &[]).await;
    then("RollbackStarted");
    then("RollbackOverdue");
    wait_for(port, &["ModelfleetRolloutRollbackOverdue", "ModelfleetRolloutRollbackStarted"]).await;
    then("RolledBack");
    wait_for(port, &["ModelfleetRolloutRolledBack"]).await;
}
