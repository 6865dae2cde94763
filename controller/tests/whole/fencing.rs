//! Two controllers as processes: one is stopped for longer than its Lease, the other takes over, and the first goes on.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use kube::ResourceExt as _;
use kube::runtime::{WatchStreamExt as _, watcher};
use modelfleet_protocol::plan::Plan;
use serde_json::json;

use crate::LONG;
use crate::fleet::Fleet;
use crate::plant::Plant;

/// Every status of a rollout that was stored since, newest last: the phase and the epoch of the leader that wrote it.
type Statuses = Arc<Mutex<Vec<(String, Option<i64>)>>>;

fn watch_statuses(plant: &Plant, rollout: &str) -> Statuses {
    let statuses = Statuses::default();
    let (kept, rollout) = (Arc::clone(&statuses), rollout.to_owned());
    let events = watcher(plant.rollouts(), watcher::Config::default()).default_backoff().applied_objects();
    tokio::spawn(async move {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            let Ok(object) = event else { continue };
            if object.name_any() == rollout
                && let Some(status) = object.status
            {
                let phase = status.phase.map(|phase| format!("{phase:?}")).unwrap_or_default();
                kept.lock().unwrap().push((phase, status.epoch));
            }
        }
    });
    statuses
}

async fn plan_where(plant: &Plant, plans: &Mutex<Vec<Plan>>, what: &str, is: impl Fn(&Plan) -> bool) -> Plan {
    let found = async || plans.lock().unwrap().iter().rev().find(|plan| is(plan)).cloned();
    plant.eventually(what, LONG, found).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_wakes_after_its_lease_publishes_nothing_writes_nothing_and_ends() {
    let mut plant = Plant::start("fencing").await;
    let fleet = Fleet::new(&plant.namespace, "m", 20, plant.broker.port(), plant.key);
    let plans = Arc::clone(&fleet.plans);
    tokio::spawn(fleet.live());
    for version in ["1.0.0", "1.1.0"] {
        plant.register(version).await;
    }
    plant.roll_out("1.0.0").await;
    plant.wait("1.0.0", "Succeeded", LONG).await;
    plant.roll_out("1.1.0").await;
    plant.wait_for("1.1.0", LONG, |_, what| what.contains("canary")).await;
    plant.patch("1.1.0", json!({"paused": true})).await;
    plant.wait("1.1.0", "Paused", LONG).await;
    let first = plan_where(&plant, &plans, "a plan of the first leader", |_| true).await.order.epoch;

    let mut second = plant.beside("second");
    assert_eq!(plant.leader().await.as_deref(), Some("test"));
    plant.controller.freeze();
    let took_over = async || (plant.leader().await.as_deref() == Some("second")).then_some(());
    plant.eventually("the second controller to lead", LONG, took_over).await;
    let taken =
        plan_where(&plant, &plans, "a plan of the second leader", |plan| plan.order.epoch > first).await;
    let epoch = taken.order.epoch;
    // What the first one finds when it wakes: an edit that it has not seen, and statuses that it did not write.
    plant.patch("1.1.0", json!({"paused": false})).await;
    plant.wait("1.1.0", "Progressing", LONG).await;
    let statuses = watch_statuses(&plant, "r-1.1.0");
    let stored = async || (!statuses.lock().unwrap().is_empty()).then_some(());
    plant.eventually("the watch to have begun", LONG, stored).await;
    let before = plans.lock().unwrap().len();

    plant.controller.resume();
    let end = plant.controller.wait_end(Duration::from_secs(30)).unwrap();
    println!("the first controller ended with {end}:\n{}", plant.log());
    assert!(!end.success(), "it says that it lost its Lease");
    assert!(plant.log().contains("no longer leads"), "{}", plant.log());

    // The second one goes on to the end; whatever the first one sent came before that.
    plant.wait("1.1.0", "Succeeded", LONG).await;
    plan_where(&plant, &plans, "the plan with 1.1.0 as the stable build", |plan| {
        plan.stable.as_ref().is_some_and(|build| build.version.to_string() == "1.1.0")
    })
    .await;
    let after: Vec<u64> = plans.lock().unwrap()[before..].iter().map(|plan| plan.order.epoch).collect();
    assert!(!after.is_empty() && after.iter().all(|of| *of == epoch), "{after:?}, all of {epoch}");
    let statuses = statuses.lock().unwrap().clone();
    let others: Vec<_> = statuses.iter().filter(|(_, of)| *of != i64::try_from(epoch).ok()).collect();
    assert!(statuses.len() > 1 && others.is_empty(), "{others:?} among {} of epoch {epoch}", statuses.len());
    assert!(second.is_running(), "{}", second.log_end());
    assert_eq!(plant.leader().await.as_deref(), Some("second"));
    second.stop();
}
