//! The recorder: what goes in comes out, once, in the window it belongs to.
#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use std::collections::BTreeMap;

use modelfleet_agent_core::build::Build;
use modelfleet_agent_core::interface::{Input, RecordingTarget, Role};
use modelfleet_agent_core::recorder::{Outcome, Prediction, Recorder, key};
use modelfleet_agent_core::truth::{About, Answer, Booking, LedgerLimits, Told, Truth};
use modelfleet_protocol::bins::Bins;
use modelfleet_protocol::generated::Counters;
use modelfleet_protocol::model::{ConfidenceProfile, FeatureProfile, Profile};
use modelfleet_protocol::time::Time;
use modelfleet_protocol::window::{WindowSummary, add_counters};
use proptest::prelude::*;
use world::{START, WINDOW_MS, build, model};

fn watch(n: u8, window_ms: u64) -> RecordingTarget {
    let mut build = build(n);
    let feature = |name: &str| FeatureProfile {
        name: name.to_owned(),
        expected_min: 0.0,
        expected_max: 10.0,
        edges: vec![0.0, 5.0, 10.0],
        counts: Bins(vec![0, 50, 50, 0]),
    };
    let confidence = ConfidenceProfile { edges: vec![0.5], counts: Bins(vec![10, 90]), low_below: 0.6 };
    build.profile =
        Some(Profile { features: vec![feature("a"), feature("b")], confidence: Some(confidence) });
    RecordingTarget { model: model(), build: Some(Build::from(build)), window_ms, role: Role::Live }
}

fn windows(inputs: &[Input]) -> Vec<WindowSummary> {
    let window = |input: &Input| match input {
        Input::WindowClosed { window, .. } => Some((**window).clone()),
        _ => None,
    };
    inputs.iter().filter_map(window).collect()
}

fn totals(inputs: &[Input]) -> Counters {
    let mut sum = Counters::default();
    // Truth is told as what it says of a window by now.
    let mut truth = BTreeMap::new();
    for input in inputs {
        match input {
            Input::WindowClosed { window, .. } => add_counters(&mut sum, &window.counters),
            Input::TruthArrived { digest, window_ms, index, counters, .. } => {
                truth.insert((*digest, *window_ms, *index), *counters);
            }
            _ => {}
        }
    }
    truth.values().for_each(|counters| add_counters(&mut sum, counters));
    sum
}

/// Tells whether a prediction was right to be an alarm. Returns whether it counts and did not before.
fn tell(recorder: &mut Recorder, now: Time, key: u64, alarm: bool) -> bool {
    let line = Told { about: About::Prediction(key), truth: Truth::Alarm(alarm), at: now };
    recorder.book(now, &[line]) == [Booking::Booked]
}

fn prediction(key: u64, features: &[f32]) -> Prediction<'_> {
    let (outcome, positive, answer) = (Outcome::Answered, Some(true), Answer::None);
    Prediction { key, latency_ns: 1_500_000, outcome, confidence: Some(0.55), positive, answer, features }
}

fn started() -> Recorder {
    let mut recorder = Recorder::new(LedgerLimits { bytes: 64 * 1024, days: 35 });
    assert!(recorder.record_for(START, &watch(1, WINDOW_MS)).is_empty());
    recorder.available(START, true);
    recorder
}

#[test]
fn a_request_that_no_build_could_answer_is_counted_apart() {
    let mut recorder = started();
    recorder.record(&prediction(0, &[1.0, 1.0]));
    for _ in 0..3 {
        recorder.record(&Prediction { outcome: Outcome::Refused, ..prediction(7, &[f32::NAN, 1e9]) });
    }
    let mut health = Vec::new();
    recorder.report_health(&mut health);
    assert!(matches!(&health[..], [Input::Health { answered: 1, errors: 0, .. }]), "{health:?}");
    assert!(!tell(&mut recorder, START, 7, true), "there is nothing that truth could be told about");
    let [window] = &windows(&recorder.tick(START.after_ms(WINDOW_MS)))[..] else { panic!("one window") };
    let c = window.counters;
    assert_eq!((c.requests, c.errors, c.readings, c.missing, c.refused), (1, 0, 2, 0, 3));
    assert_eq!(window.latency.count(), 1);
}

#[test]
fn bad_values_stop_at_the_firewall_and_are_counted() {
    let mut recorder = started();
    recorder.record(&prediction(0, &[4.0, f32::NAN]));
    recorder.record(&prediction(0, &[f32::INFINITY, 11.0, f32::NAN]));
    recorder.record(&prediction(0, &[5.0]));
    recorder.record(&Prediction { outcome: Outcome::Timeout, ..prediction(0, &[1.0, 1.0]) });
    let [window] = &windows(&recorder.tick(START.after_ms(WINDOW_MS)))[..] else { panic!("one window") };
    let c = window.counters;
    assert_eq!((c.requests, c.timeouts, c.low_confidence), (4, 1, 4));
    assert_eq!((c.readings, c.missing, c.out_of_range), (9, 4, 1));
    assert_eq!(window.features, [Bins(vec![0, 2, 1, 0]), Bins(vec![0, 1, 0, 1])]);
    assert_eq!(window.confidence, Bins(vec![0, 4]));
    assert_eq!((window.latency.count(), c.observed_ms, c.available_ms), (4, WINDOW_MS, WINDOW_MS));
}

#[test]
fn a_window_without_a_request_is_observed_and_time_asleep_is_not() {
    let mut recorder = started();
    let quiet = windows(&recorder.tick(START.after_ms(2 * WINDOW_MS)));
    assert_eq!(quiet.iter().map(|w| w.counters.observed_ms).collect::<Vec<_>>(), [WINDOW_MS, WINDOW_MS]);
    let asleep = windows(&recorder.tick(START.after_ms(1000 * WINDOW_MS)));
    assert!(asleep.is_empty(), "{asleep:?}");
    let awake = windows(&recorder.tick(START.after_ms(1001 * WINDOW_MS)));
    assert_eq!(awake.len(), 1);
}

#[test]
fn a_clock_that_is_set_back_opens_no_window_twice() {
    let mut recorder = started();
    let mut inputs = recorder.tick(START.after_ms(3 * WINDOW_MS));
    for ms in [0, WINDOW_MS, 2 * WINDOW_MS, 3 * WINDOW_MS, 4 * WINDOW_MS, 5 * WINDOW_MS] {
        inputs.extend(recorder.tick(START.after_ms(ms)));
    }
    let indices: Vec<u64> = windows(&inputs).iter().map(|w| w.index).collect();
    assert!(indices.windows(2).all(|w| w[0] < w[1]), "{indices:?}");
}

#[test]
fn late_truth_goes_to_the_window_and_build_of_the_prediction_and_counts_once() {
    let mut recorder = started();
    recorder.record(&prediction(key("a"), &[1.0, 1.0]));
    let _ = recorder.tick(START.after_ms(WINDOW_MS));
    recorder.record(&prediction(key("b"), &[1.0, 1.0]));
    let _ = recorder.record_for(START.after_ms(WINDOW_MS + 10), &watch(2, WINDOW_MS));
    let mut told = |key, alarm| tell(&mut recorder, START.after_ms(WINDOW_MS + 10), key, alarm);
    assert!(told(key("a"), false) && told(key("b"), true));
    assert!(!told(key("a"), false), "told already");
    assert!(!told(key("c"), false) && !told(0, true), "never seen");
    let booked: Vec<_> = recorder
        .tick(START.after_ms(WINDOW_MS + 20))
        .into_iter()
        .filter_map(|input| match input {
            Input::TruthArrived { digest, index, counters, .. } => {
                Some((digest, index, counters.true_positive, counters.false_positive))
            }
            _ => None,
        })
        .collect();
    let index = START.window_index(WINDOW_MS);
    assert_eq!(booked, [(world::digest(1), index, 0, 1), (world::digest(1), index + 1, 1, 0)]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_goes_in_comes_out(steps in prop::collection::vec((0_u8..8, any::<u64>(), any::<f32>()), 0..300)) {
        let (mut recorder, mut now) = (started(), START);
        let (mut inputs, mut requests, mut truths) = (Vec::new(), 0, 0);
        for (what, number, value) in steps {
            match what {
                0 => now = Time(number),
                1 => inputs.extend(recorder.record_for(now, &watch((number % 3) as u8, number % 100_000))),
                2 | 3 => now = now.after_ms(number % (3 * WINDOW_MS)),
                4 => truths += u64::from(tell(&mut recorder, now, number % 32, number > u64::MAX / 2)),
                5 => recorder.available(now, number % 2 == 0),
                _ => {
                    let watched = recorder.is_recording();
                    let features = [value];
                    let p = Prediction { latency_ns: number, ..prediction(number % 32, &features) };
                    recorder.record(&p);
                    requests += u64::from(watched);
                }
            }
            if what < 6 {
                inputs.extend(recorder.tick(now));
            }
        }
        inputs.extend(recorder.record_for(now, &watch(9, 1)));
        inputs.extend(recorder.tick(now));
        let sum = totals(&inputs);
        prop_assert_eq!(sum.requests, requests);
        let told = sum.true_positive + sum.false_positive + sum.true_negative + sum.false_negative;
        prop_assert_eq!(told, truths);
        let latencies: u64 = windows(&inputs).iter().map(|w| w.latency.count()).sum();
        prop_assert_eq!(latencies, requests);
    }
}
