//! What a device costs the controller in memory and time.

#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]

use modelfleet_fleet::view::Lens;
use modelfleet_fleet::{Change, Index, Source};
use modelfleet_protocol::generated::{Report, Tally, Window};
use modelfleet_protocol::ids::{DeviceId, Digest, ModelName};
use modelfleet_protocol::membership::{Clause, Membership};
use modelfleet_protocol::selector::Selector;
use modelfleet_protocol::time::Time;
use prost::Message as _;
use serde_json::json;

/// As in the controller.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NOW: Time = Time(1_000_000_000);

fn topic(device: &str, what: &str) -> String {
    let id: DeviceId = device.parse().unwrap();
    format!("mf/1/plant/device/{:02x}/{device}/{what}", modelfleet_protocol::ids::shard(&id))
}

fn fold(index: &mut Index, device: &str, what: &str, payload: &[u8]) {
    assert_ne!(index.fold(&topic(device, what), payload, false, NOW), Change::Nothing);
}

fn state(device: &str, digest: &Digest) -> Vec<u8> {
    let running = json!({"digest": digest, "version": "1.1.0", "activated": 7, "confirmed": true});
    let attempt = json!({"rollout": "r", "digest": digest, "phase": "Confirmed", "since": 5});
    let model = json!({"model": "m", "running": running, "candidate": attempt});
    let state = json!({
        "device": device, "sequence": 1, "at": 1, "agent": "test", "labels": {"age": "old"}, "models": [model],
        "capabilities": {"engines": [{"name": "Rten", "version": "1", "opsets": {"": 21}}], "memoryBytes": 1_000_000},
    });
    state.to_string().into_bytes()
}

fn report(device: &str, sequence: u64, digest: &Digest) -> Vec<u8> {
    let tally = Tally { known: vec![1], bad: vec![0] };
    let window = |index| Window { index, span: 1, tally: Some(tally.clone()), ..Window::default() };
    let report = Report {
        device: device.into(),
        namespace: "plant".into(),
        model: "m".into(),
        digest: digest.0.to_vec(),
        sequence,
        sent_at_ms: NOW.0,
        window_ms: 1000,
        observe_id: 9,
        windows: (100..110).map(window).collect(),
        ..Report::default()
    };
    report.encode_to_vec()
}

/// A number of docs/NUMBERS.md (`COUNT=100000 cargo test --release -p modelfleet-controller --test cost -- --nocapture`),
/// and a bound. The process holds nothing else: it is the only test here.
#[test]
fn cost_of_a_device_is_bounded() {
    let resident = || -> u64 {
        let text = std::fs::read_to_string("/proc/self/statm").unwrap();
        text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    };
    let digest = Digest::of(b"a");
    let before = resident();
    let mut index = Index::new(1_000_000);
    index.note(&("plant".parse().unwrap(), "m".parse().unwrap()), Source::Rollout("uid".into()));
    let count: u64 = std::env::var("COUNT").ok().and_then(|c| c.parse().ok()).unwrap_or(10_000);
    for i in 0..count {
        let name = format!("pump-{i:06}");
        fold(&mut index, &name, "presence", br#"{"online":true,"since":1,"connection":1}"#);
        fold(&mut index, &name, "state", &state(&name, &digest));
        fold(&mut index, &name, "report/m", &report(&name, 1, &digest));
    }
    let bytes = resident().saturating_sub(before) / count;
    println!("{bytes} bytes a device");
    assert!(bytes < 1_500, "{bytes} bytes a device");
    let clause = Clause { spread_by: vec!["age".into()], ..Clause::default() };
    let membership = Membership { salt: "s".into(), clauses: vec![clause], ..Membership::default() };
    let (model, selector): (ModelName, _) = ("m".parse().unwrap(), Selector::default());
    let lens = Lens {
        model: &model,
        attempt: "r",
        candidate: digest,
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
    let start = std::time::Instant::now();
    let fleet = index.fleet(&"plant".parse().unwrap()).unwrap();
    let survey = fleet.survey(&lens, true);
    println!("looked at {} devices in {:?}", survey.view.matching, start.elapsed());
    let newer: Vec<Vec<u8>> = (0..count).map(|i| report("pump-000001", 10 + i, &digest)).collect();
    let name = topic("pump-000001", "report/m");
    let start = std::time::Instant::now();
    for payload in &newer {
        assert_ne!(index.fold(&name, payload, false, NOW), Change::Nothing);
    }
    println!("{:.0} reports a second", count as f64 / start.elapsed().as_secs_f64());
}
