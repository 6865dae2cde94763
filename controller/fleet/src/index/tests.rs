use modelfleet_evidence::Device as _;
use modelfleet_judge::Arm;
use modelfleet_protocol::draw::{Candidate, Share, Target, open_stage};
use modelfleet_protocol::generated::{Report, Tally, Window};
use modelfleet_protocol::ids::{DeviceId, Digest, ModelName};
use modelfleet_protocol::membership::{Bound, Clause, Membership};
use modelfleet_protocol::model::ModelBuild;
use modelfleet_protocol::selector::Selector;
use prost::Message as _;
use serde_json::json;

use super::*;
use crate::view::{Lens, Survey};
use crate::windows::Counting;

const NOW: Time = Time(1_000_000_000);
const COUNTING: Counting = Counting { observe_id: 9, window_ms: 1_000 };

fn topic(device: &str, what: &str) -> String {
    let id: DeviceId = device.parse().unwrap();
    format!("mf/1/plant/device/{:02x}/{device}/{what}", modelfleet_protocol::ids::shard(&id))
}

fn state(device: &str, sequence: u64, at: u64, model: serde_json::Value) -> Vec<u8> {
    let labels = json!({"age": if sequence.is_multiple_of(2) { "old" } else { "new" }});
    let state = json!({
        "device": device, "sequence": sequence, "at": at, "agent": "test", "labels": labels, "models": [model],
    });
    state.to_string().into_bytes()
}

fn runs(digest: &Digest, rollout: &str, phase: &str, failure: Option<&str>) -> serde_json::Value {
    let mut attempt = json!({"rollout": rollout, "digest": digest, "phase": phase, "since": 5});
    if let Some(code) = failure {
        attempt["failure"] = json!({"code": code});
    }
    let running = matches!(phase, "Activated" | "Confirmed").then(
        || json!({"digest": digest, "version": "1.1.0", "activated": 7, "confirmed": phase == "Confirmed"}),
    );
    json!({"model": "m", "running": running, "candidate": attempt})
}

fn report(device: &str, sequence: u64, digest: &Digest, bad: u32) -> Vec<u8> {
    let tally = Tally { known: vec![1], bad: vec![bad] };
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

/// An index of the one fleet `plant` with a rollout of the model `m`.
fn plant(devices_max: usize) -> Index {
    let mut index = Index::new(devices_max);
    index.note(&key("plant", "m"), Source::Rollout("uid".into()));
    index
}

fn key(namespace: &str, model: &str) -> Key {
    (namespace.parse().unwrap(), model.parse().unwrap())
}

fn fold(index: &mut Index, device: &str, what: &str, payload: &[u8]) -> Change {
    index.fold(&topic(device, what), payload, false, NOW)
}

#[test]
fn the_newest_state_wins_and_a_wiped_device_is_heard_again() {
    let mut index = plant(10);
    let digest = Digest::of(b"a");
    let told = |s, at| state("d", s, at, runs(&digest, "r", "Confirmed", None));
    assert_eq!(fold(&mut index, "d", "state", &told(5, 50)), Change::Device);
    for (sequence, at) in [(5, 50), (4, 40), (1, 10)] {
        assert_eq!(fold(&mut index, "d", "state", &told(sequence, at)), Change::Nothing);
    }
    assert_ne!(fold(&mut index, "d", "state", &told(1, 60)), Change::Nothing, "memory wiped, clock goes on");
    assert_eq!(index.devices(), 1);
    assert_ne!(fold(&mut index, "d", "state", b""), Change::Nothing, "cleared: the device is gone");
    assert_eq!(index.devices(), 0);
}

#[test]
fn garbage_is_counted_and_named_and_harms_nobody() {
    let mut index = plant(3);
    fold(&mut index, "good", "state", &state("good", 1, 1, json!({"model": "m"})));
    let huge = vec![b'x'; 300_000];
    let hostile: &[(&str, &[u8])] = &[
        ("mf/1/plant/device/00/good/state", b"{}"),
        ("mf/1/../plan/x", b"{}"),
        ("\u{1}\u{2}", b""),
        (&topic("good", "state"), b"{\"device\":\"other\",\"sequence\":9,\"at\":1,\"agent\":\"\"}"),
        (&topic("good", "state"), &huge),
        (&topic("good", "presence"), b"[]"),
        (&topic("good", "report/m"), &huge),
        (&topic("good", "report/m"), &[0xff; 32]),
    ];
    for (topic, payload) in hostile {
        assert_eq!(index.fold(topic, payload, false, NOW), Change::Nothing, "{topic:?}");
    }
    assert_eq!(index.malformed.total(), hostile.len() as u64);
    assert!(index.malformed.sample().len() <= crate::malformed::SAMPLE_MAX);
    assert_eq!(index.devices(), 1);
    for i in 0..40 {
        let name = format!("new-{i}");
        fold(&mut index, &name, "state", &state(&name, 1, 1, json!({"model": "m"})));
    }
    assert_eq!(index.devices(), 3, "devices beyond the limit are refused");
    assert_eq!(index.malformed.sample().len(), crate::malformed::SAMPLE_MAX);
}

/// A device has lost its record and counts from one again; what it had retained before comes behind what it says now.
#[test]
fn what_a_device_had_retained_before_it_lost_its_record_comes_too_late_to_count() {
    let mut index = plant(10);
    let says = |index: &mut Index, retained, online, since, connection| {
        let presence = json!({"online": online, "since": since, "connection": connection});
        index.fold(&topic("d", "presence"), presence.to_string().as_bytes(), retained, NOW);
    };
    let online = |index: &Index| {
        let fleet = index.fleet(&"plant".parse().unwrap()).unwrap();
        fleet.labelled().filter(|(_, _, online)| *online).count()
    };
    let tells = |index: &mut Index, retained, at, sequence, label: &str| {
        let state =
            json!({"device": "d", "sequence": sequence, "at": at, "agent": "t", "labels": {"is": label}});
        index.fold(&topic("d", "state"), state.to_string().as_bytes(), retained, NOW);
    };
    let is = |index: &Index, label: &str| {
        let fleet = index.fleet(&"plant".parse().unwrap()).unwrap();
        fleet.labelled().all(|(_, labels, _)| labels["is"] == label)
    };
    tells(&mut index, false, 200, 1, "new");
    says(&mut index, false, true, 200, 1);
    tells(&mut index, true, 100, 50, "old");
    says(&mut index, true, false, 100, 50);
    assert!(online(&index) == 1 && is(&index, "new"));
    // A will of that connection ends it all the same, and so does one that the broker had retained.
    says(&mut index, true, false, 200, 1);
    assert_eq!(online(&index), 0);
    // On a new connection a device with a clock that was set back is heard as before.
    index.reconnect();
    tells(&mut index, true, 50, 2, "set-back");
    says(&mut index, true, true, 50, 2);
    assert!(online(&index) == 1 && is(&index, "set-back"));
}

/// Forty devices: the first ten drawn; a failed, an incompatible and a reverted one among them.
fn forty(digest: &Digest) -> (Index, Membership) {
    let mut index = plant(100);
    for i in 0..40_u64 {
        let name = format!("d{i:02}");
        fold(&mut index, &name, "presence", br#"{"online":true,"since":1,"connection":1}"#);
        let running =
            json!({"digest": Digest::of(b"stable"), "version": "1.0.0", "activated": 1, "confirmed": true});
        let model = json!({"model": "m", "running": running});
        fold(&mut index, &name, "state", &state(&name, i + 1, 1, model));
    }
    let fleet = index.fleet(&"plant".parse().unwrap()).unwrap();
    let share = Share {
        selector: Selector::default(),
        spread_by: vec!["age".into()],
        devices: Target::Count(10),
        floors: vec![],
    };
    let empty = Membership { salt: "s".into(), ..Membership::default() };
    let devices = fleet.labelled().map(|(id, labels, reachable)| Candidate { id, labels, reachable });
    let membership = open_stage(&empty, &share, devices);
    let members: Vec<String> = membership.clauses[0].devices.iter().map(ToString::to_string).collect();
    assert_eq!(members.len(), 10);
    for (i, name) in members.iter().enumerate() {
        let model = match i {
            0 => runs(digest, "r", "Failed", Some("LoadRefused")),
            1 => runs(digest, "r", "Incompatible", Some("EngineMissing")),
            2 => runs(digest, "r", "Reverted", Some("CrashLoop")),
            3 => runs(digest, "r", "Activated", None),
            4 => runs(digest, "older", "Confirmed", None),
            _ => runs(digest, "r", "Confirmed", None),
        };
        fold(&mut index, name, "state", &state(name, 100 + i as u64 * 2, 100, model));
    }
    fold(&mut index, &members[9], "presence", br#"{"online":false,"since":1,"connection":1}"#);
    (index, membership)
}

fn lens<'a>(
    digest: Digest,
    membership: &'a Membership,
    parts: &'a (ModelName, Selector, Vec<String>),
) -> Lens<'a> {
    Lens {
        model: &parts.0,
        attempt: "r",
        candidate: digest,
        scope: &parts.1,
        selector: &parts.1,
        watch_by: &[],
        membership,
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
    }
}

#[test]
fn counts_have_honest_denominators() {
    let digest = Digest::of(b"candidate");
    let (index, membership) = forty(&digest);
    let parts = ("m".parse().unwrap(), Selector::default(), vec!["age".to_owned()]);
    let fleet = index.fleet(&"plant".parse().unwrap()).unwrap();
    let survey = fleet.survey(&lens(digest, &membership, &parts), true);
    let view = survey.view;
    assert_eq!((view.matching, view.members, view.eligible, view.incompatible), (40, 10, 9, 1));
    assert_eq!((view.failed, view.activated, view.confirmed), (2, 7, 6));
    assert_eq!((view.reachable, view.unreachable), (8, 1));
    assert_eq!((view.still_exposed, view.still_exposed_unreachable, view.exposed_ever), (6, 1, 8));
    assert_eq!(survey.failures.len(), 2);
    let canaries = survey.subjects.iter().filter(|s| s.arm == Arm::Canary).count();
    assert_eq!((canaries, survey.subjects.len()), (9, 39), "who cannot run it is in neither arm");
}

/// The stable build answers, and the candidate runs beside it: a canary since then, not since the stable build began.
#[test]
fn a_shadow_is_a_canary_since_it_runs_beside() {
    let (candidate, stable) = (Digest::of(b"candidate"), Digest::of(b"stable"));
    let (mut index, membership) = forty(&candidate);
    let parts = ("m".parse().unwrap(), Selector::default(), vec!["age".to_owned()]);
    for (sequence, phase, since) in [(1, "Activated", 70), (2, "Confirmed", 80)] {
        for i in 0..40 {
            let name = format!("d{i:02}");
            let mut model = runs(&candidate, "r", phase, None);
            model["running"] =
                json!({"digest": stable, "version": "1.0.0", "activated": 7, "confirmed": true});
            model["candidate"]["since"] = since.into();
            // The labels of a device stay what they were.
            fold(&mut index, &name, "state", &state(&name, 1_000 + 2 * sequence + i % 2, 9, model));
        }
        let fleet = index.fleet(&"plant".parse().unwrap()).unwrap();
        let survey = fleet.survey(&lens(candidate, &membership, &parts), true);
        let view = survey.view;
        let confirmed = if phase == "Confirmed" { view.members } else { 0 };
        assert_eq!((view.activated, view.confirmed), (view.members, confirmed));
        assert!(view.members > 0);
        let began = survey.subjects.iter().filter(|s| s.arm == Arm::Canary).map(|s| s.activated);
        assert!(began.clone().count() > 0 && began.clone().all(|at| at == Time(since)));
    }
}

#[test]
fn who_was_not_asked_has_not_failed() {
    let digest = Digest::of(b"candidate");
    let (mut index, membership) = forty(&digest);
    let parts = ("m".parse().unwrap(), Selector::default(), vec!["age".to_owned()]);
    let members = membership.clauses[0].devices.clone();
    for (sequence, device) in [(1_002, &members[2]), (1_000, &members[4])] {
        let name = device.to_string();
        let model = runs(&digest, "r", "Reverted", Some("Unproven"));
        fold(&mut index, &name, "state", &state(&name, sequence, 200, model));
    }
    let fleet = index.fleet(&"plant".parse().unwrap()).unwrap();
    let survey = fleet.survey(&lens(digest, &membership, &parts), true);
    let view = survey.view;
    assert_eq!((view.failed, view.unproven, view.unasked), (1, 2, 1));
    assert_eq!(survey.failures.iter().map(|f| &f.device).collect::<Vec<_>>(), [&members[0]]);
    let soon = Lens { probation_ms: NOW.0, ..lens(digest, &membership, &parts) };
    assert_eq!(fleet.survey(&soon, false).view.unasked, 0, "its probation is not over");
}

/// A Rollout's name is used again for another version: what devices made of the one before is not this one's.
#[test]
fn what_a_device_runs_is_told_by_its_digest_and_never_by_a_name() {
    let (before, after) = (Digest::of(b"before"), Digest::of(b"after"));
    let mut index = plant(40);
    for i in 0..20_u64 {
        let name = format!("d{i:02}");
        fold(&mut index, &name, "presence", br#"{"online":true,"since":1,"connection":1}"#);
        let model = match i {
            0 => runs(&before, "r", "Failed", Some("LoadRefused")),
            1 => runs(&after, "r", "Confirmed", None),
            _ => runs(&before, "r", "Confirmed", None),
        };
        fold(&mut index, &name, "state", &state(&name, i + 1, 1, model));
    }
    let parts = ("m".parse().unwrap(), Selector::default(), vec![]);
    let clause = Clause {
        devices: (0..5).map(|i| format!("d{i:02}").parse().unwrap()).collect(),
        ..Clause::default()
    };
    let membership = Membership { salt: "s".into(), clauses: vec![clause], exclude: vec![] };
    let fleet = index.fleet(&"plant".parse().unwrap()).unwrap();
    let survey = fleet.survey(&lens(after, &membership, &parts), true);
    assert_eq!((survey.view.members, survey.view.confirmed, survey.view.failed), (5, 1, 0));
    assert_eq!((survey.view.still_exposed, survey.view.exposed_ever), (1, 1), "a way back has an end");
    assert_eq!(survey.subjects.iter().filter(|s| s.arm == Arm::Control).count(), 15, "they are controls");
    // Devices that have the same bytes in production have nothing to go back from.
    let home = [(Selector::default(), true)];
    let survey = fleet.survey(&Lens { prior: &home, ..lens(after, &membership, &parts) }, true);
    assert_eq!((survey.view.confirmed, survey.view.still_exposed, survey.view.exposed_ever), (1, 0, 0));
}

/// Failures come one by one, and each failed device is set aside at once: they must be tested together all the same.
#[test]
fn a_device_that_was_set_aside_stays_a_failed_canary() {
    let digest = Digest::of(b"candidate");
    let (index, mut membership) = forty(&digest);
    let parts = ("m".parse().unwrap(), Selector::default(), vec!["age".to_owned()]);
    let fleet = index.fleet(&"plant".parse().unwrap()).unwrap();
    let before = fleet.survey(&lens(digest, &membership, &parts), true);
    membership.exclude.extend(before.failures.iter().map(|failed| failed.device.clone()));
    let after = fleet.survey(&lens(digest, &membership, &parts), true);
    assert_eq!((after.view.members, after.view.failed), (8, 0), "they are no members any more");
    assert_eq!(after.failures, before.failures, "people still see them");
    let arms =
        |survey: &Survey<'_>| survey.subjects.iter().map(|s| (s.id.clone(), s.arm)).collect::<Vec<_>>();
    assert_eq!(arms(&after), arms(&before));
    assert_eq!(after.subjects.iter().filter(|s| s.facts.set_aside).count(), 2);
}

/// Failed canaries, canaries that run it and controls alike.
#[test]
fn devices_that_a_user_set_aside_are_in_no_arm_and_no_count() {
    let digest = Digest::of(b"candidate");
    let (index, mut membership) = forty(&digest);
    let parts = ("m".parse().unwrap(), Selector::default(), vec!["age".to_owned()]);
    let fleet = index.fleet(&"plant".parse().unwrap()).unwrap();
    let before = fleet.survey(&lens(digest, &membership, &parts), true);
    assert_eq!((before.view.members, before.view.failed, before.eligible), (10, 2, 40));
    let control = before.subjects.iter().find(|s| s.arm == Arm::Control).unwrap().id.clone();
    let mut ids: Vec<DeviceId> = before.failures.iter().map(|failed| failed.device.clone()).collect();
    // One of them was quarantined before.
    membership.exclude = vec![ids[0].clone()];
    ids.push(control);
    ids.sort();
    membership.exclude.extend(ids[1..].iter().cloned());
    let after = fleet.survey(&Lens { set_aside: &ids, ..lens(digest, &membership, &parts) }, true);
    assert_eq!((after.view.members, after.view.failed, after.eligible), (8, 0, 37));
    assert_eq!(after.view.matching, before.view.matching - 3);
    assert_eq!(after.failures, vec![], "no failure of this rollout any more");
    assert_eq!(after.subjects.len(), before.subjects.len() - 3);
    assert!(after.subjects.iter().all(|subject| !ids.contains(subject.id)));
}

#[test]
fn the_quick_membership_is_the_protocols() {
    let digest = Digest::of(b"candidate");
    let (index, _) = forty(&digest);
    let fleet = index.fleet(&"plant".parse().unwrap()).unwrap();
    let parts = ("m".parse().unwrap(), Selector::default(), vec!["age".to_owned()]);
    for percent in [0, 10, 35, 80, 100] {
        let share = Share {
            selector: parts.1.clone(),
            spread_by: parts.2.clone(),
            devices: Target::Ppm(percent * 10_000),
            floors: Vec::new(),
        };
        let empty = Membership { salt: format!("s{percent}"), ..Membership::default() };
        let devices = || fleet.labelled().map(|(id, labels, reachable)| Candidate { id, labels, reachable });
        let mut membership = open_stage(&empty, &share, devices());
        membership.exclude.extend(devices().take(2).map(|d| d.id.clone()));
        let expected = devices().filter(|d| membership.includes(d.id, d.labels)).count() as u64;
        let view = fleet.survey(&lens(digest, &membership, &parts), false).view;
        assert_eq!(view.members, expected, "{percent} %");
    }
}

#[test]
fn reports_feed_the_arm_of_their_digest_only() {
    let (candidate, stable) = (Digest::of(b"candidate"), Digest::of(b"stable"));
    let (mut index, membership) = forty(&candidate);
    index.fleet_mut(&"plant".parse().unwrap()).unwrap().watch(&"m".parse().unwrap(), candidate, COUNTING);
    for i in 0..40 {
        let name = format!("d{i:02}");
        let member = membership.clauses[0].devices.iter().any(|d| d.as_str() == name);
        let digest = if member && i % 2 == 0 { candidate } else { stable };
        fold(&mut index, &name, "report/m", &report(&name, 3, &digest, u32::from(member)));
        assert_eq!(fold(&mut index, &name, "report/m", &report(&name, 2, &digest, 1)), Change::Nothing);
    }
    let fleet = index.fleet(&"plant".parse().unwrap()).unwrap();
    let parts = ("m".parse().unwrap(), Selector::default(), vec!["age".to_owned()]);
    let survey = fleet.survey(&lens(candidate, &membership, &parts), true);
    for subject in &survey.subjects {
        let counts = subject.counted(COUNTING).since(0, 105);
        let expected = match (subject.arm, subject.report) {
            (Arm::Canary, Some(_)) => (5, 5),
            (Arm::Control, Some(_)) => (5, 0),
            (_, None) => (0, 0),
        };
        assert_eq!((counts.known, counts.bad), expected, "{:?}", subject.id);
        let other = Counting { observe_id: 8, ..COUNTING };
        assert_eq!(subject.counted(other).since(0, 105).known, 0, "another way of counting");
    }
    let merged = fleet.samples(&"m".parse().unwrap()).unwrap().merged(Arm::Canary, |_| 0);
    assert_eq!(merged.len(), 10);
    assert!(merged.values().all(|m| m.tally.bad[0] == m.tally.known[0]));
}

/// Every second device has an engine of its own kind.
fn two_kinds() -> Index {
    let mut index = plant(100);
    for i in 0..40_u64 {
        let name = format!("d{i:02}");
        let engine = if i % 2 == 0 { "OnnxRuntime" } else { "Rten" };
        let state = json!({
            "device": name, "sequence": 1, "at": 1, "agent": "test", "labels": {"site": "north"},
            "capabilities": {"engines": [{"name": engine, "version": "1", "opsets": {"": 21}}]},
        });
        fold(&mut index, &name, "state", &state.to_string().into_bytes());
    }
    index
}

#[test]
fn a_stage_is_drawn_from_devices_that_can_run_the_build() {
    let index = two_kinds();
    let fleet = index.fleet(&"plant".parse().unwrap()).unwrap();
    let build = |change: serde_json::Value| {
        let mut build = json!({
            "model": "m", "version": "1.0.0", "digest": Digest::of(b"m"), "sizeBytes": 1, "uri": "file:///m",
            "format": "Onnx", "opsets": {"": 17},
        });
        build.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        serde_json::from_value::<ModelBuild>(build).unwrap()
    };
    let drawable = |selector: &Selector, change| fleet.drawable(selector, &build(change)).len();
    let all = Selector::default();
    assert_eq!(drawable(&all, json!({})), 40);
    assert_eq!(drawable(&all, json!({"engines": ["Rten"]})), 20);
    assert_eq!(
        drawable(&all, json!({"opsets": {"": 22}})),
        40,
        "nobody can: some shall try and tell why not"
    );
    let none = Membership::default();
    let parts = ("m".parse().unwrap(), Selector::default(), vec![]);
    let unable = |change| fleet.unable(&lens(Digest::of(b"m"), &none, &parts), &build(change));
    assert_eq!(unable(json!({})).devices, 0);
    let some = unable(json!({"engines": ["Rten"]}));
    assert_eq!(
        (some.devices, some.why.as_str()),
        (20, "20 because the model requires the engine Rten, which is missing")
    );
    assert_eq!(unable(json!({"opsets": {"": 22}})).devices, 40);
    let elsewhere: Selector = serde_json::from_value(json!({"matchLabels": {"site": "south"}})).unwrap();
    assert_eq!(drawable(&elsewhere, json!({})), 0);
}

#[test]
fn a_device_that_followed_longer_windows_has_time_since_the_plan_that_shortens_them() {
    let mut index = plant(10);
    let digest = Digest::of(b"a");
    fold(&mut index, "d", "state", &state("d", 1, 1, runs(&digest, "r", "Confirmed", None)));
    fold(&mut index, "d", "report/m", &report("d", 1, &digest, 0));
    let fleet = index.fleet(&"plant".parse().unwrap()).unwrap();
    let parts = ("m".parse().unwrap(), Selector::default(), Vec::new());
    let everybody = Clause { other_below: Bound::ALL, ..Clause::default() };
    let membership = Membership { salt: "s".into(), clauses: vec![everybody], ..Membership::default() };
    // It reported at NOW, in windows of a second. Silent is who was not heard for three seconds.
    let silent = |window_ms, issued: u64, now: u64| {
        let plan = json!({
            "namespace": "plant", "model": "m", "epoch": 1, "revision": 1, "issued": NOW.0 + issued, "expires": u64::MAX,
        });
        let plan: modelfleet_protocol::plan::Plan = serde_json::from_value(plan).unwrap();
        let (plan, now) = (Some(&plan), Time(NOW.0 + now));
        let lens =
            Lens { window_ms, plan, now, connected_since: Time::ZERO, ..lens(digest, &membership, &parts) };
        fleet.survey(&lens, false).view.silent_after_activation
    };
    assert_eq!((silent(1_000, 0, 3_000), silent(1_000, 0, 3_001)), (0, 1));
    assert_eq!(silent(1_000, 60_000, 61_000), 1, "windows of the same length: it had its time");
    assert_eq!((silent(500, 60_000, 63_000), silent(500, 60_000, 63_001)), (0, 1));
}
