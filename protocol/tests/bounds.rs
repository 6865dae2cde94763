//! Whatever a fleet looks like, a membership stays within what a Rollout's status may hold, and a report within what
//! can be counted.

#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]

use std::collections::BTreeMap;

use ed25519_dalek::SigningKey;
use modelfleet_protocol::draw::{Candidate, STRATA_TOGETHER_MAX, Share, Target, open_stage};
use modelfleet_protocol::envelope::{OVERRIDE_TYPE, open_override, seal};
use modelfleet_protocol::generated::{Report, Tally, Window};
use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::membership::{Bound, LISTED_MAX, Membership, NAMED_MAX, STRATA_MAX};
use modelfleet_protocol::overrides::Override;
use modelfleet_protocol::plan::{EPOCH_MAX, Order, Plan, REVISION_MAX, to_json};
use modelfleet_protocol::report::{self, INDEX_MAX};
use modelfleet_protocol::selector::{Labels, Selector};
use proptest::prelude::*;
use prost::Message as _;

type Fleet = Vec<(DeviceId, Labels)>;

fn fleet(count: usize, labels: impl Fn(usize) -> Vec<(&'static str, String)>) -> Fleet {
    let device = |i: usize| {
        let labels: BTreeMap<String, String> =
            labels(i).into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        (format!("d{i}").parse().unwrap(), labels)
    };
    (0..count).map(device).collect()
}

fn open(membership: &Membership, share: &Share, fleet: &Fleet) -> Membership {
    let devices = fleet.iter().map(|(id, labels)| Candidate { id, labels, reachable: true });
    open_stage(membership, share, devices)
}

fn share(site: Option<&str>, spread_by: &[&str], devices: Target) -> Share {
    let match_labels = site.map(|site| ("site".to_owned(), site.to_owned())).into_iter().collect();
    let selector = Selector { match_labels, match_expressions: Vec::new() };
    Share {
        selector,
        spread_by: spread_by.iter().map(|label| (*label).to_owned()).collect(),
        devices,
        floors: Vec::new(),
    }
}

fn empty() -> Membership {
    Membership { salt: "s".to_owned(), ..Membership::default() }
}

fn members(membership: &Membership, fleet: &Fleet) -> usize {
    fleet.iter().filter(|(id, labels)| membership.includes(id, labels)).count()
}

/// As many entries as the status has: the strata of each clause, and one for all others.
fn assert_fits(membership: &Membership) {
    let entries = |c: &modelfleet_protocol::membership::Clause| {
        c.strata.len() + usize::from(c.other_below > Bound::NONE)
    };
    assert!(membership.clauses.iter().all(|c| entries(c) <= STRATA_MAX));
    assert!(membership.clauses.iter().map(entries).sum::<usize>() <= STRATA_TOGETHER_MAX);
    assert!(membership.clauses.iter().map(|c| c.devices.len()).sum::<usize>() <= NAMED_MAX);
    assert!(membership.clauses.iter().map(|c| c.ranks.len()).sum::<usize>() <= LISTED_MAX);
}

#[test]
fn a_hundred_strata_fit_and_the_share_is_exact() {
    let fleet = fleet(10_000, |i| vec![("age", (i % 10).to_string()), ("load", (i / 10 % 10).to_string())]);
    let mut membership = empty();
    for (ppm, expected) in [(100_000, 1_000), (500_000, 5_000), (1_000_000, 10_000)] {
        let grown = open(&membership, &share(None, &["age", "load"], Target::Ppm(ppm)), &fleet);
        assert_fits(&grown);
        assert!(grown.grew_from(&membership) || membership.clauses.is_empty());
        assert_eq!(members(&grown, &fleet), expected);
        membership = grown;
    }
}

#[test]
fn names_are_bounded_over_all_stages_and_the_count_is_exact() {
    let fleet = fleet(1_000, |i| vec![("site", if i < 500 { "a" } else { "b" }.to_owned())]);
    let first = open(&empty(), &share(Some("a"), &[], Target::Count(40)), &fleet);
    assert_eq!(first.clauses[0].devices.len(), 40, "a small stage is named");
    let second = open(&first, &share(Some("b"), &[], Target::Count(40)), &fleet);
    assert_fits(&second);
    assert!(second.grew_from(&first));
    assert_eq!(members(&second, &fleet), 80);
}

/// A broker that has forgotten all devices but one: the others are not in when they come back.
#[test]
fn a_count_that_takes_all_known_devices_lets_in_none_of_those_that_join_later() {
    let fleet = fleet(40, |_| Vec::new());
    let target = |devices, known: &Fleet| members(&open(&empty(), &share(None, &[], devices), known), &fleet);
    for known in (1..5).map(|count| fleet[..count].to_vec()) {
        assert_eq!(target(Target::Count(5), &known), known.len());
        assert_eq!(target(Target::AllBut(0), &known), 40, "all, and those who join later");
    }
    assert_eq!(target(Target::Ppm(500_000), &fleet[..1].to_vec()), 1);
}

/// A count above what can be named one by one: 70 devices are known when a stage of 100 is drawn, and 1 000 join later.
#[test]
fn a_count_that_is_too_large_to_name_and_takes_all_known_devices_lets_in_no_others_either() {
    let fleet = fleet(1_070, |i| vec![("site", ["a", "b", "c"][i % 3].to_owned())]);
    let known: Fleet = fleet[..70].to_vec();
    let drawn = open(&empty(), &share(None, &["site"], Target::Count(100)), &known);
    assert_eq!((members(&drawn, &known), members(&drawn, &fleet)), (70, 70));
    // A stage before it has named some.
    let canary = open(&empty(), &share(None, &[], Target::Count(20)), &known);
    let second = open(&canary, &share(None, &["site"], Target::Count(100)), &known);
    assert!(second.grew_from(&canary));
    assert_eq!((members(&second, &known), members(&second, &fleet)), (70, 70));
    assert_fits(&second);
    // A stage before it is a share, which those that join later have a part in; the count adds none of them.
    let known: Fleet = fleet[..200].to_vec();
    let half = open(&empty(), &share(None, &[], Target::Ppm(500_000)), &known);
    let second = open(&half, &share(None, &[], Target::Count(300)), &known);
    assert_eq!(members(&second, &fleet) - members(&half, &fleet), 100);
}

/// A count that takes all known devices and is too large to list takes as many as can be listed.
#[test]
fn a_count_of_all_that_is_too_large_to_list_takes_fewer() {
    let fleet = fleet(3_000, |_| Vec::new());
    let drawn = open(&empty(), &share(None, &[], Target::Count(2_000)), &fleet[..1_500].to_vec());
    assert_eq!(members(&drawn, &fleet), LISTED_MAX);
    assert_fits(&drawn);
}

/// Those that can be reached come first, as in a stage that names its devices.
#[test]
fn a_count_that_is_listed_takes_devices_in_reach_first() {
    let fleet = fleet(400, |_| Vec::new());
    let reachable = |i: usize| i.is_multiple_of(3);
    let devices = fleet.iter().enumerate();
    let devices = devices.map(|(i, (id, labels))| Candidate { id, labels, reachable: reachable(i) });
    let drawn = open_stage(&empty(), &share(None, &[], Target::Count(100)), devices);
    let inside = (0..400).filter(|&i| drawn.includes(&fleet[i].0, &fleet[i].1));
    assert_eq!(inside.filter(|&i| reachable(i)).count(), 100);
}

#[test]
fn a_label_with_a_value_for_each_device_fits() {
    let fleet = fleet(5_000, |i| vec![("serial", format!("{i:06}"))]);
    let canary = open(&empty(), &share(None, &["serial"], Target::Count(50)), &fleet);
    let half = open(&canary, &share(None, &["serial"], Target::Ppm(500_000)), &fleet);
    assert_eq!((members(&canary, &fleet), members(&half, &fleet)), (50, 2_500));
    assert_fits(&half);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// A stage of a count never has more devices than it says, however the fleet grows between its draws and after them.
    #[test]
    fn a_count_stays_a_count_however_the_fleet_grows(
        counts in proptest::collection::vec((1_u64..=LISTED_MAX as u64, 0_usize..3), 1..=4),
        known in proptest::collection::vec(0_usize..1_500, 1..=4),
        kinds in 1_usize..40,
    ) {
        let all = fleet(4_000, |i| vec![("kind", (i % kinds).to_string()), ("age", (i % 3).to_string())]);
        let mut counts = counts;
        counts.sort_unstable();
        let (mut membership, mut size) = (empty(), 0);
        for (at, (count, spread)) in counts.into_iter().enumerate() {
            size = known.get(at).map_or(size, |more| (size + more).min(all.len()));
            let seen: Fleet = all[..size].to_vec();
            let spread: &[&str] = [&[][..], &["kind"], &["kind", "age"]][spread];
            let grown = open(&membership, &share(None, spread, Target::Count(count)), &seen);
            assert_fits(&grown);
            prop_assert!(grown.grew_from(&membership));
            let inside = members(&grown, &seen);
            prop_assert_eq!(inside as u64, count.min(size as u64));
            prop_assert_eq!(members(&grown, &all), inside, "others are in once they have joined");
            membership = grown;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn eight_stages_of_any_shape_fit_and_only_grow(
        kinds in 1_usize..300,
        stages in proptest::collection::vec((0_usize..4, 0_usize..3, 1_u64..90, 1_u32..1_000_000, any::<bool>()), 1..=8),
    ) {
        let fleet = fleet(600, |i| {
            vec![("site", ["a", "b", "c"][i % 3].to_owned()), ("kind", (i % kinds).to_string()), ("age", (i % 7).to_string())]
        });
        let mut membership = empty();
        for (site, spread, count, ppm, by_count) in stages {
            let site = ["a", "b", "c"].get(site).copied();
            let spread: &[&str] = [&[][..], &["kind"], &["kind", "age"]][spread];
            let target = if by_count { Target::Count(count) } else { Target::Ppm(ppm) };
            let grown = open(&membership, &share(site, spread, target), &fleet);
            assert_fits(&grown);
            prop_assert!(grown.grew_from(&membership));
            let inside = |m: &Membership| {
                let of_stage = |l: &Labels| site.is_none_or(|site| l["site"] == site);
                fleet.iter().filter(|(id, l)| of_stage(l) && m.includes(id, l)).count() as u64
            };
            let pool = fleet.iter().filter(|(_, l)| site.is_none_or(|site| l["site"] == site)).count() as u64;
            prop_assert_eq!(inside(&grown), target.of(pool).max(inside(&membership)));
            membership = grown;
        }
    }
}

#[test]
fn a_window_at_the_end_of_time_is_refused() {
    let read = |index, span| {
        let tally = Tally { known: vec![1], bad: vec![1] };
        let report = Report {
            device: "d".into(),
            namespace: "n".into(),
            model: "m".into(),
            digest: vec![0; 32],
            window_ms: 1,
            windows: vec![Window { index, span, tally: Some(tally), ..Window::default() }],
            ..Report::default()
        };
        let (ns, id, model) = ("n".parse().unwrap(), "d".parse().unwrap(), "m".parse().unwrap());
        report::read(&ns, &id, &model, &report.encode_to_vec())
    };
    assert!(read(INDEX_MAX, u32::MAX).is_ok());
    assert!(read(INDEX_MAX + 1, 1).is_err());
    assert!(read(u64::MAX, 1).is_err());
}

#[test]
fn a_window_holds_no_more_than_its_time_can() {
    use modelfleet_protocol::generated::{Bins, Counters, Latency};
    use modelfleet_protocol::report::{ANSWERS_PER_MS_MAX, FEATURES_MAX};
    const WINDOW_MS: u64 = 1_000;
    let read = |span, change: &dyn Fn(&mut Window)| {
        let mut window = Window { index: 1, span, ..Window::default() };
        change(&mut window);
        let report = Report {
            device: "d".into(),
            namespace: "n".into(),
            model: "m".into(),
            digest: vec![0; 32],
            window_ms: WINDOW_MS,
            windows: vec![window],
            ..Report::default()
        };
        let (ns, id, model) = ("n".parse().unwrap(), "d".parse().unwrap(), "m".parse().unwrap());
        report::read(&ns, &id, &model, &report.encode_to_vec()).is_ok()
    };
    type Set = fn(&mut Counters, u64);
    let answers: [Set; 6] = [
        |c, n| c.requests = n,
        |c, n| c.errors = n,
        |c, n| c.timeouts = n,
        |c, n| c.low_confidence = n,
        |c, n| c.fallback = n,
        |c, n| (c.true_positive, c.false_negative) = (n / 2, n - n / 2),
    ];
    let readings: [Set; 3] = [|c, n| c.readings = n, |c, n| c.missing = n, |c, n| c.out_of_range = n];
    for span in [1_u32, 7] {
        let most = WINDOW_MS * u64::from(span) * ANSWERS_PER_MS_MAX;
        let sets = answers.iter().map(|set| (set, most));
        for (set, most) in sets.chain(readings.iter().map(|set| (set, most * FEATURES_MAX as u64))) {
            let with = |n| read(span, &|window: &mut Window| set(window.counters.get_or_insert_default(), n));
            assert!(with(most) && !with(most + 1) && !with(u64::MAX), "{span} windows, {most}");
        }
        let latency = |counts: Vec<u64>, zero| {
            read(span, &|window: &mut Window| {
                window.latency = Some(Latency { offset: 0, counts: counts.clone(), zero })
            })
        };
        assert!(
            latency(vec![most - 1], 1)
                && !latency(vec![most], 1)
                && !latency(vec![u64::MAX, u64::MAX], u64::MAX)
        );
        let bins = |counts: Vec<u64>| {
            read(span, &|window: &mut Window| window.features = vec![Bins { counts: counts.clone() }])
        };
        assert!(bins(vec![most]) && !bins(vec![most, 1]) && !bins(vec![u64::MAX, u64::MAX]));
    }
}

/// A thief of a key must not sign a last word: after each message that is taken another one is possible.
#[test]
fn a_plan_or_an_override_that_no_leader_could_follow_is_refused() {
    let order = |epoch, revision| Order { epoch, revision, ..Order::default() };
    let plan = |order| Plan::from_json(&to_json(&Plan { order, ..stable_plan() }));
    for (order, good) in [
        (order(EPOCH_MAX, REVISION_MAX), true),
        (order(EPOCH_MAX + 1, 1), false),
        (order(1, REVISION_MAX + 1), false),
        (order(u64::MAX, u64::MAX), false),
    ] {
        assert_eq!(plan(order).is_ok(), good, "{order:?}");
        let key = SigningKey::from_bytes(&[7; 32]);
        let (namespace, device) = ("plant".parse().unwrap(), "d1".parse().unwrap());
        let wanted = Override { namespace, device, order, models: Vec::new() };
        let sealed = seal(&key, OVERRIDE_TYPE, &serde_json::to_vec(&wanted).unwrap());
        assert_eq!(open_override(&[key.verifying_key()], &sealed).is_ok(), good, "{order:?}");
    }
}

fn stable_plan() -> Plan {
    serde_json::from_value(serde_json::json!({
        "namespace": "plant", "model": "m", "epoch": 1, "revision": 1, "issued": 0, "expires": 1,
    }))
    .unwrap()
}
