//! One Event for each transition. Its name is made of what it says, so that a repetition finds it there.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Resource, ResourceExt};
use modelfleet_model::decide_rollouts::RolloutOutcome;
use modelfleet_model::events::{Event as Transition, new_events};
use modelfleet_model::status::time::{cut, to_k8s};
use modelfleet_protocol::causes::with_causes;
use modelfleet_protocol::time::Time;
use modelfleet_rollout::clip;

use super::MANAGER;
use crate::context::Context;
use crate::error::Error;
use crate::metrics::label;

/// Longest text of an event; the API allows 1024 bytes.
const NOTE_MAX: usize = 900;

/// Announces what a decision has brought, as far as this process has not yet. Best effort: an API server that takes no
/// events keeps no plan from going out, and the next decision tries again.
pub async fn tell_events(ctx: &Context, outcome: &RolloutOutcome, now: Time) {
    let Ok(decided) = &outcome.result else { return };
    let uid = outcome.rollout.uid().unwrap_or_default();
    let since = ctx.written().announced(&uid);
    let Some((events, last)) = new_events(decided, since, now) else { return };
    for event in events {
        if let Err(error) = announce(ctx, &subject(outcome.rollout.as_ref()), &event).await {
            tracing::warn!(reason = event.reason, error = with_causes(&error), "event not written");
            return;
        }
        ctx.metrics.decisions.get_or_create(&label("kind", event.reason)).inc();
    }
    ctx.written().note_announced(&uid, last);
}

/// Offers event sinks what is stored of a rollout, and they were not told.
pub fn tell_sinks(ctx: &Context, outcome: &RolloutOutcome) {
    let stored = ctx.written().rollout_since(&outcome.rollout);
    ctx.telling.offer(&stored);
}

/// What an event is about.
pub fn subject<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    object.object_ref(&())
}

/// Writes an event; one that is there already is not written again.
///
/// # Errors
/// When the API server refuses or is away.
pub async fn announce(ctx: &Context, subject: &ObjectReference, event: &Transition) -> Result<(), Error> {
    let name = subject.name.clone().unwrap_or_default();
    let uid = subject.uid.clone().unwrap_or_default();
    let digest = event.identity(&uid).hex();
    let namespace = subject.namespace.clone().unwrap_or_default();
    let object = Event {
        action: Some(event.reason.to_owned()),
        event_time: Some(MicroTime(to_k8s(event.at).0)),
        metadata: ObjectMeta {
            name: Some(format!("{}.{}", cut(&name, 200), &digest[..16])),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        note: Some(clip(&event.message, NOTE_MAX)),
        reason: Some(event.reason.to_owned()),
        regarding: Some(subject.clone()),
        reporting_controller: Some(format!("modelfleet.io/{MANAGER}")),
        reporting_instance: Some(MANAGER.to_owned()),
        type_: Some(if event.warning { "Warning" } else { "Normal" }.to_owned()),
        ..Event::default()
    };
    let api: Api<Event> = Api::namespaced(ctx.client.clone(), &namespace);
    tracing::info!(namespace, object = name, reason = event.reason, message = event.message, "transition");
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => Ok(()),
        // There already; or the namespace is going away and takes no events.
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404 | 409) => Ok(()),
        Err(error) => {
            Err(Error::kubernetes(format!("announce {} of {namespace}/{name}", event.reason), error))
        }
    }
}
