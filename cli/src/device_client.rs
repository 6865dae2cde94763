//! The controller's API of devices: how it is reached, and by whose rights.
//!
//! Without `--controller` a request goes through the API server to the Service of the controller. The API server takes the
//! header `Authorization` out, so that the token of the user goes in a header of its own.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use modelfleet_crds::device_api::{self, Refusal};
use reqwest::Url;
use serde::de::DeserializeOwned;

use crate::cluster::{self, Cluster, ClusterError, ClusterFlags};
use crate::printing::cut;

/// Longest time for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Tries when a replica answers that does not lead: the Service picks one of them by chance.
const TRIES_MAX: usize = 10;
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(150);
/// Largest answer, bytes: a page of a thousand devices with many labels has a few million.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// How the controller is reached.
#[derive(Clone, Debug, Default, Args)]
pub struct DeviceApiFlags {
    /// Address of the controller, such as https://localhost:8443. Default: through the API server, to the Service.
    #[arg(long, value_name = "URL", env = "MODELFLEET_CONTROLLER", help_heading = "Controller")]
    pub controller: Option<Url>,

    /// File with the certificates to trust at --controller (PEM). Default: the certificates of the system.
    #[arg(long, value_name = "FILE", requires = "controller", help_heading = "Controller")]
    pub controller_ca: Option<PathBuf>,

    /// Namespace of the controller, where its Service modelfleet-devices is.
    #[arg(long, value_name = "NAME", default_value = "modelfleet-system", help_heading = "Controller")]
    pub controller_namespace: String,

    /// File with a token, as `kubectl create token ACCOUNT` prints it. Default: the token of the kubeconfig.
    #[arg(long, value_name = "FILE", help_heading = "Controller")]
    pub token_file: Option<PathBuf>,
}

/// Why the controller did not answer.
#[derive(Debug, thiserror::Error)]
pub enum DeviceApiError {
    /// The API server cannot be asked.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A file cannot be read.
    #[error("read {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The kubeconfig has no token.
    #[error(
        "ask the controller about devices: your kubeconfig has a certificate and no token; give one with --token-file, made with: \
         kubectl create token ACCOUNT > FILE"
    )]
    NoToken,
    /// The certificates cannot be used.
    #[error("make a client for {0}")]
    Client(Url, #[source] reqwest::Error),
    /// It does not answer.
    #[error("ask the controller at {0}: it cannot be reached; check the address and --controller-ca")]
    Unreachable(Url, #[source] reqwest::Error),
    /// It does not answer in time.
    #[error("ask the controller about devices: it did not answer within {} seconds", ANSWER_MAX.as_secs())]
    Silent,
    /// The way through the API server does not lead there.
    #[error(
        "ask the controller about devices through the API server: {message}; install manifests/devices, or name the address with \
         --controller"
    )]
    NoWay {
        /// The API server's words.
        message: String,
    },
    /// The API server cannot be asked.
    #[error("ask the controller about devices through the API server")]
    ApiServer(#[source] kube::Error),
    /// The controller refuses.
    #[error("ask the controller about devices: {message}")]
    Refused {
        /// The status of the answer.
        status: u16,
        /// The controller's words.
        message: String,
    },
    /// The answer is no answer.
    #[error(
        "read the controller's answer (status {status}): is this the address of a Modelfleet controller of this version?"
    )]
    Unreadable {
        /// The status of the answer.
        status: u16,
        /// Why not.
        source: serde_json::Error,
    },
    /// The answer is too large.
    #[error(
        "read the controller's answer: it has more than {ANSWER_BYTES_MAX} bytes; ask for fewer devices with --limit"
    )]
    Large,
}

/// Asks the controller about the devices of a namespace.
#[derive(Clone)]
pub struct DeviceClient {
    way: Way,
    token: String,
    namespace: String,
}

#[derive(Clone)]
enum Way {
    Service(kube::Client, String),
    Direct(reqwest::Client, Url),
}

impl DeviceClient {
    /// A client by the rights of the kubeconfig's user. It does not connect yet.
    ///
    /// # Errors
    /// When there is no token, or a file cannot be read.
    pub async fn new(
        flags: &DeviceApiFlags,
        cluster_flags: &ClusterFlags,
        cluster: &Cluster,
    ) -> Result<DeviceClient, DeviceApiError> {
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|source| DeviceApiError::File { path: path.clone(), source })
        };
        let token = match &flags.token_file {
            Some(path) => Some(String::from_utf8_lossy(&read(path)?).trim().to_owned()),
            None => cluster::bearer_token(cluster_flags).await?,
        };
        let token = token.filter(|token| !token.is_empty()).ok_or(DeviceApiError::NoToken)?;
        let way = match &flags.controller {
            Some(url) => {
                let failed = |error| DeviceApiError::Client(url.clone(), error);
                let mut client = reqwest::Client::builder().timeout(ANSWER_MAX);
                if let Some(path) = &flags.controller_ca {
                    let authority = reqwest::Certificate::from_pem_bundle(&read(path)?).map_err(failed)?;
                    client = client.tls_certs_only(authority);
                }
                Way::Direct(client.build().map_err(failed)?, url.clone())
            }
            None => {
                let service = format!(
                    "/api/v1/namespaces/{}/services/https:modelfleet-devices:https/proxy",
                    flags.controller_namespace
                );
                Way::Service(cluster.client().clone(), service)
            }
        };
        Ok(DeviceClient { way, token, namespace: cluster.namespace.clone() })
    }

    /// The same for another namespace.
    #[must_use]
    pub fn of_namespace(&self, namespace: &str) -> DeviceClient {
        DeviceClient { namespace: namespace.to_owned(), ..self.clone() }
    }

    /// Asks for `devices`, `devices/ID` or `failures`.
    ///
    /// # Errors
    /// When the controller cannot be reached, refuses, or answers something else.
    pub async fn get<T: DeserializeOwned>(
        &self,
        what: &[&str],
        query: &[(&str, String)],
    ) -> Result<T, DeviceApiError> {
        // A device may be called anything: what is in a path is written so that it stays one part of it.
        let mut url = Url::parse("http://controller").expect("a constant that is an address");
        url.set_path(&device_api::path(&self.namespace, ""));
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(what);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let path = format!("{}{query}", url.path());
        for _ in 1..TRIES_MAX {
            match self.once(&path).await? {
                Answer { status: 503, body } if of_standby(&body) => tokio::time::sleep(PAUSE).await,
                answer => return answer.read(),
            }
        }
        self.once(&path).await?.read()
    }

    async fn once(&self, path: &str) -> Result<Answer, DeviceApiError> {
        let asked = async {
            match &self.way {
                Way::Direct(client, url) => direct(client, url, path, &self.token).await,
                Way::Service(client, service) => through(client, service, path, &self.token).await,
            }
        };
        tokio::time::timeout(ANSWER_MAX, asked).await.map_err(|_| DeviceApiError::Silent)?
    }
}

struct Answer {
    status: u16,
    body: Vec<u8>,
}

/// Whether a replica answered that does not lead, while another one does.
fn of_standby(body: &[u8]) -> bool {
    serde_json::from_slice::<Refusal>(body).is_ok_and(|refusal| refusal.leader.is_some())
}

async fn direct(
    client: &reqwest::Client,
    url: &Url,
    path: &str,
    token: &str,
) -> Result<Answer, DeviceApiError> {
    let failed = |error| DeviceApiError::Unreachable(url.clone(), error);
    let whole = format!("{}{path}", url.as_str().trim_end_matches('/'));
    let mut response = client.get(whole).bearer_auth(token).send().await.map_err(failed)?;
    let (status, mut body) = (response.status().as_u16(), Vec::new());
    while let Some(part) = response.chunk().await.map_err(failed)? {
        body.extend_from_slice(&part);
        if body.len() > ANSWER_BYTES_MAX {
            return Err(DeviceApiError::Large);
        }
    }
    Ok(Answer { status, body })
}

async fn through(
    client: &kube::Client,
    service: &str,
    path: &str,
    token: &str,
) -> Result<Answer, DeviceApiError> {
    let request = http::Request::get(format!("{service}{path}")).header(device_api::TOKEN_HEADER, token);
    let request = request.body(kube::client::Body::empty());
    let request = request.map_err(|error| DeviceApiError::ApiServer(kube::Error::HttpError(error)))?;
    let response = client.send(request).await.map_err(DeviceApiError::ApiServer)?;
    let status = response.status().as_u16();
    let body = response.into_body().collect_bytes().await.map_err(DeviceApiError::ApiServer)?;
    Ok(Answer { status, body: body.to_vec() })
}

impl Answer {
    fn read<T: DeserializeOwned>(self) -> Result<T, DeviceApiError> {
        let Answer { status, body } = self;
        if status == 200 {
            return serde_json::from_slice(&body)
                .map_err(|source| DeviceApiError::Unreadable { status, source });
        }
        // The API server's own refusals are objects of the kind Status.
        if let Ok(kube::core::Status { status: Some(_), message, .. }) = serde_json::from_slice(&body) {
            return Err(DeviceApiError::NoWay { message: cut(&message) });
        }
        match serde_json::from_slice::<Refusal>(&body) {
            Ok(refusal) => Err(DeviceApiError::Refused { status, message: cut(&refusal.message) }),
            Err(source) => Err(DeviceApiError::Unreadable { status, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, body: &str) -> String {
        let answer = Answer { status, body: body.as_bytes().to_vec() };
        answer.read::<serde_json::Value>().unwrap_err().to_string()
    }

    #[test]
    fn a_refusal_says_whose_it_is_and_what_to_do() {
        let told = refused(403, r#"{"message":"maria may not list devices.modelfleet.io in namespace a"}"#);
        assert_eq!(
            told,
            "ask the controller about devices: maria may not list devices.modelfleet.io in namespace a"
        );
        let status =
            r#"{"kind":"Status","status":"Failure","message":"services \"x\" not found","code":404}"#;
        let told = refused(404, status);
        assert!(told.contains("services \"x\" not found; install manifests/devices"), "{told}");
        assert!(refused(502, "<html>").contains("is this the address of a Modelfleet controller"));
    }

    #[test]
    fn a_standby_is_told_from_a_leader_that_has_too_much_to_do() {
        assert!(of_standby(br#"{"message":"ask b","leader":"b"}"#));
        assert!(!of_standby(br#"{"message":"too many questions at once; try again"}"#));
    }
}
