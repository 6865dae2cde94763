//! The program against a real API server, which `MODELFLEET_KUBECONFIG` names.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::Command;

use modelfleet_test_support::api_server::with_definitions;
use modelfleet_test_support::kubectl::Kubectl;
use modelfleet_test_support::place::root;

/// A namespace of its own on the test server, and a folder as store.
struct Server {
    kubectl: Kubectl,
    namespace: String,
    store: tempfile::TempDir,
}

impl Server {
    fn with_namespace(namespace: &str) -> Server {
        // What an earlier run left on a server that is kept would be found again.
        let namespace = format!("{namespace}-{}", std::process::id());
        let server = Server { kubectl: with_definitions(), namespace, store: tempfile::tempdir().unwrap() };
        server.kubectl(&["create", "namespace", &server.namespace], "");
        server
    }

    /// What kubectl prints; it has to succeed.
    fn kubectl(&self, arguments: &[&str], input: &str) -> String {
        let done = self.kubectl.run_in(&self.namespace, arguments, input);
        done.unwrap_or_else(|refusal| panic!("{refusal}"))
    }

    /// Runs the program; gives its exit code, standard output and standard error.
    fn modelfleet(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-modelfleet"));
        command.args(arguments).arg("--kubeconfig").arg(self.kubectl.kubeconfig());
        let output = command.args(["--namespace", &self.namespace]).output().unwrap();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }

    fn register(&self, file: &str, version: &str, more: &[&str]) -> (i32, String, String) {
        let file = root().join("examples/pumps/models").join(file).display().to_string();
        let store = self.store.path().display().to_string();
        let own = ["register", &file, "--name", "pump-anomaly", "--version", version, "--store", &store];
        self.modelfleet(&[&own, more].concat())
    }

    fn files(&self) -> usize {
        let folder = self.store.path().join("pump-anomaly");
        std::fs::read_dir(folder)
            .map(|versions| versions.flatten().flat_map(|v| std::fs::read_dir(v.path())).count())
            .unwrap_or(0)
    }

    fn field(&self, object: &str, path: &str) -> String {
        self.kubectl(&["get", object, "-o", &format!("jsonpath={{{path}}}")], "")
    }

    fn status(&self, rollout: &str, status: &str) {
        let patch = format!("{{\"status\":{status}}}");
        self.kubectl(
            &["patch", "rollout", rollout, "--subresource=status", "--type=merge", "-p", &patch],
            "",
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kubectl(&["delete", "namespace", &self.namespace, "--wait=false"], "");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn rows() -> String {
    root().join("examples/pumps/training-rows.csv").display().to_string()
}

#[test]
fn the_same_file_twice_is_one_version_and_another_file_is_refused() {
    let server = Server::with_namespace("cli-register");
    let rows = rows();
    let decision = ["--rows", &rows, "--positive-output", "label", "--positive-label", "-1"];
    let (code, said, notes) = server.register("pump-anomaly-1.0.0.onnx", "1.0.0", &decision);
    assert_eq!(code, 0, "{notes}");
    assert!(said.contains("pump-anomaly-1.0.0 registered") && said.contains("(uploaded)"), "{said}");
    assert_eq!(
        server.field("mv/pump-anomaly-1.0.0", ".spec.baseline.features[*].name").split(' ').count(),
        7
    );
    assert_eq!(server.field("mv/pump-anomaly-1.0.0", ".spec.pipeline.decision.label"), "-1");

    let (code, said, _) = server.register("pump-anomaly-1.0.0.onnx", "1.0.0", &decision);
    assert!(code == 0 && said.contains("unchanged") && said.contains("(was already there)"), "{said}");
    let (code, _, notes) = server.register("pump-anomaly-1.0.0.onnx", "1.0.0", &["--memory", "32Mi"]);
    assert!(code == 0 && notes.contains("different baseline, pipeline, requires"), "{notes}");
    assert_eq!(server.field("mv/pump-anomaly-1.0.0", ".metadata.generation"), "1");

    let (code, _, error) = server.register("pump-anomaly-1.1.0.onnx", "1.0.0", &decision);
    assert_eq!(code, 1);
    let digest = server.field("mv/pump-anomaly-1.0.0", ".spec.artifact.digest");
    assert!(error.contains(&digest) && error.contains("new version"), "{error}");
    assert_eq!(server.files(), 1, "a refused file leaves nothing in the store");

    let (code, said, _) = server.modelfleet(&["history", "pump-anomaly"]);
    assert!(
        code == 0 && said.contains("1.0.0     Registered") && said.contains("kubectl-modelfleet"),
        "{said}"
    );
    let (code, said, _) = server.modelfleet(&["lineage", "pump-anomaly", "1.0.0"]);
    assert!(code == 0 && said.contains(&digest) && said.contains("on no device that is known"), "{said}");
    let (code, said, _) = server.modelfleet(&["diff", "pump-anomaly", "1.0.0", "1.0.0"]);
    assert!(code == 0 && said.contains("are the same but for their number"), "{said}");
    let (code, _, error) = server.modelfleet(&["diff", "pump-anomaly", "1.0.0", "7.0.0"]);
    assert!(code == 1 && error.contains("has no version 7.0.0"), "{error}");
    let (code, _, error) = server.modelfleet(&["history", "pump"]);
    assert!(code == 1 && error.contains("no version"), "{error}");
}

const FILES: [&str; 2] = ["pump-anomaly-1.0.0.onnx", "pump-anomaly-1.1.0.onnx"];

#[test]
fn of_many_at_the_same_time_one_registers_and_the_others_find_it() {
    let server = Server::with_namespace("cli-race");
    let outcomes: Vec<(i32, String, String)> = std::thread::scope(|scope| {
        let server = &server;
        let one = |file| scope.spawn(move || server.register(file, "9.0.0", &[]));
        let threads: Vec<_> = (0..8).map(|i| one(FILES[i % 2])).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let count = |wanted: fn(&(i32, String, String)) -> bool| outcomes.iter().filter(|o| wanted(o)).count();
    assert_eq!(count(|(code, said, _)| *code == 0 && said.contains(" registered in")), 1, "{outcomes:?}");
    assert_eq!(count(|(code, said, _)| *code == 0 && said.contains(" unchanged in")), 3, "{outcomes:?}");
    assert_eq!(
        count(|(code, _, error)| *code == 1 && error.contains("different content")),
        4,
        "{outcomes:?}"
    );
}

#[test]
fn what_a_dry_run_prints_can_be_applied() {
    let server = Server::with_namespace("cli-dry-run");
    let rows = rows();
    let more = [
        "--rows",
        &rows,
        "--baseline",
        "Accuracy=0.97",
        "--lineage",
        "hyperparameters.trees=100",
        "--dry-run",
    ];
    let (code, yaml, _) = server.register("pump-anomaly-1.1.0.onnx", "2.0.0-RC.1+build.5", &more);
    assert_eq!((code, server.files()), (0, 0));
    let said = server.kubectl(&["apply", "--validate=strict", "-f", "-"], &yaml);
    assert!(said.contains("pump-anomaly-2.0.0-rc.1-build.5 created"), "{said}");
    let (code, said, notes) = server.register("pump-anomaly-1.1.0.onnx", "2.0.0-RC.1+build.5", &more[..6]);
    assert!(code == 0 && said.contains("unchanged") && !notes.contains("different"), "{said}{notes}");
    assert_eq!(server.files(), 1, "a registered version whose bytes are missing gets them");
}

const ROLLOUT: &str = "apiVersion: modelfleet.io/v1alpha1\nkind: Rollout\nmetadata: {name: pump}\n\
                       spec: {model: pump-anomaly, version: 1.0.0}\n";

#[test]
fn intent_is_plain_fields_of_the_spec() {
    let server = Server::with_namespace("cli-wishes");
    server.kubectl(&["apply", "-f", "-"], ROLLOUT);
    let wish = |arguments: &[&str], expected: &str| {
        let (code, said, error) = server.modelfleet(arguments);
        assert!(code == 0 && said.contains(expected), "{arguments:?}: {said}{error}");
    };
    wish(&["pause", "pump"], "spec.paused false -> true");
    wish(&["pause", "pump"], "unchanged");
    wish(&["resume", "pump"], "spec.paused true -> false");
    wish(&["promote", "pump"], "spec.promote (none) -> canary");
    wish(&["promote", "pump", "--stage", "broad"], "spec.promote canary -> broad");
    wish(&["abort", "pump", "--reason", "smoke"], "spec.abort false -> true");
    assert_eq!(server.field("mro/pump", ".metadata.annotations.modelfleet\\.io/abort-reason"), "smoke");
    wish(&["retry", "pump", "--token", "ticket-7"], "spec.retryToken (none) -> ticket-7");
    assert_eq!(server.field("mro/pump", ".spec.abort"), "false");
    assert_eq!(server.field("mro/pump", ".spec.promote"), "");
    let (code, _, error) = server.modelfleet(&["promote", "pump", "--stage", "half"]);
    assert!(code == 1 && error.contains("canary, early-adopter, broad, full"), "{error}");
    let (code, _, error) = server.modelfleet(&["pause", "nothing"]);
    assert!(code == 1 && error.contains("kubectl get rollouts"), "{error}");
}

#[test]
fn waiting_ends_with_the_code_of_the_end() {
    let server = Server::with_namespace("cli-status");
    server.kubectl(&["apply", "-f", "-"], ROLLOUT);
    let condition = |kind: &str| {
        format!(
            "{{\"observedGeneration\":1,\"conditions\":[{{\"type\":\"{kind}\",\"status\":\"True\",\"reason\":\"R\",\
             \"message\":\"\",\"lastTransitionTime\":\"2026-08-01T12:00:00Z\"}}]}}"
        )
    };
    assert_eq!(server.modelfleet(&["status", "pump"]).0, 0);
    assert_eq!(server.modelfleet(&["status", "pump", "--for", "succeeded", "--timeout", "500ms"]).0, 3);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| server.modelfleet(&["status", "pump", "-w", "--timeout", "1m"]));
        std::thread::sleep(std::time::Duration::from_secs(1));
        server.status("pump", &condition("RolledBack"));
        assert_eq!(waiting.join().unwrap().0, 2);
    });
    assert_eq!(server.modelfleet(&["status", "pump", "--for", "rolled-back"]).0, 0);
    server.status("pump", &condition("Stalled"));
    assert_eq!(server.modelfleet(&["status", "pump", "--for", "finished"]).0, 4);
    server.status("pump", &condition("Ready"));
    assert_eq!(server.modelfleet(&["status", "pump", "--for", "succeeded"]).0, 0);
    assert_eq!(server.modelfleet(&["status", "pump", "--for", "rolled-back"]).0, 5);
    assert!(server.modelfleet(&["explain", "pump"]).1.contains("Ready (R)"));
    assert_eq!(server.modelfleet(&["status", "pump", "--for", "never"]).0, 1);
}
