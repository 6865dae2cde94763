use std::sync::Arc;

use modelfleet_protocol::ids::Namespace;
use modelfleet_protocol::topic::Channel;
use serde_json::{Value, json};

use super::*;
use crate::managed::Source;
use crate::room::Room;
use crate::{Change, FleetIndex};

const NOW: Time = Time(1_000_000_000);

fn index() -> FleetIndex {
    let namespace: Namespace = "plant".parse().unwrap();
    let mut index = FleetIndex::new(namespace, Arc::new(Room::new(10_000)), 10_000);
    index.note(&"m".parse().unwrap(), Source::Plan);
    index
}

fn id(device: usize) -> DeviceId {
    format!("d{device}").parse().unwrap()
}

/// A state by which a device runs `running` and stands at `phase` with a rollout.
fn state(device: usize, sequence: u64, running: &str, phase: &str, failure: Option<&str>) -> Value {
    let digest = Digest::of(running.as_bytes());
    let failure = failure.map(|code| json!({"code": code, "detail": ""}));
    json!({
        "device": id(device), "sequence": sequence, "at": NOW.0 - 1_000 * device as u64, "agent": "test",
        "labels": {"site": if device.is_multiple_of(2) { "north" } else { "south" }},
        "models": [{
            "model": "m",
            "running": {"digest": digest, "version": "1.0.0", "activated": 7, "confirmed": true},
            "spare": Digest::of(b"spare"),
            "candidate": {"rollout": "r", "digest": digest, "phase": phase, "since": 5, "failure": failure},
        }],
    })
}

fn tell(index: &mut FleetIndex, device: usize, state: &Value, retained: bool) {
    let payload = state.to_string().into_bytes();
    let folded = index.fold(&Channel::State(id(device)), &payload, retained, NOW);
    assert_ne!(folded.change, Change::Nothing, "{:?}", folded.problem);
}

/// A hundred devices: every tenth has failed, every fifth runs the new build.
fn hundred() -> FleetIndex {
    let mut index = index();
    for device in 0..100 {
        let (phase, failure) = match device % 10 {
            0 => ("Failed", Some(if device < 50 { "LoadRefused" } else { "DiskFull" })),
            _ => ("Confirmed", None),
        };
        let running = if device % 5 == 0 { "new" } else { "old" };
        tell(&mut index, device, &state(device, 1, running, phase, failure), true);
    }
    index
}

fn all(fleet: &Fleet, filter: &DeviceFilter, most: usize) -> Vec<DeviceId> {
    let (mut after, mut ids) = (None, Vec::new());
    loop {
        let page = fleet.device_page(filter, after, most);
        assert!(page.devices.len() <= most);
        ids.extend(page.devices.into_iter().map(|device| device.id));
        match page.next {
            Some(next) => after = Some(next),
            None => return ids,
        }
    }
}

#[test]
fn pages_of_any_size_have_every_device_once() {
    let fleet = hundred().fleet();
    let whole = all(&fleet, &DeviceFilter::default(), 1_000);
    assert_eq!(whole.len(), 100);
    for most in [1, 7, 99, 100] {
        assert_eq!(all(&fleet, &DeviceFilter::default(), most), whole);
    }
    assert_eq!(all(&Fleet::default(), &DeviceFilter::default(), 5), Vec::<DeviceId>::new());
}

#[test]
fn every_filter_selects_what_it_says() {
    let fleet = hundred().fleet();
    let count = |filter: DeviceFilter| all(&fleet, &filter, 9).len();
    let none = DeviceFilter::default;
    let site = Selector { match_labels: [("site".into(), "north".into())].into(), ..Selector::default() };
    assert_eq!(count(DeviceFilter { selector: site.clone(), ..none() }), 50);
    let model = |name: &str| Some(name.parse().unwrap());
    assert_eq!(count(DeviceFilter { model: model("m"), ..none() }), 100);
    assert_eq!(count(DeviceFilter { model: model("other"), ..none() }), 0);
    let builds = |text: &str| Some(vec![Digest::of(text.as_bytes())]);
    assert_eq!(count(DeviceFilter { builds: builds("new"), ..none() }), 20);
    assert_eq!(count(DeviceFilter { builds: Some(Vec::new()), ..none() }), 0, "no such version");
    assert_eq!(count(DeviceFilter { phase: Some(Phase::Failed), ..none() }), 10);
    assert_eq!(count(DeviceFilter { failure: Some(FailureCode::DiskFull), ..none() }), 5);
    assert_eq!(count(DeviceFilter { connected: Some(true), ..none() }), 0, "none has said that it is here");
    assert_eq!(count(DeviceFilter { connected: Some(false), ..none() }), 100);
    // Device 60 was heard 60 s ago.
    assert_eq!(count(DeviceFilter { silent_since: Some(Time(NOW.0 - 60_000)), ..none() }), 39);
    assert_eq!(
        count(DeviceFilter { selector: site, builds: builds("new"), phase: Some(Phase::Failed), ..none() }),
        10
    );
}

#[test]
fn failures_are_grouped_with_the_largest_first() {
    let mut index = hundred();
    tell(&mut index, 11, &state(11, 2, "old", "Failed", Some("LoadRefused")), false);
    let groups = index.fleet().failure_groups(None);
    let told: Vec<_> = groups.iter().map(|group| (group.failure, group.devices)).collect();
    let (load, disk) = (FailureCode::LoadRefused, FailureCode::DiskFull);
    assert_eq!(told, [(load, 5), (disk, 5), (load, 1)], "of the new build, and one of the old");
    let named: Vec<String> = groups[0].named.iter().map(ToString::to_string).collect();
    assert_eq!(named, ["d0", "d10", "d20", "d30", "d40"]);
    assert_eq!(index.fleet().failure_groups(Some(&"other".parse().unwrap())), []);
}

#[test]
fn a_device_tells_what_it_runs_and_what_was_news() {
    let mut index = index();
    assert!(index.fleet().device(&id(1)).is_none());
    tell(&mut index, 1, &state(1, 1, "old", "Confirmed", None), false);
    assert_eq!(index.changes_of(&id(1)), [], "what it says first is no change");
    tell(&mut index, 1, &state(1, 2, "old", "Confirmed", None), false);
    assert_eq!(index.changes_of(&id(1)), [], "the same again is none");
    tell(&mut index, 1, &state(1, 3, "new", "Failed", Some("CrashLoop")), false);
    tell(&mut index, 2, &state(2, 1, "old", "Confirmed", None), false);
    let changes = index.changes_of(&id(1));
    assert_eq!(changes.len(), 1);
    let digest = |text: &str| Some(Digest::of(text.as_bytes()));
    assert_eq!(
        (changes[0].before, changes[0].running, changes[0].heard),
        (digest("old"), digest("new"), NOW)
    );
    assert_eq!(changes[0].attempt, Some(("r".to_owned(), Phase::Failed, Some(FailureCode::CrashLoop))));
    let seen = index.fleet().device(&id(1)).unwrap();
    assert_eq!(seen.models[0].running, digest("new").map(|digest| (digest, Time(7), true)));
    assert_eq!(seen.models[0].spare, digest("spare"));
    assert_eq!((seen.heard, seen.left_out, seen.clock), (Some(Time(NOW.0 - 1_000)), None, None));
    // A state without it forgets the spare, and the numbers of texts that are gone are given to others.
    let mut bare = state(1, 4, "third", "Confirmed", None);
    bare["models"][0]["spare"] = Value::Null;
    tell(&mut index, 1, &bare, false);
    assert_eq!(index.fleet().device(&id(1)).unwrap().models[0].spare, None);
    assert_eq!(index.changes_of(&id(1))[0].before, digest("new"));
}

#[test]
fn changes_are_bounded_for_a_device_and_for_the_fleet() {
    let mut index = index();
    tell(&mut index, 0, &state(0, 1, "0", "Confirmed", None), false);
    for sequence in 1..=100 {
        tell(&mut index, 0, &state(0, 1 + sequence, &sequence.to_string(), "Confirmed", None), false);
    }
    let changes = index.changes_of(&id(0));
    assert_eq!((changes.len(), changes[0].running), (64, Some(Digest::of(b"100"))), "the newest first");
    for device in 1..=crate::device_changes::CHANGES_MAX / 2 {
        tell(&mut index, device, &state(device, 1, "a", "Confirmed", None), false);
        tell(&mut index, device, &state(device, 2, "b", "Confirmed", None), false);
        tell(&mut index, device, &state(device, 3, "c", "Confirmed", None), false);
    }
    assert_eq!(index.changes_of(&id(0)), [], "the oldest are forgotten");
}
