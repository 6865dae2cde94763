//! `tune`: what a threshold costs, and how many false alarms a specificity means.

use std::path::PathBuf;

use clap::{ArgGroup, Args};
use modelfleet_crds::text::DurationText;
use modelfleet_history::costs::{YEAR_MS, false_alarms_milli, specificity_for_ppb};
use modelfleet_history::scored::{Case, Threshold, cheapest, thresholds};
use serde_json::json;

use super::report::{thousandths, whole_percent};
use crate::costs_file::{self, CostsError, CostsFile};
use crate::outcome::Outcome;
use crate::printing::{self, AnswerError};
use crate::table::Table;

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;
/// Most thresholds of a table, where none are given.
const THRESHOLDS_MAX: usize = 21;
/// Most rows of a scored file.
const ROWS_MAX: usize = 10_000_000;

/// The command line of `tune`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("question").required(true).args(["scored", "specificity", "most_alarms"])))]
pub struct TuneArguments {
    /// A CSV file with a header: one line for each case, with the model's score and what turned out to be true.
    #[arg(long, requires = "costs", value_name = "FILE")]
    pub scored: Option<PathBuf>,

    /// File with what a missed event, a found one and a false alarm cost: the fields missed, found, falseAlarm and, for the
    /// return, development.
    #[arg(long, value_name = "FILE")]
    pub costs: Option<PathBuf>,

    /// The column with the score.
    #[arg(long, default_value = "score", value_name = "COLUMN")]
    pub score_column: String,

    /// The column that says whether it was an event: 1 or 0, true or false.
    #[arg(long, default_value = "event", value_name = "COLUMN")]
    pub event_column: String,

    /// The time that the cases are of: they are all that there were in it.
    #[arg(long, default_value = "365d", value_parser = milliseconds, value_name = "TIME")]
    pub covers: u64,

    /// A threshold to try; may be repeated. Default: 21 between the lowest and the highest score.
    #[arg(long = "threshold", value_name = "SCORE")]
    pub thresholds: Vec<f64>,

    /// How many false alarms a year this specificity means, such as 99.9%.
    #[arg(long, value_parser = share_ppb, value_name = "PERCENT")]
    pub specificity: Option<u64>,

    /// Which specificity keeps one device to so many false alarms a year.
    #[arg(long, value_name = "ALARMS")]
    pub most_alarms: Option<f64>,

    /// How often the model is asked.
    #[arg(long, default_value = "10s", value_parser = milliseconds, value_name = "TIME")]
    pub every: u64,

    /// For how long a day.
    #[arg(long, default_value = "16h", value_parser = milliseconds, value_name = "TIME")]
    pub hours: u64,

    /// Print the numbers as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum TuneError {
    /// The costs.
    #[error(transparent)]
    Costs(#[from] CostsError),
    /// The scored file cannot be read.
    #[error("read {path}")]
    Csv {
        /// Where.
        path: PathBuf,
        /// Why.
        source: csv::Error,
    },
    /// It lacks something.
    #[error("{path}: {problem}")]
    Scored {
        /// Where.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The model is never asked.
    #[error("--every must be a time above zero, and --hours at most 24h")]
    Never,
    /// The answer cannot be written as text.
    #[error("write the answer as text")]
    Json(#[from] serde_json::Error),
    /// The answer cannot be written.
    #[error("write the answer")]
    Answer(#[from] AnswerError),
}

fn milliseconds(text: &str) -> Result<u64, String> {
    DurationText::from(text).milliseconds().map_err(|error| error.to_string())
}

/// A percentage with at most seven decimals, or a share, in billionths.
fn share_ppb(text: &str) -> Result<u64, String> {
    let (number, whole) = match text.strip_suffix('%') {
        Some(number) => (number, 1e7),
        None => (text, 1e9),
    };
    let share: f64 = number.trim().parse().map_err(|_| "must be a percentage such as 99.9%".to_owned())?;
    let ppb = (share * whole).round();
    if (0.0..=1e9).contains(&ppb) { Ok(ppb as u64) } else { Err("must be from 0% to 100%".to_owned()) }
}

/// Answers the question that was asked.
///
/// # Errors
/// When a file cannot be read, or the question has no answer.
pub fn run(arguments: &TuneArguments) -> Result<Outcome, TuneError> {
    let text = match (&arguments.scored, &arguments.costs) {
        (Some(_), Some(costs)) => scored(arguments, &costs_file::read(costs)?)?,
        _ => alarms(arguments)?,
    };
    printing::answer(&text)?;
    Ok(Outcome::Done)
}

fn alarms(arguments: &TuneArguments) -> Result<String, TuneError> {
    if arguments.every == 0 || arguments.hours > DAY_MS {
        return Err(TuneError::Never);
    }
    let asked_a_day = arguments.hours / arguments.every;
    let a_year = asked_a_day.saturating_mul(365);
    if let Some(specificity) = arguments.specificity {
        let milli = false_alarms_milli(specificity, asked_a_day);
        if arguments.json {
            let told = json!({"askedADay": asked_a_day, "askedAYear": a_year, "specificity": specificity as f64 / 1e9,
                "falseAlarmsAYear": milli as f64 / 1e3});
            return Ok(serde_json::to_string_pretty(&told)? + "\n");
        }
        return Ok(format!(
            "Asked {asked_a_day} times a day, {a_year} times a year. A specificity of {}% means {} false alarms a year on \
             each device.\n",
            percent(specificity),
            thousandths(milli)
        ));
    }
    let most = arguments.most_alarms.filter(|most| (0.0..1e12).contains(most)).ok_or(TuneError::Never)?;
    let needed = specificity_for_ppb((most * 1e3).round() as u64, asked_a_day).ok_or(TuneError::Never)?;
    if arguments.json {
        let told = json!({"askedADay": asked_a_day, "askedAYear": a_year, "falseAlarmsAYear": most,
            "specificity": needed as f64 / 1e9});
        return Ok(serde_json::to_string_pretty(&told)? + "\n");
    }
    Ok(format!(
        "Asked {asked_a_day} times a day, {a_year} times a year. At most {most} false alarms a year on each device need a \
         specificity of {}%.\n",
        percent(needed)
    ))
}

/// Billionths as a percentage.
fn percent(ppb: u64) -> String {
    let text = format!("{}.{:07}", ppb / 10_000_000, ppb % 10_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn scored(arguments: &TuneArguments, costs: &CostsFile) -> Result<String, TuneError> {
    let Some(path) = &arguments.scored else { return Err(TuneError::Never) };
    let cases = cases(arguments, path)?;
    let wanted = if arguments.thresholds.is_empty() { spread(&cases) } else { arguments.thresholds.clone() };
    let table = thresholds(&cases, &wanted, &costs.costs, arguments.covers);
    let best = cheapest(&table).map(|best| best.at);
    if arguments.json {
        let all: Vec<_> = table.iter().map(object).collect();
        let told = json!({"cases": cases.len(), "thresholds": all, "cheapest": best});
        return Ok(serde_json::to_string_pretty(&told)? + "\n");
    }
    Ok(told(arguments, costs, &table))
}

fn share(of: Option<f64>) -> String {
    of.map_or_else(|| "-".to_owned(), |share| format!("{:.1}%", share * 100.0))
}

fn told(arguments: &TuneArguments, costs: &CostsFile, table: &[Threshold]) -> String {
    let mut lines = Table::new(&[
        "THRESHOLD",
        "RECALL",
        "PRECISION",
        "F1",
        "SPECIFICITY",
        "FALSE ALARMS/YEAR",
        "MISSED/YEAR",
        "ANNUAL COST",
    ]);
    let amount = |cents: u64| costs.amount(i64::try_from(cents).unwrap_or(i64::MAX));
    for one in table {
        lines.row(vec![
            one.at.to_string(),
            share(one.recall()),
            share(one.precision()),
            share(one.f1()),
            share(one.specificity()),
            thousandths(one.year.false_alarms_milli),
            thousandths(one.year.missed_milli),
            amount(one.savings.with_cents),
        ]);
    }
    let mut text = lines.render();
    if let Some(best) = cheapest(table) {
        let saved = &best.savings;
        text += &format!(
            "\nThreshold {} costs least: {} a year. Without the model it would be {}: a reduction of {}{}.\n",
            best.at,
            amount(saved.with_cents),
            amount(saved.without_cents),
            costs.amount(saved.saved_cents),
            saved.saved_ppm.map_or_else(String::new, |ppm| format!(" ({} savings)", whole_percent(ppm)))
        );
        if let Some(ppm) = saved.return_ppm {
            text += &format!(
                "Return on {} of development: {}.\n",
                amount(costs.costs.development_cents),
                whole_percent(ppm)
            );
        }
    }
    if arguments.covers != YEAR_MS {
        let days = arguments.covers as f64 / DAY_MS as f64;
        text += &format!("Counts of {days:.0} days, told for 365.\n");
    }
    text
}

fn object(one: &Threshold) -> serde_json::Value {
    let money = |cents: u64| cents as f64 / 100.0;
    json!({
        "threshold": one.at,
        "found": one.found,
        "missed": one.missed,
        "falseAlarms": one.false_alarms,
        "quiet": one.quiet,
        "recall": one.recall(),
        "precision": one.precision(),
        "f1": one.f1(),
        "specificity": one.specificity(),
        "falseAlarmsAYear": one.year.false_alarms_milli as f64 / 1e3,
        "missedAYear": one.year.missed_milli as f64 / 1e3,
        "annualCost": money(one.savings.with_cents),
        "annualCostWithout": money(one.savings.without_cents),
        "annualReduction": one.savings.saved_cents as f64 / 100.0,
    })
}

/// Thresholds between the lowest and the highest score.
fn spread(cases: &[Case]) -> Vec<f64> {
    let low = cases.iter().map(|case| case.score).fold(f64::INFINITY, f64::min);
    let high = cases.iter().map(|case| case.score).fold(f64::NEG_INFINITY, f64::max);
    let steps = THRESHOLDS_MAX - 1;
    let at = |step: usize| low + (high - low) * step as f64 / steps as f64;
    (0..=steps).map(at).collect()
}

fn cases(arguments: &TuneArguments, path: &PathBuf) -> Result<Vec<Case>, TuneError> {
    let failed = |source| TuneError::Csv { path: path.clone(), source };
    let wrong = |problem: String| TuneError::Scored { path: path.clone(), problem };
    let mut file = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).map_err(failed)?;
    let header = file.headers().map_err(failed)?.clone();
    let place = |column: &String| {
        let found = header.iter().position(|name| name == column);
        found.ok_or_else(|| {
            wrong(format!(
                "there is no column {column}; the header has {}",
                header.iter().collect::<Vec<_>>().join(", ")
            ))
        })
    };
    let (score, event) = (place(&arguments.score_column)?, place(&arguments.event_column)?);
    let mut cases = Vec::new();
    for (line, record) in (2..).zip(file.records()) {
        let record = record.map_err(failed)?;
        if cases.len() == ROWS_MAX {
            return Err(wrong(format!("more than {ROWS_MAX} lines")));
        }
        let cell = |at: usize| record.get(at).unwrap_or_default();
        let number: f64 = cell(score)
            .parse()
            .ok()
            .filter(|score: &f64| score.is_finite())
            .ok_or_else(|| wrong(format!("line {line}: the score {:?} is no number", cell(score))))?;
        let is_event = match cell(event).to_ascii_lowercase().as_str() {
            "1" | "1.0" | "true" | "yes" => true,
            "0" | "0.0" | "false" | "no" => false,
            other => return Err(wrong(format!("line {line}: the event {other:?} is neither 1 nor 0"))),
        };
        cases.push(Case { score: number, is_event });
    }
    if cases.is_empty() { Err(wrong("no cases below the header".to_owned())) } else { Ok(cases) }
}

#[cfg(test)]
mod tests;
