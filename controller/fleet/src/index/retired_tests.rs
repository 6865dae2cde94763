//! Devices that are gone for good, and speak all the same.

use modelfleet_protocol::generated::Report;
use modelfleet_protocol::ids::{DeviceId, Digest};
use prost::Message as _;
use serde_json::json;

use super::*;
use crate::single_devices::Retired;

const CLEARED: Time = Time(1_000_000);
const LATER: Time = Time(1_005_000);

fn device() -> DeviceId {
    "d".parse().unwrap()
}

fn topic(what: &str) -> String {
    format!("mf/1/plant/device/{:02x}/d/{what}", modelfleet_protocol::ids::shard(&device()))
}

/// A fleet with one device, which is retired and was cleared.
fn plant() -> Index {
    let mut index = Index::new(10);
    let namespace: Namespace = "plant".parse().unwrap();
    index.note(&(namespace.clone(), "m".parse().unwrap()), Source::Rollout("uid".into()));
    index.fold(&topic("state"), &state(CLEARED), false, CLEARED);
    assert_eq!(index.devices(), 1);
    let fleet = index.fleet_mut(&namespace).unwrap();
    assert!(fleet.retire(&device(), None));
    fleet.single_mut().note_retired_cleared(&device(), CLEARED);
    fleet.single_mut().take_touched();
    index
}

fn retired(index: &mut Index) -> Retired {
    index.fleet_mut(&"plant".parse().unwrap()).unwrap().single().retired(&device()).unwrap()
}

fn touched(index: &mut Index) -> usize {
    index.fleet_mut(&"plant".parse().unwrap()).unwrap().single_mut().take_touched().len()
}

fn state(at: Time) -> Vec<u8> {
    let state =
        json!({"device": "d", "sequence": 1, "at": at.0, "agent": "test", "models": [{"model": "m"}]});
    state.to_string().into_bytes()
}

fn report(at: Time) -> Vec<u8> {
    let report = Report {
        device: "d".into(),
        namespace: "plant".into(),
        model: "m".into(),
        digest: Digest::of(b"a").0.to_vec(),
        sequence: 1,
        sent_at_ms: at.0,
        window_ms: 1_000,
        ..Report::default()
    };
    report.encode_to_vec()
}

fn presence(at: Time, online: bool) -> Vec<u8> {
    json!({"online": online, "since": at.0, "connection": 1, "instance": 1}).to_string().into_bytes()
}

/// A device that only reports speaks, as one that sends its state does. What it sends leaves nothing to be cleared.
#[test]
fn every_kind_of_message_is_a_word_of_a_retired_device() {
    let messages = [
        ("state", state(LATER)),
        ("report/m", report(LATER)),
        ("presence", presence(LATER, true)),
        ("state", state(Time(5))),
    ];
    for (what, payload) in messages {
        let mut index = plant();
        for second in 0..100 {
            index.fold(&topic(what), &payload, false, LATER.after_ms(second * 1_000));
        }
        let known = retired(&mut index);
        assert!(known.heard_at >= Some(LATER) && !known.left, "{what}: {known:?}");
        assert_eq!(index.devices(), 0, "it counts nowhere");
        assert_eq!(touched(&mut index), 1, "it is looked at once");
    }
}

/// What lay at the broker is told by its own time: older than the clearing, it was left; newer, the device spoke.
#[test]
fn what_lay_at_the_broker_is_as_old_as_it_says() {
    let of = |what: &'static str, make: fn(Time) -> Vec<u8>| (what, make);
    for (what, make) in [of("state", state), of("report/m", report), of("presence", |at| presence(at, true))]
    {
        let mut index = plant();
        index.fold(&topic(what), &make(Time(5)), true, LATER);
        let known = retired(&mut index);
        assert!(known.left && known.heard_at.is_none(), "{what}: {known:?}");
        index.fold(&topic(what), &make(LATER), true, LATER);
        assert_eq!(retired(&mut index).heard_at, Some(LATER), "{what}");
    }
}

#[test]
fn the_last_will_of_a_retired_device_is_no_word_of_it() {
    let mut index = plant();
    index.fold(&topic("presence"), &presence(LATER, false), false, LATER);
    let known = retired(&mut index);
    assert!(known.left && known.heard_at.is_none(), "{known:?}");
}
