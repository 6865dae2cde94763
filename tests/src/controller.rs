//! The controller as a process, under its own service account.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use modelfleet_test_support::broker::{Broker, CONTROLLER_USER};
use modelfleet_test_support::http;
use modelfleet_test_support::kubectl::Kubectl;
use modelfleet_test_support::part::{Part, PartError, run};
use modelfleet_test_support::place::{free_port, program};

/// Where `manifests/` installs the controller.
pub const SYSTEM_NAMESPACE: &str = "modelfleet-system";

/// What a controller is started with; the same values start its successor.
#[derive(Clone, Debug)]
pub struct ControllerSettings {
    dir: PathBuf,
    kubeconfig: PathBuf,
    broker_url: String,
    broker_ca: Option<PathBuf>,
    password_file: PathBuf,
    artifact_key: Option<PathBuf>,
    http_port: u16,
}

impl ControllerSettings {
    /// Makes the controller's key pair and its kubeconfig in `dir`.
    ///
    /// # Errors
    /// When the key cannot be made or the account has no token.
    pub fn prepare(
        dir: &Path,
        admin: &Kubectl,
        broker: &Broker,
        artifact_key: Option<PathBuf>,
    ) -> Result<ControllerSettings, PartError> {
        let failed = |source| PartError::File { what: "make", path: dir.to_owned(), source };
        std::fs::create_dir_all(dir).map_err(failed)?;
        let kubeconfig = dir.join("kubeconfig");
        admin.as_service_account(SYSTEM_NAMESPACE, "modelfleet-controller", &kubeconfig)?;
        let settings = ControllerSettings {
            dir: dir.to_owned(),
            kubeconfig,
            broker_url: broker.controller_url(),
            broker_ca: broker.ca_file(),
            password_file: broker.password_file(CONTROLLER_USER),
            artifact_key,
            http_port: free_port().map_err(failed)?,
        };
        let mut keygen = Command::new(program("modelfleet-controller"));
        keygen.arg("keygen").arg("--out").arg(settings.signing_key());
        run("make the controller's key", &mut keygen)?;
        Ok(settings)
    }

    fn signing_key(&self) -> PathBuf {
        self.dir.join("plan.key")
    }

    /// Where the controller records what the judge was told.
    #[must_use]
    pub fn records(&self) -> PathBuf {
        self.dir.join("records")
    }

    /// The public key that devices trust plans of.
    #[must_use]
    pub fn plan_key(&self) -> PathBuf {
        self.dir.join("plan.key.pub")
    }

    /// Where health and metrics are.
    #[must_use]
    pub fn http_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http_port)
    }

    /// Starts a controller and waits until it has taken the lead.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn start(&self) -> Result<Part, PartError> {
        let mut part = self.launch()?;
        let port = self.http_port;
        part.ready(Duration::from_secs(60), || http::get(port, "/readyz"))?;
        Ok(part)
    }

    /// Starts a controller and does not wait.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn launch(&self) -> Result<Part, PartError> {
        let mut command = Command::new(program("modelfleet-controller"));
        command.env("KUBECONFIG", &self.kubeconfig).arg("run");
        command.args(["--mqtt-url", &self.broker_url, "--mqtt-user", CONTROLLER_USER]);
        command.arg("--mqtt-password-file").arg(&self.password_file);
        command.arg("--signing-key-file").arg(self.signing_key());
        command.args(["--http-addr", &format!("127.0.0.1:{}", self.http_port)]);
        command.args(["--lease-namespace", SYSTEM_NAMESPACE]);
        command.arg("--record-dir").arg(self.records());
        if let Some(ca) = &self.broker_ca {
            command.arg("--mqtt-ca").arg(ca);
        }
        if let Some(key) = &self.artifact_key {
            command.arg("--artifact-key").arg(key);
        }
        Part::start("controller", &self.dir, &mut command)
    }
}
