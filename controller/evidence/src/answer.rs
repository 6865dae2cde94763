//! The judge's answer in the core's words.

use std::collections::BTreeSet;

use modelfleet_judge::{Advice, Assessment, HardAction, Looks, Verdict as Judged};
use modelfleet_protocol::state::FailureCode;
use modelfleet_rollout::{Coverage, Evidence, HardStop, State, Verdict};

use crate::{Arms, Names};

/// What a shell adds to the judge's sentences.
pub struct Wording<'a> {
    /// The labels that the bad devices share, as a sentence; empty: none.
    pub shared: &'a str,
    /// The command that sets aside the few devices that hold the stage up, where the sentence names them.
    pub set_aside: Option<String>,
    /// What the devices in the arms are called.
    pub names: Names<'a>,
}

/// What the core may believe of the current stage.
#[must_use]
pub fn evidence(
    state: &State,
    arms: &Arms,
    looks: Looks,
    answer: &Assessment,
    wording: &Wording<'_>,
) -> Evidence {
    let pauses = answer.advice == Advice::Pause;
    let mut sentence = with_labels(&answer.sentence, wording.shared);
    if let (Advice::Wait, Some(command)) = (answer.advice, wording.set_aside.as_deref()) {
        sentence = format!("{sentence}. To go on without these devices: {command}");
    }
    // Shown harm and what pauses go before; a stage that has its verdict needs its sites no more.
    let cut_off = arms.cut_off();
    let waits = answer.advice == Advice::Wait && cut_off.all.silent_canaries > 0;
    let mut away = waits.then(|| cut_off.sentence(arms.subjects(), wording.names.labels));
    if !cut_off.holds_stage() {
        sentence.extend(away.take().map(|away| format!("; {away}")));
    }
    Evidence {
        attempt: state.attempt,
        stage: state.stage,
        verdict: verdict(answer.advice, answer.verdict),
        incident: answer.incident.as_ref().filter(|_| pauses).map(|i| i.sentence.clone()).or(away),
        pause: (pauses && answer.incident.is_none()).then(|| sentence.clone()),
        hard_stop: hard_stop(arms, answer, wording),
        coverage: match answer.coverage.met {
            true => Coverage::Met,
            false => Coverage::Missing(answer.coverage.sentence.clone()),
        },
        cures: answer.early,
        final_look: looks.is_final(),
        sentence,
        statistics: answer.statistics.clone(),
        spent_ppb: answer.spent_ppb,
        alarm: None,
    }
}

/// The verdict that follows from the judge's advice: what pauses a rollout says neither good nor bad of the candidate.
#[must_use]
pub fn verdict(advice: Advice, judged: Judged) -> Verdict {
    match advice {
        Advice::RollBack => Verdict::Degraded,
        Advice::Advance if judged == Judged::Exposed => Verdict::Exposed,
        Advice::Advance => Verdict::Healthy,
        Advice::Wait | Advice::Pause => Verdict::Undecided,
    }
}

fn hard_stop(arms: &Arms, answer: &Assessment, wording: &Wording<'_>) -> Option<HardStop> {
    let stop = answer.hard_stop.as_ref()?;
    let reason = named(arms.codes(), &stop.sentence);
    Some(match &stop.action {
        HardAction::RollBackAll => HardStop::RollBackAll {
            reason: with_labels(&reason, wording.shared),
            statistics: stop.statistics.clone(),
        },
        HardAction::Quarantine(numbers) => HardStop::Quarantine {
            devices: arms.to_set_aside(numbers).filter_map(wording.names.id).collect(),
            reason,
        },
    })
}

/// A sentence, and the labels that the bad devices share.
fn with_labels(sentence: &str, shared: &str) -> String {
    if shared.is_empty() { sentence.to_owned() } else { format!("{sentence}. {shared}") }
}

/// The judge knows failures by number; people know them by name.
fn named(codes: &BTreeSet<FailureCode>, sentence: &str) -> String {
    let name = |text: String, code: &FailureCode| {
        text.replace(&format!("code {} on", *code as u16), &format!("{code:?} on"))
    };
    codes.iter().fold(sentence.to_owned(), name)
}
