use super::*;

fn fleets(names: &[&str]) -> BTreeSet<Namespace> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// A marker comes back, and it is quiet from then on.
fn hears(subscriptions: &mut Subscriptions, marker: &[u8]) -> Option<Heard> {
    let now = Instant::now();
    subscriptions.marked(marker, now);
    subscriptions.quiet(now + QUIET)
}

/// Plans are heard to their end.
fn after_plans() -> Subscriptions {
    let mut subscriptions = Subscriptions::new("sync");
    let Some(Next::Subscribe(filters)) = subscriptions.next(&fleets(&["a"]), Instant::now()) else {
        panic!()
    };
    assert_eq!(filters, ["sync", "mf/1/+/plan/+"]);
    assert_eq!(subscriptions.next(&fleets(&["a"]), Instant::now()), None, "an answer comes first");
    let (marker, refused) = subscriptions.answered(&[true, true], Instant::now());
    assert!(refused.is_empty());
    assert_eq!(hears(&mut subscriptions, marker.unwrap().to_string().as_bytes()), Some(Heard::Plans));
    subscriptions
}

#[test]
fn plans_come_first_and_then_the_fleets_that_are_wanted() {
    let mut subscriptions = after_plans();
    let wanted = fleets(&["a", "b"]);
    assert!(!subscriptions.is_complete(&wanted));
    let Some(Next::Subscribe(filters)) = subscriptions.next(&wanted, Instant::now()) else { panic!() };
    let channels = ["presence", "state", "report/+", "held/+", "override"];
    assert_eq!(filters[..5], channels.map(|c| format!("mf/1/a/device/+/+/{c}")));
    assert_eq!(filters.len(), 10);
    let (marker, _) = subscriptions.answered(&[true; 10], Instant::now());
    assert_eq!(hears(&mut subscriptions, b"wake"), None);
    assert_eq!(hears(&mut subscriptions, b"1"), None, "the marker of the plans, once more");
    let heard = hears(&mut subscriptions, marker.unwrap().to_string().as_bytes());
    assert_eq!(heard, Some(Heard::Fleets(wanted.iter().cloned().collect())));
    assert!(subscriptions.is_complete(&wanted));
    assert_eq!(subscriptions.next(&wanted, Instant::now()), None);
    let Some(Next::Unsubscribe(gone)) = subscriptions.next(&fleets(&["b"]), Instant::now()) else { panic!() };
    assert_eq!(gone.len(), 5);
    assert!(
        matches!(subscriptions.next(&wanted, Instant::now()), Some(Next::Subscribe(_))),
        "it is wanted again"
    );
}

#[test]
fn what_is_refused_is_never_heard_and_asked_for_again_later() {
    let mut subscriptions = after_plans();
    let (wanted, now) = (fleets(&["a", "b"]), Instant::now());
    subscriptions.next(&wanted, now);
    let (marker, refused) =
        subscriptions.answered(&[true, true, true, true, true, true, false, true, true, true], now);
    assert_eq!(refused, ["mf/1/b/device/+/+/state"]);
    let heard = hears(&mut subscriptions, marker.unwrap().to_string().as_bytes());
    assert_eq!(heard, Some(Heard::Fleets(fleets(&["a"]).into_iter().collect())));
    assert!(!subscriptions.is_complete(&wanted));
    assert_eq!(subscriptions.next(&wanted, now), None);
    let Some(Next::Subscribe(again)) = subscriptions.next(&wanted, now + AGAIN) else { panic!() };
    assert!(again.iter().all(|filter| filter.starts_with("mf/1/b/")));
    let (marker, _) = subscriptions.answered(&[true; 5], now);
    hears(&mut subscriptions, marker.unwrap().to_string().as_bytes());
    assert!(subscriptions.is_complete(&wanted));
}

#[test]
fn without_plans_nothing_is_heard() {
    for answer in [&[true, false][..], &[false, true], &[true], &[]] {
        let (mut subscriptions, now) = (Subscriptions::new("sync"), Instant::now());
        subscriptions.next(&fleets(&["a"]), now);
        let (marker, refused) = subscriptions.answered(answer, now);
        assert!(marker.is_none() && !refused.is_empty());
        assert_eq!(subscriptions.next(&fleets(&["a"]), now), None);
        assert!(!subscriptions.is_complete(&fleets(&[])));
        assert!(matches!(subscriptions.next(&fleets(&["a"]), now + AGAIN), Some(Next::Subscribe(_))));
    }
}

#[test]
fn a_new_connection_hears_everything_anew() {
    let mut subscriptions = after_plans();
    subscriptions.reconnect();
    assert!(!subscriptions.is_complete(&fleets(&[])));
    subscriptions.next(&fleets(&[]), Instant::now());
    let (marker, _) = subscriptions.answered(&[true, true], Instant::now());
    assert_eq!(hears(&mut subscriptions, b"1"), None, "a marker of the connection before");
    assert_eq!(hears(&mut subscriptions, marker.unwrap().to_string().as_bytes()), Some(Heard::Plans));
}

#[test]
fn many_fleets_are_asked_for_some_at_a_time() {
    let mut subscriptions = after_plans();
    let wanted: BTreeSet<Namespace> = (0..150).map(|i| format!("fleet-{i}").parse().unwrap()).collect();
    let mut times = 0;
    while let Some(Next::Subscribe(filters)) = subscriptions.next(&wanted, Instant::now()) {
        let (marker, _) = subscriptions.answered(&vec![true; filters.len()], Instant::now());
        hears(&mut subscriptions, marker.unwrap().to_string().as_bytes());
        times += 1;
    }
    assert!(subscriptions.is_complete(&wanted));
    assert_eq!(times, 3);
}

/// Brokers other than Mosquitto deliver what they have retained behind a message that was sent later.
#[test]
fn what_is_retained_may_come_behind_the_marker() {
    let (mut subscriptions, wanted, now) = (after_plans(), fleets(&["a"]), Instant::now());
    let Some(Next::Subscribe(_)) = subscriptions.next(&wanted, now) else { panic!() };
    let (marker, _) = subscriptions.answered(&[true; 5], now);
    assert!(subscriptions.marked(marker.unwrap().to_string().as_bytes(), now));
    let late = now + QUIET / 2;
    subscriptions.retained(late);
    assert_eq!(subscriptions.quiet_at(), Some(late + QUIET));
    assert_eq!(subscriptions.quiet(now + QUIET), None, "more may follow");
    subscriptions.ask_quiet();
    assert_eq!(subscriptions.quiet_at(), None, "one question at a time");
    let late = now + QUIET;
    subscriptions.retained(late);
    assert_eq!(
        subscriptions.quiet_at(),
        Some(late + QUIET),
        "the answer to the question before comes too early"
    );
    assert_eq!(subscriptions.quiet(late), None);
    assert_eq!(subscriptions.next(&wanted, now + QUIET), None);
    assert_eq!(subscriptions.quiet(late + QUIET), Some(Heard::Fleets(vec!["a".parse().unwrap()])));
    assert!(subscriptions.is_complete(&wanted));
}

#[test]
fn a_fleet_of_which_more_comes_late_is_not_heard_until_it_is_quiet_for_twice_as_long_each_time() {
    let mut subscriptions = after_plans();
    let (wanted, now) = (fleets(&["a", "b"]), Instant::now());
    let (a, b): (Namespace, Namespace) = ("a".parse().unwrap(), "b".parse().unwrap());
    subscriptions.next(&wanted, now);
    let (marker, _) = subscriptions.answered(&[true; 10], now);
    assert!(!subscriptions.late(&a, now), "it is not heard yet");
    hears(&mut subscriptions, marker.unwrap().to_string().as_bytes());
    assert!(subscriptions.is_complete(&wanted));
    let mut at = now + QUIET * 10;
    for wait in [QUIET * 2, QUIET * 4, QUIET * 8, QUIET * 16, QUIET * 16] {
        assert!(subscriptions.late(&a, at) && !subscriptions.late(&a, at), "told once");
        assert!(!subscriptions.is_complete(&wanted) && subscriptions.is_complete(&fleets(&["b"])));
        assert_eq!(subscriptions.next(&wanted, at), None, "it is subscribed to already");
        // One more, a little later.
        at += QUIET;
        assert!(!subscriptions.late(&a, at));
        assert_eq!(subscriptions.quiet_at(), Some(at + wait));
        subscriptions.ask_quiet();
        assert_eq!(subscriptions.quiet_at(), None, "one question at a time");
        assert_eq!(subscriptions.quiet(at + wait / 2), None);
        assert_eq!(subscriptions.quiet_at(), Some(at + wait), "what came back was too early");
        at += wait;
        assert_eq!(subscriptions.quiet(at), Some(Heard::Fleets(vec![a.clone()])));
        assert!(subscriptions.is_complete(&wanted));
    }
    assert!(subscriptions.late(&b, at));
    assert!(
        matches!(subscriptions.next(&fleets(&["a"]), at), Some(Next::Unsubscribe(_))),
        "no longer wanted"
    );
    assert_eq!(subscriptions.quiet_at(), None);
}
