//! What a leader writes goes through here, to the API server and to the broker alike, and is refused once its [`Tenure`] is over.
//!
//! This closes the time between the end of a tenure and the end of the process. What was sent before is fenced by others: a
//! status by the version of the object that was read, a plan by its epoch.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::task::{Context, Poll};

use kube::Client;
use kube::client::{Body, ClientBuilder};
use modelfleet_protocol::ids::Namespace;
use tower_layer::layer_fn;
use tower_service::Service;

use super::tenure::Tenure;
use crate::mqtt::{MqttError, Outbox};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Nothing was written, because this process may lead no longer.
#[derive(Debug, thiserror::Error)]
#[error("this process has not renewed its lease in time, so another may lead; nothing was written")]
pub struct NotLeading;

/// A client whose writes are refused once the tenure is over. It reads at any time.
///
/// # Errors
/// When the configuration does not make a client.
pub fn fenced_client(config: kube::Config, tenure: Tenure) -> Result<Client, kube::Error> {
    let layer = layer_fn(move |inner| FencedService { inner, tenure: tenure.clone() });
    Ok(ClientBuilder::try_from(config)?.with_layer(&layer).build())
}

/// Requests to the API server.
#[derive(Clone)]
struct FencedService<S> {
    inner: S,
    tenure: Tenure,
}

impl<S> Service<http::Request<Body>> for FencedService<S>
where
    S: Service<http::Request<Body>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let reads = [http::Method::GET, http::Method::HEAD].contains(request.method());
        if !reads && !self.tenure.holds() {
            return Box::pin(async { Err(NotLeading.into()) });
        }
        let answer = self.inner.call(request);
        Box::pin(async { answer.await.map_err(Into::into) })
    }
}

/// The way to the broker, for a leader.
pub struct FencedOutbox<O> {
    outbox: O,
    tenure: Tenure,
}

impl<O> FencedOutbox<O> {
    /// An outbox that takes nothing once the tenure is over.
    pub fn new(outbox: O, tenure: Tenure) -> FencedOutbox<O> {
        FencedOutbox { outbox, tenure }
    }
}

impl<O: Outbox> Outbox for FencedOutbox<O> {
    fn publish_retained(&self, topic: &str, payload: Vec<u8>) -> Result<(), MqttError> {
        if !self.tenure.holds() {
            return Err(MqttError::NotLeading { topic: topic.to_owned(), source: NotLeading });
        }
        self.outbox.publish_retained(topic, payload)
    }

    fn subscribe_to(&self, fleets: BTreeSet<Namespace>) {
        self.outbox.subscribe_to(fleets);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    #[derive(Default)]
    struct Sent(Mutex<Vec<String>>);

    impl Outbox for Arc<Sent> {
        fn publish_retained(&self, topic: &str, _: Vec<u8>) -> Result<(), MqttError> {
            self.0.lock().unwrap().push(topic.to_owned());
            Ok(())
        }

        fn subscribe_to(&self, _: BTreeSet<Namespace>) {}
    }

    #[test]
    fn what_does_not_lead_publishes_nothing() {
        let tenure = Tenure::new(Clock::system(), Duration::from_secs(3_600));
        let sent = Arc::new(Sent::default());
        let outbox = FencedOutbox::new(Arc::clone(&sent), tenure.clone());
        assert!(matches!(outbox.publish_retained("early", Vec::new()), Err(MqttError::NotLeading { .. })));
        tenure.renewed(tenure.moment());
        outbox.publish_retained("in time", Vec::new()).unwrap();
        tenure.end();
        assert!(matches!(outbox.publish_retained("late", Vec::new()), Err(MqttError::NotLeading { .. })));
        assert_eq!(*sent.0.lock().unwrap(), ["in time"]);
    }

    #[tokio::test]
    async fn what_does_not_lead_reads_and_writes_nothing() {
        let tenure = Tenure::new(Clock::system(), Duration::from_secs(3_600));
        let served = Arc::new(Mutex::new(Vec::new()));
        let inner = Methods(Arc::clone(&served));
        let mut service = FencedService { inner, tenure: tenure.clone() };
        let mut ask = async |method: &str| {
            let request = http::Request::builder().method(method).uri("/").body(Body::empty()).unwrap();
            service.call(request).await
        };
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let refused = ask(method).await.err().map(|error| error.is::<NotLeading>());
            assert_eq!(refused, (method != "GET").then_some(true), "{method}");
        }
        tenure.renewed(tenure.moment());
        ask("PATCH").await.unwrap();
        assert_eq!(*served.lock().unwrap(), ["GET", "PATCH"]);
    }

    struct Methods(Arc<Mutex<Vec<String>>>);

    impl Service<http::Request<Body>> for Methods {
        type Response = ();
        type Error = BoxError;
        type Future = std::future::Ready<Result<(), BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: http::Request<Body>) -> Self::Future {
            self.0.lock().unwrap().push(request.method().to_string());
            std::future::ready(Ok(()))
        }
    }
}
