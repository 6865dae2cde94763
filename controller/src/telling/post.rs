//! One request to a sink. No redirect is followed, nothing of the answer is read but its status and one header, and neither the
//! address nor the key is logged.

use std::sync::Arc;
use std::time::Duration;

use modelfleet_protocol::causes::with_causes;
use modelfleet_protocol::time::Time;
use modelfleet_telling::answer::{Answer, answer};
use modelfleet_telling::signature::HmacKey;
use modelfleet_telling::{Occurrence, SinkKind, alertmanager, cloud_event, slack};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use url::Url;

use super::secret::Secrets;
use super::settings::{Place, Sink, TellingError, checked, key_in};
use crate::reach::CarefulNames;

/// Longest time for a whole request.
const REQUEST_MAX: Duration = Duration::from_secs(10);
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Sends requests to sinks.
pub(super) struct Poster {
    http: reqwest::Client,
    secrets: Secrets,
    allow_link_local: bool,
}

impl Poster {
    pub(super) fn new(client: kube::Client, allow_link_local: bool) -> Result<Poster, TellingError> {
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_MAX)
            .timeout(REQUEST_MAX)
            .pool_max_idle_per_host(1)
            .user_agent(concat!("modelfleet-controller/", env!("CARGO_PKG_VERSION")));
        let builder = if allow_link_local { builder } else { builder.dns_resolver(Arc::new(CarefulNames)) };
        let http = builder.build().map_err(TellingError::Client)?;
        Ok(Poster { http, secrets: Secrets::new(client), allow_link_local })
    }

    /// Sends one occurrence, and says what came of it.
    pub(super) async fn post(&self, sink: &Sink, occurrence: &Occurrence, now: Time) -> Answer {
        let (url, key) = match self.place(sink, now).await {
            Ok(place) => place,
            Err(why) => {
                tracing::warn!(sink = sink.shown, why, "event not sent");
                return Answer::Later(None);
            }
        };
        let Some(request) = self.request(sink.kind, url, key.as_ref(), occurrence, now) else {
            return Answer::Taken;
        };
        match request.send().await {
            Ok(response) => {
                let status = response.status().as_u16();
                let pause = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
                let answer = answer(status, pause, now);
                if answer != Answer::Taken {
                    tracing::warn!(sink = sink.shown, id = occurrence.id, status, "event not taken");
                }
                answer
            }
            Err(error) => {
                // The error would quote the address.
                let error = with_causes(&error.without_url());
                tracing::warn!(sink = sink.shown, id = occurrence.id, error, "event not delivered");
                Answer::Later(None)
            }
        }
    }

    /// Address and key of a sink, as they are now.
    async fn place(&self, sink: &Sink, now: Time) -> Result<(Url, Option<HmacKey>), String> {
        match &sink.place {
            Place::Flag(url, None) => Ok((url.clone(), None)),
            Place::Spec(url) => Ok((checked(url, self.allow_link_local)?, None)),
            Place::Flag(url, Some(path)) => {
                let key = key_in(path).map_err(|error| with_causes(&error))?;
                Ok((url.clone(), Some(key)))
            }
            Place::Secret(namespace, name) => {
                let (url, key) = self.secrets.read(namespace, name, now).await?;
                let url = checked(&url, self.allow_link_local);
                Ok((url.map_err(|why| format!("the url in Secret {namespace}/{name}: {why}"))?, key))
            }
        }
    }

    /// The request; `None`: this kind of sink has no interest in the occurrence.
    fn request(
        &self,
        kind: SinkKind,
        mut url: Url,
        key: Option<&HmacKey>,
        occurrence: &Occurrence,
        now: Time,
    ) -> Option<reqwest::RequestBuilder> {
        let (content_type, body) = match kind {
            SinkKind::CloudEvents => {
                (cloud_event::CONTENT_TYPE, cloud_event::cloud_event(occurrence).to_string())
            }
            SinkKind::Slack => ("application/json", slack::message(occurrence).to_string()),
            SinkKind::Alertmanager => {
                let alerts = alertmanager::alerts(occurrence);
                if alerts.is_empty() {
                    return None;
                }
                let path = format!("{}{}", url.path().trim_end_matches('/'), alertmanager::PATH);
                url.set_path(&path);
                ("application/json", serde_json::Value::Array(alerts).to_string())
            }
        };
        let seconds = now.0 / 1_000;
        let mut request = self
            .http
            .post(url)
            .header(CONTENT_TYPE, content_type)
            .header("webhook-id", &occurrence.id)
            .header("webhook-timestamp", seconds);
        if let Some(key) = key {
            request = request.header("webhook-signature", key.sign(&occurrence.id, seconds, body.as_bytes()));
        }
        Some(request.body(body))
    }
}
