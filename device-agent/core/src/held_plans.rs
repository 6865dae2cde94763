//! Which of the signed plans that the device took last it sends back to the broker, and when: those of models of which the
//! broker has none, or an older one. The shell keeps the bytes.

use std::collections::BTreeMap;

use modelfleet_protocol::ids::ModelName;
use modelfleet_protocol::plan::{Order, Plan};
use modelfleet_protocol::state::MODELS_MAX;

/// A broker that has a plan sends it within this time of the subscription, milliseconds.
const SOONEST_MS: u64 = 2_000;
/// Devices send their plans spread over so many times the spread of their reconnects, which is ten minutes by default, and
/// over ten minutes at most: a controller waits no longer than a quarter of an hour. 100 000 devices that all find an empty
/// broker send 170 plans a second, until the controller has the first one and publishes its own.
const SPREADS: u64 = 20;
const SPREAD_MAX_MS: u64 = 10 * 60_000;
/// The same plan is sent once in this time, milliseconds: a model that was cleared on purpose has no plan at the broker either,
/// and a line that breaks often must not carry its plan each time.
const AGAIN_AFTER_MS: u64 = 24 * 3_600_000;

/// How long a device waits after its subscription before it sends its plans, milliseconds. `spread_ms`: of the reconnects of
/// the fleet; `random`: from 0 to 1.
#[must_use]
pub fn wait_ms(spread_ms: u64, random: f64) -> u64 {
    let spread_ms = spread_ms.saturating_mul(SPREADS).min(SPREAD_MAX_MS);
    // At most ten minutes, which a float holds exactly.
    SOONEST_MS + (spread_ms as f64 * random.clamp(0.0, 1.0)) as u64
}

/// The plans that are held, without their bytes.
#[derive(Clone, Debug, Default)]
pub struct HeldPlans {
    held: BTreeMap<ModelName, Held>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    order: Order,
    /// When it was sent, on the steady clock, milliseconds.
    sent_ms: Option<u64>,
}

impl HeldPlans {
    /// Whether a plan is to be kept: it is newer than the one that is held, and there is room.
    #[must_use]
    pub fn takes(&self, plan: &Plan) -> bool {
        match self.held.get(&plan.model) {
            Some(held) => plan.order.replaces(&held.order),
            None => self.held.len() < MODELS_MAX,
        }
    }

    /// The plan is kept.
    pub fn kept(&mut self, plan: &Plan) {
        self.held.insert(plan.model.clone(), Held { order: plan.order, sent_ms: None });
    }

    /// Drops those that `counts` does not name: their keys count no more.
    pub fn keep_only(&mut self, counts: impl Fn(&ModelName) -> bool) {
        self.held.retain(|model, _| counts(model));
    }

    /// The models whose plans are to be sent now. `at_broker`: the order of the plan that the broker has sent on this
    /// connection; `None`: it has sent none. `now_ms`: on the steady clock.
    #[must_use]
    pub fn due(&self, now_ms: u64, at_broker: impl Fn(&ModelName) -> Option<Order>) -> Vec<ModelName> {
        let waits =
            |held: &Held| held.sent_ms.is_some_and(|sent| now_ms.saturating_sub(sent) < AGAIN_AFTER_MS);
        let news =
            |model: &ModelName, held: &Held| at_broker(model).is_none_or(|order| held.order.replaces(&order));
        let due = self.held.iter().filter(|(model, held)| !waits(held) && news(model, held));
        due.map(|(model, _)| model.clone()).collect()
    }

    /// The plan of this model was sent.
    pub fn sent(&mut self, model: &ModelName, now_ms: u64) {
        if let Some(held) = self.held.get_mut(model) {
            held.sent_ms = Some(now_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::held_plans;

    fn plan(model: &str, revision: u64) -> Plan {
        let text = format!(
            r#"{{"namespace":"plant","model":"{model}","epoch":1,"revision":{revision},"issued":0,"expires":9}}"#
        );
        serde_json::from_str(&text).expect("a plan")
    }

    fn holding(plans: &[(&str, u64)]) -> HeldPlans {
        let mut held = HeldPlans::default();
        plans.iter().for_each(|(model, revision)| held.kept(&plan(model, *revision)));
        held
    }

    #[test]
    fn only_a_newer_plan_is_kept_and_no_more_models_than_a_device_runs() {
        let held = holding(&[("pump", 2)]);
        assert!(
            !held.takes(&plan("pump", 1)) && !held.takes(&plan("pump", 2)) && held.takes(&plan("pump", 3))
        );
        let names: Vec<String> = (0..MODELS_MAX).map(|i| format!("m{i}")).collect();
        let full = holding(&names.iter().map(|name| (name.as_str(), 1)).collect::<Vec<_>>());
        assert!(!full.takes(&plan("pump", 9)) && full.takes(&plan("m0", 2)));
    }

    #[test]
    fn a_plan_is_sent_once_a_day_where_the_broker_has_none_or_an_older_one() {
        let mut held = holding(&[("pump", 5)]);
        let of = |revision: u64| move |_: &ModelName| Some(plan("pump", revision).order);
        let due = |held: &HeldPlans, now_ms| held.due(now_ms, |_| None).len();
        assert_eq!([4, 5, 6].map(|revision| held.due(0, of(revision)).len()), [1, 0, 0]);
        assert_eq!(due(&held, 0), 1);
        held.sent(&"pump".parse().expect("a name"), 10);
        assert_eq!([AGAIN_AFTER_MS, AGAIN_AFTER_MS + 10].map(|now_ms| due(&held, now_ms)), [0, 1]);
        held.kept(&plan("pump", 6));
        assert_eq!(due(&held, 11), 1, "another plan");
    }

    #[test]
    fn devices_spread_what_they_send_and_are_done_before_the_controller_waits_no_longer() {
        let wait = |spread_s: u64, random| held_plans::wait_ms(spread_s * 1_000, random) / 1_000;
        assert_eq!([wait(30, 0.0), wait(30, 1.0), wait(1, 1.0), wait(3_600, 1.0)], [2, 602, 22, 602]);
    }
}
