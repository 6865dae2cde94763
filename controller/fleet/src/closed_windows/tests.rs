use std::sync::Arc;

use modelfleet_protocol::generated::{Report, Window};
use modelfleet_protocol::time::Time;
use prost::Message as _;
use serde_json::json;

use super::*;
use crate::fleet_index::FleetIndex;
use crate::managed::Source;
use crate::room::Room;
use crate::windows::Counting;

const NOW: Time = Time(1_000_000);
const CANDIDATE: Digest = Digest([1; 32]);
const STABLE: Digest = Digest([2; 32]);

struct Plant(FleetIndex);

impl Plant {
    fn new() -> Plant {
        let mut index = FleetIndex::new("plant".parse().unwrap(), Arc::new(Room::new(1_000)), 1_000);
        index.note(&model(), Source::Rollout("uid".into()));
        index.watch(&model(), CANDIDATE, Counting { observe_id: 9, window_ms: 1_000 });
        Plant(index)
    }

    /// A device of an age says what it counted in windows 900 and 901.
    fn reports(&mut self, device: &str, age: &str, digest: Digest, sequence: u64, errors: [u64; 2]) {
        let id: DeviceId = device.parse().unwrap();
        let state = json!({"device": device, "sequence": sequence, "at": sequence, "agent": "test", "labels": {"age": age}, "models": []});
        let channel = modelfleet_protocol::topic::Channel::State(id.clone());
        self.0.fold(&channel, state.to_string().as_bytes(), false, NOW);
        let window = |(at, errors)| {
            let counters = Counters { requests: 100, errors, observed_ms: 1_000, ..Counters::default() };
            Window { index: 900 + at as u64, span: 1, counters: Some(counters), ..Window::default() }
        };
        let report = Report {
            device: device.into(),
            namespace: "plant".into(),
            model: "m".into(),
            digest: digest.0.to_vec(),
            sequence,
            sent_at_ms: NOW.0,
            window_ms: 1_000,
            observe_id: 9,
            windows: errors.into_iter().enumerate().map(window).collect(),
            ..Report::default()
        };
        let channel = modelfleet_protocol::topic::Channel::Report(id, model());
        let folded = self.0.fold(&channel, &report.encode_to_vec(), false, NOW);
        assert_eq!(folded.problem, None);
    }

    fn closed(&self, ended_by_ms: u64, handed_on: &mut HandedOn) -> Vec<(Arm, u64, String, u64, u64, u64)> {
        let (spread_by, model) = (["age".to_owned()], model());
        let wanted =
            Wanted { model: &model, ended_after_ms: 0, ended_by_ms, spread_by: &spread_by, profile: None };
        let told = |window: ClosedWindow| {
            let errors = window.values.iter().find(|(metric, ..)| *metric == Metric::ErrorRate).unwrap().1;
            assert_eq!(window.counters.requests, 100 * window.devices);
            (window.arm, window.start_ms, window.stratum, window.devices, window.counters.errors, errors)
        };
        self.0.fleet().closed_windows(&wanted, handed_on).into_iter().map(told).collect()
    }
}

fn model() -> ModelName {
    "m".parse().unwrap()
}

#[test]
fn windows_are_handed_on_once_closed_and_again_when_they_change() {
    let (mut plant, mut handed_on) = (Plant::new(), HandedOn::default());
    plant.reports("a", "old", CANDIDATE, 1, [1, 4]);
    plant.reports("b", "new", CANDIDATE, 1, [3, 0]);
    plant.reports("c", "new", STABLE, 1, [5, 5]);
    let row = |arm, at, stratum: &str, devices, errors, share| {
        (arm, at, stratum.to_owned(), devices, errors, share)
    };
    let first = [
        row(Arm::Control, 900_000, "", 1, 5, 50_000),
        row(Arm::Control, 900_000, "age=new", 1, 5, 50_000),
        row(Arm::Canary, 900_000, "", 2, 4, 20_000),
        row(Arm::Canary, 900_000, "age=new", 1, 3, 30_000),
        row(Arm::Canary, 900_000, "age=old", 1, 1, 10_000),
    ];
    assert_eq!(plant.closed(901_000, &mut handed_on), first, "the next window has not ended");
    assert_eq!(plant.closed(901_000, &mut handed_on), []);
    let second = plant.closed(902_000, &mut handed_on);
    assert!(second.iter().all(|row| row.1 == 901_000) && second.len() == 5);
    plant.reports("d", "new", STABLE, 1, [5, 7]);
    let late: Vec<_> =
        plant.closed(902_000, &mut handed_on).into_iter().filter(|row| row.2.is_empty()).collect();
    assert_eq!(
        late,
        [row(Arm::Control, 900_000, "", 2, 10, 50_000), row(Arm::Control, 901_000, "", 2, 12, 60_000)],
        "a device that was offline, and no window of the canaries"
    );
}

/// What is shown of the last window is what is kept of it.
#[test]
fn a_window_has_the_values_that_are_shown_of_it() {
    let mut plant = Plant::new();
    for (at, device) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        plant.reports(device, "old", CANDIDATE, 1, [at as u64, 9 * at as u64]);
    }
    let fleet = plant.0.fleet();
    let (index, shown) = fleet.samples(&model()).unwrap().last_window(Arm::Canary).unwrap();
    let wanted =
        Wanted { model: &model(), ended_after_ms: 0, ended_by_ms: 902_000, spread_by: &[], profile: None };
    let closed = fleet.closed_windows(&wanted, &mut HandedOn::default());
    let same = closed.iter().find(|window| window.start_ms == index * 1_000).unwrap();
    assert!(!same.values.is_empty());
    for (metric, value, _) in &same.values {
        let wanted = crate::arm_values::Wanted { metric: *metric, feature: None, profile: None };
        assert_eq!(shown.merged(wanted), Some(*value), "{metric:?}");
    }
}

#[test]
fn there_are_at_most_so_many_strata() {
    let mut plant = Plant::new();
    for device in 0..STRATA_MAX + 5 {
        plant.reports(&format!("d{device}"), &format!("{device:03}"), CANDIDATE, 1, [0, 0]);
    }
    let closed = plant.closed(901_000, &mut HandedOn::default());
    assert_eq!(closed.len(), 1 + STRATA_MAX + 1);
    assert!(closed.iter().any(|row| row.2 == OTHER && row.3 == 5));
}
