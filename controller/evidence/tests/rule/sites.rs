//! Devices that lose their connection together.

use modelfleet_evidence::{Arms, Facts, Names, Question, Wording, cut_off_again, evidence};
use modelfleet_judge::record::Record;
use modelfleet_judge::{Advice, HardRule, Looks, Observations, Place, SilenceRule, StageState, assess};
use modelfleet_protocol::selector::Labels;
use modelfleet_protocol::time::Time;
use modelfleet_rollout::{Evidence, State};

use super::answer::policy;
use super::{Made, OPENED, canary, control, gathered, moment, stage};

/// The same device, not heard since then.
fn silent_since(device: Made, at: u64) -> Made {
    Made { facts: Facts { online: false, heard_at: Time(at), ..device.facts }, ..device }
}

/// `canaries` and `controls` at a site, of which the first so many are silent since window 110.
fn site(number: u16, canaries: [u32; 2], controls: [u32; 2]) -> Vec<Made> {
    let id = |i: u32| u32::from(number) * 1_000 + i;
    let ([silent, all], [silent_controls, all_controls]) = (canaries, controls);
    let canaries = (0..all).map(|i| (i < silent, canary(id(i), OPENED)));
    let controls = (0..all_controls).map(|i| (i < silent_controls, control(id(500 + i))));
    let placed = |(silent, device): (bool, Made)| {
        let device = Made { site: number, ..device };
        if silent { silent_since(device, 110_000 + u64::from(device.number % 7)) } else { device }
    };
    canaries.chain(controls).map(placed).collect()
}

fn asked_of_silence(arms: &Arms) -> usize {
    arms.outcomes().iter().filter(|outcome| outcome.attempted).count()
}

#[test]
fn a_site_that_is_cut_off_says_nothing_of_silence() {
    let fleet = [site(1, [3, 3], [17, 17]), site(2, [0, 2], [0, 18])].concat();
    let arms = gathered(&fleet);
    assert_eq!(asked_of_silence(&arms), 20, "the other site is asked as before");
    let all = Place { canaries: 3, silent_canaries: 3, controls: 17, silent_controls: 17 };
    assert_eq!((arms.cut_off().all, arms.cut_off().sites.clone()), (all, vec![1]));
    assert!(arms.cut_off().holds_stage(), "three of five canaries are there");

    let quiet = [site(1, [3, 3], [1, 17]), site(2, [0, 2], [0, 18])].concat();
    let arms = gathered(&quiet);
    assert_eq!(asked_of_silence(&arms), 40, "its controls speak, so its canaries are asked");
    assert!(!arms.cut_off().holds_stage());
}

#[test]
fn devices_without_a_site_are_placed_by_the_moment_they_fell_silent() {
    let fleet = [site(0, [5, 20], [45, 180])].concat();
    assert_eq!(asked_of_silence(&gathered(&fleet)), 150);
    // The same devices, but silent one after the other.
    let apart = |i: usize, device: &Made| match device.facts.online {
        true => *device,
        false => silent_since(*device, 101_000 + 300 * i as u64 % 15_000),
    };
    let fleet: Vec<Made> = fleet.iter().enumerate().map(|(i, device)| apart(i, device)).collect();
    assert_eq!(asked_of_silence(&gathered(&fleet)), 200);
    let silenced = site(0, [20, 20], [8, 180]);
    assert_eq!(
        asked_of_silence(&gathered(&silenced)),
        200,
        "a candidate that silences its devices at one moment"
    );
}

/// What the core is told by a judge that knows nothing yet.
fn told(fleet: &[Made], labels: &dyn Fn(u16) -> Option<&'static Labels>) -> Evidence {
    let arms = gathered(fleet);
    let outcomes = arms.outcomes();
    let looks = Looks { reached: 1, planned: 6 };
    let observations = Observations {
        slos: &[],
        devices: &outcomes,
        merged: &[],
        needs: Default::default(),
        hard: Default::default(),
        silence: Default::default(),
        budget: modelfleet_judge::Budget { total_ppm: 10_000, spent_ppb: 0, stages_left: 1 },
        looks,
        seed: 1,
    };
    let answer = assess(&observations, &StageState::new());
    assert_eq!(answer.advice, Advice::Wait, "{}", answer.sentence);
    let of = |subject: &modelfleet_evidence::Subject| labels(subject.site);
    let wording = Wording { shared: "", set_aside: None, names: Names { id: &|_| None, labels: &of } };
    evidence(&State::default(), &arms, looks, &answer, &wording)
}

#[test]
fn a_stage_that_lost_half_of_its_canaries_waits_for_their_site_by_its_name() {
    let north: &'static Labels =
        Box::leak(Box::new([("age", "old"), ("site", "north")].map(|(k, v)| (k.into(), v.into())).into()));
    let names = |site: u16| (site == 1).then_some(north);
    let half = [site(1, [3, 3], [17, 17]), site(2, [0, 2], [0, 18])].concat();
    assert_eq!(
        told(&half, &names).incident.as_deref(),
        Some(
            "site north is cut off: 3 of 5 updated devices and 17 others stopped reporting together, with the new version \
             and without it"
        )
    );
    let few = [site(1, [1, 1], [17, 17]), site(2, [0, 4], [0, 18])].concat();
    let few = told(&few, &names);
    assert_eq!(few.incident, None, "the others go on");
    assert!(few.sentence.ends_with("others stopped reporting together, with the new version and without it"));
    let unnamed = told(&half, &|_| None).incident.unwrap();
    assert!(unnamed.ends_with("their connection is the likely cause and not the new version"), "{unnamed}");
}

/// A recorded look says where devices were, so that a replay finds the place that is cut off again.
#[test]
fn a_replay_finds_the_place_that_is_cut_off() {
    let fleet = [site(1, [3, 3], [17, 17]), site(2, [0, 2], [0, 18])].concat();
    let recorded = |fleet: &[Made]| {
        let (arms, state) = (gathered(fleet), State::default());
        let question = Question {
            policy: &policy(),
            state: &state,
            before: &StageState::new(),
            rules: &[],
            hard: HardRule::default(),
            silence: SilenceRule::default(),
            arms: &arms,
            windows: &stage(),
            merged: &[],
            now: moment().now,
        };
        let line = question.ask(|asked| asked.record().to_line().unwrap()).told;
        (Record::from_line(&line).unwrap(), arms.cut_off().clone())
    };
    let (record, cut_off) = recorded(&fleet);
    assert_eq!(record.replay().unwrap().sentence, record.answer.sentence);
    let again = cut_off_again(&record).unwrap();
    assert!(again.same && again.cut_off == cut_off && cut_off.holds_stage(), "{again:?}");
    assert!(again.sentence.starts_with("3 of 5 updated devices and 17 others stopped reporting together"));
    let mut changed = record.clone();
    changed.placed.iter_mut().filter(|row| row[0] == 1).take(12).for_each(|row| row[0] = 2);
    assert!(!cut_off_again(&changed).unwrap().same, "another place is not cut off");
    changed.placed.pop();
    assert!(!cut_off_again(&Record { placed: changed.placed, ..record }).unwrap().same);
    let calm = [site(1, [0, 3], [0, 17]), site(2, [0, 2], [0, 18])].concat();
    assert_eq!(cut_off_again(&recorded(&calm).0), None, "nothing is cut off, nothing is recorded");
}
