//! The ledger of truth: whatever comes, in whichever order and however often, and wherever the power is cut, the counts are
//! those of what is known in the end.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;

use modelfleet_agent_core::recorder::key;
use modelfleet_agent_core::truth::{
    About, AlarmRule, Answer, AnsweringBuild, Booking, LedgerLimits, Refused, Told, Truth, TruthLedger,
};
use modelfleet_protocol::generated::Counters;
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::metric::Metric;
use modelfleet_protocol::time::Time;
use modelfleet_protocol::window::{WindowSummary, add_counters};
use proptest::prelude::*;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// A Monday.
const START: Time = Time(1_746_403_200_000);

fn build(n: u8, rule: AlarmRule) -> AnsweringBuild {
    AnsweringBuild { digest: Digest::of(&[n]), window_ms: HOUR_MS, rule }
}

fn ledger(rule: AlarmRule) -> TruthLedger {
    let mut ledger = TruthLedger::new(LedgerLimits::default());
    ledger.keep_journal();
    ledger.answered_by(build(1, rule));
    ledger
}

fn hour(n: u64) -> u64 {
    START.window_index(HOUR_MS) + n
}

fn about(id: &str) -> About {
    About::Prediction(key(id))
}

fn told(about: About, truth: Truth) -> Told {
    Told { about, truth, at: START }
}

fn failure(name: &str, day: u64, lead_days: u64) -> Told {
    let until = START.after_ms(day * DAY_MS);
    let from = Time(until.0 - lead_days * DAY_MS);
    told(About::Span { key: key(name), from, until }, Truth::Alarm(true))
}

fn now() -> Time {
    START.after_ms(30 * DAY_MS)
}

fn book(ledger: &mut TruthLedger, line: Told) -> Booking {
    ledger.book(now(), &[line])[0]
}

fn sums(ledger: &TruthLedger) -> Counters {
    let mut sum = Counters::default();
    ledger.quality().iter().for_each(|quality| add_counters(&mut sum, &quality.counters));
    sum
}

fn alarms(counters: &Counters) -> [u64; 4] {
    [counters.true_positive, counters.false_positive, counters.true_negative, counters.false_negative]
}

/// Reference 000, 7.4: 45 right alarms, 20 false ones, 5 falls missed, 930 quiet; each told late, some twice, some wrong first.
#[test]
fn the_case_study_comes_out_to_the_digit() {
    let mut ledger = ledger(AlarmRule::Label(1));
    let cases = [(true, true, 45), (true, false, 20), (false, true, 5), (false, false, 930)];
    let mut lines = Vec::new();
    for (case, (said, was, count)) in cases.into_iter().enumerate() {
        for n in 0..count {
            let id = format!("{case}-{n}");
            ledger.remember(key(&id), hour(n % 600), Some(said), Answer::Label(i64::from(said)));
            let wrong = Told { at: Time(START.0 - 1), ..told(about(&id), Truth::Alarm(!was)) };
            let right = told(about(&id), Truth::Alarm(was));
            lines.extend(if n % 7 == 0 { vec![wrong, right.clone(), right] } else { vec![right] });
        }
    }
    ledger.book(now(), &lines);
    let sum = sums(&ledger);
    assert_eq!(alarms(&sum), [45, 20, 930, 5]);
    let window = WindowSummary { span: 1, counters: sum, ..WindowSummary::default() };
    let value = |metric| window.value(metric, None, None).unwrap();
    assert_eq!(value(Metric::Precision), (692_307, 65));
    assert_eq!(value(Metric::Recall), (900_000, 50));
    assert_eq!(value(Metric::F1), (782_608, 115));
    assert_eq!(value(Metric::Specificity), (978_947, 950));
    assert_eq!(value(Metric::Accuracy), (975_000, 1_000));
    let windows: u64 = ledger.take_changed(None).iter().map(|(_, _, c)| alarms(c).iter().sum::<u64>()).sum();
    assert_eq!(windows, 1_000, "each in a window of its own");
}

#[test]
fn classes_and_numbers_are_compared_with_the_answer() {
    let mut classes = ledger(AlarmRule::Label(2));
    for (id, label) in [("a", 2), ("b", 1), ("c", 2), ("d", 0)] {
        classes.remember(key(id), hour(0), Some(label == 2), Answer::Label(label));
    }
    let class = |text: &str| Truth::Class(text.into());
    assert_eq!(book(&mut classes, told(about("a"), class("2"))), Booking::Booked);
    assert_eq!(book(&mut classes, told(about("b"), Truth::Number(2.0))), Booking::Booked);
    assert_eq!(book(&mut classes, told(about("c"), class("vane"))), Booking::Booked);
    assert_eq!(
        book(&mut classes, told(about("d"), Truth::Number(0.5))),
        Booking::Refused(Refused::WrongType)
    );
    let sum = sums(&classes);
    assert_eq!((sum.class_known, sum.class_right), (3, 1));
    assert_eq!(alarms(&sum), [1, 1, 0, 1]);
    let pairs: Vec<(String, String, u64)> = classes.quality()[0]
        .classes
        .iter()
        .map(|(was, said, count)| (was.to_string(), said.to_string(), *count))
        .collect();
    let expected = [("2", "2", 1), ("2", "1", 1), ("vane", "2", 1)];
    assert_eq!(pairs.len(), 3);
    for (was, said, count) in expected {
        assert!(pairs.contains(&(was.into(), said.into(), count)), "{pairs:?}");
    }

    let mut numbers = ledger(AlarmRule::AtMost(10.0));
    for (id, value) in [("a", 12.0), ("b", 8.0), ("c", 1.0)] {
        numbers.remember(key(id), hour(0), Some(value <= 10.0), Answer::Number(value));
    }
    for (id, value) in [("a", 10.0), ("b", 8.0), ("c", 0.0)] {
        assert_eq!(book(&mut numbers, told(about(id), Truth::Number(value))), Booking::Booked);
    }
    let sum = sums(&numbers);
    assert_eq!((sum.value_known, sum.absolute_error_micros), (3, 3_000_000));
    assert_eq!(sum.squared_error_micros, 5_000_000);
    assert_eq!((sum.percentage_known, sum.percentage_error_ppm), (2, 200_000));
    let window = WindowSummary { span: 1, counters: sum, ..WindowSummary::default() };
    let value = |metric| window.value(metric, None, None);
    assert_eq!(value(Metric::MeanAbsoluteError), Some((1_000_000, 3)));
    // sqrt(5 / 3)
    assert_eq!(value(Metric::RootMeanSquaredError), Some((1_290_994, 3)));
    assert_eq!(value(Metric::MeanAbsolutePercentageError), Some((100_000, 2)), "(20 % + 0 %) / 2");
    assert_eq!(alarms(&sum), [2, 0, 0, 1], "the same threshold reads the true value");
    let wrong = [Truth::Class("x".into()), Truth::Number(f64::NAN)];
    let refused = wrong.map(|truth| book(&mut numbers, told(about("a"), truth)));
    assert_eq!(refused, [Refused::WrongType, Refused::NotFinite].map(Booking::Refused));
}

#[test]
fn a_failure_makes_earlier_alarms_right_and_silence_one_miss() {
    let mut ledger = ledger(AlarmRule::AtLeast(0.5));
    for day in 0..30 {
        let alarm = day == 3 || day == 12;
        ledger.remember(0, hour(day * 24), Some(alarm), Answer::Number(f64::from(u8::from(alarm))));
    }
    assert_eq!(book(&mut ledger, failure("wo-1", 14, 14)), Booking::Booked);
    assert_eq!(alarms(&sums(&ledger)), [2, 0, 0, 0], "every alarm before it is a hit");
    let quality = &ledger.quality()[0];
    assert_eq!((quality.events, quality.events_found, quality.lead_ms), (1, 1, 11 * DAY_MS));

    assert_eq!(book(&mut ledger, failure("wo-2", 29, 7)), Booking::Booked);
    assert_eq!(alarms(&sums(&ledger)), [2, 0, 0, 1], "silence is one miss");
    // The date was wrong: it was within a week of the second alarm.
    let corrected = Told { at: now(), ..failure("wo-2", 15, 7) };
    assert_eq!(book(&mut ledger, corrected), Booking::Replaced);
    assert_eq!(alarms(&sums(&ledger)), [2, 0, 0, 0]);
    assert_eq!(book(&mut ledger, failure("wo-2", 29, 7)), Booking::Older);

    let quiet = |from: u64, until: u64| About::Span {
        key: key("inspected"),
        from: START.after_ms(from * DAY_MS),
        until: START.after_ms(until * DAY_MS),
    };
    let mut fresh = self::ledger(AlarmRule::AtLeast(0.5));
    fresh.remember(0, hour(24), Some(true), Answer::None);
    assert_eq!(book(&mut fresh, told(quiet(0, 9), Truth::Alarm(false))), Booking::Booked);
    assert_eq!(alarms(&sums(&fresh)), [0, 1, 0, 0], "an inspection that found nothing");
    let refusals = [
        (told(quiet(9, 9), Truth::Alarm(false)), Refused::WrongSpan),
        (failure("too long", 29, 40), Refused::WrongSpan),
        (told(quiet(40, 41), Truth::Alarm(false)), Refused::Future),
        (told(about("nothing"), Truth::Alarm(true)), Refused::UnknownPrediction),
        (failure("long ago", 0, 7), Refused::NoPredictions),
    ];
    for (line, reason) in refusals {
        assert_eq!(book(&mut fresh, line), Booking::Refused(reason));
        assert!(!reason.sentence().is_empty());
    }
    assert_eq!(fresh.refused()[&Refused::WrongSpan], 2);
}

#[test]
fn what_is_kept_is_bounded_by_bytes_and_days() {
    let limits = LedgerLimits { bytes: 160 * 100, days: 10 };
    let mut ledger = TruthLedger::new(limits);
    ledger.keep_journal();
    ledger.answered_by(build(1, AlarmRule::Label(1)));
    for n in 0..5_000 {
        let alarm = n % 50 == 0;
        ledger.remember(key(&n.to_string()), hour(n / 100), Some(alarm), Answer::Label(i64::from(alarm)));
    }
    assert!(ledger.len() <= 200);
    let lines: Vec<Told> = (0..5_000).map(|n: u64| told(about(&n.to_string()), Truth::Alarm(true))).collect();
    let booked = ledger.book(now(), &lines).iter().filter(|b| **b == Booking::Booked).count();
    assert!(booked >= 150, "alarms are not displaced by quiet predictions: {booked}");
    assert!(ledger.whole().len() <= limits.bytes, "{}", ledger.whole().len());
    ledger.remember(key("later"), hour(24 * 30), Some(false), Answer::Label(0));
    assert_eq!(ledger.len(), 1, "older than ten days");
}

#[derive(Clone, Debug)]
enum Line {
    Prediction(u8, u8, u8),
    Failure(u8, u8, u8, bool, u8),
}

impl Line {
    fn told(&self) -> Told {
        match *self {
            Line::Prediction(id, truth, at) => {
                let truth = match truth % 4 {
                    0 => Truth::Alarm(false),
                    1 => Truth::Alarm(true),
                    2 => Truth::Class("1".into()),
                    _ => Truth::Class("other".into()),
                };
                let about = About::Prediction(key(&(id % 40).to_string()));
                Told { about, truth, at: START.after_ms(at.into()) }
            }
            Line::Failure(name, day, lead, alarm, at) => {
                let until = START.after_ms(u64::from(day % 20 + 1) * DAY_MS);
                let from = Time(until.0 - u64::from(lead % 15 + 1) * DAY_MS);
                let about = About::Span { key: u64::from(name % 4) + 1, from, until };
                Told { about, truth: Truth::Alarm(alarm), at: START.after_ms(at.into()) }
            }
        }
    }
}

fn lines() -> impl Strategy<Value = Vec<Line>> {
    let line = prop_oneof![
        3 => (any::<u8>(), any::<u8>(), any::<u8>()).prop_map(|(a, b, c)| Line::Prediction(a, b, c)),
        1 => (any::<u8>(), any::<u8>(), any::<u8>(), any::<bool>(), any::<u8>())
            .prop_map(|(a, b, c, d, e)| Line::Failure(a, b, c, d, e)),
    ];
    prop::collection::vec(line, 0..60)
}

/// What the windows hold in the end.
fn windows(ledger: &mut TruthLedger) -> BTreeMap<(Digest, u64), Counters> {
    let changed = ledger.take_changed(None);
    changed.into_iter().map(|(build, index, counters)| ((build.digest, index), counters)).collect()
}

fn predicted(predictions: &[(bool, u8)], disk: &mut Disk) -> TruthLedger {
    let mut ledger = TruthLedger::new(LedgerLimits::default());
    ledger.keep_journal();
    for (n, (alarm, build_of)) in predictions.iter().enumerate() {
        // Each build answers for a while.
        ledger.answered_by(build(n as u8 / 16 * 2 + build_of % 2, AlarmRule::Label(1)));
        let answer = Answer::Label(i64::from(*alarm));
        ledger.remember(key(&n.to_string()), hour(n as u64 * 12), Some(*alarm), answer);
        if n % 7 == 0 {
            disk.write(&mut ledger);
        }
    }
    disk.write(&mut ledger);
    ledger
}

/// The file of a journal.
#[derive(Default)]
struct Disk(Vec<u8>);

impl Disk {
    fn write(&mut self, ledger: &mut TruthLedger) {
        if ledger.wants_rewrite() {
            self.0 = ledger.whole();
        }
        self.0.extend(ledger.take_unsaved().unwrap_or_default());
    }

    /// The power is cut, `torn` bytes into the next frame.
    fn cut(&self, next: Option<Vec<u8>>, torn: usize) -> TruthLedger {
        let next = next.unwrap_or_default();
        let journal = [&self.0[..], &next[..torn.min(next.len().saturating_sub(1))]].concat();
        let mut ledger = TruthLedger::restored(LedgerLimits::default(), &journal);
        ledger.keep_journal();
        ledger
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_order_duplicates_and_power_cuts_end_in_the_same_counts(
        predictions in prop::collection::vec((any::<bool>(), any::<u8>()), 1..48),
        lines in lines(),
        order in any::<u64>(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..400), 0..8),
    ) {
        let told: Vec<Told> = lines.iter().map(Line::told).collect();
        let mut plain = predicted(&predictions, &mut Disk::default());
        plain.book(now(), &told);

        let mut disk = Disk::default();
        let mut ledger = predicted(&predictions, &mut disk);
        // Every line twice, in an order of its own; after a cut the sender sends again what was not acknowledged.
        let mut twice: Vec<&Told> = told.iter().chain(&told).collect();
        let mut seed = order;
        for at in (1..twice.len()).rev() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            twice.swap(at, (seed >> 33) as usize % (at + 1));
        }
        let cuts: BTreeMap<usize, usize> =
            cuts.iter().filter(|_| !twice.is_empty()).map(|(at, torn)| (at.index(twice.len()), *torn)).collect();
        for (at, line) in twice.iter().enumerate() {
            ledger.book(now(), &[(*line).clone()]);
            if let Some(torn) = cuts.get(&at) {
                let next = if ledger.wants_rewrite() { None } else { ledger.take_unsaved() };
                ledger = disk.cut(next, *torn);
                ledger.book(now(), &[(*line).clone()]);
            }
            disk.write(&mut ledger);
        }
        ledger = disk.cut(None, 0);
        prop_assert_eq!(ledger.quality(), plain.quality());
        let (counts, expected) = (windows(&mut ledger), windows(&mut plain));
        for (at, counters) in expected.iter().chain(&counts) {
            let (a, b) = (counts.get(at).copied(), expected.get(at).copied());
            prop_assert_eq!(a.unwrap_or_default(), b.unwrap_or_default(), "{:?} {:?}", at, counters);
        }
    }

    #[test]
    fn no_bytes_make_a_ledger_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), at in any::<usize>()) {
        let mut ledger = TruthLedger::restored(LedgerLimits::default(), &bytes);
        ledger.remember(1, 1, Some(true), Answer::Word("x"));
        let mut whole = predicted(&[(true, 0), (false, 1)], &mut Disk::default()).whole();
        let at = at % whole.len();
        whole.truncate(at);
        whole.append(&mut bytes);
        let _ = TruthLedger::restored(LedgerLimits::default(), &whole).book(now(), &[failure("f", 3, 2)]);
        // Content that a checksum vouches for need not be ours either.
        let framed = modelfleet_agent_core::truth::framed(&whole);
        let _ = TruthLedger::restored(LedgerLimits::default(), &framed).whole();
    }
}
