//! What the agent adds to a prediction: the engine called directly, through the agent, and in a worker process. `cargo bench`.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use modelfleet_agent::admit::{Loader, Ready};
use modelfleet_agent::config::EngineName;
use modelfleet_agent::fetch::Keys;
use modelfleet_agent::host::{Isolation, engines};
use modelfleet_agent::serve::{Instance, Keeping, Models, Reading};
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
    let ready = |isolation: &Isolation| {
        let engines = engines(&[EngineName::Onnxruntime], Some(&library), 1, isolation);
        Loader::new(engines, Keys::default()).ready(&path, &build).unwrap()
    };
    let inside = ready(&Isolation::None);
    let program = env!("CARGO_BIN_EXE_modelfleet-agent").into();
    let worker = ready(&Isolation::Process { program, memory_limit_bytes: 0 });

    let models = Models::keeping(Keeping::default());
    let model = models.entry(&build.model);
    let place = |ready: &Arc<Ready>| {
        let reading = Reading::of(&build).unwrap();
        let instance = Instance { build: build.clone(), ready: ready.clone(), reading };
        model.place(Role::Live, Some(Arc::new(instance)));
    };
    let watch = RecordingTarget {
        model: build.model.clone(),
        build: Some(build.clone()),
        window_ms: 60_000,
        role: Role::Live,
    };
    place(&inside);
    drop(models.record_for(Time(0), &watch));

    let inputs = rows(1);
    let time_limit = Duration::from_secs(2);
    let mut next_key = 0_u64;
    let mut predict = |_| {
        next_key += 1;
        drop(model.predict(next_key, &inputs, time_limit).unwrap());
    };
    let (mut direct, mut through, mut process, mut both) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        direct.push(nanos(RUNS, |_| drop(inside.session.run(&inputs).unwrap())));
        place(&inside);
        through.push(nanos(RUNS, &mut predict));
        process.push(nanos(RUNS, |_| drop(worker.session.run(&inputs).unwrap())));
        place(&worker);
        both.push(nanos(RUNS, &mut predict));
    }
    let [direct, through, process, both] = [direct, through, process, both].map(median);
    println!("engine {direct} ns, through the agent {through} ns, added {} ns", through - direct);
    println!("in a worker process {process} ns, added {} ns", process - direct);
    println!("through the agent to a worker process {both} ns, added {} ns", both - direct);
    for count in [100, 1_000, 20_000] {
        let inputs = rows(count);
        let runs = 400_000 / u32::try_from(count).unwrap();
        let (mut direct, mut process) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            direct.push(nanos(runs, |_| drop(inside.session.run(&inputs).unwrap())));
            process.push(nanos(runs, |_| drop(worker.session.run(&inputs).unwrap())));
        }
        let (direct, process) = (median(direct), median(process));
        println!("{count} rows: engine {direct} ns, in a worker process added {} ns", process - direct);
    }
}

fn rows(count: usize) -> Vec<NamedTensor> {
    let row = [0.111_f32, 0.39, 3.51, -0.062, 58_782.0, 13_805.0, 339.8];
    let data = Elements::F32(row.repeat(count));
    vec![NamedTensor { name: "features".into(), shape: vec![count, 7], data }]
}

/// Time of one of so many runs.
fn nanos(runs: u32, mut run: impl FnMut(u32)) -> i64 {
    let start = Instant::now();
    (0..runs).for_each(&mut run);
    i64::try_from(start.elapsed().as_nanos() / u128::from(runs)).unwrap()
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
