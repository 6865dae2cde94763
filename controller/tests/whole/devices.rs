//! The API of devices by a real controller, asked by the plugin, by plain HTTPS, through a real API server, and by schemathesis.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use modelfleet_controller::http::Shown;
use modelfleet_controller::http::Stand;
use modelfleet_controller::http::reviewed::{Reviewed, serve};
use modelfleet_controller::metrics::Metrics;
use modelfleet_crds::device_api::{self, DeviceDetail, DevicePage, FailureList};
use modelfleet_test_support::place::{free_port, program, root};
use modelfleet_test_support::{api_server, certificate};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::LONG;
use crate::fleet::Fleet;
use crate::plant::Plant;

const DEVICES: usize = 60;

/// The token of an account; `bound`: it may view the namespace, by the role that ships.
async fn account(plant: &Plant, name: &str, bound: bool) -> String {
    let create = PostParams::default();
    let accounts: Api<ServiceAccount> = Api::namespaced(plant.client.clone(), &plant.namespace);
    let object = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    accounts.create(&create, &object).await.unwrap();
    if bound {
        let shipped = include_str!("../../../manifests/rbac.yaml");
        assert!(shipped.contains("name: modelfleet-view") && shipped.contains("resources: [devices]"));
        let bindings: Api<RoleBinding> = Api::namespaced(plant.client.clone(), &plant.namespace);
        let binding = json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "modelfleet-view"},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": plant.namespace}],
        });
        bindings.create(&create, &serde_json::from_value(binding).unwrap()).await.unwrap();
    }
    let asked = TokenRequest { spec: TokenRequestSpec::default(), ..TokenRequest::default() };
    accounts.create_token_request(name, &create, &asked).await.unwrap().status.unwrap().token
}

/// A client of the API.
struct Reader {
    client: reqwest::Client,
    port: u16,
    namespace: String,
}

impl Reader {
    fn new(dir: &Path, port: u16, namespace: &str) -> Reader {
        let ca = reqwest::Certificate::from_pem(&std::fs::read(dir.join("ca.crt")).unwrap()).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([ca]).timeout(Duration::from_secs(20));
        Reader { client: client.build().unwrap(), port, namespace: namespace.to_owned() }
    }

    fn base(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    async fn ask(&self, what: &str, token: Option<&str>) -> (u16, Value) {
        let url = format!("{}{}", self.base(), device_api::path(&self.namespace, what));
        let asked = token.iter().fold(self.client.get(url), |asked, token| asked.bearer_auth(token));
        let answer = asked.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
    }

    async fn get<T: DeserializeOwned>(&self, what: &str, token: &str) -> T {
        let (status, body) = self.ask(what, Some(token)).await;
        assert_eq!(status, 200, "{what}: {body}");
        serde_json::from_value(body).unwrap()
    }

    async fn ids(&self, filter: &str, token: &str) -> Vec<String> {
        let (mut ids, mut next) = (Vec::new(), String::new());
        loop {
            let page: DevicePage =
                self.get(&format!("devices?limit=7&continue={next}&{filter}"), token).await;
            assert!(page.items.len() <= 7 && page.complete && page.devices == DEVICES as u64);
            ids.extend(page.items.into_iter().map(|device| device.id));
            match page.next {
                Some(token) => next = token,
                None => return ids,
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_told_to_those_who_may_see_them_as_they_are() {
    let port = free_port().unwrap();
    let plant = Plant::start_with("devices", |dir, _| {
        certificate::issue(dir).unwrap();
        let file = |name: &str| dir.join(name).display().to_string();
        let address = format!("0.0.0.0:{port}");
        let flags = [
            "--metrics-tls",
            &address,
            "--metrics-cert",
            &file("tls.crt"),
            "--metrics-key",
            &file("tls.key"),
        ];
        flags.map(str::to_owned).to_vec()
    })
    .await;
    let fleet = Fleet::new(&plant.namespace, "m", DEVICES, plant.broker.port(), plant.key);
    let (badness, running) = (fleet.badness(), std::sync::Arc::clone(&fleet.running));
    tokio::spawn(fleet.live());
    badness.lock().unwrap().insert("1.1.0".into(), 101);
    for version in ["1.0.0", "1.1.0"] {
        plant.register(version).await;
    }
    plant.roll_out("1.0.0").await;
    plant.wait("1.0.0", "Succeeded", LONG).await;
    plant.roll_out("1.1.0").await;
    plant.wait("1.1.0", "RolledBack", LONG).await;

    let [viewer, stranger] =
        [account(&plant, "viewer", true).await, account(&plant, "stranger", false).await];
    let reader = Reader::new(plant.dir.path(), port, &plant.namespace);
    refuses(&reader, &viewer, &stranger).await;
    let told: BTreeMap<String, String> = running.lock().unwrap().clone();
    agrees(&plant, &reader, &viewer, &told).await;
    plugin(&plant, port, &viewer, &told);
    dashboard(&plant, &reader, port, &viewer).await;
    through_the_api_server(&plant, port, &viewer);
    standby_names_the_leader(&plant, &viewer).await;
    schemathesis(&plant, &reader, &viewer).await;
}

async fn refuses(reader: &Reader, viewer: &str, stranger: &str) {
    assert_eq!(reader.ask("devices", None).await.0, 401);
    assert_eq!(reader.ask("devices", Some("invented")).await.0, 401);
    for what in ["devices", "devices/pump-001", "failures"] {
        let (status, why) = reader.ask(what, Some(stranger)).await;
        assert_eq!(status, 403);
        let why = why["message"].as_str().unwrap();
        assert!(why.contains("stranger may not") && why.contains("devices.modelfleet.io"), "{why}");
    }
    let elsewhere = Reader { namespace: "kube-system".into(), client: reader.client.clone(), ..*reader };
    assert_eq!(elsewhere.ask("devices", Some(viewer)).await.0, 403, "another namespace is another right");
    for (what, field) in
        [("devices?phase=Lost", "phase"), ("devices?limit=0", "limit"), ("devices?color=red", "color")]
    {
        let (status, why) = reader.ask(what, Some(viewer)).await;
        assert!(status == 400 && why["message"].as_str().unwrap().contains(field), "{what}: {status} {why}");
    }
    let (status, why) = reader.ask("devices/pump-999", Some(viewer)).await;
    assert!(status == 404 && why["message"].as_str().unwrap().contains("never heard"), "{why}");
}

/// What the API says is what the devices said and what the statuses say.
async fn agrees(plant: &Plant, reader: &Reader, viewer: &str, told: &BTreeMap<String, String>) {
    let all = reader.ids("", viewer).await;
    assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (DEVICES, DEVICES));
    let run = |version: &str| told.values().filter(|running| *running == version).count();
    assert_eq!(reader.ids("version=1.0.0", viewer).await.len(), run("1.0.0"));
    assert_eq!(reader.ids("version=1.1.0", viewer).await.len(), 0);
    assert_eq!(reader.ids("version=9.9.9", viewer).await.len(), 0);
    let old = reader.ids("labelSelector=age%3Dold", viewer).await.len();
    let young = reader.ids("labelSelector=age!%3Dold", viewer).await.len();
    assert!(old > 0 && young > 0 && old + young == DEVICES, "{old} {young}");
    assert_eq!(reader.ids("connected=true", viewer).await.len(), DEVICES);
    assert_eq!(reader.ids("silentSeconds=3600", viewer).await.len(), 0);

    let failures: FailureList = reader.get("failures", viewer).await;
    let [group] = failures.items.as_slice() else { panic!("{failures:?}") };
    assert_eq!((group.failure.as_str(), group.blames.as_str()), ("LoadRefused", "Model"));
    assert_eq!(group.build.version.as_deref(), Some("1.1.0"));
    let failed = reader.ids("failure=LoadRefused", viewer).await;
    assert_eq!(failed.len() as u64, group.devices);
    let status = plant.rollouts().get("r-1.1.0").await.unwrap().status.unwrap();
    let named: BTreeSet<&String> = status.failures.iter().map(|failure| &failure.device).collect();
    assert!(!named.is_empty() && named.iter().all(|device| failed.contains(device)), "{named:?} {failed:?}");

    let detail: DeviceDetail = reader.get(&format!("devices/{}", failed[0]), viewer).await;
    let model = &detail.device.models[0];
    assert_eq!(model.running.as_ref().unwrap().version.as_ref(), told.get(&failed[0]));
    let attempt = model.attempt.as_ref().unwrap();
    assert_eq!((attempt.phase.as_str(), attempt.rollout.as_deref()), ("Failed", Some("r-1.1.0")));
    let stages: Vec<_> =
        detail.stages.iter().map(|stage| (stage.rollout.as_str(), stage.stage.as_str())).collect();
    assert!(stages.contains(&("r-1.1.0", "canary")), "{stages:?}");
    let newest = detail.changes.first().unwrap();
    assert_eq!(newest.attempt.as_ref().unwrap().failure.as_deref(), Some("LoadRefused"));
    let windows = &detail.reports[0].objectives[0];
    assert!(windows.slo == "errors" && windows.windows.contains('g'), "{windows:?}");
}

/// Runs the plugin by the rights of `token`.
fn modelfleet(plant: &Plant, token: &str, way: &[&str], arguments: &[&str]) -> (bool, String) {
    let file = plant.dir.path().join("token");
    std::fs::write(&file, token).unwrap();
    let mut command = Command::new(program("kubectl-modelfleet"));
    command.args(arguments).args(way).arg("--token-file").arg(file);
    command.arg("--kubeconfig").arg(api_server::kubeconfig()).args(["--namespace", &plant.namespace]);
    let output = command.output().unwrap();
    let text =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    (output.status.success(), text)
}

fn plugin(plant: &Plant, port: u16, viewer: &str, told: &BTreeMap<String, String>) {
    let (url, ca) =
        (format!("https://localhost:{port}"), plant.dir.path().join("ca.crt").display().to_string());
    let way = ["--controller", &url, "--controller-ca", &ca];
    let run = |arguments: &[&str]| {
        let (good, text) = modelfleet(plant, viewer, &way, arguments);
        assert!(good, "{arguments:?}: {text}");
        println!("$ kubectl modelfleet {}\n{text}", arguments.join(" "));
        text
    };
    let list = run(&["devices", "--version", "1.0.0"]);
    let rows: BTreeMap<String, String> = list
        .lines()
        .filter(|line| line.starts_with("pump-"))
        .map(|line| {
            let cells: Vec<&str> = line.split_whitespace().collect();
            // DEVICE CONNECTED, HEARD "n seconds ago", MODEL VERSION
            let version = cells[cells.iter().position(|cell| *cell == "m").unwrap() + 1];
            (cells[0].to_owned(), version.to_owned())
        })
        .collect();
    let wanted: BTreeMap<_, _> = told.iter().filter(|(_, version)| *version == "1.0.0").collect();
    assert_eq!(rows.iter().collect::<BTreeMap<_, _>>(), wanted);
    let failed = run(&["devices", "--failure", "LoadRefused", "-o", "wide"]);
    let device =
        failed.lines().find_map(|line| line.split_whitespace().next().filter(|id| id.starts_with("pump-")));
    let one = run(&["device", device.unwrap()]);
    assert!(one.contains("LoadRefused") && one.contains("canary of rollout r-1.1.0"), "{one}");
    let failures = run(&["failures"]);
    assert!(failures.contains("LoadRefused") && failures.contains("Model"), "{failures}");
    let page: DevicePage = serde_json::from_str(&run(&["devices", "--limit", "1000", "-o", "json"])).unwrap();
    assert_eq!(page.items.len(), DEVICES);
    let (good, text) = modelfleet(plant, viewer, &way, &["device", "pump-999"]);
    assert!(!good && text.contains("never heard"), "{text}");
    let (good, text) = modelfleet(plant, viewer, &["--controller", "https://localhost:1"], &["failures"]);
    assert!(!good && text.contains("cannot be reached"), "{text}");
}

/// The dashboard as a process; it ends with the test.
struct Pages(std::process::Child);

impl Drop for Pages {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The text of each number that a page marks as the field of an answer.
fn figures(page: &str, field: &str) -> Vec<String> {
    let marked = format!("data-field=\"{field}\">");
    page.split(&marked).skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()).collect()
}

/// Each number on the pages of devices is that of the API.
async fn dashboard(plant: &Plant, reader: &Reader, port: u16, viewer: &str) {
    use std::io::BufRead as _;
    let mut command = Command::new(program("kubectl-modelfleet"));
    command.args(["dashboard", "--controller", &format!("https://localhost:{port}"), "--controller-ca"]);
    command.arg(plant.dir.path().join("ca.crt")).arg("--token-file").arg(plant.dir.path().join("token"));
    command.arg("--kubeconfig").arg(api_server::kubeconfig()).args(["--namespace", &plant.namespace]);
    let mut pages = Pages(command.stdout(std::process::Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    std::io::BufReader::new(pages.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let (base, key) = line.trim().split_once("/?key=").unwrap();
    let cookie = format!("modelfleet-{}={key}", base.rsplit(':').next().unwrap());
    let get = async |path: String| {
        let asked = reader.client.get(format!("{base}{path}")).header("cookie", &cookie);
        let answer = asked.send().await.unwrap();
        (answer.status().as_u16(), String::from_utf8(answer.bytes().await.unwrap().to_vec()).unwrap())
    };
    let (status, page) = get(format!("/devices/{}", plant.namespace)).await;
    assert_eq!(status, 200, "{page}");
    let listed: DevicePage = reader.get("devices", viewer).await;
    let failures: FailureList = reader.get("failures", viewer).await;
    assert_eq!(figures(&page, "/devices"), [listed.devices.to_string()]);
    assert_eq!(figures(&page, "/items/0/devices"), [failures.items[0].devices.to_string()]);
    for device in &listed.items {
        assert!(page.contains(&format!("/devices/{}/{}\"", plant.namespace, device.id)), "{}", device.id);
    }
    let failed = &failures.items[0].examples[0];
    let (status, page) = get(format!("/devices/{}/{failed}", plant.namespace)).await;
    assert!(
        status == 200 && page.contains("LoadRefused") && page.contains("known windows outside the limit"),
        "{page}"
    );
    let (status, page) = get(format!("/devices/{}?failure=LoadRefused&phase=", plant.namespace)).await;
    assert_eq!(
        (status, page.matches("<th scope=\"row\">").count() as u64),
        (200, failures.items[0].devices),
        "{page}"
    );
    let (status, page) = get(format!("/devices/{}/pump-999", plant.namespace)).await;
    assert!(status == 404 && page.contains("never heard"), "{page}");
}

/// The address of this machine that is not its loopback, where the API server does not connect to.
fn own_address() -> String {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent: the system says by which of its addresses it would.
    socket.connect("198.51.100.1:9").unwrap();
    socket.local_addr().unwrap().ip().to_string()
}

fn through_the_api_server(plant: &Plant, port: u16, viewer: &str) {
    let namespace = format!("{}-system", plant.namespace);
    let way = ["--controller-namespace", &namespace];
    let (good, text) = modelfleet(plant, viewer, &way, &["failures"]);
    assert!(!good && text.contains("install manifests/devices"), "{text}");
    let made = async {
        let create = PostParams::default();
        let services: Api<Service> = Api::namespaced(plant.client.clone(), &namespace);
        let service = json!({
            "metadata": {"name": "modelfleet-devices"},
            "spec": {"ports": [{"name": "https", "port": 8443, "targetPort": port}]},
        });
        services.create(&create, &serde_json::from_value(service).unwrap()).await.unwrap();
        // What a cluster's controllers and kubelet would make: the API server goes to addresses of pods only.
        let pods: Api<Pod> = Api::namespaced(plant.client.clone(), &namespace);
        let pod = json!({
            "metadata": {"name": "controller"},
            "spec": {"automountServiceAccountToken": false, "containers": [{"name": "c", "image": "c"}]},
        });
        pods.create(&create, &serde_json::from_value(pod).unwrap()).await.unwrap();
        let address = own_address();
        let status = json!({"status": {"podIP": address, "podIPs": [{"ip": address}]}});
        pods.patch_status("controller", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
        let endpoints: Api<Endpoints> = Api::namespaced(plant.client.clone(), &namespace);
        let pod = json!({"kind": "Pod", "name": "controller", "namespace": namespace});
        let made = json!({
            "metadata": {"name": "modelfleet-devices"},
            "subsets": [{
                "addresses": [{"ip": address, "targetRef": pod}],
                "ports": [{"name": "https", "port": port}],
            }],
        });
        endpoints.create(&create, &serde_json::from_value(made).unwrap()).await.unwrap();
    };
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(made));
    let (good, text) = modelfleet(plant, viewer, &way, &["failures"]);
    assert!(good && text.contains("LoadRefused"), "{text}");
    let (good, text) = modelfleet(plant, "invented", &way, &["failures"]);
    assert!(
        !good && text.contains("does not know this token"),
        "the API server's own user is not meant: {text}"
    );
}

async fn standby_names_the_leader(plant: &Plant, viewer: &str) {
    let address: SocketAddr = ([127, 0, 0, 1], free_port().unwrap()).into();
    let file = |name: &str| plant.dir.path().join(name);
    let reviewed = Reviewed { address, certificate: file("tls.crt"), key: file("tls.key") };
    let shown = Shown { metrics: Metrics::new(), stand: Default::default() };
    shown.set(Stand::Standby);
    let stop = CancellationToken::new();
    let namespace = format!("{}-system", plant.namespace);
    let served = tokio::spawn(serve(reviewed, shown, plant.client.clone(), namespace, stop.clone()));
    let reader = Reader::new(plant.dir.path(), address.port(), &plant.namespace);
    let listens = async || tokio::net::TcpStream::connect(address).await.ok();
    plant.eventually("the standby to listen", Duration::from_secs(20), listens).await;
    let (status, why) = reader.ask("devices", Some(viewer)).await;
    assert_eq!((status, why["leader"].as_str()), (503, Some("test")), "{why}");
    stop.cancel();
    served.await.unwrap().unwrap();
}

/// Requests that schemathesis makes up from the description, in the namespace that the token may see.
async fn schemathesis(plant: &Plant, reader: &Reader, viewer: &str) {
    let mut description = reader.ask_description(viewer).await;
    for path in description["paths"].as_object_mut().unwrap().values_mut() {
        for parameter in path["get"]["parameters"].as_array_mut().unwrap() {
            if parameter["name"] == "namespace" {
                parameter["schema"]["enum"] = json!([plant.namespace]);
            }
        }
    }
    let file = plant.dir.path().join("openapi.json");
    std::fs::write(&file, description.to_string()).unwrap();
    let made = Command::new(root().join("controller/tests/schemathesis/environment.sh")).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut command = Command::new(String::from_utf8_lossy(&made.stdout).trim());
    command.current_dir(plant.dir.path()).arg("run").arg(&file).args(["--url", &reader.base()]);
    command.args([
        "--header",
        &format!("Authorization: Bearer {viewer}"),
        "--max-examples",
        "40",
        "--seed",
        "7",
    ]);
    command.args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,unsupported_method,ignored_auth"]);
    command.arg("--tls-verify").arg(plant.dir.path().join("ca.crt"));
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
}

impl Reader {
    async fn ask_description(&self, token: &str) -> Value {
        let url = format!("{}/apis/modelfleet.io/v1alpha1/openapi.json", self.base());
        let answer = self.client.get(url).bearer_auth(token).send().await.unwrap();
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }
}
