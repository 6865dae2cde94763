//! The demo is the story that users see first; it ends with a failure when the story does.

use std::process::Command;

use modelfleet_test_support::place::program;

#[test]
fn the_demo_ends_as_it_should() {
    let dir = tempfile::tempdir().unwrap();
    let mut demo = Command::new(program("demo"));
    demo.arg("--dir").arg(dir.path().join("demo"));
    demo.args(["--versions", "1.0.0,1.1.0,1.2.0,1.3.0,1.4.0,1.5.0"]);
    let status = demo.status().unwrap();
    assert!(status.success(), "the demo ended with {status}");
}
