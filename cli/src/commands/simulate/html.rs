//! `simulate -o html`: the distribution of outcomes, times and exposures as one page. Pictures are SVG in the page itself,
//! without a script; every number that is drawn is also written in a table, in the same integers as in the JSON.

mod chart;

use modelfleet_simulation::{End, Outcome, Share, Summary, Tested};

use self::chart::{Bar, histogram, shares};
use super::report::Report;
use crate::units::{counted, span};

const STYLE: &str = include_str!("html/style.css");

/// The page.
pub fn page(report: &Report<'_>, summary: &Summary) -> String {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let title = format!("Rollout {}, version {}", report.name(), report.rollout.spec.version);
    let (runs, devices) =
        (counted(number(report.arguments.runs), "run"), counted(number(report.devices), "device"));
    let mut text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>{title}</h1>\n<p>{runs} simulated on {devices}, seed {}. Whiskers and intervals are 95 % limits.</p>\n",
        report.arguments.seed,
        title = escaped(&title),
    );
    let named = named_shares(report, summary);
    text.push_str(&section(
        "Outcomes",
        "Share of the runs by outcome",
        &shares(&named),
        &share_table(&named),
    ));
    text.push_str(&section(
        "Harm proven, by stage",
        "Share of the runs in which harm was proven, by stage",
        &shares(&stage_shares(report, summary)),
        &share_table(&stage_shares(report, summary)),
    ));
    for distribution in distributions(report.outcomes, summary) {
        text.push_str(&distribution.section());
    }
    if let Some(first) = report.outcomes.first() {
        text.push_str(&format!("<h2>First run</h2>\n<p>{}</p>\n", escaped(&first.sentence)));
    }
    text.push_str("</body>\n</html>\n");
    text
}

/// Texts in the page and in its attributes.
pub(super) fn escaped(text: &str) -> String {
    let one = |c: char| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&quot;".to_owned(),
        '\'' => "&#39;".to_owned(),
        c if c.is_control() => " ".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(one).collect()
}

fn section(title: &str, alt: &str, picture: &chart::Picture, table: &str) -> String {
    let title = escaped(title);
    format!("<section>\n<h2>{title}</h2>\n{}{table}</section>\n", picture.svg(alt))
}

/// The shares of the report by the names that people read; the JSON's field after each.
fn named_shares(report: &Report<'_>, summary: &Summary) -> Vec<Bar> {
    let harm = match summary.tested {
        Tested::FalseRollback => "false rollback",
        Tested::Detection => "detection",
    };
    let bar =
        |name: &str, field: &str, share: Share| Bar { name: name.to_owned(), field: field.to_owned(), share };
    vec![
        bar(harm, "harmShown", summary.harm_shown),
        bar("other rollback", "wentBackWithoutHarmShown", report.went_back()),
        bar("success", "succeeded", summary.succeeded),
        bar("paused", "paused", summary.paused),
        bar("incident", "incident", summary.incident),
        bar("undecided", "undecided", summary.undecided),
        bar("held", "held", summary.held),
        bar("exposed", "onExposure", summary.on_exposure),
    ]
}

fn stage_shares(report: &Report<'_>, summary: &Summary) -> Vec<Bar> {
    let stages = report.stages.iter().zip(&summary.harm_by_stage).enumerate();
    let bar = |(index, (name, hits)): (usize, (&String, &u64))| Bar {
        name: name.clone(),
        field: format!("harmByStage.{index}"),
        share: Share::of(*hits, report.arguments.runs),
    };
    stages.map(bar).collect()
}

fn share_table(bars: &[Bar]) -> String {
    let mut text =
        "<table>\n<tr><th>Result</th><th>Runs</th><th>Share</th><th>95 % interval</th></tr>\n".to_owned();
    for Bar { name, field, share } in bars {
        text.push_str(&format!(
            "<tr><th>{}</th><td><data value=\"{}\" data-field=\"{field}.hits\">{}</data></td>\
             <td><data value=\"{}\" data-field=\"{field}.sharePpm\">{}</data></td>\
             <td><data value=\"{}\" data-field=\"{field}.lowPpm\">{}</data> to \
             <data value=\"{}\" data-field=\"{field}.highPpm\">{}</data></td></tr>\n",
            escaped(name),
            share.hits,
            share.hits,
            share.share_ppm,
            percent(share.share_ppm),
            share.low_ppm,
            percent(share.low_ppm),
            share.high_ppm,
            percent(share.high_ppm),
            field = escaped(field),
        ));
    }
    text.push_str("</table>\n");
    text
}

/// Millionths as a percent with two decimals.
fn percent(ppm: u32) -> String {
    format!("{}.{:02} %", ppm / 10_000, ppm % 10_000 / 100)
}

/// One number of each run.
struct Distribution {
    title: &'static str,
    field: &'static str,
    /// Median and 95 % quantile, as in the JSON.
    spread: Option<(u64, u64)>,
    numbers: Vec<u64>,
    words: fn(u64) -> String,
}

fn distributions(outcomes: &[Outcome], summary: &Summary) -> Vec<Distribution> {
    let numbers = |of: fn(&Outcome) -> Option<u64>| outcomes.iter().filter_map(of).collect::<Vec<u64>>();
    let time = |ms: u64| span(i64::try_from(ms).unwrap_or(i64::MAX));
    let devices = |count: u64| counted(i64::try_from(count).unwrap_or(i64::MAX), "device");
    vec![
        Distribution {
            title: "Time from start to proven harm",
            field: "detectedMs",
            spread: summary.detected_ms,
            numbers: numbers(|o| o.detected_ms),
            words: time,
        },
        Distribution {
            title: "Time from start to success",
            field: "",
            spread: None,
            numbers: numbers(|o| (o.end == End::Succeeded).then_some(o.duration_ms)),
            words: time,
        },
        Distribution {
            title: "Time from start to end",
            field: "durationMs",
            spread: Some(summary.duration_ms),
            numbers: numbers(|o| Some(o.duration_ms)),
            words: time,
        },
        Distribution {
            title: "Devices that had run the version",
            field: "exposed",
            spread: Some(summary.exposed),
            numbers: numbers(|o| Some(o.exposed)),
            words: devices,
        },
    ]
}

impl Distribution {
    fn section(&self) -> String {
        if self.numbers.is_empty() {
            return format!("<section>\n<h2>{}</h2>\n<p>In no run.</p>\n</section>\n", self.title);
        }
        let quantiles = self.spread.map_or_else(String::new, |(median, most)| {
            format!(
                "<p>Median <data value=\"{median}\" data-field=\"{field}.0\">{}</data>, 95 % below \
                 <data value=\"{most}\" data-field=\"{field}.1\">{}</data>; {} of them.</p>\n",
                (self.words)(median),
                (self.words)(most),
                counted(i64::try_from(self.numbers.len()).unwrap_or(i64::MAX), "run"),
                field = self.field,
            )
        });
        section(
            self.title,
            &format!("{}, by run", self.title),
            &histogram(&self.numbers, self.words),
            &quantiles,
        )
    }
}
