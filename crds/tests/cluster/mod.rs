//! A real API server, when the environment names one.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// The variable that names the kubeconfig of a test API server.
pub const KUBECONFIG: &str = "MODELFLEET_KUBECONFIG";

/// `kubectl` against the test API server, in a namespace of this crate's tests.
pub struct Cluster {
    kubeconfig: String,
}

const NAMESPACE: &str = "modelfleet-crds";

impl Cluster {
    /// The server, with the definitions installed; nothing (and a line that says so) when none is named.
    pub fn from_environment() -> Option<Self> {
        let Ok(kubeconfig) = std::env::var(KUBECONFIG) else {
            println!("skipped: {KUBECONFIG} names no API server");
            return None;
        };
        let cluster = Self { kubeconfig };
        static INSTALLED: OnceLock<()> = OnceLock::new();
        INSTALLED.get_or_init(|| cluster.install());
        Some(cluster)
    }

    fn install(&self) {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/crds");
        self.must(&["apply", "--server-side", "--force-conflicts", "-f", directory], "");
        self.must(&["wait", "--for=condition=Established", "--timeout=60s", "-f", directory], "");
        // A refusal here means that an earlier run made it.
        let _ = self.kubectl(&["create", "namespace", NAMESPACE], "");
        self.must(&["get", "namespace", NAMESPACE], "");
    }

    /// Runs `kubectl` with `input` as its standard input.
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new("kubectl")
            .args(["--kubeconfig", &self.kubeconfig, "--namespace", NAMESPACE, "--request-timeout=30s"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl is in PATH");
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// Like [`Self::kubectl`], gives standard output and panics when it fails.
    pub fn must(&self, arguments: &[&str], input: &str) -> String {
        let output = self.kubectl(arguments, input);
        assert!(
            output.status.success(),
            "kubectl {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }
}
