//! The evidence rule as it works in the controller: from messages of devices to what the judge is told and what of it
//! reaches the core. Each test fails where one line of the rule is changed; docs/evidence-mutants.md has the list.

use modelfleet_crds::{Rollout, RolloutSpec};
use modelfleet_fleet::view::{Lens, Survey};
use modelfleet_fleet::{Index, Source};
use modelfleet_judge::record::Record;
use modelfleet_protocol::generated::{Counters, History, Report, Tally, Window};
use modelfleet_protocol::ids::{DeviceId, Digest, ModelName};
use modelfleet_protocol::membership::{Bound, Clause, Membership};
use modelfleet_protocol::selector::{Labels, Selector};
use modelfleet_protocol::state::FailureCode;
use modelfleet_rollout::{FleetView, HardStop, Verdict};
use prost::Message as _;
use serde_json::json;

use super::*;

const WINDOW_MS: u64 = 60_000;
/// The middle of window 1 000.
const OPENED: Time = Time(1_000 * WINDOW_MS + WINDOW_MS / 2);
const STABLE: &str = "1.0.0";
const CANDIDATE: &str = "1.1.0";

/// The rollout of `1.1.0`: stages of twelve windows, two windows of warm-up and none of settling, silent after three.
fn valid() -> Valid {
    valid_with(Some(0))
}

fn valid_with(settling_windows: Option<i64>) -> Valid {
    let mut spec = RolloutSpec::new("m", CANDIDATE);
    spec.observe.window = "1m".into();
    spec.observe.warmup_windows = 2;
    spec.observe.settling_windows = settling_windows;
    spec.slos.truncate(1);
    spec.stages.iter_mut().for_each(|stage| stage.bake = "12m".into());
    let mut rollout = Rollout::new("r", spec);
    rollout.metadata.uid = Some("u".into());
    modelfleet_spec::validate(&rollout, None).unwrap()
}

/// What a device has said by now.
#[derive(Clone, Copy)]
struct Said {
    /// Where it stands with the candidate, and why its attempt ended.
    phase: Option<&'static str>,
    code: Option<&'static str>,
    activated: Time,
    online: bool,
    site: &'static str,
    /// One past the last window that it has reported, and when that was heard; zero: nothing.
    until: u64,
    heard: Time,
}

/// A connected device with the stable version that has reported all windows up to `NOW`.
const IDLE: Said = Said {
    phase: None,
    code: None,
    activated: Time(5),
    online: true,
    site: "north",
    until: 1_020,
    heard: NOW,
};
const NOW: Time = Time(1_020 * WINDOW_MS);

fn runs(activated: Time) -> Said {
    Said { phase: Some("Confirmed"), activated, ..IDLE }
}

fn failed(code: &'static str) -> Said {
    Said { phase: Some("Failed"), code: Some(code), ..IDLE }
}

struct World {
    index: Index,
    valid: Valid,
    state: State,
    membership: Membership,
}

impl World {
    /// A fleet of which the named devices are members.
    fn new() -> World {
        let mut index = Index::new(1_000);
        index.note(&("plant".parse().unwrap(), "m".parse().unwrap()), Source::Plan);
        let state = State { attempt: 1, stage_opened_at: Some(OPENED), ..State::default() };
        let membership = Membership { salt: "u/1".into(), clauses: vec![Clause::default()], exclude: vec![] };
        World { index, valid: valid(), state, membership }
    }

    fn counting(&self) -> Counting {
        let observe = &self.valid.policy.parts().observe;
        Counting { observe_id: observe.id(), window_ms: observe.window_ms }
    }

    fn fold(&mut self, id: &DeviceId, what: &str, payload: &[u8], at: Time) {
        let shard = modelfleet_protocol::ids::shard(id);
        let topic = format!("mf/1/plant/device/{shard:02x}/{id}/{what}");
        let change = self.index.fold(&topic, payload, false, at);
        assert_ne!(change, modelfleet_fleet::Change::Nothing, "{what} of {id}");
    }

    /// `member`: the draw took it.
    fn device(&mut self, name: &str, member: bool, said: Said) {
        let id: DeviceId = name.parse().unwrap();
        if member {
            self.membership.clauses[0].devices.push(id.clone());
        }
        let presence = json!({"online": said.online, "since": 1, "connection": 1});
        self.fold(&id, "presence", presence.to_string().as_bytes(), NOW);
        let active = matches!(said.phase, Some("Activated" | "Confirmed"));
        let version = if active { CANDIDATE } else { STABLE };
        let digest = |version: &str| Digest::of(version.as_bytes());
        let mut model = json!({"model": "m", "running": {
            "digest": digest(version), "version": version, "activated": said.activated, "confirmed": true,
        }});
        if let Some(phase) = said.phase {
            let attempt = json!({"rollout": "r/1", "digest": digest(CANDIDATE), "phase": phase, "since": 7});
            model["candidate"] = attempt;
            if let Some(code) = said.code {
                model["candidate"]["failure"] = json!({"code": code});
            }
        }
        let state = json!({
            "device": name, "sequence": 1, "at": 1, "agent": "test", "labels": {"site": said.site}, "models": [model],
        });
        self.fold(&id, "state", state.to_string().as_bytes(), NOW);
        let tally = |known, bad| Some(Tally { known: vec![known], bad: vec![bad] });
        let counters = Some(Counters { requests: 100, ..Counters::default() });
        let window = |index| Window { index, span: 1, tally: tally(1, 0), counters, ..Window::default() };
        let Counting { observe_id, window_ms } = self.counting();
        let report = Report {
            device: name.into(),
            namespace: "plant".into(),
            model: "m".into(),
            digest: digest(version).0.to_vec(),
            sequence: 1,
            sent_at_ms: said.heard.0,
            window_ms,
            observe_id,
            windows: (said.until.saturating_sub(40)..said.until).map(window).collect(),
            history: Some(History { tally: tally(600, 3), ..Default::default() }),
            ..Report::default()
        };
        self.fold(&id, "report/m", &report.encode_to_vec(), said.heard);
    }

    /// What the core and the judge are told at a moment.
    fn look(&self, now: Time) -> (FleetView, Answer, Record) {
        let (model, everything): (ModelName, Selector) = ("m".parse().unwrap(), Selector::default());
        let stage = self.valid.policy.stage(self.state.stage);
        let lens = Lens {
            model: &model,
            attempt: "r/1",
            candidate: Digest::of(CANDIDATE.as_bytes()),
            scope: &everything,
            selector: &stage.selector,
            watch_by: &stage.watch_by,
            membership: &self.membership,
            set_aside: &[],
            drawn: Some(self.state.stage),
            probation_ms: 600_000,
            silent_after_ms: self.valid.silent_after_ms,
            window_ms: WINDOW_MS,
            connected_since: Time(1),
            prior: &[],
            back_since: None,
            plan: None,
            now,
        };
        let fleet = self.index.fleet(&"plant".parse().unwrap()).unwrap();
        let Survey { view, mut subjects, .. } = fleet.survey(&lens, true);
        // By name, as the tests write them.
        subjects.sort_by_key(|subject| subject.id);
        let judged = Judged {
            valid: &self.valid,
            state: &self.state,
            before: &StageState::default(),
            counting: self.counting(),
            profile: None,
            subjects: &subjects,
            samples: fleet.samples(&model),
            fleet: Some(&fleet),
            recording: Recording::Unless(None),
            moment: lens.moment(),
        };
        let mut answer = assess(&judged);
        let record = answer.recorded.take().unwrap().1;
        (view, answer, record)
    }

    fn told(&self) -> Vec<Told> {
        told(&self.look(NOW).2)
    }
}

/// A device as the judge was told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    id: u64,
    stratum: u64,
    canary: bool,
    /// 1 attempted, 2 active, 4 reporting, 8 awaited, 16 settling.
    facts: u64,
    failed: bool,
    history: u64,
    known: u64,
}

fn told(record: &Record) -> Vec<Told> {
    let read = |row: &Vec<u64>| Told {
        id: row[0],
        stratum: row[1],
        canary: row[2] == 0,
        facts: row[3],
        failed: row[4] > 0,
        history: row[5],
        known: row[7],
    };
    record.devices.iter().map(read).collect()
}

/// In the order of their ids, which is that of their names.
fn world(devices: &[(&str, bool, Said)]) -> World {
    let mut world = World::new();
    devices.iter().for_each(|(name, member, said)| world.device(name, *member, *said));
    world
}

#[test]
fn a_canary_counts_from_its_first_whole_window_after_the_warm_up() {
    // The stage opened in window 1 000: 1 001 and 1 002 warm up.
    let early = Time(990 * WINDOW_MS);
    let late = Time(1_010 * WINDOW_MS + 1);
    let whole = Time(1_010 * WINDOW_MS);
    let told = world(&[("a", true, runs(early)), ("b", true, runs(late)), ("c", true, runs(whole))]).told();
    assert_eq!(told.iter().map(|device| device.known).collect::<Vec<_>>(), [17, 7, 8]);
    assert!(told.iter().all(|device| device.history == 600 && device.canary));
}

#[test]
fn each_control_takes_the_start_of_a_canary_with_the_same_chances() {
    let mut world = World::new();
    let there = |said, site| Said { site, ..said };
    world.device("a", true, there(runs(OPENED), "north"));
    world.device("b", true, there(runs(Time(1_010 * WINDOW_MS)), "south"));
    for n in 0..9 {
        world.device(&format!("n{n}"), false, there(IDLE, "north"));
        world.device(&format!("s{n}"), false, there(IDLE, "south"));
    }
    let known = |world: &World| {
        let mut known: Vec<(u64, u64)> =
            world.told().iter().filter(|d| !d.canary).map(|d| (d.stratum, d.known)).collect();
        known.sort_unstable();
        known.dedup();
        known
    };
    // One draw from all: both starts are taken. An earlier draw from the south alone makes a stratum of it.
    assert_eq!(known(&world), [(0, 8), (0, 17)]);
    let south: Labels = [("site".to_owned(), "south".to_owned())].into();
    let selector = Selector { match_labels: south, ..Selector::default() };
    world.membership.clauses.push(Clause { selector, other_below: Bound::NONE, ..Clause::default() });
    assert_eq!(known(&world), [(0, 17), (1, 8)]);
}

#[test]
fn a_clock_that_is_ahead_moves_the_start_of_no_control() {
    let mut world = World::new();
    world.device("a", true, runs(Time(1_030 * WINDOW_MS)));
    world.device("b", true, runs(OPENED));
    (0..9).for_each(|n| world.device(&format!("n{n}"), false, IDLE));
    let told = world.told();
    assert_eq!(told[0].known, 0);
    assert!(told[1..].iter().all(|device| device.known == 17), "{told:?}");
}

#[test]
fn looks_are_reached_when_half_of_the_running_canaries_have_reported_their_windows() {
    let at = |until: u64| Said { until, ..runs(OPENED) };
    let looks = |canaries: &[Said]| {
        let mut world = World::new();
        (0..).zip(canaries).for_each(|(n, said)| world.device(&format!("c{n}"), true, *said));
        world.device("z", false, IDLE);
        world.look(NOW).2.looks
    };
    assert_eq!(looks(&[at(1_004)]), [0, 6], "one window of twelve");
    assert_eq!(looks(&[at(1_005)]), [1, 6]);
    assert_eq!(looks(&[at(1_014)]), [5, 6]);
    assert_eq!(looks(&[at(1_015)]), [6, 6]);
    assert_eq!(looks(&[at(1_003), at(1_007), at(1_015), at(1_015)]), [6, 6]);
    assert_eq!(looks(&[at(1_003), at(1_003), at(1_007), at(1_015)]), [2, 6]);
    assert_eq!(looks(&[failed("LoadRefused"), at(1_005)]), [1, 6], "one that does not run is not waited for");
}

#[test]
fn a_device_settles_after_its_own_activation_and_looks_at_objectives_wait_for_it() {
    let mut world = World::new();
    world.valid = valid_with(None);
    // Long before the stage, two windows before it, within it, and so late that it settles still.
    let activated = [Time(900 * WINDOW_MS), Time(998 * WINDOW_MS), OPENED, Time(1_013 * WINDOW_MS)];
    (0..).zip(activated).for_each(|(n, at)| world.device(&format!("c{n}"), true, runs(at)));
    world.device("z", false, IDLE);
    let record = world.look(NOW).2;
    let told = told(&record);
    let known: Vec<u64> = told.iter().filter(|device| device.canary).map(|device| device.known).collect();
    assert_eq!(known, [17, 15, 12, 0]);
    assert_eq!(told.iter().map(|device| device.facts & 16).collect::<Vec<_>>(), [0, 0, 0, 16, 0]);
    // Half of the canaries have reported 17 windows since they can be compared, 15 since they can be judged.
    assert_eq!((record.looks, record.rules[0].looks), ([8, 6], Some([7, 6])));
    world.valid.objectives[0].label_delay_ms = 2 * WINDOW_MS + 1;
    assert_eq!(world.look(NOW).2.rules[0].looks, Some([6, 6]), "labels come three windows late");
}

#[test]
fn canaries_that_have_gone_quiet_do_not_hold_up_the_looks() {
    let mut world = World::new();
    let quiet = Said { until: 1_004, heard: Time(1_004 * WINDOW_MS), ..runs(OPENED) };
    (0..5).for_each(|n| world.device(&format!("c{n}"), true, quiet));
    (0..9)
        .for_each(|n| world.device(&format!("n{n}"), false, Said { heard: Time(1_009 * WINDOW_MS), ..IDLE }));
    let looks = |window: u64| world.look(Time(window * WINDOW_MS)).2.looks[0];
    assert_eq!(looks(1_007), 0, "they are not silent yet");
    assert_eq!([1_008, 1_009, 1_010, 1_011].map(looks), [2, 3, 3, 4], "five windows have passed, then six");
}

#[test]
fn a_device_is_silent_after_three_windows_and_not_before() {
    let heard = |window: u64| Said { heard: Time(window * WINDOW_MS), ..runs(OPENED) };
    let world =
        world(&[("a", true, heard(1_017)), ("b", true, Said { heard: Time(1_017 * WINDOW_MS - 1), ..IDLE })]);
    let told = world.told();
    assert_eq!(told.iter().map(|device| device.facts & 4).collect::<Vec<_>>(), [4, 0]);
    assert_eq!(world.look(Time(NOW.0 + 1)).0.silent_after_activation, 1);
    assert_eq!(world.look(NOW).0.silent_after_activation, 0);
}

#[test]
fn a_device_that_was_away_since_before_the_stage_says_nothing_of_it() {
    let before = Time(OPENED.0 - 1);
    let away = |said| Said { online: false, heard: before, ..said };
    let told = world(&[
        ("a", true, away(runs(before))),
        ("b", true, away(runs(OPENED))),
        ("c", true, Said { phase: Some("Offered"), ..IDLE }),
        ("d", true, IDLE),
        ("e", true, Said { phase: Some("Downloading"), ..IDLE }),
        ("x", false, away(IDLE)),
        ("y", false, Said { heard: OPENED, ..away(IDLE) }),
        ("z", false, Said { heard: before, ..IDLE }),
    ])
    .told();
    let attempted: Vec<bool> = told.iter().map(|device| device.facts & 1 > 0).collect();
    assert_eq!(attempted, [false, true, false, false, true, false, true, true]);
    let awaited: Vec<bool> = told.iter().map(|device| device.facts & 8 > 0).collect();
    assert_eq!(awaited, [false, false, true, true, true, false, false, true]);
}

#[test]
fn a_device_that_cannot_run_the_build_is_in_neither_arm_and_no_failure() {
    let world = world(&[
        ("a", true, Said { phase: Some("Incompatible"), code: Some("EngineMissing"), ..IDLE }),
        ("b", true, failed("OperatorMissing")),
        ("c", true, failed("LoadRefused")),
        ("d", true, runs(OPENED)),
        ("x", false, Said { phase: Some("RolledBack"), ..IDLE }),
        ("z", false, IDLE),
    ]);
    let (view, _, record) = world.look(NOW);
    assert_eq!((view.members, view.incompatible, view.eligible, view.failed), (4, 2, 2, 1));
    let arms: Vec<(bool, bool)> = told(&record).iter().map(|device| (device.canary, device.failed)).collect();
    assert_eq!(arms, [(true, true), (true, false), (false, false)], "what went back is no control");
    assert_eq!((view.exposed_ever, view.still_exposed), (2, 1), "one runs it, one has run it");
}

#[test]
fn a_device_that_was_set_aside_stays_a_canary_that_failed_and_is_named_once() {
    let mut devices: Vec<(String, bool, Said)> =
        (0..2).map(|n| (format!("c{n}"), true, failed("LoadRefused"))).collect();
    devices.extend((2..40).map(|n| (format!("c{n:02}"), true, runs(OPENED))));
    devices.extend((0..40).map(|n| (format!("n{n:02}"), false, IDLE)));
    let mut world = World::new();
    devices.iter().for_each(|(name, member, said)| world.device(name, *member, *said));
    let named = |world: &World| match world.look(NOW).1.evidence.hard_stop {
        Some(HardStop::Quarantine { devices, reason }) => {
            (devices.iter().map(DeviceId::to_string).collect::<Vec<_>>(), reason)
        }
        other => panic!("{other:?}"),
    };
    let (set_aside, reason) = named(&world);
    assert_eq!(set_aside, ["c0", "c1"]);
    assert!(reason.contains("LoadRefused"), "{reason}");
    world.membership.exclude = vec!["c0".parse().unwrap()];
    let (view, _, record) = world.look(NOW);
    assert_eq!(told(&record).iter().filter(|device| device.canary && device.failed).count(), 2);
    assert_eq!((view.members, view.failed), (39, 1));
    assert_eq!(named(&world).0, ["c1"]);
    let codes: Vec<u64> = record.devices.iter().map(|row| row[4]).filter(|code| *code > 0).collect();
    assert_eq!(codes, [FailureCode::LoadRefused as u64 + 1; 2]);
}

#[test]
fn the_judge_is_asked_by_the_stage_and_the_budget_that_is_left() {
    let mut world = world(&[("a", true, runs(OPENED)), ("z", false, IDLE)]);
    world.state.spent_ppb = 77;
    let first = world.look(NOW).2;
    assert_eq!(first.budget, [10_000, 77, 4]);
    assert_eq!(first.needs[1], world.valid.policy.stage(0).limits.min_windows);
    world.state.stage = 3;
    let last = world.look(NOW).2;
    assert_eq!(last.budget, [10_000, 77, 1]);
    assert_ne!(first.seed, last.seed, "each stage has permutations of its own");
    assert_eq!(last.place, "r, attempt 1, full");
}

#[test]
fn a_candidate_without_harm_passes_at_the_last_look_and_few_events_are_told_as_exposure() {
    let mut world = World::new();
    (0..20).for_each(|n| world.device(&format!("c{n:02}"), true, runs(OPENED)));
    (0..40).for_each(|n| world.device(&format!("n{n:02}"), false, IDLE));
    let evidence = world.look(NOW).1.evidence;
    assert_eq!((evidence.verdict, evidence.final_look), (Verdict::Exposed, true), "{}", evidence.sentence);
    // Of half of them too few windows are known.
    (0..10).for_each(|n| world.device(&format!("d{n:02}"), true, Said { until: 1_004, ..runs(OPENED) }));
    let evidence = world.look(NOW).1.evidence;
    assert_eq!((evidence.verdict, evidence.final_look), (Verdict::Undecided, true), "{}", evidence.sentence);
    assert!(matches!(evidence.coverage, modelfleet_rollout::Coverage::Missing(_)));
}

#[test]
fn a_merged_value_at_its_bound_is_no_breach() {
    let mut world = World::new();
    let (model, counting) = ("m".parse().unwrap(), world.counting());
    let fleet = world.index.fleet_mut(&"plant".parse().unwrap()).unwrap();
    fleet.watch(&model, Digest::of(CANDIDATE.as_bytes()), counting);
    world.device("a", true, runs(OPENED));
    world.device("z", false, IDLE);
    world.valid.objectives[0].indicator.threshold = 0;
    let record = world.look(NOW).2;
    // No prediction failed: the error rate is zero, and so is the bound.
    assert!(record.merged.iter().all(|row| row[3] == 0 && row[2] >= 1_003), "{:?}", record.merged);
    assert_eq!(record.merged.len(), 2 * 17);
}
