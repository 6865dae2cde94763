//! A look at a stage as one line of JSON: what the judge was told, what it carried, and what it answered.
//!
//! A file of such lines (JSON Lines) is a recording. Every number is an integer and the resolved rules are in every
//! line, so a line can be judged again anywhere, alone: the same bytes give the same verdict. `kubectl modelfleet judge
//! replay` does that.

mod rows;

use serde::{Deserialize, Serialize};

use crate::assessment::{Advice, Assessment, Verdict};
use crate::budget::{Budget, Looks};
use crate::decide::assess;
use crate::observations::{
    AfterSwap, DeviceOutcome, HardRule, Needs, Observations, SilenceRule, SloCounts, WATCHED_MAX,
};
use crate::state::{StageState, StateError};
use rows::{
    breach, device, merged, narrow, read_after_swap, read_breach, read_counts, read_device, read_merged,
    rule, watched,
};

/// The form of a line; another one is refused. The second says of a device whether it is awaited, and its judge
/// carries more from look to look than the first did.
pub const FORMAT: &str = "modelfleet-judge-record/2";
/// Longest line that is read, in bytes.
pub const LINE_BYTES_MAX: usize = 1 << 30;
/// Integers of a device before its counts.
const DEVICE_HEAD: usize = 5;
/// Integers of a device for each rule.
const DEVICE_RULE: usize = 4;

/// Why a line is not a record.
#[derive(Debug)]
pub enum RecordError {
    /// Longer than [`LINE_BYTES_MAX`].
    TooLong,
    /// Not JSON of the right shape.
    Json(serde_json::Error),
    /// Written in a form that this version does not know.
    Format,
    /// What was carried cannot be read.
    State(StateError),
    /// A row has the wrong length, or a number is out of range.
    Row(&'static str),
}

impl std::fmt::Display for RecordError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RecordError::TooLong => write!(f, "the line has more than {LINE_BYTES_MAX} bytes"),
            RecordError::Json(error) => write!(f, "the line is not a record of the judge: {error}"),
            RecordError::Format => {
                write!(
                    f,
                    "the line does not have the format {FORMAT}: replay it with the version of the plugin that wrote it"
                )
            }
            RecordError::State(error) => error.fmt(f),
            RecordError::Row(what) => {
                write!(f, "a row of {what} has the wrong length or a number that is out of range")
            }
        }
    }
}

impl std::error::Error for RecordError {}

/// One look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// [`FORMAT`].
    pub format: String,
    /// Which rollout, attempt and stage, for people.
    pub place: String,
    /// The resolved rules.
    pub rules: Vec<Rule>,
    /// Devices, windows and share (millionths) that are needed.
    pub needs: [u32; 3],
    /// Layer 0: most failed, share (millionths), weight.
    pub hard: [u32; 3],
    /// Silence: what a breach does (0 roll back, 1 pause, 2 observe), weight.
    pub silence: [u32; 2],
    /// The error budget: total (millionths), spent (billionths), stages left.
    pub budget: [u64; 3],
    /// Looks reached and planned.
    pub looks: [u16; 2],
    /// Seed of the permutations.
    pub seed: u64,
    /// One row for each device: id, stratum, arm (0 canary, 1 control), facts (1 attempted, 2 active, 4 reporting,
    /// 8 awaited, 16 settling),
    /// code of a hard failure plus one; then for each rule the windows known and bad before, known and bad since.
    pub devices: Vec<Vec<u64>>,
    /// For each device, in their order, the number of its value of each watched label; empty: nothing is watched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watched: Vec<[u16; WATCHED_MAX]>,
    /// Length of a window, milliseconds, where `placed` says something.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub window_ms: u64,
    /// For each device, in their order, the number of the place that it shares with others (0: none), when it was heard last in
    /// milliseconds, and whether it lost its connection with others there (1) and so says nothing of silence; empty: none
    /// did. The evidence rule finds that again, the judge does not read it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub placed: Vec<[u64; 3]>,
    /// One row for each merged window: rule, arm, window, breached, value and threshold (thousandths), devices known
    /// and bad, samples.
    pub merged: Vec<[i64; 9]>,
    /// What was carried from the look before.
    pub before: String,
    /// What was answered.
    pub answer: Answer,
}

/// One resolved rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// What is wrong where it is broken, for people; empty: told by the name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub breach: String,
    /// The limit of a window's value with its unit, for people; empty: not told.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub limit: String,
    /// What a breach does: 0 roll back, 1 pause, 2 observe.
    pub on_breach: u8,
    /// 0: statistical; otherwise the plain rule over so many windows.
    pub plain_windows: u32,
    /// A limit by year: events by device and year in thousandths, and the length of a window in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_year: Option<[u64; 2]>,
    /// Share of device-windows that may be bad, millionths.
    pub allowance_ppm: u32,
    /// The margin, if the user set one, millionths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin_ppm: Option<u64>,
    /// Windows of canaries, and bad windows of all, that it needs before it passes on exposure.
    #[serde(default)]
    pub min_exposure: u64,
    /// See there.
    #[serde(default)]
    pub min_events: u64,
    /// Samples that a merged window needs.
    pub min_samples: u64,
    /// Weight in the error budget.
    pub weight: u32,
    /// Windows after one until the truth about it is known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub late_windows: u64,
    /// Looks reached and planned at this rule, where they come later than those of the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looks: Option<[u16; 2]>,
    /// One row for each span after the change of models: arm (0 canary, 1 control), windows after the change at which it
    /// begins, whether it is settling time, device-windows known and bad.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after_swap: Vec<[u64; 5]>,
}

fn is_zero(windows: &u64) -> bool {
    *windows == 0
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Answer {
    /// Healthy, Exposed, Degraded or Undecided.
    pub verdict: String,
    /// Advance, Wait, Pause or RollBack.
    pub advice: String,
    /// Error budget that the stage has spent, billionths.
    pub spent_ppb: u64,
    /// For a person.
    pub sentence: String,
    /// The statistics behind it, for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub statistics: String,
    /// What is carried to the next look.
    pub after: String,
}

impl Answer {
    /// The part of an assessment that a replay has to meet, to the last letter.
    #[must_use]
    pub fn of(assessment: &Assessment) -> Answer {
        let verdict = match assessment.verdict {
            Verdict::Healthy => "Healthy",
            Verdict::Exposed => "Exposed",
            Verdict::Degraded => "Degraded",
            Verdict::Undecided => "Undecided",
        };
        let advice = match assessment.advice {
            Advice::Advance => "Advance",
            Advice::Wait => "Wait",
            Advice::Pause => "Pause",
            Advice::RollBack => "RollBack",
        };
        Answer {
            verdict: verdict.to_owned(),
            advice: advice.to_owned(),
            spent_ppb: assessment.spent_ppb,
            sentence: assessment.sentence.clone(),
            statistics: assessment.statistics.clone(),
            after: assessment.state.to_text(),
        }
    }
}

impl Record {
    /// What was asked and answered at `place`.
    #[must_use]
    pub fn of(
        place: &str,
        observations: &Observations<'_>,
        before: &StageState,
        answer: &Assessment,
    ) -> Record {
        let (needs, hard, silence) = (observations.needs, observations.hard, observations.silence);
        let budget = observations.budget;
        Record {
            format: FORMAT.to_owned(),
            place: place.to_owned(),
            rules: observations.slos.iter().map(rule).collect(),
            needs: [needs.min_devices, needs.min_windows, needs.min_reporting_ppm],
            hard: [hard.max_failed, hard.max_failed_ppm, hard.weight],
            silence: [u32::from(breach(silence.on_breach)), silence.weight],
            budget: [u64::from(budget.total_ppm), budget.spent_ppb, u64::from(budget.stages_left)],
            looks: [observations.looks.reached, observations.looks.planned],
            seed: observations.seed,
            devices: observations.devices.iter().map(|d| device(d, observations.slos.len())).collect(),
            watched: watched(observations.devices),
            window_ms: 0,
            placed: Vec::new(),
            merged: observations.merged.iter().map(merged).collect(),
            before: before.to_text(),
            answer: Answer::of(answer),
        }
    }

    /// As a line, without its end.
    ///
    /// # Errors
    /// Never for what [`Record::of`] made.
    pub fn to_line(&self) -> Result<String, RecordError> {
        serde_json::to_string(self).map_err(RecordError::Json)
    }

    /// From a line.
    ///
    /// # Errors
    /// [`RecordError`] says what is wrong with it. Never panics.
    pub fn from_line(line: &str) -> Result<Record, RecordError> {
        if line.len() > LINE_BYTES_MAX {
            return Err(RecordError::TooLong);
        }
        let record: Record = serde_json::from_str(line).map_err(RecordError::Json)?;
        if record.format == FORMAT { Ok(record) } else { Err(RecordError::Format) }
    }

    /// Judges again. The answer is to be held against [`Record::answer`].
    ///
    /// # Errors
    /// When a row cannot be read.
    pub fn replay(&self) -> Result<Assessment, RecordError> {
        let before = StageState::from_text(&self.before).map_err(RecordError::State)?;
        let spans = self.rules.iter().map(|rule| rule.after_swap.iter().map(read_after_swap).collect());
        let spans = spans.collect::<Result<Vec<Vec<AfterSwap>>, _>>()?;
        let slos = self.rules.iter().zip(&spans).map(|(rule, spans)| rule.read(spans));
        let slos = slos.collect::<Result<Vec<_>, _>>()?;
        let width = DEVICE_HEAD + DEVICE_RULE * slos.len();
        if self.devices.iter().any(|row| row.len() != width) {
            return Err(RecordError::Row("devices"));
        }
        let rows = || self.devices.iter().map(|row| row.split_at(DEVICE_HEAD));
        let counts: Vec<SloCounts> =
            rows().flat_map(|(_, counts)| counts.chunks_exact(DEVICE_RULE)).map(read_counts).collect();
        if !self.watched.is_empty() && self.watched.len() != self.devices.len() {
            return Err(RecordError::Row("watched"));
        }
        let device = |(i, (head, _)): (usize, (&[u64], &[u64]))| {
            let device = read_device(head, &counts[i * slos.len()..(i + 1) * slos.len()])?;
            Ok(DeviceOutcome { watched: self.watched.get(i).copied().unwrap_or_default(), ..device })
        };
        let devices = rows().enumerate().map(device).collect::<Result<Vec<_>, RecordError>>()?;
        let merged = self.merged.iter().map(read_merged).collect::<Result<Vec<_>, _>>()?;
        let observations = Observations {
            slos: &slos,
            devices: &devices,
            merged: &merged,
            needs: Needs {
                min_devices: self.needs[0],
                min_windows: self.needs[1],
                min_reporting_ppm: self.needs[2],
            },
            hard: HardRule { max_failed: self.hard[0], max_failed_ppm: self.hard[1], weight: self.hard[2] },
            silence: SilenceRule {
                on_breach: read_breach(u64::from(self.silence[0]))?,
                weight: self.silence[1],
            },
            budget: Budget {
                total_ppm: narrow(self.budget[0], "budget")?,
                spent_ppb: self.budget[1],
                stages_left: narrow(self.budget[2], "budget")?,
            },
            looks: Looks { reached: self.looks[0], planned: self.looks[1] },
            seed: self.seed,
        };
        Ok(assess(&observations, &before))
    }
}
