//! A whole plant of pumps: control plane, broker, artifact store, controller and devices.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::artifact_server::ArtifactServer;
use crate::controller::ControllerSettings;
use crate::devices::{AgentSettings, DeviceRow, read_devices, settings};
use crate::rollout_view::RolloutView;
use modelfleet_test_support::broker::Broker;
use modelfleet_test_support::control_plane::ControlPlane;
use modelfleet_test_support::kubectl::Kubectl;
use modelfleet_test_support::onnxruntime::onnxruntime;
use modelfleet_test_support::part::{Part, PartError, run};
use modelfleet_test_support::place::{program, root};
use modelfleet_test_support::wait::{WaitedTooLong, until};

/// The fleet's namespace.
pub const NAMESPACE: &str = "plant-a";
/// The model of the story.
pub const MODEL: &str = "pump-anomaly";

/// How a plant is set up.
#[derive(Clone, Debug)]
pub struct PlantSize {
    /// Devices in all.
    pub devices: usize,
    /// How many of them are processes of their own, fed over their local API.
    pub processes: usize,
}

/// A running plant. Its parts end with this value, in an order that makes no noise.
#[derive(Debug)]
pub struct Plant {
    /// Feeders of the devices that are processes of their own.
    pub feeders: Vec<Part>,
    /// Agents that are processes of their own, with the row each one is.
    pub agents: Vec<(DeviceRow, Part)>,
    /// The other agents, in one process.
    pub fleet: Option<Part>,
    /// The controller.
    pub controller: Part,
    /// What the controller was started with.
    pub controller_settings: ControllerSettings,
    /// What the agents were started with.
    pub agent_settings: AgentSettings,
    /// The artifact store.
    pub store: ArtifactServer,
    /// The broker.
    pub broker: Broker,
    /// The control plane.
    pub control_plane: ControlPlane,
    /// The operator's kubectl.
    pub kubectl: Kubectl,
    /// Every device of the plant.
    pub devices: Vec<DeviceRow>,
    signing_key: PathBuf,
}

/// Where the story's files are.
#[must_use]
pub fn pumps() -> PathBuf {
    root().join("examples/pumps")
}

impl Plant {
    /// Starts a plant with everything of one run in `dir`; `say` is told what is being started.
    ///
    /// # Errors
    /// When a part does not start.
    pub fn start(dir: &Path, size: &PlantSize, say: &mut dyn FnMut(&str)) -> Result<Plant, PartError> {
        std::fs::create_dir_all(dir).map_err(|source| PartError::File {
            what: "make",
            path: dir.to_owned(),
            source,
        })?;
        let mut devices = read_devices(&pumps().join("devices.csv"))?;
        devices.truncate(size.devices);
        say("Kubernetes API server (the first start builds it, some minutes)");
        let control_plane = ControlPlane::start(&dir.join("control-plane"))?;
        let kubectl = control_plane.kubectl();
        say("manifests: custom resources, roles");
        install(&kubectl)?;
        say("MQTT broker, with a password for every device");
        let ids: Vec<String> = devices.iter().map(|d| d.id.clone()).collect();
        let broker = Broker::start(&dir.join("broker"), NAMESPACE, &[MODEL], &ids)?;
        let store = ArtifactServer::start(&dir.join("store"))?;
        let signing_key = dir.join("models.key");
        let public = dir.join("models.pub");
        let mut keygen = Command::new(program("kubectl-modelfleet"));
        keygen
            .args(["keygen", "--no-password", "--secret-key"])
            .arg(&signing_key)
            .arg("--public-key")
            .arg(&public);
        run("make the key that signs models", &mut keygen)?;
        say("controller");
        let controller_settings =
            ControllerSettings::prepare(&dir.join("controller"), &kubectl, &broker, Some(public.clone()))?;
        let controller = controller_settings.start()?;
        say(&format!("{} pumps, {} of them as processes of their own", devices.len(), size.processes));
        let plan_key = controller_settings.plan_key();
        let agent_settings =
            settings(&dir.join("devices"), NAMESPACE, &broker, plan_key, Some(public), onnxruntime()?);
        let mut plant = Plant {
            feeders: Vec::new(),
            agents: Vec::new(),
            fleet: None,
            controller,
            controller_settings,
            agent_settings,
            store,
            broker,
            control_plane,
            kubectl,
            devices,
            signing_key,
        };
        plant.start_devices(size.processes)?;
        Ok(plant)
    }

    fn start_devices(&mut self, processes: usize) -> Result<(), PartError> {
        let settings = &self.agent_settings;
        std::fs::create_dir_all(&settings.dir).map_err(|source| PartError::File {
            what: "make",
            path: settings.dir.clone(),
            source,
        })?;
        let (alone, together) = self.devices.split_at(processes.min(self.devices.len()));
        for device in alone {
            let mut agent = settings.start_agent(device)?;
            let url = settings.api_url(&mut agent, device)?;
            self.feeders.push(settings.start_feeder(device, &url)?);
            self.agents.push((device.clone(), agent));
        }
        self.fleet = Some(settings.start_fleet("fleet", together, &pumps().join("traffic.csv"))?);
        Ok(())
    }

    /// Registers one of the story's versions, as CI would.
    ///
    /// # Errors
    /// When it is refused.
    pub fn register(&self, version: &str) -> Result<String, PartError> {
        let mut command = Command::new(program("kubectl-modelfleet"));
        command.arg("register").arg(pumps().join(format!("models/{MODEL}-{version}.onnx")));
        command.args(["--name", MODEL, "--version", version, "--store", &self.store.url()]);
        command.arg("--rows").arg(pumps().join("training-rows.csv"));
        command.args(["--positive-output", "label", "--positive-label=-1"]);
        command.arg("--key").arg(&self.signing_key).args(["-n", NAMESPACE]);
        command.env("MODELFLEET_ONNXRUNTIME", &self.agent_settings.onnxruntime);
        command.env("KUBECONFIG", self.kubectl.kubeconfig());
        run(&format!("register {MODEL} {version}"), &mut command)
    }

    /// Spoils the stored bytes of a version behind everybody's back.
    ///
    /// # Errors
    /// When they are not there.
    pub fn spoil(&self, version: &str) -> Result<(), PartError> {
        let version_dir = self.store.dir().join(MODEL).join(version);
        let failed = |source| PartError::File { what: "spoil", path: version_dir.clone(), source };
        for entry in std::fs::read_dir(&version_dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let mut bytes = std::fs::read(&path).map_err(failed)?;
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x55;
            std::fs::write(&path, bytes).map_err(failed)?;
        }
        Ok(())
    }

    /// Applies the rollout of a version.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub fn roll_out(&self, version: &str) -> Result<String, PartError> {
        self.kubectl.apply(NAMESPACE, &pumps().join(format!("rollouts/{version}.yaml")))
    }

    /// The rollout of a version.
    ///
    /// # Errors
    /// When it is not there.
    pub fn rollout(&self, version: &str) -> Result<RolloutView, PartError> {
        let name = format!("{MODEL}-{}", version.replace('.', "-"));
        self.kubectl.json(&["-n", NAMESPACE, "get", "rollout", &name]).map(RolloutView)
    }

    /// Waits until a rollout looks as wanted.
    ///
    /// # Errors
    /// When the limit is over; tells where the rollout stands instead.
    pub fn reached(
        &self,
        version: &str,
        what: &str,
        limit: Duration,
        look: impl Fn(&RolloutView) -> bool,
    ) -> Result<RolloutView, WaitedTooLong> {
        until(format!("{version}: {what}"), limit, || {
            let view = self.rollout(version).map_err(|e| e.to_string())?;
            if look(&view) {
                Ok(view)
            } else {
                Err(format!("{} {} {}", view.phase(), view.stage(), view.message()))
            }
        })
    }

    /// The `status.stage` of a version and the reason for it.
    ///
    /// # Errors
    /// When the version is not there.
    pub fn version_stage(&self, version: &str) -> Result<(String, String), PartError> {
        let all = self.kubectl.json(&["-n", NAMESPACE, "get", "modelversions"])?;
        let items = all["items"].as_array().cloned().unwrap_or_default();
        let found = items.iter().find(|v| v["spec"]["version"] == version && v["spec"]["model"] == MODEL);
        let field = |name: &str| found.map(|v| v["status"][name].as_str().unwrap_or_default().to_owned());
        Ok((field("stage").unwrap_or_default(), field("message").unwrap_or_default()))
    }
}

/// Installs what `manifests/` holds, but for what needs a cluster's nodes to run, and makes the fleet.
///
/// # Errors
/// When the API server refuses.
pub fn install(kubectl: &Kubectl) -> Result<(), PartError> {
    let manifests = root().join("manifests");
    kubectl.run(&["apply", "--server-side", "-k", &manifests.to_string_lossy()])?;
    kubectl.run(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"])?;
    kubectl.run(&["create", "namespace", NAMESPACE]).map(drop)
}

impl Drop for Plant {
    fn drop(&mut self) {
        self.feeders.clear();
        self.agents.clear();
        self.fleet = None;
    }
}
