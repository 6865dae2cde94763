//! What the agent adds to a prediction: the engine called directly, and through the agent. `cargo bench`.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use modelfleet_agent::admit::Loader;
use modelfleet_agent::config::EngineName;
use modelfleet_agent::fetch::Keys;
use modelfleet_agent::host::{Isolation, engines};
use modelfleet_agent::serve::{Instance, Models, Reading};
use modelfleet_agent::tensor::{Elements, NamedTensor};
use modelfleet_agent_core::build::Build;
use modelfleet_agent_core::interface::{RecordingTarget, Role};
use modelfleet_protocol::bins::Bins;
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::model::{FeatureProfile, ModelBuild, Profile};
use modelfleet_protocol::time::Time;

const RUNS: u32 = 20_000;
const ROUNDS: usize = 15;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("../examples/pumps/models/pump-anomaly-1.0.0.onnx");
    let script = Command::new("bash").arg(root.join("onnxruntime.sh")).output().unwrap();
    let library = PathBuf::from(String::from_utf8(script.stdout).unwrap().trim());
    let build = Build::from(build(&std::fs::read(&path).unwrap()));
    let loader = Loader::new(
        engines(&[EngineName::Onnxruntime], Some(&library), 1, &Isolation::None),
        Keys::default(),
    );
    let ready = loader.ready(&path, &build).unwrap();

    let models = Models::remembering(4096);
    let model = models.entry(&build.model);
    let reading = Reading::of(&build).unwrap();
    model.place(Role::Live, Some(Arc::new(Instance { build: build.clone(), ready: ready.clone(), reading })));
    let watch = RecordingTarget {
        model: build.model.clone(),
        build: Some(build),
        window_ms: 60_000,
        role: Role::Live,
    };
    drop(models.record_for(Time(0), &watch));

    let row = vec![0.111_f32, 0.39, 3.51, -0.062, 58_782.0, 13_805.0, 339.8];
    let inputs = [NamedTensor { name: "features".into(), shape: vec![1, 7], data: Elements::F32(row) }];
    let time_limit = Duration::from_secs(2);
    let (mut direct, mut through) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        direct.push(nanos(|_| drop(ready.session.run(&inputs).unwrap())));
        let key = |run: u32| u64::from(run) + (round as u64) * u64::from(RUNS) + 1;
        through.push(nanos(|run| drop(model.predict(key(run), &inputs, time_limit).unwrap())));
    }
    let (direct, through) = (median(direct), median(through));
    println!("engine {direct} ns, through the agent {through} ns, added {} ns", through - direct);
}

fn nanos(mut run: impl FnMut(u32)) -> i64 {
    let start = Instant::now();
    (0..RUNS).for_each(&mut run);
    i64::try_from(start.elapsed().as_nanos() / u128::from(RUNS)).unwrap()
}

fn median(mut values: Vec<i64>) -> i64 {
    values.sort_unstable();
    values[values.len() / 2]
}

fn build(bytes: &[u8]) -> ModelBuild {
    let text = format!(
        r#"{{"model":"pump-anomaly","version":"1.0.0","digest":"{}","uri":"file:///","sizeBytes":{},
        "format":"Onnx","inputs":[{{"name":"features","datatype":"FP32","shape":[-1,7]}}],
        "outputs":[{{"name":"label","datatype":"INT64","shape":[-1,1]}}],
        "decision":{{"output":"label","positiveWhen":{{"Label":-1}}}}}}"#,
        Digest::of(bytes),
        bytes.len()
    );
    let mut build: ModelBuild = serde_json::from_str(&text).unwrap();
    let feature = |index: usize| FeatureProfile {
        name: format!("f{index}"),
        expected_min: -1e6,
        expected_max: 1e6,
        edges: (0..20).map(|edge| f64::from(edge) * 10.0).collect(),
        counts: Bins(vec![1; 21]),
    };
    build.profile = Some(Profile { features: (0..7).map(feature).collect(), confidence: None });
    build
}
