//! What follows from the trust document outside of the core: the keys of models, and what people and programs are told.

use modelfleet_protocol::time::Time;
use modelfleet_protocol::trust::TrustDocument;

use super::Device;
use crate::serve::Problem;

impl Device {
    /// The trust document may be another one: its artifact keys count in place of those of the settings.
    pub(super) fn follow_trust(&self) {
        if let Some(document) = self.agent.trust() {
            self.fetcher.keys.replace_by(&document.artifact_keys);
        }
        self.explain_what_is_forbidden();
    }

    /// Programs on the device are told why a model does not answer, if its floor forbids the build that is wanted.
    pub(super) fn explain_what_is_forbidden(&self) {
        let forbidden = self.agent.forbidden();
        for (build, _) in &forbidden {
            // After a restart, no build may have answered yet.
            let _ = self.models.entry(&build.model);
        }
        for model in self.models.all() {
            model.set_forbidden(forbidden.iter().find(|(build, _)| build.model == *model.name()));
        }
    }

    /// Tells of a document that has expired, and of models that its floors forbid.
    pub(super) fn look_at_trust(&self, now: Time) {
        self.explain_what_is_forbidden();
        let expired = self.agent.trust().filter(|document| document.has_expired(now));
        self.models.set_problem(Problem::Trust, expired.map(|document| past_trust(document, now)));
    }
}

/// What is told of a trust document that has expired.
fn past_trust(document: &TrustDocument, now: Time) -> String {
    let hours = now.since_ms(document.expires) / 3_600_000;
    format!(
        "by this device's clock version {} of the trust document expired {hours} hours ago, so nothing new is installed; the \
         installed models keep running. Check the clock; if it is right, make a new document with `kubectl modelfleet trust \
         renew`",
        document.version
    )
}
