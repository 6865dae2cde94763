//! What one look at a fleet costs: `cargo run --release -p modelfleet-model --example look -- [DEVICES] [CANARIES]`.
//!
//! A fleet of so many devices with four objectives, hourly windows and a past, of which so many run the candidate: the time
//! for the survey (the core's counts and both arms) and for the judge.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types, reason = "a measurement")]

use std::time::Instant;

use modelfleet_crds::{Rollout, RolloutSpec};
use modelfleet_fleet::view::{Lens, Survey};
use modelfleet_fleet::windows::Counting;
use modelfleet_fleet::{Index, Source};
use modelfleet_judge::StageState;
use modelfleet_model::assess::{Judged, Recording, assess};
use modelfleet_protocol::draw::{Candidate, Share, Target, open_stage};
use modelfleet_protocol::generated::{History, Report, Tally, Window};
use modelfleet_protocol::ids::{DeviceId, Digest, ModelName};
use modelfleet_protocol::membership::Membership;
use modelfleet_protocol::selector::{Labels, Selector};
use modelfleet_protocol::time::Time;
use modelfleet_rollout::State;
use prost::Message as _;
use serde_json::json;

const WINDOW_MS: u64 = 3_600_000;
const OPENED: Time = Time(500_000 * WINDOW_MS);
/// Windows since then.
const PASSED: u64 = 30;
const NOW: Time = Time(OPENED.0 + PASSED * WINDOW_MS);

fn main() {
    let number = |at: usize| std::env::args().nth(at).and_then(|text| text.parse().ok());
    let devices: u64 = number(1).unwrap_or(1_000_000);
    let canaries: u64 = number(2).unwrap_or(devices / 40);
    let mut rollout = Rollout::new("r", RolloutSpec::new("m", "1.1.0"));
    rollout.metadata.uid = Some("u".into());
    let valid = modelfleet_spec::validate(&rollout, None).unwrap();
    let observe = &valid.policy.parts().observe;
    let counting = Counting { observe_id: observe.id(), window_ms: observe.window_ms };
    let ids: Vec<DeviceId> = (0..devices).map(|i| format!("pump-{i:07}").parse().unwrap()).collect();
    let labels: Labels = [("age".to_owned(), "old".to_owned())].into();
    let share = Share { selector: Selector::default(), spread_by: vec![], devices: Target::Count(canaries) };
    let all = ids.iter().map(|id| Candidate { id, labels: &labels, reachable: true });
    let membership = open_stage(&Membership { salt: "u/1".into(), ..Membership::default() }, &share, all);
    let mut index = Index::new(usize::MAX);
    index.note(&("plant".parse().unwrap(), "m".parse().unwrap()), Source::Plan);
    for (i, id) in ids.iter().enumerate() {
        fill(&mut index, id, i as u64, membership.includes(id, &labels), counting, valid.objectives.len());
    }
    let (model, everything): (ModelName, Selector) = ("m".parse().unwrap(), Selector::default());
    let lens = Lens {
        model: &model,
        attempt: "r/1",
        candidate: Digest::of(b"1.1.0"),
        scope: &everything,
        selector: &everything,
        membership: &membership,
        drawn: Some(0),
        probation_ms: 600_000,
        silent_after_ms: valid.silent_after_ms,
        window_ms: WINDOW_MS,
        connected_since: Time(1),
        prior: &[],
        back_since: None,
        plan: None,
        now: NOW,
    };
    let fleet = index.fleet(&"plant".parse().unwrap()).unwrap();
    let state = State { attempt: 1, stage_opened_at: Some(OPENED), ..State::default() };
    for _ in 0..3 {
        let start = Instant::now();
        let Survey { view, subjects, .. } = fleet.survey(&lens, true);
        let surveyed = start.elapsed();
        let judged = Judged {
            valid: &valid,
            state: &state,
            before: &StageState::default(),
            counting,
            profile: None,
            subjects: &subjects,
            samples: None,
            fleet: Some(fleet),
            recording: Recording::Off,
            moment: lens.moment(),
        };
        let answer = assess(&judged);
        println!(
            "{} devices, {} canaries, look {}/{}: survey {surveyed:?}, judge {:?} ({:?})",
            view.matching,
            view.activated,
            answer.looks.reached,
            answer.looks.planned,
            start.elapsed() - surveyed,
            answer.assessment.advice,
        );
    }
}

fn fill(index: &mut Index, id: &DeviceId, i: u64, member: bool, counting: Counting, objectives: usize) {
    let shard = modelfleet_protocol::ids::shard(id);
    let mut fold = |what: &str, payload: &[u8]| {
        index.fold(&format!("mf/1/plant/device/{shard:02x}/{id}/{what}"), payload, false, NOW);
    };
    let version = if member { "1.1.0" } else { "1.0.0" };
    let digest = Digest::of(version.as_bytes());
    let since = if member { OPENED.0 + i % WINDOW_MS } else { 7 };
    let mut model = json!({"model": "m", "running": {
        "digest": digest, "version": version, "activated": since, "confirmed": true,
    }});
    if member {
        model["candidate"] =
            json!({"rollout": "r/1", "digest": digest, "phase": "Confirmed", "since": since});
    }
    let state = json!({
        "device": id, "sequence": 1, "at": 1, "agent": "test", "labels": {"age": "old"}, "models": [model],
    });
    fold("presence", br#"{"online":true,"since":1,"connection":1}"#);
    fold("state", state.to_string().as_bytes());
    let tally =
        |known: u32, bad: u32| Some(Tally { known: vec![known; objectives], bad: vec![bad; objectives] });
    let first = OPENED.0 / WINDOW_MS;
    let bad = |index: u64| u32::from((index * 31 + i * 17) % 97 == 0);
    let window = |index| Window { index, span: 1, tally: tally(1, bad(index)), ..Window::default() };
    let report = Report {
        device: id.to_string(),
        namespace: "plant".into(),
        model: "m".into(),
        digest: digest.0.to_vec(),
        sequence: 1,
        sent_at_ms: NOW.0,
        window_ms: counting.window_ms,
        observe_id: counting.observe_id,
        windows: (first..first + PASSED).map(window).collect(),
        history: Some(History { tally: tally(600, 6 + (i % 3) as u32), ..History::default() }),
        ..Report::default()
    };
    fold("report/m", &report.encode_to_vec());
}
