//! What pages of devices cost in a fleet of a million: `cargo run --release -p modelfleet-fleet --example device_pages [DEVICES]`.

#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a measurement, which needs a clock"
)]

use std::sync::Arc;
use std::time::Instant;

use modelfleet_fleet::device_list::DeviceFilter;
use modelfleet_fleet::{Change, FleetIndex, Room, Source};
use modelfleet_protocol::ids::{DeviceId, Digest};
use modelfleet_protocol::state::FailureCode;
use modelfleet_protocol::time::Time;
use modelfleet_protocol::topic::Channel;
use serde_json::json;

const NOW: Time = Time(1_800_000_000_000);

fn id(device: usize) -> DeviceId {
    format!("pump-{device:07}").parse().expect("an id")
}

/// A fleet in which one of a thousand devices has failed.
fn fleet(devices: usize) -> FleetIndex {
    let room = Arc::new(Room::new(devices));
    let mut index = FleetIndex::new("plant".parse().expect("a namespace"), room, devices);
    index.note(&"m".parse().expect("a model"), Source::Plan);
    let digest = Digest::of(b"build");
    for device in 0..devices {
        let failed = device.is_multiple_of(1_000);
        let failure = failed.then(|| json!({"code": "CrashLoop", "detail": ""}));
        let phase = if failed { "Failed" } else { "Confirmed" };
        let state = json!({
            "device": id(device), "sequence": 1, "at": NOW, "agent": "example",
            "labels": {"site": format!("site-{}", device % 64), "age": if device % 2 == 0 { "old" } else { "new" }},
            "models": [{
                "model": "m",
                "running": {"digest": digest, "version": "1.0.0", "activated": NOW, "confirmed": true},
                "candidate": {"rollout": "r", "digest": digest, "phase": phase, "since": NOW, "failure": failure},
            }],
        });
        let folded = index.fold(&Channel::State(id(device)), state.to_string().as_bytes(), true, NOW);
        assert_ne!(folded.change, Change::Nothing, "{:?}", folded.problem);
    }
    index
}

fn measured(what: &str, of: impl Fn() -> usize) {
    let mut found = 0;
    let mut times: Vec<f64> = (0..9)
        .map(|_| {
            let began = Instant::now();
            found = of();
            began.elapsed().as_secs_f64() * 1_000.0
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{what}: {found}, median {:.3} ms, longest {:.3} ms", times[4], times[8]);
}

fn main() {
    let devices = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(1_000_000);
    let index = fleet(devices);
    measured("copy under the lock, of so many devices", || index.fleet().len());
    let fleet = index.fleet();
    let page = |filter: &DeviceFilter, most| fleet.device_page(filter, None, most).devices.len();
    let all = DeviceFilter::default();
    measured("page of 100", || page(&all, 100));
    measured("page of 1000", || page(&all, 1_000));
    let few = DeviceFilter { failure: Some(FailureCode::CrashLoop), ..DeviceFilter::default() };
    measured("page of those that one in a thousand is of", || page(&few, 1_000));
    let none = DeviceFilter { failure: Some(FailureCode::DiskFull), ..DeviceFilter::default() };
    measured("page of those that none is of", || page(&none, 1_000));
    measured("one device", || usize::from(fleet.device(&id(77)).is_some()));
    measured("failures in groups", || fleet.failure_groups(None).len());
}
