//! What another trust document changes for one model: a plan or an override ends with its key, and the floor forbids builds.

use modelfleet_protocol::floor::BelowFloor;
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::state::{Failure, FailureCode, Phase};

use super::ManagedModel;
use crate::agent::context::StepContext;
use crate::plan::build::Build;
use crate::plan::desired::Target;

impl ManagedModel {
    /// Another trust document counts. Returns whether the plan counts no more.
    pub fn trust_changed(&mut self, ctx: &mut StepContext<'_>) -> bool {
        let ended = self.orders.forget_revoked(ctx.trust);
        if ended {
            ctx.log(format!(
                "{}: the key of the plan was revoked: what runs goes on, until another plan comes",
                self.name
            ));
        }
        self.retarget(ctx);
        ended
    }

    /// The key of the override was revoked: the plan applies again.
    pub fn end_directive(&mut self, ctx: &mut StepContext<'_>) {
        if self.orders.end_directive() {
            ctx.log(format!(
                "{}: the key of the override was revoked, and the plan applies again",
                self.name
            ));
            self.retarget(ctx);
        }
    }

    /// The floor forbids a build that has answered: its attempt can never succeed again.
    pub(super) fn end_forbidden(&mut self, rollout: &str, digest: Digest, ctx: &mut StepContext<'_>) {
        let below = self.slots.get(&digest).and_then(|slot| ctx.trust.allows(&slot.build).err());
        let told = below.map_or_else(String::new, |below| below.to_string());
        let (record, _) = self.attempts.find_or_begin(rollout, digest, ctx.now);
        record.end(Phase::Incompatible, Some(Failure::new(FailureCode::VersionForbidden, told)), ctx.now);
    }

    /// The floor forbids the build that is wanted. The device says so; its attempt can never succeed.
    pub(super) fn refuse_forbidden(
        &mut self,
        target: &Target,
        below: &BelowFloor,
        ctx: &mut StepContext<'_>,
    ) {
        let (record, _) = self.attempts.find_or_begin(&target.attempt, target.build.digest, ctx.now);
        if record.has_ended() && record.retry_at.is_none() {
            return;
        }
        record.retry_at = None;
        let failure = Failure::new(FailureCode::VersionForbidden, below.to_string());
        record.end(Phase::Incompatible, Some(failure), ctx.now);
        ctx.log(format!("{}: {below}", self.name));
        ctx.changed();
    }

    /// The build that is wanted, and why it may not run, if no build answers because the floor forbids it.
    pub fn forbidden(&self) -> Option<(Build, String)> {
        let target = self.orders.target().filter(|_| self.active.is_none())?;
        let failure = self.attempts.at(target)?.attempt.failure.as_ref()?;
        let is_forbidden = failure.code == FailureCode::VersionForbidden;
        is_forbidden.then(|| (target.build.clone(), failure.detail.clone()))
    }
}
