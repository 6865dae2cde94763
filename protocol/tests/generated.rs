//! The committed Rust of `proto/` is what the published contract generates.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test may read and write files")]

use std::path::Path;

/// Set to write the generated file instead of comparing it.
const UPDATE: &str = "MODELFLEET_UPDATE_GENERATED";

#[test]
fn generated_code_follows_the_proto_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = tempfile::tempdir().unwrap();
    let files = protox::compile(["modelfleet/v1/report.proto"], [root.join("proto")]).unwrap();
    prost_build::Config::new().out_dir(out.path()).compile_fds(files).unwrap();
    let fresh = std::fs::read_to_string(out.path().join("modelfleet.v1.rs")).unwrap();
    let kept = root.join("src/generated/modelfleet.v1.rs");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&kept, &fresh).unwrap();
    }
    let committed = std::fs::read_to_string(&kept).unwrap_or_default();
    assert!(committed == fresh, "src/generated is stale: run this test once with {UPDATE}=1");
}
