//! A reconcile against an API server that refuses: what is stored, what goes out to devices, and in which order.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test may end where it stands")]

#[path = "stubborn/controller.rs"]
mod controller;
#[path = "stubborn/objects.rs"]
mod objects;
#[path = "stubborn/server.rs"]
mod server;

use std::sync::Arc;

use controller::{controller, key, sent};
use modelfleet_controller::error::Error;
use modelfleet_controller::reconcile::reconcile;
use modelfleet_fleet::Link;
use modelfleet_test_support::http;
use modelfleet_test_support::place::free_port;
use modelfleet_test_support::wait::wait;
use objects::{deleted, of, rollout, version, versions};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_cannot_be_written_keeps_no_other_from_its_plan() {
    let active = rollout("1.2.0", Some("Progressing"), &json!({"abort": true}));
    let waits = rollout("1.1.0", None, &json!({}));
    let (server, context, _broker) = controller(of(versions(), vec![waits, active])).await;
    server.refuse(|path, _| path.contains("r-1.1.0").then_some(500));
    let error = reconcile(&context, &key()).await.unwrap_err();
    assert!(matches!(error, Error::Kubernetes { .. }), "it is tried again: {error:?}");
    let plan = sent(&context).expect("the plan of the other went out");
    assert!(plan.candidate.is_none());
    assert_eq!(plan.stable.unwrap().version.to_string(), "1.0.0");
    let status = &server.object("rollouts/r-1.2.0")["status"];
    assert_eq!(status["planRevision"], json!(plan.order.revision));
    assert!(status["judge"]["state"].as_str().unwrap().contains("RollingBack"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_a_plan_is_told_by_the_rollout_that_it_is_for() {
    let active = rollout("1.2.0", Some("Progressing"), &json!({}));
    let ended = rollout("1.1.0", Some("RolledBack"), &json!({}));
    let (server, context, _broker) = controller(of(versions(), vec![ended, active])).await;
    reconcile(&context, &key()).await.unwrap();
    assert_eq!(server.object("rollouts/r-1.2.0")["status"]["planRevision"], json!(1));
    assert_eq!(server.object("rollouts/r-1.1.0")["status"]["planRevision"], Value::Null);
    let writes = server.writes();
    let events = writes.iter().position(|path| path.contains("events"));
    let last_status = writes.iter().rposition(|path| path.ends_with("/status"));
    assert!(events.is_none_or(|event| Some(event) > writes.iter().position(|p| p.ends_with("/status"))));
    assert!(last_status.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_decide_keeps_no_status_from_being_stored() {
    let active = rollout("1.2.0", Some("Progressing"), &json!({"abort": true}));
    let (server, context, _broker) = controller(of(versions(), vec![active])).await;
    server.refuse(|path, body| {
        (path.ends_with("r-1.2.0/status") && !body["status"]["decisions"].is_null()).then_some(422)
    });
    reconcile(&context, &key()).await.unwrap();
    let status = &server.object("rollouts/r-1.2.0")["status"];
    assert!(status["judge"]["state"].as_str().unwrap().contains("RollingBack"), "{status}");
    assert!(!status["conditions"].is_null() && status["decisions"].is_null());
    assert!(sent(&context).unwrap().candidate.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_back_goes_out_although_nothing_of_it_can_be_stored_and_no_way_forward_does() {
    for (code, abort, goes_out) in
        [(422, true, true), (422, false, false), (409, true, false), (500, true, false)]
    {
        let active = rollout("1.2.0", Some("Progressing"), &json!({"abort": abort}));
        let (server, context, _broker) = controller(of(versions(), vec![active])).await;
        server.refuse(move |path, _| path.ends_with("r-1.2.0/status").then_some(code));
        assert!(reconcile(&context, &key()).await.is_err());
        assert_eq!(sent(&context).is_some(), goes_out, "{code}, abort {abort}");
    }
}

/// As with definitions of an older version: the API server takes nothing of what was decided, but what it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_is_refused_whatever_is_left_out_is_told_on_the_object_once() {
    let active = rollout("1.2.0", Some("Progressing"), &json!({"abort": true}));
    let (server, context, _broker) = controller(of(versions(), vec![active])).await;
    let before = server.object("rollouts/r-1.2.0")["status"].clone();
    let kept = before["judge"]["state"].clone();
    server.refuse(move |path, body| {
        (path.ends_with("r-1.2.0/status") && body["status"]["judge"]["state"] != kept).then_some(422)
    });
    assert!(reconcile(&context, &key()).await.is_err(), "it is tried again");
    let status = server.object("rollouts/r-1.2.0")["status"].clone();
    for field in ["judge", "membership"] {
        assert_eq!(status[field], before[field], "what decides is what the object had");
    }
    let conditions = status["conditions"].as_array().unwrap();
    let stalled = conditions.iter().find(|c| c["type"] == "Stalled").unwrap();
    assert_eq!((&stalled["status"], &stalled["reason"]), (&json!("True"), &json!("StatusRefused")));
    assert!(stalled["message"].as_str().unwrap().contains("the test refuses it"), "{stalled}");
    server.writes();
    assert!(reconcile(&context, &key()).await.is_err());
    assert_eq!(server.writes().iter().filter(|path| path.ends_with("/status")).count(), 0, "told once");
    server.refuse(|_, _| None);
    reconcile(&context, &key()).await.unwrap();
    let status = &server.object("rollouts/r-1.2.0")["status"];
    assert!(status["judge"]["state"].as_str().unwrap().contains("RollingBack"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_refused_is_told_later_and_stops_nothing() {
    let active = rollout("1.2.0", Some("Progressing"), &json!({"abort": true}));
    let (server, context, _broker) = controller(of(versions(), vec![active])).await;
    server.refuse(|path, _| path.contains("events").then_some(500));
    reconcile(&context, &key()).await.unwrap();
    assert!(sent(&context).is_some());
    server.refuse(|_, _| None);
    server.writes();
    reconcile(&context, &key()).await.unwrap();
    assert!(server.writes().iter().any(|path| path.contains("events")));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_broker_is_away_nothing_is_written_twice() {
    let active = rollout("1.2.0", Some("Progressing"), &json!({}));
    let (server, context, _broker) = controller(of(versions(), vec![active])).await;
    context.fleets.set_link(|_| Link::default());
    reconcile(&context, &key()).await.unwrap();
    server.writes();
    for _ in 0..5 {
        reconcile(&context, &key()).await.unwrap();
    }
    assert_eq!(server.writes(), Vec::<String>::new());
    let status = &server.object("rollouts/r-1.2.0")["status"];
    assert_eq!((sent(&context), &status["planRevision"]), (None, &Value::Null));
}

/// The life of a rollout that was in production, ended between its writes, and then continued.
#[tokio::test(flavor = "multi_thread")]
async fn an_abort_after_success_survives_a_status_that_was_not_stored() {
    let mut objects = of(versions(), vec![rollout("1.2.0", Some("Succeeded"), &json!({"abort": true}))]);
    objects[0] = version("1.0.0", "Archived");
    objects[2] = version("1.2.0", "Production");
    let (server, context, _broker) = controller(objects).await;
    server.refuse(|path, _| path.ends_with("r-1.2.0/status").then_some(500));
    assert!(reconcile(&context, &key()).await.is_err());
    let stage =
        |version: &str| server.object(&format!("modelversions/m-{version}"))["status"]["stage"].clone();
    assert_eq!((stage("1.0.0"), stage("1.2.0")), (json!("Production"), json!("Verified")));
    server.refuse(|_, _| None);
    reconcile(&context, &key()).await.unwrap();
    assert_eq!((stage("1.0.0"), stage("1.2.0")), (json!("Production"), json!("Verified")));
    let status = &server.object("rollouts/r-1.2.0")["status"];
    assert!(status["judge"]["state"].as_str().unwrap().contains("RollingBack"), "{status}");
    assert_eq!(sent(&context).unwrap().stable.unwrap().version.to_string(), "1.0.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_held_before_anything_is_told_by_which_they_are_needed() {
    let active = rollout("1.2.0", Some("Progressing"), &json!({"abort": true}));
    let (server, context, _broker) = controller(of(versions(), vec![active])).await;
    reconcile(&context, &key()).await.unwrap();
    let writes = server.writes();
    let at = |path: &str| writes.iter().position(|written| written == path);
    let status = at("rollouts/r-1.2.0/status");
    for version in ["1.0.0", "1.2.0"] {
        let path = format!("modelversions/m-{version}");
        assert!(at(&path).is_some_and(|held| Some(held) < status), "{version}: {writes:?}");
        assert_eq!(server.object(&path)["metadata"]["finalizers"], json!(["modelfleet.io/in-use"]));
    }
    assert_eq!(at("modelversions/m-1.1.0"), None, "nobody needs it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_cannot_be_held_keeps_no_plan_from_going_out() {
    let active = rollout("1.2.0", Some("Progressing"), &json!({"abort": true}));
    let (server, context, _broker) = controller(of(versions(), vec![active])).await;
    server.refuse(|path, body| {
        (path.starts_with("modelversions/") && !body["metadata"]["finalizers"].is_null()).then_some(403)
    });
    assert!(reconcile(&context, &key()).await.is_err(), "it is tried again");
    assert!(sent(&context).unwrap().candidate.is_none());
    let status = &server.object("rollouts/r-1.2.0")["status"];
    assert!(status["judge"]["state"].as_str().unwrap().contains("RollingBack"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_version_stays_while_it_is_needed_and_says_by_whom_once() {
    let mut objects = of(versions(), vec![rollout("1.2.0", Some("Succeeded"), &json!({}))]);
    objects[0] = deleted("1.0.0", "Archived");
    objects[1] = deleted("1.1.0", "Archived");
    objects[2] = version("1.2.0", "Production");
    let (server, context, _broker) = controller(objects).await;
    reconcile(&context, &key()).await.unwrap();
    let held = |version: &str| {
        server.object(&format!("modelversions/m-{version}"))["metadata"]["finalizers"].clone()
    };
    assert_eq!(held("1.0.0"), json!(["modelfleet.io/in-use"]), "devices go back to it");
    assert_eq!(held("1.1.0"), json!([]), "nobody needs it");
    let conditions = server.object("modelversions/m-1.0.0")["status"]["conditions"].clone();
    let blocked = conditions.as_array().unwrap().iter().find(|c| c["type"] == "DeletionBlocked").unwrap();
    assert_eq!((&blocked["status"], &blocked["reason"]), (&json!("True"), &json!("WayBack")));
    assert!(blocked["message"].as_str().unwrap().contains("rollout r-1.2.0"), "{blocked}");
    assert_eq!(server.writes().iter().filter(|path| path.contains("events")).count(), 1);
    reconcile(&context, &key()).await.unwrap();
    assert_eq!(server.writes(), Vec::<String>::new(), "it is told once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_needs_a_version_until_what_was_decided_is_stored_too() {
    let mut objects = of(versions(), vec![rollout("1.2.0", Some("Succeeded"), &json!({"version": "1.1.0"}))]);
    objects[0] = deleted("1.0.0", "Archived");
    objects[2] = version("1.2.0", "Production");
    let (server, context, _broker) = controller(objects).await;
    server.refuse(|path, _| path.ends_with("r-1.2.0/status").then_some(500));
    assert!(reconcile(&context, &key()).await.is_err());
    let held = || server.object("modelversions/m-1.0.0")["metadata"]["finalizers"].clone();
    assert_eq!(held(), json!(["modelfleet.io/in-use"]), "the status that is stored goes back to it");
    server.refuse(|_, _| None);
    reconcile(&context, &key()).await.unwrap();
    assert_eq!(held(), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_cannot_watch_its_objects_is_not_ready_and_says_why() {
    use modelfleet_controller::http::{Shown, Stand, serve};
    use modelfleet_controller::run::{Scope, watch};
    use std::time::{Duration, Instant};

    let (server, context, _broker) = controller(Vec::new()).await;
    let metrics = context.metrics.clone();
    metrics.link(true, true);
    let shown = Shown { metrics: metrics.clone(), stand: Arc::default() };
    // As without the definitions: nobody knows the path.
    server.refuse(|_, _| Some(404));
    let (_, writer) = kube::runtime::reflector::store::<modelfleet_crds::Rollout>();
    let all = tokio_util::sync::CancellationToken::new();
    let watching = watch(context.client.clone(), Scope::All, metrics.clone(), writer, all, |_, _| {});
    let watching = tokio::spawn(watching);
    let found = async {
        loop {
            if let Some(broken) = metrics.broken_watch(Instant::now()) {
                return broken;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (kind, ..) = tokio::time::timeout(Duration::from_secs(20), found).await.expect("it tells");
    watching.abort();
    assert_eq!(kind, "rollouts");
    let port = free_port().unwrap();
    shown.set(Stand::Leading(Arc::new(context)));
    tokio::spawn(serve(
        ([127, 0, 0, 1], port).into(),
        shown,
        true,
        tokio_util::sync::CancellationToken::new(),
    ));
    metrics.watch_is_well("rollouts");
    let ready = || wait("an answer", || http::request(("127.0.0.1", port), "GET", "/readyz", "").ok());
    assert_eq!(ready(), (200, "leading\n".to_owned()));
    metrics.watch_broke("rollouts", "404 page not found", Instant::now() - Duration::from_secs(20));
    metrics.watch_broke("rollouts", "404 page not found", Instant::now());
    let (status, answer) = ready();
    assert_eq!(status, 503, "{answer}");
    assert!(answer.contains("cannot watch rollouts for 20 s: 404 page not found"), "{answer}");
}
