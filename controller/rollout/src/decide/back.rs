//! The rollback. It needs no verdict, no download and no approval.

use modelfleet_protocol::ids::DeviceId;

use super::run::{KEPT_MAX, MESSAGE_MAX, Next, Run};
use crate::decision::{Action, EventKind};
use crate::intent::VersionFact;
use crate::moves::Move;
use crate::reason::{Reason, ReasonCode};
use crate::rejection::Rejection;
use crate::state::{Cause, Phase, Rollback};
use crate::text::{clip, many, running, sentences, statistics};

/// Begins the way back.
pub(super) fn roll_back(run: &mut Run, cause: Cause, sentence: &str, by_person: bool) -> Next {
    let sentence = clip(sentence, KEPT_MAX);
    let version = run.state.version.clone();
    take_out_of_production(run, cause, &sentence);
    run.state.clock.freeze(run.now);
    run.state.figures.ended_at = None;
    (run.state.breach, run.state.alarm) = (None, None);
    let deadline = run.now.after_ms(run.stage().rollback_deadline_ms);
    let (started_at, overdue) = (run.now, false);
    let taking = match (cause, run.fleet.still_exposed, run.fleet.still_exposed_unreachable) {
        (Cause::NobodyCanRun, 0, 0) => format!("the rollout ends, and no device has {version}"),
        (_, 0, 0) => format!("rolling back {version}, which no device is known to run"),
        (_, 0, away) => {
            let away = many(away, "device");
            format!("rolling back {version} on {away}, none of which is reachable now")
        }
        (_, near, _) => format!("rolling back {version} on {}", many(near, "reachable device")),
    };
    run.state.rollback = Some(Rollback { cause, sentence, by_person, started_at, deadline, overdue });
    let message = concluded(run, &taking, "", "");
    run.go(Move::RollBack, Phase::RollingBack, EventKind::RollbackStarted, &message)
}

/// A way back as people read it: what is done and why, what became of the version and what to do next, the statistics
/// last. `then`: what else is known; `retry`: what follows after the end.
pub(super) fn concluded(run: &Run, done: &str, then: &str, retry: &str) -> String {
    let (state, version) = (&run.state, &run.state.version);
    let Some(Rollback { cause, sentence, .. }) = &state.rollback else { return sentences(&[done, then]) };
    let next = if cause.rejects() {
        format!("{version} is Rejected; register a new one")
    } else if matches!(cause, Cause::Undecided | Cause::Alarm) {
        format!("no harm was shown, so {version} is not Rejected")
    } else {
        String::new()
    };
    let stops = match run.intent.facts.prior_forbidden.as_str() {
        "" => String::new(),
        why => format!("the model stops on these devices, because {why}"),
    };
    let behind = state.harm.as_ref().filter(|_| cause.rejects()).map_or("", |harm| &harm.statistics);
    sentences(&[&format!("{done}: {sentence}"), &stops, &next, then, retry, &statistics(behind)])
}

/// What a way back has come to.
pub(super) fn took_back(run: &Run) -> String {
    match run.state.figures.exposed_devices {
        0 => format!("version {} reached no device", run.state.version),
        n => format!("rolled back {} on {}", run.state.version, many(n, "device")),
    }
}

/// What versions become. By the facts, never by the phase: a success whose status was not stored has left this version
/// in production, and a way back whose status was not stored may have done the half of this.
fn take_out_of_production(run: &mut Run, cause: Cause, sentence: &str) {
    let version = run.state.version.clone();
    let (before, stable) = (run.intent.facts.version.clone(), run.intent.facts.production.clone());
    // First what devices go back to, so that none is without a stable version.
    let prior = run.state.prior.clone();
    if stable != prior {
        run.change(Action::GiveBack { production: prior });
    }
    if cause.rejects() {
        let behind = run.state.harm.as_ref().map_or_else(String::new, |harm| harm.statistics.clone());
        if !matches!(before, VersionFact::Rejected { .. }) {
            run.state.rejection = Some(Rejection::OWN);
        }
        run.change(Action::MarkRejected {
            version,
            reason: cause.as_str(),
            message: sentences(&[sentence, &statistics(&behind)]),
            retry_token: run.state.retry_token.clone(),
        });
    }
}

/// Devices that ran the candidate when last heard.
struct Left {
    /// Connected ones.
    near: u64,
    /// Connected ones, as far as the broker remembers, that were not heard since the rollback began. They keep it from
    /// ending until it is late, and have not confirmed that they are back.
    mute: u64,
    /// Those that follow when they return.
    away: u64,
    /// Devices had it, and not one of them is known to be back.
    nobody_back: bool,
}

impl Left {
    fn of(run: &Run, late: bool) -> Left {
        let fleet = run.fleet;
        let mute = if late { fleet.still_exposed_mute.min(fleet.still_exposed) } else { 0 };
        let had = run.state.figures.exposed_devices;
        let away = fleet.out_of_reach(had);
        let nobody_back = away > 0 && fleet.back().saturating_add(fleet.unmarked) == 0;
        Left { near: fleet.still_exposed - mute, mute, away, nobody_back }
    }
}

impl Left {
    /// No device is known to be back, and none is there to go back.
    fn is_out_of_reach(&self) -> bool {
        self.nobody_back && self.near == 0
    }

    fn none_back(&self) -> String {
        format!(
            "no device has confirmed the rollback, and {} that had the version cannot be reached",
            many(self.away, "device")
        )
    }
}

/// What people are told of connected devices that have not confirmed going back, and what to do.
pub(super) fn unconfirmed(run: &Run, count: u64) -> String {
    let devices = many(count, "connected device");
    let (have, agents) = if count == 1 { ("has", "its agent") } else { ("have", "their agents") };
    let names = named(run, count);
    format!("{devices} {have} not confirmed the rollback{names}; check {agents}")
}

/// Some of `count` devices by name, in brackets.
fn named(run: &Run, count: u64) -> String {
    let names: Vec<&str> = run.intent.facts.unconfirmed.iter().map(DeviceId::as_str).collect();
    match count.saturating_sub(names.len() as u64) {
        _ if names.is_empty() => String::new(),
        0 => format!(" ({})", names.join(", ")),
        more => format!(" ({} and {more} more)", names.join(", ")),
    }
}

/// What people are told of a way back that took longer than it may.
fn late_text(run: &Run, left: &Left, took: &str, sentence: &str) -> String {
    if left.is_out_of_reach() {
        let none_back = format!("after {took}, {}", left.none_back());
        return sentences(&[
            &none_back,
            "they go back when they reconnect; check the broker and the network",
            sentence,
        ]);
    }
    let (devices, mute) = (many(left.near, "reachable device"), left.mute);
    let names = named(run, left.near.saturating_add(mute));
    let run_it = if left.near == 1 { "runs" } else { "run" };
    let these = if left.near.saturating_add(mute) == 1 { "this device" } else { "these devices" };
    let more = [(mute, "silent"), (left.away, "unreachable")].map(|(count, how)| match count {
        0 => String::new(),
        1 => format!(", and 1 more is {how}"),
        n => format!(", and {n} more are {how}"),
    });
    let more = more.concat();
    sentences(&[
        &format!("{devices} still {run_it} {} after {took}{more}", run.state.version),
        &format!("check {these}{names}; the rollback continues"),
        sentence,
    ])
}

pub(super) fn step(run: &mut Run) -> Next {
    let now = run.now;
    let Some(rollback) = &mut run.state.rollback else {
        // Unreachable: a way back has a record, the state is repaired before.
        return Next::Wait(vec![]);
    };
    let late = now >= rollback.deadline;
    let first_late = late && !rollback.overdue;
    rollback.overdue |= late;
    let (deadline, took) = (rollback.deadline, running(now.since_ms(rollback.started_at)));
    let sentence = rollback.sentence.clone();
    let blind = run.blind();
    let left = Left::of(run, late);
    // An overdue rollback does not keep the next rollout waiting; once the next is under way, devices follow that one's plan.
    let replaced = late && run.intent.facts.queue.as_ref().is_some_and(|queue| queue.active);
    if replaced || (blind.is_none() && left.near == 0 && !left.nobody_back) {
        if first_late && left.mute > 0 {
            let text = sentences(&[&format!("after {took}, {}", unconfirmed(run, left.mute)), &sentence]);
            run.tell(EventKind::RollbackOverdue, &text);
        }
        return finish(run, &left, &took);
    }
    let reason = if late {
        let text = late_text(run, &left, &took, &sentence);
        if first_late {
            run.tell(EventKind::RollbackOverdue, &text);
        }
        Reason::new(ReasonCode::RollbackOverdue, clip(&text, MESSAGE_MAX))
    } else {
        let time = running(deadline.since_ms(now));
        let version = &run.state.version;
        // Which devices are reachable is unknown while the broker is away.
        let devices = many(left.near, if blind.is_some() { "device" } else { "reachable device" });
        let away = match left.away {
            0 => String::new(),
            n => format!(" and {n} unreachable"),
        };
        let waits = blind.as_ref().map_or("", |reason| reason.message.as_str());
        let text = match left.is_out_of_reach() {
            true => sentences(&[&format!("{}; {time} left: {sentence}", left.none_back()), waits]),
            false => {
                let from = match (left.near, left.away) {
                    (0, 0) => ", which no device is known to run".to_owned(),
                    _ => format!(" on {devices}{away}"),
                };
                sentences(&[&format!("rolling back {version}{from}, {time} left: {sentence}"), waits])
            }
        };
        Reason::until(ReasonCode::RollingBack, clip(&text, MESSAGE_MAX), Some(deadline))
    };
    Next::Wait(std::iter::once(reason).chain(blind).collect())
}

/// Devices that cannot be reached, and what becomes of them.
pub(super) fn follows(away: u64) -> String {
    match away {
        0 => String::new(),
        n => {
            let go = if n == 1 { "goes back when it reconnects" } else { "go back when they reconnect" };
            format!("{} {go}", many(n, "unreachable device"))
        }
    }
}

fn finish(run: &mut Run, left: &Left, took: &str) -> Next {
    let figures = &mut run.state.figures;
    if left.near == 0 && left.mute == 0 && left.away == 0 {
        figures.safe_at = Some(run.now);
    }
    figures.to_follow = left.away.saturating_add(left.mute).saturating_add(left.near);
    figures.ended_at = Some(run.now);
    let left_over = match left.near {
        0 if left.mute > 0 => unconfirmed(run, left.mute),
        0 => String::new(),
        1 => "1 reachable device still ran the version when the next rollout began".to_owned(),
        n => format!("{n} reachable devices still ran the version when the next rollout began"),
    };
    let follow = [left_over, follows(left.away)].join(". ");
    let took_back = match run.state.figures.exposed_devices {
        0 => took_back(run),
        _ => format!("{} in {took}", took_back(run)),
    };
    let message = concluded(run, &took_back, follow.trim_matches([' ', '.']), "");
    run.go(Move::Finish, Phase::RolledBack, EventKind::RolledBack, &message)
}
