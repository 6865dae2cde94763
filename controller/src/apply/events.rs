//! One Event for each transition. Its name is made of what it says, so that a repetition finds it there.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Resource, ResourceExt};
use modelfleet_crds::Rollout;
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::time::Time;

use super::MANAGER;
use crate::context::Context;
use crate::error::Error;
use crate::status::time::{cut, to_k8s};
use crate::turn::Decided;

/// Longest text of an event; the API allows 1024 bytes.
const NOTE_MAX: usize = 900;
/// Entries older than this were announced by whoever wrote them, milliseconds. A process that starts announces
/// younger ones again, because the one before may have ended between the status and the event.
const FRESH_MS: u64 = 10 * 60_000;

/// Something that happened.
pub struct Entry {
    /// One CamelCase word.
    pub reason: &'static str,
    /// Whether somebody should look.
    pub warning: bool,
    /// With numbers.
    pub message: String,
    /// When.
    pub at: Time,
}

/// Entries of the log that were not announced by this process yet.
pub fn fresh(ctx: &Context, rollout: &Rollout, decided: &Decided, now: Time) -> Vec<Entry> {
    let uid = rollout.uid().unwrap_or_default();
    let since = ctx.written().announced(&uid);
    let log = decided.memory.state.log.iter();
    let young = log.filter(|e| since.is_none_or(|since| e.at > since) && now.since_ms(e.at) < FRESH_MS);
    let entries: Vec<Entry> = young
        .map(|e| Entry {
            reason: e.kind.as_str(),
            warning: e.kind.is_warning(),
            message: e.message.clone(),
            at: e.at,
        })
        .collect();
    if let Some(last) = decided.memory.state.log.back() {
        ctx.written().note_announced(&uid, last.at);
    }
    entries
}

/// What an event is about.
pub fn subject<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    object.object_ref(&())
}

/// Writes an event; one that is there already is not written again.
///
/// # Errors
/// When the API server refuses or is away.
pub async fn announce(ctx: &Context, subject: &ObjectReference, entry: &Entry) -> Result<(), Error> {
    let name = subject.name.clone().unwrap_or_default();
    let uid = subject.uid.clone().unwrap_or_default();
    // The status keeps whole seconds of a moment: the name must not depend on more.
    let identity = format!("{uid}/{}/{}/{}", entry.reason, entry.at.0 / 1_000, entry.message);
    let digest = Digest::of(identity.as_bytes()).hex();
    let namespace = subject.namespace.clone().unwrap_or_default();
    let event = Event {
        action: Some(entry.reason.to_owned()),
        event_time: Some(MicroTime(to_k8s(entry.at).0)),
        metadata: ObjectMeta {
            name: Some(format!("{}.{}", cut(&name, 200), &digest[..16])),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        note: Some(cut(&entry.message, NOTE_MAX)),
        reason: Some(entry.reason.to_owned()),
        regarding: Some(subject.clone()),
        reporting_controller: Some(format!("modelfleet.io/{MANAGER}")),
        reporting_instance: Some(MANAGER.to_owned()),
        type_: Some(if entry.warning { "Warning" } else { "Normal" }.to_owned()),
        ..Event::default()
    };
    let api: Api<Event> = Api::namespaced(ctx.client.clone(), &namespace);
    tracing::info!(namespace, object = name, reason = entry.reason, message = entry.message, "transition");
    match api.create(&PostParams::default(), &event).await {
        Ok(_) => Ok(()),
        // There already; or the namespace is going away and takes no events.
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404 | 409) => Ok(()),
        Err(error) => {
            Err(Error::kubernetes(format!("announce {} of {namespace}/{name}", entry.reason), error))
        }
    }
}
