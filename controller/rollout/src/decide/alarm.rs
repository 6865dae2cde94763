//! After success: the alarm of the watch.

use super::back;
use super::run::{Next, Run};
use crate::decision::EventKind;
use crate::evidence::AlarmAction;
use crate::state::{Breach, Cause, LOG_MESSAGE_MAX};
use crate::text::{clip, sentences};

/// The way back, where the spec asks for it.
pub(super) fn goes_back(run: &mut Run) -> Option<Next> {
    if !run.is_current() || run.blind().is_some() {
        return None;
    }
    let alarm = run.evidence.alarm.as_ref().filter(|alarm| alarm.action == AlarmAction::RollBack)?;
    let sentence = format!("the watch has raised an alarm: {}", alarm.sentence);
    Some(back::roll_back(run, Cause::Alarm, &sentence, false))
}

/// Tells once that there is an alarm, and once that it has cleared.
pub(super) fn note_alarm(run: &mut Run) {
    let ours = run.intent.facts.production.is_whole(run.policy.scope(), &run.state.version);
    if !ours {
        run.state.alarm = None; // Another version is in production by now.
    }
    if !ours || !run.is_current() || run.blind().is_some() {
        return;
    }
    match (&run.evidence.alarm, run.state.alarm.is_some()) {
        (Some(alarm), false) => {
            run.state.alarm = Some(Breach { at: run.now, sentence: clip(&alarm.sentence, LOG_MESSAGE_MAX) });
            let kind = match alarm.action {
                AlarmAction::Observe => return,
                AlarmAction::Retrain => EventKind::RetrainingWanted,
                AlarmAction::Notify | AlarmAction::Pause | AlarmAction::RollBack => EventKind::AlarmRaised,
            };
            let version = &run.state.version;
            let told = sentences(&[&format!("version {version}: {}", alarm.sentence), next(alarm.action)]);
            run.tell(kind, &told);
        }
        (None, true) => {
            let told = was_told(run);
            run.state.alarm = None;
            if !told {
                return;
            }
            let text = format!("The alarm about version {} has cleared.", run.state.version);
            run.tell(EventKind::AlarmCleared, &text);
        }
        (Some(_), true) | (None, false) => {}
    }
}

/// Whether people were told of the alarm that there was. Statuses keep whole seconds.
fn was_told(run: &Run) -> bool {
    let since = run.state.alarm.as_ref().map(|alarm| alarm.at.0 / 1_000);
    let told = run.state.log.iter().filter(|entry| Some(entry.at.0 / 1_000) == since);
    told.into_iter().any(|entry| matches!(entry.kind, EventKind::AlarmRaised | EventKind::RetrainingWanted))
}

/// What the rollout says while no harm and no broken objective is known.
pub(super) fn in_production(run: &Run) -> String {
    let well = format!("Version {} is in production{}.", run.state.version, run.whom());
    let Some(alarm) = &run.state.alarm else { return well };
    let action = run.evidence.alarm.as_ref().map_or(AlarmAction::Observe, |alarm| alarm.action);
    let text = format!("version {} is in production, and the watch has an alarm", run.state.version);
    sentences(&[&format!("{text}: {}", alarm.sentence), next(action)])
}

/// What follows from an alarm, and what to do.
fn next(action: AlarmAction) -> &'static str {
    match action {
        AlarmAction::Observe | AlarmAction::Notify | AlarmAction::RollBack => {
            "it stays in production unless you act: look at these devices, or set abort: true to go back"
        }
        AlarmAction::Pause => {
            "no other rollout of the model starts until the alarm has cleared; to start one all the same, set \
             watch.onAlarm: Notify"
        }
        AlarmAction::Retrain => "a version that is trained on newer data is wanted",
    }
}
