//! Ground truth that comes late, to an agent that is killed in between.

#![allow(clippy::unwrap_used)]

mod support;

use modelfleet_protocol::generated::Counters;
use modelfleet_protocol::window::add_counters;
use modelfleet_test_support::pump_plan::MODEL;
use modelfleet_test_support::wait::wait;
use serde_json::{Value, json};
use support::Agent;
use support::plant::Plant;

fn counted(plant: &Plant, agent: &Agent) -> Option<Counters> {
    let report = plant.console.report(&agent.id)?;
    let mut sum = Counters::default();
    report.windows.iter().filter_map(|window| window.counters).for_each(|c| add_counters(&mut sum, &c));
    Some(sum)
}

fn truths(c: &Counters) -> [u64; 6] {
    [c.class_known, c.class_right, c.true_positive, c.false_positive, c.true_negative, c.false_negative]
}

/// The labels that a request with this id was answered with.
fn infer(agent: &Agent, id: &str, rms: &[f64]) -> Option<Vec<i64>> {
    let rows: Vec<f64> =
        rms.iter().flat_map(|rms| [*rms, 0.39, 3.5, -0.06, 58782.0, 13805.0, 339.0]).collect();
    let input = json!({"name": "features", "shape": [rms.len(), 7], "datatype": "FP32", "data": rows});
    let body = json!({"id": id, "inputs": [input]}).to_string();
    let (status, answer) = agent.ask("POST", &format!("/v2/models/{MODEL}/infer"), &body);
    let output = answer["outputs"].as_array()?.iter().find(|o| o["name"] == "label")?.clone();
    (status == 200).then(|| output["data"].as_array().unwrap().iter().map(|l| l.as_i64().unwrap()).collect())
}

fn tell(agent: &Agent, lines: &[Value]) -> Value {
    let body = json!({"lines": lines}).to_string();
    let (status, answer) = agent.ask("POST", &format!("/v2/models/{MODEL}/truth"), &body);
    assert_eq!(status, 200, "{answer}");
    answer
}

fn quality(agent: &Agent) -> Value {
    let (status, answer) = agent.ask("GET", &format!("/v2/models/{MODEL}/truth"), "");
    assert_eq!(status, 200, "{answer}");
    answer["builds"][0].clone()
}

#[test]
fn truth_is_booked_once_across_kills_and_restarts() {
    let plant = Plant::new();
    let mut agent = plant.with_stable();
    // What came before the build was observed is not kept.
    wait("the build to be observed", || {
        infer(&agent, "first", &[0.1])?;
        tell(&agent, &[json!({"id": "first", "truth": false})])["counted"].get("booked").cloned()
    });
    let before = wait("the first truth in a report", || {
        counted(&plant, &agent).filter(|c| truths(c).iter().sum::<u64>() == 1)
    });
    let single = infer(&agent, "one", &[0.1]).unwrap();
    let batch = infer(&agent, "many", &[0.1, 0.2, 0.1]).unwrap();
    let labels = [single, batch].concat();
    wait("the predictions in a report", || {
        counted(&plant, &agent).filter(|c| c.requests >= before.requests + 4)
    });
    agent.kill();

    let mut agent = plant.agent();
    wait("the agent to answer", || infer(&agent, "later", &[0.1]));
    let ids = ["one", "many", "many/1", "many/2"];
    let wrong = |label: i64| if label == 1 { -1 } else { 1 };
    let mut lines: Vec<Value> =
        ids.iter().zip(&labels).map(|(id, label)| json!({"id": id, "truth": label})).collect();
    lines.push(json!({"id": "many/1", "truth": wrong(labels[2]), "toldAt": 1}));
    let event = json!({"id": "wo-1", "at": "2020-01-01", "truth": true});
    lines.push(event);
    lines.push(json!({"id": "never seen", "truth": true}));
    lines.push(json!({"id": "one", "truth": [1]}));
    let told = tell(&agent, &lines);
    assert_eq!(told["counted"], json!({"booked": 4, "older": 1}), "{told}");
    let refused = json!({"TooOld": 1, "UnknownPrediction": 1, "Unreadable": 1});
    assert_eq!(told["refused"], refused, "{told}");
    assert_eq!(told["refusedLines"].as_array().unwrap().len(), 3);
    // It was acknowledged, so it outlives the next moment.
    agent.kill();

    let agent = plant.agent();
    wait("the agent to answer", || infer(&agent, "later", &[0.1]));
    let known = tell(&agent, &lines[..4]);
    assert_eq!(known["counted"], json!({"known": 4}), "{known}");
    let alarms = labels.iter().filter(|label| **label == -1).count() as u64;
    let sum = wait("the truth in a report", || {
        counted(&plant, &agent).filter(|c| c.class_known == 4 && c.requests > before.requests + 4)
    });
    let first = truths(&before);
    let expected = [4, 4, first[2] + alarms, first[3], first[4] + 4 - alarms, first[5]];
    assert_eq!(truths(&sum), expected, "each once");
    let quality = quality(&agent);
    assert_eq!(quality["metrics"]["Accuracy"], "100 %", "{quality}");
    let cells: u64 =
        quality["classes"].as_array().unwrap().iter().map(|cell| cell["count"].as_u64().unwrap()).sum();
    assert_eq!(cells, 4, "{quality}");
}
