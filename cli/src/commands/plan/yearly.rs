//! Limits by device and year, such as "under 25 false alarms a year": what each stage can show of them, and how long it
//! would take.

use clap::Args;
use modelfleet_judge::JudgedBy;
use modelfleet_judge::sizing::{device_ms_to_show, least_device_ms, lowest_shown_milli};
use modelfleet_simulation::Objective;

use crate::units::{counted, span};

/// A limit by device and year.
#[derive(Clone, Copy, Debug, Args)]
pub struct YearlyArguments {
    /// Also says whether the stages can show that rare events, such as false alarms or missed detections, come less often
    /// than this by device and year.
    #[arg(long, value_name = "X", value_parser = per_year)]
    pub per_year: Option<u64>,
    /// How often they come by device and year, as you expect. Default: half of the limit.
    #[arg(long, value_name = "X", value_parser = per_year)]
    pub per_year_expected: Option<u64>,
}

/// A number of events by year, in thousandths.
fn per_year(text: &str) -> Result<u64, String> {
    let number = text.parse::<f64>().ok().filter(|number| (0.0..=1e6).contains(number));
    number
        .map(|number| (number * 1e3).round() as u64)
        .ok_or_else(|| "must be a number from 0 to 1000000".to_owned())
}

/// A stage, as far as it matters here.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub stage: String,
    pub devices: u64,
    pub time_ms: u64,
}

/// What the stages can show, each in a line.
pub(super) fn sentences(arguments: YearlyArguments, stages: &[Watched]) -> String {
    let Some(limit) = arguments.per_year.filter(|limit| *limit > 0) else { return String::new() };
    let expected = arguments.per_year_expected.unwrap_or(limit / 2);
    of_limit("", limit, expected, stages)
}

/// The same for each objective with a limit by device and year: a stage passes only when it is shown.
pub(super) fn of_objectives(
    arguments: YearlyArguments,
    objectives: &[Objective],
    stages: &[Watched],
) -> String {
    let yearly = objectives.iter().filter_map(|objective| match objective.judged_by {
        JudgedBy::Poisson(limit) => Some((format!("{}: ", objective.name), limit.per_year_milli)),
        JudgedBy::Statistical | JudgedBy::Plain { .. } => None,
    });
    let told = yearly.map(|(name, limit)| {
        of_limit(&name, limit, arguments.per_year_expected.unwrap_or(limit / 2), stages)
            + "  A stage that does not show it waits, up to its maxWait; windows of earlier stages count.\n"
    });
    told.collect()
}

fn of_limit(name: &str, limit: u64, expected: u64, stages: &[Watched]) -> String {
    let mut text = format!(
        "\n{name}Under {} events by device and year (exact Poisson test, 5 % level):\n",
        number(limit)
    );
    stages.iter().for_each(|stage| text.push_str(&format!("  {}\n", sentence(stage, limit, expected))));
    text
}

fn sentence(watched: &Watched, limit: u64, expected: u64) -> String {
    let Watched { stage, devices, time_ms } = watched;
    let exposure = devices.saturating_mul(*time_ms);
    let time =
        |device_ms: u64| span(i64::try_from(device_ms.div_ceil((*devices).max(1))).unwrap_or(i64::MAX));
    let of = counted(i64::try_from(*devices).unwrap_or(i64::MAX), "device");
    let (least, needed) = (least_device_ms(limit), device_ms_to_show(limit, expected));
    let surely = |needed: u64| {
        format!(
            "if they come {} times a year, {} show it in four stages of five",
            number(expected),
            time(needed)
        )
    };
    let watches = span(i64::try_from(*time_ms).unwrap_or(i64::MAX));
    match needed {
        Some(needed) if exposure >= needed => {
            format!("{stage}: {of} show it in {watches}; {}", surely(needed))
        }
        needed => {
            let begin = if exposure < least {
                format!(
                    "{of} cannot show it in {watches}: even without one event, {} a year are possible. Without an event it takes {}",
                    number(lowest_shown_milli(exposure)),
                    time(least)
                )
            } else {
                format!("{of} show it in {watches} only if fewer events come than expected")
            };
            match needed {
                Some(needed) => format!("{stage}: {begin}; {}", surely(needed)),
                None => format!(
                    "{stage}: {begin}; {} a year are too near the limit to be told from it",
                    number(expected)
                ),
            }
        }
    }
}

/// Thousandths, to one digit behind the point.
fn number(milli: u64) -> String {
    let text = format!("{:.1}", milli as f64 / 1e3);
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use modelfleet_judge::YearlyLimit;

    use super::*;

    const DAY_MS: u64 = 86_400_000;

    fn said(devices: u64, days: u64, expected: Option<u64>) -> String {
        let stage = Watched { stage: "canary".to_owned(), devices, time_ms: days * DAY_MS };
        sentences(YearlyArguments { per_year: Some(25_000), per_year_expected: expected }, &[stage])
    }

    #[test]
    fn five_pumps_in_seven_days_are_too_few() {
        let text = said(5, 7, Some(10_000));
        for words in [
            "canary: 5 devices cannot show it in 7 days",
            "31.3 a year are possible",
            "it takes 8 days 18 hours",
            "10 times a year",
        ] {
            assert!(text.contains(words), "{text}");
        }
        assert!(said(500, 7, Some(10_000)).contains("500 devices show it in 7 days"));
        assert!(said(500, 7, Some(25_000)).contains("too near the limit"));
        assert!(said(6, 8, None).contains("only if fewer events come than expected"), "{}", said(6, 8, None));
    }

    #[test]
    fn an_objective_with_a_limit_by_year_is_told_without_being_asked() {
        let none = YearlyArguments { per_year: None, per_year_expected: None };
        let limit = YearlyLimit { per_year_milli: 25_000, window_ms: 3_600_000 };
        let alarms =
            Objective { judged_by: JudgedBy::Poisson(limit), ..Objective::statistical("false-alarms", 0) };
        let stage = Watched { stage: "canary".to_owned(), devices: 5, time_ms: 7 * DAY_MS };
        let text = of_objectives(none, &[Objective::statistical("errors", 0), alarms], &[stage]);
        assert!(text.contains("false-alarms: Under 25 events"), "{text}");
        assert!(text.contains("5 devices cannot show it in 7 days") && !text.contains("errors"), "{text}");
    }

    #[test]
    fn without_a_limit_nothing_is_said() {
        assert_eq!(sentences(YearlyArguments { per_year: None, per_year_expected: None }, &[]), "");
        assert_eq!(per_year("25"), Ok(25_000));
        assert!(per_year("many").is_err() && per_year("-1").is_err());
    }
}
