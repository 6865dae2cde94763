use modelfleet_judge::Arm;
use modelfleet_protocol::state::{FailureCode, Phase};
use modelfleet_protocol::time::Time;
use modelfleet_rollout::FleetView;

use super::{OPENED, facts, moment};
use modelfleet_evidence::{Facts, Moment, away_by_rhythm, count};

fn at(phase: Phase, code: Option<FailureCode>) -> Facts {
    Facts { member: true, phase: Some(phase), code, ..facts() }
}

fn view(facts: Facts) -> FleetView {
    let mut view = FleetView::default();
    count(&mut view, &facts, &moment());
    view
}

#[test]
fn members_and_devices_that_were_set_aside_are_canaries() {
    assert_eq!(at(Phase::Confirmed, None).arm(), Some(Arm::Canary));
    assert_eq!(Facts { member: true, ..facts() }.arm(), Some(Arm::Canary), "it has not taken it yet");
    let set_aside = Facts { set_aside: true, matching: false, ..facts() };
    assert_eq!(set_aside.arm(), Some(Arm::Canary));
    assert_eq!(set_aside.hard_failure(), Some(FailureCode::Unknown), "whatever it says of itself since");
    assert!(!set_aside.is_active() && !set_aside.is_awaited() && set_aside.has_tried());
}

/// Whatever it does: it is in neither arm, holds nothing up and counts in nothing but what still runs the candidate.
#[test]
fn a_device_that_a_user_set_aside_counts_nowhere_but_in_what_still_runs_the_candidate() {
    let by_user = |facts: Facts| Facts {
        set_aside_by_user: true,
        was_drawn: facts.member,
        member: false,
        matching: false,
        ..facts
    };
    let failed = at(Phase::Failed, Some(FailureCode::LoadRefused));
    for device in [facts(), failed, at(Phase::Confirmed, None), Facts { set_aside: false, ..failed }] {
        let device = by_user(device);
        assert_eq!(device.arm(), None);
        assert!(!device.is_awaited() && !device.is_active());
        let view = view(device);
        assert_eq!((view.members, view.eligible, view.failed, view.unreachable), (0, 0, 0, 0));
        assert_eq!((view.matching, view.others), (0, 0));
    }
    let runs = view(by_user(at(Phase::Confirmed, None)));
    assert_eq!((runs.still_exposed, runs.exposed_ever), (1, 1), "a way back waits for it");
    let away = view(by_user(Facts { online: false, ..at(Phase::Confirmed, None) }));
    assert_eq!((away.still_exposed, away.still_exposed_unreachable), (0, 1));
    let forgot = view(by_user(Facts { member: true, ..facts() }));
    assert_eq!(forgot.unmarked, 1, "it was drawn, and has lost its records");
    assert_eq!(view(by_user(facts())).unmarked, 0, "it was never drawn");
}

#[test]
fn devices_that_have_nothing_to_do_with_the_candidate_are_controls() {
    assert_eq!(facts().arm(), Some(Arm::Control));
    let not_member = |phase| Facts { member: false, ..at(phase, None) };
    for phase in [Phase::Offered, Phase::RolledBack, Phase::Reverted, Phase::Confirmed] {
        assert_eq!(not_member(phase).arm(), None, "{phase:?}");
    }
    assert_eq!(Facts { answers: true, ..facts() }.arm(), None, "it runs the candidate");
    assert_eq!(Facts { matching: false, ..facts() }.arm(), None, "the stage does not draw from it");
    assert_eq!(Facts { known: false, ..facts() }.arm(), None, "nothing is known of it");
}

#[test]
fn a_device_that_cannot_run_the_build_is_in_neither_arm_and_no_failure() {
    for device in [
        at(Phase::Incompatible, Some(FailureCode::EngineMissing)),
        at(Phase::Failed, Some(FailureCode::OperatorMissing)),
    ] {
        assert!(device.is_incompatible());
        assert_eq!((device.arm(), device.hard_failure()), (None, None));
        let view = view(device);
        assert_eq!((view.members, view.incompatible, view.eligible, view.failed), (1, 1, 0, 0));
    }
    assert!(!at(Phase::Reverted, Some(FailureCode::OperatorMissing)).is_incompatible(), "it did run it");
}

#[test]
fn failures_of_the_model_are_told_from_those_of_the_way_there() {
    let failed = at(Phase::Failed, Some(FailureCode::LoadRefused));
    assert!(failed.has_failed() && !failed.is_awaited());
    assert_eq!(failed.hard_failure(), Some(FailureCode::LoadRefused));
    for code in [FailureCode::DownloadExhausted, FailureCode::DigestMismatch, FailureCode::SignatureInvalid] {
        let on_the_way = at(Phase::Failed, Some(code));
        assert!(on_the_way.has_failed(), "{code:?}");
        assert_eq!(on_the_way.hard_failure(), None, "{code:?}");
    }
    let unproven = at(Phase::Reverted, Some(FailureCode::Unproven));
    assert!(unproven.is_unproven() && !unproven.has_failed());
    assert_eq!((view(unproven).unproven, view(unproven).failed), (1, 0));
    let late = at(Phase::Confirmed, Some(FailureCode::CrashLoop));
    assert_eq!(late.hard_failure(), None, "its attempt has not ended");
}

#[test]
fn a_device_with_trouble_of_its_own_is_in_neither_arm_and_no_failure_until_it_is_well() {
    for code in [FailureCode::DiskFull, FailureCode::DiskUnreadable, FailureCode::Unproven] {
        let device = at(Phase::Failed, Some(code));
        assert!(device.has_own_trouble() && !device.has_failed(), "{code:?}");
        assert_eq!((device.arm(), device.hard_failure()), (None, None), "{code:?}");
        let view = view(device);
        let counts = (view.members, view.own_trouble, view.eligible, view.failed, view.unproven);
        assert_eq!(counts, (1, 1, 0, 0, 0), "{code:?}");
        assert_eq!(at(Phase::Downloading, Some(code)).arm(), Some(Arm::Canary), "{code:?}: it tries again");
        // What it did under the version before counts on: no device leaves a failure behind by filling its disk.
        let set_aside = Facts { member: false, set_aside: true, ..device };
        assert_eq!(
            (set_aside.arm(), set_aside.hard_failure()),
            (Some(Arm::Canary), Some(FailureCode::Unknown))
        );
    }
}

#[test]
fn only_devices_that_ran_the_candidate_were_exposed() {
    let exposed = |facts: Facts| {
        let view = view(facts);
        (view.exposed_ever, view.still_exposed, view.still_exposed_unreachable)
    };
    assert_eq!(exposed(at(Phase::Activated, None)), (1, 1, 0));
    assert_eq!(exposed(Facts { online: false, ..at(Phase::Activated, None) }), (1, 0, 1));
    assert_eq!(exposed(at(Phase::RolledBack, None)), (1, 0, 0));
    assert_eq!(exposed(at(Phase::Reverted, Some(FailureCode::CrashLoop))), (1, 0, 0));
    assert_eq!(exposed(at(Phase::Failed, Some(FailureCode::LoadRefused))), (0, 0, 0));
    assert_eq!(exposed(at(Phase::Downloaded, None)), (0, 0, 0));
    assert_eq!(
        exposed(Facts { stays: true, ..at(Phase::Confirmed, None) }),
        (0, 0, 0),
        "its home runs it anyway"
    );
    assert_eq!(exposed(facts()), (0, 0, 0));
}

#[test]
fn a_connection_that_may_be_a_memory_is_counted_apart_on_the_way_back() {
    let moment = Moment { back_since: Some(Time(119_000)), ..moment() };
    let mute = |heard_at| {
        let mut view = FleetView::default();
        count(&mut view, &Facts { heard_at, ..at(Phase::Confirmed, None) }, &moment);
        view.still_exposed_mute
    };
    assert_eq!((mute(Time(118_999)), mute(Time(119_000))), (1, 0));
}

#[test]
fn a_device_is_silent_after_its_time_and_not_before() {
    let heard = |facts: Facts, moment: Moment| facts.is_heard(&moment);
    let last = Facts { heard_at: Time(117_000), ..at(Phase::Confirmed, None) };
    let before = Facts { heard_at: Time(116_999), ..last };
    assert!(heard(last, moment()) && !heard(before, moment()));
    assert_eq!((view(last).silent_after_activation, view(before).silent_after_activation), (0, 1));
    assert!(
        heard(before, Moment { connected_since: Time(118_000), ..moment() }),
        "there was no connection before"
    );
    let planned = Moment { planned_at: Time(118_000), ..moment() };
    assert!(!heard(before, planned));
    assert!(
        heard(Facts { other_windows: true, ..before }, planned),
        "it had nothing to report before that plan"
    );
}

#[test]
fn a_device_that_was_away_all_the_while_says_nothing_of_the_stage() {
    let attempted = |facts: Facts, arm, activated| facts.is_attempted(arm, OPENED, activated);
    let away = Facts { online: false, heard_at: Time(OPENED.0 - 1), ..facts() };
    assert!(!attempted(away, Arm::Control, Time::ZERO));
    assert!(attempted(Facts { heard_at: OPENED, ..away }, Arm::Control, Time::ZERO));
    assert!(attempted(Facts { online: true, ..away }, Arm::Control, Time::ZERO), "it could have been heard");
    let active = Facts { member: true, phase: Some(Phase::Activated), ..away };
    assert!(!attempted(active, Arm::Canary, Time(OPENED.0 - 1)));
    assert!(attempted(active, Arm::Canary, OPENED), "to activate is a sign of life");
    let phases = [Phase::Offered, Phase::Unknown, Phase::Downloading, Phase::Failed, Phase::Reverted];
    let tried = phases.map(|phase| attempted(at(phase, None), Arm::Canary, Time::ZERO));
    assert_eq!(tried, [false, false, true, true, true]);
    assert!(!attempted(Facts { member: true, ..facts() }, Arm::Canary, Time::ZERO));
}

#[test]
fn the_stage_waits_for_devices_that_are_in_reach_and_well() {
    assert!(at(Phase::Downloading, None).is_awaited());
    assert!(!Facts { online: false, ..at(Phase::Confirmed, None) }.is_awaited());
    assert!(!at(Phase::Reverted, Some(FailureCode::Unproven)).is_awaited());
}

#[test]
fn a_device_that_was_asked_too_seldom_is_told_from_one_that_is_on_probation() {
    let since = |since| view(Facts { since, ..at(Phase::Activated, None) }).unasked;
    assert_eq!((since(Time(109_999)), since(Time(110_000))), (1, 0));
    assert_eq!(view(Facts { online: false, ..at(Phase::Activated, None) }).unasked, 0, "it is away");
    let beside = Facts { answers: true, ..at(Phase::Activated, None) };
    assert_eq!((view(beside).confirmed, view(Facts { proven: true, ..beside }).confirmed), (0, 1));
}

/// It lost its records after it was set aside: it runs the version no more, and a rollback does not wait for it.
#[test]
fn a_device_that_was_set_aside_and_has_forgotten_it_is_known_not_to_run_the_version() {
    let mut view = FleetView::default();
    count(&mut view, &Facts { set_aside: true, ..facts() }, &moment());
    assert_eq!(view, FleetView { matching: 1, unmarked: 1, ..FleetView::default() });
    count(&mut view, &Facts { set_aside: true, online: false, ..facts() }, &moment());
    assert_eq!(view.unmarked, 1, "nothing is known of one that is not connected");
}

#[test]
fn each_device_is_counted_under_its_honest_name() {
    let offline = Facts { online: false, ..at(Phase::Offered, None) };
    let all = [facts(), at(Phase::Confirmed, None), at(Phase::Downloaded, None), offline];
    let mut view = FleetView::default();
    all.iter().for_each(|facts| count(&mut view, facts, &moment()));
    count(&mut view, &Facts { member: true, ..facts() }, &moment());
    let expected = FleetView {
        matching: 5,
        members: 4,
        eligible: 4,
        reachable: 3,
        unreachable: 1,
        offered: 3,
        downloaded: 2,
        activated: 1,
        confirmed: 1,
        still_exposed: 1,
        exposed_ever: 1,
        unmarked: 1,
        others: 1,
        ..FleetView::default()
    };
    assert_eq!(view, expected);
}

#[test]
fn contact_is_lost_with_devices_that_are_not_connected_or_not_heard() {
    let heard = Facts { online: true, heard_at: Time(119_000), ..at(Phase::Confirmed, None) };
    let lost = |facts: Facts| view(facts).lost;
    assert_eq!((lost(heard), lost(Facts { online: false, ..heard })), (0, 1));
    assert_eq!(lost(Facts { heard_at: Time(116_999), ..heard }), 1);
    let idle = Facts { member: false, phase: None, matching: true, known: true, ..heard };
    let others = |facts: Facts| (view(facts).others, view(facts).others_lost);
    assert_eq!((others(idle), others(Facts { online: false, ..idle })), ((1, 0), (1, 1)));
    assert_eq!(others(heard), (0, 0), "it runs the candidate");
    assert_eq!(others(Facts { matching: false, ..idle }), (0, 0), "the stage could not have drawn it");
}

/// Devices with hourly windows, 200 with the candidate: the counts at this hour, counted from a midnight. `on`: whether a device
/// runs in a window; each has run its build from window `since` on.
fn fleet_at(hour: u64, since: u64, others: u32, on: impl Fn(u32, u64) -> bool) -> FleetView {
    const HOUR_MS: u64 = 3_600_000;
    let now = Time(hour * HOUR_MS + 5 * 60_000);
    let moment = Moment { now, silent_after_ms: HOUR_MS, ..moment() };
    let mut view = FleetView::default();
    for number in 0..200 + others {
        let online = on(number, hour);
        let is_canary = number < 200;
        let phase = is_canary.then_some(Phase::Confirmed);
        let mut facts = Facts { member: is_canary, phase, online, heard_at: now, ..facts() };
        if facts.is_lost(&moment) {
            facts.by_rhythm = away_by_rhythm(now, HOUR_MS, |first, end| {
                (first.max(since)..end.min(hour)).filter(|window| on(number, *window)).count() as u64
            });
        }
        count(&mut view, &facts, &moment);
    }
    view
}

const DAY: u64 = 24;

fn is_night(hour: u64) -> bool {
    hour % DAY >= 22 || hour % DAY < 8
}

#[test]
fn a_fleet_that_is_off_for_ten_hours_a_night_has_lost_no_contact() {
    let lost = |hour: u64| fleet_at(hour, 0, 0, |_, hour| !is_night(hour)).has_lost_most();
    assert!((3 * DAY..5 * DAY).all(|hour| !lost(hour)));
    // On its first night no device tells that it is a night: the stage pauses once, and goes on in the morning.
    let first: Vec<bool> = (9..2 * DAY + 9)
        .map(|hour| fleet_at(hour, 9, 0, |_, hour| !is_night(hour)).has_lost_most())
        .collect();
    assert_eq!(first.iter().filter(|lost| **lost).count(), 10, "the ten hours of the first night");
    assert!(first[(DAY - 1) as usize..].iter().all(|lost| !lost), "and none of the second");
}

#[test]
fn most_canaries_lost_at_noon_are_lost_whatever_their_nights() {
    let noon = 4 * DAY + 12;
    for (nights, percent, others) in [(false, 60, 100), (true, 60, 100), (true, 90, 0)] {
        let crashed = |number: u32, hour: u64| number < 2 * percent && hour >= noon;
        let on = |number: u32, hour: u64| !(crashed(number, hour) || nights && is_night(hour));
        assert!(!fleet_at(noon - 1, 0, others, on).has_lost_most());
        let view = fleet_at(noon, 0, others, on);
        assert!(view.has_lost_most(), "five minutes past noon: {view:?}");
        assert_eq!((view.out_of_contact(), view.away_by_rhythm), (u64::from(2 * percent), 0));
        assert!(fleet_at(noon + DAY + 3, 0, others, on).has_lost_most(), "a day later as well");
    }
}

/// A device that has the candidate since today tells no rhythm; those that had it before do.
#[test]
fn new_devices_are_away_at_night_as_the_others_are() {
    let on = |number: u32, hour: u64| !is_night(hour) && (number < 40 || hour >= 5 * DAY + 9);
    let night = fleet_at(5 * DAY + 23, 0, 0, on);
    assert_eq!((night.lost, night.lost_untold, night.away_by_rhythm), (160, 160, 40));
    assert!(!night.has_lost_most(), "{night:?}");
    let crashed = |number: u32, hour: u64| on(number, hour) && hour < 5 * DAY + 14;
    assert!(fleet_at(5 * DAY + 15, 0, 0, crashed).has_lost_most(), "in the afternoon all are lost");
}
