//! The controller as a process between a real API server, a real broker and pretended devices.
//!
//! MODELFLEET_KUBECONFIG names the kubeconfig of an administrator, as `tests/controlplane/run.sh` writes it, with the CRDs
//! applied.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test may end where it stands")]

#[path = "whole/devices.rs"]
mod devices;
#[path = "whole/fencing.rs"]
mod fencing;
#[path = "whole/fleet.rs"]
mod fleet;
#[path = "whole/history.rs"]
mod history;
#[path = "whole/metrics.rs"]
mod metrics;
#[path = "whole/plant.rs"]
mod plant;
#[path = "whole/single_devices.rs"]
mod single_devices;
#[path = "whole/telling.rs"]
mod telling;
#[path = "whole/trusted.rs"]
mod trusted;
#[path = "whole/watch.rs"]
mod watch;

use std::time::Duration;

use fleet::Fleet;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use plant::Plant;
use serde_json::json;

const LONG: Duration = Duration::from_secs(120);

async fn fleet(
    plant: &Plant,
    count: usize,
) -> (fleet::Badness, std::sync::Arc<std::sync::Mutex<Vec<modelfleet_protocol::plan::Plan>>>) {
    let fleet = Fleet::new(&plant.namespace, "m", count, plant.broker.port(), plant.key);
    let (badness, plans) = (fleet.badness(), std::sync::Arc::clone(&fleet.plans));
    tokio::spawn(fleet.live());
    (badness, plans)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_version_gets_through_and_a_bad_one_is_taken_back() {
    let plant = Plant::start("good-and-bad").await;
    let (badness, plans) = fleet(&plant, 60).await;
    badness.lock().unwrap().insert("1.2.0".into(), 60);
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        plant.register(version).await;
    }
    plant.roll_out("1.0.0").await;
    plant.wait("1.0.0", "Succeeded", LONG).await;
    plant.roll_out("1.1.0").await;
    plant.wait("1.1.0", "Succeeded", LONG).await;
    assert_eq!(plant.stage("1.1.0").await, "Production");
    assert_eq!(plant.stage("1.0.0").await, "Archived");
    plant.roll_out("1.2.0").await;
    plant.wait("1.2.0", "RolledBack", LONG).await;
    assert_eq!(plant.stage("1.2.0").await, "Rejected");
    assert_eq!(plant.stage("1.1.0").await, "Production");
    let metrics = plant.metrics();
    for line in metrics.lines().filter(|l| l.contains("evidence_to_plan") || l.contains("plans_published")) {
        println!("{line}");
    }
    assert!(metrics.contains("modelfleet_rollout_phase{") && metrics.contains("phase=\"RolledBack\"} 1"));
    let last = plans.lock().unwrap().last().cloned().unwrap();
    assert!(last.candidate.is_none() && last.rejected.len() == 1);
    assert_eq!(last.stable.unwrap().version.to_string(), "1.1.0");
}

/// The conclusion, whom it hit, what became of the version and what to do, the statistics last: in the status and in its
/// newest event.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_reads_whom_a_version_harmed_and_what_to_do() {
    let plant = Plant::start("stranger").await;
    let (badness, _) = fleet(&plant, 60).await;
    badness.lock().unwrap().insert("1.1.0 old".into(), 60);
    for version in ["1.0.0", "1.1.0"] {
        plant.register(version).await;
    }
    plant.roll_out("1.0.0").await;
    plant.wait("1.0.0", "Succeeded", LONG).await;
    plant.roll_out_from("1.1.0", "24").await;
    plant.wait("1.1.0", "RolledBack", LONG).await;
    let in_order = |told: &str, parts: &[&str]| {
        let places: Vec<Option<usize>> = parts.iter().map(|part| told.find(part)).collect();
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} {told}");
    };
    let rest = ["1.1.0 is Rejected; register a new one. ", "Statistics: "];
    let (_, told) = plant.phase("1.1.0").await;
    // Which test finds it first is chance: the one of all devices, or the one of the values of a label.
    let conclusion = match told.contains("(limit 1 %)") {
        true => vec![
            "Rolled back 1.1.0 on ",
            ": too many errors (limit 1 %) on ",
            " updated devices, ",
            " have age=old. ",
        ],
        false => vec!["Rolled back 1.1.0 on ", ": too many errors where ", "age=old", ": bad in "],
    };
    in_order(&told, &[&conclusion[..], &rest[..]].concat());
    let events: Api<Event> = Api::namespaced(plant.client.clone(), &plant.namespace);
    let back = events.list(&ListParams::default()).await.unwrap().items.into_iter();
    let note =
        back.filter(|event| event.reason.as_deref() == Some("RolledBack")).find_map(|event| event.note);
    let note = note.unwrap();
    in_order(&note, &conclusion);
    assert!(
        note.ends_with("1.1.0 is Rejected; register a new one."),
        "nothing is cut within a sentence: {note}"
    );
}

/// Every device has it, and all of them break an objective: a condition and an event say so, and say when it is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_breach_after_success_is_told() {
    let plant = Plant::start("breach").await;
    let (badness, _) = fleet(&plant, 24).await;
    for version in ["1.0.0", "1.1.0"] {
        plant.register(version).await;
        plant.roll_out(version).await;
        plant.wait(version, "Succeeded", LONG).await;
    }
    badness.lock().unwrap().insert("1.1.0".into(), 90);
    plant.wait_for("1.1.0", LONG, |_, what| what.contains("is in production and breaks an objective")).await;
    assert!(plant.condition("1.1.0", "Breached").await.is_some());
    badness.lock().unwrap().insert("1.1.0".into(), 1);
    plant.wait_for("1.1.0", LONG, |_, what| what.ends_with("Version 1.1.0 is in production.")).await;
    assert_eq!(plant.condition("1.1.0", "Breached").await, None);
    let events: Api<Event> = Api::namespaced(plant.client.clone(), &plant.namespace);
    let told = events.list(&ListParams::default()).await.unwrap().items;
    let reasons: Vec<&str> = told.iter().filter_map(|event| event.reason.as_deref()).collect();
    assert!(reasons.contains(&"BreachInProduction"), "{reasons:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_it_goes_on() {
    let mut plant = Plant::start("killed").await;
    let (badness, plans) = fleet(&plant, 40).await;
    badness.lock().unwrap().insert("1.1.0".into(), 60);
    plant.register("1.0.0").await;
    plant.register("1.1.0").await;
    plant.roll_out("1.0.0").await;
    plant.wait_for("1.0.0", LONG, |_, what| what.contains("broad")).await;
    let revision = |plans: &std::sync::Mutex<Vec<modelfleet_protocol::plan::Plan>>| {
        plans.lock().unwrap().last().map(|p| (p.order.epoch, p.order.revision)).unwrap()
    };
    let before = revision(&plans);
    plant.restart_controller();
    plant.wait("1.0.0", "Succeeded", LONG).await;
    assert!(revision(&plans) > before, "a new leader is a new epoch");
    plant.roll_out("1.1.0").await;
    plant.wait_for("1.1.0", LONG, |_, what| what.contains("canary")).await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(900)).await;
        plant.restart_controller();
    }
    plant.wait("1.1.0", "RolledBack", LONG).await;
    let memberships =
        |plans: &[modelfleet_protocol::plan::Plan]| -> Vec<modelfleet_protocol::membership::Membership> {
            plans.iter().filter_map(|p| p.candidate.as_ref()).map(|c| c.membership.clone()).collect()
        };
    let drawn = memberships(&plans.lock().unwrap());
    for pair in drawn.windows(2).filter(|pair| pair[0].salt == pair[1].salt) {
        assert!(pair[1].grew_from(&pair[0]), "who is in stays in");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_pause_abort_and_delete() {
    let plant = Plant::start("people").await;
    let (_, plans) = fleet(&plant, 20).await;
    plant.register("1.0.0").await;
    plant.register("1.1.0").await;
    plant.roll_out("1.0.0").await;
    plant.wait("1.0.0", "Succeeded", LONG).await;
    plant.roll_out("1.1.0").await;
    plant.wait_for("1.1.0", LONG, |_, what| what.contains("canary")).await;
    plant.patch("1.1.0", json!({"paused": true})).await;
    plant.wait("1.1.0", "Paused", LONG).await;
    plant.patch("1.1.0", json!({"paused": false})).await;
    plant.wait("1.1.0", "Progressing", LONG).await;
    plant.patch("1.1.0", json!({"abort": true})).await;
    plant.wait("1.1.0", "RolledBack", LONG).await;
    assert_eq!(plant.stage("1.1.0").await, "Verified", "an abort rejects nothing");
    plant.patch("1.1.0", json!({"abort": false, "retryToken": "again"})).await;
    plant.wait_for("1.1.0", LONG, |phase, what| phase == "Progressing" && what.contains("canary")).await;
    let started = std::time::Instant::now();
    plant.rollouts().delete("r-1.1.0", &kube::api::DeleteParams::default()).await.unwrap();
    while plant.rollouts().get_opt("r-1.1.0").await.unwrap().is_some() {
        assert!(started.elapsed() < Duration::from_secs(20), "deletion hangs\n{}", plant.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("deleted after {:?}", started.elapsed());
    let last = plans.lock().unwrap().last().cloned().unwrap();
    assert!(last.candidate.is_none());
    assert_eq!(last.stable.unwrap().version.to_string(), "1.0.0");
}

/// What is proven for some devices is theirs alone, across a restart of the controller, and so is the way back.
#[tokio::test(flavor = "multi_thread")]
async fn a_selector_promotes_for_its_devices_alone() {
    let mut plant = Plant::start("selector").await;
    let (_, plans) = fleet(&plant, 24).await;
    for version in ["1.0.0", "1.1.0", "1.2.0"] {
        plant.register(version).await;
    }
    plant.roll_out("1.0.0").await;
    plant.wait("1.0.0", "Succeeded", LONG).await;
    let old = json!({"matchLabels": {"age": "old"}});
    plant.roll_out_to("1.1.0", old).await;
    plant.wait("1.1.0", "Succeeded", LONG).await;
    assert_eq!([plant.stage("1.0.0").await, plant.stage("1.1.0").await], ["Production"; 2]);
    assert_eq!(plant.devices("1.1.0").await, "age=old");
    plant.restart_controller();
    // The way back of a rollout to all is each device's own.
    plant.roll_out("1.2.0").await;
    plant.wait_for("1.2.0", LONG, |_, what| what.contains("broad")).await;
    plant.patch("1.2.0", json!({"abort": true})).await;
    plant.wait("1.2.0", "RolledBack", LONG).await;
    // Of all plans that ever went out, none gave the young what no stage brought them.
    let of = |plan: &modelfleet_protocol::plan::Plan, age: &str| {
        let labels = [("age".to_owned(), age.to_owned())].into();
        plan.stable_of(&labels).map(|build| build.version.to_string())
    };
    let plans = plans.lock().unwrap().clone();
    let young: Vec<String> = plans.iter().filter_map(|plan| of(plan, "new")).collect();
    assert!(young.iter().all(|version| version == "1.0.0"), "{young:?}");
    let last = plans.last().unwrap();
    assert_eq!(of(last, "old").as_deref(), Some("1.1.0"));
    assert!(last.candidate.is_none());
}

/// Everything is exported, deleted and applied again without statuses: nothing runs again and no device moves. And so when
/// it is applied from files that never had an annotation.
#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_is_applied_again_moves_nothing() {
    let plant = Plant::start("restored").await;
    let (badness, plans) = fleet(&plant, 20).await;
    badness.lock().unwrap().insert("1.2.0".into(), 101);
    for (version, end) in [("1.0.0", "Succeeded"), ("1.1.0", "Succeeded"), ("1.2.0", "RolledBack")] {
        plant.register(version).await;
        plant.roll_out(version).await;
        plant.wait(version, end, LONG).await;
        plant.wait_marked(version).await;
    }
    let (versions, rollouts) = plant.exported().await;
    plant.delete_all().await;
    let told = plans.lock().unwrap().len();
    plant.apply_again(&versions, &rollouts).await;
    for (version, end) in [("1.0.0", "Succeeded"), ("1.1.0", "Succeeded"), ("1.2.0", "RolledBack")] {
        plant.wait(version, end, LONG).await;
        assert!(
            plant
                .condition(version, "Restored")
                .await
                .is_some_and(|why| why.contains("says that it had ended"))
        );
    }
    plant.wait_stage("1.1.0", "Production").await;
    plant.wait_stage("1.2.0", "Rejected").await;
    // Finalizers that came back with the export belong to who applied it; they are no reason to stay.
    plant.delete_all().await;
    let (versions, rollouts) = (bare(&versions), bare(&rollouts));
    plant.apply_again(&versions, &rollouts).await;
    plant.wait("1.1.0", "Succeeded", LONG).await;
    plant
        .wait_for("1.0.0", LONG, |phase, what| phase == "Stalled" && what.contains("may have ended already"))
        .await;
    plant.wait_for("1.2.0", LONG, |phase, what| phase == "Stalled" && what.contains("was rejected")).await;
    plant.wait_stage("1.1.0", "Production").await;
    for plan in plans.lock().unwrap().iter().skip(told) {
        let stable = plan.stable.as_ref().map(|build| build.version.to_string());
        assert_eq!((stable.as_deref(), plan.candidate.is_none()), (Some("1.1.0"), true));
    }
    // A person says that it shall run.
    plant.patch("1.0.0", json!({"retryToken": "I mean it"})).await;
    plant.wait_for("1.0.0", LONG, |_, what| what.contains("canary")).await;
}

/// The Lease, the broker's memory and all statuses, each lost alone and with the others: production and rejections come
/// back, nothing that has ended runs again, no device moves, and the fleet obeys the controller.
#[tokio::test(flavor = "multi_thread")]
async fn what_cluster_and_broker_have_lost_comes_back() {
    let mut plant = Plant::start("lost").await;
    let (badness, plans) = fleet(&plant, 20).await;
    badness.lock().unwrap().insert("1.2.0".into(), 101);
    let ends = [("1.0.0", "Succeeded"), ("1.1.0", "Succeeded"), ("1.2.0", "RolledBack")];
    for (version, end) in ends {
        plant.register(version).await;
        plant.roll_out(version).await;
        plant.wait(version, end, LONG).await;
        plant.wait_marked(version).await;
    }
    let told = plans.lock().unwrap().len();
    for losses in 1..8 {
        let [broker, lease, statuses] = [1, 2, 4].map(|bit| losses & bit != 0);
        println!("== lost: broker's memory {broker}, Lease {lease}, statuses {statuses}");
        let before = plans.lock().unwrap().len();
        let (versions, rollouts) = plant.exported().await;
        if statuses {
            plant.delete_all().await;
        }
        plant
            .lose(broker, lease, async |plant: &Plant| {
                if statuses {
                    plant.apply_again(&versions, &rollouts).await;
                }
            })
            .await;
        for (version, end) in ends {
            plant.wait(version, end, LONG).await;
        }
        plant.wait_stage("1.1.0", "Production").await;
        plant.wait_stage("1.2.0", "Rejected").await;
        plant.wait_obeyed(&plans, before).await;
        plant.wait_marked("1.2.0").await;
    }
    // Files from Git have no marks either: the plan that devices hold says what has ended.
    let (versions, rollouts) = plant.exported().await;
    plant.delete_all().await;
    let (versions, rollouts) = (bare(&versions), bare(&rollouts));
    plant.lose(true, true, async |plant: &Plant| plant.apply_again(&versions, &rollouts).await).await;
    plant.wait("1.1.0", "Succeeded", LONG).await;
    plant.wait_for("1.2.0", LONG, |phase, what| phase == "Stalled" && what.contains("was rejected")).await;
    plant
        .wait_for("1.0.0", LONG, |phase, what| phase == "Stalled" && what.contains("may have ended already"))
        .await;
    for plan in plans.lock().unwrap().iter().skip(told) {
        let stable = plan.stable.as_ref().map(|build| build.version.to_string());
        assert_eq!((stable.as_deref(), plan.candidate.is_none()), (Some("1.1.0"), true));
    }
    plant.register("1.3.0").await;
    plant.roll_out("1.3.0").await;
    plant.wait("1.3.0", "Succeeded", LONG).await;
}

/// Objects as files have them that never met a cluster.
fn bare(objects: &[serde_json::Value]) -> Vec<serde_json::Value> {
    let stripped = objects.iter().cloned().map(|mut object| {
        object["metadata"].as_object_mut().unwrap().retain(|key, _| key == "name");
        object
    });
    stripped.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_version_stays_while_it_is_needed_and_no_longer() {
    let plant = Plant::start("in-use").await;
    let (badness, _plans) = fleet(&plant, 20).await;
    badness.lock().unwrap().insert("1.2.0".into(), 101);
    for version in ["1.0.0", "1.1.0", "1.2.0", "1.3.0"] {
        plant.register(version).await;
    }
    for (version, end) in [("1.0.0", "Succeeded"), ("1.1.0", "Succeeded"), ("1.2.0", "RolledBack")] {
        plant.roll_out(version).await;
        plant.wait(version, end, LONG).await;
    }
    let delete = DeleteParams::default();
    plant.delete_version("1.3.0").await;
    plant.wait_gone(plant.versions(), "m-1.3.0", LONG).await;

    plant.delete_version("1.0.0").await;
    let why = plant.wait_blocked("1.0.0", "WayBack").await;
    assert!(why.contains("rollout r-1.1.0"), "{why}");
    plant.patch("1.1.0", json!({"abort": true})).await;
    plant.wait("1.1.0", "RolledBack", LONG).await;
    assert_eq!(plant.stage("1.0.0").await, "Production", "it was there to go back to");
    plant.wait_blocked("1.0.0", "InProduction").await;
    let events: Api<Event> = Api::namespaced(plant.client.clone(), &plant.namespace);
    let told = events.list(&ListParams::default()).await.unwrap();
    let told = told.items.iter().filter(|event| event.reason.as_deref() == Some("DeletionBlocked"));
    assert_eq!(told.count(), 2, "one for each reason");

    plant.delete_version("1.2.0").await;
    plant.wait_blocked("1.2.0", "RejectionKept").await;
    plant.rollouts().delete("r-1.2.0", &delete).await.unwrap();
    plant.wait_gone(plant.versions(), "m-1.2.0", LONG).await;

    // A namespace takes everything with it, also what is in use.
    plant.patch("1.1.0", json!({"abort": false, "retryToken": "again"})).await;
    plant.wait_for("1.1.0", LONG, |phase, _| phase == "Progressing").await;
    let namespaces: Api<Namespace> = Api::all(plant.client.clone());
    namespaces.delete(&plant.namespace, &delete).await.unwrap();
    plant.wait_gone(namespaces, &plant.namespace, LONG).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_work_says_so_and_stops_nobody() {
    let mut plant = Plant::start("wrong").await;
    let (badness, _) = fleet(&plant, 20).await;
    plant.register("1.0.0").await;
    let wrong = plant.dir.path().join("wrong.onnx");
    std::fs::write(&wrong, b"other").unwrap();
    plant.register_as("1.4.0", &wrong, b"bytes").await;
    plant.roll_out("1.4.0").await;
    plant.wait_for("1.4.0", LONG, |_, what| what.contains("has another digest, but sha256:")).await;
    assert_eq!(plant.stage("1.4.0").await, "Rejected");
    plant.roll_out("9.9.9").await;
    plant.wait_for("9.9.9", LONG, |_, what| what.contains("not registered")).await;
    // Both are older and wrong: neither keeps a good one waiting.
    plant.roll_out("1.0.0").await;
    plant.wait_for("1.0.0", LONG, |_, what| what.contains("broad")).await;
    plant.broker.part().kill();
    plant.wait_for("1.0.0", LONG, |_, what| what.contains("Waiting for the broker")).await;
    plant.broker.start_again().unwrap();
    plant.wait("1.0.0", "Succeeded", LONG).await;
    // A version that fails to load, on every canary: taken back in seconds, without a window of evidence.
    badness.lock().unwrap().insert("1.5.0".into(), 101);
    plant.register("1.5.0").await;
    plant.roll_out("1.5.0").await;
    plant.wait("1.5.0", "RolledBack", LONG).await;
}
