//! The watch over a version in production, on real parts.

use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use modelfleet_crds::rollout::status::WatchProgress;
use serde_json::json;

use crate::plant::Plant;
use crate::{LONG, fleet};

/// Windows of a second without anything bad, after which no alarm may have come.
const QUIET_WINDOWS: i64 = 20;

async fn watched(plant: &Plant, version: &str) -> WatchProgress {
    let rollout = plant.rollouts().get(&format!("r-{version}")).await.unwrap();
    rollout.status.unwrap_or_default().watch.unwrap_or_default()
}

async fn wait_windows(plant: &Plant, version: &str, windows: i64) -> WatchProgress {
    let read = async || {
        let watch = watched(plant, version).await;
        (watch.windows >= windows).then_some(watch)
    };
    plant.eventually(&format!("{version} to be watched for {windows} windows"), LONG, read).await
}

/// Reason and message of the condition, while there is an alarm.
async fn alarm(plant: &Plant, version: &str) -> Option<(String, String)> {
    let rollout = plant.rollouts().get(&format!("r-{version}")).await.unwrap();
    let conditions = rollout.status.unwrap_or_default().conditions;
    let alarm = conditions.into_iter().find(|condition| condition.type_ == "Alarm")?;
    (alarm.status == "True").then_some((alarm.reason, alarm.message))
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_hold_back_the_watch_is_quiet_until_devices_get_worse_and_then_says_which() {
    let mut plant = Plant::start("watch").await;
    let (badness, _) = fleet(&plant, 24).await;
    plant.register("1.0.0").await;
    plant.roll_out("1.0.0").await;
    plant.wait("1.0.0", "Succeeded", LONG).await;
    // Of windows of a second there are many in a year; with a day the alarm comes within half a minute.
    plant.patch("1.0.0", json!({"watch": {"falseAlarmEvery": "1d"}})).await;
    wait_windows(&plant, "1.0.0", QUIET_WINDOWS).await;
    assert_eq!(alarm(&plant, "1.0.0").await, None);

    let before = watched(&plant, "1.0.0").await;
    plant.restart_controller();
    let after = wait_windows(&plant, "1.0.0", before.windows + 1).await;
    assert!(after.state.starts_with("watch1 "), "{after:?}");
    assert_eq!(alarm(&plant, "1.0.0").await, None);

    badness.lock().unwrap().insert("1.0.0 old".into(), 60);
    let raised = async || alarm(&plant, "1.0.0").await;
    let (reason, message) = plant.eventually("an alarm", LONG, raised).await;
    assert_eq!(reason, "GroupWorse", "{message}");
    assert!(message.contains("have age=old: too many errors on "), "{message}");
    plant.wait_for("1.0.0", LONG, |phase, _| phase == "Succeeded").await;
    let events: Api<Event> = Api::namespaced(plant.client.clone(), &plant.namespace);
    let told = async || {
        let told = events.list(&ListParams::default()).await.unwrap().items;
        told.iter().any(|event| event.reason.as_deref() == Some("AlarmRaised")).then_some(())
    };
    plant.eventually("the event AlarmRaised", LONG, told).await;

    let lasts = watched(&plant, "1.0.0").await;
    plant.restart_controller();
    let still = wait_windows(&plant, "1.0.0", lasts.windows + 2).await;
    assert_eq!(still.alarm_since, lasts.alarm_since, "a restart raises no second alarm");
    assert_eq!(alarm(&plant, "1.0.0").await, Some((reason, message)));

    badness.lock().unwrap().insert("1.0.0 old".into(), 0);
    let cleared = async || alarm(&plant, "1.0.0").await.is_none().then_some(());
    plant.eventually("the alarm to clear", LONG, cleared).await;
}
