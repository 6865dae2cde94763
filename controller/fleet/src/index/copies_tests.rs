//! A copy of a fleet is a moment: nothing that comes later changes it.

use modelfleet_protocol::generated::{Report, Tally, Window};
use modelfleet_protocol::ids::{DeviceId, Digest, ModelName};
use modelfleet_protocol::topic::device_root;
use proptest::prelude::*;
use prost::Message as _;
use serde_json::json;

use super::*;
use crate::windows::Counting;

const NOW: Time = Time(1_000_000_000);
const COUNTING: Counting = Counting { observe_id: 9, window_ms: 1_000 };

fn key() -> Key {
    ("plant".parse().unwrap(), "m".parse().unwrap())
}

/// What may happen to a fleet.
#[derive(Clone, Debug)]
enum Happens {
    Presence { online: bool },
    State { labels: u8, build: u8, phase: u8 },
    Broken,
    Gone,
    Report { build: u8, bad: u32 },
    Watched { build: u8 },
    Unwatched,
    Forgotten,
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        any::<bool>().prop_map(|online| Happens::Presence { online }),
        (0..4_u8, 0..3_u8, 0..4_u8).prop_map(|(labels, build, phase)| Happens::State {
            labels,
            build,
            phase
        }),
        Just(Happens::Broken),
        Just(Happens::Gone),
        (0..3_u8, 0..2_u32).prop_map(|(build, bad)| Happens::Report { build, bad }),
        (0..3_u8).prop_map(|build| Happens::Watched { build }),
        Just(Happens::Unwatched),
        Just(Happens::Forgotten),
    ]
}

fn digest(build: u8) -> Digest {
    Digest::of(&[build])
}

fn state(id: &DeviceId, sequence: u64, (labels, build, phase): (u8, u8, u8)) -> Vec<u8> {
    let phase = ["Offered", "Failed", "Activated", "Confirmed"][usize::from(phase)];
    let mut attempt = json!({"rollout": "r", "digest": digest(build), "phase": phase, "since": sequence});
    if phase == "Failed" {
        attempt["failure"] = json!({"code": "LoadRefused"});
    }
    let running = json!({"digest": digest(build), "version": "1.0.0", "activated": 1, "confirmed": true});
    let state = json!({
        "device": id, "sequence": sequence, "at": sequence, "agent": "t", "labels": {"site": labels.to_string()},
        "models": [{"model": "m", "running": running, "candidate": attempt}],
    });
    state.to_string().into_bytes()
}

fn report(id: &DeviceId, sequence: u64, build: u8, bad: u32) -> Vec<u8> {
    let tally = Tally { known: vec![1], bad: vec![bad] };
    let window = Window { index: 100 + sequence, span: 1, tally: Some(tally), ..Window::default() };
    let report = Report {
        device: id.to_string(),
        namespace: "plant".into(),
        model: "m".into(),
        digest: digest(build).0.to_vec(),
        sequence,
        sent_at_ms: NOW.0,
        window_ms: COUNTING.window_ms,
        observe_id: COUNTING.observe_id,
        windows: vec![window],
        ..Report::default()
    };
    report.encode_to_vec()
}

fn apply(index: &mut Index, device: u8, sequence: u64, happens: &Happens) {
    let id: DeviceId = format!("d{device}").parse().unwrap();
    let root = device_root(&key().0, &id);
    let model: ModelName = key().1;
    let mut fold = |channel: &str, payload: &[u8]| {
        let _ = index.fold(&format!("{root}/{channel}"), payload, false, NOW);
    };
    match *happens {
        Happens::Presence { online } => {
            let presence = json!({"online": online, "since": sequence, "connection": sequence});
            fold("presence", presence.to_string().as_bytes());
        }
        Happens::State { labels, build, phase } => {
            fold("state", &state(&id, sequence, (labels, build, phase)))
        }
        Happens::Broken => {
            let state =
                json!({"device": id, "sequence": sequence, "at": 1, "agent": "", "labels": {"a b": ""}});
            fold("state", state.to_string().as_bytes());
        }
        Happens::Gone => fold("state", b""),
        Happens::Report { build, bad } => fold("report/m", &report(&id, sequence, build, bad)),
        Happens::Watched { build } => {
            index.fleet_mut(&key().0).unwrap().watch(&model, digest(build), COUNTING);
        }
        Happens::Unwatched => index.fleet_mut(&key().0).unwrap().unwatch(&model),
        Happens::Forgotten => {
            index.note(&("plant".parse().unwrap(), "other".parse().unwrap()), Source::Plan);
            index.forget(&key(), &Source::Plan);
            index.note(&key(), Source::Plan);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_copy_does_not_change(
        before in prop::collection::vec((0..12_u8, happens()), 0..60),
        after in prop::collection::vec((0..12_u8, happens()), 1..60),
    ) {
        let mut index = Index::new(10);
        index.note(&key(), Source::Plan);
        let mut sequence = 0;
        for (device, happens) in &before {
            sequence += 1;
            apply(&mut index, *device, sequence, happens);
        }
        let copy = index.fleet(&key().0).unwrap();
        let shown = format!("{copy:?}");
        // Messages that follow one by one while a copy lives come to the same as without one.
        let mut alone = Index::new(10);
        alone.note(&key(), Source::Plan);
        for (at, (device, happens)) in before.iter().chain(&after).enumerate() {
            apply(&mut alone, *device, at as u64 + 1, happens);
        }
        for (device, happens) in &after {
            sequence += 1;
            apply(&mut index, *device, sequence, happens);
            prop_assert_eq!(&format!("{copy:?}"), &shown);
        }
        let (one, other) = (index.fleet(&key().0), alone.fleet(&key().0));
        prop_assert_eq!(format!("{one:?}"), format!("{other:?}"));
        prop_assert_eq!(index.devices(), alone.devices());
        prop_assert_eq!(index.devices(), one.map_or(0, |fleet| fleet.len()));
    }
}

#[test]
fn a_failure_that_speaks_against_a_build_is_told_once() {
    let mut index = Index::new(10);
    index.note(&key(), Source::Plan);
    let id: DeviceId = "d".parse().unwrap();
    let root = device_root(&key().0, &id);
    let mut tell = |sequence, phase| {
        index.fold(&format!("{root}/state"), &state(&id, sequence, (0, 1, phase)), false, NOW)
    };
    assert_eq!(tell(1, 2), Change::Device);
    let failure = tell(2, 1);
    assert_eq!(failure, Change::Failure(vec![key().1]));
    let again = state(&id, 2, (0, 1, 1));
    let again = String::from_utf8(again).unwrap().replace("\"sequence\":2", "\"sequence\":3");
    assert_eq!(index.fold(&format!("{root}/state"), again.as_bytes(), false, NOW), Change::Device);
}
