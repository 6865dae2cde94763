//! What one decision about a model costs in a large fleet, and what devices cost in memory.

#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "it measures time")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use modelfleet_crds::{ModelVersion, Rollout};
use modelfleet_fleet::{Change, Index, Key, Link, Source};
use modelfleet_model::rollout_status::rollout_status;
use modelfleet_model::{ModelDecision, ModelObjects, Snapshot, decide_model};
use modelfleet_protocol::generated::{Report, Tally, Window};
use modelfleet_protocol::ids::{DeviceId, Digest};
use modelfleet_protocol::time::Time;
use modelfleet_rollout::Phase;
use prost::Message as _;
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const WINDOW_MS: u64 = 3_600_000;
const NOW: Time = Time(1_000_000 * WINDOW_MS);
const OBJECTIVES: usize = 4;

fn key() -> Key {
    ("plant".parse().unwrap(), "m".parse().unwrap())
}

fn digest(version: &str) -> Digest {
    Digest::of(version.as_bytes())
}

fn version(version: &str, status: &Value) -> Arc<ModelVersion> {
    let object = json!({
        "apiVersion": "modelfleet.io/v1alpha1", "kind": "ModelVersion",
        "metadata": {"name": format!("m-{version}"), "namespace": "plant"},
        "spec": {"model": "m", "version": version, "artifact": {
            "uri": "file:///m.onnx", "digest": digest(version).to_string(), "sizeBytes": 1,
        }},
        "status": status,
    });
    Arc::new(serde_json::from_value(object).unwrap())
}

fn rollout(spec: Value) -> Arc<Rollout> {
    let object = json!({
        "apiVersion": "modelfleet.io/v1alpha1", "kind": "Rollout",
        "metadata": {"name": "r", "namespace": "plant", "uid": "0c1d2e3f", "generation": 1},
        "spec": spec,
    });
    Arc::new(serde_json::from_value(object).unwrap())
}

struct Large {
    index: Index,
    count: u64,
}

impl Large {
    /// As `scale` fills a broker.
    fn new(count: u64) -> Large {
        let mut index = Index::new(2_000_000);
        index.note(&key(), Source::Rollout("uid".into()));
        let mut large = Large { index, count };
        let plain = (0..count).map(|i| (i, "1.0.0", None));
        large.tell(1, plain, 1);
        large.index.complete(&key().0, NOW);
        large
    }

    fn tell<'a>(
        &mut self,
        sequence: u64,
        devices: impl Iterator<Item = (u64, &'a str, Option<&'a str>)>,
        observe_id: u64,
    ) {
        for (i, version, attempt) in devices {
            let id: DeviceId = format!("pump-{i:07}").parse().unwrap();
            let root = modelfleet_protocol::topic::device_root(&key().0, &id);
            let presence =
                json!({"online": i.is_multiple_of(2), "since": NOW, "connection": sequence}).to_string();
            let state = state(&id, sequence, version, attempt);
            let report = report(&id, sequence, version, observe_id);
            for (channel, payload) in
                [("presence", presence.into_bytes()), ("state", state), ("report/m", report)]
            {
                let change = self.index.fold(&format!("{root}/{channel}"), &payload, false, NOW);
                assert_ne!(change, Change::Nothing);
            }
        }
    }

    fn decide(&self, objects: &ModelObjects, now: Time) -> (ModelDecision, Duration) {
        let snapshot = Snapshot {
            key: key(),
            objects: objects.clone(),
            plan: None,
            recalled: None,
            fleet: self.index.fleet(&key().0),
            trust: None,
            link: Link { connected: true, settled: true, since: Time(1) },
            recorded: None,
            last_looks: Arc::default(),
        };
        let started = Instant::now();
        let decision = decide_model(&snapshot, now);
        (decision, started.elapsed())
    }
}

fn state(id: &DeviceId, sequence: u64, version: &str, attempt: Option<&str>) -> Vec<u8> {
    let kind = usize::from(id.as_str().as_bytes()[id.as_str().len() - 1] % 4);
    let (age, load) = (["new", "mid", "old", "worn"][kind], ["low", "high"][kind % 2]);
    let mut model = json!({
        "model": "m",
        "running": {"digest": digest(version), "version": version, "activated": NOW.0 - 30 * WINDOW_MS, "confirmed": true},
    });
    if let Some(attempt) = attempt {
        let since = NOW.0 - 30 * WINDOW_MS;
        model["candidate"] =
            json!({"rollout": attempt, "digest": digest(version), "phase": "Confirmed", "since": since});
    }
    json!({
        "device": id, "sequence": sequence, "at": NOW, "agent": "0.1.0",
        "labels": {"age": age, "load": load, "site": "north"},
        "capabilities": {
            "engines": [{"name": "OnnxRuntime", "version": "1.31", "opsets": {"ai.onnx": 21, "ai.onnx.ml": 4}}],
            "memoryBytes": 100_000_000, "arch": "aarch64",
        },
        "models": [model],
    })
    .to_string()
    .into_bytes()
}

fn report(id: &DeviceId, sequence: u64, version: &str, observe_id: u64) -> Vec<u8> {
    let last = NOW.0 / WINDOW_MS;
    let window = |index: u64| {
        let bad = u32::from((index * 37 + id.as_str().len() as u64 * 17).is_multiple_of(101));
        let tally = Tally { known: vec![1; OBJECTIVES], bad: vec![bad, 0, 0, 0] };
        Window { index, span: 1, tally: Some(tally), ..Window::default() }
    };
    let report = Report {
        device: id.to_string(),
        namespace: "plant".into(),
        model: "m".into(),
        digest: digest(version).0.to_vec(),
        sequence,
        sent_at_ms: NOW.0,
        window_ms: WINDOW_MS,
        observe_id,
        windows: (last - 24..last).map(window).collect(),
        ..Report::default()
    };
    report.encode_to_vec()
}

/// How often each look is taken: `LOOKS`, by default three times.
fn looks() -> u32 {
    std::env::var("LOOKS").ok().and_then(|looks| looks.parse().ok()).unwrap_or(3)
}

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

/// Processor time of this process, all threads.
fn processor() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// `COUNT=1000000 cargo test --release -p modelfleet-model --test look_cost -- --nocapture`
#[test]
fn a_look_at_a_large_fleet() {
    let count: u64 = std::env::var("COUNT").ok().and_then(|c| c.parse().ok()).unwrap_or(2_000);
    let before = resident();
    let (started, spent) = (Instant::now(), processor());
    let mut large = Large::new(count);
    println!(
        "{count} devices folded in {:?}, {:?} of processor time, their messages made included",
        started.elapsed(),
        processor() - spent
    );
    println!("{} bytes a device", resident().saturating_sub(before) / count);
    let slo = |name: &str, metric: &str| json!({"name": name, "metric": metric, "threshold": "0.5"});
    let spec = json!({
        "model": "m", "version": "1.1.0",
        "slos": [slo("a", "ErrorRate"), slo("b", "TimeoutRate"), slo("c", "CpuUsage"), slo("d", "MemoryUsage")],
        "stages": [{"name": "half", "devices": "50%", "spreadBy": ["age", "load"], "bake": "48h"},
            {"name": "full", "devices": "100%", "bake": "48h"}],
    });
    let versions = vec![
        version("1.0.0", &json!({"stage": "Production", "promotedAt": "2026-01-01T00:00:00Z"})),
        version("1.1.0", &json!({"stage": "Verified"})),
    ];
    let mut objects = ModelObjects::new(vec![rollout(spec)], versions);
    let opened = Time(NOW.0 - 40 * WINDOW_MS);
    let (decision, took) = large.decide(&objects, opened);
    println!("a stage opened in {took:?}");
    store(&mut objects, &decision, opened);
    let decided = decision.rollouts[0].result.as_ref().unwrap_or_else(|p| panic!("{p}"));
    let (attempt, membership) = (decided.view.attempt.clone(), decided.membership.clone());
    let observe_id = decided.view.observe.id();
    for _ in 0..looks() {
        let spent = processor();
        let (decision, took) = large.decide(&objects, NOW);
        println!("before any device has it: a look in {took:?}, {:?} of processor time", processor() - spent);
        assert_eq!(decision.rollouts[0].phase(), Phase::Progressing);
    }
    let ids = (0..count).map(|i| (i, format!("pump-{i:07}").parse::<DeviceId>().unwrap()));
    let labels = |i: u64| {
        let kind = (i % 10 + u64::from(b'0')) as usize % 4;
        let (age, load) = (["new", "mid", "old", "worn"][kind], ["low", "high"][kind % 2]);
        [("age", age), ("load", load), ("site", "north")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
    };
    let told = ids.map(|(i, id)| match membership.includes(&id, &labels(i)) {
        true => (i, "1.1.0", Some(attempt.as_str())),
        false => (i, "1.0.0", None),
    });
    large.tell(2, told.collect::<Vec<_>>().into_iter(), observe_id);
    for _ in 0..looks() {
        let spent = processor();
        let (decision, took) = large.decide(&objects, NOW);
        let seen =
            decision.rollouts[0].result.as_ref().unwrap_or_else(|p| panic!("{p}")).seen.as_ref().unwrap();
        println!(
            "{} of {} run it: a look in {took:?}, {:?} of processor time",
            seen.view.activated,
            seen.view.matching,
            processor() - spent
        );
    }
    assert_eq!(large.index.devices() as u64, large.count);
}

fn store(objects: &mut ModelObjects, decision: &ModelDecision, now: Time) {
    let outcome = &decision.rollouts[0];
    let mut rollout = (*objects.rollouts[0]).clone();
    rollout.status = Some(rollout_status(outcome, rollout.status.as_ref(), None, Some(1), now));
    objects.rollouts[0] = Arc::new(rollout);
}
