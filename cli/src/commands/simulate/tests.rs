//! What `simulate` prints: one run as a story, and the page against the JSON.

use std::path::PathBuf;

use clap::Parser;
use serde_json::Value;

use super::*;

/// The command line alone.
#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    simulate: SimulateArguments,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The rollout of the pumps that goes wrong on old pumps.
fn arguments(more: &[&str]) -> SimulateArguments {
    let example = |path: &str| folder().join("../examples/pumps").join(path).display().to_string();
    let (rollout, scenario) = (example("rollouts/1.2.0.yaml"), example("scenarios/old-heavy-pumps.yaml"));
    let own = ["simulate", "-f", &rollout, "--scenario", &scenario];
    CommandLine::parse_from(own.iter().chain(more)).simulate
}

/// The page and the JSON of the same runs.
fn page_and_json(arguments: &SimulateArguments) -> (String, Value) {
    let SimulationInput { rollout, setup, scenario } = SimulationInput::of(&arguments.input).unwrap();
    let stages: Vec<String> = setup.parts.stages.iter().map(|stage| stage.name.clone()).collect();
    let simulation = Simulation::new(setup, &scenario).unwrap();
    let outcomes = threads::run_all(&simulation, arguments.seed, arguments.runs, 1).unwrap();
    let summary = Summary::of(Tested::Detection, stages.len(), &outcomes);
    let devices = scenario.fleet.devices;
    let report =
        report::Report { rollout: &rollout, arguments, devices, stages: &stages, outcomes: &outcomes };
    (html::page(&report, &summary), report.json(&summary))
}

#[test]
fn a_run_is_told_from_its_beginning_to_its_end() {
    let arguments = arguments(&["--explain", "--seed", "7"]);
    let SimulationInput { rollout, setup, scenario } = SimulationInput::of(&arguments.input).unwrap();
    let simulation = Simulation::new(setup, &scenario).unwrap();
    let told = story::text(&rollout, &simulation, arguments.seed, arguments.explain.unwrap()).unwrap();
    let golden = folder().join("src/commands/simulate/golden/story.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &told).unwrap();
    }
    let wanted = std::fs::read_to_string(&golden).unwrap();
    assert_eq!(told, wanted, "UPDATE_GOLDEN=1 writes {}", golden.display());
}

/// Every number that the page writes is the JSON's, and none is left out that has a picture.
#[test]
fn the_page_has_the_numbers_of_the_json() {
    let (page, json) = page_and_json(&arguments(&["--runs", "12", "--threads", "1"]));
    let data = regex::Regex::new(r#"<data value="(\d+)" data-field="([^"]+)">"#).unwrap();
    let mut fields = std::collections::BTreeSet::new();
    for found in data.captures_iter(&page) {
        let (value, field) = (found[1].parse::<u64>().unwrap(), &found[2]);
        let (name, rest) = field.split_once('.').unwrap();
        let wanted = match name {
            "wentBackWithoutHarmShown" => json[name][rest].clone(),
            "harmByStage" => {
                let (stage, part) = rest.split_once('.').unwrap();
                let hits = json["summary"]["harmByStage"][stage.parse::<usize>().unwrap()].as_u64().unwrap();
                let share = serde_json::to_value(modelfleet_simulation::Share::of(hits, 12)).unwrap();
                share[part].clone()
            }
            name => match rest.parse::<usize>() {
                Ok(index) => json["summary"][name][index].clone(),
                Err(_) => json["summary"][name][rest].clone(),
            },
        };
        assert_eq!(wanted, value, "{field}");
        fields.insert(name.to_owned());
    }
    let shown = [
        "detectedMs",
        "durationMs",
        "exposed",
        "harmByStage",
        "harmShown",
        "held",
        "incident",
        "onExposure",
        "paused",
        "succeeded",
        "undecided",
        "wentBackWithoutHarmShown",
    ];
    assert!(fields.iter().eq(shown.iter()), "{fields:?}");
}

#[test]
fn the_page_stands_alone_and_says_what_its_pictures_show() {
    let (page, _) = page_and_json(&arguments(&["--runs", "3", "--threads", "1"]));
    for absent in ["<script", "http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(absent), "{absent}");
    }
    assert!(page.contains("prefers-color-scheme: dark"));
    let pictures = page.matches("<svg role=\"img\"").count();
    assert!(pictures >= 4, "{pictures}");
    assert_eq!(page.matches("<desc>").count(), pictures);
    assert_eq!(page.matches("aria-label=").count(), pictures);
}

#[test]
fn texts_in_the_page_are_escaped() {
    assert_eq!(html::escaped("<a href='x'>&\"\u{7}"), "&lt;a href=&#39;x&#39;&gt;&amp;&quot; ");
}

#[test]
fn a_bar_needs_a_method() {
    assert_eq!(rule(&arguments(&[])).unwrap(), Rule::Judge);
    let told = rule(&arguments(&["--bar", "2"])).unwrap_err().to_string();
    assert!(told.contains("--rule other than judge"), "{told}");
    let tuned = rule(&arguments(&["--rule", "msprt", "--bar", "2.5"])).unwrap();
    assert_eq!(tuned, Rule::Other { method: Method::Msprt, bar: 2.5 });
    assert!(rule(&arguments(&["--rule", "argo", "--bar", "nan"])).is_err());
}
