//! The real parts around the controller: an API server that is given, a broker and the controller as processes.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ed25519_dalek::VerifyingKey;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt as _};
use modelfleet_controller::keys;
use modelfleet_crds::{ModelVersion, Rollout};
use modelfleet_protocol::ids::Digest;
use modelfleet_test_support::broker::Broker;
use modelfleet_test_support::part::Part;
use modelfleet_test_support::place::free_port;
use modelfleet_test_support::{api_server, http};
use serde_json::{Value, json};

/// Longest that a status takes to follow what it is of.
const SOON: Duration = Duration::from_secs(30);

/// One fleet with its own broker and controller, in a namespace of its own.
pub struct Plant {
    pub client: Client,
    pub namespace: String,
    pub http_port: u16,
    pub key: VerifyingKey,
    pub controller: Part,
    pub broker: Broker,
    pub dir: tempfile::TempDir,
    /// More flags of the controller.
    pub flags: Vec<String>,
}

fn own_namespace(fleet: &str) -> String {
    format!("{fleet}-system")
}

impl Plant {
    /// Starts a broker and a controller beside the API server that the environment names.
    pub async fn start(name: &str) -> Plant {
        Plant::start_with(name, |_, _| Vec::new()).await
    }

    /// The same with more flags of the controller, which are made from its folder and its plan key.
    pub async fn start_with(name: &str, flags: impl FnOnce(&Path, VerifyingKey) -> Vec<String>) -> Plant {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let kubeconfig = Kubeconfig::read_from(api_server::kubeconfig()).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let namespace = format!("{name}-{:x}", std::process::id());
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
        // The controller's own namespace outlives the fleet's.
        for name in [&namespace, &own_namespace(&namespace)] {
            let object = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
            namespaces.create(&PostParams::default(), &object).await.unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        keys::generate(&dir.path().join("plan.key")).unwrap();
        let key = keys::read(&dir.path().join("plan.key")).unwrap().verifying_key();
        let broker = Broker::start_open_durable(dir.path()).unwrap();
        let http_port = free_port().unwrap();
        let flags = flags(dir.path(), key);
        let controller = controller(dir.path(), &namespace, &broker.url(), http_port, "test", &flags);
        Plant { client, namespace, http_port, key, controller, broker, dir, flags }
    }

    /// Kills the controller, as a power cut would, and starts another.
    pub fn restart_controller(&mut self) {
        self.controller.kill();
        self.start_controller();
    }

    /// Starts a controller; the one before has ended.
    pub fn start_controller(&mut self) {
        let (dir, url) = (self.dir.path(), self.broker.url());
        self.controller = controller(dir, &self.namespace, &url, self.http_port, "test", &self.flags);
    }

    /// Another controller of the same fleet, under this name among the replicas.
    pub fn beside(&self, identity: &str) -> Part {
        let http_port = free_port().unwrap();
        controller(self.dir.path(), &self.namespace, &self.broker.url(), http_port, identity, &self.flags)
    }

    /// Who leads.
    pub async fn leader(&self) -> Option<String> {
        let leases: Api<k8s_openapi::api::coordination::v1::Lease> =
            Api::namespaced(self.client.clone(), &own_namespace(&self.namespace));
        leases.get_opt("modelfleet-controller").await.unwrap()?.spec?.holder_identity
    }

    /// Loses what is named: the broker's memory, the Lease. The controller is killed before, and started after `meanwhile`.
    pub async fn lose(&mut self, broker: bool, lease: bool, meanwhile: impl AsyncFnOnce(&Plant)) {
        self.controller.kill();
        if broker {
            self.broker.part().kill();
            let _ = std::fs::remove_file(self.dir.path().join("mosquitto.db"));
            self.broker.start_again().unwrap();
        }
        if lease {
            let leases: Api<k8s_openapi::api::coordination::v1::Lease> =
                Api::namespaced(self.client.clone(), &own_namespace(&self.namespace));
            leases.delete("modelfleet-controller", &DeleteParams::default()).await.unwrap();
        }
        meanwhile(self).await;
        self.start_controller();
    }

    /// Registers a version with real bytes in a file.
    pub async fn register(&self, version: &str) {
        // IR 8 with operator set 17; a graph with the version as its name and one output, a tensor of floats.
        let mut graph = vec![0x12, version.len() as u8];
        graph.extend(version.bytes());
        graph.extend([0x62, 9, 0x0a, 1, b'y', 0x12, 4, 0x0a, 2, 0x08, 1]);
        let mut bytes = vec![0x08, 8, 0x3a, graph.len() as u8];
        bytes.extend(graph);
        bytes.extend([0x42, 2, 0x10, 17]);
        let path = self.dir.path().join(format!("{version}.onnx"));
        std::fs::write(&path, &bytes).unwrap();
        self.register_as(version, &path, &bytes).await;
    }

    pub async fn register_as(&self, version: &str, path: &Path, bytes: &[u8]) {
        let object = json!({
            "apiVersion": "modelfleet.io/v1alpha1", "kind": "ModelVersion",
            "metadata": {"name": format!("m-{version}")},
            "spec": {
                "model": "m", "version": version,
                "artifact": {
                    "uri": format!("file://{}", path.display()),
                    "digest": Digest::of(bytes).to_string(),
                    "sizeBytes": bytes.len(),
                },
            },
        });
        self.versions()
            .create(&PostParams::default(), &serde_json::from_value(object).unwrap())
            .await
            .unwrap();
    }

    /// Creates a rollout with quick stages.
    pub async fn roll_out(&self, version: &str) {
        self.begin(version, json!({}), "5").await;
    }

    /// The same, to the devices of a selector.
    pub async fn roll_out_to(&self, version: &str, selector: Value) {
        self.begin(version, selector, "5").await;
    }

    /// The same to all, with so many devices in its first stage.
    pub async fn roll_out_from(&self, version: &str, canaries: &str) {
        self.begin(version, json!({}), canaries).await;
    }

    async fn begin(&self, version: &str, selector: Value, canaries: &str) {
        let stage = |name: &str, devices: &str| {
            json!({"name": name, "devices": devices, "bake": "5s", "maxWait": "1m", "spreadBy": ["age"],
                   "limits": {"minWindows": 3}})
        };
        let object = json!({
            "apiVersion": "modelfleet.io/v1alpha1", "kind": "Rollout",
            "metadata": {"name": format!("r-{version}")},
            "spec": {
                "model": "m", "version": version, "selector": selector,
                "stages": [stage("canary", canaries), stage("broad", "50%"), stage("full", "100%")],
                "slos": [{"name": "errors", "metric": "ErrorRate", "threshold": "1%"}],
                "observe": {"window": "1s", "warmupWindows": 0},
                "probation": {"timeout": "10s"},
            },
        });
        let object = serde_json::from_value(object).unwrap();
        self.rollouts().create(&PostParams::default(), &object).await.unwrap();
    }

    pub fn rollouts(&self) -> Api<Rollout> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub async fn patch(&self, version: &str, spec: Value) {
        let patch = Patch::Merge(json!({"spec": spec}));
        let name = format!("r-{version}");
        self.rollouts().patch(&name, &PatchParams::default(), &patch).await.unwrap();
    }

    pub async fn phase(&self, version: &str) -> (String, String) {
        let rollout = self.rollouts().get(&format!("r-{version}")).await.unwrap();
        let status = rollout.status.unwrap_or_default();
        let phase = status.phase.map(|p| format!("{p:?}")).unwrap_or_default();
        let what = format!(
            "{} {} {} {}",
            status.stage_summary.unwrap_or_default(),
            status.updated.unwrap_or_default(),
            status.verdict_summary.unwrap_or_default(),
            status.message.unwrap_or_default()
        );
        (phase, what)
    }

    /// Waits for a phase and prints what a person would see on the way.
    pub async fn wait(&self, version: &str, phase: &str, most: Duration) {
        self.wait_for(version, most, |now, _| now == phase).await;
    }

    pub async fn wait_for(&self, version: &str, most: Duration, ready: impl Fn(&str, &str) -> bool) {
        let (start, mut told) = (Instant::now(), String::new());
        loop {
            let (phase, what) = self.phase(version).await;
            let line = format!("{phase:<12} {what}");
            if line != told {
                println!("{:>6.1}s {version} {line}", start.elapsed().as_secs_f64());
                told = line;
            }
            if ready(&phase, &what) {
                return;
            }
            assert!(start.elapsed() < most, "{version} is {phase}: {what}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    pub fn versions(&self) -> Api<ModelVersion> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub async fn stage(&self, version: &str) -> String {
        let status = self.versions().get(&format!("m-{version}")).await.unwrap().status.unwrap_or_default();
        format!("{:?}", status.stage.unwrap_or_default())
    }

    /// The devices that a version is the stable one of, as `kubectl get` shows them.
    pub async fn devices(&self, version: &str) -> String {
        let status = self.versions().get(&format!("m-{version}")).await.unwrap().status.unwrap_or_default();
        status.devices.unwrap_or_default()
    }

    /// Waits until an ended rollout bears its mark, which follows its status.
    pub async fn wait_marked(&self, version: &str) {
        let (name, key) = (format!("r-{version}"), "modelfleet.io/ended");
        let marked =
            async || self.rollouts().get(&name).await.unwrap().annotations().contains_key(key).then_some(());
        self.eventually(&format!("{version} to have its mark"), SOON, marked).await;
    }

    /// All objects as `kubectl get -o yaml` gives them, without what the API server will not take again.
    pub async fn exported(&self) -> (Vec<Value>, Vec<Value>) {
        let stripped = |mut object: Value| {
            let metadata = object["metadata"].as_object_mut().unwrap();
            metadata.retain(|key, _| ["name", "annotations", "finalizers"].contains(&key.as_str()));
            object.as_object_mut().unwrap().remove("status");
            object
        };
        let versions = self.versions().list(&ListParams::default()).await.unwrap().items;
        let rollouts = self.rollouts().list(&ListParams::default()).await.unwrap().items;
        let export = |object| stripped(serde_json::to_value(object).unwrap());
        (
            versions.iter().map(|v| export(json!(v))).collect(),
            rollouts.iter().map(|r| export(json!(r))).collect(),
        )
    }

    /// Creates objects as `kubectl apply` would: all that they hold is owned by it.
    pub async fn apply_again(&self, versions: &[Value], rollouts: &[Value]) {
        let params =
            PostParams { field_manager: Some("kubectl-client-side-apply".into()), ..PostParams::default() };
        for object in versions {
            let object = serde_json::from_value(object.clone()).unwrap();
            self.versions().create(&params, &object).await.unwrap();
        }
        for object in rollouts {
            let object = serde_json::from_value(object.clone()).unwrap();
            self.rollouts().create(&params, &object).await.unwrap();
        }
    }

    /// Deletes everything, and waits until it is gone.
    pub async fn delete_all(&self) {
        let (delete, list) = (DeleteParams::default(), ListParams::default());
        for rollout in self.rollouts().list(&list).await.unwrap().items {
            let name = rollout.metadata.name.unwrap();
            self.rollouts().delete(&name, &delete).await.unwrap();
            self.wait_gone(self.rollouts(), &name, Duration::from_secs(25)).await;
        }
        for version in self.versions().list(&list).await.unwrap().items {
            let name = version.metadata.name.unwrap();
            self.versions().delete(&name, &delete).await.unwrap();
            self.wait_gone(self.versions(), &name, Duration::from_secs(25)).await;
        }
    }

    /// Waits until the broker has a plan that came after the first `before`: devices follow the controller.
    pub async fn wait_obeyed(
        &self,
        plans: &std::sync::Mutex<Vec<modelfleet_protocol::plan::Plan>>,
        before: usize,
    ) {
        let newer = async || {
            let plans = plans.lock().unwrap();
            let newest = |plans: &[modelfleet_protocol::plan::Plan]| plans.iter().map(|p| p.order).max();
            (newest(&plans[before..]) > newest(&plans[..before])).then_some(())
        };
        self.eventually("a plan of the new leader", SOON, newer).await;
    }

    /// The message of a condition of a rollout that is true.
    pub async fn condition(&self, version: &str, kind: &str) -> Option<String> {
        let rollout = self.rollouts().get(&format!("r-{version}")).await.unwrap();
        let conditions = rollout.status.unwrap_or_default().conditions;
        conditions.into_iter().find(|c| c.type_ == kind && c.status == "True").map(|c| c.message)
    }

    /// Waits until a version stands at a stage.
    pub async fn wait_stage(&self, version: &str, stage: &str) {
        let reached = async || (self.stage(version).await == stage).then_some(());
        self.eventually(&format!("{version} to be {stage}"), SOON, reached).await;
    }

    /// Deletes a version.
    pub async fn delete_version(&self, version: &str) {
        self.versions().delete(&format!("m-{version}"), &DeleteParams::default()).await.unwrap();
    }

    /// Waits until a deleted version says that it stays, and why.
    pub async fn wait_blocked(&self, version: &str, reason: &str) -> String {
        let blocked = async || {
            let object = self.versions().get(&format!("m-{version}")).await.unwrap();
            assert!(object.metadata.deletion_timestamp.is_some());
            let conditions = object.status.unwrap_or_default().conditions;
            conditions.into_iter().find(|c| c.type_ == "DeletionBlocked" && c.reason == reason)
        };
        let condition = self.eventually(&format!("{version} to say why it stays"), SOON, blocked).await;
        println!("{version}: {}", condition.message);
        condition.message
    }

    /// Looks until there is something, at most for this long.
    pub async fn eventually<T>(&self, what: &str, most: Duration, look: impl AsyncFn() -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(start.elapsed() < most, "waited {most:?} for {what}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until an object is gone.
    pub async fn wait_gone<K>(&self, api: Api<K>, name: &str, most: Duration)
    where
        K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        let start = Instant::now();
        let gone = async || api.get_opt(name).await.unwrap().is_none().then_some(());
        self.eventually(&format!("{name} to be gone"), most, gone).await;
        println!("{name} was gone after {:?}", start.elapsed());
    }

    /// What the controller tells Prometheus.
    pub fn metrics(&self) -> String {
        self.metrics_if_up().unwrap()
    }

    /// The same; `None`: it does not listen yet.
    pub fn metrics_if_up(&self) -> Option<String> {
        http::get(self.http_port, "/metrics").ok()
    }

    /// All that the controller has logged: the end alone may be a backtrace.
    pub fn log(&self) -> String {
        self.controller.log()
    }
}

impl Drop for Plant {
    fn drop(&mut self) {
        // Nothing is left to hand over.
        self.controller.kill();
        self.broker.part().kill();
    }
}

fn controller(
    dir: &Path,
    namespace: &str,
    broker: &str,
    http_port: u16,
    identity: &str,
    flags: &[String],
) -> Part {
    let mut command = Command::new(env!("CARGO_BIN_EXE_modelfleet-controller"));
    command.env("KUBECONFIG", api_server::kubeconfig()).arg("run").args(["--mqtt-url", broker]);
    command.arg("--signing-key-file").arg(dir.join("plan.key"));
    command.args(["--http-addr", &format!("127.0.0.1:{http_port}")]);
    command.args(["--namespace", namespace, "--lease-namespace", &own_namespace(namespace)]);
    // A fixed name: a process that was killed need not wait for its own lease.
    command.args(["--identity", identity]);
    // Versions are registered with files of the test's own folder.
    command.arg("--artifact-root").arg(dir).args(flags);
    Part::start(&format!("controller-{identity}"), dir, &mut command).unwrap()
}
