//! kubectl, used as a person uses it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::part::{PartError, run, run_with_input};

/// kubectl with one kubeconfig.
#[derive(Clone, Debug)]
pub struct Kubectl {
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// kubectl with this kubeconfig.
    #[must_use]
    pub fn new(kubeconfig: PathBuf) -> Kubectl {
        Kubectl { kubeconfig }
    }

    /// The kubeconfig's path.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Runs `kubectl` with these arguments and returns what it printed.
    ///
    /// # Errors
    /// When it refuses; with its message.
    pub fn run(&self, arguments: &[&str]) -> Result<String, PartError> {
        let what = format!("kubectl {}", arguments.join(" "));
        run(&what, Command::new("kubectl").arg("--kubeconfig").arg(&self.kubeconfig).args(arguments))
    }

    /// Runs `kubectl` in a namespace with `input` as its standard input, and returns what it printed.
    ///
    /// # Errors
    /// When it refuses; with its message.
    pub fn run_in(&self, namespace: &str, arguments: &[&str], input: &str) -> Result<String, PartError> {
        let what = format!("kubectl {}", arguments.join(" "));
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(["--namespace", namespace]);
        run_with_input(&what, command.arg("--request-timeout=30s").args(arguments), input)
    }

    /// Runs `kubectl get ... -o json`.
    ///
    /// # Errors
    /// When it refuses, or prints no JSON.
    pub fn json(&self, arguments: &[&str]) -> Result<Value, PartError> {
        let text = self.run(&[arguments, &["-o", "json"]].concat())?;
        serde_json::from_str(&text).map_err(|e| PartError::Command {
            what: format!("kubectl {}", arguments.join(" ")),
            message: e.to_string(),
        })
    }

    /// Runs `kubectl apply -f` with this file.
    ///
    /// # Errors
    /// When the server refuses the file.
    pub fn apply(&self, namespace: &str, file: &Path) -> Result<String, PartError> {
        self.run(&["-n", namespace, "apply", "-f", &file.to_string_lossy()])
    }

    /// Writes a kubeconfig for a service account, as the controller's pod would have it.
    ///
    /// # Errors
    /// When the account has no token, or the file cannot be written.
    pub fn as_service_account(&self, namespace: &str, account: &str, into: &Path) -> Result<(), PartError> {
        let token = self.run(&["-n", namespace, "create", "token", account, "--duration", "24h"])?;
        let mut config = self.json(&["config", "view", "--raw", "--minify"])?;
        config["users"][0]["user"] = serde_json::json!({ "token": token.trim() });
        std::fs::write(into, config.to_string()).map_err(|source| PartError::File {
            what: "write",
            path: into.to_owned(),
            source,
        })
    }
}
