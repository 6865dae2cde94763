use std::collections::BTreeMap;

use modelfleet_history::place::part_of_leader;
use modelfleet_history::row::{Key, RAW, Row, Value};
use modelfleet_protocol::generated::Counters;
use modelfleet_protocol::latency::LatencyHistogram;

use super::*;

const DAY_MS: u64 = 86_400_000;
/// 2026-11-01.
const START_MS: u64 = 1_793_491_200_000;

/// A day of 200 pumps: in 365 of them 11 failures are found, one is missed, and 18 alarms are false (reference 000, 7.7.6).
fn day(number: u64, version: &str, stratum: &str, p95_ms: u64) -> Row {
    let at = number % 365;
    let one = |yes: bool| u64::from(yes);
    let counters = Counters {
        requests: 4_800,
        errors: 24,
        true_positive: one(at < 11),
        false_negative: one(at == 11),
        false_positive: one((20..38).contains(&at)),
        true_negative: 100,
        observed_ms: 200 * DAY_MS,
        ..Counters::default()
    };
    let mut latency = LatencyHistogram::default();
    latency.add(p95_ms * 1_000_000, 4_800);
    let key = Key {
        namespace: "plant".into(),
        model: "vibration".into(),
        start_ms: START_MS + number * DAY_MS,
        window_ms: DAY_MS,
        resolution: RAW.into(),
        version: version.into(),
        arm: "canary".into(),
        stratum: stratum.into(),
    };
    let values = [
        (Metric::ErrorRate, Value::new(5_000, 4_800)),
        (Metric::Accuracy, Value::new(990_000, 101)),
        (Metric::LatencyP95, Value::new(latency.quantile(950_000).unwrap(), 4_800)),
        (Metric::FeaturePsi, Value::new(310_000, 4_800)),
    ];
    Row {
        key,
        windows: 1,
        devices: 200,
        device_windows: 200,
        revision: 1,
        counters,
        latency,
        values: BTreeMap::from(values),
    }
}

/// A folder with a year of history, as a leader writes it.
fn year(dir: &std::path::Path) -> String {
    let mut by_place = BTreeMap::new();
    for number in 0..365 {
        let version = if number < 300 { "1.0.0" } else { "1.1.0" };
        let whole = day(number, version, "", 200 + 300 * u64::from(number >= 300));
        let stratum = day(number, version, "hall=<north> & \"south\"", 210);
        for row in [whole, stratum] {
            by_place.entry(row.place()).or_insert_with(Vec::new).push(row);
        }
    }
    for (place, rows) in by_place {
        let path = dir.join(place.file(&part_of_leader(7, 0)));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, modelfleet_history_file::write(&rows).unwrap()).unwrap();
    }
    dir.display().to_string()
}

fn about(by: Option<By>) -> About {
    let at = |days: u64| Timestamp::from_millisecond((START_MS + days * DAY_MS) as i64).unwrap();
    About { model: "vibration".into(), namespace: "plant".into(), since: at(0), until: at(365), by }
}

async fn made(by: Option<By>) -> (About, Report) {
    let dir = tempfile::tempdir().unwrap();
    let (history, about) = (year(dir.path()), about(by));
    let (since_ms, until_ms) = (START_MS, START_MS + 365 * DAY_MS);
    let rows = read::rows(&history, &about, since_ms, until_ms).await.unwrap();
    let asked = Asked { since_ms, until_ms, by, bounds: USUAL_BOUNDS.to_vec() };
    (about, report(&counted(rows, since_ms, until_ms), &asked))
}

fn costs() -> CostsFile {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("costs.yaml");
    std::fs::write(&path, "missed: 15000\nfound: 3000\nfalseAlarm: 500\ndevelopment: 15000\n").unwrap();
    costs_file::read(&path).unwrap()
}

#[tokio::test]
async fn a_year_of_pumps_is_told_as_a_table_with_what_it_saves() {
    let (about, report) = made(Some(By::Version)).await;
    let saved = saved(&report, costs()).unwrap();
    let text = told::table(&about, &report, Some(&saved));
    let line = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{text}"));
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        text.lines().next().unwrap(),
        "Model vibration in namespace plant, 2026-11-01T00:00:00Z to 2027-11-01T00:00:00Z"
    );
    assert_eq!(line("1.0.0")[..5], ["1.0.0", "300", "200", "1440000", "99 %"].map(str::to_owned));
    assert_eq!(line("1.1.0")[1], "65");
    assert_eq!(line("all")[3], "1752000");
    assert!(text.contains("P95 latency at most 500 ms"), "{text}");
    // 65 windows of the slower version, and all for the drift.
    assert_eq!(line("all").last().unwrap(), "430");
    for sentence in [
        "A year of 200 devices at this rate has 11 events found, 1 missed and 18 false alarms.",
        "That costs $57,000; without the model it would be $180,000.",
        "Annual cost reduction: $123,000 (68% savings).",
        "Return on $15,000 of development: 820%.",
    ] {
        assert!(text.contains(sentence), "{sentence} in {text}");
    }
}

#[tokio::test]
async fn json_has_every_metric_in_base_units() {
    let (about, report) = made(Some(By::Stratum)).await;
    let saved = saved(&report, costs());
    let object = json::object(&about, &report, saved.as_ref());
    assert_eq!(object["groups"].as_array().unwrap().len(), 1);
    assert_eq!(object["groups"][0]["name"], "hall=<north> & \"south\"");
    let total = &object["total"];
    assert_eq!(total["windows"], 365);
    assert_eq!(total["counters"]["errors"], 24 * 365);
    assert_eq!(total["metrics"]["ErrorRate"]["value"], 0.005);
    assert_eq!(total["metrics"]["FeaturePsi"]["value"], 0.31);
    assert_eq!(object["days"].as_array().unwrap().len(), 365);
    assert_eq!(object["savings"]["annualReduction"], 123_000.0);
    assert_eq!(object["savings"]["returnOnDevelopment"], 8.2);
}

/// No request leaves the page, and what labels say is text.
#[tokio::test]
async fn the_page_stands_alone_and_says_what_the_table_says() {
    let (about, report) = made(Some(By::Stratum)).await;
    let saved = saved(&report, costs());
    let page = html::page(&about, &report, saved.as_ref());
    for outside in ["http://", "https://", "src=", "href=", "@import", "url(", "<script", "<link"] {
        assert!(!page.contains(outside), "the page has {outside}");
    }
    assert!(page.contains("hall=&lt;north&gt; &amp; &quot;south&quot;") && !page.contains("<north>"));
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("@media print"));
    assert!(page.contains("Abnormal: beyond the bound are P95 latency, PSI of inputs."), "{page}");
    assert!(page.contains("Annual cost reduction: $123,000 (68% savings)."));
    assert_eq!(page.matches("<figure>").count(), 4, "a chart for each bound that is known");
    for tag in ["section", "table", "svg", "figure", "tr", "main", "div"] {
        let (open, close) = (format!("<{tag}"), format!("</{tag}>"));
        let opened = page.matches(&format!("{open}>")).count() + page.matches(&format!("{open} ")).count();
        assert_eq!(opened, page.matches(&close).count(), "{tag}");
    }
}

#[test]
fn bounds_are_read_as_those_of_objectives() {
    let accuracy = Bound { metric: Metric::Accuracy, threshold: 950_000 };
    assert_eq!(bound("Accuracy=95%"), Ok(accuracy));
    assert_eq!(bound("LatencyP95=500ms"), Ok(Bound { metric: Metric::LatencyP95, threshold: 500_000_000 }));
    for (text, told) in [
        ("Accuracy", "must be a metric and its bound"),
        ("Speed=3", "there is no metric Speed"),
        ("Accuracy=5s", "must have a percentage"),
        ("LatencyP95=5%", "must have a duration"),
    ] {
        assert!(bound(text).unwrap_err().contains(told), "{text}");
    }
}
