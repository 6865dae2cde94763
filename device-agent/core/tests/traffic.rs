//! What a device sends in a month of hourly windows, without a candidate and with one.
//!
//! The numbers: `cargo test -p modelfleet-agent-core --test traffic -- --nocapture`.
#![allow(clippy::unwrap_used, reason = "a test")]

mod world;

use modelfleet_agent_core::interface::{Input, Output};
use modelfleet_agent_core::recorder::{Outcome, Prediction, Recorder};
use modelfleet_agent_core::truth::{About, Answer, Told, Truth};
use modelfleet_protocol::bins::Bins;
use modelfleet_protocol::generated::Report;
use modelfleet_protocol::metric::Metric;
use modelfleet_protocol::model::{ConfidenceProfile, FeatureProfile, Profile};
use modelfleet_protocol::observe::Indicator;
use modelfleet_protocol::plan::{Candidate, Plan};
use modelfleet_protocol::topic::{Channel, Topic};
use prost::Message as _;
use world::{World, candidate, digest, identity, model, plan};

const HOUR_MS: u64 = 3_600_000;
const MINUTE_MS: u64 = 60_000;
const MONTH_HOURS: u64 = 30 * 24;
/// DESIGN, section 11.
const IDLE_BYTES_MAX: usize = 1_000_000;
/// Time goes on in steps of this length.
const STEP_MS: u64 = 10 * MINUTE_MS;
const STEPS_PER_HOUR: u64 = HOUR_MS / STEP_MS;
const PREDICTIONS_PER_STEP: u64 = 30;
const TRUTH_AFTER_STEPS: u64 = 6 * STEPS_PER_HOUR;
const FEATURES: usize = 7;
const EDGES: usize = 20;

/// Chance that can be repeated.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// The key of a prediction, as its id would give it.
fn key(step: u64, n: u64) -> u64 {
    (step << 16 | n) + 1
}

fn profile() -> Profile {
    let feature = |n: usize| FeatureProfile {
        name: format!("feature-{n}"),
        expected_min: 0.0,
        expected_max: 1000.0,
        edges: (0..EDGES).map(|edge| edge as f64 * 50.0).collect(),
        counts: Bins(vec![50; EDGES + 1]),
    };
    let edges: Vec<f64> = (1..10).map(|edge| f64::from(edge) / 10.0).collect();
    let confidence = ConfidenceProfile { counts: Bins(vec![10; edges.len() + 1]), edges, low_below: 0.5 };
    Profile { features: (0..FEATURES).map(feature).collect(), confidence: Some(confidence) }
}

fn hourly(revision: u64, candidate: Option<Candidate>) -> Plan {
    let mut plan = plan(revision, Some(1), candidate, &[]);
    plan.stable.as_mut().unwrap().profile = Some(profile());
    if let Some(candidate) = &mut plan.candidate {
        candidate.build.profile = Some(profile());
    }
    let indicator = |(metric, threshold)| Indicator {
        name: format!("{metric:?}"),
        metric,
        feature: None,
        threshold,
        min_samples: 1,
    };
    plan.observe.window_ms = HOUR_MS;
    plan.observe.since = world::START;
    plan.observe.indicators = [
        (Metric::ErrorRate, 10_000),
        (Metric::TimeoutRate, 10_000),
        (Metric::LatencyP95, 500_000_000),
        (Metric::Availability, 999_000),
        (Metric::Accuracy, 950_000),
        (Metric::MissingFeatureRate, 50_000),
        (Metric::OutOfRangeRate, 10_000),
        (Metric::FeaturePsi, 200_000),
    ]
    .map(indicator)
    .to_vec();
    plan
}

/// A device, and what stands before its model.
struct Life {
    world: World,
    recorder: Recorder,
    dice: Dice,
    steps: u64,
}

impl Life {
    fn begin(plan: Plan) -> Life {
        let mut world = World::new();
        world.diskless = true;
        world.connect();
        world.plan(hourly(1, None));
        world.pass(120_000);
        world.settle();
        world.plan(plan);
        world.settle();
        let watches = world.log.iter().rev().filter_map(|output| match output {
            Output::Observe(watch) if watch.build.is_some() => Some(watch.clone()),
            _ => None,
        });
        let mut recorder = Recorder::default();
        assert!(recorder.record_for(world.now, &watches.take(1).next().unwrap()).is_empty());
        recorder.available(world.now, true);
        // The hours begin with the steps.
        world.pass(HOUR_MS - world.now.0 % HOUR_MS);
        for input in recorder.tick(world.now) {
            world.feed(input);
        }
        world.log.clear();
        world.reports.clear();
        Life { world, recorder, dice: Dice(7), steps: 0 }
    }

    /// Predictions, of which those of bad hours often fail, and truths about earlier ones.
    fn step(&mut self) {
        let bad = (self.steps / STEPS_PER_HOUR) % 37 == 5;
        for n in 0..PREDICTIONS_PER_STEP {
            let dice = &mut self.dice;
            let features: Vec<f32> = (0..FEATURES).map(|_| dice.below(1010) as f32).collect();
            let failed = dice.below(1000) < if bad { 100 } else { 2 };
            let spread = dice.below(30) * dice.below(30) * dice.below(30);
            let confidence = (!failed).then(|| 0.4 + dice.below(60) as f64 / 100.0);
            self.recorder.record(&Prediction {
                key: key(self.steps, n),
                latency_ns: 3_000_000 + spread * if bad { 100_000 } else { 1_000 },
                outcome: if failed { Outcome::Error } else { Outcome::Answered },
                confidence,
                positive: (!failed).then(|| dice.below(50) == 0),
                answer: Answer::None,
                features: &features,
            });
            if let Some(then) = self.steps.checked_sub(TRUTH_AFTER_STEPS) {
                let positive = self.dice.below(50) == 0;
                let (about, now) = (About::Prediction(key(then, n)), self.world.now);
                let _ = self.recorder.book(now, &[Told { about, truth: Truth::Alarm(positive), at: now }]);
            }
        }
        self.recorder.resources(80_000 + self.dice.below(9_000) as u32, 9 << 20, 140_000);
        self.steps += 1;
        self.world.pass(STEP_MS);
        for input in self.recorder.tick(self.world.now) {
            self.world.feed(input);
        }
        self.world.feed(Input::BrokerHeard);
    }

    /// A month; once a day the connection is lost for a moment.
    fn month(mut self) -> Life {
        for hour in 0..MONTH_HOURS {
            if hour % 24 == 11 {
                self.world.feed(Input::Disconnected);
                self.world.connect();
            }
            (0..STEPS_PER_HOUR).for_each(|_| self.step());
        }
        self
    }

    /// Bytes of topics and payloads, and messages; of reports alone, and of all.
    fn sent(&self) -> [(usize, usize); 2] {
        let (mut reports, mut all) = ((0, 0), (0, 0));
        let id = identity().device;
        for output in &self.world.log {
            let (channel, payload_bytes) = match output {
                Output::PublishReport { model, report } => {
                    (Channel::Report(id.clone(), model.clone()), report.encoded_len())
                }
                Output::PublishState(state) => {
                    (Channel::State(id.clone()), serde_json::to_vec(state).unwrap().len())
                }
                Output::PublishPresence(presence) => {
                    (Channel::Presence(id.clone()), serde_json::to_vec(presence).unwrap().len())
                }
                _ => continue,
            };
            let topic = Topic { namespace: identity().namespace, channel }.name();
            let bytes = topic.len() + payload_bytes;
            all = (all.0 + bytes, all.1 + 1);
            if matches!(output, Output::PublishReport { .. }) {
                reports = (reports.0 + bytes, reports.1 + 1);
            }
        }
        [reports, all]
    }

    fn print(&self, what: &str) {
        let [(report_bytes, reports), (bytes, messages)] = self.sent();
        println!(
            "{what}: {bytes} bytes in {messages} messages, of which {report_bytes} in {reports} reports of {}",
            report_bytes / reports
        );
    }

    /// The longest time between two reports, milliseconds.
    fn longest_gap_ms(&self) -> u64 {
        let reports = &self.world.reports;
        reports.windows(2).map(|pair| pair[1].sent_at_ms - pair[0].sent_at_ms).max().unwrap()
    }
}

/// Windows, requests and bad windows by the indicator for errors: all that there were since the rollout began.
fn counted(report: &Report) -> (u32, u64, u32) {
    let windows = &report.windows;
    (
        windows.iter().map(|w| w.span).sum(),
        windows.iter().map(|w| w.counters.unwrap().requests).sum(),
        windows.iter().map(|w| w.tally.as_ref().unwrap().bad[0]).sum(),
    )
}

#[test]
fn a_month_without_a_candidate_stays_below_a_megabyte_and_nothing_is_missing() {
    let life = Life::begin(hourly(2, None)).month();
    life.print("a month without a candidate");
    assert!(life.sent()[1].0 < IDLE_BYTES_MAX, "{:?}", life.sent());
    // After three windows without a report the controller calls a device silent.
    assert!(life.longest_gap_ms() <= 2 * HOUR_MS, "{} ms", life.longest_gap_ms());

    let report = life.world.reports.last().unwrap();
    let (windows, requests, bad) = counted(report);
    assert!(u64::from(windows) + 2 >= MONTH_HOURS, "{windows}");
    let per_hour = STEPS_PER_HOUR * PREDICTIONS_PER_STEP;
    assert!(requests >= (u64::from(windows) - 1) * per_hour, "the first window began late");
    assert!((15..=60).contains(&bad), "one hour of 37 is bad, and few others: {bad}");
}

#[test]
fn a_month_with_a_candidate_reports_every_window_and_its_newest_histograms() {
    let life = Life::begin(hourly(2, Some(candidate(2, "r")))).month();
    life.print("a month with a candidate");
    assert!(life.longest_gap_ms() <= HOUR_MS + 2 * STEP_MS, "{} ms", life.longest_gap_ms());
    let report = life.world.reports.last().unwrap();
    assert_eq!(report.digest, digest(2).0);
    let reports = life.sent()[0].1 as u64;
    assert!((MONTH_HOURS - 1..=MONTH_HOURS + 1).contains(&reports), "truths add none: {reports}");
    let with_histograms: Vec<u64> = report
        .windows
        .iter()
        .filter(|w| w.latency.is_some() && w.features.len() == FEATURES)
        .map(|w| w.index)
        .collect();
    let newest = report.windows.last().unwrap().index;
    assert_eq!(with_histograms, (newest - 3..=newest).collect::<Vec<_>>());
    assert!(report.windows.iter().rev().take(32).all(|w| w.span == 1));
}

/// A rollout that begins finds every device reporting within a minute, whatever it had put off.
#[test]
fn a_candidate_or_a_new_beginning_is_answered_at_once() {
    let mut life = Life::begin(hourly(2, None));
    (0..3 * STEPS_PER_HOUR).for_each(|_| life.step());
    for (revision, candidate, since_ms) in
        [(3, None, 2 * HOUR_MS), (4, Some(candidate(2, "r")), 2 * HOUR_MS), (5, None, 2 * HOUR_MS)]
    {
        let before = life.world.reports.len();
        let mut plan = hourly(revision, candidate);
        plan.observe.since = world::START.after_ms(since_ms);
        let asks = plan.candidate.is_some() || revision == 3;
        life.world.plan(plan);
        life.world.pass(MINUTE_MS);
        assert_eq!(life.world.reports.len() - before, usize::from(asks), "revision {revision}");
    }
    assert_eq!(life.world.reports.last().unwrap().model, model().as_str());
}

/// Devices of a fleet do not send at the same moment.
#[test]
fn idle_devices_report_at_moments_of_their_own() {
    let mut life = Life::begin(hourly(2, None));
    (0..24 * STEPS_PER_HOUR).for_each(|_| life.step());
    let moments: Vec<u64> = life.world.reports.iter().map(|r| r.sent_at_ms % (2 * HOUR_MS)).collect();
    assert!(moments.len() >= 11, "{moments:?}");
    // The first was asked for by the plan.
    assert!(moments[1..].windows(2).all(|pair| pair[0] == pair[1]), "{moments:?}");
    let own = modelfleet_protocol::membership::rank("idle report", &identity().device) % (2 * HOUR_MS);
    assert_eq!(moments[1], own);
}
