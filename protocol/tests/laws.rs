//! Laws of the words: what must hold for every fleet, every message and every order of arrival.

#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]

use std::collections::{BTreeMap, BTreeSet};

use modelfleet_protocol::bins::Bins;
use modelfleet_protocol::draw::{Candidate, Floor, Share, Target, open_stage};
use modelfleet_protocol::generated::{Counters, Report};
use modelfleet_protocol::ids::{DeviceId, ModelName, Namespace};
use modelfleet_protocol::latency::{LatencyHistogram, bucket, upper_edge};
use modelfleet_protocol::membership::{Membership, stratum_key};
use modelfleet_protocol::plan::Plan;
use modelfleet_protocol::selector::{Labels, Selector};
use modelfleet_protocol::state::DeviceState;
use modelfleet_protocol::topic::Topic;
use modelfleet_protocol::window::WindowSummary;
use modelfleet_protocol::{envelope, report};
use proptest::prelude::*;
use prost::Message as _;

type Fleet = Vec<(DeviceId, Labels, bool)>;

fn fleet(sizes: &[usize], offline_every: usize) -> Fleet {
    let mut devices = Vec::new();
    for (stratum, &size) in sizes.iter().enumerate() {
        for i in 0..size {
            let id = format!("d-{stratum}-{i}").parse().unwrap();
            let labels = BTreeMap::from([
                ("age".to_owned(), ["young", "old"][stratum % 2].to_owned()),
                ("load".to_owned(), ["light", "heavy"][stratum / 2 % 2].to_owned()),
                ("site".to_owned(), format!("s{}", stratum / 4)),
            ]);
            devices.push((id, labels, offline_every == 0 || devices.len() % offline_every != 0));
        }
    }
    devices
}

fn spread() -> Vec<String> {
    ["age", "load", "site"].map(str::to_owned).to_vec()
}

fn opened(salt: &str, fleet: &Fleet, targets: &[Target]) -> Vec<Membership> {
    let mut current = Membership { salt: salt.to_owned(), ..Membership::default() };
    let mut all = Vec::new();
    for &devices in targets {
        let share = Share { selector: Selector::default(), spread_by: spread(), devices, floors: Vec::new() };
        let seen = fleet.iter().map(|(id, labels, up)| Candidate { id, labels, reachable: *up });
        current = open_stage(&current, &share, seen);
        all.push(current.clone());
    }
    all
}

fn members<'a>(membership: &Membership, fleet: &'a Fleet) -> BTreeSet<&'a DeviceId> {
    fleet.iter().filter(|(id, labels, _)| membership.includes(id, labels)).map(|(id, _, _)| id).collect()
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(0_usize..60, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stages_hit_their_counts_and_only_grow(sizes in sizes(), salt in "[a-z]{8}", offline in 0_usize..4) {
        let fleet = fleet(&sizes, offline);
        let targets = [Target::Count(5), Target::Ppm(100_000), Target::Ppm(500_000), Target::AllBut(0)];
        let stages = opened(&salt, &fleet, &targets);
        let mut before = BTreeSet::new();
        for (membership, target) in stages.iter().zip(targets) {
            let now = members(membership, &fleet);
            prop_assert!(before.is_subset(&now), "a member left");
            let wanted = (target.of(fleet.len() as u64) as usize).max(before.len());
            prop_assert_eq!(now.len(), wanted, "stage {:?} of {}", target, fleet.len());
            before = now;
        }
        prop_assert!(stages.windows(2).all(|w| w[1].grew_from(&w[0])));
    }

    /// Strata of two devices or more whose share is less than a device get one all the same where the count allows it; what
    /// that takes is all that the others may lack beyond one device. One device alone has no claim to a place.
    #[test]
    fn every_stratum_gets_its_share_within_one_device(sizes in sizes(), salt in "[a-z]{8}") {
        let fleet = fleet(&sizes, 0);
        let stage = opened(&salt, &fleet, &[Target::Ppm(300_000)]).remove(0);
        let inside = members(&stage, &fleet);
        let mut strata: BTreeMap<Vec<String>, (usize, usize)> = BTreeMap::new();
        for (id, labels, _) in &fleet {
            let entry = strata.entry(stratum_key(&spread(), labels)).or_default();
            entry.0 += 1;
            entry.1 += usize::from(inside.contains(id));
        }
        let target = inside.len();
        let share_of = |size: usize| size as f64 * target as f64 / fleet.len().max(1) as f64;
        let covering: f64 = strata.values().map(|(size, _)| (1.0 - share_of(*size)).max(0.0)).sum();
        for (key, (size, got)) in &strata {
            let (share, got_share) = (share_of(*size), *got as f64);
            prop_assert!(got_share <= share + 1.0 + 1e-9, "{key:?}: {got} of {size}, {share}");
            prop_assert!(got_share >= share - 1.0 - covering - 1e-9, "{key:?}: {got} of {size}, {share}");
            prop_assert!(target < strata.len() || *got > 0 || *size < 2, "{key:?} is not covered");
        }
    }

    /// A floor that falls with the size of the fleet takes nobody out, and a stage is never smaller than its floor.
    #[test]
    fn floors_raise_a_stage_and_let_nobody_out(sizes in sizes(), more in sizes(), salt in "[a-z]{8}") {
        let floors = vec![Floor { pool: 150, devices: 3 }, Floor { pool: 20, devices: 6 }];
        let share = Share { selector: Selector::default(), spread_by: spread(), devices: Target::Ppm(25_000), floors };
        let small = fleet(&sizes, 0);
        let open = |membership: &Membership, fleet: &Fleet| {
            let seen = fleet.iter().map(|(id, labels, up)| Candidate { id, labels, reachable: *up });
            open_stage(membership, &share, seen)
        };
        let first = open(&Membership { salt, ..Membership::default() }, &small);
        let pool = small.len() as u64;
        let floor = if pool >= 150 { 3 } else if pool >= 20 { 6 } else { 0 };
        prop_assert_eq!(members(&first, &small).len() as u64, Target::Ppm(25_000).of(pool).max(floor));
        // The fleet has grown when the stage is drawn again.
        let sum = |i: usize| sizes.get(i).unwrap_or(&0) + more.get(i).unwrap_or(&0);
        let grown = fleet(&(0..sizes.len().max(more.len())).map(sum).collect::<Vec<_>>(), 0);
        let before = members(&first, &grown);
        let second = open(&first, &grown);
        prop_assert!(before.is_subset(&members(&second, &grown)) && second.grew_from(&first));
    }

    #[test]
    fn device_and_controller_agree_after_the_wire(sizes in sizes(), salt in "[a-z]{8}") {
        let fleet = fleet(&sizes, 0);
        for membership in opened(&salt, &fleet, &[Target::Count(5), Target::Ppm(400_000), Target::AllBut(20_000)]) {
            let text = serde_json::to_string(&membership).unwrap();
            let read: Membership = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(members(&read, &fleet), members(&membership, &fleet));
        }
    }

    #[test]
    fn latency_merges_exactly_in_any_order(a in any::<Vec<u64>>(), b in any::<Vec<u64>>()) {
        let of = |values: &[u64]| {
            let mut h = LatencyHistogram::default();
            values.iter().for_each(|&v| h.record(v));
            h
        };
        let (mut ab, mut ba) = (of(&a), of(&b));
        ab.merge(&of(&b));
        ba.merge(&of(&a));
        prop_assert_eq!(ab.count(), (a.len() + b.len()) as u64);
        for ppm in [0, 500_000, 950_000, 990_000, 1_000_000] {
            prop_assert_eq!(ab.quantile(ppm), ba.quantile(ppm));
            prop_assert_eq!(ab.quantile(ppm), of(&[a.clone(), b.clone()].concat()).quantile(ppm));
        }
        let wire = modelfleet_protocol::generated::Latency::from(&ab);
        prop_assert_eq!(LatencyHistogram::try_from(&wire).unwrap(), ab);
    }

    #[test]
    fn a_latency_lies_in_its_bucket(value in 1_u64..) {
        prop_assert!(upper_edge(bucket(value)) >= value);
        prop_assert!(upper_edge(bucket(value) - 1) < value);
    }

    #[test]
    fn windows_merge_alike_in_any_order(parts in proptest::collection::vec((0_u64..99, 0_u64..9, 0_u64..9), 1..8)) {
        let window = |&(index, requests, errors): &(u64, u64, u64)| WindowSummary {
            index,
            span: 1,
            counters: Counters { requests, errors, ..Counters::default() },
            confidence: Bins(vec![requests, errors]),
            ..WindowSummary::default()
        };
        let sum = |order: &mut dyn Iterator<Item = &(u64, u64, u64)>| {
            order.map(window).fold(WindowSummary::default(), |mut all, w| { all.merge(&w); all })
        };
        prop_assert_eq!(sum(&mut parts.iter()), sum(&mut parts.iter().rev()));
    }

    #[test]
    fn garbage_is_refused_and_never_panics(bytes in any::<Vec<u8>>(), text in "\\PC{0,80}") {
        let (ns, id, model): (Namespace, DeviceId, ModelName) =
            ("a".parse().unwrap(), "d".parse().unwrap(), "m".parse().unwrap());
        let _ = Topic::parse(&text);
        let _ = Plan::from_json(&bytes);
        let _ = DeviceState::from_json(&id, &bytes);
        let _ = report::read(&ns, &id, &model, &bytes);
        prop_assert!(envelope::open(&[], envelope::PLAN_TYPE, &bytes).is_err());
    }
}

#[test]
fn five_of_two_hundred_show_every_label_value() {
    let fleet = fleet(&[80, 40, 30, 20, 10, 10, 5, 5], 3);
    for draw in 0..50 {
        let canary = opened(&format!("salt-{draw}"), &fleet, &[Target::Count(5)]).remove(0);
        let inside = members(&canary, &fleet);
        assert_eq!(inside.len(), 5);
        for (label, value) in
            [("age", "old"), ("age", "young"), ("load", "heavy"), ("load", "light"), ("site", "s1")]
        {
            let shown = fleet.iter().any(|(id, l, _)| inside.contains(id) && l[label] == value);
            assert!(shown, "no {label}={value} among {inside:?}");
        }
        assert!(fleet.iter().all(|(id, _, up)| *up || !inside.contains(id)), "an unreachable canary");
    }
}

#[test]
fn devices_that_join_late_enlarge_only_stages_of_shares() {
    let small = fleet(&[100, 100], 0);
    let large = fleet(&[200, 200], 0);
    let stages = opened("s", &small, &[Target::Count(5), Target::Ppm(500_000), Target::AllBut(0)]);
    assert_eq!(members(&stages[0], &large).len(), 5, "a small canary is named one by one");
    let half = members(&stages[1], &large).len();
    assert!((170..230).contains(&half), "about half of who joins: {half}");
    assert_eq!(members(&stages[2], &large).len(), 400, "the last stage is open-ended");
}

#[test]
fn the_hold_back_stays_out() {
    let fleet = fleet(&[500, 500], 0);
    let stages = opened("s", &fleet, &[Target::Ppm(500_000), Target::AllBut(20_000)]);
    assert_eq!(members(&stages[1], &fleet).len(), 980);
}

#[test]
fn an_unknown_field_is_no_error() {
    let state = br#"{"device":"d","sequence":1,"at":5,"agent":"0.1.0","future":{"x":[1]},"models":[]}"#;
    assert!(DeviceState::from_json(&"d".parse().unwrap(), state).is_ok());
    // Field 99, length-delimited, as a newer agent would add it.
    let mut bytes = Report {
        digest: vec![1; 32],
        window_ms: 1,
        device: "d".into(),
        namespace: "a".into(),
        model: "m".into(),
        ..Report::default()
    }
    .encode_to_vec();
    bytes.extend([0x9a, 0x06, 0x02, 0xff, 0xff]);
    let read = report::read(&"a".parse().unwrap(), &"d".parse().unwrap(), &"m".parse().unwrap(), &bytes);
    assert!(read.is_ok(), "{read:?}");
}

#[test]
fn an_envelope_opens_for_its_key_and_type_only() {
    use ed25519_dalek::SigningKey;
    let (key, other) = (SigningKey::from_bytes(&[7; 32]), SigningKey::from_bytes(&[8; 32]));
    let sealed = envelope::seal(&key, envelope::PLAN_TYPE, b"payload");
    let trusted = [key.verifying_key()];
    assert_eq!(envelope::open(&trusted, envelope::PLAN_TYPE, &sealed).unwrap(), b"payload");
    assert!(envelope::open(&[other.verifying_key()], envelope::PLAN_TYPE, &sealed).is_err());
    assert!(envelope::open(&trusted, envelope::OVERRIDE_TYPE, &sealed).is_err());
    for at in 0..sealed.len() {
        let mut forged = sealed.clone();
        forged[at] ^= 1;
        let opened = envelope::open(&trusted, envelope::PLAN_TYPE, &forged);
        assert!(opened.is_err() || opened.unwrap() == b"payload", "byte {at}");
    }
}
