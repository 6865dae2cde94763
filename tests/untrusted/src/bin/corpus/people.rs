//! What people and their programs write: requests, tables, files of the plugin.

use modelfleet_judge::record::Record;
use modelfleet_judge::{
    Arm, Budget, Counts, DeviceOutcome, HardRule, Looks, Needs, Observations, SilenceRule, SloCounts,
    SloRule, StageState, assess,
};

use crate::Entry;

const JSON: &str = r#"
{"id":"7","inputs":[{"name":"vibration","shape":[2,2],"datatype":"FP32","data":[0.5,1,[2.5,-1e3]]},
{"name":"mode","shape":[1],"datatype":"BYTES","data":["auto"]},
{"name":"count","shape":[3],"datatype":"INT64","data":[1,-2,9007199254740993]}],
"outputs":[{"name":"alarm","parameters":{"binary_data":true}},{"name":"score"}]}"#;

const PYTHON: &str = r#"
{"inputs": [{"name": "x", "datatype": "FP32", "shape": [3], "data": [NaN, -Infinity, Infinity]}]}"#;

const ROLLOUT: &str = "apiVersion: modelfleet.io/v1alpha1
kind: Rollout
metadata: {name: pump-1-2-0, namespace: plant-a}
spec:
  model: pump-anomaly
  version: 1.2.0
  selector: {matchLabels: {age: old}, matchExpressions: [{key: site, operator: In, values: [north, south]}]}
  holdback: {share: 5%}
  stages:
    - {name: canary, devices: '20', bake: 12h, maxWait: 2d, spreadBy: [age], limits: {minWindows: 12}}
    - {name: full, devices: 100%, bake: 1d}
  slos:
    - {name: errors, metric: ErrorRate, threshold: 1%, onBreach: RollBack}
    - {name: slow, metric: LatencyP95, threshold: 200ms, judgedBy: Plain, forWindows: 3}
  observe: {window: 1h, warmupWindows: 1}
  probation: {timeout: 10m, minPredictions: 10}
";

const LEAST: &str = "apiVersion: modelfleet.io/v1alpha1
kind: Rollout
metadata: {name: pump}
spec: {model: pump, version: 1.0.0}
";

const SCENARIO: &str = "fleet: {devices: 40}
effect: {rateRatio: {errors: 3}}
";

const COMMAS: &str = "age,temperature,vibration,mode
3,61.5,0.12,auto
7,,0.4,manual
12,80.25,NaN,auto
5,70,0.31,auto
";

const SEMICOLONS: &str = "age;temperature;\"vibration, rms\"
3;61,5;0,12
7;;0,4
12;80,25;0,9
";

/// A look at five canaries and fifteen controls, as the judge records it.
fn record() -> Vec<u8> {
    let slos = [SloRule::statistical("errors", 50_000)];
    let harmed = [SloCounts { history: Counts::new(600, 6), post: Counts::new(60, 12) }];
    let calm = [SloCounts { history: Counts::new(600, 6), post: Counts::new(60, 1) }];
    let device = |id: u32| {
        let (arm, counts) = if id < 5 { (Arm::Canary, &harmed) } else { (Arm::Control, &calm) };
        DeviceOutcome::new(id, u16::from(id.is_multiple_of(2)), arm, counts)
    };
    let devices: Vec<_> = (0..20).map(device).collect();
    let observations = Observations {
        slos: &slos,
        devices: &devices,
        merged: &[],
        needs: Needs { min_devices: 5, min_windows: 30, min_reporting_ppm: 800_000 },
        hard: HardRule::default(),
        silence: SilenceRule::default(),
        budget: Budget { total_ppm: 10_000, spent_ppb: 12, stages_left: 4 },
        looks: Looks { reached: 2, planned: 6 },
        seed: 7,
    };
    let before = StageState::new();
    let record =
        Record::of("pump-1-1-0, attempt 1, canary", &observations, &before, &assess(&observations, &before));
    record.to_line().expect("a record is a line").into_bytes()
}

/// A request with its tensors as bytes behind the JSON.
fn binary() -> Vec<u8> {
    let json = r#"{"inputs":[{"name":"x","shape":[2],"datatype":"INT16","parameters":{"binary_data_size":4}}],"parameters":{"binary_data_output":true}}"#;
    [json.len().to_string().as_bytes(), b"\n", json.as_bytes(), &[1, 0, 2, 0]].concat()
}

pub fn entries() -> Vec<Entry> {
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        ("judge_record", "twenty-devices", record()),
        ("lint", "rollout", text(ROLLOUT)),
        ("lint", "least", text(LEAST)),
        ("local_api", "json", text(JSON)),
        ("local_api", "python", text(PYTHON)),
        ("local_api", "binary", binary()),
        ("rollout", "full", text(ROLLOUT)),
        ("rollout", "least", text(LEAST)),
        ("scenario", "few", text(SCENARIO)),
        ("training_rows", "commas", text(COMMAS)),
        ("training_rows", "semicolons", text(SEMICOLONS)),
    ]
}
