//! The trace of a rollout's attempt: its plans, and what devices did with it. The plan names the attempt and the device's state gives
//! it back, so its ids follow from what both say: no byte more is sent, and a controller that starts again goes on with the
//! same trace.

use modelfleet_protocol::ids::{DeviceId, Digest, Namespace};
use modelfleet_protocol::plan::{Order, Plan};
use modelfleet_protocol::state::{DeviceState, Phase};
use modelfleet_protocol::time::Time;

use super::TARGET;
use crate::context::Context;

/// About so many devices of a fleet have spans; which ones is a hash of their ids.
const DEVICES: u64 = 64;
/// What a device has come to longer ago is told by what it said then.
const FRESH_MS: u64 = 15 * 60_000;

/// Id of the trace of an attempt: 32 hexadecimal digits.
#[must_use]
pub fn trace_id(namespace: &Namespace, attempt: &str) -> String {
    let mut digits = Digest::of(format!("{}/{attempt}", namespace.as_str()).as_bytes()).hex();
    digits.truncate(32);
    digits
}

/// Id of a span of it.
fn span_id(trace_id: &str, of: &str) -> u64 {
    let digits = Digest::of(format!("{trace_id}/{of}").as_bytes()).hex();
    u64::from_str_radix(&digits[..16], 16).unwrap_or(1).max(1)
}

fn plan_span(trace_id: &str, order: &Order) -> u64 {
    span_id(trace_id, &format!("{}/{}", order.epoch, order.revision))
}

/// A plan was signed and sent.
pub fn plan_sent(ctx: &Context, namespace: &Namespace, plan: &Plan) {
    let Some(candidate) = plan.candidate.as_ref().filter(|_| ctx.metrics.traces.is_on()) else { return };
    let trace_id = trace_id(namespace, &candidate.rollout);
    drop(tracing::error_span!(
        target: TARGET,
        parent: None,
        "plan",
        span_id = plan_span(&trace_id, &plan.order),
        trace_id,
        start_ms = plan.order.issued.0,
        end_ms = ctx.now().0,
        namespace = namespace.as_str(),
        attempt = candidate.rollout,
        version = %candidate.build.version,
        epoch = plan.order.epoch,
        revision = plan.order.revision,
    ));
}

/// Whether a device is one of those that have spans.
fn is_sampled(device: &DeviceId, devices: usize) -> bool {
    let part = span_id("", device.as_str()) % (devices as u64).max(1);
    part < DEVICES
}

/// A device says what became of an attempt. It does so again in later states; the span has the same id.
pub fn device_said(ctx: &Context, namespace: &Namespace, device: &DeviceId, state: &[u8], devices: usize) {
    if !ctx.metrics.traces.is_on() || !is_sampled(device, devices) {
        return;
    }
    let Ok(state) = DeviceState::from_json(device, state) else { return };
    for model in &state.models {
        let Some(attempt) = &model.candidate else { continue };
        let outcome = match attempt.phase {
            Phase::Confirmed => None,
            Phase::Failed | Phase::Reverted | Phase::Incompatible => Some(
                attempt
                    .failure
                    .as_ref()
                    .map_or_else(|| format!("{:?}", attempt.phase), |f| format!("{:?}", f.code)),
            ),
            _ => continue,
        };
        if ctx.now().since_ms(attempt.since) > FRESH_MS {
            continue;
        }
        tell(namespace, device, (&model.plan, attempt.since), &attempt.rollout, outcome);
    }
}

fn tell(
    namespace: &Namespace,
    device: &DeviceId,
    (plan, ended): (&Order, Time),
    attempt: &str,
    error: Option<String>,
) {
    let trace_id = trace_id(namespace, attempt);
    drop(tracing::error_span!(
        target: TARGET,
        parent: None,
        "activate",
        span_id = span_id(&trace_id, &format!("{}/{}", device.as_str(), ended.0)),
        parent_id = plan_span(&trace_id, plan),
        trace_id,
        // By a plan that was renewed since, it ended before that one was signed.
        start_ms = plan.issued.0.min(ended.0),
        end_ms = ended.0,
        namespace = namespace.as_str(),
        device = device.as_str(),
        attempt,
        error,
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_from_what_plan_and_state_say() {
        let namespace: Namespace = "plant".parse().unwrap();
        let trace = trace_id(&namespace, "r-1.0.0-abc");
        assert!(trace.len() == 32 && trace.bytes().all(|b| b.is_ascii_hexdigit()));
        assert_eq!(trace, trace_id(&namespace, "r-1.0.0-abc"));
        assert_ne!(trace, trace_id(&namespace, "r-1.0.0-abd"));
        let order = |revision| Order { epoch: 7, revision, ..Order::default() };
        assert_ne!(plan_span(&trace, &order(1)), plan_span(&trace, &order(2)));
    }

    #[test]
    fn a_small_fleet_is_traced_whole_and_a_large_one_in_part() {
        let traced = |count: usize| {
            let ids = (0..count).map(|i| format!("pump-{i:06}").parse::<DeviceId>().unwrap());
            ids.filter(|id| is_sampled(id, count)).count()
        };
        assert_eq!(traced(64), 64);
        assert!((32..=128).contains(&traced(20_000)), "{}", traced(20_000));
    }
}
