//! One device, or one fleet, takes no room from the others.

use modelfleet_protocol::generated::Report;
use modelfleet_protocol::ids::{DeviceId, Digest, ModelName};
use modelfleet_protocol::membership::{Clause, Membership, STRATA_MAX};
use modelfleet_protocol::selector::Selector;
use prost::Message as _;
use serde_json::json;

use super::*;
use crate::view::Lens;
use crate::windows::Counting;

const NOW: Time = Time(1_000_000_000);

fn key(namespace: &str, model: &str) -> Key {
    (namespace.parse().unwrap(), model.parse().unwrap())
}

fn topic(namespace: &str, device: &str, what: &str) -> String {
    let id: DeviceId = device.parse().unwrap();
    format!("mf/1/{namespace}/device/{:02x}/{device}/{what}", modelfleet_protocol::ids::shard(&id))
}

fn state(device: &str, sequence: u64, labels: serde_json::Value, models: &[&str]) -> Vec<u8> {
    let running = json!({"digest": Digest::of(b"a"), "version": "1.0.0", "activated": 1, "confirmed": true});
    let model = |name: &&str| json!({"model": name, "running": running});
    let models: Vec<_> = models.iter().map(model).collect();
    let state = json!({
        "device": device, "sequence": sequence, "at": sequence, "agent": "t", "labels": labels, "models": models,
    });
    state.to_string().into_bytes()
}

fn report(namespace: &str, device: &str, model: &str) -> Vec<u8> {
    let report = Report {
        device: device.into(),
        namespace: namespace.into(),
        model: model.into(),
        digest: Digest::of(b"a").0.to_vec(),
        sequence: 1,
        window_ms: 1000,
        ..Report::default()
    };
    report.encode_to_vec()
}

const ONLINE: &[u8] = br#"{"online":true,"since":1,"connection":1}"#;

fn fold(index: &mut Index, topic: &str, payload: &[u8]) -> Change {
    index.fold(topic, payload, false, NOW)
}

#[test]
fn made_up_fleets_take_no_room() {
    let mut index = Index::new(10);
    index.note(&key("plant", "m"), Source::Plan);
    for i in 0..100 {
        let namespace = format!("made-up-{i}");
        let told = state("mallory", 1, json!({}), &["m"]);
        assert_eq!(fold(&mut index, &topic(&namespace, "mallory", "state"), &told), Change::Nothing);
        assert_eq!(fold(&mut index, &topic(&namespace, "mallory", "presence"), ONLINE), Change::Nothing);
        let reported = report(&namespace, "mallory", "m");
        assert_eq!(fold(&mut index, &topic(&namespace, "mallory", "report/m"), &reported), Change::Nothing);
        assert!(index.fleet(&namespace.parse().unwrap()).is_none());
    }
    assert_eq!(index.devices(), 0);
    assert_ne!(fold(&mut index, &topic("plant", "pump", "presence"), ONLINE), Change::Nothing);
}

#[test]
fn made_up_models_take_no_room_and_a_device_has_so_many() {
    let mut index = Index::new(10);
    index.note(&key("plant", "m"), Source::Rollout("1".into()));
    for i in 0..2_000 {
        let model = format!("made-up-{i}");
        let name = topic("plant", "mallory", &format!("report/{model}"));
        assert_eq!(fold(&mut index, &name, &report("plant", "mallory", &model)), Change::Nothing);
    }
    assert_eq!(index.devices(), 0, "what says nothing of a model of ours makes no device known");
    let told = |sequence: u64, from: usize| {
        let names: Vec<String> = (from..from + 16).map(|i| format!("own-{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        state("mallory", sequence, json!({}), &names)
    };
    for i in 0..200 {
        fold(&mut index, &topic("plant", "mallory", "state"), &told(i + 1, 16 * i as usize));
    }
    let fleet = index.fleet(&"plant".parse().unwrap()).unwrap();
    assert!(fleet.texts.models.table_len() <= 33, "{}", fleet.texts.models.table_len());
    // Reports about many models that there are, of which the device runs none.
    for i in 0..100 {
        let model = format!("known-{i}");
        index.note(&key("plant", &model), Source::Version(model.clone()));
        fold(
            &mut index,
            &topic("plant", "mallory", &format!("report/{model}")),
            &report("plant", "mallory", &model),
        );
    }
    let fleet = index.fleet(&"plant".parse().unwrap()).unwrap();
    assert!(fleet.devices.devices().all(|(_, d)| d.models.len() <= crate::device::MODELS_MAX));
    let pump = topic("plant", "pump", "report/m");
    assert_ne!(fold(&mut index, &pump, &report("plant", "pump", "m")), Change::Nothing, "others are heard");
}

#[test]
fn a_fleet_has_its_own_limit_and_goes_with_its_last_object() {
    let mut index = Index::new(10).with_fleet_max(4);
    assert!(index.note(&key("a", "m"), Source::Version("1".into())));
    assert!(!index.note(&key("a", "m"), Source::Plan));
    assert!(index.note(&key("b", "m"), Source::Plan));
    for i in 0..10 {
        fold(&mut index, &topic("a", &format!("d{i}"), "presence"), ONLINE);
    }
    assert_eq!(index.devices(), 4);
    assert_ne!(fold(&mut index, &topic("b", "d", "presence"), ONLINE), Change::Nothing);
    assert!(!index.forget(&key("a", "m"), &Source::Plan));
    assert!(index.forget(&key("a", "m"), &Source::Version("1".into())));
    assert_eq!(index.devices(), 1);
    assert!(index.fleet(&"a".parse().unwrap()).is_none());
}

#[test]
fn a_model_that_nobody_manages_any_more_is_let_go() {
    let mut index = Index::new(10);
    index.note(&key("plant", "kept"), Source::Plan);
    for i in 0..50 {
        let model = format!("m-{i}");
        let of = key("plant", &model);
        index.note(&of, Source::Rollout("1".into()));
        index.fleet_mut(&of.0).unwrap().watch(
            &of.1,
            Digest::of(b"a"),
            Counting { observe_id: 1, window_ms: 1_000 },
        );
        let name = topic("plant", "pump", &format!("report/{model}"));
        assert_ne!(fold(&mut index, &name, &report("plant", "pump", &model)), Change::Nothing);
        index.forget(&of, &Source::Rollout("1".into()));
    }
    let fleet = index.fleet(&"plant".parse().unwrap()).unwrap();
    assert!(fleet.texts.models.table_len() <= 1 && fleet.samples.is_empty());
    assert!(fleet.devices.devices().all(|(_, d)| d.models.is_empty()));
}

#[test]
fn a_label_with_a_value_for_each_device_makes_few_strata() {
    let count = 2_000;
    let mut index = Index::new(count);
    index.note(&key("plant", "m"), Source::Plan);
    for i in 0..count {
        let name = format!("d{i}");
        let told = state(&name, 1, json!({"serial": format!("{i:06}"), "age": "old"}), &["m"]);
        fold(&mut index, &topic("plant", &name, "state"), &told);
    }
    let clause = Clause { spread_by: vec!["serial".into()], ..Clause::default() };
    let membership = Membership { salt: "s".into(), clauses: vec![clause], ..Membership::default() };
    let (model, selector) = ("m".parse().unwrap(), Selector::default());
    let lens = Lens {
        model: &model,
        attempt: "r",
        candidate: Digest::of(b"a"),
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
    let fleet = index.fleet(&"plant".parse().unwrap()).unwrap();
    assert_eq!(fleet.survey(&lens, true).view.matching, count as u64);
    let strata: std::collections::BTreeSet<u16> =
        fleet.label_sets(&lens).into_iter().flatten().map(|set| set.stratum).collect();
    assert_eq!(strata.len(), STRATA_MAX + 1, "the others share one");
}

/// Its canaries are compared with its own controls: an outage of the site is then seen in both.
#[test]
fn an_earlier_draw_from_a_site_makes_a_stratum_of_it() {
    let mut index = Index::new(10);
    index.note(&key("plant", "m"), Source::Plan);
    for (i, site) in ["north", "south", "south", "west"].iter().enumerate() {
        let name = format!("d{i}");
        fold(&mut index, &topic("plant", &name, "state"), &state(&name, 1, json!({"site": site}), &["m"]));
    }
    let pilot =
        Selector { match_labels: [("site".to_owned(), "south".to_owned())].into(), ..Selector::default() };
    let clauses = vec![Clause { selector: pilot, ..Clause::default() }, Clause::default()];
    let membership = Membership { salt: "s".into(), clauses, ..Membership::default() };
    let (model, selector) = ("m".parse().unwrap(), Selector::default());
    let lens = Lens {
        model: &model,
        attempt: "r",
        candidate: Digest::of(b"a"),
        scope: &selector,
        selector: &selector,
        watch_by: &[],
        membership: &membership,
        set_aside: &[],
        drawn: Some(1),
        probation_ms: 600_000,
        silent_after_ms: 3000,
        window_ms: 1_000,
        connected_since: NOW,
        prior: &[],
        back_since: None,
        plan: None,
        now: NOW,
    };
    let fleet = index.fleet(&"plant".parse().unwrap()).unwrap();
    let strata: Vec<u16> = fleet.label_sets(&lens).into_iter().flatten().map(|set| set.stratum).collect();
    assert_eq!(strata, [0, 1, 0], "by site; sites that no draw tells apart stay together");
}

#[test]
fn a_device_whose_state_breaks_a_limit_is_left_out_and_named_until_it_is_mended() {
    let mut index = Index::new(10);
    index.note(&key("plant", "m"), Source::Plan);
    let tell = |index: &mut Index, device: &str, sequence, labels| {
        fold(index, &topic("plant", device, "state"), &state(device, sequence, labels, &["m"]))
    };
    let look = |index: &Index| {
        let (model, selector, membership) =
            ("m".parse().unwrap(), Selector::default(), Membership::default());
        let fleet = index.fleet(&"plant".parse().unwrap()).unwrap();
        let matching = fleet.survey(&lens(&model, &selector, &membership), true).view.matching;
        (matching, fleet.omitted())
    };
    tell(&mut index, "good", 1, json!({"site": "north"}));
    tell(&mut index, "odd", 1, json!({"site": "north"}));
    assert_eq!(look(&index).0, 2);
    for labels in [json!({"site": "x".repeat(64)}), json!({"si te": "north"}), json!({"site": "north pole"})]
    {
        assert_ne!(tell(&mut index, "odd", 1, labels.clone()), Change::Nothing, "{labels}");
        let (matching, omitted) = look(&index);
        assert_eq!((matching, omitted.count), (1, 1), "{labels}");
        assert!(omitted.named[0].0.as_str() == "odd" && omitted.named[0].1.contains("label"), "{omitted:?}");
        assert_eq!(tell(&mut index, "odd", 1, labels), Change::Nothing, "it is no news");
    }
    fold(&mut index, &topic("plant", "odd", "state"), b"{");
    assert!(
        look(&index).1.named[0].1.contains("cannot be read"),
        "what it told last is what is to be mended"
    );
    fold(&mut index, &topic("plant", "good", "state"), b"{");
    assert_eq!(look(&index).1.count, 1, "what cannot be read changes nothing of what was told before");
    assert_ne!(tell(&mut index, "odd", 1, json!({"site": "north"})), Change::Nothing);
    assert_eq!(look(&index), (2, crate::left_out::Omitted::default()));
    // One that never told a state that can be taken, and a whole fleet of them.
    for i in 0..20 {
        tell(&mut index, &format!("bad-{i:02}"), 1, json!({"site": "x".repeat(64)}));
    }
    let (matching, omitted) = look(&index);
    assert_eq!((matching, omitted.count, omitted.named.len()), (2, 8, 3), "no more than have a place");
    fold(&mut index, &topic("plant", "bad-00", "state"), b"");
    assert_eq!(look(&index).1.count, 7, "gone");
}

fn lens<'a>(model: &'a ModelName, selector: &'a Selector, membership: &'a Membership) -> Lens<'a> {
    Lens {
        model,
        attempt: "r",
        candidate: Digest::of(b"a"),
        scope: selector,
        selector,
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
