//! Orders of single devices, from the object to the device and back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use modelfleet_crds::DeviceOrder;
use serde_json::{Value, json};

use crate::LONG;
use crate::fleet::Fleet;
use crate::plant::Plant;

const SOON: Duration = Duration::from_secs(40);

type Running = Arc<Mutex<BTreeMap<String, String>>>;

fn orders(plant: &Plant) -> Api<DeviceOrder> {
    Api::namespaced(plant.client.clone(), &plant.namespace)
}

async fn give(plant: &Plant, device: &str, spec: Value) {
    let mut object = json!({
        "apiVersion": "modelfleet.io/v1alpha1", "kind": "DeviceOrder",
        "metadata": {"name": device, "annotations": {"modelfleet.io/given-by": "maria"}}, "spec": spec,
    });
    object["spec"]["device"] = json!(device);
    let object = serde_json::from_value(object).unwrap();
    orders(plant).create(&PostParams::default(), &object).await.unwrap();
}

async fn edit(plant: &Plant, device: &str, spec: Value) {
    let patch = Patch::Merge(json!({ "spec": spec }));
    orders(plant).patch(device, &PatchParams::default(), &patch).await.unwrap();
}

/// Waits until a condition has this status and reason.
async fn wait_told(plant: &Plant, device: &str, kind: &str, told: (&str, &str)) -> String {
    let look = async || {
        let status = orders(plant).get(device).await.unwrap().status.unwrap_or_default();
        let condition = status.conditions.into_iter().find(|c| c.type_ == kind);
        condition.filter(|c| (c.status.as_str(), c.reason.as_str()) == told).map(|c| c.message)
    };
    let message = plant.eventually(&format!("{device} to say {kind} {told:?}"), SOON, look).await;
    println!("{device}: {kind} {told:?} {message}");
    message
}

async fn wait_runs(plant: &Plant, running: &Running, device: &str, version: &str) {
    let look =
        async || (running.lock().unwrap().get(device).map(String::as_str) == Some(version)).then_some(());
    plant.eventually(&format!("{device} to run {version}"), SOON, look).await;
}

/// Waits until so many devices are in the index.
async fn wait_counted(plant: &Plant, devices: usize) {
    let line = format!("modelfleet_index_devices {devices}");
    let counted = async || plant.metrics_if_up()?.lines().any(|told| told == line).then_some(());
    plant.eventually(&format!("{devices} devices to be counted"), SOON, counted).await;
}

/// Hold, a rollout that passes by, a controller that starts anew, release; then pin, a broker that loses its memory, and an
/// object that is deleted; then an order for a device that is not there, and a retired device that goes on to speak (case 18).
#[tokio::test(flavor = "multi_thread")]
async fn single_devices_are_held_pinned_released_and_retired() {
    let mut plant = Plant::start("single").await;
    let fleet = Fleet::new(&plant.namespace, "m", 20, plant.broker.port(), plant.key);
    let running = Arc::clone(&fleet.running);
    tokio::spawn(fleet.live());
    for version in ["1.0.0", "1.1.0"] {
        plant.register(version).await;
    }
    plant.roll_out("1.0.0").await;
    plant.wait("1.0.0", "Succeeded", LONG).await;

    give(&plant, "pump-003", json!({"models": [{"model": "m", "hold": true, "reason": "under repair"}]}))
        .await;
    wait_told(&plant, "pump-003", "Sent", ("True", "AtBroker")).await;
    wait_told(&plant, "pump-003", "Taken", ("True", "Taken")).await;
    plant.roll_out("1.1.0").await;
    plant.wait("1.1.0", "Succeeded", LONG).await;
    wait_runs(&plant, &running, "pump-003", "1.0.0").await;
    wait_runs(&plant, &running, "pump-004", "1.1.0").await;
    plant.restart_controller();
    edit(&plant, "pump-003", json!({"models": []})).await;
    wait_told(&plant, "pump-003", "Taken", ("True", "FollowsPlans")).await;
    wait_runs(&plant, &running, "pump-003", "1.1.0").await;
    let history = orders(&plant).get("pump-003").await.unwrap().status.unwrap().history;
    let told: Vec<(&str, &str)> = history.iter().map(|one| (one.order.as_str(), one.by.as_str())).collect();
    assert_eq!(told, [("hold m", "maria"), ("release", "maria")]);

    give(&plant, "pump-004", json!({"models": [{"model": "m", "pin": "9.9.9"}]})).await;
    wait_told(&plant, "pump-004", "Sent", ("False", "UnknownVersion")).await;
    edit(&plant, "pump-004", json!({"models": [{"model": "m", "pin": "1.0.0"}]})).await;
    wait_runs(&plant, &running, "pump-004", "1.0.0").await;
    wait_told(&plant, "pump-004", "Taken", ("True", "Taken")).await;
    let revision = |order: DeviceOrder| {
        order.status.and_then(|status| status.sent).map(|sent| (sent.epoch, sent.revision))
    };
    let before = revision(orders(&plant).get("pump-004").await.unwrap());
    plant.lose(true, false, async |_: &Plant| {}).await;
    let again = async || (revision(orders(&plant).get("pump-004").await.unwrap()) > before).then_some(());
    plant.eventually("the pin to be sent again", SOON, again).await;
    wait_told(&plant, "pump-004", "Taken", ("True", "Taken")).await;
    wait_runs(&plant, &running, "pump-004", "1.0.0").await;
    orders(&plant).delete("pump-004", &DeleteParams::default()).await.unwrap();
    wait_runs(&plant, &running, "pump-004", "1.1.0").await;

    give(&plant, "pump-999", json!({"models": [{"model": "m", "hold": true}]})).await;
    wait_told(&plant, "pump-999", "Sent", ("False", "UnknownDevice")).await;

    wait_counted(&plant, 20).await;
    give(&plant, "pump-005", json!({"retired": true, "reason": "scrapped"})).await;
    wait_told(&plant, "pump-005", "Sent", ("True", "Cleared")).await;
    wait_counted(&plant, 19).await;
    // It goes on to speak: it counts nowhere, and is named.
    let message = wait_told(&plant, "pump-005", "HeardAgain", ("True", "DeviceSpeaks")).await;
    assert!(message.contains("kubectl modelfleet retire pump-005 --undo"), "{message}");
    wait_counted(&plant, 19).await;
    // A controller that starts anew finds what the device has retained since, and clears nothing: it is a word of the device.
    plant.restart_controller();
    wait_counted(&plant, 19).await;
    edit(&plant, "pump-005", json!({"retired": false})).await;
    wait_told(&plant, "pump-005", "Taken", ("True", "FollowsPlans")).await;
    wait_counted(&plant, 20).await;
    let cleared = plant.controller.log().matches("the messages of a retired device were cleared").count();
    assert_eq!(cleared, 1, "{}", plant.log());
}
