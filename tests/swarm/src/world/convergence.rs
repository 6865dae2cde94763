//! What a healed fleet has to come to.

use modelfleet_agent_core::saved::Saved;
use modelfleet_protocol::ids::ModelName;
use modelfleet_protocol::plan::Plan;

use super::World;
use super::control::Control;
use crate::device::Device;
use crate::laws;

impl World {
    /// Devices do what the plans at the broker say.
    pub(super) fn hold_followed(&mut self) {
        let now = self.schedule.now();
        for model in self.models.clone() {
            let Some(plan) = self.plan_of(&model) else { continue };
            let order = (plan.order.epoch, plan.order.revision);
            let held = self.held.entry(model).or_insert((order, now));
            if held.0 != order {
                *held = (order, now);
            }
            let since = held.1;
            for i in 0..self.devices.len() {
                if self.network.connection_of(i).is_some()
                    && let Some(broken) = laws::follows(&self.devices[i], &self.watched[i], &plan, since, now)
                {
                    self.fail(i, &broken);
                }
            }
        }
    }

    /// The newest plan of a model.
    pub(super) fn plan_of(&self, model: &ModelName) -> Option<Plan> {
        match &self.control {
            Some(_) => self.plan_at_broker(model),
            None => self.author.plan(model).cloned(),
        }
    }

    /// What a healed fleet has not come to.
    pub(super) fn unconverged(&mut self) -> Option<String> {
        if let Some(broken) = self.control_unconverged() {
            self.break_law(&broken);
            return self.broken.clone();
        }
        for i in 0..self.fleet_size() {
            for model in self.models.clone() {
                let Some(stable) = self.plan_of(&model).and_then(|plan| plan.stable) else {
                    // A user deleted the version in production and every rollout of its model, and the broker forgot the
                    // plan: nothing says what the model's devices should run (docs/decisions/0008).
                    if self.production_is_deleted(&model) {
                        continue;
                    }
                    self.break_law(&format!("{model}: the broker holds no plan with a stable version"));
                    return self.broken.clone();
                };
                let serves = self.devices[i].serving.get(&model).map(|build| build.digest);
                if serves != Some(stable.digest) {
                    let version = stable.version.clone();
                    let running = self.devices[i].serving.get(&model).map(|b| b.version.to_string());
                    let attempts = self.devices[i].told(&model);
                    self.fail(
                        i,
                        &format!("{model}: {version} is in production, and {running:?} answers; {attempts}"),
                    );
                    return self.broken.clone();
                }
            }
        }
        None
    }

    /// What the fleet came to, as one text.
    pub(super) fn end(&self) -> String {
        let one = |device: &Device| {
            let (saved, _): (Saved, _) = device.disk.read();
            let text = String::from_utf8(saved.to_json()).unwrap_or_default();
            format!("{} {} {text}", device.identity.device, device.ends)
        };
        let mut ends: Vec<String> = self.devices.iter().map(one).collect();
        ends.extend(self.control.iter().map(Control::end));
        ends.join("\n")
    }
}
