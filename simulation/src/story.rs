//! One run told from its beginning to its end: what was decided, and what the judge said at its looks.

use modelfleet_evidence::Asked;
use modelfleet_judge::{Advice, Arm, Verdict};
use modelfleet_protocol::time::Time;
use modelfleet_rollout::EventKind;

/// A line of the story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoryLine {
    /// When, milliseconds from the run's start.
    pub at_ms: u64,
    /// Name of the stage under way.
    pub stage: String,
    /// What happened.
    pub happened: Happened,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// A decision of the core, in the words of its event.
    Event {
        /// Which one.
        kind: EventKind,
        /// With numbers.
        message: String,
    },
    /// The judge was asked.
    Look(LookStory),
}

/// A look, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookStory {
    /// Looks that are reached.
    pub reached: u16,
    /// Looks that are planned.
    pub planned: u16,
    /// The verdict.
    pub verdict: Verdict,
    /// What follows.
    pub advice: Advice,
    /// Devices of the stage that run the candidate, and those without it that they are compared with.
    pub devices: (usize, usize),
    /// Of each objective, and of silence where it is watched: its verdict in words.
    pub sentences: Vec<String>,
    /// Why this advice.
    pub sentence: String,
    /// The statistics behind it.
    pub statistics: String,
}

impl LookStory {
    /// Of one asking of the judge.
    pub(crate) fn of(asked: &Asked<'_>) -> LookStory {
        let (looks, answer) = (asked.observations.looks, asked.assessment);
        let records = answer.per_slo.iter().chain(&answer.silence);
        let devices = asked.observations.devices;
        let count =
            |arm: Arm| devices.iter().filter(|d| d.arm == arm && (arm == Arm::Control || d.active)).count();
        LookStory {
            reached: looks.reached,
            planned: looks.planned,
            verdict: answer.verdict,
            advice: answer.advice,
            devices: (count(Arm::Canary), count(Arm::Control)),
            sentences: records.map(|record| record.sentence.clone()).collect(),
            sentence: answer.sentence.clone(),
            statistics: answer.statistics.clone(),
        }
    }
}

/// The story while it is told; most runs are not.
#[derive(Debug, Default)]
pub struct Story {
    lines: Option<Vec<StoryLine>>,
    started: Option<Time>,
    /// Looks reached, and the advice then.
    last_look: Option<(u16, Advice)>,
}

impl Story {
    /// One that is kept.
    pub fn kept() -> Story {
        Story { lines: Some(Vec::new()), ..Story::default() }
    }

    /// Adds what happened, if the story is kept.
    pub fn add(&mut self, now: Time, stage: &str, happened: impl FnOnce() -> Happened) {
        let Some(lines) = &mut self.lines else { return };
        let started = *self.started.get_or_insert(now);
        let happened = happened();
        match &happened {
            // The judge is asked oftener than there are looks; what it says again is not told again.
            Happened::Look(look) => {
                // Nor are the looks of a stage that waits on, for as long as they say the same.
                let this = Some((look.reached.min(look.planned.saturating_add(1)), look.advice));
                if std::mem::replace(&mut self.last_look, this) == this {
                    return;
                }
            }
            Happened::Event { kind: EventKind::StageOpened, .. } => self.last_look = Some((0, Advice::Wait)),
            Happened::Event { .. } => {}
        }
        lines.push(StoryLine { at_ms: now.since_ms(started), stage: stage.to_owned(), happened });
    }

    /// What was told.
    pub fn into_lines(self) -> Vec<StoryLine> {
        self.lines.unwrap_or_default()
    }
}
