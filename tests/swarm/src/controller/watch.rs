//! The watch of one kind of object, as the controller's shell hands it on.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use futures::channel::mpsc::UnboundedSender;
use kube::runtime::{reflector, watcher};
use modelfleet_controller::run;
use tokio_util::sync::CancellationToken;

/// The watch of one kind: what hands objects on, and where its events go.
pub(super) struct Watch<K> {
    pub(super) events: UnboundedSender<watcher::Result<watcher::Event<K>>>,
    pub(super) hand_on: Pin<Box<dyn Future<Output = ()>>>,
}

/// [`run::hand_on`] with a token of its own.
pub(super) async fn own<K>(
    events: futures::channel::mpsc::UnboundedReceiver<watcher::Result<watcher::Event<K>>>,
    writer: reflector::store::Writer<K>,
    all: CancellationToken,
    changed: impl Fn(&K, bool),
) where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug,
{
    run::hand_on(events, writer, &all, changed).await;
}

impl<K: serde::de::DeserializeOwned> Watch<K> {
    /// An object was changed, or is gone.
    pub(super) fn tell(&self, object: &serde_json::Value, gone: bool) {
        let object =
            serde_json::from_value::<K>(object.clone()).expect("the people write what the schema takes");
        let event = if gone { watcher::Event::Delete(object) } else { watcher::Event::Apply(object) };
        let _ = self.events.unbounded_send(Ok(event));
    }

    /// The watch begins anew with all that there is.
    pub(super) fn list(&self, objects: &[Arc<serde_json::Value>]) {
        let _ = self.events.unbounded_send(Ok(watcher::Event::Init));
        for object in objects {
            let object = serde_json::from_value::<K>(serde_json::Value::clone(object));
            let object = object.expect("the people write what the schema takes");
            let _ = self.events.unbounded_send(Ok(watcher::Event::InitApply(object)));
        }
        let _ = self.events.unbounded_send(Ok(watcher::Event::InitDone));
    }

    /// Hands on what was told.
    pub(super) fn poll(&mut self) {
        let mut context = std::task::Context::from_waker(futures::task::noop_waker_ref());
        let polled = self.hand_on.as_mut().poll(&mut context);
        debug_assert!(matches!(polled, Poll::Pending), "the watch goes on");
    }
}
