//! Rules, alerts, routes and dashboards of manifests/monitoring, by Prometheus' own tools.

#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]

mod names;
mod scraped;

use std::path::{Path, PathBuf};
use std::process::Command;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/monitoring")
}

/// The files of a folder with this ending, by name.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    files.sort();
    assert!(!files.is_empty(), "{} has no {ending}", folder.display());
    files
}

/// Runs a tool, and says what to install where it is missing.
fn tool(name: &str, package: &str, arguments: &[&str], more: &[PathBuf]) -> String {
    let out = Command::new(name).args(arguments).args(more).output();
    let out = out.unwrap_or_else(|error| panic!("{name}: {error}; install Debian's package {package}"));
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{name} {arguments:?}: {text}");
    text
}

fn promtool(arguments: &[&str], more: &[PathBuf]) -> String {
    tool("promtool", "prometheus", arguments, more)
}

#[test]
fn rules_can_be_read() {
    promtool(&["check", "rules"], &files(&folder(), "-rules.yaml"));
}

/// Each alert fires beyond its bound, keeps still at it, and clears.
#[test]
fn alerts_fire_and_clear() {
    promtool(&["test", "rules"], &files(&folder().join("tests"), ".yaml"));
}

#[test]
fn every_alert_has_a_test() {
    let text = |paths: Vec<PathBuf>| -> String {
        paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
    };
    let (rules, tests) =
        (text(files(&folder(), "-rules.yaml")), text(files(&folder().join("tests"), ".yaml")));
    let alerts: Vec<&str> = rules.lines().filter_map(|l| l.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 30, "{alerts:?}");
    for alert in alerts {
        assert!(tests.contains(&format!("alertname: {alert}\n")), "no test of {alert}");
    }
}

#[test]
fn alerts_reach_the_receiver_of_their_severity() {
    let config = folder().join("alertmanager.yaml");
    let config = config.to_str().unwrap();
    let amtool = |arguments: &[&str]| tool("amtool", "prometheus-alertmanager", arguments, &[]);
    amtool(&["check-config", config]);
    for (severity, receiver) in [("critical", "pager"), ("warning", "tickets"), ("info", "log")] {
        let file = format!("--config.file={config}");
        let verify = format!("--verify.receivers={receiver}");
        let severity = format!("severity={severity}");
        let alert = "alertname=ModelfleetRolloutStalled";
        amtool(&["config", "routes", "test", &file, &verify, alert, &severity, "namespace=plant"]);
    }
}
