//! A stage: drawn, watched, and left when nothing is missing.

use modelfleet_protocol::draw::Target;
use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::time::Time;

use super::active::{pause, resume};
use super::back;
use super::run::{MESSAGE_MAX, Next, Run};
use crate::clock::StageClock;
use crate::decision::{Action, EventKind};
use crate::evidence::{Coverage, Verdict};
use crate::moves::Move;
use crate::policy::{Approval, OnUndecided};
use crate::reason::{Reason, ReasonCode};
use crate::state::{Cause, Drawn, Passed, PassedStage, PauseCause, Phase};
use crate::text::{clip, many, percent, running, sentences, span};
use crate::view::salt;

/// A draw that the fleet's view does not show after this time is asked for again.
const REDRAW_MS: u64 = 60_000;
/// A stage that no device matches keeps a waiting rollout from its turn for so long.
const STEP_ASIDE_MS: u64 = 10 * 60_000;
/// How soon it is looked whether the draw is done.
const DRAW_LOOK_MS: u64 = 1_000;

pub(super) fn step(run: &mut Run) -> Next {
    if !run.state.is_opened() {
        return match run.policy.stage(0).approval {
            Approval::Required { timeout_ms } => ask(run, timeout_ms),
            Approval::Automatic => open(run, 0, Passed::Proven),
        };
    }
    if let Some(reason) = drawing(run) {
        run.state.clock.freeze(run.now);
        return if reason.code == ReasonCode::NobodyMatches { nobody(run) } else { Next::wait(reason) };
    }
    // One with trouble of its own may run it when it is well.
    if run.fleet.incompatible > 0 && run.fleet.eligible == 0 && run.fleet.own_trouble == 0 {
        let sentence = nobody_can_run(run, run.fleet.incompatible);
        return back::roll_back(run, Cause::NobodyCanRun, &sentence, false);
    }
    run.state.clock.run(run.now);
    let missing = missing(run);
    if missing.is_empty() { ready(run) } else { unready(run, missing) }
}

/// Failed devices of this attempt, quarantined ones included: quarantine must not hide them from the limit. Those that a user
/// has set aside are not among them.
pub(super) fn failed(run: &Run) -> u64 {
    run.fleet.failed.saturating_add(set_aside_before(run))
}

/// Devices that were given the version in this attempt, quarantined ones included: what the failed ones are a part of.
pub(super) fn drawn(run: &Run) -> u64 {
    run.fleet.members.saturating_add(set_aside_before(run))
}

/// Those that this decision sets aside are members still.
fn set_aside_before(run: &Run) -> u64 {
    let counts = |device: &&DeviceId| !run.policy.sets_aside(device);
    (run.state.quarantined.iter().filter(counts).count() as u64).saturating_sub(run.set_aside_now)
}

/// Opens a stage; `how` says how the current one was left, if there is one.
pub(super) fn open(run: &mut Run, index: u32, how: Passed) -> Next {
    let index = index.min(run.policy.last_stage());
    let left = leave(run, how);
    let state = &mut run.state;
    state.stage = index;
    state.stage_opened_at = Some(run.now);
    state.clock = StageClock::default();
    state.approval_asked_at = None;
    draw(run);
    let stage = run.stage();
    let place = format!("stage {} ({} of {}) started", stage.name, index + 1, run.policy.stage_count());
    let message = sentences(&[&place, &left]);
    run.go(Move::OpenStage, Phase::Progressing, EventKind::StageOpened, &message)
}

/// Books the current stage as passed; says so.
fn leave(run: &mut Run, how: Passed) -> String {
    let Some(opened_at) = run.state.stage_opened_at else { return String::new() };
    let name = run.stage().name.clone();
    if run.is_current() {
        run.state.spent_ppb = run.state.spent_ppb.saturating_add(run.evidence.spent_ppb);
    }
    let said = match how {
        Passed::OnExposure => format!("stage {name} passed on exposure: {}", run.evidence.sentence),
        Passed::Proven => format!("stage {name} is healthy: {}", run.evidence.sentence),
        Passed::Approved if run.evidence.verdict == Verdict::Exposed => {
            format!("stage {name} passed on exposure and is approved: {}", run.evidence.sentence)
        }
        Passed::Approved => format!("stage {name} is healthy and approved: {}", run.evidence.sentence),
        Passed::ByHand => format!("stage {name} was ended by spec.promote before it had a verdict"),
        Passed::OnTrust => {
            format!(
                "stage {name} had no verdict at its deadline, and the rollout continues because onUndecided is Promote"
            )
        }
    };
    run.state.passed.push(PassedStage { name, opened_at, passed_at: run.now, how });
    said
}

/// Why the rollout ends: these devices are all that the stage has, and none of them can run the version.
pub(super) fn nobody_can_run(run: &Run, devices: u64) -> String {
    let (name, version) = (&run.stage().name, &run.state.version);
    let none = match devices {
        1 => "the only device".to_owned(),
        n => format!("none of the {n} devices"),
    };
    let can = if devices == 1 { "cannot run" } else { "can run" };
    let why = match run.intent.facts.unable_why.as_str() {
        "" => String::new(),
        why => format!(": {why}"),
    };
    format!("{none} of stage {name} {can} version {version}{why}; register a build that they can run")
}

/// Asks the shell for the draw.
fn draw(run: &mut Run) {
    let index = run.state.stage;
    let share = run.policy.share(index);
    let set_aside = run.policy.set_aside_hash();
    run.state.drawn = Some(Drawn { stage: index, target: share.devices, at: run.now, set_aside });
    run.actions.push(Action::OpenStage { index, salt: salt(run.policy, &run.state), share });
}

/// Why the stage has no devices yet.
fn drawing(run: &mut Run) -> Option<Reason> {
    let (stage, name) = (run.state.stage, run.stage().name.clone());
    let Some(drawn) = run.state.drawn.filter(|d| d.stage == stage && d.target == run.policy.target(stage))
    else {
        draw(run);
        let text = format!("Selecting {} for stage {name}, because its size was changed.", size(run));
        return Some(Reason::new(ReasonCode::AwaitingDraw, text));
    };
    if drawn.set_aside != run.policy.set_aside_hash() {
        // Others take the place of those that were set aside; no device that was drawn leaves for it.
        draw(run);
        let text = format!("Selecting {} for stage {name}, because spec.setAside was changed.", size(run));
        return Some(Reason::new(ReasonCode::AwaitingDraw, text));
    }
    let seen = run.view_is_current();
    if seen && run.fleet.members > 0 {
        return None;
    }
    if seen && run.fleet.matching == 0 {
        return Some(Reason::new(ReasonCode::NobodyMatches, String::new()));
    }
    if run.now >= drawn.at.after_ms(REDRAW_MS) {
        draw(run);
    }
    let text = format!("Selecting {} for stage {name}.", size(run));
    Some(Reason::until(ReasonCode::AwaitingDraw, text, Some(run.now.after_ms(DRAW_LOOK_MS))))
}

/// No device matches the stage's selector, and none has the candidate: it waits until the stage's deadline, and for
/// [`STEP_ASIDE_MS`] while others wait for their turn.
fn nobody(run: &mut Run) -> Next {
    let stage = run.stage();
    let name = &stage.name;
    let whole_ms = stage.bake_ms.saturating_add(stage.max_wait_ms);
    let waits = run.intent.facts.others_wait;
    let most_ms = if waits { whole_ms.min(STEP_ASIDE_MS) } else { whole_ms };
    let deadline = run.state.stage_opened_at.unwrap_or(run.now).after_ms(most_ms);
    if run.now >= deadline {
        let turn = if waits { ", and another rollout waits" } else { "" };
        let sentence = format!(
            "no device matched the selector of stage {name} for {}{turn}. Label devices or correct the selector",
            span(most_ms)
        );
        return back::roll_back(run, Cause::Undecided, &sentence, false);
    }
    let left = running(deadline.since_ms(run.now));
    let then = if waits { "ends so that the next rollout can begin" } else { "ends" };
    let text = format!(
        "No device matches the selector of stage {name}. Label devices, or correct the selector. In {left} the rollout \
         {then}."
    );
    Next::wait(Reason::until(ReasonCode::NobodyMatches, clip(&text, MESSAGE_MAX), Some(deadline)))
}

/// How many devices the stage takes.
fn size(run: &Run) -> String {
    match run.policy.target(run.state.stage) {
        Target::Count(count) => many(count, "device"),
        Target::Ppm(1_000_000) | Target::AllBut(0) => "all devices".to_owned(),
        Target::Ppm(share) if !run.stage().floors.is_empty() => {
            format!("{} of the devices, or as many as it takes to show harm,", percent(share))
        }
        Target::Ppm(share) => format!("{} of the devices", percent(share)),
        Target::AllBut(share) => format!("all devices but {}", percent(share)),
    }
}

/// What the stage still lacks, the most important first; nothing: it may be left.
pub(super) fn missing(run: &Run) -> Vec<Reason> {
    let (stage, fleet) = (run.stage(), run.fleet);
    let (name, limits) = (&stage.name, &stage.limits);
    let deadline = run.state.clock.reaches(stage.bake_ms.saturating_add(stage.max_wait_ms));
    let left = until_deadline(run, deadline);
    let mut missing = Vec::new();
    let mut lacks = |code, text: String, until| {
        let text = sentences(&[&text, if code == ReasonCode::Baking { "" } else { &left }]);
        missing.push(Reason::until(code, clip(&text, MESSAGE_MAX), until));
    };
    let most = limits.max_unreachable.of(fleet.eligible);
    if fleet.unreachable > most {
        let of = many(fleet.eligible, "device");
        let text =
            format!("stage {name}: {} of {of} are unreachable, at most {most} may be", fleet.unreachable);
        lacks(ReasonCode::TooManyUnreachable, text, deadline);
    }
    if fleet.confirmed < limits.min_devices {
        let short = limits.min_devices - fleet.confirmed;
        let counts = format!(
            "stage {name} waits for {} to confirm version {} ({} needed, {} selected, {} running it{})",
            many(short, "more device"),
            run.state.version,
            limits.min_devices,
            fleet.members,
            fleet.activated,
            troubles(run)
        );
        match unasked(run) {
            Some(unasked) => lacks(ReasonCode::AwaitingRequests, format!("{counts}: {unasked}"), deadline),
            None => lacks(ReasonCode::AwaitingDevices, counts, deadline),
        }
    }
    let watched_ms = run.state.clock.elapsed_ms(run.now);
    // While devices without the version suffer, waiting is what does harm.
    let cured = run.is_current() && run.evidence.cures && run.evidence.verdict.passes();
    if watched_ms < stage.bake_ms && !cured {
        let (bake, rest) = (span(stage.bake_ms), running(stage.bake_ms - watched_ms));
        let text = format!("watching stage {name} for {bake}, {rest} left");
        lacks(ReasonCode::Baking, text, run.state.clock.reaches(stage.bake_ms));
    }
    if !run.is_current() {
        lacks(ReasonCode::AwaitingReports, format!("stage {name} has not been judged yet"), deadline);
        return missing;
    }
    if let Coverage::Missing(what) = &run.evidence.coverage {
        lacks(ReasonCode::AwaitingReports, format!("stage {name} waits for reports: {what}"), deadline);
    }
    if !run.evidence.verdict.passes() {
        let look = if run.evidence.final_look { " after the last planned look" } else { " yet" };
        let text = format!("stage {name} has no verdict{look}: {}", run.evidence.sentence);
        lacks(ReasonCode::AwaitingVerdict, text, deadline);
    }
    missing
}

/// How many devices cannot confirm for lack of requests, and what to do; `None`: none.
fn unasked(run: &Run) -> Option<String> {
    let (unasked, unproven) = (run.fleet.unasked, run.fleet.unproven);
    let probation = &run.policy.parts().probation;
    let (time, requests) = (span(probation.timeout_ms), many(probation.min_predictions, "request"));
    let waits = match unasked {
        0 => String::new(),
        n => {
            let wait = if n == 1 { "waits" } else { "wait" };
            format!("{} got fewer than {requests} in {time} and {wait} for more", many(n, "device"))
        }
    };
    let back = match unproven {
        0 => String::new(),
        n => format!("{} went back after {time} with too few requests", many(n, "device")),
    };
    let both = if unasked > 0 && unproven > 0 { ", " } else { "" };
    (unasked > 0 || unproven > 0).then(|| {
        format!("{waits}{both}{back}; send them requests, lower probation.minPredictions or raise probation.timeout")
    })
}

/// Members that failed, cannot run the version, or have trouble of their own, where there are any.
fn troubles(run: &Run) -> String {
    let counts = [
        (failed(run), "failed"),
        (run.fleet.incompatible, "cannot run it"),
        (run.fleet.own_trouble, "cannot take it for trouble of their own, such as a full disk"),
    ];
    let told = counts.iter().filter(|(count, _)| *count > 0);
    told.map(|(count, what)| format!(", {count} {what}")).collect()
}

/// What a stage lacked at its deadline, the most important.
fn lacked(run: &Run, missing: &[Reason]) -> String {
    match missing.first() {
        Some(reason) if reason.code == ReasonCode::AwaitingVerdict => run.evidence.sentence.clone(),
        Some(reason) => reason.message.clone(),
        None => String::new(),
    }
}

/// How long is left, and what happens then.
fn until_deadline(run: &Run, deadline: Option<Time>) -> String {
    let then = match run.policy.parts().on_undecided {
        OnUndecided::Hold => "then the rollout pauses",
        OnUndecided::Promote => "then the rollout continues without a verdict",
        OnUndecided::RollBack => "then the version is rolled back",
    };
    match deadline.map(|d| d.since_ms(run.now)) {
        Some(left_ms) if left_ms > 0 => format!("{} left, {then}", running(left_ms)),
        _ => String::new(),
    }
}

fn ready(run: &mut Run) -> Next {
    if let Phase::Paused(PauseCause::Undecided) = run.state.phase {
        return resume(run, "The rollout continues: the stage has a verdict now.");
    }
    let exposed = run.evidence.verdict == Verdict::Exposed;
    pass(run, if exposed { Passed::OnExposure } else { Passed::Proven })
}

/// Leaves the stage: to the next one, to the person who must agree to it, or to production.
fn pass(run: &mut Run, how: Passed) -> Next {
    let next = run.state.next_stage();
    if next > run.policy.last_stage() {
        return succeed(run, how);
    }
    match run.policy.stage(next).approval {
        Approval::Required { timeout_ms } => ask(run, timeout_ms),
        Approval::Automatic => open(run, next, how),
    }
}

fn unready(run: &mut Run, missing: Vec<Reason>) -> Next {
    let next = run.state.next_stage();
    let asked =
        matches!(run.state.phase, Phase::AwaitingApproval | Phase::Paused(PauseCause::ApprovalTimedOut));
    if asked {
        // Who was asked stays asked, also when the verdict wavers.
        return match run.policy.stage(next).approval {
            Approval::Required { timeout_ms } if next <= run.policy.last_stage() => ask(run, timeout_ms),
            _ => resume(run, "The rollout continues: no approval is required any more."),
        };
    }
    let stage = run.stage();
    let over = run.state.clock.elapsed_ms(run.now) >= stage.bake_ms.saturating_add(stage.max_wait_ms);
    let held = run.state.phase == Phase::Paused(PauseCause::Undecided);
    match run.policy.parts().on_undecided {
        _ if !over && held => resume(run, "The rollout continues: the spec allows more time."),
        _ if !over => Next::Wait(missing),
        OnUndecided::Hold => hold(run, missing),
        OnUndecided::Promote if held => resume(run, "The rollout continues: onUndecided is Promote now."),
        OnUndecided::Promote => pass(run, Passed::OnTrust),
        OnUndecided::RollBack => {
            let why = lacked(run, &missing);
            let sentence = format!(
                "stage {} had no verdict at its deadline ({})",
                run.stage().name,
                why.trim_end_matches('.')
            );
            back::roll_back(run, Cause::Undecided, &sentence, false)
        }
    }
}

fn hold(run: &mut Run, missing: Vec<Reason>) -> Next {
    let why = lacked(run, &missing);
    let way_on = match run.state.next_stage() {
        next if next <= run.policy.last_stage() => format!("promote: {}", run.policy.stage(next).name),
        _ => "onUndecided: Promote".to_owned(),
    };
    let message = sentences(&[
        &format!("paused: stage {} had no verdict at its deadline", run.stage().name),
        &format!("set {way_on} to continue, or abort: true to roll back"),
        &why,
    ]);
    match pause(run, PauseCause::Undecided, &message) {
        Next::Wait(mut reasons) => {
            reasons.extend(missing);
            Next::Wait(reasons)
        }
        Next::Again => Next::Again,
    }
}

/// Asks a person to agree to the next stage, until the time for it is over.
fn ask(run: &mut Run, timeout_ms: Option<u64>) -> Next {
    let next = run.policy.stage(run.state.next_stage()).name.clone();
    let asked_at = *run.state.approval_asked_at.get_or_insert(run.now);
    let deadline = timeout_ms.map(|ms| asked_at.after_ms(ms));
    let timed_out = run.state.phase == Phase::Paused(PauseCause::ApprovalTimedOut);
    if let Some(deadline) = deadline.filter(|d| *d <= run.now) {
        let waited = span(deadline.since_ms(asked_at));
        let message = format!(
            "Paused: stage {next} was not approved within {waited}. Set promote: {next} to continue, or abort: true to \
             roll back."
        );
        return pause(run, PauseCause::ApprovalTimedOut, &message);
    }
    let left = deadline
        .map_or(String::new(), |d| format!("{} left, then the rollout pauses", running(d.since_ms(run.now))));
    let message =
        sentences(&[&format!("stage {next} needs your approval: set promote: {next} to start it"), &left]);
    match run.state.phase {
        Phase::AwaitingApproval => {
            Next::wait(Reason::until(ReasonCode::AwaitingApproval, clip(&message, MESSAGE_MAX), deadline))
        }
        Phase::Paused(_) => resume(
            run,
            if timed_out {
                "The rollout continues: there is more time to approve."
            } else {
                "The rollout asks for approval again."
            },
        ),
        _ => run.go(Move::Ask, Phase::AwaitingApproval, EventKind::ApprovalRequested, &message),
    }
}

fn succeed(run: &mut Run, how: Passed) -> Next {
    if run.state.phase != Phase::Progressing {
        return resume(run, "The rollout continues to production.");
    }
    let left = leave(run, how);
    let version = run.state.version.clone();
    run.state.clock.freeze(run.now);
    run.state.figures.ended_at = Some(run.now);
    let production = run.state.prior.with(run.policy.scope(), &version);
    run.change(Action::Promote { production });
    let on = many(run.fleet.confirmed, "device");
    let produced = format!("version {version} is in production{}, confirmed on {on}", run.whom());
    let message = sentences(&[&produced, &left]);
    run.go(Move::Succeed, Phase::Succeeded, EventKind::Succeeded, &message)
}
