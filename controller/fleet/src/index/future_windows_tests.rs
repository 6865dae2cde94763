//! A device with a wrong clock, or a forger, harms nobody else.

use modelfleet_evidence::Device as _;
use modelfleet_judge::Arm;
use modelfleet_protocol::generated::{Report, Tally, Window};
use modelfleet_protocol::ids::{DeviceId, Digest};
use modelfleet_protocol::membership::Membership;
use modelfleet_protocol::selector::Selector;
use prost::Message as _;

use super::*;
use crate::view::Lens;
use crate::windows::Counting;

const NOW: Time = Time(1_000_000_000);
const WINDOW_MS: u64 = 1_000;
/// The window that holds `NOW`.
const CURRENT: u64 = 1_000_000;
const COUNTING: Counting = Counting { observe_id: 9, window_ms: WINDOW_MS };

fn topic(device: &str) -> String {
    let id: DeviceId = device.parse().unwrap();
    format!("mf/1/plant/device/{:02x}/{device}/report/m", modelfleet_protocol::ids::shard(&id))
}

/// Bad windows `first..end` of the candidate.
fn report(device: &str, window_ms: u64, first: u64, end: u64) -> Vec<u8> {
    let tally = Tally { known: vec![1], bad: vec![1] };
    let window = |index| Window { index, span: 1, tally: Some(tally.clone()), ..Window::default() };
    let report = Report {
        device: device.into(),
        namespace: "plant".into(),
        model: "m".into(),
        digest: Digest::of(b"candidate").0.to_vec(),
        sequence: 1,
        sent_at_ms: NOW.0,
        window_ms,
        observe_id: COUNTING.observe_id,
        windows: (first..end).map(window).collect(),
        ..Report::default()
    };
    report.encode_to_vec()
}

fn watched() -> Index {
    let mut index = Index::new(10);
    index.note(&("plant".parse().unwrap(), "m".parse().unwrap()), Source::Rollout("uid".into()));
    let (plant, model) = ("plant".parse().unwrap(), "m".parse().unwrap());
    index.fleet_mut(&plant).unwrap().watch(&model, Digest::of(b"candidate"), COUNTING);
    index
}

fn merged(index: &Index) -> Vec<u64> {
    let fleet = index.fleet(&"plant".parse().unwrap()).unwrap();
    let merged = fleet.samples(&"m".parse().unwrap()).unwrap().merged(Arm::Canary, |_| 0);
    merged.into_keys().collect()
}

#[test]
fn windows_of_a_future_push_no_honest_ones_out_and_are_told() {
    let honest: Vec<u64> = (CURRENT - 10..CURRENT).collect();
    for (device, window_ms, first) in [
        ("far", WINDOW_MS, u64::MAX >> 10),
        ("tomorrow", WINDOW_MS, CURRENT + 86_400),
        // Windows so short that its numbers are no future by its own word.
        ("short", 1, NOW.0 - 64),
    ] {
        let mut index = watched();
        for name in ["a", "b", "c"] {
            index.fold(&topic(name), &report(name, WINDOW_MS, CURRENT - 10, CURRENT), false, NOW);
        }
        index.fold(&topic(device), &report(device, window_ms, first, first + 64), false, NOW);
        assert_eq!(merged(&index), honest, "{device}");
        let named: Vec<_> = index.malformed.sample().into_iter().map(|named| named.topic).collect();
        let expected = if window_ms == WINDOW_MS { vec![topic(device)] } else { vec![] };
        assert_eq!(named, expected, "who counts otherwise is left out like anybody whose plan is older");
    }
}

#[test]
fn a_clock_that_is_ahead_waits_until_its_windows_have_come() {
    let (mut index, last) = (watched(), CURRENT + 5);
    index.fold(&topic("a"), &report("a", WINDOW_MS, CURRENT - 5, last + 1), false, NOW);
    assert_eq!(merged(&index).last(), Some(&(CURRENT + modelfleet_evidence::AHEAD_MAX)));
    assert_eq!(index.malformed.total(), 1);
    let reason = &index.malformed.sample()[0].reason;
    assert!(reason.contains("3 windows") && reason.contains("check the device's clock"), "{reason}");
    let later = NOW.after_ms(3 * WINDOW_MS);
    let mut again = Report::decode(&report("a", WINDOW_MS, CURRENT - 5, last + 1)[..]).unwrap();
    again.sequence = 2;
    index.fold(&topic("a"), &again.encode_to_vec(), false, later);
    assert_eq!(merged(&index).last(), Some(&last));
    assert_eq!(index.malformed.total(), 1);
}

#[test]
fn a_report_that_counts_otherwise_says_nothing_of_how_far_a_stage_is() {
    let mut index = watched();
    index.fold(&topic("short"), &report("short", 1, NOW.0 - 64, NOW.0), false, NOW);
    let membership = Membership { salt: "s".into(), ..Membership::default() };
    let (model, selector) = ("m".parse().unwrap(), Selector::default());
    let lens = Lens {
        model: &model,
        attempt: "r",
        candidate: Digest::of(b"candidate"),
        scope: &selector,
        selector: &selector,
        watch_by: &[],
        membership: &membership,
        set_aside: &[],
        drawn: Some(0),
        probation_ms: 600_000,
        silent_after_ms: 3000,
        window_ms: 1_000,
        connected_since: NOW,
        prior: &[],
        back_since: None,
        plan: None,
        now: NOW,
    };
    // Its state names it as one that runs the candidate, in a label set that all share.
    let id: DeviceId = "short".parse().unwrap();
    let digest = Digest::of(b"candidate");
    let state = serde_json::json!({
        "device": "short", "sequence": 1, "at": 1, "agent": "t",
        "models": [{"model": "m", "running": {
            "digest": digest, "version": "1.1.0", "activated": 1, "confirmed": true,
        }, "candidate": {"rollout": "r", "digest": digest, "phase": "Confirmed", "since": 1}}],
    });
    let shard = modelfleet_protocol::ids::shard(&id);
    let name = format!("mf/1/plant/device/{shard:02x}/short/state");
    index.fold(&name, state.to_string().as_bytes(), false, NOW);
    let drawn = Membership {
        clauses: vec![modelfleet_protocol::membership::Clause { devices: vec![id], ..Default::default() }],
        ..membership.clone()
    };
    let fleet = index.fleet(&"plant".parse().unwrap()).unwrap();
    let sight = fleet.survey(&Lens { membership: &drawn, ..lens }, true);
    let [subject] = sight.subjects.as_slice() else { panic!("{:?}", sight.subjects) };
    assert!(subject.report.is_some() && subject.counted(COUNTING).report().is_none());
    assert_eq!(subject.counted(COUNTING).since(0, 0).known, 0);
}
