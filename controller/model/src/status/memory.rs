//! The part of a rollout's state that decides, as one text in the status, and back.
//!
//! The status shows most of it to people in fields of their own; those are written, never read. So nothing that
//! decides depends on how a person reads or edits a sentence. The decision log and the way back alone live in fields of
//! their own, because they are long.

use std::collections::VecDeque;

use modelfleet_crds::rollout::status::DecisionRecord;
use modelfleet_protocol::draw::Target;
use modelfleet_protocol::ids::DeviceId;
use modelfleet_protocol::selector::Selector;
use modelfleet_protocol::time::Time;
use modelfleet_rollout::{
    Breach, Cause, Drawn, EventKind, Figures, Harm, LogEntry, Passed, PassedStage, PauseCause, Phase,
    Production, Proven, Rejection, Rollback, StageClock, State, clip,
};
use serde::{Deserialize, Serialize};

use super::time::from_k8s;

/// First word of the text: the version of its form.
const FORM: &str = "modelfleet1 ";

/// Most characters that the field takes.
const TEXT_MAX: usize = 8_192;
/// Characters of a sentence that are tried, until the text fits.
const SENTENCES_MAX: [usize; 4] = [usize::MAX, 200, 60, 0];
/// Stands for a judge's text that has no room; it is none.
const UNREADABLE: &str = "unreadable";

/// What the text holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// How far the rollout got; its log is not in the text.
    pub state: State,
    /// The judge's own text for the current stage.
    pub judge: String,
    /// For which attempt and stage the judge's text is.
    pub judged: (u32, u32),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Text {
    phase: String,
    attempt: u32,
    version: String,
    stage: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    prior: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage_opened_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    drawn: Option<(u32, TargetText, Time)>,
    clock: (u64, Option<Time>),
    #[serde(skip_serializing_if = "Option::is_none")]
    approval_asked_at: Option<Time>,
    phase_since: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    harm: Option<(Time, String, String)>,
    #[serde(skip_serializing_if = "String::is_empty")]
    harm_statistics: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rollback: Option<RollbackText>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    breach_waived: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    breach: Option<(Time, String)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    quarantined: Vec<DeviceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    promote_stale: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejection: Option<(Option<Time>, bool)>,
    spent_ppb: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    passed: Vec<(String, Time, Time, String)>,
    figures: (Option<Time>, u64, Option<Time>, Option<Time>, u64, Option<Time>),
    judged: (u32, u32),
    judge: String,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum TargetText {
    Count(u64),
    Ppm(u32),
    AllBut(u32),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RollbackText {
    cause: String,
    sentence: String,
    by_person: bool,
    started_at: Time,
    deadline: Time,
    overdue: bool,
}

const CAUSES: [Cause; 8] = [
    Cause::Degraded,
    Cause::HardStop,
    Cause::VersionRejected,
    Cause::Undecided,
    Cause::Aborted,
    Cause::Deleted,
    Cause::Superseded,
    Cause::NobodyCanRun,
];

const PHASES: [(&str, Phase); 15] = [
    ("Queued", Phase::Queued),
    ("Refused", Phase::Refused),
    ("Progressing", Phase::Progressing),
    ("AwaitingApproval", Phase::AwaitingApproval),
    ("RollingBack", Phase::RollingBack),
    ("RolledBack", Phase::RolledBack),
    ("Succeeded", Phase::Succeeded),
    ("Paused:User", Phase::Paused(PauseCause::User)),
    ("Paused:Incident", Phase::Paused(PauseCause::Incident)),
    ("Paused:SloBreach", Phase::Paused(PauseCause::SloBreach)),
    ("Paused:TooManyFailed", Phase::Paused(PauseCause::TooManyFailed)),
    ("Paused:Undecided", Phase::Paused(PauseCause::Undecided)),
    ("Paused:ApprovalTimedOut", Phase::Paused(PauseCause::ApprovalTimedOut)),
    ("Paused:Degraded", Phase::Paused(PauseCause::Degraded)),
    ("Paused:InvalidSpec", Phase::Paused(PauseCause::InvalidSpec)),
];

const PASSED: [(&str, Passed); 4] = [
    ("Proven", Passed::Proven),
    ("Approved", Passed::Approved),
    ("ByHand", Passed::ByHand),
    ("OnTrust", Passed::OnTrust),
];

fn word<T: PartialEq>(table: &[(&'static str, T)], value: &T) -> String {
    table.iter().find(|(_, known)| known == value).map_or("", |(word, _)| word).to_owned()
}

fn value<T: Copy>(table: &[(&str, T)], word: &str) -> Option<T> {
    table.iter().find(|(known, _)| *known == word).map(|(_, value)| *value)
}

/// The cause that a word stands for.
#[must_use]
pub fn cause(word: &str) -> Option<Cause> {
    CAUSES.into_iter().find(|cause| cause.as_str() == word)
}

impl Memory {
    /// As the text of the status, never longer than its field: what people read gives way to what decides, and the judge
    /// begins a stage that it cannot read by its own cautious rule.
    #[must_use]
    pub fn to_text(&self) -> String {
        let written = SENTENCES_MAX.iter().map(|most| self.written(*most, &self.judge));
        let fits = |text: &String| text.chars().count() <= TEXT_MAX;
        written.into_iter().find(fits).unwrap_or_else(|| self.written(0, UNREADABLE))
    }

    fn written(&self, sentence_max: usize, judge: &str) -> String {
        // Destructured whole: a field that is forgotten here is a decision that is forgotten in a restart.
        let State {
            phase,
            attempt,
            version,
            stage,
            prior,
            started_at,
            stage_opened_at,
            drawn,
            clock: StageClock { banked_ms, running_since },
            approval_asked_at,
            phase_since,
            harm,
            rollback,
            breach_waived,
            breach,
            quarantined,
            promote_stale,
            retry_token,
            rejection,
            spent_ppb,
            passed,
            figures,
            log: _,
        } = self.state.clone();
        let Figures { first_exposed_at, exposed_devices, detected_at, safe_at, to_follow, ended_at } =
            figures;
        let harm_statistics = harm.as_ref().map_or_else(String::new, |harm| harm.statistics.clone());
        let passed_text = |p: PassedStage| (p.name, p.opened_at, p.passed_at, word(&PASSED, &p.how));
        let text = Text {
            phase: word(&PHASES, &phase),
            attempt,
            version,
            stage,
            prior: prior.entries().iter().find(|e| e.selector.is_everybody()).map(|e| e.version.clone()),
            started_at,
            stage_opened_at,
            drawn: drawn.map(|d| (d.stage, d.target.into(), d.at)),
            clock: (banked_ms, running_since),
            approval_asked_at,
            phase_since,
            harm: harm.map(|h| (h.at, h.cause.as_str().to_owned(), clip(&h.sentence, sentence_max))),
            harm_statistics: clip(&harm_statistics, sentence_max),
            rollback: rollback.map(|mut back| {
                back.sentence = clip(&back.sentence, sentence_max);
                RollbackText::from(back)
            }),
            breach_waived,
            breach: breach.map(|b| (b.at, b.sentence)),
            quarantined,
            promote_stale,
            retry_token,
            rejection: rejection.map(|Rejection { at, lifted }| (at, lifted)),
            spent_ppb,
            passed: passed.into_iter().map(passed_text).collect(),
            figures: (first_exposed_at, exposed_devices, detected_at, safe_at, to_follow, ended_at),
            judged: self.judged,
            judge: judge.to_owned(),
        };
        format!("{FORM}{}", serde_json::to_string(&text).unwrap_or_default())
    }

    /// Reads what [`Memory::to_text`] wrote; the log comes from the status's decisions, and what devices go back to from
    /// its own list. `None` when the text is of
    /// another form or damaged: the rollout then starts as if it had not been looked at.
    #[must_use]
    pub fn read(text: &str, decisions: &[DecisionRecord], way_back: Option<&str>) -> Option<Memory> {
        let text: Text = serde_json::from_str(text.strip_prefix(FORM)?).ok()?;
        let (first_exposed_at, exposed_devices, detected_at, safe_at, to_follow, ended_at) = text.figures;
        let harm = match text.harm {
            Some((at, word, sentence)) => {
                Some(Harm { at, cause: cause(&word)?, sentence, statistics: text.harm_statistics })
            }
            None => None,
        };
        let rollback = match text.rollback {
            Some(rollback) => Some(rollback.read()?),
            None => None,
        };
        let passed = |(name, opened_at, passed_at, how): (String, Time, Time, String)| {
            Some(PassedStage { name, opened_at, passed_at, how: value(&PASSED, &how)? })
        };
        let state = State {
            phase: value(&PHASES, &text.phase)?,
            attempt: text.attempt,
            version: text.version,
            stage: text.stage,
            prior: match way_back {
                Some(list) => prior(list)?,
                None => text.prior.map_or_else(Production::default, Production::of_all),
            },
            started_at: text.started_at,
            stage_opened_at: text.stage_opened_at,
            drawn: text.drawn.map(|(stage, target, at)| Drawn { stage, target: target.into(), at }),
            clock: StageClock { banked_ms: text.clock.0, running_since: text.clock.1 },
            approval_asked_at: text.approval_asked_at,
            phase_since: text.phase_since,
            harm,
            rollback,
            breach_waived: text.breach_waived,
            breach: text.breach.map(|(at, sentence)| Breach { at, sentence }),
            quarantined: text.quarantined,
            promote_stale: text.promote_stale,
            retry_token: text.retry_token,
            rejection: text.rejection.map(|(at, lifted)| Rejection { at, lifted }),
            spent_ppb: text.spent_ppb,
            passed: text.passed.into_iter().map(passed).collect::<Option<Vec<_>>>()?,
            figures: Figures { first_exposed_at, exposed_devices, detected_at, safe_at, to_follow, ended_at },
            log: decisions.iter().filter_map(log_entry).collect::<VecDeque<_>>(),
        };
        Some(Memory { state, judge: text.judge, judged: text.judged })
    }
}

/// What some devices go back to, as the status has it.
#[derive(Serialize, Deserialize)]
struct WayBack {
    selector: Selector,
    version: String,
}

/// What devices go back to, as the status has it; `None`: there is nothing.
#[must_use]
pub fn way_back(prior: &Production) -> Option<String> {
    let entry = |entry: &Proven| WayBack { selector: entry.selector.clone(), version: entry.version.clone() };
    let list: Vec<WayBack> = prior.entries().iter().map(entry).collect();
    (!list.is_empty()).then(|| serde_json::to_string(&list).unwrap_or_default())
}

fn prior(way_back: &str) -> Option<Production> {
    let list: Vec<WayBack> = serde_json::from_str(way_back).ok()?;
    let proven = |WayBack { selector, version }: WayBack| Proven { selector, version };
    Some(Production::new(list.into_iter().map(proven)))
}

fn log_entry(record: &DecisionRecord) -> Option<LogEntry> {
    let kind = EventKind::ALL.iter().find(|kind| kind.as_str() == record.reason)?;
    let (stage, message) = (record.stage.clone(), record.message.clone());
    Some(LogEntry { at: from_k8s(&record.at), stage, kind: *kind, message })
}

impl From<Rollback> for RollbackText {
    fn from(rollback: Rollback) -> RollbackText {
        let Rollback { cause, sentence, by_person, started_at, deadline, overdue } = rollback;
        RollbackText { cause: cause.as_str().to_owned(), sentence, by_person, started_at, deadline, overdue }
    }
}

impl RollbackText {
    fn read(self) -> Option<Rollback> {
        let RollbackText { cause: word, sentence, by_person, started_at, deadline, overdue } = self;
        Some(Rollback { cause: cause(&word)?, sentence, by_person, started_at, deadline, overdue })
    }
}

impl From<Target> for TargetText {
    fn from(target: Target) -> TargetText {
        match target {
            Target::Count(n) => TargetText::Count(n),
            Target::Ppm(n) => TargetText::Ppm(n),
            Target::AllBut(n) => TargetText::AllBut(n),
        }
    }
}

impl From<TargetText> for Target {
    fn from(target: TargetText) -> Target {
        match target {
            TargetText::Count(n) => Target::Count(n),
            TargetText::Ppm(n) => Target::Ppm(n),
            TargetText::AllBut(n) => Target::AllBut(n),
        }
    }
}
