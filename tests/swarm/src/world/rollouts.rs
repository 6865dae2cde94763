//! What must hold of rollouts, versions and plans while nothing happens, and what they come to when the fleet is healed.

use modelfleet_protocol::plan::Plan;
use modelfleet_rollout::Phase;
use serde_json::Value;

use super::control::phase;
use super::{HOUR_MS, World};
use crate::api_server::{ApiServer, locked};
use crate::controller::Controller;
use crate::faults::Fault;
use crate::fleet_laws::{number, state};
use crate::operator::{has_ended, name};
use crate::stage_laws;

impl World {
    /// Holds the laws of rollouts at rest: where no fault is on, or some time after all were healed.
    pub(super) fn hold_rollouts(&mut self) {
        let now = self.schedule.now();
        let healed = self.healed_at.is_some_and(|at| now.since_ms(at) >= HOUR_MS);
        let Some(control) = &self.control else { return };
        if !healed && !self.faults.0.is_empty() {
            return;
        }
        let server = locked(&control.server);
        let late = server.all("rollouts").find_map(|rollout| {
            let said = stage_laws::outlasts(rollout, now)?;
            Some(format!("{} {said}", name(rollout)))
        });
        drop(server);
        let old = if healed { self.old_plan() } else { None };
        if let Some(broken) = late.or(old) {
            self.break_law(&broken);
        }
    }

    /// A plan at the broker that another leader has signed.
    fn old_plan(&self) -> Option<String> {
        let control = self.control.as_ref()?;
        let epoch = control.controllers.iter().filter_map(Controller::epoch).max()?;
        let plans = self.models.iter().filter_map(|model| self.plan_at_broker(model));
        let old = plans.into_iter().find(|plan| plan.order.epoch != epoch)?;
        let of = old.order.epoch;
        Some(format!("{}: the plan is of epoch {of}, and the leader has epoch {epoch}", old.model))
    }

    /// What is wrong with the plan that the broker holds at the end.
    fn plan_unconverged(server: &ApiServer, plan: &Plan) -> Option<String> {
        let model = &plan.model;
        let stable = plan.stable.as_ref()?.version.to_string();
        let object = server.get("modelversions", &format!("{model}-{stable}"))?;
        let stage = &object["status"]["stage"];
        if stage != "Production" {
            return Some(format!("{model}: the plan calls {stable} stable, and its stage is {stage}"));
        }
        let of_model = |one: &&std::sync::Arc<Value>| one["spec"]["model"] == model.as_str();
        let last = server.all("modelversions").filter(of_model).filter_map(|one| Some((number(one)?, one)));
        let later =
            last.max_by_key(|(number, _)| *number).filter(|(last, _)| number(object).unwrap_or(0) < *last);
        if let Some((_, later)) = later {
            return Some(format!(
                "{model}: the plan calls {stable} stable, and {} was promoted later",
                name(later)
            ));
        }
        // Devices measure by the rules of the rollout that ended last.
        let ended = server.all("rollouts").filter(of_model).filter_map(|one| state(one));
        let ended = ended.filter(|state| matches!(state.phase, Phase::Succeeded | Phase::RolledBack));
        let mut ended: Vec<_> =
            ended.filter_map(|state| Some((state.figures.ended_at?, state.started_at?))).collect();
        ended.sort_unstable();
        let (at, since) = ended.pop()?;
        let alone = ended.pop().is_none_or(|(before, _)| before < at);
        (alone && plan.observe.since != since).then(|| {
            format!(
                "{model}: the plan's rules are since {}, and its last rollout since {}",
                plan.observe.since.0, since.0
            )
        })
    }

    /// What healed controllers have not come to.
    pub(super) fn control_unconverged(&mut self) -> Option<String> {
        let control = self.control.as_ref()?;
        if !control.controllers.iter().any(Controller::leads) {
            return Some("no controller leads".to_owned());
        }
        let open: Vec<String> = locked(&control.server)
            .all("rollouts")
            .filter(|one| !has_ended(one) && !is_refused(one))
            .map(|one| format!("{} {} ({})", name(one), phase(one), one["status"]["message"]))
            .collect();
        if !open.is_empty() {
            return Some(format!("rollouts that were aborted have not ended: {}", open.join("; ")));
        }
        let server = locked(&control.server);
        let mut deleted =
            server.all("rollouts").filter(|one| !one["metadata"]["deletionTimestamp"].is_null());
        if let Some(deleted) = deleted.next() {
            return Some(format!("{} was deleted and is still there", name(deleted)));
        }
        if let Some(old) = self.old_plan() {
            return Some(old);
        }
        let all = (self.fleet_size(), Vec::new());
        let seen = control.controllers.iter().filter_map(Controller::fleet_seen);
        // One that was two may be left out until it sends a state an hour after they were seen last.
        let copied = self.faults.has(Fault::Copies);
        let mut seen = seen.map(|(devices, omitted)| (devices, if copied { Vec::new() } else { omitted }));
        if let Some((devices, omitted)) = seen.find(|seen| *seen != all) {
            return Some(format!(
                "the leader knows {devices} devices of {} and leaves out {omitted:?}",
                self.fleet_size()
            ));
        }
        let plans = self.models.iter().filter_map(|model| self.plan_at_broker(model));
        plans.into_iter().find_map(|plan| World::plan_unconverged(&server, &plan))
    }
}

/// One that was refused, or has never begun, and waits for an edit.
fn is_refused(object: &Value) -> bool {
    matches!(phase(object).as_str(), "Stalled" | "new") || object["status"]["stage"].is_null()
}
