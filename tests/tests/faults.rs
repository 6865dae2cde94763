//! What a rollout survives: a killed controller, a restarted broker, an absent API server, a device that was cut
//! off, and payloads made to harm.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may end where it stands")]

use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::topic::{Channel, Topic, device_root};
use modelfleet_test_support::broker::CONTROLLER_USER;
use modelfleet_test_support::http;
use modelfleet_test_support::place::program;
use modelfleet_test_support::wait::until;
use modelfleet_tests::plant::{MODEL, NAMESPACE, Plant, PlantSize};
use modelfleet_tests::rollout_view::RolloutView;
use modelfleet_tests::short_rollout::ShortRollout;

const LIMIT: Duration = Duration::from_mins(4);

fn plant(dir: &std::path::Path) -> Plant {
    let size = PlantSize { devices: 40, processes: 2 };
    let plant = Plant::start(dir, &size, &mut |what| println!("start {what}")).unwrap();
    let first = ShortRollout { stages: vec![("full", "100%")], bake_s: 8, ..ShortRollout::of("1.0.0") };
    first.begin(&plant).unwrap();
    ended(&plant, "1.0.0", "Succeeded");
    plant
}

fn reached(plant: &Plant, version: &str, what: &str, look: impl Fn(&RolloutView) -> bool) -> RolloutView {
    plant.reached(version, what, LIMIT, look).unwrap()
}

fn ended(plant: &Plant, version: &str, phase: &str) -> RolloutView {
    let view = reached(plant, version, "the end", RolloutView::is_over);
    assert_eq!(view.phase(), phase, "{}", view.message());
    view
}

/// What a device says that it runs.
fn running(plant: &Plant, device: &str) -> String {
    let id: DeviceId = device.parse().unwrap();
    let topic = Topic { namespace: NAMESPACE.parse().unwrap(), channel: Channel::State(id) }.name();
    let text = mosquitto(plant, "mosquitto_sub", CONTROLLER_USER, &["-t", &topic, "-C", "1", "-W", "5"]);
    let state: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    state["models"][0]["running"]["version"].as_str().unwrap_or_default().to_owned()
}

fn mosquitto(plant: &Plant, program: &str, user: &str, arguments: &[&str]) -> String {
    let port = plant.broker.port().to_string();
    let password = plant.broker.password(user).unwrap();
    let login = ["-h", "127.0.0.1", "-p", &port, "-u", user, "-P", &password, "-V", "5", "-q", "1"];
    let out = Command::new(program).args(login).args(arguments).output().unwrap();
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// The same points at every run, spread like chance.
fn moments() -> impl Iterator<Item = Duration> {
    (1_u64..).map(|i| Duration::from_millis(400 + i.wrapping_mul(2_654_435_761) % 2_600))
}

#[test]
fn a_rollout_survives_what_happens_to_its_parts() {
    let dir = tempfile::tempdir().unwrap();
    let mut plant = plant(&dir.path().join("plant"));

    println!("== the controller is killed again and again, while a device is cut off");
    let (away, agent) = &plant.agents[0];
    let away = away.id.clone();
    agent.freeze();
    ShortRollout::of("1.1.0").begin(&plant).unwrap();
    let mut kills = 0;
    for moment in moments().take(40) {
        std::thread::sleep(moment);
        if plant.rollout("1.1.0").is_ok_and(|v| v.is_over()) {
            break;
        }
        if kills < 6 {
            plant.controller.kill();
            plant.controller = plant.controller_settings.launch().unwrap();
            kills += 1;
        }
    }
    ended(&plant, "1.1.0", "Succeeded");
    println!("killed {kills} times");
    plant.agents[0].1.resume();
    until(format!("{away} to follow"), LIMIT, || match running(&plant, &away) {
        version if version == "1.1.0" => Ok(()),
        other => Err(other),
    })
    .unwrap();

    println!("== broker and API server go away in the middle of a bad rollout");
    ShortRollout { bake_s: 25, ..ShortRollout::of("1.3.0") }.begin(&plant).unwrap();
    reached(&plant, "1.3.0", "its canaries", |v| v.devices("activated") > 0);
    plant.broker.restart().unwrap();
    let control_plane = dir.path().join("plant/control-plane");
    plant.control_plane.part().kill();
    plant.control_plane =
        modelfleet_test_support::control_plane::ControlPlane::start(&control_plane).unwrap();
    plant.kubectl = plant.control_plane.kubectl();
    let view = ended(&plant, "1.3.0", "RolledBack");
    assert!(view.figure("devicesExposed").unwrap_or_default() <= 5, "{}", view.0);
    for device in &plant.devices {
        until(format!("{} to be back", device.id), LIMIT, || match running(&plant, &device.id) {
            version if version == "1.1.0" => Ok(()),
            other => Err(other),
        })
        .unwrap();
    }
    every_look_can_be_judged_again(&plant);
    hostile_payloads_harm_nobody(&plant);
}

/// The same bytes give the same verdict, also where the controller was killed between two looks.
fn every_look_can_be_judged_again(plant: &Plant) {
    println!("== what the judge was told is judged again");
    for version in ["1.1.0", "1.3.0"] {
        let name = ShortRollout::of(version).name();
        let file = plant.controller_settings.records().join(format!("{NAMESPACE}.{name}.jsonl"));
        let mut replay = Command::new(program("kubectl-modelfleet"));
        let out = replay.args(["judge", "replay"]).arg(&file).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        println!("{text}");
        assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
        assert!(text.contains("all answers are as recorded"), "{text}");
        let advice = if version == "1.1.0" { "Advance" } else { "RollBack" };
        assert!(text.contains(advice), "{text}");
    }
}

fn hostile_payloads_harm_nobody(plant: &Plant) {
    println!("== payloads made to harm");
    let liar = plant.devices.last().unwrap().id.clone();
    let victim = plant.devices[2].id.clone();
    let namespace = NAMESPACE.parse().unwrap();
    let own = device_root(&namespace, &liar.parse().unwrap());
    let other = device_root(&namespace, &victim.parse().unwrap());
    let plan = format!("mf/1/{NAMESPACE}/plan/{MODEL}");
    let before = mosquitto(plant, "mosquitto_sub", CONTROLLER_USER, &["-t", &plan, "-C", "1", "-W", "5"]);
    let deep = "[".repeat(30_000);
    let long = "9".repeat(200_000);
    let file = plant.agent_settings.dir.join("payload");
    for payload in ["", "{", "\u{0}\u{1}\u{2}", "{\"device\":\"x\"}", &deep, &long] {
        std::fs::write(&file, payload).unwrap();
        let publish = |user: &str, topic: &str, retained: bool| {
            let path = file.to_string_lossy().into_owned();
            let more: &[&str] = if retained { &["-r"] } else { &[] };
            mosquitto(plant, "mosquitto_pub", user, &[&["-t", topic, "-f", &path], more].concat());
        };
        for topic in [format!("{own}/state"), format!("{own}/presence"), format!("{own}/report/{MODEL}")] {
            publish(&liar, &topic, false);
        }
        // What a device may not write: another device's topics, and plans.
        publish(&liar, &format!("{other}/state"), true);
        publish(&liar, &plan, true);
        // What a stolen broker password can write: devices trust the signature alone.
        publish(CONTROLLER_USER, &plan, false);
    }
    // The topic is ours again, and above what devices have seen: they would refuse anything lower.
    let order = |envelope: &str| {
        let envelope: serde_json::Value = serde_json::from_str(envelope).unwrap_or_default();
        let payload = STANDARD.decode(envelope["payload"].as_str().unwrap_or_default()).unwrap();
        let plan: serde_json::Value = serde_json::from_slice(&payload).unwrap_or_default();
        (plan["epoch"].as_u64(), plan["revision"].as_u64(), plan["stable"]["version"].to_string())
    };
    let after = mosquitto(plant, "mosquitto_sub", CONTROLLER_USER, &["-t", &plan, "-C", "1", "-W", "5"]);
    let (before, after) = (order(&before), order(&after));
    assert!(after >= before && after.2 == before.2, "{before:?} then {after:?}");
    assert_eq!(running(plant, &victim), "1.1.0");
    let port = plant.controller_settings.http_url().rsplit(':').next().unwrap().parse().unwrap();
    until("the malformed messages to be counted", Duration::from_secs(10), || {
        let metrics = http::get(port, "/metrics")?;
        let counted = |l: &&str| l.contains("malformed") && !l.starts_with('#') && !l.ends_with(" 0");
        metrics.lines().find(counted).map(drop).ok_or_else(|| "no malformed message counted".to_owned())
    })
    .unwrap();
    ShortRollout::of("1.4.0").begin(plant).unwrap();
    ended(plant, "1.4.0", "Succeeded");
}
