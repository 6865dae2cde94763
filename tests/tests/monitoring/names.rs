//! What is documented is shown, and what is shown is documented.

use std::collections::BTreeSet;
use std::path::Path;

use modelfleet_protocol::metric::TABLE;

use crate::{files, folder};

/// Names of metrics in a text.
pub fn metrics(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = text.split(|c| !word(c)).filter(|word| word.starts_with("modelfleet_"));
    let whole = |name: &str| {
        let parts = ["_bucket", "_sum", "_count"];
        parts.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name).to_owned()
    };
    words.map(whole).collect()
}

/// The metrics that manifests/README.md and docs/metrics.md name.
pub fn documented() -> BTreeSet<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let rows = readme.lines().filter(|line| line.starts_with("| `modelfleet_"));
    let mut names: BTreeSet<String> = rows.flat_map(|row| metrics(row.split('|').nth(1).unwrap())).collect();
    names.extend(TABLE.iter().map(|entry| entry.family()));
    names
}

/// The queries of all panels, with the dashboard and the title of their panel.
pub fn queries() -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for path in files(&folder().join("dashboards"), ".json") {
        let text = std::fs::read_to_string(&path).unwrap();
        let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            let name =
                format!("{}: {}", dashboard["title"].as_str().unwrap(), panel["title"].as_str().unwrap());
            let targets = panel["targets"].as_array().into_iter().flatten();
            queries.extend(targets.map(|target| (name.clone(), target["expr"].as_str().unwrap().to_owned())));
        }
    }
    queries
}

fn rules() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap();
    files(&folder(), "-rules.yaml").into_iter().map(read).collect()
}

#[test]
fn every_documented_metric_is_in_a_panel_or_a_rule_and_no_other_is() {
    let panels: String = queries().into_iter().map(|(_, query)| query + "\n").collect();
    let used = metrics(&(panels + &rules()));
    let documented = documented();
    let missing: Vec<_> = documented.difference(&used).collect();
    let unknown: Vec<_> = used.difference(&documented).collect();
    assert!(missing.is_empty(), "in no panel and no rule: {missing:?}");
    assert!(unknown.is_empty(), "in no table of the documentation: {unknown:?}");
}

#[test]
fn every_metric_of_the_table_has_a_panel() {
    let panels: String = queries().into_iter().map(|(_, query)| query + "\n").collect();
    let shown = metrics(&panels);
    let missing: Vec<String> =
        TABLE.iter().map(|entry| entry.family()).filter(|family| !shown.contains(family)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn what_panels_take_from_rules_is_recorded() {
    let rules = rules();
    for (panel, query) in queries() {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        for name in query.split(|c| !word(c)).filter(|name| name.starts_with("modelfleet:")) {
            assert!(rules.contains(&format!("- record: {name}\n")), "{panel}: {name} is not recorded");
        }
    }
}
