//! Metrics over TLS, for those whom a real API server lets read them.

use std::net::SocketAddr;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use modelfleet_controller::http::Shown;
use modelfleet_controller::http::reviewed::{Reviewed, serve};
use modelfleet_controller::metrics::Metrics;
use modelfleet_test_support::place::free_port;
use modelfleet_test_support::{api_server, certificate};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// The role that ships, bound to the account `prometheus` of the namespace.
async fn bound_to_prometheus(client: &Client, name: &str) -> (Api<ClusterRole>, Api<ClusterRoleBinding>) {
    let shipped = include_str!("../../../manifests/metrics-rbac.yaml");
    let role = shipped.split("\n---\n").find(|text| text.contains("nonResourceURLs")).unwrap();
    assert!(role.contains("name: modelfleet-metrics-reader") && role.contains("[/metrics, /malformed]"));
    let roles: Api<ClusterRole> = Api::all(client.clone());
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name},
        "rules": [{"nonResourceURLs": ["/metrics", "/malformed"], "verbs": ["get"]}],
    });
    roles.patch(name, &PatchParams::apply("test"), &Patch::Apply(role)).await.unwrap();
    let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": "prometheus", "namespace": name}],
    });
    bindings.patch(name, &PatchParams::apply("test"), &Patch::Apply(binding)).await.unwrap();
    (roles, bindings)
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_over_tls_are_for_those_who_may_read_them() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(api_server::kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let client = Client::try_from(config).unwrap();
    let name = format!("metrics-{:x}", std::process::id());
    let create = PostParams::default();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let object = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    namespaces.create(&create, &object).await.unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &name);
    let mut tokens = Vec::new();
    for account in ["prometheus", "stranger"] {
        let object = serde_json::from_value(json!({"metadata": {"name": account}})).unwrap();
        accounts.create(&create, &object).await.unwrap();
        let asked = TokenRequest { spec: TokenRequestSpec::default(), ..TokenRequest::default() };
        let told = accounts.create_token_request(account, &create, &asked).await.unwrap();
        tokens.push(told.status.unwrap().token);
    }
    let (roles, bindings) = bound_to_prometheus(&client, &name).await;

    let dir = tempfile::tempdir().unwrap();
    certificate::issue(dir.path()).unwrap();
    let address: SocketAddr = ([127, 0, 0, 1], free_port().unwrap()).into();
    let (certificate, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
    let shown = Shown { metrics: Metrics::new(), stand: Default::default() };
    let stop = CancellationToken::new();
    let served = tokio::spawn(serve(
        Reviewed { address, certificate, key },
        shown,
        client,
        "default".to_owned(),
        stop.clone(),
    ));

    let ca = reqwest::Certificate::from_pem(&std::fs::read(dir.path().join("ca.crt")).unwrap()).unwrap();
    let reader =
        reqwest::Client::builder().tls_certs_only([ca]).timeout(Duration::from_secs(20)).build().unwrap();
    let ask = async |path: &str, token: Option<&str>| {
        let asked = reader.get(format!("https://localhost:{}{path}", address.port()));
        let asked = token.iter().fold(asked, |asked, token| asked.bearer_auth(token));
        let answer = asked.send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.unwrap()))
    };
    // It listens soon.
    let begun = std::time::Instant::now();
    while ask("/metrics", None).await.is_none() {
        assert!(begun.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let status = async |path: &str, token| ask(path, token).await.unwrap().0;
    assert_eq!(status("/metrics", None).await, 401);
    assert_eq!(status("/metrics", Some("invented")).await, 401);
    let (refused, why) = ask("/metrics", Some(&tokens[1])).await.unwrap();
    assert!(refused == 403 && why.contains("stranger may not get /metrics"), "{refused} {why}");
    let (taken, text) = ask("/metrics", Some(&tokens[0])).await.unwrap();
    assert!(taken == 200 && text.contains("modelfleet_leader"), "{taken} {text}");
    assert_eq!(status("/malformed", Some(&tokens[0])).await, 404, "it does not lead");
    assert_eq!(status("/healthz", Some(&tokens[0])).await, 404, "health is elsewhere");
    // A client that does not encrypt, and one that says nothing, keep no other waiting.
    let _silent = tokio::net::TcpStream::connect(address).await.unwrap();
    assert!(reqwest::get(format!("http://{address}/metrics")).await.is_err());
    assert_eq!(status("/metrics", Some(&tokens[0])).await, 200);
    stop.cancel();
    served.await.unwrap().unwrap();
    for deleted in [
        roles.delete(&name, &DeleteParams::default()).await.is_ok(),
        bindings.delete(&name, &DeleteParams::default()).await.is_ok(),
    ] {
        assert!(deleted);
    }
}
