//! A report as one page: no request leaves it, it reads in print, dark and light, and a table says all that a chart shows.

mod chart;

use std::fmt::Write as _;

use modelfleet_history::report::{Group, Kept, Report};
use modelfleet_protocol::metric::{Metric, TABLE};

use super::told::{heading, label, sentences, truth, value};
use super::{About, COLUMNS, Saved};
use crate::units;

const STYLE: &str = include_str!("html/page.css");

/// The page.
pub(super) fn page(about: &About, report: &Report, saved: Option<&Saved>) -> String {
    let Some(total) = &report.total else { return String::new() };
    let title = format!("{} in {}", about.model, about.namespace);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>Health of {}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n",
        escaped(&title)
    );
    page += &head(about, total, &title);
    page += &bounds(total);
    page += &charts(report, total);
    page += &lines(about, report, total);
    page += &every_metric(total);
    if let Some(saved) = saved {
        page += "<section>\n<h2>What it saves</h2>\n";
        for sentence in sentences(saved) {
            let _ = writeln!(page, "<p>{}</p>", escaped(&sentence));
        }
        page += "</section>\n";
    }
    page + "</main>\n</body>\n</html>\n"
}

/// Texts come from labels and names that other people choose.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

fn known(total: &Group) -> impl Iterator<Item = &Kept> {
    total.kept.iter().filter(|kept| kept.windows_known > 0)
}

fn head(about: &About, total: &Group, title: &str) -> String {
    let beyond: Vec<&str> = known(total)
        .filter(|kept| kept.is_beyond() == Some(true))
        .map(|kept| label(kept.bound.metric))
        .collect();
    let (class, verdict) = match beyond.as_slice() {
        [] => ("good", "Normal: every known value keeps its bound.".to_owned()),
        names => ("bad", format!("Abnormal: beyond the bound are {}.", names.join(", "))),
    };
    let sum = &total.sum;
    format!(
        "<header>\n<h1>Health of {}</h1>\n<p class=\"verdict {class}\">{}</p>\n<p>{} to {}: {} windows, {} predictions, up to \
         {} devices of the sample in a window. The truth of {} of the predictions is known.</p>\n</header>\n",
        escaped(title),
        escaped(&verdict),
        units::moment(about.since),
        units::moment(about.until),
        sum.windows,
        sum.counters.requests,
        sum.devices,
        truth(total)
    )
}

fn bounds(total: &Group) -> String {
    let mut text = String::from(
        "<section>\n<h2>Bounds</h2>\n<table>\n<thead><tr><th scope=\"col\">Metric</th><th scope=\"col\">Bound</th>\
         <th scope=\"col\">Value</th><th scope=\"col\">Kept</th><th scope=\"col\">Windows beyond</th></tr></thead>\n<tbody>\n",
    );
    for kept in known(total) {
        let metric = kept.bound.metric;
        let (class, word) = match kept.is_beyond() {
            Some(true) => ("bad", "✗ no"),
            _ => ("good", "✓ yes"),
        };
        let side = if metric.bad_below() { "at least" } else { "at most" };
        let _ = writeln!(
            text,
            "<tr><th scope=\"row\">{}</th><td>{side} {}</td><td>{}</td><td class=\"{class}\">{word}</td><td>{} of {}</td></tr>",
            escaped(label(metric)),
            metric.unit().text(kept.bound.threshold),
            value(total, metric),
            kept.windows_beyond,
            kept.windows_known
        );
    }
    text + "</tbody>\n</table>\n</section>\n"
}

fn charts(report: &Report, total: &Group) -> String {
    let mut text = String::from("<section>\n<h2>Day by day</h2>\n<div class=\"charts\">\n");
    for kept in known(total) {
        let metric = kept.bound.metric;
        let points: Vec<(&str, Option<u64>)> = report
            .days
            .iter()
            .map(|day| (day.name.as_str(), day.value(metric).map(modelfleet_history::row::Value::value)))
            .collect();
        text += &chart::chart(metric, &points, kept.bound.threshold);
    }
    text + "</div>\n</section>\n"
}

fn lines(about: &About, report: &Report, total: &Group) -> String {
    let columns: Vec<Metric> =
        COLUMNS.into_iter().filter(|metric| total.sum.values.contains_key(metric)).collect();
    let what = match heading(about.by) {
        "" => "All".to_owned(),
        word => word.chars().take(1).chain(word[1..].to_lowercase().chars()).collect(),
    };
    let mut text = format!(
        "<section>\n<h2>{what}</h2>\n<div class=\"wide\">\n<table>\n<thead><tr><th scope=\"col\">{what}</th>\
         <th scope=\"col\">Windows</th><th scope=\"col\">Devices</th><th scope=\"col\">Predictions</th>"
    );
    for metric in &columns {
        let _ = write!(text, "<th scope=\"col\">{}</th>", escaped(label(*metric)));
    }
    text += "<th scope=\"col\">Truth</th><th scope=\"col\">Alarms</th></tr></thead>\n<tbody>\n";
    let groups = report.groups.iter().map(|group| (group.name.as_str(), group)).chain([("all", total)]);
    for (name, group) in groups {
        let sum = &group.sum;
        let _ = write!(
            text,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td>",
            escaped(name),
            sum.windows,
            sum.devices,
            sum.counters.requests
        );
        for metric in &columns {
            let _ = write!(text, "<td>{}</td>", value(group, *metric));
        }
        let _ = writeln!(text, "<td>{}</td><td>{}</td></tr>", truth(group), group.alarms());
    }
    text + "</tbody>\n</table>\n</div>\n<p class=\"note\">An alarm is a window whose value is beyond a bound.</p>\n</section>\n"
}

fn every_metric(total: &Group) -> String {
    let mut text = String::from(
        "<section>\n<h2>Every metric</h2>\n<table>\n<thead><tr><th scope=\"col\">Metric</th><th scope=\"col\">Value</th>\
         <th scope=\"col\">What it is</th></tr></thead>\n<tbody>\n",
    );
    for entry in TABLE.iter().filter(|entry| total.sum.values.contains_key(&entry.metric)) {
        let _ = writeln!(
            text,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>",
            escaped(entry.label),
            value(total, entry.metric),
            escaped(&entry.text())
        );
    }
    text + "</tbody>\n</table>\n</section>\n"
}
