//! Up to where event sinks are told, and the condition that says which of them take nothing. They decide nothing.

use modelfleet_crds::RolloutStatus;
use modelfleet_crds::rollout::status::TellingProgress;
use modelfleet_protocol::time::Time;

use super::bounded::bounded;
use super::conditions::{NewCondition, to_fields};

/// Some event sinks take no events.
pub const EVENTS_NOT_DELIVERED: &str = "EventsNotDelivered";

/// What is wrong with an event sink, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SinkTrouble {
    /// It has failed several times in a row, and is tried seldom.
    Dead,
    /// So many events wait for it that the oldest are given up.
    Full,
    /// It said that it is gone, and no more events are sent to it.
    Gone,
}

/// The status with what is known of the event sinks, named as people may see them.
#[must_use]
pub fn with_event_sinks(
    mut status: RolloutStatus,
    progress: Vec<TellingProgress>,
    troubles: &[(String, SinkTrouble)],
    before: Option<&RolloutStatus>,
    now: Time,
) -> RolloutStatus {
    status.telling = progress;
    let old = before.map_or(&[][..], |before| &before.conditions);
    let told = condition(troubles).map(|told| to_fields(vec![told], old, status.observed_generation, now));
    status.conditions.extend(told.into_iter().flatten());
    bounded(status)
}

fn condition(troubles: &[(String, SinkTrouble)]) -> Option<NewCondition> {
    let worst = troubles.iter().map(|(_, trouble)| *trouble).max()?;
    let mut named: Vec<&str> =
        troubles.iter().filter(|(_, t)| *t == worst).map(|(sink, _)| sink.as_str()).collect();
    named.sort_unstable();
    let named = named.join(", ");
    // Without counts, which would be written with every try.
    let (reason, what) = match worst {
        SinkTrouble::Dead => {
            let reason = "EventSinkDead";
            (
                reason,
                "took no event in the last five tries or more. Events wait, and are sent again at least every 15 minutes",
            )
        }
        SinkTrouble::Full => {
            let reason = "EventSinkFull";
            (reason, "takes events more slowly than they come, so the oldest of more than 1024 are given up")
        }
        SinkTrouble::Gone => {
            let reason = "EventSinkGone";
            (reason, "answered 410, which means that it is gone, so no more events are sent to it")
        }
    };
    let message = format!(
        "{named} {what}. Look for the sink in the controller's log, and compare its address and its key."
    );
    Some(NewCondition { kind: EVENTS_NOT_DELIVERED, holds: true, reason: reason.to_owned(), message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_trouble_is_told_and_nothing_when_all_is_well() {
        let of = |troubles: &[(&str, SinkTrouble)]| {
            let troubles: Vec<_> = troubles.iter().map(|(sink, t)| ((*sink).to_owned(), *t)).collect();
            with_event_sinks(RolloutStatus::default(), Vec::new(), &troubles, None, Time(0)).conditions
        };
        assert!(of(&[]).is_empty());
        let told = of(&[("b", SinkTrouble::Gone), ("c", SinkTrouble::Dead), ("a", SinkTrouble::Gone)]);
        assert_eq!((told.len(), told[0].reason.as_str()), (1, "EventSinkGone"));
        assert!(told[0].message.starts_with("a, b answered 410"), "{}", told[0].message);
        assert_eq!(told[0].type_, EVENTS_NOT_DELIVERED);
    }

    #[test]
    fn a_trouble_that_lasts_keeps_the_moment_when_it_began() {
        let dead = [("a".to_owned(), SinkTrouble::Dead)];
        let first = with_event_sinks(RolloutStatus::default(), Vec::new(), &dead, None, Time(5_000));
        let later = with_event_sinks(RolloutStatus::default(), Vec::new(), &dead, Some(&first), Time(90_000));
        assert_eq!(first.conditions, later.conditions);
    }
}
