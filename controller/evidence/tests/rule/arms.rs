use modelfleet_judge::Arm;
use modelfleet_protocol::state::{FailureCode, Phase};
use modelfleet_protocol::time::Time;

use super::{FIRST, Made, OPENED, canary, control, gathered, known, moment, stage};
use modelfleet_evidence::{Arms, Facts, LookPlan, Progress, Reported, StageWindows, Start};

fn plan(bake_windows: u64, min_windows: u32) -> LookPlan {
    LookPlan::of(
        &super::answer::rollout_stage(bake_windows * super::WINDOW_MS, min_windows),
        super::WINDOW_MS,
    )
}

#[test]
fn each_canary_counts_from_its_own_start_and_no_earlier_than_the_stage() {
    let [early, there] = [Time(40_000), OPENED].map(|at| canary(1, at));
    assert_eq!(known(&[early, there]), [120 - FIRST; 2]);
    // It has the candidate in the middle of window 110, which is of neither build; 111 warms up.
    assert_eq!(known(&[canary(1, Time(110_500))]), [120 - 112]);
}

#[test]
fn controls_take_the_starts_of_the_canaries_of_their_stratum() {
    let canaries = [canary(1, OPENED), canary(2, Time(110_500))];
    let other = Made { stratum: 3, ..canary(3, Time(115_500)) };
    let controls: Vec<Made> = (10..60).map(control).collect();
    let devices: Vec<Made> = canaries.into_iter().chain([other]).chain(controls).collect();
    let mut known = known(&devices);
    known.drain(..3);
    known.sort_unstable();
    known.dedup();
    assert_eq!(known, [120 - 112, 120 - FIRST], "both starts are taken, and none of another stratum");
}

#[test]
fn without_a_canary_that_runs_controls_count_from_the_first_window_of_the_stage() {
    let waiting =
        Made { facts: Facts { phase: Some(Phase::Offered), ..canary(1, OPENED).facts }, ..canary(1, OPENED) };
    assert_eq!(known(&[waiting, control(2)])[1], 120 - FIRST);
}

#[test]
fn a_canary_whose_clock_is_ahead_moves_the_start_of_no_other_device() {
    let starts = |first: Option<Time>| {
        let honest = (2..20).map(|number| canary(number, Time(101_500)));
        let devices = first.into_iter().map(|at| canary(1, at)).chain(honest).chain((20..40).map(control));
        let mut known = known(&devices.collect::<Vec<_>>());
        known.drain(..usize::from(first.is_some()));
        known
    };
    let alone = starts(None);
    for ahead in [3, 1_000, u64::MAX / super::WINDOW_MS - 121] {
        assert_eq!(starts(Some(Time(120_000 + ahead * super::WINDOW_MS))), alone, "{ahead} windows");
    }
    assert_ne!(starts(Some(Time(119_000))), alone, "one that is not ahead is taken by some");
}

#[test]
fn the_judge_is_told_of_each_device_as_it_stands() {
    let failed =
        Facts { phase: Some(Phase::Failed), code: Some(FailureCode::LoadRefused), ..canary(1, OPENED).facts };
    let set_aside = Facts { member: false, set_aside: true, ..failed };
    let nothing = Facts { known: false, ..control(9).facts };
    let silent = Facts { heard_at: Time(110_000), ..control(4).facts };
    let made = |facts, number| Made { facts, number, ..canary(number, OPENED) };
    let devices = [canary(1, OPENED), made(failed, 2), made(set_aside, 3), made(nothing, 9), made(silent, 4)];
    let arms = gathered(&devices);
    let told: Vec<_> = arms
        .outcomes()
        .iter()
        .map(|o| (o.id, o.arm, [o.attempted, o.active, o.reporting, o.awaited], o.hard_failure))
        .collect();
    let code = Some(FailureCode::LoadRefused as u16);
    assert_eq!(
        told,
        [
            (1, Arm::Canary, [true, true, true, true], None),
            (2, Arm::Canary, [true, false, true, false], code),
            (3, Arm::Canary, [true, false, true, false], code),
            (4, Arm::Control, [true, false, false, true], None),
        ]
    );
    assert_eq!(arms.sizes(), (1, 1));
    let places: Vec<u32> = arms.subjects().iter().map(|subject| subject.place).collect();
    assert_eq!(places, [0, 1, 2, 4]);
    let outcomes = arms.outcomes();
    assert_eq!([0, 1].map(|slo| outcomes[0].slos[slo].history.known), [600, 601]);
    let again: Vec<u32> = arms.to_set_aside(&[1, 2, 3, 4]).map(|subject| subject.number).collect();
    assert_eq!(again, [2], "what has failed, and was not set aside before");
}

#[test]
fn looks_are_planned_evenly_and_reached_by_half_of_the_canaries() {
    let at = |windows| plan(60, 5).reached(windows).reached;
    assert_eq!([9, 10, 19, 20, 59, 60, 69, 70].map(at), [0, 1, 1, 2, 5, 6, 6, 7]);
    assert_eq!((plan(60, 5).planned(), plan(60, 5).windows()), (6, 60));
    assert_eq!((plan(4, 1).planned(), plan(4, 1).windows()), (4, 4), "no more looks than windows");
    assert_eq!((plan(4, 30).planned(), plan(4, 30).windows()), (6, 30), "a device needs longer");
    assert_eq!((plan(0, 0).planned(), plan(0, 0).windows()), (1, 1));
    let mut progress = Progress::default();
    assert_eq!(progress.half(0), Reported::default());
    let start = Start { settled: 10, compared: 8, swapped: true };
    [30, 14, 12, 9].iter().for_each(|until| progress.note(start, *until));
    assert_eq!(progress.half(0), Reported { compared: 6, settled: 4 }, "the upper one of the middle two");
    assert_eq!(progress.half(15).settled, 5, "windows pass by the clock for all");
    progress.clear();
    assert_eq!(progress.half(99), Reported::default());
}

#[test]
fn an_objective_is_looked_at_by_settled_windows_whose_truth_is_known() {
    let reached =
        |settled, late| plan(60, 5).reached_by_objective(Reported { compared: 99, settled }, late).reached;
    assert_eq!([reached(9, 0), reached(10, 0), reached(60, 0)], [0, 1, 6]);
    assert_eq!([reached(60, 24), reached(83, 24), reached(84, 24), reached(9, 24)], [3, 5, 6, 0]);
}

#[test]
fn devices_settle_in_five_windows_and_in_no_more_than_the_stage_has() {
    assert_eq!([1, 3, 5, 60].map(|windows| plan(windows, 1).settling(None)), [1, 3, 5, 5]);
    assert_eq!(plan(60, 1).settling(Some(0)), 0);
    assert_eq!(plan(4, 1).settling(Some(12)), 12, "what the spec says holds");
}

/// What a device counts in the stage, and whether it still settles; five windows of settling time.
fn settled(devices: &[Made]) -> (Arms, Vec<(u64, bool)>) {
    let mut arms = Arms::default();
    let windows = StageWindows::new(super::WINDOW_MS, 1, 5, OPENED);
    arms.gather(devices.iter(), 1, &windows, &moment(), 7);
    let known = arms.outcomes().iter().map(|o| (o.slos[0].post.known, o.settling)).collect();
    (arms, known)
}

#[test]
fn the_first_windows_after_a_change_of_models_decide_nothing() {
    let before = canary(1, Time(40_000));
    let (_, counted) =
        settled(&[before, canary(2, OPENED), canary(3, Time(110_500)), canary(4, Time(113_500))]);
    // 115 warms up, 116 to 120 settle: of the last nothing is judged yet.
    assert_eq!(counted, [(120 - FIRST, false), (120 - FIRST - 5, false), (120 - 117, false), (0, true)]);
    // Both arms lose the same hours.
    let devices: Vec<Made> = [canary(1, OPENED)].into_iter().chain((10..30).map(control)).collect();
    let (_, counted) = settled(&devices);
    assert!(counted.iter().all(|(known, settling)| *known == 120 - FIRST - 5 && !settling), "{counted:?}");
}

#[test]
fn windows_are_told_by_how_long_ago_the_change_was() {
    let devices = [canary(1, OPENED), canary(2, Time(110_500)), canary(3, Time(40_000)), control(9)];
    let (arms, _) = settled(&devices);
    let of = |arm| {
        let spans = arms.after_swap(0).iter().filter(move |span| span.arm == arm);
        spans.map(|span| (span.from, span.settling, span.devices.known)).collect::<Vec<_>>()
    };
    let canaries = of(Arm::Canary);
    assert_eq!(
        canaries[..6].iter().map(|s| (s.0, s.1)).collect::<Vec<_>>(),
        [(1, true), (2, true), (3, true), (4, true), (5, true), (6, false)]
    );
    // The first canary has 18 windows, the second 8; one that had the candidate long before the stage changed nothing in it.
    assert!(canaries[..8].iter().all(|span| span.2 == 2), "{canaries:?}");
    assert_eq!(canaries.iter().map(|span| span.2).sum::<u64>(), 18 + 8);
    let controls: u64 = of(Arm::Control).iter().map(|span| span.2).sum();
    assert!([0, 8, 18].contains(&controls), "{controls}: by the canary whose start it takes");
    assert!(arms.after_swap(1).is_empty(), "no such objective");
}

#[test]
fn canaries_that_have_gone_quiet_do_not_hold_up_the_looks() {
    let quiet = |number: u32| {
        let silent = Facts { heard_at: Time(103_000), ..canary(number, OPENED).facts };
        Made { facts: silent, until: 103, ..canary(number, OPENED) }
    };
    let reached = |arms: &Arms| {
        let reported = arms.reported(&arms.outcomes(), &stage(), moment().now);
        plan(60, 5).reached(reported.compared).reached
    };
    let looks = |canaries: Vec<Made>| {
        let devices: Vec<Made> = canaries.into_iter().chain((10..30).map(control)).collect();
        reached(&gathered(&devices))
    };
    assert_eq!(looks((0..5).map(quiet).collect()), 1, "18 windows have passed");
    assert_eq!(looks((0..5).map(|number| canary(number, OPENED)).collect()), 1);
    let few = (0..4).map(|n| canary(n, OPENED)).chain([quiet(4)]).collect();
    assert_eq!(looks(few), 1);
    // Where the controls are silent as well, the fleet is away, and its looks wait for it.
    let away: Vec<Made> = (0..30)
        .map(|n| Made { facts: Facts { heard_at: Time(103_000), ..control(n).facts }, ..control(n) })
        .chain((40..45).map(quiet))
        .collect();
    assert_eq!(reached(&gathered(&away)), 0);
}
