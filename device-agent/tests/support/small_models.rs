//! The small models of `models/make.py`, and engines to load them with.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use modelfleet_agent::admit::{AdmitError, Loader, Ready};
use modelfleet_agent::engine::rten::Rten;
use modelfleet_agent::engine::{Engines, LoadError, Loaded};
use modelfleet_agent::fetch::Keys;
use modelfleet_protocol::model::ModelBuild;
use modelfleet_protocol::state::FailureCode;
use modelfleet_test_support::pump_plan::pump_build;

pub fn rten() -> Engines {
    Engines::new(vec![Arc::new(Rten::default())])
}

/// The bytes of a model.
pub fn small_model(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/models/{name}.onnx"))).unwrap()
}

pub fn build(bytes: &[u8]) -> ModelBuild {
    pump_build("1.0.0", bytes, String::new())
}

pub fn load(engines: &Engines, name: &str) -> Result<Loaded, LoadError> {
    let bytes = small_model(name);
    engines.load(&bytes, &build(&bytes))
}

/// Admits a model as a device does; `folder` takes its file.
pub fn ready(folder: &Path, name: &str, engines: &Engines) -> Result<Arc<Ready>, AdmitError> {
    let bytes = small_model(name);
    let path = folder.join(name);
    fs::write(&path, &bytes).unwrap();
    let build = ModelBuild { outputs: Vec::new(), ..build(&bytes) };
    Loader::new(engines.clone(), Keys::default()).ready(&path, &build.into())
}

/// Lists, and types that have no name in the protocol of predictions.
pub fn refuse_what_cannot_be_sent(engines: &Engines) {
    for (name, part) in [("sequence", "is a list"), ("complex", "put a Cast to FLOAT there")] {
        let Err(error) = load(engines, name) else { panic!("{name} is taken") };
        assert_eq!(error.code(), FailureCode::FormatUnknown, "{name}: {error}");
        assert!(error.to_string().contains(part), "{name}: {error}");
    }
}
