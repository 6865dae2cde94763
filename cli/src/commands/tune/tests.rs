use clap::Parser as _;

use super::*;
use crate::arguments::{Arguments, Command};

fn tune(words: &[&str]) -> TuneArguments {
    let all = ["kubectl-modelfleet", "tune"].iter().chain(words);
    match Arguments::try_parse_from(all).unwrap().command {
        Command::Tune(arguments) => arguments,
        other => panic!("{other:?}"),
    }
}

/// Reference 000, 7.4.
#[test]
fn the_fall_detector_raises_2100_false_alarms_a_year() {
    let text = alarms(&tune(&["--specificity", "99.9%"])).unwrap();
    assert_eq!(
        text,
        "Asked 5760 times a day, 2102400 times a year. A specificity of 99.9% means 2102.4 false alarms a year on each device.\n"
    );
    let text = alarms(&tune(&["--most-alarms", "1.5"])).unwrap();
    assert!(
        text.ends_with("At most 1.5 false alarms a year on each device need a specificity of 99.9999287%.\n"),
        "{text}"
    );
    let once_an_hour = alarms(&tune(&["--specificity", "0.979", "--every", "1h", "--hours", "24h"])).unwrap();
    assert!(
        once_an_hour.starts_with("Asked 24 times a day") && once_an_hour.contains("97.9% means 184 false"),
        "{once_an_hour}"
    );
    assert!(matches!(alarms(&tune(&["--specificity", "1", "--hours", "25h"])), Err(TuneError::Never)));
}

/// Reference 000, 7.7.3 and 7.7.6, as five years of cases.
#[test]
fn the_pumps_cost_what_the_text_says_to_the_dollar() {
    let dir = tempfile::tempdir().unwrap();
    let (scored, costs) = (dir.path().join("scored.csv"), dir.path().join("costs.yaml"));
    let mut lines = String::from("pump,score,event\n");
    for (count, score, event) in [
        (50, 0.95, 1),
        (5, 0.87, 1),
        (2, 0.82, 1),
        (3, 0.75, 1),
        (40, 0.93, 0),
        (50, 0.86, 0),
        (85, 0.81, 0),
        (225, 0.71, 0),
        (1_000, 0.2, 0),
    ] {
        (0..count).for_each(|_| lines += &format!("p,{score},{event}\n"));
    }
    std::fs::write(&scored, lines).unwrap();
    std::fs::write(&costs, "missed: 15000\nfound: 3000\nfalseAlarm: 500\ndevelopment: 15000\n").unwrap();
    let (scored_path, costs_path) = (scored.to_str().unwrap(), costs.to_str().unwrap());
    let words = ["--scored", scored_path, "--costs", costs_path, "--covers", "1825d"];
    let thresholds = ["0.7", "0.8", "0.85", "0.9"].into_iter().flat_map(|at| ["--threshold", at]);
    let words: Vec<&str> = words.into_iter().chain(thresholds).collect();
    let file = costs_file::read(&costs).unwrap();
    let text = super::scored(&tune(&words), &file).unwrap();
    let cells = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let rows: Vec<Vec<String>> = text.lines().skip(1).take(4).map(cells).collect();
    for (row, (at, recall, alarms, missed, cost)) in rows.iter().zip([
        ("0.7", "100.0%", "80", "0", "$76,000"),
        ("0.8", "95.0%", "35", "0.6", "$60,700"),
        ("0.85", "91.7%", "18", "1", "$57,000"),
        ("0.9", "83.3%", "8", "2", "$64,000"),
    ]) {
        assert_eq!(
            [&row[0], &row[1], &row[5], &row[6], &row[7]],
            [at, recall, alarms, missed, cost],
            "{text}"
        );
    }
    assert!(text.contains(
        "Threshold 0.85 costs least: $57,000 a year. Without the model it would be $180,000: a reduction of $123,000 (68% savings).\n\
         Return on $15,000 of development: 820%.\nCounts of 1825 days, told for 365.\n"
    ), "{text}");
}

#[test]
fn a_wrong_file_is_told_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let (path, costs) = (dir.path().join("scored.csv"), dir.path().join("costs.yaml"));
    std::fs::write(&costs, "missed: 1\nfound: 1\nfalseAlarm: 1\n").unwrap();
    let told = |text: &str| {
        std::fs::write(&path, text).unwrap();
        let arguments = tune(&["--scored", path.to_str().unwrap(), "--costs", costs.to_str().unwrap()]);
        super::scored(&arguments, &costs_file::read(&costs).unwrap()).unwrap_err().to_string()
    };
    assert!(told("score,truth\n0.5,1\n").ends_with("there is no column event; the header has score, truth"));
    assert!(told("score,event\n0.5,1\nhigh,0\n").ends_with("line 3: the score \"high\" is no number"));
    assert!(told("score,event\n0.5,maybe\n").ends_with("line 2: the event \"maybe\" is neither 1 nor 0"));
    assert!(told("score,event\n").ends_with("no cases below the header"));
}
