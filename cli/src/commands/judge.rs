//! `judge replay`: judges recorded looks again, and says whether the answers are the same.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use modelfleet_evidence::{CutOffAgain, cut_off_again, verdict};
use modelfleet_judge::record::{Answer, LINE_BYTES_MAX, Record, RecordError};

use crate::outcome::Outcome;
use crate::printing::{self, AnswerError};
use crate::table::Table;
use crate::units::counted;

/// The command line of `judge`.
#[derive(Debug, Args)]
pub struct JudgeArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: JudgeCommand,
}

/// What to do with the judge.
#[derive(Debug, Subcommand)]
pub enum JudgeCommand {
    /// Judge recorded looks again and compare the answers; the same input must give the same verdict.
    Replay(ReplayArguments),
}

/// The command line of `judge replay`.
#[derive(Debug, Args)]
#[command(after_help = "The exit code is 1 if any answer differs from the recording, even by one letter.")]
pub struct ReplayArguments {
    /// File with one look per line, as `simulate --record` and the controller's `--record-dir` write it; - reads standard
    /// input.
    pub file: PathBuf,
    /// Print every look, not only those at which the advice changes.
    #[arg(long)]
    pub all: bool,
}

/// Why a file cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It cannot be read.
    #[error("read {path}")]
    Read {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is no record.
    #[error(
        "{path}, line {line}: {reason}; record looks with simulate --record, or with the controller's --record-dir"
    )]
    Line {
        /// Where.
        path: PathBuf,
        /// Its number, from 1.
        line: i64,
        /// Why.
        reason: RecordError,
    },
    /// There is nothing in it.
    #[error("{path} holds no looks; record some with: kubectl modelfleet simulate -f ROLLOUT --record FILE")]
    Empty {
        /// Where.
        path: PathBuf,
    },
    /// The answer cannot be written.
    #[error("write the answer")]
    Answer(#[from] AnswerError),
}

/// Judges again.
///
/// # Errors
/// When the file cannot be read.
pub fn run(arguments: &JudgeArguments) -> Result<Outcome, ReplayError> {
    match &arguments.command {
        JudgeCommand::Replay(arguments) => replay(arguments),
    }
}

/// Looks of the stage, and those at the objective whose labels come last.
fn looks_reached(record: &Record) -> String {
    let [reached, planned] = record.looks;
    let late = record.rules.iter().filter(|rule| rule.late_windows > 0);
    let slowest = late.filter_map(|rule| Some((rule.looks?, rule))).min_by_key(|([reached, _], _)| *reached);
    slowest.map_or_else(
        || format!("{reached}/{planned}"),
        |([own, planned], rule)| {
            let delay = counted(i64::try_from(rule.late_windows).unwrap_or(i64::MAX), "window");
            format!("{reached}/{planned}, {} {own}/{planned} (labels {delay} late)", rule.name)
        },
    )
}

/// What the judge said, and that devices lost their connection together, which is no sign of the version.
fn with_places(answer: &Answer, cut_off: Option<&CutOffAgain>) -> String {
    match cut_off {
        Some(cut_off) if answer.advice == "Wait" => format!("{}; {}", answer.sentence, cut_off.sentence),
        _ => answer.sentence.clone(),
    }
}

fn replay(arguments: &ReplayArguments) -> Result<Outcome, ReplayError> {
    let path = &arguments.file;
    let failed = |source| ReplayError::Read { path: path.clone(), source };
    let mut source: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(BufReader::new(io::stdin()))
    } else {
        Box::new(BufReader::new(File::open(path).map_err(failed)?))
    };
    let mut table = Table::new(&["LINE", "PLACE", "LOOK", "ADVICE", "EVIDENCE", "SAME", "SENTENCE"]);
    let (mut number, mut different, mut advice) = (0, 0, String::new());
    loop {
        let mut text = String::new();
        let most = LINE_BYTES_MAX as u64 + 2;
        if source.by_ref().take(most).read_line(&mut text).map_err(failed)? == 0 {
            break;
        }
        number += 1;
        let wrong = |reason| ReplayError::Line { path: path.clone(), line: number, reason };
        let record = Record::from_line(text.trim_end()).map_err(wrong)?;
        let assessment = record.replay().map_err(wrong)?;
        let answer = Answer::of(&assessment);
        let cut_off = cut_off_again(&record);
        let same = answer == record.answer && cut_off.as_ref().is_none_or(|cut_off| cut_off.same);
        different += usize::from(!same);
        if arguments.all || !same || answer.advice != advice {
            let places_differ = cut_off.as_ref().is_some_and(|cut_off| !cut_off.same);
            let word = match (same, places_differ) {
                (true, _) => "yes".to_owned(),
                (false, true) => "NO, other devices are cut off".to_owned(),
                (false, false) => format!("NO, was {}", record.answer.advice),
            };
            let look = looks_reached(&record);
            table.row(vec![
                number.to_string(),
                record.place,
                look,
                answer.advice.clone(),
                format!("{:?}", verdict(assessment.advice, assessment.verdict)),
                word,
                with_places(&answer, cut_off.as_ref()),
            ]);
        }
        advice = answer.advice;
    }
    if number == 0 {
        return Err(ReplayError::Empty { path: path.clone() });
    }
    let looks = counted(number, "look");
    let different_is = match different {
        0 => "all answers are as recorded".to_owned(),
        some => {
            format!(
                "{some} with an answer that differs from the recording: another version of the judge wrote it, or the file was changed"
            )
        }
    };
    printing::answer(&format!("{}{looks} judged again, {different_is}\n", table.render()))?;
    Ok(if different == 0 { Outcome::Done } else { Outcome::Failed })
}
