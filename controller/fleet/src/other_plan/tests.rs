use modelfleet_protocol::generated::Report;
use modelfleet_protocol::ids::{Digest, ModelName};
use modelfleet_protocol::membership::Membership;
use modelfleet_protocol::selector::Selector;
use modelfleet_protocol::time::Time;
use prost::Message as _;
use serde_json::json;

use super::*;
use crate::{Index, Source};

/// When the newest plan was signed, by our clock.
const ISSUED: Time = Time(1_000_000_000);
const LATER: Time = Time(ISSUED.0 + GRACE_MS + 1);
const OLD: Numbers = (85, 192);
const NEW: Numbers = (86, 3);

fn fold(index: &mut Index, device: &str, what: &str, payload: &[u8], now: Time) {
    let shard = modelfleet_protocol::ids::shard(&device.parse().unwrap());
    let _ = index.fold(&format!("mf/1/plant/device/{shard:02x}/{device}/{what}"), payload, false, now);
}

fn fleet() -> Index {
    let mut index = Index::new(100);
    index.note(&("plant".parse().unwrap(), "m".parse().unwrap()), Source::Plan);
    index
}

/// A connected device; it runs the stable build, when it holds a plan.
fn connects(index: &mut Index, device: &str, since: Time, holds: Option<Numbers>) {
    let presence = json!({"online": true, "since": since, "connection": 1});
    fold(index, device, "presence", presence.to_string().as_bytes(), since);
    let running = json!({"digest": Digest::of(b"a"), "version": "1.0.0", "activated": 1, "confirmed": true});
    let model = holds.map(|(epoch, revision)| {
        json!({"model": "m", "running": running, "plan": {
            "epoch": epoch, "revision": revision, "issued": 0, "expires": u64::MAX,
        }})
    });
    let models: Vec<_> = model.into_iter().collect();
    let state = json!({
        "device": device, "sequence": 1, "at": since, "agent": "t", "labels": {}, "models": models,
    });
    fold(index, device, "state", state.to_string().as_bytes(), since);
}

fn reports(index: &mut Index, device: &str, sent_at: Time, held: Numbers) {
    let report = Report {
        device: device.into(),
        namespace: "plant".into(),
        model: "m".into(),
        digest: Digest::of(b"a").0.to_vec(),
        sequence: sent_at.0,
        sent_at_ms: sent_at.0,
        window_ms: 1_000,
        plan_epoch: held.0,
        plan_revision: held.1,
        ..Report::default()
    };
    fold(index, device, "report/m", &report.encode_to_vec(), sent_at);
}

fn look(index: &Index, now: Time) -> OtherPlan {
    let model: ModelName = "m".parse().unwrap();
    let (selector, membership) = (Selector::default(), Membership::default());
    let plan = json!({
        "namespace": "plant", "model": "m", "epoch": NEW.0, "revision": NEW.1, "issued": ISSUED, "expires": u64::MAX,
        "stable": {
            "model": "m", "version": "1.0.0", "digest": Digest::of(b"a"), "uri": "file:///m", "sizeBytes": 1,
            "format": "Onnx",
        },
    });
    let plan: Plan = serde_json::from_value(plan).unwrap();
    let lens = Lens {
        model: &model,
        attempt: "r",
        candidate: Digest::of(b"b"),
        scope: &selector,
        selector: &selector,
        watch_by: &[],
        membership: &membership,
        set_aside: &[],
        drawn: None,
        probation_ms: 600_000,
        silent_after_ms: 3_000,
        window_ms: 1_000,
        connected_since: Time::ZERO,
        prior: &[],
        back_since: None,
        plan: Some(&plan),
        now,
    };
    index.fleet(&"plant".parse().unwrap()).unwrap().survey(&lens, false).other_plan
}

#[test]
fn devices_that_refuse_the_newest_plan_are_counted_once_they_had_time_to_take_it() {
    let mut index = fleet();
    for i in 0..40 {
        let device = format!("d{i:02}");
        connects(&mut index, &device, Time(5), Some(OLD));
        reports(&mut index, &device, Time(ISSUED.0 - 1), OLD);
    }
    assert_eq!(look(&index, LATER), OtherPlan::default(), "nobody has said anything since");
    for i in 0..40 {
        reports(&mut index, &format!("d{i:02}"), Time(ISSUED.0 + 1_000), OLD);
    }
    assert_eq!(look(&index, LATER).count, 0, "it had no time to arrive");
    for i in 0..40 {
        reports(&mut index, &format!("d{i:02}"), LATER, if i < 12 { OLD } else { NEW });
    }
    let found = look(&index, LATER);
    assert_eq!((found.count, found.told, found.commonest()), (12, 40, Some(OLD)));
    let named: Vec<&str> = found.named.iter().map(DeviceId::as_str).collect();
    assert_eq!(named, ["d00", "d01", "d02"]);
    reports(&mut index, "d00", Time(LATER.0 + 1), NEW);
    assert_eq!(look(&index, LATER).count, 11);
}

#[test]
fn devices_that_have_taken_a_plan_of_a_later_leader_are_counted_apart() {
    let mut index = fleet();
    let later = (NEW.0 + 7, 1);
    for (i, held) in [OLD, NEW, later, later].into_iter().enumerate() {
        connects(&mut index, &format!("d{i}"), Time(5), Some(OLD));
        reports(&mut index, &format!("d{i}"), LATER, held);
    }
    let found = look(&index, LATER);
    assert_eq!((found.count, found.told, found.later, found.latest_epoch), (3, 4, 2, later.0));
    let named: Vec<&str> = found.named_later.iter().map(DeviceId::as_str).collect();
    assert_eq!(named, ["d2", "d3"]);
}

#[test]
fn who_has_just_connected_or_is_away_or_does_not_tell_is_not_blamed() {
    let mut index = fleet();
    // Connected a moment ago: what waited in its outbox tells of the plan that it had before.
    connects(&mut index, "back", LATER, Some(OLD));
    reports(&mut index, "back", Time(LATER.0 + 1_000), OLD);
    connects(&mut index, "mute", Time(5), Some(OLD));
    reports(&mut index, "mute", LATER, (0, 0));
    connects(&mut index, "away", Time(5), Some(OLD));
    reports(&mut index, "away", LATER, OLD);
    let gone = json!({"online": false, "since": 6, "connection": 1});
    fold(&mut index, "away", "presence", gone.to_string().as_bytes(), LATER);
    assert_eq!(look(&index, Time(LATER.0 + 2_000)), OtherPlan::default());
    reports(&mut index, "back", Time(LATER.0 + GRACE_MS), OLD);
    assert_eq!(look(&index, Time(LATER.0 + GRACE_MS)).count, 1);
}

#[test]
fn a_fleet_that_takes_no_plan_at_all_is_told_too_and_one_with_nothing_to_run_is_not() {
    let mut index = fleet();
    connects(&mut index, "fresh", Time(5), None);
    assert_eq!(look(&index, Time(ISSUED.0 + 1)).count, 0);
    let found = look(&index, LATER);
    assert_eq!((found.count, found.told, found.commonest()), (1, 1, None));
    // It holds the plan and runs nothing yet.
    let model = json!({"model": "m", "plan": {
        "epoch": NEW.0, "revision": NEW.1, "issued": 0, "expires": u64::MAX,
    }});
    let state = json!({
        "device": "fresh", "sequence": 2, "at": 9, "agent": "t", "labels": {}, "models": [model],
    });
    fold(&mut index, "fresh", "state", state.to_string().as_bytes(), LATER);
    let found = look(&index, LATER);
    assert_eq!((found.count, found.told), (0, 1));
}
