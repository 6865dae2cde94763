//! What a new user tries first: the program itself, on the examples and on what is not one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn example(path: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/pumps").join(path).display().to_string()
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-modelfleet"));
    command.args(arguments);
    command
}

/// Runs the program; gives its exit code, standard output and standard error.
fn said(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = program(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (status.code(), text(&stdout), text(&stderr))
}

fn refused(arguments: &[&str], words: &[&str]) {
    let (code, _, error) = said(arguments);
    assert_eq!(code, Some(1), "{arguments:?}: {error}");
    assert!(error.starts_with("error: ") && words.iter().all(|word| error.contains(word)), "{error}");
}

#[test]
fn a_simulation_records_what_can_be_judged_again() {
    let folder = tempfile::tempdir().unwrap();
    let record = folder.path().join("looks.jsonl").display().to_string();
    let (rollout, scenario) = (example("rollouts/1.2.0.yaml"), example("scenarios/old-heavy-pumps.yaml"));
    let own = ["simulate", "-f", &rollout, "--scenario", &scenario, "--runs", "2"];
    let (code, table, notes) = said(&[&own[..], &["--record", &record]].concat());
    assert!(code == Some(0) && table.contains("2 runs on 200 devices"), "{table}{notes}");
    assert!(notes.contains("judge replay") && !notes.contains("assuming"), "{notes}");
    let (code, table, error) = said(&["judge", "replay", &record]);
    assert!(code == Some(0) && table.contains("all answers are as recorded"), "{table}{error}");
    // What the core is told beside the judge's advice: to wait, or a pause, is neither good nor bad.
    let told = |row: &&str| row.contains(" RollBack ") && row.contains(" Degraded ");
    assert!(table.contains("EVIDENCE") && table.lines().any(|row| told(&row)), "{table}");
    assert!(table.lines().any(|row| row.contains(" Wait ") && row.contains(" Undecided ")), "{table}");

    let (code, json, error) = said(&[&own[..], &["-o", "json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(code == Some(0) && json["runs"] == 2, "{json}{error}");

    let text = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, text.replacen("\"advice\":\"Wait\"", "\"advice\":\"Advance\"", 1)).unwrap();
    let (code, table, _) = said(&["judge", "replay", &record]);
    assert!(code == Some(1) && table.contains("NO, was Advance"), "{table}");
    std::fs::write(&record, "").unwrap();
    refused(&["judge", "replay", &record], &["looks.jsonl", "holds no look", "--record"]);
    std::fs::write(&record, "{}\n").unwrap();
    refused(&["judge", "replay", &record], &["looks.jsonl, line 1", "--record"]);
}

#[test]
fn what_is_wrong_is_said_with_the_file_and_a_code() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let rollout = example("rollouts/1.2.0.yaml");
    refused(&["plan", "-f", "not-there.yaml"], &["not-there.yaml", "No such file"]);
    refused(&["plan", "-f", &file("cut.yaml", b"kind: [\n")], &["cut.yaml", "line 1, column"]);
    refused(&["plan", "-f", &file("bytes", &[0xff, 0xfe])], &["bytes is not a text file"]);
    refused(&["plan", "-f", &file("other.yaml", b"kind: Rollout\n")], &["other.yaml", "0 objects"]);
    let misspelt = file("misspelt.yaml", b"fleet: {devces: 5}\n");
    refused(
        &["simulate", "-f", &rollout, "--scenario", &misspelt],
        &["misspelt.yaml", "line 1, column 9: fleet.devces: unknown field `devces`"],
    );
    for (flag, value) in
        [("--runs", "0"), ("--runs", "-1"), ("--devices", "0"), ("--devices", "-1"), ("--seed", "-1")]
    {
        refused(&["simulate", "-f", &rollout, flag, value], &[flag]);
    }
    let (code, told, _) = said(&["lint", "-f", &file("empty.yaml", b"")]);
    assert!(code == Some(1) && told.contains("empty.yaml: error: it holds no objects"), "{told}");
}

#[test]
fn a_reader_that_goes_away_is_no_error_worth_a_word() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = program(&["completion", "bash"]).stdout(Stdio::from(writer)).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.len()), (Some(1), 0));
}

#[test]
fn an_answer_that_cannot_be_written_is_an_error() {
    let full = Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    let full = std::fs::File::options().write(true).open(full).unwrap();
    let output = program(&["completion", "bash"]).stdout(full).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && error.contains("write the answer"), "{error}");
}

#[test]
fn access_rules_of_devices_are_those_that_the_fleet_needs() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("devices.csv");
    std::fs::write(&list, "site,id\n# the first hall\nhall-7,pump-001\nhall-7,pump-002\n").unwrap();
    let path = list.display().to_string();
    let own = ["broker-acl", "--model", "pump-anomaly", "--devices", &path];
    let (code, rules, error) = said(&[&own[..], &["-n", "plant-a", "pump-002"]].concat());
    assert_eq!(code, Some(0), "{error}");
    let users: Vec<&str> = rules.lines().filter(|line| line.starts_with("user ")).collect();
    assert_eq!(users, ["user pump-001", "user pump-002"]);
    assert!(rules.contains("topic write mf/1/plant-a/device/f0/pump-001/report/pump-anomaly\n"), "{rules}");
    let written: Vec<&str> = rules.lines().filter(|line| line.starts_with("topic write")).collect();
    assert!(written.len() == 8 && written.iter().all(|line| !line.contains(['+', '#'])), "{rules}");

    refused(&own, &["--namespace"]);
    std::fs::write(&list, "pump 001\n").unwrap();
    refused(&[&own[..], &["-n", "plant-a"]].concat(), &["devices.csv, line 1", "pump 001"]);
    std::fs::write(&list, "id\n").unwrap();
    refused(&[&own[..], &["-n", "plant-a"]].concat(), &["names no device"]);
}
