//! What devices and controller say to each other, and what a device keeps: made by an agent that lives through a rollout.

use std::collections::BTreeMap;
use std::sync::Arc;

use modelfleet_agent_core::interface::{Input, Output};
use modelfleet_agent_core::saved::Saved;
use modelfleet_protocol::card::Card;
use modelfleet_protocol::envelope::{KeyId, PLAN_TYPE, Signed, seal};
use modelfleet_protocol::generated::{Bins, Counters, Latency, Report, Tally, Window};
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::in_toto;
use modelfleet_protocol::membership::{Bound, Clause, Membership};
use modelfleet_protocol::metric::Metric;
use modelfleet_protocol::model::{Fallback, Format, ModelBuild};
use modelfleet_protocol::observe::{Indicator, Observe};
use modelfleet_protocol::overrides::{ModelOverride, Override, OverrideAction};
use modelfleet_protocol::plan::{Candidate, Fetch, Mode, Order, Plan, Probation, to_json};
use modelfleet_protocol::statement::Statement;
use modelfleet_protocol::time::Time;
use modelfleet_protocol::trust::{Roots, TrustDocument};
use modelfleet_protocol::window::WindowSummary;
use modelfleet_untrusted::agent::lived;
use modelfleet_untrusted::protocol::trusted_key;
use prost::Message as _;

use crate::Entry;

const ISSUED: Time = Time(1_799_990_000_000);
const EXPIRES: Time = Time(1_900_000_000_000);
const MINUTE_MS: u64 = 60_000;

fn build(minor: u64) -> ModelBuild {
    ModelBuild {
        model: "pump-anomaly".parse().expect("a name"),
        version: semver::Version::new(1, minor, 0),
        digest: Digest::of(&minor.to_le_bytes()),
        uri: format!("https://models/{minor}"),
        size_bytes: 1000,
        format: Format::Onnx,
        ir_version: 8,
        opsets: BTreeMap::from([("ai.onnx".to_owned(), 17)]),
        engines: Vec::new(),
        memory_bytes: 0,
        device_labels: BTreeMap::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        details: None,
        self_test: Vec::new(),
        profile: None,
        decision: None,
        pre_filters: Vec::new(),
        fallback: Fallback::Error,
        signatures: Vec::new(),
    }
}

fn order(revision: u64) -> Order {
    Order { epoch: 1, revision, issued: ISSUED, expires: EXPIRES }
}

fn plan(revision: u64, candidate: Option<u64>, mode: Mode) -> Plan {
    let everyone = Clause { other_below: Bound::ALL, ..Clause::default() };
    let candidate = candidate.map(|minor| Candidate {
        rollout: format!("r-{minor}"),
        build: build(minor),
        membership: Membership { salt: "s".to_owned(), clauses: vec![everyone], exclude: Vec::new() },
        admit: true,
        mode,
        probation: Probation { timeout_ms: 10 * MINUTE_MS, min_predictions: 0, max_errors: 3 },
        fetch: Fetch { spread_ms: MINUTE_MS, bytes_per_second: 1000, window_utc_minutes: Some((60, 300)) },
    });
    let indicator = Indicator {
        name: "errors".to_owned(),
        metric: Metric::ErrorRate,
        feature: None,
        threshold: 10_000,
        min_samples: 1,
    };
    Plan {
        namespace: "plant-a".parse().expect("a name"),
        model: "pump-anomaly".parse().expect("a name"),
        order: order(revision),
        stable: Some(build(1)),
        stable_for: Vec::new(),
        candidate,
        rejected: vec![Digest([3; 32])],
        fetch: None,
        observe: Observe {
            window_ms: MINUTE_MS,
            report_every_ms: 0,
            histogram_windows: 4,
            since: ISSUED,
            indicators: vec![indicator],
        },
    }
}

fn override_of(action: OverrideAction) -> Vec<u8> {
    let order = Override {
        namespace: "plant-a".parse().expect("a name"),
        device: "pump-001".parse().expect("an id"),
        order: order(4),
        models: vec![ModelOverride { model: "pump-anomaly".parse().expect("a name"), action }],
    };
    serde_json::to_vec(&order).expect("an override is JSON")
}

fn window(index: u64) -> Window {
    Window {
        index,
        span: 1,
        tally: Some(Tally { known: vec![1], bad: vec![u32::from(index.is_multiple_of(7))] }),
        counters: Some(Counters { requests: 60, errors: index % 3, readings: 240, ..Counters::default() }),
        latency: Some(Latency { offset: 80, counts: vec![1, 2, 3], zero: 0 }),
        confidence: Some(Bins { counts: vec![0, 60] }),
        ..Window::default()
    }
}

/// What the protocol's own test target reads: of device pump-001 of model m in namespace a.
fn report() -> Report {
    Report {
        device: "pump-001".into(),
        namespace: "a".into(),
        model: "m".into(),
        digest: vec![1; 32],
        rollout: "r-2".into(),
        sequence: 3,
        sent_at_ms: ISSUED.0,
        activated_at_ms: ISSUED.0 - 600_000,
        window_ms: MINUTE_MS,
        observe_id: 1,
        windows: (0..4).map(|ahead| window(ISSUED.0 / MINUTE_MS - 4 + ahead)).collect(),
        history: None,
        plan_epoch: 1,
        plan_revision: 2,
    }
}

fn trust_document() -> Vec<u8> {
    let other = |n: u8| ed25519_dalek::SigningKey::from_bytes(&[n; 32]).verifying_key();
    let document = TrustDocument {
        version: 1,
        namespace: Some("plant-a".parse().expect("a name")),
        issued: ISSUED,
        expires: EXPIRES,
        roots: Roots { keys: vec![trusted_key().verifying_key().into()], threshold: 1 },
        plan_keys: vec![other(1).into()],
        artifact_keys: Vec::new(),
        enrolment_keys: vec![other(2).into()],
        revoked: vec![KeyId::of(&other(3))],
        floors: Default::default(),
    };
    serde_json::to_vec(&document).expect("a document is JSON")
}

fn card() -> Vec<u8> {
    let card = Card {
        namespace: "plant-a".parse().expect("a name"),
        device: "pump-001".parse().expect("an id"),
        labels: BTreeMap::from([("age".to_owned(), "old".to_owned())]),
        issued: ISSUED,
        expires: EXPIRES,
    };
    card.seal(&trusted_key()).expect("a small card").into_bytes()
}

/// A header with one output and none but well-known operators.
fn model_file(name: &str) -> Vec<u8> {
    // IR 8 with operator set 17; a graph with a name and one output, a tensor of floats.
    let mut graph = vec![0x12, u8::try_from(name.len()).expect("a short name")];
    graph.extend(name.bytes());
    graph.extend([0x62, 9, 0x0a, 1, b'y', 0x12, 4, 0x0a, 2, 0x08, 1]);
    let mut bytes = vec![0x08, 8, 0x3a, u8::try_from(graph.len()).expect("a short graph")];
    bytes.extend(graph);
    bytes.extend([0x42, 2, 0x10, 17]);
    bytes
}

/// A message behind its topic.
fn on(topic: &str, payload: &[u8]) -> Vec<u8> {
    [topic.as_bytes(), b"\n", payload].concat()
}

fn in_toto_statement(model: &modelfleet_protocol::ids::ModelName) -> Vec<u8> {
    let version = semver::Version::new(1, 2, 0);
    let statement =
        Statement { model: model.clone(), version, digest: Digest([7; 32]), size_bytes: Some(1000) };
    in_toto::sign(&trusted_key(), &statement)
}

fn statement(model: &modelfleet_protocol::ids::ModelName) -> Vec<u8> {
    let version = semver::Version::new(1, 2, 0);
    let digest = Digest([7; 32]);
    Statement { model: model.clone(), version, digest, size_bytes: Some(1000) }.to_string().into_bytes()
}

pub fn entries() -> Vec<Entry> {
    let model: modelfleet_protocol::ids::ModelName = "pump-anomaly".parse().expect("a name");
    let plans = [plan(1, None, Mode::Live), plan(2, Some(2), Mode::Live), plan(3, Some(2), Mode::Shadow)];
    let summary = |index| {
        let window = Window { index, ..window(index) };
        Input::WindowClosed {
            model: model.clone(),
            digest: build(1).digest,
            window_ms: MINUTE_MS,
            window: Box::new(WindowSummary::from(&window)),
        }
    };
    let by = KeyId::of(&trusted_key().verifying_key());
    let signed = |plan: Plan| Input::Plan(Signed { what: Arc::new(plan), by });
    let mut told: Vec<Input> = plans.iter().take(2).cloned().map(signed).collect();
    told.extend((0..6).map(|ahead| summary(ISSUED.0 / MINUTE_MS + ahead)));
    let (agent, outputs) = lived(Saved::default(), &BTreeMap::new(), told);
    let state = outputs.iter().rev().find_map(|output| match output {
        Output::PublishState(state) => Some(serde_json::to_vec(state).expect("a state is JSON")),
        _ => None,
    });
    let state = state.expect("an agent that connects says what it runs");
    let device = "mf/1/plant-a/device/f0/pump-001";
    let sealed = seal(&trusted_key(), PLAN_TYPE, &to_json(&plans[1]));
    let mut of_fleet = report();
    (of_fleet.namespace, of_fleet.model) = ("plant-a".into(), model.to_string());
    let mut entries: Vec<Entry> = vec![
        ("card", "one-label", card()),
        ("control_record", "after-a-rollout", agent.saved().to_json()),
        ("control_record", "new-device", Saved::default().to_json()),
        ("envelope", "plan", to_json(&plans[1])),
        ("envelope", "sealed-plan", sealed.clone()),
        ("envelope", "override", override_of(OverrideAction::Hold)),
        ("message", "state", on(&format!("{device}/state"), &state)),
        (
            "message",
            "presence",
            on(
                &format!("{device}/presence"),
                br#"{"online":true,"since":1799990000000,"connection":1,"instance":1}"#,
            ),
        ),
        ("message", "report", on(&format!("{device}/report/{model}"), &of_fleet.encode_to_vec())),
        ("message", "plan", on(&format!("mf/1/plant-a/plan/{model}"), &sealed)),
        ("message", "held", on(&format!("{device}/held/{model}"), &sealed)),
        ("model_file", "one-output", model_file("pump")),
        ("override", "hold", override_of(OverrideAction::Hold)),
        ("override", "pin", override_of(OverrideAction::Pin(Box::new(build(3))))),
        ("override", "release", override_of(OverrideAction::Release)),
        ("report", "four-windows", report().encode_to_vec()),
        ("state", "after-a-rollout", state),
        ("in_toto", "envelope", in_toto_statement(&model)),
        ("statement", "words", statement(&model)),
        ("topic", "state", format!("{device}/state").into_bytes()),
        ("topic", "report", format!("{device}/report/{model}").into_bytes()),
        ("topic", "plan", format!("mf/1/plant-a/plan/{model}").into_bytes()),
        ("topic", "trust", b"mf/1/plant-a/trust".to_vec()),
        ("trust", "one-root", trust_document()),
        ("truth_lines", "every-form", TRUTH_LINES.to_vec()),
        ("windows_record", "six-windows", agent.saved_windows(&model)),
    ];
    for (kind, names) in
        [("plan", ["stable", "candidate", "shadow"]), ("signed_plan", ["stable", "candidate", "shadow"])]
    {
        entries.extend(names.into_iter().zip(&plans).map(|(name, plan)| (kind, name, to_json(plan))));
    }
    entries
}

const TRUTH_LINES: &[u8] = br#"{"lines": [
    {"id": "17", "truth": true}, {"id": "batch/2", "truth": "vane", "toldAt": 1746403200000}, {"id": "18", "truth": -1.5e3},
    {"at": "2026-05-03", "leadDays": 28, "truth": true, "id": "wo-4711"},
    {"from": "2026-05-01T06:00:00+02:00", "until": "2026-05-02 07:30", "truth": false}]}"#;
