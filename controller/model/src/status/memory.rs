//! The part of a rollout's state that decides, as one text in the status, and back.
//!
//! The status shows most of it to people in fields of their own; those are written, never read. So nothing that
//! decides depends on how a person reads or edits a sentence. The decision log and the way back alone live in fields of
//! their own, because they are long.

use modelfleet_crds::rollout::status::DecisionRecord;
use modelfleet_protocol::selector::Selector;
use modelfleet_rollout::{Cause, EventKind, LogEntry, Production, Proven, State, clip};
use serde::{Deserialize, Serialize};

use super::time::from_k8s;

/// First word of the text: the version of its form.
const FORM: &str = "modelfleet2 ";

/// Most characters that the field takes.
const TEXT_MAX: usize = 8_192;
/// Characters of a sentence that are tried, until the text fits.
const SENTENCES_MAX: [usize; 4] = [usize::MAX, 200, 60, 0];
/// Stands for a judge's text that has no room; it is none.
const UNREADABLE: &str = "unreadable";

/// What the text holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// How far the rollout got; its log and its way back are not in the text.
    pub state: State,
    /// The judge's own text for the current stage.
    pub judge: String,
    /// For which attempt and stage the judge's text is.
    pub judged: (u32, u32),
}

/// The cause that a word stands for.
#[must_use]
pub fn cause(word: &str) -> Option<Cause> {
    serde_json::from_value(word.into()).ok()
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
        let mut memory = Memory { judge: judge.to_owned(), ..self.clone() };
        if let Some(harm) = &mut memory.state.harm {
            harm.sentence = clip(&harm.sentence, sentence_max);
            harm.statistics = clip(&harm.statistics, sentence_max);
        }
        if let Some(back) = &mut memory.state.rollback {
            back.sentence = clip(&back.sentence, sentence_max);
        }
        format!("{FORM}{}", serde_json::to_string(&memory).unwrap_or_default())
    }

    /// Reads what [`Memory::to_text`] wrote; the log comes from the status's decisions, and what devices go back to from
    /// its own list. `None` when the text is of another form or damaged: the rollout then starts as if it had not been
    /// looked at.
    #[must_use]
    pub fn read(text: &str, decisions: &[DecisionRecord], way_back: Option<&str>) -> Option<Memory> {
        let mut memory: Memory = serde_json::from_str(text.strip_prefix(FORM)?).ok()?;
        if let Some(list) = way_back {
            memory.state.prior = prior(list)?;
        }
        memory.state.log = decisions.iter().filter_map(log_entry).collect();
        Some(memory)
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
