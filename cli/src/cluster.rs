//! The API server: which one, which namespace, and what its refusals mean.

use std::fmt::Debug;
use std::future::{Future, Ready, ready};
use std::path::PathBuf;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use clap::Args;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::client::{Body, ClientBuilder, ConfigExt as _};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::Status;
use kube::{Api, Client, Config, Resource};
use serde::de::DeserializeOwned;

use crate::printing::cut;

/// Who writes the fields that this program sets.
pub const FIELD_MANAGER: &str = "kubectl-modelfleet";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Which API server, and which namespace of it.
#[derive(Clone, Debug, Default, Args)]
pub struct ClusterFlags {
    /// Kubeconfig file. Default: $KUBECONFIG, ~/.kube/config, or the pod's service account.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Cluster")]
    pub kubeconfig: Option<PathBuf>,

    /// Context in the kubeconfig. Default: the current context.
    #[arg(long, global = true, value_name = "NAME", help_heading = "Cluster")]
    pub context: Option<String>,

    /// Namespace. Default: the namespace of the context.
    #[arg(long, short, global = true, value_name = "NAME", help_heading = "Cluster")]
    pub namespace: Option<String>,
}

/// Why the API server did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The kubeconfig cannot be used.
    #[error("read the kubeconfig {file}")]
    Kubeconfig {
        /// Which one.
        file: String,
        /// Why.
        source: kube::config::KubeconfigError,
    },
    /// There is no kubeconfig, and the program does not run in a pod.
    #[error("find an API server: there is no usable kubeconfig; set one with --kubeconfig")]
    NoServer(#[source] kube::config::InferConfigError),
    /// The settings of the kubeconfig make no client.
    #[error("make a client for the API server")]
    Client(#[source] kube::Error),
    /// It does not answer.
    #[error("{doing}: the API server did not answer within {} seconds; is it running and reachable?", REQUEST_TIMEOUT.as_secs())]
    Silent {
        /// What was being done to what.
        doing: String,
    },
    /// It cannot be reached.
    #[error(
        "{doing}: the API server cannot be reached; check that it is running and that --context is right"
    )]
    Unreachable {
        /// What was being done to what.
        doing: String,
        /// Why.
        source: kube::Error,
    },
    /// The object is not there.
    #[error("{doing}: not found in this namespace; look in all namespaces with: kubectl get {resource} -A")]
    Absent {
        /// What was being done to what.
        doing: String,
        /// What to look for.
        resource: &'static str,
    },
    /// The definitions are not installed.
    #[error(
        "{doing}: the API server does not know this kind of object; install it with: kubectl apply -k manifests/"
    )]
    NotInstalled {
        /// What was being done to what.
        doing: String,
    },
    /// The user may not.
    #[error("{doing}: permission denied: {message}")]
    Forbidden {
        /// What was being done to what.
        doing: String,
        /// The API server's words.
        message: String,
    },
    /// The namespace is not there.
    #[error(
        "{doing}: namespace {namespace} does not exist; create it with: kubectl create namespace {namespace}"
    )]
    NoNamespace {
        /// What was being done to what.
        doing: String,
        /// The namespace.
        namespace: String,
    },
    /// Another refusal.
    #[error("{doing}: the API server rejected it: {message}")]
    Refused {
        /// What was being done to what.
        doing: String,
        /// The API server's words, cut.
        message: String,
    },
    /// There is no request, or an answer that cannot be read.
    #[error("{doing}")]
    Failed {
        /// What was being done to what.
        doing: String,
        /// Why.
        source: kube::Error,
    },
}

/// A namespace of an API server.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    /// The namespace that commands speak about.
    pub namespace: String,
}

impl Cluster {
    /// A client for the API server that the flags name. It does not connect yet.
    ///
    /// # Errors
    /// When there is no kubeconfig, or it cannot be used.
    pub async fn connect(flags: &ClusterFlags) -> Result<Cluster, ClusterError> {
        let mut config = config(flags).await?;
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        let namespace = flags.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(ClusterError::Client)?;
        Ok(Cluster { client, namespace })
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The same API server, another namespace.
    #[must_use]
    pub fn of_namespace(&self, namespace: &str) -> Cluster {
        Cluster { namespace: namespace.to_owned(), ..self.clone() }
    }

    /// The objects of a kind that belongs to no namespace.
    #[must_use]
    pub fn cluster_wide<K>(&self) -> Api<K>
    where
        K: Resource<Scope = ClusterResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        Api::all(self.client.clone())
    }

    /// The objects of a kind in all namespaces.
    #[must_use]
    pub fn everywhere<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        Api::all(self.client.clone())
    }

    /// The objects of a kind in the namespace.
    #[must_use]
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

/// The token by which the API server knows the user; `None`: it knows the user by a certificate. A program that the kubeconfig
/// names for it is run.
///
/// # Errors
/// When the kubeconfig cannot be used, or its program gives no token.
pub async fn bearer_token(flags: &ClusterFlags) -> Result<Option<String>, ClusterError> {
    let config = config(flags).await?;
    let Some(layer) = config.auth_layer().map_err(ClusterError::Client)? else { return Ok(None) };
    // The client library alone knows how a kubeconfig leads to a token, and tells it to a request: one that is sent nowhere.
    let client = ClientBuilder::new(NowhereSent, String::new()).with_layer(&layer).build();
    let answer = client.send(http::Request::new(Body::empty())).await.map_err(ClusterError::Client)?;
    let told = answer.headers().get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    Ok(told.and_then(|told| told.strip_prefix("Bearer ")).map(str::to_owned))
}

/// Answers a request with its own header `Authorization`.
#[derive(Clone)]
struct NowhereSent;

impl tower_service::Service<http::Request<Body>> for NowhereSent {
    type Response = http::Response<Body>;
    // What the layers before it may fail with.
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Ready<Result<http::Response<Body>, Self::Error>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let mut answer = http::Response::new(Body::empty());
        if let Some(told) = request.headers().get(http::header::AUTHORIZATION) {
            answer.headers_mut().insert(http::header::AUTHORIZATION, told.clone());
        }
        ready(Ok(answer))
    }
}

/// The namespace that a command is about, without asking the API server.
///
/// # Errors
/// When none is named, and there is no kubeconfig to say one.
pub async fn namespace(flags: &ClusterFlags) -> Result<String, ClusterError> {
    match &flags.namespace {
        Some(namespace) => Ok(namespace.clone()),
        None => Ok(config(flags).await?.default_namespace),
    }
}

async fn config(flags: &ClusterFlags) -> Result<Config, ClusterError> {
    let options = KubeConfigOptions { context: flags.context.clone(), ..KubeConfigOptions::default() };
    if let Some(file) = &flags.kubeconfig {
        let named = |source| ClusterError::Kubeconfig { file: file.display().to_string(), source };
        let kubeconfig = Kubeconfig::read_from(file).map_err(named)?;
        return Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(named);
    }
    if flags.context.is_some() {
        let named = |source| ClusterError::Kubeconfig { file: "of the environment".into(), source };
        return Config::from_kubeconfig(&options).await.map_err(named);
    }
    Config::infer().await.map_err(ClusterError::NoServer)
}

/// Sends a request and waits for the answer, for a bounded time. `doing` says what is being done to what; `resource` is what
/// `kubectl get` would list.
///
/// # Errors
/// When the API server refuses or does not answer.
pub async fn send<T>(
    doing: &str,
    resource: &'static str,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, ClusterError> {
    let doing = || doing.to_owned();
    match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
        Err(_) => Err(ClusterError::Silent { doing: doing() }),
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) => Err(refused(doing(), resource, &status)),
        Ok(Err(source @ (kube::Error::Service(_) | kube::Error::HyperError(_)))) => {
            Err(ClusterError::Unreachable { doing: doing(), source })
        }
        Ok(Err(source)) => Err(ClusterError::Failed { doing: doing(), source }),
    }
}

/// What a refusal means.
fn refused(doing: String, resource: &'static str, status: &Status) -> ClusterError {
    let (kind, name) = status.details.as_ref().map_or(("", ""), |d| (d.kind.as_str(), d.name.as_str()));
    let message = || cut(&status.message);
    match status.code {
        404 if kind == "namespaces" => ClusterError::NoNamespace { doing, namespace: name.to_owned() },
        // The server names the object that is missing; for an unknown kind it has nothing to name.
        404 if name.is_empty() => ClusterError::NotInstalled { doing },
        404 => ClusterError::Absent { doing, resource },
        403 => ClusterError::Forbidden { doing, message: message() },
        _ => ClusterError::Refused { doing, message: message() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::response::StatusDetails;

    fn message(code: u16, kind: &str, name: &str) -> String {
        let details: StatusDetails =
            serde_json::from_value(serde_json::json!({ "kind": kind, "name": name })).unwrap();
        let message = "no such\nthing".to_owned();
        let status = Status { code, message, details: Some(details), ..Status::default() };
        refused("read rollout x".to_owned(), "rollouts", &status).to_string()
    }

    /// The token of a kubeconfig whose user is described so.
    async fn token_of(user: &str) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("kubeconfig");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
             clusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:1'}}}}]\n\
             contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {user}}}]\n"
        );
        std::fs::write(&file, text).unwrap();
        let flags = ClusterFlags { kubeconfig: Some(file), ..ClusterFlags::default() };
        bearer_token(&flags).await.unwrap()
    }

    #[tokio::test]
    async fn a_token_is_found_where_the_kubeconfig_has_it() {
        crate::tls::use_ring();
        assert_eq!(token_of("{token: abc}").await.as_deref(), Some("abc"));
        assert_eq!(token_of("{}").await, None);
        let answer = r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"made"}}"#;
        let program = format!(
            "{{exec: {{apiVersion: client.authentication.k8s.io/v1, command: echo, args: ['{answer}'], interactiveMode: Never}}}}"
        );
        assert_eq!(token_of(&program).await.as_deref(), Some("made"));
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        assert!(message(404, "rollouts", "x").contains("kubectl get rollouts -A"));
        assert!(message(404, "", "").contains("kubectl apply -k manifests/"));
        assert!(message(404, "namespaces", "plant").contains("kubectl create namespace plant"));
        assert_eq!(message(403, "rollouts", "x"), "read rollout x: permission denied: no such thing");
        assert_eq!(message(422, "Rollout", "x"), "read rollout x: the API server rejected it: no such thing");
    }
}
