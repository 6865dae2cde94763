//! Event sinks as they are: a server that fails, stalls, lies, redirects and asks for a pause, on real connections.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test may end where it stands")]

#[path = "event_sinks/server.rs"]
mod server;

use std::time::{Duration, Instant};

use server::{Act, KEY, Request, Server, rollout, status, told};

const STORY: [&str; 4] = ["Started", "StageOpened", "RollbackStarted", "RolledBack"];

#[tokio::test(flavor = "multi_thread")]
async fn every_event_comes_in_order_whatever_a_sink_does_and_a_repetition_has_the_same_id() {
    let dir = tempfile::tempdir().unwrap();
    let half = "HTTP/1.1 503 Word\r\nContent-Length: 100000\r\n\r\nhalf a body, close".to_owned();
    let server = Server::start(vec![status(500), status(204), Act::HangUp, Act::Say(half)]).await;
    let told = told(&[server.url()], &dir);
    told.telling.offer(&rollout("r", &STORY, &told.telling));
    let requests = server.wait(7).await;
    let reasons: Vec<String> = requests.iter().map(Request::reason).collect();
    assert_eq!(
        reasons,
        ["Started", "Started", "StageOpened", "StageOpened", "StageOpened", "RollbackStarted", "RolledBack"]
    );
    for pair in requests.windows(2).filter(|pair| pair[0].reason() == pair[1].reason()) {
        assert_eq!(pair[0].body, pair[1].body, "a repetition says the same");
        assert_eq!(pair[0].header("webhook-id"), pair[1].header("webhook-id"));
    }
    let ids: std::collections::BTreeSet<&str> =
        requests.iter().map(|r| r.body["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), STORY.len());
    for request in &requests {
        assert_eq!(request.header("content-type"), Some("application/cloudevents+json"));
        assert_eq!(request.header("webhook-id"), request.body["id"].as_str());
        let signature = request.header("webhook-signature").unwrap();
        let key = modelfleet_telling::signature::HmacKey::read(KEY.as_bytes()).unwrap();
        let seconds: u64 = request.header("webhook-timestamp").unwrap().parse().unwrap();
        let expected =
            key.sign(request.body["id"].as_str().unwrap(), seconds, request.body.to_string().as_bytes());
        assert_eq!(signature, expected);
    }
    // Nothing is told twice once it was taken.
    told.telling.offer(&rollout("r", &STORY, &told.telling));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(server.requests().len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_stalls_keeps_no_other_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let (dead, well) = (Server::start(vec![Act::Stall; 100]).await, Server::start(Vec::new()).await);
    let told = told(&[dead.url(), well.url()], &dir);
    let begun = Instant::now();
    for name in ["a", "b", "c"] {
        told.telling.offer(&rollout(name, &STORY, &told.telling));
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "an offer never waits");
    let requests = well.wait(12).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    for name in ["a", "b", "c"] {
        let of = requests.iter().filter(|r| r.body["data"]["rollout"] == name);
        assert_eq!(of.map(Request::reason).collect::<Vec<_>>(), STORY);
    }
    assert_eq!(dead.requests().len(), 1, "one at a time");
    let text = told.metrics.text().unwrap();
    let waiting = format!(
        "modelfleet_events_waiting{{namespace=\"\",sink=\"CloudEvents at 127.0.0.1:{}\"}} 12",
        dead.port
    );
    assert!(text.contains(&waiting), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_redirect_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = Server::start(Vec::new()).await;
    let moved = format!(
        "HTTP/1.1 307 Moved\r\nLocation: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        elsewhere.url()
    );
    let server = Server::start(vec![Act::Say(moved)]).await;
    let told = told(&[server.url()], &dir);
    told.telling.offer(&rollout("r", &STORY[..1], &told.telling));
    let requests = server.wait(2).await;
    assert_eq!(requests[0].body, requests[1].body, "it counts as a failure");
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_a_sink_asks_for_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let busy =
        "HTTP/1.1 429 Busy\r\nRetry-After: 3\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned();
    let server = Server::start(vec![Act::Say(busy)]).await;
    let told = told(&[server.url()], &dir);
    told.telling.offer(&rollout("r", &STORY[..1], &told.telling));
    let requests = server.wait(2).await;
    let pause = requests[1].at.duration_since(requests[0].at);
    assert!(pause >= Duration::from_millis(2_990), "{pause:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_sink_refuses_is_passed_over_and_one_that_is_gone_is_told_nothing_more() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(vec![status(400), status(204), status(410)]).await;
    let told = told(&[server.url()], &dir);
    told.telling.offer(&rollout("r", &STORY, &told.telling));
    let requests = server.wait(3).await;
    assert_eq!(requests.iter().map(Request::reason).collect::<Vec<_>>(), STORY[..3]);
    told.telling.offer(&rollout("s", &STORY, &told.telling));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(server.requests().len(), 3);
    let text = told.metrics.text().unwrap();
    let line = |name: &str, result: &str, value: u32| {
        format!(
            "modelfleet_{name}{{namespace=\"\",sink=\"CloudEvents at 127.0.0.1:{}\"{result}}} {value}",
            server.port
        )
    };
    for line in [
        line("event_deliveries_total", ",result=\"refused\"", 1),
        line("event_deliveries_total", ",result=\"delivered\"", 1),
        line("event_deliveries_total", ",result=\"gone\"", 1),
        line("events_dropped_total", "", 6),
        line("event_sinks_open", "", 1),
    ] {
        assert!(text.contains(&line), "{line}\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_and_alertmanager_get_their_own_forms() {
    let dir = tempfile::tempdir().unwrap();
    let (slack, alertmanager) = (Server::start(Vec::new()).await, Server::start(Vec::new()).await);
    let told = told(
        &[
            format!("slack={}", slack.url()),
            format!("alertmanager=http://127.0.0.1:{}/am/", alertmanager.port),
        ],
        &dir,
    );
    told.telling.offer(&rollout("r", &["Paused"], &told.telling));
    let text = slack.wait(1).await[0].body["text"].as_str().unwrap().to_owned();
    assert!(text.contains("*Paused* plant/r (pumps 1.2.0, stage canary)\nPaused now."), "{text}");
    let request = alertmanager.wait(1).await.remove(0);
    assert_eq!(request.path, "/am/api/v2/alerts");
    assert_eq!(request.body[1]["labels"]["alertname"], "ModelfleetRolloutPaused");
}
