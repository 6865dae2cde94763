//! One alarm, told once, that clears and goes through a restart.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test may end where it stands")]

use modelfleet_watch::{
    Found, Kept, Named, NamedKind, OnAlarm, Seen, Share, Stream, WatchMemory, WatchPolicy, WindowReading,
    keep,
};

fn policy(named: Vec<Named>) -> WatchPolicy {
    WatchPolicy {
        false_alarm_every_ms: 365 * 86_400_000,
        window_ms: 3_600_000,
        late_windows: 2,
        on_alarm: OnAlarm::Notify,
        named,
    }
}

/// One window with so many of a hundred devices bad in each of these objectives, of which 5 may be.
fn window(index: u64, bad: &[(&str, u64)]) -> WindowReading {
    let seen = bad.iter().map(|(name, bad)| {
        let share = Share { bad: *bad, known: 100, allowed_ppm: 50_000 };
        let stream = Stream::Objective((*name).to_owned());
        Seen { stream, level: Some(share), position_ppm: share.ppm(), small_ppm: 2_500 }
    });
    WindowReading { index, seen: seen.collect() }
}

#[test]
fn an_alarm_is_raised_once_and_clears_once() {
    let (policy, mut memory) = (policy(vec![]), WatchMemory::default());
    let mut told = Vec::new();
    for index in 0..200 {
        let bad = if (50..120).contains(&index) { 60 } else { 1 };
        let kept = keep(
            &policy,
            &mut memory,
            &[window(index, &[("errors", bad), ("latency", bad), ("timeouts", 1)])],
        );
        if kept != Kept::default() {
            told.push((index, kept.raised));
        }
        if kept.raised {
            let causes = memory.alarm.as_ref().unwrap().causes.iter().map(|cause| cause.stream.to_string());
            assert_eq!(
                causes.collect::<Vec<_>>(),
                ["oerrors", "olatency"],
                "what is bad with it belongs to it"
            );
        }
    }
    assert_eq!(told.len(), 2, "{told:?}");
    assert!((60..85).contains(&told[0].0) && told[0].1, "within a day and a half: {told:?}");
    assert_eq!(told[1], (143, false), "24 windows after the last bad one");
}

#[test]
fn a_restart_after_each_window_changes_nothing() {
    let policy = policy(vec![Named {
        name: "n".into(),
        kind: NamedKind::Above(500_000),
        stream: Stream::Objective("errors".into()),
    }]);
    let (mut one, mut other) = (WatchMemory::default(), WatchMemory::default());
    for index in 0..1_000 {
        let bad = if index % 24 < 12 { 3 } else { 7 } + index / 100;
        let reading = window(index, &[("errors", bad), ("latency", 2)]);
        let kept = keep(&policy, &mut one, std::slice::from_ref(&reading));
        assert_eq!(keep(&policy, &mut other, &[reading]), kept);
        other = WatchMemory::from_text(&other.to_text()).unwrap();
        assert_eq!(one, other, "window {index}");
    }
}

#[test]
fn windows_that_were_read_change_nothing() {
    let (policy, mut memory) = (policy(vec![]), WatchMemory::default());
    let readings: Vec<WindowReading> = (0..10).map(|index| window(index, &[("errors", 60)])).collect();
    keep(&policy, &mut memory, &readings);
    let before = memory.clone();
    assert_eq!(keep(&policy, &mut memory, &readings), Kept::default());
    assert_eq!(memory, before);
}

#[test]
fn a_detector_by_name_alarms_beside_the_promise() {
    let stream = Stream::Objective("errors".into());
    let named = Named { name: "too-many".into(), kind: NamedKind::Above(300_000), stream: stream.clone() };
    let (policy, mut memory) = (policy(vec![named]), WatchMemory::default());
    assert!(!keep(&policy, &mut memory, &[window(0, &[("errors", 30)])]).raised);
    assert!(keep(&policy, &mut memory, &[window(1, &[("errors", 31)])]).raised);
    let alarm = memory.alarm.unwrap();
    assert_eq!((alarm.causes[0].stream.clone(), alarm.causes[0].found), (stream, Found::Named));
}
