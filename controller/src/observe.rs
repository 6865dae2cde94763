//! Reads Kubernetes: the objects of one model, from the caches that the watches keep.

use kube::ResourceExt;
use modelfleet_fleet::Key;
use modelfleet_model::ModelObjects;

use crate::context::Context;

/// Observes one model.
#[must_use]
pub fn observe(ctx: &Context, key: &Key) -> ModelObjects {
    let (namespace, model) = (key.0.as_str(), key.1.as_str());
    let is_ours = |ns: Option<String>, of: &str| ns.as_deref() == Some(namespace) && of == model;
    let mut written = ctx.written();
    let rollouts = ctx.rollouts.state_filter(|r| is_ours(r.namespace(), &r.spec.model));
    let versions = ctx.versions.state_filter(|v| is_ours(v.namespace(), &v.spec.model));
    let rollouts = rollouts.into_iter().map(|r| written.rollout(r)).collect();
    let versions = versions.into_iter().map(|v| written.version(v)).collect();
    ModelObjects::new(rollouts, versions)
}

/// The same objects as they were after our last writes, without a look at the caches.
#[must_use]
pub fn since(ctx: &Context, objects: &ModelObjects) -> ModelObjects {
    let written = ctx.written();
    let versions = objects.versions.iter().map(|(text, v)| (text.clone(), written.version_since(v)));
    ModelObjects {
        rollouts: objects.rollouts.iter().map(|r| written.rollout_since(r)).collect(),
        versions: versions.collect(),
        shadowed: objects.shadowed.iter().map(|v| written.version_since(v)).collect(),
    }
}
