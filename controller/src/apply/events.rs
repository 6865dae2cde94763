//! One Event for each transition. Its name is made of what it says, so that a repetition finds it there.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Resource, ResourceExt};
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::time::Time;
use modelfleet_rollout::clip;

use super::MANAGER;
use crate::context::Context;
use crate::error::{Error, chain};
use crate::metrics::label;
use crate::status::time::{cut, to_k8s};
use crate::turn::Turn;

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

/// Announces what a turn has brought, as far as this process has not yet. Best effort: an API server that takes no
/// events keeps no plan from going out, and the next turn tries again.
pub async fn tell_events(ctx: &Context, turn: &Turn, now: Time) {
    let Ok(decided) = &turn.outcome else { return };
    let uid = turn.rollout.uid().unwrap_or_default();
    let since = ctx.written().announced(&uid);
    let log = &decided.memory.state.log;
    let Some(last) = log.back().map(|entry| entry.at).filter(|last| since != Some(*last)) else { return };
    let young =
        log.iter().filter(|e| since.is_none_or(|since| e.at > since) && now.since_ms(e.at) < FRESH_MS);
    for line in young {
        let entry = Entry {
            reason: line.kind.as_str(),
            warning: line.kind.is_warning(),
            message: line.message.clone(),
            at: line.at,
        };
        if let Err(error) = announce(ctx, &subject(turn.rollout.as_ref()), &entry).await {
            tracing::warn!(reason = entry.reason, error = chain(&error), "a transition was not announced");
            return;
        }
        ctx.metrics.decisions.get_or_create(&label("kind", entry.reason)).inc();
    }
    ctx.written().note_announced(&uid, last);
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
        note: Some(clip(&entry.message, NOTE_MAX)),
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
