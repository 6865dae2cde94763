//! Who may read: the token of a request is reviewed (TokenReview), and then whether its user has the right (SubjectAccessReview).
//! Answers of the API server are kept for some seconds, so that a page that is asked for again and again costs it nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, StatusCode, header};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::api::PostParams;
use kube::{Api, Client};
use modelfleet_crds::device_api;
use modelfleet_protocol::causes::with_causes;
use modelfleet_protocol::ids::Digest;
use tokio::sync::Semaphore;

/// Requests whose rights are looked up at the same time.
const REVIEWS_MAX: usize = 8;
/// So long an answer of the API server counts.
const KEPT: Duration = Duration::from_secs(10);
/// Most answers that are kept.
const KEPT_MAX: usize = 1_024;
/// Longest token that is looked at, bytes.
const TOKEN_BYTES_MAX: usize = 16 * 1_024;

/// What a request wants to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A path that is no resource.
    Path(String),
    /// The devices of a namespace: all (`list`) or one (`get`).
    Devices {
        /// The namespace.
        namespace: String,
        /// `list` or `get`.
        verb: &'static str,
    },
    /// What every user of the cluster may read.
    Public,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The status of the answer.
    pub status: StatusCode,
    /// What to do, as a sentence.
    pub message: String,
}

/// What the API server said of a token and a right.
#[derive(Clone, Debug)]
enum Answer {
    Allowed,
    Unknown,
    Forbidden(String),
}

/// Asks the API server who may read.
#[derive(Clone)]
pub struct Rights {
    client: Client,
    reviews: Arc<Semaphore>,
    kept: Arc<Mutex<BTreeMap<Digest, (Instant, Answer)>>>,
}

fn refused(status: StatusCode, message: impl Into<String>) -> Refused {
    Refused { status, message: message.into() }
}

/// The token of a request, in the header of the API or in the usual one.
fn token(headers: &HeaderMap) -> Option<&str> {
    let own = headers.get(device_api::TOKEN_HEADER).and_then(|value| value.to_str().ok());
    let usual = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = own.or_else(|| usual?.strip_prefix("Bearer "))?;
    (!token.is_empty() && token.len() <= TOKEN_BYTES_MAX).then_some(token)
}

impl Rights {
    /// Asks this API server.
    #[must_use]
    pub fn new(client: Client) -> Rights {
        Rights { client, reviews: Arc::new(Semaphore::new(REVIEWS_MAX)), kept: Arc::default() }
    }

    /// Whether a request with these headers may read `wanted`.
    ///
    /// # Errors
    /// When it may not, or the API server does not say.
    pub async fn admit(&self, headers: &HeaderMap, wanted: &Wanted) -> Result<(), Refused> {
        let Some(token) = token(headers) else {
            let message = "send the token of a user or of a service account as Authorization: Bearer";
            return Err(refused(StatusCode::UNAUTHORIZED, message));
        };
        // Only a hash is kept, so that the memory of the controller holds no tokens of users.
        let key = Digest::of(format!("{wanted:?}\0{token}").as_bytes());
        let answer = match self.kept(&key) {
            Some(answer) => answer,
            None => {
                let Ok(_place) = self.reviews.try_acquire() else {
                    return Err(refused(
                        StatusCode::SERVICE_UNAVAILABLE,
                        "too many requests at once; try again",
                    ));
                };
                let answer = self.ask(token, wanted).await.map_err(|error| {
                    tracing::warn!(error = with_causes(&error), "cannot ask the API server who may read");
                    refused(
                        StatusCode::SERVICE_UNAVAILABLE,
                        "the API server does not say who may read; try again",
                    )
                })?;
                self.keep(key, answer.clone());
                answer
            }
        };
        match answer {
            Answer::Allowed => Ok(()),
            Answer::Unknown => {
                Err(refused(StatusCode::UNAUTHORIZED, "the API server does not know this token"))
            }
            Answer::Forbidden(message) => Err(refused(StatusCode::FORBIDDEN, message)),
        }
    }

    fn kept(&self, key: &Digest) -> Option<Answer> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(key).filter(|(until, _)| *until > Instant::now()).map(|(_, answer)| answer.clone())
    }

    fn keep(&self, key: Digest, answer: Answer) {
        let now = Instant::now();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.retain(|_, (until, _)| *until > now);
        }
        if kept.len() < KEPT_MAX {
            kept.insert(key, (now + KEPT, answer));
        }
    }

    async fn ask(&self, token: &str, wanted: &Wanted) -> Result<Answer, kube::Error> {
        let Some(user) = self.user(token).await? else { return Ok(Answer::Unknown) };
        let name = user.username.clone().unwrap_or_default();
        let (resource, path, cure) = match wanted {
            Wanted::Public => return Ok(Answer::Allowed),
            Wanted::Path(path) => {
                let asked = NonResourceAttributes { path: Some(path.clone()), verb: Some("get".to_owned()) };
                let cure = format!("get {path}; bind it to the ClusterRole modelfleet-metrics-reader");
                (None, Some(asked), cure)
            }
            Wanted::Devices { namespace, verb } => {
                let asked = ResourceAttributes {
                    group: Some(modelfleet_crds::GROUP.to_owned()),
                    version: Some(modelfleet_crds::VERSION.to_owned()),
                    resource: Some(device_api::RESOURCE.to_owned()),
                    namespace: Some(namespace.clone()),
                    verb: Some((*verb).to_owned()),
                    ..ResourceAttributes::default()
                };
                let cure = format!(
                    "{verb} devices.modelfleet.io in namespace {namespace}; bind it to the ClusterRole modelfleet-view there"
                );
                (Some(asked), None, cure)
            }
        };
        let allowed = self.may(user, resource, path).await?;
        Ok(if allowed { Answer::Allowed } else { Answer::Forbidden(format!("{name} may not {cure}")) })
    }

    /// Whose token it is.
    async fn user(&self, token: &str) -> Result<Option<UserInfo>, kube::Error> {
        let spec = TokenReviewSpec { token: Some(token.to_owned()), ..TokenReviewSpec::default() };
        let asked = TokenReview { spec, ..TokenReview::default() };
        let reviews: Api<TokenReview> = Api::all(self.client.clone());
        let status = reviews.create(&PostParams::default(), &asked).await?.status.unwrap_or_default();
        Ok(status.user.filter(|_| status.authenticated == Some(true)))
    }

    async fn may(
        &self,
        user: UserInfo,
        resource_attributes: Option<ResourceAttributes>,
        non_resource_attributes: Option<NonResourceAttributes>,
    ) -> Result<bool, kube::Error> {
        let UserInfo { extra, groups, uid, username } = user;
        let spec = SubjectAccessReviewSpec {
            extra,
            groups,
            uid,
            user: username,
            resource_attributes,
            non_resource_attributes,
        };
        let asked = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let reviews: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = reviews.create(&PostParams::default(), &asked).await?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn a_token_is_taken_from_the_header_that_the_api_server_leaves() {
        let of = |pairs: &[(&'static str, &str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, HeaderValue::from_str(value).unwrap());
            }
            token(&headers).map(str::to_owned)
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("authorization", "Bearer a")]).as_deref(), Some("a"));
        assert_eq!(of(&[("authorization", "Basic a")]), None);
        assert_eq!(
            of(&[("authorization", "Bearer a"), (device_api::TOKEN_HEADER, "b")]).as_deref(),
            Some("b")
        );
        assert_eq!(of(&[("authorization", &format!("Bearer {}", "x".repeat(TOKEN_BYTES_MAX + 1)))]), None);
    }
}
